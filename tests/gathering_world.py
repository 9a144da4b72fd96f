"""A gatherer in virtual time: our own server cores behind a fixed delay, a NAT that adds 10,000 to every port."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from icekit.gathering import Gatherer
from icekit.gathering_events import GatherEvent, GatheringComplete
from icekit.gathering_plan import GatherConfig, GatherServer
from icekit.net import (
    Address,
    Datagram,
    ListenerReleased,
    ListenerWanted,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
)
from icekit.network_config import NetworkConfig
from icekit.resolution import ServerEndpoint
from icekit.server import Server, ServerConfig, TurnServerConfig
from icekit.servers import ServerUri

STUN = Address("203.0.113.10", 3478)
TURN = Address("203.0.113.20", 3478)
TURN_IPV6 = Address("2001:db8::20", 3478)
HOME = "192.168.1.2"
WIFI = "192.168.2.2"
HOME_IPV6 = "2001:db8:1::2"
PUBLIC = "198.51.100.7"
USER = ("alice", "secret")
WRONG = ("alice", "wrong")


def server(url: str, credential: tuple[str, str] | None = None) -> GatherServer:
    return GatherServer(ServerUri.parse(url), credential)


def endpoint(url: str, address: Address, transport: Transport | None = None) -> ServerEndpoint:
    uri = ServerUri.parse(url)
    return ServerEndpoint(uri, transport or uri.require_transport(), address, uri.host)


def turn_server() -> Server:
    config = TurnServerConfig(
        users=dict([USER]), relay_ipv4=TURN.host, relay_ipv6=TURN_IPV6.host, relay_ports=(50000, 50999)
    )
    return Server(ServerConfig(turn=config, rate=10000, burst=10000), token_bytes=random.Random(9).randbytes)


@dataclass
class Place:
    """A server of the world; ``delay`` is one way."""

    core: Server
    delay: float
    streams: dict[tuple[Address, Address], int] = field(default_factory=dict)


class World:
    """``nat`` False: addresses are public. ``broken``: hosts where no socket can be bound; ``taken``: ports."""

    def __init__(
        self,
        hosts: list[str],
        servers: list[GatherServer],
        *,
        nat: bool = True,
        broken: tuple[str, ...] = (),
        taken: tuple[int, ...] = (),
        config: GatherConfig | None = None,
        network: NetworkConfig | None = None,
        relay_only: bool = False,
    ) -> None:
        self.core = Gatherer(
            hosts, servers, random.Random(1).randbytes, config=config, network=network, relay_only=relay_only
        )
        self.nat = nat
        self.broken = broken
        self.taken = taken
        self.listening: set[Address] = set()
        self.now = 100.0
        self.places: dict[Address, Place] = {}
        self.events: list[GatherEvent] = []
        self.sent: list[tuple[float, Datagram]] = []
        self.bound: set[Address] = set()
        self.streams: dict[int, tuple[Address, Address, Transport]] = {}
        self.opened: list[StreamWanted] = []
        self.released_streams: list[int] = []
        self._ports = itertools.count(5000)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()

    def add(self, core: Server, delay: float, *addresses: Address) -> None:
        place = Place(core, delay)
        for address in addresses:
            self.places[address] = place
            for transport in (Transport.UDP, Transport.TCP, Transport.TLS):
                core.add_local_address(address, transport)

    def start(self) -> None:
        self.core.start(self.now)
        self.pump()

    def resolve(self, place: int, *endpoints: ServerEndpoint) -> None:
        self.core.server_resolved(place, endpoints, self.now)
        if (timer := self.core.get_timer()) is not None and timer <= self.now:
            self.core.handle_timer(self.now)
        self.pump()

    def later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay, next(self._sequence), action))

    def pump(self) -> None:
        for datagram in self.core.datagrams_to_send():
            self._send(datagram)
        while (event := self.core.next_event()) is not None:
            match event:
                case SocketWanted(id=id, local=local) if local.host in self.broken:
                    self.core.socket_failed(id, SocketFailure.UNAVAILABLE, self.now)
                case SocketWanted(id=id, local=local) if local.port in self.taken:
                    self.core.socket_failed(id, SocketFailure.IN_USE, self.now)
                case SocketWanted(id=id, local=local):
                    opened = Address(local.host, local.port or next(self._ports))
                    self.bound.add(opened)
                    self.core.socket_opened(id, opened, self.now)
                case ListenerWanted(id=id, local=local) if local.host in self.broken or local.port in self.taken:
                    failure = SocketFailure.UNAVAILABLE if local.host in self.broken else SocketFailure.IN_USE
                    self.core.listener_failed(id, failure, self.now)
                case ListenerWanted(id=id, local=local):
                    opened = Address(local.host, local.port or next(self._ports))
                    self.listening.add(opened)
                    self.core.listener_opened(id, opened, self.now)
                case ListenerReleased(local=local):
                    self.listening.remove(local)
                case SocketReleased(local=local):
                    self.bound.remove(local)
                case StreamWanted():
                    self.opened.append(event)
                    self._connect(event)
                case StreamReleased(id=id):
                    self.released_streams.append(id)
                    self.streams.pop(id, None)
                case _:
                    self.events.append(event)
            for datagram in self.core.datagrams_to_send():
                self._send(datagram)

    def _outside(self, address: Address) -> Address:
        if not self.nat or address.family == 6:
            return address
        return Address(PUBLIC, address.port + 10000)

    def _inside(self, address: Address) -> Address:
        inside = (*self.bound, *(local for local, _, _ in self.streams.values()))
        return next(local for local in inside if self._outside(local) == address)

    def _connect(self, wanted: StreamWanted) -> None:
        place = self.places.get(wanted.remote)
        assert wanted.local is not None
        local = Address(wanted.local, next(self._ports))
        if place is None:

            def refused() -> None:
                self._tell(lambda: self.core.stream_closed(wanted.id, StreamFailure.REFUSED, self.now, "nobody there"))

            self.later(0.01, refused)
            return

        def opened() -> None:
            self.streams[wanted.id] = (local, wanted.remote, wanted.transport)
            outside = self._outside(local)
            place.core.stream_accepted(-wanted.id - 1, wanted.transport, wanted.remote, outside, self.now)
            if wanted.transport is Transport.TLS:
                self.core.stream_connected(wanted.id, self.now)
            self._tell(lambda: self.core.stream_opened(wanted.id, local, wanted.remote, self.now))

        self.later(2 * place.delay, opened)

    def _tell(self, action: Callable[[], None]) -> None:
        action()
        self.pump()

    def _send(self, datagram: Datagram) -> None:
        self.sent.append((self.now, datagram))
        place = self.places.get(datagram.destination)
        if place is not None:
            self.later(place.delay, lambda: self._serve(place, datagram))

    def _serve(self, place: Place, datagram: Datagram) -> None:
        source = self._outside(datagram.source)
        place.core.receive_datagram(Datagram(source, datagram.destination, datagram.data, datagram.transport), self.now)
        answers = place.core.datagrams_to_send()
        while (event := place.core.next_event()) is not None:
            if isinstance(event, SocketWanted):
                place.core.socket_opened(event.id, event.local, self.now)
            answers += place.core.datagrams_to_send()
        for answer in answers:
            if answer.destination.host == PUBLIC or not self.nat or answer.destination.family == 6:
                self.later(place.delay, lambda answer=answer: self._answer(answer))  # type: ignore[misc]

    def _answer(self, answer: Datagram) -> None:
        try:
            inside = self._inside(answer.destination)
        except StopIteration:
            return
        self.core.receive_datagram(Datagram(answer.source, inside, answer.data, answer.transport), self.now)
        self.pump()

    def run(self, until: float | None = None) -> None:
        """Until gathering is complete, or until that many seconds after the start of the world."""
        while True:
            if until is None and any(isinstance(event, GatheringComplete) for event in self.events):
                return
            timer = self.core.get_timer()
            times = [when for when in (timer, self._agenda[0][0] if self._agenda else None) if when is not None]
            if not times or (until is not None and min(times) > 100.0 + until):
                self.now = self.now if until is None else max(self.now, 100.0 + until)
                return
            if self._agenda and self._agenda[0][0] == min(times):
                self.now, _, action = heapq.heappop(self._agenda)
                action()
            else:
                assert timer is not None
                self.now = max(self.now, timer)
                self.core.handle_timer(self.now)
                later = self.core.get_timer()
                assert later is None or later > self.now
                self.pump()

    def allocations(self) -> int:
        cores = {id(place.core): place.core for place in self.places.values()}
        return sum(core.allocations for core in cores.values())
