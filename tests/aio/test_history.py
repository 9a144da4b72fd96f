"""Reading a history while it grows, and when it has forgotten."""

from __future__ import annotations

from icekit.aio.history import History
from icekit.ice_events import RoleChanged

EVENTS = (RoleChanged(True), RoleChanged(False))


def test_a_reader_goes_on_where_it_was() -> None:
    history = History()
    assert history.after(0) == ([], 0)
    history.add(1.0, EVENTS[0])
    history.add(2.0, EVENTS[1])
    assert history.after(0) == ([(1.0, EVENTS[0]), (2.0, EVENTS[1])], 2)
    assert history.after(1) == ([(2.0, EVENTS[1])], 2)
    assert history.after(2) == ([], 2)
    assert list(history) == history.after(0)[0]


def test_who_reads_too_slowly_misses_the_oldest() -> None:
    history = History()
    for number in range(1500):
        history.add(float(number), EVENTS[number % 2])
    assert len(history) == 1000
    entries, told = history.after(10)
    assert (told, entries[0][0], entries[-1][0]) == (1500, 500.0, 1499.0)
