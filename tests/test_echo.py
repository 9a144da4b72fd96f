"""The echo peer by itself: what it asks, sends and answers, and when it takes a second allocation."""

from __future__ import annotations

import random

import pytest

from icekit import attributes as attr
from icekit.echo import EchoEvent, EchoPeer, PeerFailed, PeerReady
from icekit.long_term_credential import LongTermCredential
from icekit.net import Address, Datagram, SocketFailure, SocketReleased, SocketWanted, StreamWanted, Transport
from icekit.stun import Method, decode, success
from icekit.turn import TurnAllocation

HOST, SERVER, STANDARD = "192.0.2.9", Address("192.0.2.1", 5349), Address("192.0.2.1", 3478)
LOCAL, MAPPED, RELAYED = Address(HOST, 40000), Address("198.51.100.1", 40001), Address("192.0.2.1", 50000)


class World:
    def __init__(self, transport: Transport = Transport.TCP) -> None:
        dice = random.Random(1)
        self.now = 100.0

        def allocate(local: Address | None) -> TurnAllocation:
            credential = LongTermCredential("alice", "secret")
            local = local if transport is Transport.UDP else Address(HOST, 0)
            return TurnAllocation(SERVER, transport, credential, dice.randbytes, local=local, stream_id=200)

        self.peer = EchoPeer(2, HOST, (SERVER, STANDARD, SERVER), dice.randbytes, allocate)

    def events(self) -> list[EchoEvent]:
        found = []
        while (event := self.peer.next_event()) is not None:
            found.append(event)
        return found

    def open(self) -> list[Datagram]:
        self.peer.start(self.now)
        assert self.events() == [SocketWanted(2, Address(HOST, 0))]
        self.peer.socket_opened(2, LOCAL, self.now)
        return self.peer.datagrams_to_send()

    def answer(self, request: Datagram, *items: attr.Item) -> None:
        data = success(decode(request.data), *items).encode()
        self.peer.receive_datagram(Datagram(request.destination, request.source, data), self.now)

    def run(self, seconds: float) -> list[Datagram]:
        """What it sends in that time."""
        sent, end = self.peer.datagrams_to_send(), self.now + seconds
        while (when := self.peer.get_timer()) is not None and when <= end:
            self.now = when
            self.peer.handle_timer(when)
            assert (later := self.peer.get_timer()) is None or later > when
            sent += self.peer.datagrams_to_send()
        self.now = end
        return sent


def test_it_asks_each_server_once_and_takes_the_first_answer() -> None:
    world = World()
    asked = world.open()
    assert [datagram.destination for datagram in asked] == [SERVER, STANDARD]
    assert {decode(datagram.data).method for datagram in asked} == {Method.BINDING}
    world.answer(asked[1], attr.XOR_MAPPED_ADDRESS(MAPPED))
    world.answer(asked[0], attr.XOR_MAPPED_ADDRESS(Address("198.51.100.2", 1)))
    assert world.events() == [PeerReady(MAPPED)]
    assert world.run(2.0) == []


def test_it_greets_until_it_is_hushed_and_answers_questions_only() -> None:
    world = World()
    world.answer(world.open()[0], attr.MAPPED_ADDRESS(MAPPED))
    peer = world.peer
    peer.greet(RELAYED, world.now)
    assert world.run(0.1) == [Datagram(LOCAL, RELAYED, peer.hello)] * 3
    peer.hush()
    assert world.run(1.0) == []
    assert not peer.is_reached
    dropped = peer.dropped
    for data in (b"", b"hello", peer.hello, peer.answer, bytes(20)):
        peer.receive_datagram(Datagram(RELAYED, LOCAL, data), world.now)
    assert (peer.is_reached, peer.datagrams_to_send(), peer.dropped - dropped) == (False, [], 5)
    # Some relays send from another address than they named.
    peer.receive_datagram(Datagram(Address("192.0.2.2", 1), LOCAL, peer.question + b"\0\7"), world.now)
    assert peer.is_reached
    assert peer.datagrams_to_send() == [Datagram(LOCAL, RELAYED, peer.answer + b"\0\7")]


def test_without_an_answer_it_allocates_once_there_is_a_relay() -> None:
    world = World()
    world.open()
    assert len(world.run(2.0)) == 8
    assert (world.events(), world.peer.is_allocation) == ([], False)
    world.peer.greet(RELAYED, world.now)
    assert world.events() == [StreamWanted(200, HOST, SERVER, Transport.TCP, None)]
    assert world.peer.is_allocation


def test_over_udp_the_second_allocation_uses_its_socket() -> None:
    world = World(Transport.UDP)
    world.open()
    world.peer.greet(RELAYED, world.now)
    sent = world.run(1.0)
    allocate = [item for item in sent if item.data[:2] == b"\0\3"]
    assert allocate
    assert {(item.source, item.destination) for item in allocate} == {(LOCAL, SERVER)}


def test_without_any_socket_there_is_no_peer_over_udp() -> None:
    world = World(Transport.UDP)
    world.peer.start(world.now)
    world.peer.socket_failed(2, SocketFailure.UNAVAILABLE, world.now)
    world.peer.greet(RELAYED, world.now)
    assert [type(event) for event in world.events()] == [SocketWanted, PeerFailed]
    assert world.run(60.0) == []


@pytest.mark.parametrize("data", [b"", b"\0\1", bytes(20), b"\1\1\0\0\x21\x12\xa4\x42" + bytes(12), b"\xff" * 100])
def test_garbage_is_dropped(data: bytes) -> None:
    world = World()
    world.open()
    world.peer.receive_datagram(Datagram(SERVER, LOCAL, data), world.now)
    world.peer.receive_datagram(Datagram(SERVER, Address(HOST, 1), data), world.now)
    assert (world.events(), world.peer.datagrams_to_send()) == ([], [])


def test_a_malformed_answer_is_no_answer() -> None:
    world = World()
    request = world.open()[0]
    transaction_id = decode(request.data).transaction_id
    body = b"\x00\x20\x00\x02\x00\x01\x00\x00"
    data = b"\x01\x01\x00\x08\x21\x12\xa4\x42" + transaction_id + body
    world.peer.receive_datagram(Datagram(SERVER, LOCAL, data), world.now)
    assert (world.events(), world.peer.dropped) == ([], 1)


def test_an_address_that_nobody_can_send_to_is_no_answer() -> None:
    world = World()
    request = decode(world.open()[0].data)
    answer = success(request, attr.XOR_MAPPED_ADDRESS(Address("0.0.0.0", 5000)))
    world.peer.receive_datagram(Datagram(SERVER, LOCAL, answer.encode()), world.now)
    assert (world.events(), world.peer.dropped) == ([], 1)


def test_closing_releases_the_socket_at_once_or_as_soon_as_it_is_there() -> None:
    world = World()
    world.open()
    world.peer.close(world.now)
    world.peer.close(world.now)
    assert world.peer.is_closed
    assert world.events() == [SocketReleased(LOCAL)]
    assert world.peer.get_timer() is None
    late = World()
    late.peer.start(late.now)
    late.peer.close(late.now)
    late.events()
    late.peer.socket_opened(2, LOCAL, late.now)
    assert late.events() == [SocketReleased(LOCAL)]
    assert late.peer.datagrams_to_send() == []
