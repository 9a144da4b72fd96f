"""One peer of a call: gathering, relays and checks as one ``Endpoint``, routed by local base.

``IceSession`` is made of a ``Gatherer``, which binds sockets and keeps allocations, and an ``IceAgent``, which checks
pairs; they share one pacer. Every candidate goes to the agent as it is found; what the agent sends from a relayed
address goes through that relay, and what a peer sends to it comes back to the agent. A restart gathers anew, from new
sockets; the old ones stay as long as the old pair carries data.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from icekit.candidate import CandidateType, TcpType
from icekit.checklist import LocalCandidate
from icekit.event_queue import EventQueue
from icekit.gathering import Gatherer
from icekit.gathering_events import CandidateGathered, GatherEvent, GatheringComplete, ServerAnswered
from icekit.gathering_plan import GatherConfig, GatherServer
from icekit.ice import IceAgent, IceConfig
from icekit.ice_events import DataReceived, IceEvent, PairSelected
from icekit.ice_tcp import PathOpened, TcpPaths
from icekit.net import (
    UDP,
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
    WorldEvent,
)
from icekit.network_config import NetworkConfig
from icekit.pacing import Floor
from icekit.resolution import ServerEndpoint
from icekit.session_gathering import SESSION_GATHERING, Gatherings, SessionGathering
from icekit.session_routes import Routes
from icekit.stun import is_channel_data, is_stun

SessionEvent = IceEvent | GatherEvent

# RFC 8445 §11: bindings are kept with an indication each 15 s. Some NATs forget after 30.
_KEEPALIVE: Final = 15.0


class IceSession:
    """Gathers from ``hosts`` and ``servers``, both most preferred first, and connects ``config.components``.

    ``network``: ports, announced addresses, TCP. ``relay_only``: host and server-reflexive candidates are neither told
    to the owner nor checked. ``hosts`` are those of the last gathering.
    The agent is public: credentials, remote candidates, data and state are its. Call ``agent_used`` after changing it.
    """

    def __init__(
        self,
        controlling: bool,
        hosts: Sequence[str],
        servers: Sequence[GatherServer],
        token_bytes: Callable[[int], bytes],
        *,
        config: IceConfig | None = None,
        gathering: GatherConfig | None = None,
        network: NetworkConfig | None = None,
        floor: Floor | None = None,
        relay_only: bool = False,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.agent = IceAgent(controlling, token_bytes, config=config, floor=floor, credentials=credentials)
        self.hosts = hosts
        self._servers = servers
        self._token_bytes = token_bytes
        self._gathering_config = gathering or SESSION_GATHERING
        self._network = network or NetworkConfig()
        if relay_only:
            self._network = replace(self._network, tcp=False)
        self._relay_only = relay_only
        # What the servers' names led to, by place: a restart asks the same addresses, if it can reach them.
        self._resolved: dict[int, Sequence[ServerEndpoint]] = {}
        self._numbers = itertools.count()
        self._gatherings = Gatherings(self._make_gatherings(hosts))
        self._tcp = TcpPaths(self.agent.is_check)
        self._routes = Routes(self._tcp, self._gatherings)
        self._keepalive_at: float | None = None
        self._events: EventQueue[SessionEvent | WorldEvent] = EventQueue(self.agent.config.max_events)
        self._out: list[Datagram] = []
        # The timer of all parts, until one of them may have changed.
        self._timer: float | None = None
        self.timer_moved = True
        self._closing = False

    # What the owner calls.

    @property
    def dropped(self) -> int:
        """How many datagrams changed nothing or could not leave, and data that nobody took."""
        return self.agent.dropped + self._tcp.dropped + self._routes.dropped + self._events.dropped

    def start(self, now: float) -> None:
        """Begin gathering."""
        self._begin(now)
        self._after(now)

    @property
    def unresolved(self) -> Sequence[int]:
        """Places of the servers that the gathering waits for: since a restart those that it cannot ask as before."""
        return self._gatherings.current[0].gatherer.unresolved

    def server_resolved(self, place: int, endpoints: Sequence[ServerEndpoint], now: float) -> None:
        """The server at ``place`` is reached at ``endpoints``."""
        for item in self._gatherings.current:
            item.gatherer.server_resolved(place, endpoints, now)
        self._resolved[place] = endpoints
        self._after(now)

    def server_unresolved(self, place: int, error: str, now: float) -> None:
        """The name of the server at ``place`` leads nowhere."""
        for item in self._gatherings.current:
            item.gatherer.server_unresolved(place, error, now)
        self._after(now)

    def restart(self, now: float, hosts: Sequence[str] | None = None) -> None:
        """New credentials, sockets and candidates (RFC 8445 §9), from ``hosts`` or the same ones as before.

        The pair in use carries data until a new one is valid. ConfigError, and nothing has changed, for announced
        addresses that do not fit the new hosts.
        """
        hosts = self.hosts if hosts is None else hosts
        gatherings = self._make_gatherings(hosts)
        self.agent.restart(now, keep_candidates=False)
        self.agent.pacer.reached.clear()
        self.agent.pacer.answered.clear()
        self.hosts = hosts
        self._gatherings.replace(gatherings, [pair.base for pair in self.agent.selected_pairs()], now)
        self._begin(now)
        self._after(now)

    def agent_used(self, now: float) -> None:
        """The owner has called methods of the agent: send what it has to send."""
        self._after(now)

    def send(self, component: int, data: bytes, now: float) -> None:
        """Send data on the pair in use; InvalidState when there is none."""
        datagram = self.agent.wrap(component, data)
        if self._routes.takes(datagram, now):
            self._after(now)
        else:
            self._out.append(datagram)

    def unreachable(self, datagram: Datagram, now: float) -> None:
        """The system has no route for this."""
        if is_stun(datagram.data):
            for item in self._gatherings:
                item.gatherer.unreachable(datagram, now)
            self.agent.unreachable(datagram, now)
        self._after(now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Servers' answers are the gatherer's, everything else is the agent's."""
        # RFC 7983 §7: all that a server sends over UDP is STUN or ChannelData.
        if datagram.transport is UDP and not is_stun(datagram.data) and not is_channel_data(datagram.data):
            self._receive_data(datagram, now)
            return
        if datagram.transport is Transport.TCP and self._tcp.owns(datagram):
            for whole in self._tcp.receive(datagram, now):
                self.agent.receive_datagram(whole, now)
            self._after(now)
            return
        for item in self._gatherings:
            if item.gatherer.owns(datagram):
                item.gatherer.receive_datagram(datagram, now)
                self._after(now)
                return
        if is_stun(datagram.data):
            self.agent.receive_datagram(datagram, now)
            self._after(now)
        else:
            self._receive_data(datagram, now)

    def _receive_data(self, datagram: Datagram, now: float) -> None:
        agent, state = self.agent, self.agent.state
        if (received := agent.unwrap(datagram, now)) is not None:
            self._events.offer(received)
        # Data makes nothing due earlier than it was, unless it ends a silence.
        if agent.state is not state:
            self._after(now)

    def handle_timer(self, now: float) -> None:
        """Let all parts do what is due. A free slot: triggered checks, one on an open path, gathering, other checks."""
        self.timer_moved = True
        if (due := self._earliest()) is None or due > now:
            return  # a slot that all agents of a process wait for can come later than it was told
        self.agent.send_checks(now, only_urgent=True)
        for item in self._gatherings:
            item.gatherer.handle_timer(now)
        # What was gathered takes part in this turn already.
        self._take_gathered(now)
        self.agent.handle_timer(now)
        self._tcp.handle_timer(now)
        self._keep_bindings(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earliest of all parts."""
        if self.timer_moved:
            self._timer, self.timer_moved = self._earliest(), False
        return self._timer

    def _earliest(self) -> float | None:
        due = [
            self.agent.get_timer(),
            self._tcp.get_timer(),
            self._gatherings.leave_at,
            *(item.gatherer.get_timer() for item in self._gatherings),
        ]
        if self.agent.is_waiting:
            due.append(self._keepalive_at)
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> SessionEvent | WorldEvent | None:
        """Drain."""
        return self._events.next()

    def close(self, now: float) -> None:
        """Stop checking, give relays back, release sockets."""
        self._closing = True
        self.agent.close(now)
        self._tcp.close()
        self._gatherings.close(now)
        self._after(now)

    # SocketUser, ListenerUser, StreamUser and StreamServer.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """A host candidate is there."""
        if (item := self._gatherings.owner(id)) is None:
            self._events.append(SocketReleased(local))
            return
        item.gatherer.socket_opened(id - item.first_id, local, now)
        self._after(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A local address cannot be used."""
        if (item := self._gatherings.owner(id)) is not None:
            item.gatherer.socket_failed(id - item.first_id, failure, now)
            self._after(now)

    def listener_opened(self, id: int, local: Address, now: float) -> None:
        """Peers can connect to a local address."""
        if (item := self._gatherings.owner(id)) is None:
            self._events.append(ListenerReleased(local))
            return
        item.listeners.add(local)
        item.gatherer.listener_opened(id - item.first_id, local, now)
        self._after(now)

    def listener_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """Nothing can listen on a local address."""
        if (item := self._gatherings.owner(id)) is not None:
            item.gatherer.listener_failed(id - item.first_id, failure, now)
            self._after(now)

    def stream_accepted(self, id: int, transport: Transport, local: Address, remote: Address, now: float) -> None:
        """Somebody connected; who it is shows with the first check."""
        self._tcp.stream_accepted(id, local, remote, now)
        self._after(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP to a TURN server is up."""
        if (item := self._gatherings.owner(id)) is not None:
            item.gatherer.stream_connected(id - item.first_id, now)
            self._after(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream to a TURN server or to a peer is up."""
        if self._tcp.owns_stream(id):
            self._tcp.stream_opened(id, local, remote, now)
            self._after(now)
            return
        if (item := self._gatherings.owner(id)) is None:
            self._events.append(StreamReleased(id))
            return
        item.gatherer.stream_opened(id - item.first_id, local, remote, now)
        self._after(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed, or the other side hung up."""
        if self._tcp.owns_stream(id):
            self._tcp.stream_closed(id, failure, now, detail)
            self._after(now)
        elif (item := self._gatherings.owner(id)) is not None:
            item.gatherer.stream_closed(id - item.first_id, failure, now, detail)
            self._after(now)

    # Gatherings.

    def _make_gatherings(self, hosts: Sequence[str]) -> tuple[SessionGathering, ...]:
        made = []
        for component in range(1, self.agent.config.components + 1):
            gatherer = Gatherer(
                hosts,
                self._servers,
                self._token_bytes,
                config=self._gathering_config,
                network=self._network,
                pacer=self.agent.pacer,
                relay_only=self._relay_only,
            )
            made.append(SessionGathering(gatherer, next(self._numbers), component))
        return tuple(made)

    def _begin(self, now: float) -> None:
        self._keepalive_at = now + _KEEPALIVE
        for item in self._gatherings.current:
            item.gatherer.start(now)
            for place, found in self._resolved.items():
                if item.gatherer.reaches(found):
                    item.gatherer.server_resolved(place, found, now)

    # Inside.

    def _after(self, now: float) -> None:
        """What every entry point ends with: candidates and relayed data to the agent, its datagrams to the relays."""
        self._take_gathered(now)
        for item in self._gatherings:
            for data in item.gatherer.drain_relays():
                self.agent.receive_datagram(Datagram(data.peer, data.relayed, data.data), now)
        for news in self._tcp.news():
            tell = self.agent.path_opened if isinstance(news, PathOpened) else self.agent.path_lost
            tell(news.key, now)
        for datagram in self.agent.datagrams_to_send():
            if not self._routes.takes(datagram, now):
                self._out.append(datagram)
        self._out += self._tcp.datagrams_to_send()
        while (wanted := self._tcp.next_event()) is not None:
            self._events.append(wanted)
        for told in self.agent.events():
            if isinstance(told, DataReceived):
                self._events.offer(told)
                continue
            if isinstance(told, PairSelected) and not self._closing:
                self._routes.bind_channel(told.pair, now)
            self._events.append(told)
        if self._gatherings.in_use and not self._closing:
            self._gatherings.leave(now, uses_old_pair=self.agent.uses_old_pair())
            self._take_gathered(now)
        for item in self._gatherings:
            self._out += item.gatherer.datagrams_to_send()
        for item in self._gatherings.closing:
            self._tcp.release(item.active)
        if self._gatherings.forget_closed():
            self._routes.forget_closed()
        self.timer_moved = True

    def _take_gathered(self, now: float) -> None:
        for item in self._gatherings:
            while (event := item.gatherer.next_event()) is not None:
                match event:
                    case SocketWanted() | StreamWanted() | StreamReleased():
                        self._events.append(replace(event, id=event.id + item.first_id))
                    case ListenerWanted(id=id, local=local):
                        if (open_one := self._gatherings.listener_on(local.host, item.component)) is not None:
                            item.listeners.add(open_one)
                            item.gatherer.listener_opened(id, open_one, now)
                        else:
                            self._events.append(replace(event, id=id + item.first_id))
                    case ListenerReleased(local=local):
                        item.listeners.discard(local)
                        if not any(local in other.listeners for other in self._gatherings):
                            self._tcp.release({local})
                            self._events.append(event)
                    case SocketReleased():
                        self._events.append(event)
                    case _ if item not in self._gatherings.current:
                        pass  # the owner asked for another gathering since
                    case CandidateGathered():
                        self._gathered(item, event, now)
                    case GatheringComplete():
                        item.complete = True
                        if all(other.complete for other in self._gatherings.current):
                            self.agent.end_of_local_candidates(now)
                            self._events.append(event)
                    case ServerAnswered():
                        item.learn(event)
                        self._events.append(event)
                    case _:
                        self._events.append(event)

    def _gathered(self, item: SessionGathering, event: CandidateGathered, now: float) -> None:
        candidate = item.of_component(event.candidate)
        relayed = candidate.type == CandidateType.RELAYED
        base = Address(candidate.address, candidate.port) if relayed else event.base
        if candidate.tcptype is TcpType.ACTIVE:
            base = self._routes.add_active(item, base.host)
        item.found(base, event)
        if relayed:
            self._routes.add_relayed(base)
        if self._relay_only and not relayed:
            return
        if self._relay_only:
            # Who asks for relays alone wants to hide the address behind them.
            hidden = "::" if ":" in candidate.address else "0.0.0.0"  # noqa: S104 - a text, nothing is bound
            candidate = replace(candidate, related_address=hidden, related_port=0)
        server = event.server.host if relayed and event.server is not None else None
        self.agent.add_local_candidate(LocalCandidate(candidate, base, server), now)
        self._events.append(replace(event, candidate=candidate))

    # Bindings.

    def _keep_bindings(self, now: float) -> None:
        """RFC 8445 §11: as long as nobody knows which candidates are needed, none may be forgotten by a NAT."""
        if self._keepalive_at is not None and self._keepalive_at <= now:
            self._keepalive_at = now + _KEEPALIVE
            if self.agent.is_waiting:
                for item in self._gatherings.current:
                    self._out += item.keepalives(self._token_bytes)
