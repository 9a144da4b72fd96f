"""Two ICE sessions in virtual time: NATs, one STUN and TURN server, delays, loss, reordering, signaling. No sockets."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from icekit.gathering_events import CandidateGathered, GatheringComplete
from icekit.gathering_plan import GatherServer
from icekit.ice import IceConfig
from icekit.ice_events import DataReceived, IceState, PairSelected, SelectedPair, StateChanged
from icekit.nat import Nat, NatConfig
from icekit.nat_presets import preset
from icekit.net import (
    Address,
    Datagram,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamWanted,
    Transport,
)
from icekit.resolution import ServerEndpoint
from icekit.server import Server, ServerConfig, TurnServerConfig
from icekit.servers import ServerUri
from icekit.session import IceSession

SERVER = Address("203.0.113.10", 3478)
TURN_SERVER = Address("203.0.113.11", 3478)
RELAY_HOST = "203.0.113.20"
DEAD_SERVER = Address("203.0.113.66", 3478)
HOSTS = {"A": ("192.168.1.2", "198.51.100.1"), "B": ("192.168.2.2", "198.51.100.2")}
CREDENTIAL = ("alice", "secret")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Times in seconds: ``signaling``, ``server`` and ``direct`` are round trips (S, T, P of the formulas).

    ``nats``: what A and B are behind, a preset name, a chain from the inside out, or None for a public host.
    ``skew``: B begins so much later than the offer arrives; negative: A begins so much later.
    ``jitter``: a packet takes up to so much longer, in parts of its delay, which reorders.
    ``dead_hosts``: extra local addresses of the sides in ``dead_sides`` that swallow packets, preferred to the one that
    works unless ``dead_last``. ``no_route``: the system refuses to send from them. ``dead_server``: the kind of a
    server that never answers, ``stun`` or ``turn``. ``turn_apart``: TURN has an address of its own.
    """

    signaling: float = 0.1
    server: float = 0.03
    direct: float = 0.04
    nats: tuple[str | Sequence[NatConfig] | None, str | Sequence[NatConfig] | None] = (None, None)
    skew: float = 0.0
    loss: float = 0.0
    jitter: float = 0.0
    dead_hosts: int = 0
    dead_sides: str = "AB"
    dead_last: bool = False
    no_route: bool = False
    stun: bool = True
    turn: bool = False
    turn_apart: bool = False
    dead_server: str | None = None
    relay_only: bool = False
    trickle: bool = True


@dataclass
class Peer:
    """One end, and everything that it told."""

    name: str
    session: IceSession
    hosts: list[str]
    dead: set[str]
    nats: list[Nat]
    bound: set[Address] = field(default_factory=set)
    events: list[tuple[float, Any]] = field(default_factory=list)
    candidates: list[Any] = field(default_factory=list)
    started: bool = False
    mail: list[tuple[Any, ...]] = field(default_factory=list)
    remote_ufrag: str | None = None
    offered: str | None = None
    timer: float | None = None
    ports: int = 5000
    blocked: bool = False

    @property
    def agent(self) -> Any:
        return self.session.agent

    def times(self, kind: type, test: Callable[[Any], bool] = lambda event: True) -> list[float]:
        return [when for when, event in self.events if isinstance(event, kind) and test(event)]

    @property
    def first_valid(self) -> float | None:
        return next(iter(self.times(PairSelected)), None)

    @property
    def settled_at(self) -> float | None:
        return next(iter(self.times(PairSelected, lambda event: event.nominated)), None)

    @property
    def states(self) -> list[IceState]:
        return [event.state for _, event in self.events if isinstance(event, StateChanged)]

    @property
    def data(self) -> list[bytes]:
        return [event.data for _, event in self.events if isinstance(event, DataReceived)]

    @property
    def pair(self) -> SelectedPair | None:
        return self.session.agent.selected_pair()


