"""RFC 8656, rule by rule: each error code in a table, and what is relayed."""

from __future__ import annotations

import pytest

from icekit.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    CHANNEL_NUMBER,
    DATA,
    DONT_FRAGMENT,
    EVEN_PORT,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    Family,
    Item,
)
from icekit.net import Address, Datagram, Transport
from icekit.server import AllocationDeleted, AllocationGranted, Deletion
from icekit.stun import ChannelData, Class, Message, Method, decode, indication
from icekit.turn_server import MAX_RELAYED
from tests.turn_client import CLIENT, PEER, SERVER, Client, World, turn_server_config

UDP = REQUESTED_TRANSPORT(17)
TOKEN = RESERVATION_TOKEN(b"no token")
LOOPBACK = Address("127.0.0.1", 9)


def permit(client: Client, *peers: Address) -> Message:
    return client.ask(Method.CREATE_PERMISSION, *(XOR_PEER_ADDRESS(peer) for peer in peers))


def bind(client: Client, channel: int, peer: Address) -> Message:
    return client.ask(Method.CHANNEL_BIND, CHANNEL_NUMBER(channel), XOR_PEER_ADDRESS(peer))


def code(answer: Message) -> int:
    return 0 if answer.message_class is Class.SUCCESS else answer.error().code


def send(client: Client, peer: Address, data: bytes, *items: Item) -> list[Datagram]:
    message = indication(Method.SEND, client.transaction_id(), XOR_PEER_ADDRESS(peer), DATA(data), *items)
    return client.world.receive(message.encode(), client.source, transport=client.transport)


def test_an_allocation_in_full() -> None:
    world = World(turn_server_config(), software="")
    client = Client(world)
    client.challenge()
    answer = client.ask(Method.ALLOCATE, UDP)
    relayed = answer.get(XOR_RELAYED_ADDRESS)
    assert relayed is not None
    assert relayed.host == "198.51.100.1"
    assert 50000 <= relayed.port <= 50999
    assert [number for number, _ in answer.attributes] == [
        XOR_RELAYED_ADDRESS.type,
        LIFETIME.type,
        XOR_MAPPED_ADDRESS.type,
    ]
    assert answer.get(LIFETIME) == 600
    assert answer.get(XOR_MAPPED_ADDRESS) == CLIENT
    assert answer.verify(client.key)
    assert world.bound == {relayed}
    assert world.events == [AllocationGranted(CLIENT, Transport.UDP, "alice", (relayed,))]


# What is asked, and the code of the answer (0: success). Two families are relayed unless the table says otherwise.
ALLOCATES: list[tuple[str, tuple[Item, ...], int]] = [
    ("plain", (UDP,), 0),
    ("no transport", (), 400),
    ("transport cut off", ((REQUESTED_TRANSPORT.type, b"\x11"),), 400),
    ("TCP relay", (REQUESTED_TRANSPORT(6),), 442),
    ("don't fragment", (UDP, DONT_FRAGMENT(True)), 420),
    ("unknown", (UDP, (0x7ABC, b"")), 420),
    ("unknown optional", (UDP, (0x8ABC, b"")), 0),
    ("IPv4", (UDP, REQUESTED_ADDRESS_FAMILY(1)), 0),
    ("IPv6", (UDP, REQUESTED_ADDRESS_FAMILY(2)), 0),
    ("no such family", (UDP, REQUESTED_ADDRESS_FAMILY(3)), 440),
    ("both families", (UDP, ADDITIONAL_ADDRESS_FAMILY(2)), 0),
    ("additional IPv4", (UDP, ADDITIONAL_ADDRESS_FAMILY(1)), 400),
    ("both attributes", (UDP, REQUESTED_ADDRESS_FAMILY(1), ADDITIONAL_ADDRESS_FAMILY(2)), 400),
    ("even", (UDP, EVEN_PORT(False)), 0),
    ("even and reserve", (UDP, EVEN_PORT(True)), 0),
    ("reserve with both families", (UDP, EVEN_PORT(True), ADDITIONAL_ADDRESS_FAMILY(2)), 400),
    ("even with both families", (UDP, EVEN_PORT(False), ADDITIONAL_ADDRESS_FAMILY(2)), 0),
    ("unknown token", (UDP, TOKEN), 508),
    ("token of wrong length", (UDP, (RESERVATION_TOKEN.type, b"short")), 400),
    ("token and even", (UDP, TOKEN, EVEN_PORT(False)), 400),
    ("token and family", (UDP, TOKEN, REQUESTED_ADDRESS_FAMILY(1)), 400),
    ("token and additional family", (UDP, TOKEN, ADDITIONAL_ADDRESS_FAMILY(2)), 400),
]


