from __future__ import annotations

import pytest

from icekit.net import Address
from icekit.sim.flight import Flight
from icekit.sim.packet import SYN, Segment

HERE, THERE = Address("192.168.1.2", 1), Address("203.0.113.1", 2)
RTT = 0.05


class Wire:
    """Ten bytes a segment; the time is given by hand."""

    def __init__(self) -> None:
        self.flight = Flight()
        self.now = 100.0
        self._next = 0

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.flight.sent(Segment(HERE, THERE, bytes(10), sequence=self._next, stamp=self.now), self.now)
            self._next += 10

    def answer(self, number: int, *blocks: tuple[int, int], echo: float | None = None) -> None:
        echo = self.now - RTT if echo is None else echo
        self.flight.acknowledged(Segment(THERE, HERE, b"", acknowledgment=number, blocks=blocks, echo=echo), self.now)

    def lost(self) -> list[int]:
        return [segment.sequence for segment in self.flight.take_lost(self.now)]

    def timed_out(self) -> list[int]:
        return [segment.sequence for segment in self.flight.take_timed_out(self.now)]

    def wait(self) -> float:
        due = self.flight.due()
        assert due is not None
        waited, self.now = due - self.now, due
        return round(waited, 6)


@pytest.fixture
def wire() -> Wire:
    """A connection that has measured its round trip once."""
    wire = Wire()
    wire.send()
    wire.now += RTT
    wire.answer(10)
    assert not wire.flight
    assert wire.flight.due() is None
    return wire


def test_before_the_first_measurement_the_timeout_is_a_second_and_doubles() -> None:
    wire = Wire()
    wire.flight.sent(Segment(HERE, THERE, b"", flags=SYN, stamp=wire.now), wire.now)
    assert wire.flight.is_opening
    for expected in (1, 2, 4, 8, 16, 32, 60, 60):
        assert wire.timed_out() == []
        assert wire.wait() == expected
        assert wire.timed_out() == [0]
    assert wire.flight.tries == 9


def test_all_holes_are_filled_at_once_a_quarter_of_a_round_trip_late(wire: Wire) -> None:
    wire.send(5)
    wire.now += RTT
    # The second and the fourth are lost.
    wire.answer(20, (30, 40), (50, 60))
    # All were sent together: nothing was sent after them yet.
    assert wire.lost() == []
    wire.send()
    wire.now += RTT
    wire.answer(20, (60, 70), (50, 60), (30, 40))
    assert wire.lost() == [20, 40]
    assert wire.lost() == []
    wire.now += RTT
    wire.answer(70)
    assert not wire.flight
    assert wire.flight.size == 0


def test_what_may_only_be_late_gets_its_quarter_of_a_round_trip(wire: Wire) -> None:
    wire.send()
    wire.now += 0.001
    wire.send()
    wire.now += RTT
    wire.answer(10, (20, 30))
    assert wire.lost() == []
    assert wire.wait() == 0.0115
    assert wire.lost() == [10]


def test_a_lost_repetition_needs_no_timeout(wire: Wire) -> None:
    wire.send()
    for _ in range(3):
        wire.now += RTT / 2
        wire.send()
        wire.now += RTT
        wire.answer(10, (20, 20 + 10 * (wire.flight.size // 10 - 1)))
        assert wire.lost() == [10]


def test_a_repetition_that_fills_the_gap_shows_the_round_trip(wire: Wire) -> None:
    wire.send()
    assert wire.wait() == 0.25
    assert wire.timed_out() == [10]
    wire.now += RTT
    wire.answer(20)
    wire.send()
    # The doubled timeout is over with the first answer (RFC 6298 §5.7 has no timestamps).
    assert wire.wait() == 0.25


def test_an_answer_that_is_too_fast_is_one_to_the_first_sending(wire: Wire) -> None:
    wire.send(2)
    wire.wait()
    assert wire.timed_out() == [10]
    wire.now += RTT / 10
    # Nothing is known of the second one: it left together with the first.
    wire.answer(20, echo=wire.now - RTT)
    assert wire.lost() == []
