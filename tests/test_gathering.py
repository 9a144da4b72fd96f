"""Gathering in virtual time against our own server cores (the wire itself is tested against coturn in interop)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.attributes import ErrorCode, Family, Item
from icekit.candidate import Candidate, TcpType
from icekit.errors import ConfigError, InvalidState
from icekit.gathering import Gatherer
from icekit.gathering_events import (
    CandidateGathered,
    GatheringComplete,
    LocalAddressFailed,
    RelayLost,
    ServerAnswered,
    ServerFailed,
)
from icekit.gathering_plan import GatherConfig
from icekit.net import (
    Address,
    Datagram,
    ListenerReleased,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    Transport,
)
from icekit.network_config import NetworkConfig
from icekit.session_gathering import SESSION_GATHERING
from icekit.stun import Class, IntegrityKey, Message, Method, decode, long_term_key
from icekit.turn_config import TurnConfig
from tests.gathering_world import (
    HOME,
    HOME_IPV6,
    PUBLIC,
    STUN,
    TURN,
    TURN_IPV6,
    USER,
    WIFI,
    WRONG,
    World,
    endpoint,
    server,
    turn_server,
)

STUN_URL = "stun:stun.example.org"
TURN_URL = "turn:turn.example.org"
TCP_URL = "turn:turn.example.org?transport=tcp"
TLS_URL = "turns:turn.example.org"
DEAD_URL = "stun:192.0.2.1"
DEAD = Address("192.0.2.1", 3478)


def found(world: World) -> list[tuple[str, str, int, float]]:
    """Type, address, port and milliseconds of every candidate."""
    return [
        (str(event.candidate.type), event.candidate.address, event.candidate.port, round(event.seconds * 1000, 6))
        for event in world.events
        if isinstance(event, CandidateGathered)
    ]


def candidates(world: World) -> list[Candidate]:
    return [event.candidate for event in world.events if isinstance(event, CandidateGathered)]


def failures(world: World) -> list[tuple[str, str | None, str, float]]:
    return [
        (event.url, event.host, event.error, round(event.seconds, 6))
        for event in world.events
        if isinstance(event, ServerFailed)
    ]


def complete_at(world: World) -> float:
    (event,) = [event for event in world.events if isinstance(event, GatheringComplete)]
    assert world.events[-1] is event
    return round(event.seconds, 6)


def test_host_reflexive_and_relayed_as_they_come() -> None:
    world = World([HOME], [server(STUN_URL), server(TURN_URL, USER)])
    world.add(turn_server(), 0.010, STUN)
    world.add(turn_server(), 0.030, TURN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    world.resolve(1, endpoint(TURN_URL, TURN))
    world.run()
    base = Address(HOME, 5000)
    # Ta = 5 ms; one round trip for STUN, two for TURN. The mapped address of TURN is known by then.
    assert found(world) == [
        ("host", HOME, 5000, 0),
        ("srflx", PUBLIC, 15000, 20),
        ("relay", TURN.host, candidates(world)[2].port, 125),
    ]
    assert complete_at(world) == 0.125
    host, reflexive, relayed = candidates(world)
    assert (host.related_address, host.related_port) == (None, None)
    assert (reflexive.related_address, reflexive.related_port) == base
    assert (relayed.related_address, relayed.related_port) == (PUBLIC, 15000)
    assert [item.priority >> 24 for item in (host, reflexive, relayed)] == [126, 100, 0]
    assert len({item.foundation for item in candidates(world)}) == 3
    answered = [event for event in world.events if isinstance(event, ServerAnswered)]
    mapped = Address(PUBLIC, 15000)
    assert [(item.url, item.server, item.base, item.mapped, len(item.relayed)) for item in answered] == [
        (STUN_URL, STUN, base, mapped, 0),
        (TURN_URL, TURN, base, mapped, 1),
    ]
    for candidate in candidates(world):
        assert Candidate.parse(str(candidate)) == candidate


def test_without_a_nat_the_reflexive_address_is_redundant() -> None:
    world = World([HOME], [server(STUN_URL)], nat=False)
    world.add(turn_server(), 0.010, STUN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    world.run()
    assert [kind for kind, *_ in found(world)] == ["host"]
    (answer,) = [event for event in world.events if isinstance(event, ServerAnswered)]
    assert answer.mapped == answer.base


def test_relays_over_tcp_and_tls_have_a_stream_of_their_own_and_no_reflexive_candidate() -> None:
    world = World([HOME], [server(TCP_URL, USER), server(TLS_URL, USER)])
    world.add(turn_server(), 0.010, TURN)
    world.start()
    world.resolve(0, endpoint(TCP_URL, TURN))
    world.resolve(1, endpoint(TLS_URL, TURN))
    world.run()
    assert [kind for kind, *_ in found(world)] == ["host", "relay", "relay"]
    assert [(item.local, item.transport, item.server_name) for item in world.opened] == [
        (HOME, Transport.TCP, "turn.example.org"),
        (HOME, Transport.TLS, "turn.example.org"),
    ]
    # Connect, challenge, allocation: three round trips.
    assert [milliseconds for *_, milliseconds in found(world)] == [0, 60, 65]
    bases = [event.base for event in world.events if isinstance(event, CandidateGathered)]
    assert bases == [Address(HOME, 5000), Address(HOME, 5001), Address(HOME, 5002)]
    assert [(item.related_address, item.related_port) for item in candidates(world)[1:]] == [
        (PUBLIC, 15001),
        (PUBLIC, 15002),
    ]


def test_a_dead_server_delays_nobody_and_is_given_up_after_the_patience() -> None:
    alone = World([HOME], [server(STUN_URL), server(TURN_URL, USER)])
    dead = World([HOME], [server(STUN_URL), server(TURN_URL, USER), server(DEAD_URL)])
    for world in (alone, dead):
        world.add(turn_server(), 0.010, STUN)
        world.add(turn_server(), 0.030, TURN)
        world.start()
        world.resolve(0, endpoint(STUN_URL, STUN))
        world.resolve(1, endpoint(TURN_URL, TURN))
    dead.resolve(2, endpoint(DEAD_URL, DEAD))
    for world in (alone, dead):
        world.run()
    assert dead.events[:-2] == alone.events[:-1]
    # It began 10 ms after the first.
    error = "no answer to 4 transmissions in 5.0 s; it is down, or a firewall drops the packets"
    assert failures(dead) == [(DEAD_URL, HOME, error, 5.01)]
    assert (complete_at(alone), complete_at(dead)) == (0.125, 5.01)


def test_a_dead_server_that_comes_first_costs_the_others_only_the_pace() -> None:
    world = World([HOME], [server(DEAD_URL), server(STUN_URL)])
    world.add(turn_server(), 0.010, STUN)
    world.start()
    world.resolve(0, endpoint(DEAD_URL, DEAD))
    world.resolve(1, endpoint(STUN_URL, STUN))
    world.run()
    assert found(world)[1][3] == 25


def test_a_slow_name_delays_only_its_own_server_and_the_end() -> None:
    world = World([HOME], [server(STUN_URL), server(TURN_URL, USER)])
    world.add(turn_server(), 0.010, STUN, TURN)
    world.start()
    world.resolve(1, endpoint(TURN_URL, TURN))
    world.later(3.0, lambda: world.resolve(0, endpoint(STUN_URL, STUN)))
    world.run()
    # The mapped address comes with the answer to a Binding request, one Ta after the Allocate.
    assert [(kind, milliseconds) for kind, *_, milliseconds in found(world)] == [
        ("host", 0),
        ("srflx", 25),
        ("relay", 40),
    ]
    assert complete_at(world) == 3.02


def test_a_name_that_does_not_resolve_fails_and_the_rest_goes_on() -> None:
    world = World([HOME], [server(STUN_URL), server(TURN_URL, USER)])
    world.add(turn_server(), 0.010, TURN)
    world.start()
    world.core.server_unresolved(0, "no such name", world.now)
    world.resolve(1, endpoint(TURN_URL, TURN))
    world.run()
    assert failures(world) == [(STUN_URL, None, "no such name", 0)]
    assert complete_at(world) == 0.04


def test_every_local_address_asks_the_servers_of_its_family() -> None:
    world = World([HOME, HOME_IPV6, WIFI], [server(TURN_URL, USER)], config=GatherConfig(ta=0.005))
    world.add(turn_server(), 0.010, TURN, TURN_IPV6)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN_IPV6), endpoint(TURN_URL, TURN))
    world.run()
    assert [(kind, address) for kind, address, *_ in found(world)] == [
        ("host", HOME),
        ("host", HOME_IPV6),
        ("host", WIFI),
        ("srflx", PUBLIC),
        # A relay is IPv4 unless IPv6 is asked for (RFC 8656 §7.1); over IPv6 there is no NAT here.
        ("relay", TURN.host),
        ("srflx", PUBLIC),
        ("relay", TURN.host),
        ("relay", TURN.host),
    ]
    # RFC 8421: IPv6 first, then IPv4; each address has a preference of its own.
    hosts = sorted(candidates(world)[:3], key=lambda item: -item.priority)
    assert [item.address for item in hosts] == [HOME_IPV6, HOME, WIFI]
    priorities = [item.priority for item in candidates(world)]
    assert len(set(priorities)) == len(priorities)
    # RFC 8445 §5.1.1.3: relays of one server address over one transport share the foundation, host candidates do not.
    first, over_ipv6, third = [item.foundation for item in candidates(world) if item.type == "relay"]
    assert first == third != over_ipv6
    assert len({item.foundation for item in candidates(world)[:3]}) == 3


def test_relays_of_both_families() -> None:
    config = GatherConfig(turn=TurnConfig(families=(Family.IPV4, Family.IPV6)))
    world = World([HOME], [server(TURN_URL, USER)], config=config)
    world.add(turn_server(), 0.010, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.run()
    relays = [item for item in candidates(world) if item.type == "relay"]
    assert [item.address for item in relays] == [TURN.host, TURN_IPV6.host]
    assert relays[0].priority > relays[1].priority


def test_starts_are_paced() -> None:
    urls = [f"stun:192.0.2.{number}" for number in range(1, 9)]
    world = World([HOME, WIFI], [server(url) for url in urls], config=GatherConfig(ta=0.02))
    world.start()
    for number, url in enumerate(urls, start=1):
        world.resolve(number - 1, endpoint(url, Address(f"192.0.2.{number}", 3478)))
    world.run(0.45)
    assert [round(when - 100, 6) for when, _ in world.sent] == [round(0.02 * step, 6) for step in range(16)]


def test_where_relays_alone_are_wanted_no_server_is_asked_for_anything_else() -> None:
    world = World([HOME], [server(STUN_URL), server(TURN_URL, USER)], relay_only=True)
    world.add(turn_server(), 0.010, STUN, TURN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    world.resolve(1, endpoint(TURN_URL, TURN))
    world.run()
    assert {decode(item.data).method for _, item in world.sent} == {Method.ALLOCATE}
    assert {item.destination for _, item in world.sent} == {TURN}
    # Its first request takes the first slot.
    assert [(kind, milliseconds) for kind, *_, milliseconds in found(world) if kind == "relay"] == [("relay", 40)]
    assert failures(world) == []


def connecting() -> World:
    """Two connections that begin Ta apart and are there at nearly the same time, after 25 and 26 ms."""
    world = World([HOME], [server(STUN_URL), server(TCP_URL, USER), server(TLS_URL, USER)])
    world.add(turn_server(), 0.0125, TURN)
    world.add(turn_server(), 0.0105, STUN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    world.resolve(1, endpoint(TCP_URL, TURN))
    world.resolve(2, endpoint(TLS_URL, STUN))
    return world


def test_a_connection_waits_for_no_slot_but_the_first_request_over_it_does() -> None:
    world = connecting()
    world.run()
    first = {}
    for when, item in world.sent:
        first.setdefault(item.transport, round(1000 * (when - 100), 6))
    assert first == {Transport.UDP: 0.0, Transport.TCP: 25.0, Transport.TLS: 30.0}
    assert failures(world) == []


def test_a_connection_that_ends_before_its_slot_is_not_asked_over() -> None:
    world = connecting()
    world.run(0.0265)
    waiting = world.opened[1]
    assert waiting.transport is Transport.TLS
    world.core.stream_closed(waiting.id, StreamFailure.REFUSED, world.now, "gone")
    world.pump()
    world.run()
    assert {item.transport for _, item in world.sent} == {Transport.UDP, Transport.TCP}
    [(url, host, error, _)] = failures(world)
    assert (url, host) == (TLS_URL, HOME)
    assert error.endswith("gone")


def test_a_gatherer_closed_before_the_slot_of_a_connection() -> None:
    world = connecting()
    world.run(0.0265)
    world.core.close(world.now)
    world.pump()
    world.run(1.0)
    assert Transport.TLS not in {item.transport for _, item in world.sent}
    assert sorted(world.released_streams) == sorted(item.id for item in world.opened)


def test_a_wrong_password_is_told_and_other_addresses_are_not_tried() -> None:
    world = World([HOME], [server(TURN_URL, WRONG)])
    world.add(turn_server(), 0.010, TURN, STUN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN), endpoint(TURN_URL, STUN))
    world.run()
    [(url, host, error, seconds)] = failures(world)
    assert (url, host, seconds) == (TURN_URL, HOME, 0.04)
    assert error.startswith("401 ")
    assert error.endswith(": the user name or the password is wrong, or has expired")
    assert {datagram.destination for _, datagram in world.sent} == {TURN}
    assert "wrong" not in repr(world.core._asking.legs) and "wrong" not in repr(server(TURN_URL, WRONG))  # noqa: PT018


def test_the_next_address_of_a_name_is_tried_when_the_first_is_silent() -> None:
    world = World([HOME], [server(STUN_URL), server(TURN_URL, USER)])
    world.add(turn_server(), 0.010, TURN, STUN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, DEAD), endpoint(STUN_URL, STUN))
    world.resolve(1, endpoint(TURN_URL, DEAD), endpoint(TURN_URL, TURN))
    world.run()
    assert failures(world) == []
    assert [(kind, milliseconds) for kind, *_, milliseconds in found(world)] == [
        ("host", 0),
        ("srflx", 2520),
        ("relay", 2545),
    ]


def test_a_refused_stream() -> None:
    world = World([HOME], [server(TCP_URL, USER)])
    world.start()
    world.resolve(0, endpoint(TCP_URL, DEAD))
    world.run()
    assert failures(world) == [(TCP_URL, HOME, "cannot connect, refused: nobody there", 0.01)]


def test_a_stream_that_never_opens() -> None:
    world = World([HOME], [server(TCP_URL, USER)])
    world.start()
    world.core.server_resolved(0, [endpoint(TCP_URL, DEAD)], world.now)
    world.core.handle_timer(world.now)
    (wanted,) = [event for event in iter(world.core.next_event, None) if not isinstance(event, CandidateGathered)]
    world.run()
    assert failures(world) == [(TCP_URL, HOME, "cannot connect, timeout: no answer", 5)]
    assert world.released_streams == [wanted.id]  # type: ignore[union-attr]


def test_two_urls_of_one_server_make_one_allocation() -> None:
    other = f"{TURN_URL}?transport=udp"
    world = World([HOME], [server(TURN_URL, USER), server(other, USER)])
    world.add(turn_server(), 0.010, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.resolve(1, endpoint(other, TURN))
    world.run()
    assert failures(world) == [(other, HOME, f"it is the same server as {TURN_URL}, which is asked already", 0.005)]
    assert world.allocations() == 1


@pytest.mark.parametrize(
    ("url", "credential", "address", "error"),
    [
        ("stuns:stun.example.org", None, STUN, "STUN over TLS tells no address for UDP; write stun: instead"),
        (STUN_URL, None, TURN_IPV6, "no local IPv6 address to ask it from"),
        (TURN_URL, USER, None, "its name has no address"),
    ],
)
def test_servers_that_cannot_be_asked(
    url: str, credential: tuple[str, str] | None, address: Address | None, error: str
) -> None:
    world = World([HOME], [server(url, credential)])
    world.start()
    world.resolve(0, *([] if address is None else [endpoint(url, address)]))
    assert failures(world) == [(url, None, error, 0)]
    assert complete_at(world) == 0


def test_a_local_address_that_cannot_be_bound() -> None:
    world = World([HOME, WIFI], [server(STUN_URL)], broken=(HOME,))
    world.add(turn_server(), 0.010, STUN)
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    world.run()
    assert LocalAddressFailed(HOME, SocketFailure.UNAVAILABLE, 0.0) in world.events
    assert failures(world) == [(STUN_URL, HOME, "the local address cannot be used", 0)]
    assert [(kind, address) for kind, address, *_ in found(world)] == [("host", WIFI), ("srflx", PUBLIC)]


def test_without_servers_the_host_candidates_are_all() -> None:
    world = World([HOME, WIFI], [])
    world.start()
    assert [kind for kind, *_ in found(world)] == ["host", "host"]
    assert complete_at(world) == 0
    assert world.core.get_timer() is None


def test_allocations_live_until_close_and_are_then_released() -> None:
    world = World([HOME], [server(TURN_URL, USER), server(TCP_URL, USER)])
    world.add(turn_server(), 0.010, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.resolve(1, endpoint(TCP_URL, TURN))
    world.run(2000.0)
    assert world.allocations() == 2
    assert not [event for event in world.events if isinstance(event, RelayLost)]
    world.core.close(world.now)
    world.core.close(world.now)
    world.pump()
    assert world.bound
    world.run(2001.0)
    assert world.allocations() == 0
    assert (world.bound, len(world.released_streams)) == (set(), 1)
    assert world.core.get_timer() is None
    assert world.core.next_event() is None


def test_closing_in_the_middle_drains() -> None:
    world = World([HOME, WIFI], [server(TURN_URL, USER), server(TCP_URL, USER), server(DEAD_URL)])
    world.add(turn_server(), 0.030, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.resolve(1, endpoint(TCP_URL, TURN))
    world.run(0.1)
    world.core.close(world.now)
    world.pump()
    world.run(60.0)
    assert world.bound == set()
    assert world.allocations() == 0
    assert not [event for event in world.events if isinstance(event, GatheringComplete)]
    with pytest.raises(InvalidState):
        world.core.server_resolved(2, [], world.now)


def test_a_socket_that_opens_after_close_is_closed_again() -> None:
    core = Gatherer([HOME], [], random.Random(1).randbytes)
    core.start(0.0)
    assert core.next_event() == SocketWanted(0, Address(HOME, 0))
    core.close(1.0)
    core.socket_opened(0, Address(HOME, 5000), 2.0)
    assert core.next_event() == SocketReleased(Address(HOME, 5000))
    assert core.next_event() is None


def test_a_relay_that_is_lost_is_told() -> None:
    world = World([HOME], [server(TCP_URL, USER)])
    world.add(turn_server(), 0.010, TURN)
    world.start()
    world.resolve(0, endpoint(TCP_URL, TURN))
    world.run()
    (stream,) = world.streams
    world.core.stream_closed(stream, StreamFailure.RESET, world.now + 1, "gone")
    world.pump()
    (lost,) = [event for event in world.events if isinstance(event, RelayLost)]
    assert (lost.url, lost.relayed, lost.error) == (
        TCP_URL,
        (Address(TURN.host, candidates(world)[-1].port),),
        "reset: gone",
    )


def test_a_port_range_with_one_free_port() -> None:
    network = NetworkConfig(port_range=(50000, 50009))
    taken = tuple(port for port in range(50000, 50010) if port != 50007)
    world = World([HOME], [], taken=taken, network=network)
    world.start()
    world.run()
    assert [(item.address, item.port) for item in candidates(world)] == [(HOME, 50007)]
    world.core.close(world.now)
    world.pump()
    assert world.bound == set()


def test_an_exhausted_port_range_says_so_and_the_gathering_ends() -> None:
    world = World(
        [HOME],
        [server("stun:203.0.113.10")],
        taken=(50000, 50001),
        network=NetworkConfig(port_range=(50000, 50001), tcp=True),
    )
    world.start()
    world.resolve(0, endpoint("stun:203.0.113.10", STUN))
    world.run()
    failed = [event for event in world.events if isinstance(event, LocalAddressFailed)]
    assert {event.transport for event in failed} == {Transport.UDP, Transport.TCP}
    assert all("from 50000 to 50001 are in use; widen the port range" in event.error for event in failed)
    assert isinstance(world.events[-1], GatheringComplete)
    # Connecting needs no port of the range.
    assert [item.tcptype for item in candidates(world)] == [TcpType.ACTIVE]


def test_tcp_candidates_need_no_server_and_are_given_back() -> None:
    world = World([HOME, WIFI], [], broken=(WIFI,), network=NetworkConfig(tcp=True))
    world.start()
    world.run()
    found = candidates(world)
    assert sorted((item.address, item.tcptype) for item in found if item.tcptype is not None) == [
        (HOME, TcpType.ACTIVE),
        (HOME, TcpType.PASSIVE),
        (WIFI, TcpType.ACTIVE),
    ]
    assert len(world.listening) == 1
    world.core.close(world.now)
    world.pump()
    assert (world.listening, world.bound) == (set(), set())
    late = Address(HOME, 9999)
    world.core.listener_opened(0, late, world.now)
    world.core.listener_failed(1, SocketFailure.IN_USE, world.now)
    assert world.core.next_event() == ListenerReleased(late)
    assert world.core.next_event() is None


def test_an_announced_address_needs_no_server() -> None:
    world = World([HOME], [server(DEAD_URL)], network=NetworkConfig(announced=[PUBLIC]))
    world.start()
    host, announced = candidates(world)
    assert (announced.type, announced.address, announced.port) == ("srflx", PUBLIC, host.port)
    with pytest.raises(ConfigError, match=r"is announced for 10\.0\.0\.9, which is not gathered from"):
        World([HOME], [], network=NetworkConfig(announced=[f"{PUBLIC}/10.0.0.9"]))


def test_misuse_is_told() -> None:
    core = Gatherer([HOME], [server(STUN_URL)], random.Random(1).randbytes)
    with pytest.raises(InvalidState):
        core.server_resolved(0, [], 0.0)
    core.start(0.0)
    with pytest.raises(InvalidState):
        core.start(0.0)
    core.server_unresolved(0, "x", 0.0)
    with pytest.raises(InvalidState):
        core.server_resolved(0, [], 0.0)


@pytest.mark.parametrize("mapped", [Address("0.0.0.0", 5), Address("224.0.0.1", 5), Address("198.51.100.1", 0), None])
def test_an_answer_without_a_usable_address(mapped: Address | None) -> None:
    world = World([HOME], [server(STUN_URL)])
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    [(_, datagram)] = world.sent
    items = () if mapped is None else (attr.XOR_MAPPED_ADDRESS(mapped),)
    answer = Message(Method.BINDING, Class.SUCCESS, decode(datagram.data).transaction_id, items)
    world.core.receive_datagram(Datagram(STUN, datagram.source, answer.encode()), world.now)
    world.pump()
    assert failures(world) == [(STUN_URL, HOME, "its answer has no address that can be used", 0)]


def test_an_old_server_with_the_plain_attribute() -> None:
    world = World([HOME], [server(STUN_URL)])
    world.start()
    world.resolve(0, endpoint(STUN_URL, STUN))
    [(_, datagram)] = world.sent
    items = (attr.MAPPED_ADDRESS(Address(PUBLIC, 7)),)
    answer = Message(Method.BINDING, Class.SUCCESS, decode(datagram.data).transaction_id, items).encode()
    # Somebody else's answer, or one to another socket, is none.
    world.core.receive_datagram(Datagram(TURN, datagram.source, answer), world.now)
    world.core.receive_datagram(Datagram(STUN, Address(HOME, 1), answer), world.now)
    assert world.core.next_event() is None
    world.core.receive_datagram(Datagram(STUN, datagram.source, answer), world.now)
    world.pump()
    assert found(world)[1:] == [("srflx", PUBLIC, 7, 0)]


def asked(world: World, *, url: str = TURN_URL, address: Address = TURN) -> Datagram:
    """The one request that left, for a test that answers it itself."""
    world.start()
    world.resolve(0, endpoint(url, address))
    [(_, datagram)] = world.sent
    return datagram


def answer(world: World, to: Datagram, message_class: Class, *items: Item, key: IntegrityKey | None = None) -> None:
    message = decode(to.data)
    data = Message(message.method, message_class, message.transaction_id, items).encode(key)
    world.core.receive_datagram(Datagram(to.destination, to.source, data), world.now)
    world.pump()


CHALLENGE = (attr.ERROR_CODE(ErrorCode(401, "Unauthorized")), attr.REALM("r"), attr.NONCE(b"n"))
KEY = long_term_key(USER[0], "r", USER[1])


def test_a_server_that_falls_silent_between_two_requests_ends_soon_after_the_patience() -> None:
    world = World([HOME], [server(TURN_URL, USER)])
    request = asked(world)
    world.later(3.0, lambda: answer(world, request, Class.ERROR, *CHALLENGE))
    world.run()
    assert failures(world) == [(TURN_URL, HOME, "no result within 5 s", 5.5)]
    sent = len(world.sent)
    # It may have made the allocation all the same, so that is given back; nothing else is sent.
    world.run(60.0)
    assert {decode(item.data).method for _, item in world.sent[sent:]} == {Method.REFRESH}


@pytest.mark.parametrize("config", [GatherConfig(), SESSION_GATHERING], ids=["tool", "session"])
def test_a_session_opens_another_connection_where_the_first_finds_no_relay(config: GatherConfig) -> None:
    world = World([HOME], [server(TCP_URL, USER)], config=config)
    # What the first one sends is as good as lost.
    world.add(turn_server(), 1000.0, TURN)
    world.later(5.2, lambda: world.add(turn_server(), 0.010, TURN))
    world.start()
    world.resolve(0, endpoint(TCP_URL, TURN))
    world.run(60.0)
    if config is SESSION_GATHERING:
        assert [(kind, milliseconds) for kind, _, _, milliseconds in found(world)] == [("host", 0), ("relay", 5560)]
        assert failures(world) == []
        assert world.released_streams == [world.opened[0].id]
    else:
        assert [seconds for *_, seconds in failures(world)] == [5.0]


def test_a_session_gives_a_stream_up_shortly_before_ice_would() -> None:
    world = World([HOME], [server(TCP_URL, USER)], config=SESSION_GATHERING)
    world.add(turn_server(), 1000.0, TURN)
    world.start()
    world.resolve(0, endpoint(TCP_URL, TURN))
    world.run(60.0)
    assert failures(world) == [(TCP_URL, HOME, "no result within 35.5 s", 36.0)]
    assert len(world.opened) == len(world.released_streams) == 3


def test_a_relay_where_nobody_can_send_is_given_back() -> None:
    world = World([HOME], [server(TURN_URL, USER)])
    answer(world, asked(world), Class.ERROR, *CHALLENGE)
    relayed = attr.XOR_RELAYED_ADDRESS(Address("203.0.113.20", 0))
    answer(world, world.sent[-1][1], Class.SUCCESS, relayed, attr.LIFETIME(600), key=KEY)
    world.run(1.0)
    [(_, _, error, _)] = failures(world)
    assert error == "it relays on 203.0.113.20:0, which is no address to send to"
    assert decode(world.sent[-1][1].data).get(attr.LIFETIME) == 0


def test_a_server_that_sends_on_to_another_one() -> None:
    world = World([HOME], [server(TURN_URL, USER)])
    world.add(turn_server(), 0.010, STUN)
    elsewhere = (attr.ERROR_CODE(ErrorCode(300, "Try Alternate")), attr.ALTERNATE_SERVER(STUN))
    answer(world, asked(world), Class.ERROR, *elsewhere)
    world.run()
    assert [kind for kind, *_ in found(world)] == ["host", "srflx", "relay"]
    assert complete_at(world) == 0.04


def test_a_server_that_sends_on_to_one_that_is_asked_already() -> None:
    """A server has one allocation for each 5-tuple (RFC 8656 §7.2), so a second one would be waited for in vain."""
    other_url = "turn:two.example.org"
    world = World([HOME], [server(other_url, USER), server(TURN_URL, USER)])
    world.add(turn_server(), 0.010, STUN)
    world.start()
    world.resolve(0, endpoint(other_url, STUN))
    world.resolve(1, endpoint(TURN_URL, TURN))
    world.run(0.1)
    sent = next(item for _, item in world.sent if item.destination == TURN)
    assert decode(sent.data).method is Method.ALLOCATE
    elsewhere = (attr.ERROR_CODE(ErrorCode(300, "Try Alternate")), attr.ALTERNATE_SERVER(STUN))
    world.sent.clear()
    answer(world, sent, Class.ERROR, *elsewhere)
    world.run(1.0)
    assert [(url, error) for url, _, error, _ in failures(world)] == [
        (TURN_URL, f"it is the same server as {other_url}, which is asked already")
    ]
    assert not [item for _, item in world.sent if item.destination == STUN]
    assert world.allocations() == 1


def test_what_an_abandoned_stream_still_hears_is_not_for_the_next() -> None:
    world = World([HOME], [server(TCP_URL, USER)])
    world.add(turn_server(), 0.010, TURN)
    world.start()
    world.resolve(0, endpoint(TCP_URL, DEAD), endpoint(TCP_URL, TURN))
    world.run(0.04)
    first, second = world.opened
    assert second.id in world.streams
    assert (first.remote, second.remote) == (DEAD, TURN)
    world.core.stream_opened(first.id, Address(HOME, 9), DEAD, world.now)
    world.core.stream_closed(first.id, StreamFailure.RESET, world.now)
    world.run()
    assert failures(world) == []
    assert candidates(world)[-1].type == "relay"
    assert [event.base.port for event in world.events if isinstance(event, ServerAnswered)] == [
        world.streams[second.id][0].port
    ]


def test_a_server_that_waits_for_its_next_address_is_given_up_in_time() -> None:
    world = World([HOME], [server(STUN_URL)], config=GatherConfig(ta=4.0, patience=1.0))
    world.start()
    world.resolve(0, endpoint(STUN_URL, DEAD), endpoint(STUN_URL, STUN))
    world.run()
    assert complete_at(world) == 1.5
    world.run(60.0)
    assert {datagram.destination for _, datagram in world.sent} == {DEAD}


def test_after_close_nobody_is_asked_any_more() -> None:
    world = World([HOME], [server(TURN_URL, USER), server(DEAD_URL)])
    world.add(turn_server(), 0.1, TURN)
    world.start()
    world.resolve(0, endpoint(TURN_URL, TURN))
    world.resolve(1, endpoint(DEAD_URL, DEAD))
    world.run(0.45)
    assert world.allocations() == 1
    sent = len(world.sent)
    world.core.close(world.now)
    world.pump()
    world.run(60.0)
    assert {decode(item.data).method for _, item in world.sent[sent:]} == {Method.REFRESH}


STEPS = st.one_of(
    st.tuples(st.just("run"), st.floats(0, 20)),
    st.tuples(st.just("bytes"), st.binary(max_size=60)),
    st.tuples(st.just("mangle"), st.integers(0, 2**32)),
    st.tuples(st.just("hangup"), st.integers(0, 40)),
    st.tuples(st.just("resolve"), st.integers(0, 3)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=15), st.integers(0, 2**32))
def test_nothing_that_arrives_breaks_it_and_close_always_drains(steps: list[tuple[str, object]], seed: int) -> None:
    dice = random.Random(seed)
    urls = [STUN_URL, TURN_URL, TCP_URL, DEAD_URL]
    world = World([HOME, WIFI], [server(url, USER if url.startswith("turn") else None) for url in urls])
    world.add(turn_server(), 0.03, STUN, TURN)
    world.start()
    open_places = {0, 1, 2, 3}
    for kind, value in steps:
        match kind, value:
            case "run", float(seconds):
                world.run(world.now - 100.0 + seconds)
            case "resolve", int(place) if place in open_places:
                open_places.remove(place)
                world.resolve(place, endpoint(urls[place], [STUN, TURN, TURN, DEAD][place]))
            case "hangup", int(id):
                world.core.stream_closed(id, StreamFailure.RESET, world.now)
                world.pump()
            case (("bytes" | "mangle"), _):
                data = value if isinstance(value, bytes) else b""
                if kind == "mangle" and world.sent:
                    # An answer to something real, with one byte changed.
                    request = dice.choice(world.sent)[1]
                    transaction_id = request.data[8:20]
                    items = (attr.XOR_MAPPED_ADDRESS(Address(PUBLIC, 9)), attr.XOR_RELAYED_ADDRESS(TURN))
                    method = dice.choice([Method.BINDING, Method.ALLOCATE])
                    made = bytearray(
                        Message(method, dice.choice([Class.SUCCESS, Class.ERROR]), transaction_id, items).encode()
                    )
                    made[dice.randrange(len(made))] ^= 1 << dice.randrange(8)
                    data = bytes(made)
                for source in (STUN, TURN):
                    for local in (*world.bound, *(path[0] for path in world.streams.values())):
                        for transport in (Transport.UDP, Transport.TCP):
                            world.core.receive_datagram(Datagram(source, local, data, transport), world.now)
                world.pump()
    for place in open_places:
        world.core.server_unresolved(place, "no", world.now)
    world.pump()
    world.run()
    assert sum(isinstance(event, GatheringComplete) for event in world.events) == 1
    for candidate in candidates(world):
        assert Candidate.parse(str(candidate)) == candidate
    world.core.close(world.now)
    world.pump()
    world.run(world.now - 100.0 + 60.0)
    assert world.core.get_timer() is None
    assert world.core.next_event() is None
    assert world.bound == set()