@pytest.mark.parametrize(("items", "expected"), [row[1:] for row in ALLOCATES], ids=[row[0] for row in ALLOCATES])
def test_allocate(items: tuple[Item, ...], expected: int) -> None:
    world = World(turn_server_config(relay_ipv6="2001:db8::1"))
    client = Client(world)
    client.challenge()
    answer = client.ask(Method.ALLOCATE, *items)
    assert code(answer) == expected
    # Whoever has authenticated gets protected answers, errors too (RFC 8489 §9.2.4).
    assert answer.verify(client.key)
    assert world.server.allocations == (expected == 0)
    assert bool(world.bound) == (expected == 0)


def test_420_names_the_attributes() -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.challenge()
    assert client.ask(Method.ALLOCATE, UDP, DONT_FRAGMENT(True)).get(UNKNOWN_ATTRIBUTES) == (0x001A,)
    assert client.ask(Method.ALLOCATE, UDP, (0x7ABC, b""), (0x7ABD, b"")).get(UNKNOWN_ATTRIBUTES) == (0x7ABC, 0x7ABD)


@pytest.mark.parametrize(
    ("changes", "items", "expected"),
    [
        ({}, (REQUESTED_ADDRESS_FAMILY(2),), 440),
        ({"relay_ipv4": None, "relay_ipv6": "2001:db8::1"}, (), 440),
        ({"relay_ipv4": None, "relay_ipv6": "2001:db8::1"}, (REQUESTED_ADDRESS_FAMILY(2),), 0),
        ({"relay_ipv4": None, "relay_ipv6": "2001:db8::1"}, (ADDITIONAL_ADDRESS_FAMILY(2),), 0),
    ],
)
def test_families_that_are_not_relayed(changes: dict[str, object], items: tuple[Item, ...], expected: int) -> None:
    client = Client(World(turn_server_config(**changes)))
    client.challenge()
    assert code(client.ask(Method.ALLOCATE, UDP, *items)) == expected


def test_both_families() -> None:
    world = World(turn_server_config(relay_ipv6="2001:db8::1"))
    client = Client(world)
    client.challenge()
    answer = client.ask(Method.ALLOCATE, UDP, ADDITIONAL_ADDRESS_FAMILY(2))
    relayed = answer.all(XOR_RELAYED_ADDRESS)
    assert [address.host for address in relayed] == ["198.51.100.1", "2001:db8::1"]
    assert answer.get(ADDRESS_ERROR_CODE) is None
    six = Address("2001:db8::99", 7)
    assert code(permit(client, PEER, six)) == 0
    assert [datagram.source for datagram in send(client, six, b"6")] == [relayed[1]]
    assert [datagram.source for datagram in send(client, PEER, b"4")] == [relayed[0]]
    # One of the two ends; the other goes on (RFC 8656 §8.2).
    assert code(client.ask(Method.REFRESH, LIFETIME(0), REQUESTED_ADDRESS_FAMILY(1))) == 0
    assert world.bound == {relayed[1]}
    assert send(client, PEER, b"4") == []
    assert code(client.ask(Method.REFRESH, REQUESTED_ADDRESS_FAMILY(1))) == 443
    assert code(permit(client, PEER)) == 443


def test_one_family_of_two() -> None:
    client = Client(World(turn_server_config()))
    client.challenge()
    answer = client.ask(Method.ALLOCATE, UDP, ADDITIONAL_ADDRESS_FAMILY(2))
    assert [address.host for address in answer.all(XOR_RELAYED_ADDRESS)] == ["198.51.100.1"]
    error = answer.get(ADDRESS_ERROR_CODE)
    assert error is not None
    assert (error.family, error.code) == (2, 440)


