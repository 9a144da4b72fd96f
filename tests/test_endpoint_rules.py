"""The rules that every core obeys, run over all of them.

Timers progress, garbage never raises, what a stranger can make grow is bounded, after ``close`` all drains to nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.bench.load_report import Tally
from icekit.bench.relay_loop import RelayLoop
from icekit.candidate import Candidate
from icekit.gathering import Gatherer
from icekit.gathering_plan import GatherServer
from icekit.lifetime import LifetimeProbe
from icekit.long_term_credential import LongTermCredential
from icekit.net import (
    Address,
    Datagram,
    Endpoint,
    ListenerWanted,
    SocketFailure,
    SocketWanted,
    StreamFailure,
    StreamWanted,
    Transport,
)
from icekit.network_config import NetworkConfig
from icekit.probe import NatProbe
from icekit.reachability import ServerCheck, Target
from icekit.relay_user import RelayUser
from icekit.server import Server, ServerConfig
from icekit.servers import ServerUri
from icekit.session import IceSession
from icekit.stages import TurnStages
from icekit.stun import ChannelData, Class, Message, Method, decode, failure, is_stun, long_term_key, request
from icekit.turn import TurnAllocation
from tests.pages import shown
from tests.turn_client import turn_server_config

HOST = "192.0.2.1"
LOCAL = Address(HOST, 5000)
SERVER = Address("198.51.100.1", 3478)
OTHER = Address("198.51.100.2", 3479)
KEY = long_term_key("alice", "r", "secret")


def turn(transport: Transport) -> Any:
    core = TurnAllocation(SERVER, transport, LongTermCredential("alice", "secret"), source(), local=LOCAL)
    core.allocate(0.0)
    return core


def relay_loop(transport: Transport) -> Any:
    core = RelayLoop(RelayUser(Target("turn:x", SERVER, transport), HOST, "alice", "secret", source()), size=100)
    core.start(0.0)
    core.begin(0.5, 0.1, 5.0, 0.25, Tally(0.5, 4.5))
    return core


def check(transport: Transport) -> Any:
    core = ServerCheck(Target("stun:x", SERVER, transport), HOST, source())
    core.start(0.0)
    return core


def stages(transport: Transport) -> Any:
    core = TurnStages(RelayUser(Target("turn:x", SERVER, transport), HOST, "alice", "secret", source()))
    core.start(0.0)
    return core


def nat_probe() -> Any:
    core = NatProbe(HOST, [SERVER, OTHER], source())
    core.start(0.0)
    return core


def lifetime() -> Any:
    core = LifetimeProbe(HOST, [SERVER], source())
    core.start(0.0)
    return core


def gatherer() -> Any:
    uris = ["stun:198.51.100.1", "turn:198.51.100.1?transport=tcp"]
    servers = [
        GatherServer(ServerUri.parse(uri), ("alice", "secret") if uri.startswith("turn") else None) for uri in uris
    ]
    core = Gatherer([HOST], servers, source())
    core.start(0.0)
    return core


def session() -> Any:
    core = IceSession(True, [HOST], [], source(), network=NetworkConfig(tcp=True, port_range=(5000, 5003)))
    core.start(0.0)
    core.agent.set_remote_credentials("peer", "the password of the peer", 0.0)
    for line in ("udp 9 198.51.100.2 7000 typ host", "tcp 8 198.51.100.2 7000 typ host tcptype passive"):
        core.agent.add_remote_candidate(Candidate.parse(f"candidate:1 1 {line}"), 0.0)
    core.agent_used(0.0)
    return core


def server(*, relays: bool) -> Any:
    core = Server(ServerConfig(turn=turn_server_config() if relays else None), token_bytes=source())
    core.add_local_address(LOCAL)
    core.add_local_address(LOCAL, Transport.TCP)
    core.stream_accepted(-1, Transport.TCP, LOCAL, SERVER, 0.0)
    return core


def source() -> Callable[[int], bytes]:
    return random.Random(1).randbytes


CORES: dict[str, Callable[[], Any]] = {
    **{f"turn-{transport}": lambda transport=transport: turn(transport) for transport in Transport},
    **{
        f"check-{transport}": lambda transport=transport: check(transport)
        for transport in (Transport.UDP, Transport.TLS)
    },
    **{
        f"stages-{transport}": lambda transport=transport: stages(transport)
        for transport in (Transport.UDP, Transport.TCP)
    },
    **{
        f"relay-loop-{transport}": lambda transport=transport: relay_loop(transport)
        for transport in (Transport.UDP, Transport.TCP)
    },
    "nat-probe": nat_probe,
    "lifetime": lifetime,
    "gatherer": gatherer,
    "session": session,
    "stun-server": lambda: server(relays=False),
    "turn-server": lambda: server(relays=True),
}


class Hostile:
    """A driver and a network in one. It opens what the core wants, mostly, and answers what no good server would."""

    def __init__(self, core: Endpoint[Any], seed: int) -> None:
        self.core: Any = core
        self.random = random.Random(seed)
        self.now = 0.0
        self.port = 6000
        self.streams: list[int] = []
        self.accepted = -10
        # Where the core listens, and who it talks to.
        self.paths: list[tuple[Address, Address, Transport]] = [
            (LOCAL, SERVER, Transport.UDP),
            (LOCAL, SERVER, Transport.TCP),
        ]
        self.asked: list[Message] = [request(Method.BINDING, bytes(12))]

    def drain(self) -> int:
        """Do what a driver does; how many events and datagrams there were."""
        count = 0
        while True:
            datagrams = self.core.datagrams_to_send()
            for datagram in datagrams:
                self.paths = [*self.paths, (datagram.source, datagram.destination, datagram.transport)][-6:]
                if is_stun(datagram.data):
                    self.asked = [*self.asked, decode(datagram.data)][-6:]
            count += len(datagrams)
            event = self.core.next_event()
            if event is None and not datagrams:
                return count
            count += event is not None
            self.serve(event)

    def serve(self, event: Any) -> None:
        match event:
            case SocketWanted(id=id, local=local, remote=remote):
                if self.random.random() < 0.1:
                    self.core.socket_failed(id, SocketFailure.IN_USE, self.now)
                else:
                    self.port += 1
                    address = Address(local.host, local.port or self.port)
                    self.core.socket_opened(id, address, self.now)
                    if remote is not None and self.random.random() < 0.1:
                        self.core.socket_failed(id, SocketFailure.REFUSED, self.now)
            case ListenerWanted(id=id, local=local):
                if self.random.random() < 0.3:
                    self.core.listener_failed(id, SocketFailure.IN_USE, self.now)
                else:
                    self.core.listener_opened(id, local, self.now)
                    for _ in range(3):
                        self.port += 1
                        self.accepted -= 1
                        stranger = Address(SERVER.host, self.port)
                        self.core.stream_accepted(self.accepted, Transport.TCP, local, stranger, self.now)
                        self.streams.append(self.accepted)
                        self.paths.append((local, stranger, Transport.TCP))
            case StreamWanted(id=id, remote=remote, transport=transport):
                if self.random.random() < 0.2:
                    self.core.stream_closed(id, StreamFailure.REFUSED, self.now)
                else:
                    self.port += 1
                    self.streams.append(id)
                    if transport is Transport.TLS:
                        self.core.stream_connected(id, self.now)
                    self.core.stream_opened(id, Address(HOST, self.port), remote, self.now)
            case _:
                pass

    def datagram(self) -> bytes:
        """Garbage, an answer, a request, data: with attributes that may be anything."""
        choice = self.random.random()
        if choice < 0.15:
            return self.random.randbytes(self.random.randrange(60))
        if choice < 0.25:
            return ChannelData(0x4000 + self.random.randrange(2), b"x" * self.random.randrange(9)).encode(padded=True)
        asked = self.random.choice(self.asked)
        items = [
            self.random.choice(
                [
                    attr.XOR_RELAYED_ADDRESS(Address("198.51.100.1", 50000)),
                    attr.XOR_MAPPED_ADDRESS(Address("203.0.113.5", 6000)),
                    attr.XOR_PEER_ADDRESS(Address("203.0.113.9", 1)),
                    attr.LIFETIME(self.random.choice([0, 1, 600, 2**32 - 1])),
                    attr.OTHER_ADDRESS(OTHER),
                    attr.ALTERNATE_SERVER(OTHER),
                    attr.DATA(b"x"),
                    attr.SOFTWARE("s"),
                    (self.random.choice([*attr.BY_TYPE][:30]), self.random.randbytes(self.random.randrange(12))),
                ]
            )
            for _ in range(self.random.randrange(6))
        ]
        items = [item for item in items if item[0] not in (0x0008, 0x001C, 0x8028)]
        key = self.random.choice([None, KEY])
        if choice < 0.5:
            code = self.random.choice([300, 400, 401, 401, 403, 437, 438, 486, 500])
            return failure(asked, code, attr.REALM("r"), attr.NONCE(b"n"), *items).encode(key)
        kind = self.random.choice([Class.SUCCESS, Class.SUCCESS, Class.SUCCESS, Class.REQUEST, Class.INDICATION])
        method = self.random.choice([asked.method, asked.method, Method.DATA, Method.ALLOCATE])
        return Message(method, kind, asked.transaction_id, tuple(items)).encode(key)

    def receive(self) -> None:
        local, remote, transport = self.random.choice(self.paths)
        self.core.receive_datagram(Datagram(remote, local, self.datagram(), transport), self.now)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (timer := self.core.get_timer()) is not None and timer <= until:
            self.now = max(self.now, timer)
            self.tick()
            self.drain()
        self.now = until

    def tick(self) -> None:
        self.core.handle_timer(self.now)
        later = self.core.get_timer()
        assert later is None or later > self.now

    def hang_up(self) -> None:
        if self.streams and hasattr(self.core, "stream_closed"):
            self.core.stream_closed(self.streams.pop(), StreamFailure.RESET, self.now)

    def close(self) -> None:
        self.core.close(self.now)
        self.core.close(self.now)
        self.drain()
        # What is said last may be answered, and the answer may be nonsense.
        self.receive()
        self.drain()
        self.wait(200.0)
        assert self.core.get_timer() is None
        assert self.drain() == 0
        for _ in range(20):
            self.receive()
            self.tick()
        assert self.core.get_timer() is None
        assert self.drain() == 0


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60))
def test_a_hostile_network(name: str, seed: int, steps: int) -> None:
    network = Hostile(CORES[name](), seed)
    for _ in range(steps):
        match network.random.randrange(8):
            case 0:
                network.wait(network.random.choice([0.0, 0.1, 2.0, 50.0]))
            case 1:
                network.drain()
            case 2:
                # Early, and not at all in the core's rhythm.
                network.tick()
            case 3:
                network.now += network.random.choice([0.001, 5.0, 400.0])
                network.tick()
            case 4 if network.random.random() < 0.1:
                network.hang_up()
            case _:
                network.receive()
    network.close()


@pytest.mark.parametrize("name", CORES)
def test_silence_to_the_end(name: str) -> None:
    network = Hostile(CORES[name](), 1)
    network.drain()
    network.wait(10_000.0)
    network.close()


def test_the_surface_is_that_of_the_page() -> None:
    name = "tests/test_endpoint_rules.py::test_the_surface_is_that_of_the_page"
    told = re.findall(r"^(\w+)\((.*?)\)  ", shown("docs/architecture.md", name), re.MULTILINE)
    methods = {name: item for name, item in vars(Endpoint).items() if callable(item) and name[0] != "_"}
    assert told == [(name, ", ".join([*signature(item).parameters][1:])) for name, item in methods.items()]


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_flood_that_nobody_takes_is_bounded(name: str, seed: int) -> None:
    network = Hostile(CORES[name](), seed)
    for _ in range(30):
        network.receive()
        network.drain()
    for _ in range(6000):
        network.receive()
    assert network.drain() < 2500
    network.close()


@pytest.mark.parametrize("name", CORES)
def test_closed_at_once(name: str) -> None:
    network = Hostile(CORES[name](), 1)
    network.close()
