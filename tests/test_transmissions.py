"""When the packets of one request leave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icekit.transmissions import Schedule, Transmissions

FRESH = Schedule((0.0, 0.5, 1.5), 3.0, (0.05, 0.1))
NAMES = (b"first", b"second", b"third")


def begin(*, repeats_all: bool = True) -> Transmissions:
    sending = Transmissions(FRESH, NAMES[0], NAMES[0], 10.0, repeats_all)
    for name, when in zip(NAMES[1:], (10.05, 10.1), strict=True):
        assert sending.fresh_due() == when
        sending.add(name, name, when)
    assert sending.fresh_due() is None
    return sending


def test_a_schedule_that_must_end_earlier() -> None:
    schedule = Schedule((0.0, 0.5, 1.5), 3.0, fresh=(0.1,))
    assert schedule.until(4.0) == schedule
    assert schedule.until(1.5) == Schedule((0.0, 0.5), 1.5, fresh=(0.1,))


def test_a_server_that_has_answered_is_asked_anew_by_its_round_trip_time() -> None:
    assert FRESH.after_challenge(0.2, 0.02).fresh == (0.2 * 1.5, 0.2 * 3.0)
    assert FRESH.after_challenge(0.002, 0.02).fresh == (0.04, 0.08)
    assert FRESH.after_challenge(0.002, 0.005).fresh == (0.02, 0.04)
    assert FRESH.after_challenge(None, 0.02).fresh == ()


def test_each_transaction_is_repeated_by_its_own_timeout() -> None:
    sending = begin()
    sent = []
    while (again := sending.take_due(due := sending.due())) is not None:
        sent += [(round(due - 10.0, 6), data) for data in again]
    times = (0.5, 0.55, 0.6, 1.5, 1.55, 1.6)
    assert sent == [*zip(times, 2 * NAMES, strict=True)]
    assert sending.count == 9


def test_or_only_the_first_one_is() -> None:
    sending = begin(repeats_all=False)
    assert sending.take_due(10.5) == [NAMES[0]]
    assert sending.due() == 11.5


def test_what_is_set_aside_is_counted_and_not_sent() -> None:
    sending = begin()
    sending.set_aside(NAMES[0])
    assert (sending.transaction_id, sending.due()) == (NAMES[1], 10.55)
    sending.set_aside(NAMES[2])
    assert sending.take_due(10.55) == [NAMES[1]]
    assert sending.count == 4
    assert sending.fresh_due() is None


def test_a_round_trip_time_belongs_to_one_packet() -> None:
    sending = begin()
    assert sending.rtt_of(NAMES[0], 10.75) == 0.75
    assert sending.rtt_of(NAMES[1], 11.05) == 1.0
    sending.take_due(10.5)
    assert sending.rtt_of(NAMES[0], 10.75) is None
    assert sending.rtt_of(NAMES[1], 11.05) == 1.0


@given(st.lists(st.floats(0.0, 2.0), min_size=1), st.lists(st.sampled_from(NAMES)))
def test_no_transaction_is_repeated_before_its_timeout(pauses: list[float], mismatched: list[bytes]) -> None:
    sending = begin()
    last = dict(zip(NAMES, (10.0, 10.05, 10.1), strict=True))
    now = 10.1
    for index, pause in enumerate(pauses):
        now += pause
        assert sending.due() > sending.started
        if (again := sending.take_due(now)) is None:
            break
        for name in again:
            # RFC 8445 §14.3
            assert now - last[name] >= 0.5 - 1e-9
            last[name] = now
        name = mismatched[index] if index < len(mismatched) else None
        if sending.twins and name is not None and name in (*sending.twins, sending.transaction_id):
            sending.set_aside(name)
    else:
        assert sending.due() < now + 2.5