def test_external_host_is_told_and_the_own_one_is_bound() -> None:
    world = World(turn_server_config(relay_ipv4="10.0.0.5", external_ipv4="198.51.100.7"))
    relayed = Client(world).allocate()
    assert relayed.host == "198.51.100.7"
    assert world.bound == {Address("10.0.0.5", relayed.port)}


def test_even_port_and_reservation() -> None:
    world = World(turn_server_config())
    first, second, third = (Client(world, source=Address("203.0.113.5", port)) for port in (1, 2, 3))
    first.challenge()
    answer = first.ask(Method.ALLOCATE, UDP, EVEN_PORT(True))
    relayed, token = answer.get(XOR_RELAYED_ADDRESS), answer.get(RESERVATION_TOKEN)
    assert relayed is not None
    assert token is not None
    assert relayed.port % 2 == 0
    assert world.bound == {relayed, Address(relayed.host, relayed.port + 1)}
    # The port next to it is kept for the user who has the token, and for nobody else.
    thief = Client(world, username="bob", password="hunter2", source=Address("203.0.113.5", 4))
    thief.challenge()
    assert code(thief.ask(Method.ALLOCATE, UDP, RESERVATION_TOKEN(token))) == 508
    assert second.allocate(RESERVATION_TOKEN(token)) == Address(relayed.host, relayed.port + 1)
    third.challenge()
    assert code(third.ask(Method.ALLOCATE, UDP, RESERVATION_TOKEN(token))) == 508


def test_a_reservation_ends_after_30_seconds() -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.challenge()
    answer = client.ask(Method.ALLOCATE, UDP, EVEN_PORT(True))
    token = answer.get(RESERVATION_TOKEN)
    assert token is not None
    assert len(world.bound) == 2
    world.run_until(1030.0)
    assert world.bound == {answer.get(XOR_RELAYED_ADDRESS)}
    late = Client(world, source=Address("203.0.113.5", 2))
    late.challenge()
    assert code(late.ask(Method.ALLOCATE, UDP, RESERVATION_TOKEN(token))) == 508


@pytest.mark.parametrize("items", [(EVEN_PORT(False),), (EVEN_PORT(True),)])
def test_even_port_stays_even_when_ports_are_taken(items: tuple[Item, ...]) -> None:
    world = World(turn_server_config(relay_ports=(50000, 50003)))
    world.taken = {Address("198.51.100.1", port) for port in (50000, 50001)}
    assert Client(world).allocate(*items).port == 50002


def test_508_when_no_port_is_free() -> None:
    world = World(turn_server_config(relay_ports=(50000, 50001)))
    world.taken = {Address("198.51.100.1", port) for port in (50000, 50001)}
    client = Client(world)
    client.challenge()
    for items in ((), (EVEN_PORT(True),)):
        answer = client.ask(Method.ALLOCATE, UDP, *items)
        assert code(answer) == 508
        assert answer.verify(client.key)
    assert (world.server.allocations, world.bound, world.events) == (0, set(), [])


@pytest.mark.parametrize(
    ("asked", "granted"), [(None, 600), (0, 600), (1, 600), (601, 601), (3600, 3600), (3601, 3600), (2**32 - 1, 3600)]
)
def test_lifetime_of_an_allocation(asked: int | None, granted: int) -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.challenge()
    items = () if asked is None else (LIFETIME(asked),)
    assert client.ask(Method.ALLOCATE, UDP, *items).get(LIFETIME) == granted
    world.run_until(1000.0 + granted - 0.01)
    assert world.server.allocations == 1
    world.run_until(1000.0 + granted)
    assert (world.server.allocations, world.bound) == (0, set())
    assert world.events[-1] == AllocationDeleted(CLIENT, Transport.UDP, "alice", Deletion.EXPIRED)


@pytest.mark.parametrize(("asked", "granted"), [(None, 600), (1, 600), (1234, 1234), (9999, 3600), (0, 0)])
def test_refresh(asked: int | None, granted: int) -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.allocate()
    world.run_until(1500.0)
    answer = client.ask(Method.REFRESH, *(() if asked is None else (LIFETIME(asked),)))
    assert (code(answer), answer.get(LIFETIME)) == (0, granted)
    world.run_until(1500.0 + granted - 0.01)
    assert world.server.allocations == (granted > 0)
    world.run_until(1500.0 + granted)
    assert (world.server.allocations, world.bound) == (0, set())
    reason = Deletion.EXPIRED if granted else Deletion.RELEASED
    assert world.events[-1] == AllocationDeleted(CLIENT, Transport.UDP, "alice", reason)


