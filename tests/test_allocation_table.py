"""How relay sockets come and go, without a message: the table on its own. Its rules in RFC 8656: test_turn_server."""

from __future__ import annotations

from collections.abc import Callable

from icekit.admission import Identity, Request
from icekit.allocation import Allocation, Deletion, TurnServerEvent
from icekit.allocation_table import AllocationTable
from icekit.net import Address, SocketFailure, SocketReleased, SocketWanted, Transport
from icekit.stun import Method, long_term_key, request
from tests.turn_client import SERVER, turn_server_config


def table(
    random: Callable[[int], bytes], **changes: object
) -> tuple[AllocationTable, list[TurnServerEvent], list[Allocation]]:
    events: list[TurnServerEvent] = []
    done: list[Allocation] = []
    made = AllocationTable(
        turn_server_config(relay_ports=(50000, 50007), **changes),
        token_bytes=random,
        emit=events.append,
        completed=lambda allocation, now: done.append(allocation),
    )
    return made, events, done


def allocation(reserve: bool = False, port: int = 1) -> Allocation:
    asked = Request(request(Method.ALLOCATE, bytes(12)), Address("203.0.113.5", port), SERVER, Transport.UDP, 20, False)
    return Allocation(asked, Identity("alice", "alice", long_term_key("alice", "r", "secret")), 600, reserve, 0.0)


def test_another_port_is_tried_at_most_eight_times() -> None:
    made, events, done = table(lambda size: bytes(size))
    made.start(allocation(), [1], even=False, now=0.0)
    for attempt in range(8):
        assert events[-1] == SocketWanted(attempt + 1, Address("198.51.100.1", 50000))
        assert done == []
        made.socket_failed(attempt + 1, SocketFailure.IN_USE, 0.0)
    assert len(events) == 8
    assert [item.failed for item in done] == [{1: 508}]
    assert made.allocations == {}
    # An answer that comes twice is nobody's.
    made.socket_failed(8, SocketFailure.IN_USE, 0.0)


def test_both_sockets_of_a_reservation_are_tried_anew() -> None:
    made, events, done = table(lambda size: bytes(size))
    made.start(allocation(reserve=True), [1], even=True, now=0.0)
    even, odd = Address("198.51.100.1", 50000), Address("198.51.100.1", 50001)
    made.socket_opened(1, even, 0.0)
    made.socket_failed(2, SocketFailure.IN_USE, 0.0)
    made.socket_opened(3, even, 0.0)
    made.socket_opened(4, odd, 0.0)
    assert events[:5] == [
        SocketWanted(1, even),
        SocketWanted(2, odd),
        SocketReleased(even),
        SocketWanted(3, even),
        SocketWanted(4, odd),
    ]
    assert [item.token for item in done] == [bytes(8)]
    assert set(made.relays) == {even}


def test_what_is_half_open_is_closed_when_it_is_deleted() -> None:
    made, events, _ = table(lambda size: bytes(size))
    pending = allocation(reserve=True)
    made.start(pending, [1], even=True, now=0.0)
    made.socket_opened(1, Address("198.51.100.1", 50000), 0.0)
    made.delete(pending, Deletion.CLOSED)
    made.socket_opened(2, Address("198.51.100.1", 50001), 0.0)
    assert events[2:] == [
        SocketReleased(Address("198.51.100.1", 50000)),
        SocketReleased(Address("198.51.100.1", 50001)),
    ]


def test_the_timer_rings_at_most_once_a_second() -> None:
    numbers = iter(range(100))
    made, _, _ = table(lambda size: next(numbers).to_bytes(size))
    for port, now in ((1, 0.0), (2, 0.25), (3, 0.5)):
        made.start(allocation(port=port), [1], even=False, now=now)
        made.socket_opened(port, Address("198.51.100.1", 50000 + port), now)
    assert made.get_timer() == 600.0
    made.handle_timer(599.0)
    assert len(made.allocations) == 3
    made.handle_timer(600.0)
    assert (len(made.allocations), made.get_timer()) == (2, 601.0)
    # Not swept yet, but over all the same for whoever asks.
    assert made.find(Address("203.0.113.5", 2), SERVER, False, 600.3) is None
    made.handle_timer(601.0)
    assert (made.allocations, made.get_timer()) == ({}, None)