class IceWorld:
    """A calls B: A is controlling and begins at 0, the offer leaves at once, candidates trickle."""

    def __init__(
        self,
        network: Network,
        *,
        seed: int = 0,
        config: IceConfig | None = None,
        configs: tuple[IceConfig | None, IceConfig | None] | None = None,
        peer_ta: float | None = None,
    ) -> None:
        self.network = network
        self.dice = random.Random(seed)
        self.now = 0.0
        self.sent = 0
        self.lost: Callable[[Datagram], bool] = lambda datagram: False
        # Host candidates that begin so are not told to the peer.
        self.hidden = "nothing"
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        turn = TurnServerConfig(users=dict([CREDENTIAL]), relay_ipv4=RELAY_HOST, relay_ports=(50000, 59999))
        self.server = Server(ServerConfig(turn=turn, rate=1e6, burst=1e6), token_bytes=random.Random(9).randbytes)
        self.server.add_local_address(SERVER)
        self.server.add_local_address(TURN_SERVER)
        self.peers = {
            name: self._make_peer(name, chain, config if configs is None else configs[index])
            for index, (name, chain) in enumerate(zip("AB", network.nats, strict=True))
        }
        for peer in self.peers.values():
            peer.agent.set_pacing(peer.agent.config.ta if peer_ta is None else peer_ta)
        self.at(max(0.0, -network.skew), partial(self._start, self.a))
        # The offer brings B into being, or B is later.
        self.at(network.signaling / 2 + max(0.0, network.skew), partial(self._start, self.b))

    @property
    def a(self) -> Peer:
        return self.peers["A"]

    @property
    def b(self) -> Peer:
        return self.peers["B"]

    def other(self, peer: Peer) -> Peer:
        return self.b if peer is self.a else self.a

    def _make_peer(self, name: str, chain: str | Sequence[NatConfig] | None, config: IceConfig | None) -> Peer:
        inside, outside = HOSTS[name]
        configs = preset(chain).chain if isinstance(chain, str) else (chain or ())
        translates = any(item.translates for item in configs)
        nats = []
        for index, item in enumerate(configs):
            last = index == len(configs) - 1
            external = [outside if last else f"100.64.{ord(name)}.{index + 1}"] if item.translates else []
            nats.append(Nat(item, external, token_bytes=self.dice.randbytes))
        host = inside if translates else outside
        dead = [f"172.17.{ord(name)}.{number + 1}" for number in range(self.network.dead_hosts)]
        if name not in self.network.dead_sides:
            dead = []
        servers = []
        if self.network.dead_server is not None:
            uri = ServerUri.parse(f"{self.network.dead_server}:{DEAD_SERVER}")
            servers.append(GatherServer(uri, CREDENTIAL if uri.is_turn else None))
        if self.network.stun:
            servers.append(GatherServer(ServerUri.parse(f"stun:{SERVER}")))
        if self.network.turn:
            address = TURN_SERVER if self.network.turn_apart else SERVER
            servers.append(GatherServer(ServerUri.parse(f"turn:{address}"), CREDENTIAL))
        self._servers = servers
        hosts = [host, *dead] if self.network.dead_last else [*dead, host]
        session = IceSession(
            name == "A",
            hosts,
            servers,
            random.Random(self.dice.random()).randbytes,
            config=config,
            relay_only=self.network.relay_only,
        )
        return Peer(name, session, hosts, set(dead), nats)

    # Time.

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        # Rounded, so that what is equal on paper is equal here.
        heapq.heappush(self._agenda, (round(when, 9), self._count, action))

    def later(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Until that time, or as soon as ``stop``; of what happens at one time, arrivals come before timers."""
        while not stop():
            timers = [peer for peer in self.peers.values() if peer.timer is not None]
            first = min(timers, key=lambda peer: peer.timer or 0.0, default=None)
            head = self._agenda[0][0] if self._agenda else None
            timer = None if first is None else first.timer
            if head is not None and (timer is None or head <= max(timer, self.now) + 1e-9):
                if head > until:
                    break
                when, _, action = heapq.heappop(self._agenda)
                self.now = max(self.now, when)
                action()
            elif first is not None and timer is not None and timer <= until:
                self.now = max(self.now, timer)
                first.session.handle_timer(self.now)
                left = first.session.get_timer()
                assert left is None or left > self.now, (left, self.now)
                self.pump(first)
            else:
                break
        else:
            return
        self.now = until

    def run_until_valid(self, until: float = 60.0) -> float:
        """The time at which both sides have a valid pair."""
        self.run(until, lambda: self.a.first_valid is not None and self.b.first_valid is not None)
        assert self.a.first_valid is not None, "A never connects"
        assert self.b.first_valid is not None, "B never connects"
        return max(self.a.first_valid, self.b.first_valid)

    def run_until_settled(self, until: float = 60.0) -> None:
        self.run(self.now + until, lambda: self.a.agent.is_settled() and self.b.agent.is_settled())
        assert self.a.agent.is_settled(), "A never settles"
        assert self.b.agent.is_settled(), "B never settles"

    # Signaling.

    def _start(self, peer: Peer) -> None:
        peer.started = True
        self._tell(peer, "hello", peer.agent.local_ufrag, peer.agent.local_password)
        peer.session.start(self.now)
        self._resolve(peer)
        mail, peer.mail = peer.mail, []
        for message in mail:
            self._take_mail(peer, message)
        self.pump(peer)

    def _resolve(self, peer: Peer) -> None:
        for place, server in enumerate(self._servers):
            address = Address.parse(str(server.uri).partition(":")[2])
            peer.session.server_resolved(
                place, [ServerEndpoint(server.uri, Transport.UDP, address, address.host)], self.now
            )

    def _tell(self, peer: Peer, *message: Any) -> None:
        other = self.other(peer)
        self.later(self.network.signaling / 2, lambda: self._receive_mail(other, message))

    def _receive_mail(self, peer: Peer, message: tuple[Any, ...]) -> None:
        if peer.agent.state is IceState.CLOSED:
            return
        if not peer.started:
            peer.mail.append(message)
            return
        self._take_mail(peer, message)
        self.pump(peer)

    def _take_mail(self, peer: Peer, message: tuple[Any, ...]) -> None:
        agent = peer.agent
        match message:
            case ("hello", ufrag, password):
                self._take_description(peer, ufrag, password)
            case ("offer", ufrag, password):
                # Both at a time: the offer of A counts.
                if peer.offered is not None and peer is self.a:
                    return
                if peer.offered is None:
                    self._restart(peer, None)
                peer.offered = None
                self._tell(peer, "answer", agent.local_ufrag, agent.local_password, ufrag)
                self._take_description(peer, ufrag, password)
            case ("answer", ufrag, password, offered) if offered == peer.offered:
                peer.offered = None
                self._take_description(peer, ufrag, password)
            case ("candidate", candidate, ufrag):
                agent.add_remote_candidate(candidate, self.now, ufrag)
            case ("end", ufrag) if ufrag == peer.remote_ufrag:
                agent.end_of_remote_candidates(self.now)
        peer.session.agent_used(self.now)

    def restart(self, peer: Peer, hosts: Iterable[str] | None = None) -> None:
        """``peer`` asks for a restart; the other one answers."""
        self._restart(peer, hosts)
        peer.offered = peer.agent.local_ufrag
        self._tell(peer, "offer", peer.agent.local_ufrag, peer.agent.local_password)
        self.pump(peer)

    def _restart(self, peer: Peer, hosts: Iterable[str] | None) -> None:
        peer.session.restart(self.now, None if hosts is None else list(hosts))
        peer.candidates.clear()

    def _take_description(self, peer: Peer, ufrag: str, password: str) -> None:
        peer.remote_ufrag = ufrag
        peer.agent.set_remote_credentials(ufrag, password, self.now)

    # The wire.

    def pump(self, peer: Peer) -> None:
        """Take what a session has to say."""
        session = peer.session
        while True:
            for datagram in session.datagrams_to_send():
                self._leave(peer, datagram)
            event = session.next_event()
            if event is None:
                break
            match event:
                case SocketWanted(id=id, local=local):
                    peer.ports += 1
                    opened = Address(local.host, peer.ports)
                    peer.bound.add(opened)
                    session.socket_opened(id, opened, self.now)
                    continue
                case SocketReleased(local=local):
                    peer.bound.remove(local)
                    continue
                case StreamWanted(id=id):
                    session.stream_closed(id, StreamFailure.REFUSED, self.now)
                    continue
                case CandidateGathered(candidate=candidate):
                    peer.candidates.append(candidate)
                    if self.network.trickle and not candidate.address.startswith(self.hidden):
                        self._tell(peer, "candidate", candidate, peer.agent.local_ufrag)
                case GatheringComplete():
                    for candidate in () if self.network.trickle else peer.candidates:
                        self._tell(peer, "candidate", candidate, peer.agent.local_ufrag)
                    self._tell(peer, "end", peer.agent.local_ufrag)
            peer.events.append((self.now, event))
        peer.timer = session.get_timer()

    def _leave(self, peer: Peer, datagram: Datagram) -> None:
        self.sent += 1
        if datagram.source.host in peer.dead and self.network.no_route:
            peer.session.unreachable(datagram, self.now)
        if datagram.source not in peer.bound or datagram.source.host in peer.dead or peer.blocked:
            return
        out: Datagram | None = datagram
        for depth, nat in enumerate(peer.nats):
            inside = out
            assert inside is not None
            out = nat.outbound(inside, self.now)
            if out is None:
                return
            if out.destination != inside.destination:
                self._enter(peer, out, depth)
                return
        assert out is not None
        self._carry(peer.name, out)

    def _carry(self, origin: str, datagram: Datagram) -> None:
        host = datagram.destination.host
        target = next((peer for name, peer in self.peers.items() if host == HOSTS[name][1]), None)
        if target is None and host not in (SERVER.host, TURN_SERVER.host, RELAY_HOST):
            return
        name = "S" if target is None else target.name
        if name == origin == "S":
            self.later(0.0, lambda: self._serve(datagram))
            return
        if self.dice.random() < self.network.loss or self.lost(datagram):
            return
        delay = (self.network.server if "S" in (name, origin) else self.network.direct) / 2
        delay *= 1 + self.dice.random() * self.network.jitter
        if target is None:
            self.later(delay, lambda: self._serve(datagram))
        else:
            self.later(delay, lambda: self._enter(target, datagram, len(target.nats)))

    def _enter(self, peer: Peer, datagram: Datagram, depth: int) -> None:
        into: Datagram | None = datagram
        for nat in reversed(peer.nats[:depth]):
            assert into is not None
            into = nat.inbound(into, self.now)
            if into is None:
                return
        assert into is not None
        if into.destination in peer.bound and not peer.blocked:
            peer.session.receive_datagram(into, self.now)
            self.pump(peer)

    def _serve(self, datagram: Datagram) -> None:
        server = self.server
        server.handle_timer(self.now)
        server.receive_datagram(datagram, self.now)
        while True:
            for answer in server.datagrams_to_send():
                self._carry("S", answer)
            event = server.next_event()
            if event is None:
                return
            if isinstance(event, SocketWanted):
                server.socket_opened(event.id, event.local, self.now)

    # What is true.

    def send(self, peer: Peer, data: bytes) -> None:
        peer.agent.send(1, data, self.now)
        peer.session.agent_used(self.now)
        self.pump(peer)

    def inside(self, peer: Peer, address: Address) -> Address | None:
        """The socket of ``peer`` that packets to ``address`` reach, if filters let them pass."""
        for nat in reversed(peer.nats):
            if nat.external_hosts and address.host in nat.external_hosts:
                found = [item for item in nat.mappings(self.now) if item.external == address]
                if not found:
                    return None
                address = found[0].internal
        return address

    def on_same_pair(self) -> bool:
        one, other = self.a.pair, self.b.pair
        if one is None or other is None:
            return False
        return self.inside(self.b, one.address) == other.base and self.inside(self.a, other.address) == one.base

    def is_relayed(self) -> bool:
        pairs = [self.a.pair, self.b.pair]
        return any(pair is not None and RELAY_HOST in (pair.base.host, pair.address.host) for pair in pairs)