def test_allocate_again() -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.challenge()
    transaction_id = client.transaction_id()
    first = client.ask(Method.ALLOCATE, UDP, transaction_id=transaction_id)
    world.run_until(1010.0)
    # The same transaction gets the same answer, a new one 437 (RFC 8656 §7.2).
    again = client.ask(Method.ALLOCATE, UDP, transaction_id=transaction_id)
    assert again.get(XOR_RELAYED_ADDRESS) == first.get(XOR_RELAYED_ADDRESS)
    assert again.get(LIFETIME) == 590
    assert code(client.ask(Method.ALLOCATE, UDP)) == 437
    assert world.server.allocations == 1
    other = Client(world, username="bob", password="hunter2")
    other.nonce = client.nonce
    assert code(other.ask(Method.ALLOCATE, UDP, transaction_id=transaction_id)) == 441


def test_requests_while_the_socket_is_opened() -> None:
    world = World(turn_server_config())
    world.open_sockets = False
    client = Client(world)
    client.challenge()
    transaction_id = client.transaction_id()
    assert client.ask_all(Method.ALLOCATE, UDP, transaction_id=transaction_id) == []
    assert client.ask_all(Method.ALLOCATE, UDP, transaction_id=transaction_id) == []
    assert code(client.ask(Method.ALLOCATE, UDP)) == 437
    assert code(permit(client, PEER)) == 437
    (wanted,) = world.wanted
    world.bound.add(wanted.local)
    world.server.socket_opened(wanted.id, wanted.local, world.now)
    (answer,) = world.pump()
    assert decode(answer.data).get(XOR_RELAYED_ADDRESS) == wanted.local


def test_a_socket_that_comes_too_late_is_released() -> None:
    world = World(turn_server_config())
    world.open_sockets = False
    client = Client(world)
    client.challenge()
    assert client.ask_all(Method.ALLOCATE, UDP) == []
    world.run_until(1600.0)
    assert world.server.allocations == 0
    (wanted,) = world.wanted
    world.bound.add(wanted.local)
    world.server.socket_opened(wanted.id, wanted.local, world.now)
    assert world.pump() == []
    assert world.bound == set()


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_without_an_allocation_it_is_437(method: Method) -> None:
    client = Client(World(turn_server_config()))
    client.challenge()
    assert code(client.ask(method, XOR_PEER_ADDRESS(PEER), CHANNEL_NUMBER(0x4000))) == 437


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_another_user_gets_441(method: Method) -> None:
    world = World(turn_server_config())
    alice = Client(world)
    alice.allocate()
    bob = Client(world, username="bob", password="hunter2")
    bob.nonce = alice.nonce
    assert code(bob.ask(method, LIFETIME(0), XOR_PEER_ADDRESS(PEER), CHANNEL_NUMBER(0x4000))) == 441
    assert world.server.allocations == 1


# Peers and what CreatePermission and ChannelBind say; nothing is allowed specially.
PEERS = [
    ("203.0.113.99", 0),
    ("8.8.8.8", 0),
    ("198.18.0.1", 0),
    ("127.0.0.1", 403),
    ("127.8.9.10", 403),
    ("0.0.0.0", 403),
    ("10.1.2.3", 403),
    ("172.16.0.1", 403),
    ("192.168.1.1", 403),
    ("100.64.0.1", 403),
    ("169.254.169.254", 403),
    ("224.0.0.1", 403),
    ("255.255.255.255", 403),
    ("2001:db8::99", 0),
    ("2606:4700::1111", 0),
    ("::1", 403),
    ("::", 403),
    ("fe80::1", 403),
    ("fd00::1", 403),
    ("ff02::1", 403),
    ("::ffff:127.0.0.1", 403),
    ("::ffff:10.0.0.1", 403),
    ("64:ff9b::7f00:1", 403),
    ("2002:7f00:1::1", 403),
    ("2001::1", 403),
]


