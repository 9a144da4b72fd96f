"""When a flight is sent once more, by a clock that is an argument."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.call.flights import Flights, answer_timeout

RTT: Final = 0.2
HELLO: Final = (
    bytes.fromhex("16feff0000000000000000") + b"\0\x80" + bytes.fromhex("01000074 0000 000000000074") + b"hello"
)
HELLO_AGAIN: Final = HELLO[:10] + b"\1" + HELLO[11:]
CERTIFICATE: Final = bytes.fromhex("16fefd0000000000000001") + b"\0\x80" + bytes.fromhex("0b000080 0001 000000000080")
LAST: Final = bytes.fromhex("14fefd0000000000000005 0001 01 16fefd0001000000000000 0030") + b"finished"
ALERT: Final = bytes.fromhex("15fefd0001000000000001 001a") + b"close notify"
DATA: Final = bytes.fromhex("17fefd0001000000000001 0040") + b"data"
RTP: Final = b"\x80\x60" + bytes(20)


def times(flights: Flights, until: float = 100.0) -> list[float]:
    """When it repeats, if nothing else happens."""
    found = []
    while (due := flights.get_timer()) is not None and due < until:
        assert flights.repeat(due - 0.001) is None
        assert flights.repeat(due) is not None
        found.append(round(due, 6))
    return found


@pytest.mark.parametrize(
    ("rtt", "seconds"),
    [(None, 0.4), (0.0, 0.05), (0.05, 0.1), (0.1, 0.15), (0.3, 0.45)],
)
def test_what_is_answered_at_once_is_waited_for_one_and_a_half_round_trips(rtt: float | None, seconds: float) -> None:
    """RFC 9147 §5.8.2; and 50 ms at least for a peer that computes."""
    assert answer_timeout(rtt) == pytest.approx(seconds)


def test_a_flight_is_repeated_ever_later_and_not_for_ever() -> None:
    flights = Flights(RTT)
    assert flights.get_timer() is None
    flights.sent(HELLO, 1.0)
    assert times(flights) == pytest.approx([1.3, 1.9, 3.1, 5.5, 10.3, 19.9, 39.1, 77.5])
    assert flights.get_timer() is None


def test_an_answer_ends_it_when_it_moves_the_handshake() -> None:
    flights = Flights(RTT)
    flights.sent(HELLO, 0.0)
    flights.received(CERTIFICATE, 0.1)  # half of an answer
    assert flights.get_timer() == pytest.approx(0.3)
    flights.sent(CERTIFICATE, 0.2)
    assert flights.repeat(0.3) is None
    assert flights.repeat(0.5) == CERTIFICATE
    flights.received(LAST, 0.6)
    flights.completed()
    assert flights.is_over
    assert flights.get_timer() is None


def test_what_the_library_repeats_is_repeated_from_then_on_by_the_same_timer() -> None:
    flights = Flights(RTT)
    flights.sent(HELLO, 0.0)
    assert flights.repeat(0.31) == HELLO
    flights.sent(HELLO_AGAIN, 0.5)
    assert flights.repeat(0.9) is None
    assert flights.repeat(0.92) == HELLO_AGAIN


def test_the_last_flight_is_repeated_to_whoever_repeats_his_own() -> None:
    """RFC 6347 §4.2.4; and never by a timer."""
    flights = Flights(RTT)
    flights.received(HELLO, 0.0)
    flights.sent(CERTIFICATE, 0.0)
    flights.received(HELLO_AGAIN, 0.1)
    flights.received(CERTIFICATE, 0.2)
    flights.sent(LAST, 0.2)
    flights.completed()
    assert not flights.is_over
    assert flights.get_timer() is None
    flights.received(HELLO_AGAIN, 0.3)  # late, and not what the last flight is the answer to
    assert flights.repeat(0.3) is None
    repeated = 0
    for moment in range(1, 100):
        flights.received(CERTIFICATE, moment)
        repeated += flights.repeat(moment) == LAST
        assert flights.repeat(moment) is None
    assert repeated == 8


@pytest.mark.parametrize("proof", [DATA, RTP])
def test_what_only_a_peer_with_keys_sends_ends_it(proof: bytes) -> None:
    flights = Flights(RTT)
    flights.received(CERTIFICATE, 0.2)
    flights.sent(LAST, 0.2)
    flights.completed()
    flights.received(proof, 0.3)
    assert flights.is_over
    flights.received(CERTIFICATE, 0.4)
    assert flights.get_timer() is None


@pytest.mark.parametrize("proof", [DATA, RTP])
def test_data_before_the_flight_that_they_follow_hurry_once(proof: bytes) -> None:
    """RFC 9147 §5.8.1: the peer has finished, and its last flight was lost."""
    flights = Flights(RTT)
    flights.received(HELLO, 0.0)
    flights.sent(CERTIFICATE, 0.0)
    flights.received(proof, 0.1)
    assert flights.repeat(0.1) == CERTIFICATE
    flights.received(proof, 0.11)
    assert flights.get_timer() == pytest.approx(0.1 + 2 * 0.3)


def test_alerts_data_and_nothing_are_no_flights() -> None:
    flights = Flights(RTT)
    for datagram in (ALERT, DATA, RTP, b""):
        flights.received(datagram, 0.0)
        flights.sent(datagram, 0.0)
        assert flights.get_timer() is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sent", "received", "repeat"]),
            st.one_of(
                st.sampled_from([HELLO, HELLO_AGAIN, CERTIFICATE, LAST, ALERT, DATA, RTP]), st.binary(max_size=20)
            ),
            st.floats(0, 2),
        ),
        max_size=60,
    )
)
def test_whatever_comes_there_are_eight_repeats_for_a_flight_at_most(steps: list[tuple[str, bytes, float]]) -> None:
    flights, now, repeats, flights_sent = Flights(RTT), 0.0, 0, 0
    for action, datagram, later in steps:
        now += later
        match action:
            case "sent":
                flights.sent(datagram, now)
                flights_sent += 1
            case "received":
                flights.received(datagram, now)
            case _:
                repeats += flights.repeat(now) is not None
                due = flights.get_timer()
                assert due is None or due > now
    assert repeats <= 8 * flights_sent