@pytest.mark.parametrize(("host", "expected"), PEERS)
def test_peers(host: str, expected: int) -> None:
    client = Client(World(turn_server_config(relay_ipv6="2001:db8::1")))
    client.allocate(ADDITIONAL_ADDRESS_FAMILY(2))
    assert code(permit(client, Address(host, 9))) == expected
    assert code(bind(client, 0x4000, Address(host, 9))) == expected
    assert len(send(client, Address(host, 9), b"x")) == (expected == 0)


def test_allowed_peers() -> None:
    client = Client(World(turn_server_config(allow_peers=("127.0.0.0/8", "0.0.0.0/0"))))
    client.allocate()
    assert code(permit(client, LOOPBACK, Address("10.0.0.1", 1))) == 0
    assert code(permit(client, Address("224.0.0.1", 1))) == 403
    assert code(permit(client, Address("0.0.0.0", 1))) == 403


def test_create_permission_takes_all_peers_or_none() -> None:
    client = Client(World(turn_server_config()))
    client.allocate()
    assert code(client.ask(Method.CREATE_PERMISSION)) == 400
    assert code(permit(client, PEER, LOOPBACK)) == 403
    assert code(permit(client, PEER, Address("2001:db8::1", 1))) == 443
    assert code(client.ask(Method.CREATE_PERMISSION, XOR_PEER_ADDRESS(PEER), (XOR_PEER_ADDRESS.type, b"bad"))) == 400
    assert send(client, PEER, b"x") == []
    assert client.world.server.counters.no_permission == 1
    assert code(permit(client, PEER)) == 0
    assert len(send(client, PEER, b"x")) == 1


OTHER_PEER = Address("203.0.113.98", 7000)
CHANNEL_BINDS: list[tuple[str, tuple[Item, ...], int]] = [
    ("same again", (CHANNEL_NUMBER(0x4000), XOR_PEER_ADDRESS(PEER)), 0),
    ("another", (CHANNEL_NUMBER(0x4FFF), XOR_PEER_ADDRESS(OTHER_PEER)), 0),
    ("same peer, other port", (CHANNEL_NUMBER(0x4001), XOR_PEER_ADDRESS(Address(PEER.host, 7001))), 0),
    ("channel of another peer", (CHANNEL_NUMBER(0x4000), XOR_PEER_ADDRESS(OTHER_PEER)), 400),
    ("peer of another channel", (CHANNEL_NUMBER(0x4001), XOR_PEER_ADDRESS(PEER)), 400),
    ("number too low", (CHANNEL_NUMBER(0x3FFF), XOR_PEER_ADDRESS(OTHER_PEER)), 400),
    ("number too high", (CHANNEL_NUMBER(0x5000), XOR_PEER_ADDRESS(OTHER_PEER)), 400),
    ("no number", (XOR_PEER_ADDRESS(OTHER_PEER),), 400),
    ("no peer", (CHANNEL_NUMBER(0x4001),), 400),
    ("port 0", (CHANNEL_NUMBER(0x4001), XOR_PEER_ADDRESS(Address(OTHER_PEER.host, 0))), 400),
    ("other family", (CHANNEL_NUMBER(0x4001), XOR_PEER_ADDRESS(Address("2001:db8::1", 1))), 443),
    ("forbidden", (CHANNEL_NUMBER(0x4001), XOR_PEER_ADDRESS(LOOPBACK)), 403),
]


@pytest.mark.parametrize(
    ("items", "expected"), [row[1:] for row in CHANNEL_BINDS], ids=[row[0] for row in CHANNEL_BINDS]
)
def test_channel_bind_with_one_bound(items: tuple[Item, ...], expected: int) -> None:
    client = Client(World(turn_server_config()))
    client.allocate()
    assert code(bind(client, 0x4000, PEER)) == 0
    assert code(client.ask(Method.CHANNEL_BIND, *items)) == expected


def test_relaying_with_indications() -> None:
    world = World(turn_server_config())
    client = Client(world)
    relayed = client.allocate()
    assert code(permit(client, PEER)) == 0
    assert send(client, PEER, b"out") == [Datagram(relayed, PEER, b"out")]
    assert send(client, PEER, b"") == [Datagram(relayed, PEER, b"")]
    (back,) = world.receive(b"in", PEER, relayed)
    assert (back.source, back.destination) == (SERVER, CLIENT)
    message = decode(back.data)
    assert (message.method, message.message_class) == (Method.DATA, Class.INDICATION)
    assert (message.get(XOR_PEER_ADDRESS), message.get(DATA)) == (PEER, b"in")
    # A permission is for the host: any port of it may answer (RFC 8656 §9).
    assert len(world.receive(b"in", Address(PEER.host, 1), relayed)) == 1
    assert world.receive(b"in", Address("203.0.113.1", 1), relayed) == []
    counters = world.server.counters
    assert (counters.relayed_to_peer, counters.relayed_to_client, counters.no_permission) == (2, 2, 1)


@pytest.mark.parametrize("family", [None, Family.IPV6])
def test_a_peer_that_sends_more_than_an_indication_holds(family: Family | None) -> None:
    world = World(turn_server_config(relay_ipv6="2001:db8::1"))
    client = Client(world)
    relayed = client.allocate(*(() if family is None else (REQUESTED_ADDRESS_FAMILY(family),)))
    peer = PEER if family is None else Address("2001:db8:1::7", 5000)
    assert code(permit(client, peer)) == 0
    for size in range(MAX_RELAYED - 5, 65_528):
        back = world.receive(bytes(size), peer, relayed)
        assert [len(decode(item.data).get(DATA) or b"") for item in back] == [size] * (size <= MAX_RELAYED)
    assert world.server.counters.too_large == 65_527 - MAX_RELAYED
    # A channel holds whatever UDP can bring.
    assert code(bind(client, 0x4000, peer)) == 0
    (whole,) = world.receive(bytes(65_527), peer, relayed)
    assert len(whole.data) == 65_531


def test_relaying_with_a_channel() -> None:
    world = World(turn_server_config())
    client = Client(world)
    relayed = client.allocate()
    assert code(bind(client, 0x4001, PEER)) == 0
    assert world.receive(ChannelData(0x4001, b"out").encode(padded=False)) == [Datagram(relayed, PEER, b"out")]
    # Over UDP the padding may be there, and is not data (RFC 8656 §12.5).
    assert world.receive(ChannelData(0x4001, b"out").encode(padded=True)) == [Datagram(relayed, PEER, b"out")]
    assert world.receive(b"in", PEER, relayed) == [
        Datagram(SERVER, CLIENT, ChannelData(0x4001, b"in").encode(padded=False))
    ]
    # Another port of that host is another peer: it has the permission, not the channel.
    (back,) = world.receive(b"in", Address(PEER.host, 1), relayed)
    assert decode(back.data).get(DATA) == b"in"
    assert world.receive(ChannelData(0x4002, b"out").encode(padded=False)) == []
    assert world.receive(b"\x40\x01\x00\x09short") == []
    assert world.receive(ChannelData(0x4001, b"out").encode(padded=False), Address("203.0.113.6", 1)) == []
    counters = world.server.counters
    assert (counters.no_channel, counters.garbage, counters.no_allocation) == (1, 1, 1)


def test_relaying_over_a_stream() -> None:
    world = World(turn_server_config())
    client = Client(world, transport=Transport.TCP)
    world.server.stream_accepted(-1, Transport.TCP, SERVER, CLIENT, world.now)
    relayed = client.allocate()
    assert code(bind(client, 0x4001, PEER)) == 0
    whole = ChannelData(0x4001, b"first").encode(padded=True) + ChannelData(0x4001, b"second!").encode(padded=True)
    sent = [datagram for byte in whole for datagram in world.receive(bytes([byte]), transport=Transport.TCP)]
    assert sent == [Datagram(relayed, PEER, b"first"), Datagram(relayed, PEER, b"second!")]
    (back,) = world.receive(b"in", PEER, relayed)
    assert back == Datagram(SERVER, CLIENT, b"\x40\x01\x00\x02in\0\0", Transport.TCP)


@pytest.mark.parametrize(
    "items",
    [
        (XOR_PEER_ADDRESS(PEER),),
        (DATA(b"x"),),
        (XOR_PEER_ADDRESS(PEER), DATA(b"x"), DONT_FRAGMENT(True)),
        (XOR_PEER_ADDRESS(PEER), DATA(b"x"), (0x7ABC, b"")),
        (XOR_PEER_ADDRESS(Address(PEER.host, 0)), DATA(b"x")),
        ((XOR_PEER_ADDRESS.type, b"bad"), DATA(b"x")),
    ],
)
def test_a_wrong_send_indication_is_dropped(items: tuple[Item, ...]) -> None:
    world = World(turn_server_config())
    client = Client(world)
    client.allocate()
    permit(client, PEER)
    assert world.receive(indication(Method.SEND, client.transaction_id(), *items).encode()) == []
    assert world.server.counters.garbage == 1


def test_a_permission_lasts_300_seconds_and_a_channel_600() -> None:
    world = World(turn_server_config())
    client = Client(world)
    relayed = client.allocate(LIFETIME(3600))
    permit(client, PEER)
    bind(client, 0x4001, OTHER_PEER)
    out = ChannelData(0x4001, b"x").encode(padded=False)
    for when, with_permission, to_channel, from_channel in (
        (1299.9, 1, 1, 1),
        # The permission that came with the channel is over, so nothing comes back; the channel itself still sends.
        (1300.0, 0, 1, 0),
        (1599.9, 0, 1, 0),
        (1600.0, 0, 0, 0),
    ):
        world.run_until(when)
        assert len(send(client, PEER, b"x")) == with_permission
        assert len(world.receive(b"x", PEER, relayed)) == with_permission
        assert len(world.receive(out)) == to_channel
        assert len(world.receive(b"x", OTHER_PEER, relayed)) == from_channel
    # An expired channel number is free again.
    assert code(bind(client, 0x4001, PEER)) == 0


def test_allocations_permissions_and_channels_are_bounded() -> None:
    world = World(turn_server_config(max_allocations=3, max_allocations_per_user=2, max_permissions=2, max_channels=2))
    one, two, three, four = (Client(world, source=Address("203.0.113.5", port)) for port in (1, 2, 3, 4))
    one.allocate()
    two.allocate()
    three.challenge()
    assert code(three.ask(Method.ALLOCATE, UDP)) == 486
    bob = Client(world, username="bob", password="hunter2", source=Address("203.0.113.5", 5))
    bob.challenge()
    # An even port with the next one counts twice.
    assert code(bob.ask(Method.ALLOCATE, UDP, EVEN_PORT(True))) == 508
    bob.allocate()
    four = Client(world, username="bob", password="hunter2", source=Address("203.0.113.5", 6))
    four.challenge()
    assert code(four.ask(Method.ALLOCATE, UDP)) == 508
    # What has ended no longer counts.
    assert code(one.ask(Method.REFRESH, LIFETIME(0))) == 0
    three.allocate()

    peers = [Address("203.0.113.99", port) for port in (1, 2, 3)]
    assert [code(bind(two, 0x4000 + number, peer)) for number, peer in enumerate(peers)] == [0, 0, 508]
    assert code(permit(two, Address("203.0.113.1", 1), Address("203.0.113.2", 1))) == 508
    assert code(permit(two, Address("203.0.113.1", 1), Address("203.0.113.99", 1))) == 0


def test_time_limited_credentials_outlive_their_time_on_a_running_allocation() -> None:
    from icekit.servers import make_credentials

    world = World(turn_server_config(users={}, secret="top", max_allocations_per_user=1), unix_offset=1_700_000_000.0)
    username, password = make_credentials("top", "carol", 1_700_001_100)
    client = Client(world, username=username, password=password)
    client.allocate()
    # The limit is for the user, not for the user name with its time.
    name, again = make_credentials("top", "carol", 1_700_001_101)
    second = Client(world, username=name, password=again, source=Address("203.0.113.5", 2))
    second.challenge()
    assert code(second.ask(Method.ALLOCATE, UDP)) == 486
    world.run_until(1200.0)
    assert code(client.ask(Method.REFRESH)) == 0
    assert code(second.ask(Method.ALLOCATE, UDP)) == 401
