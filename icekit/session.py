"""One peer of a call: gathering, relays and checks as one ``Endpoint``, routed by local base.

``IceSession`` is made of a ``Gatherer``, which binds sockets and keeps allocations, and an ``IceAgent``, which checks
pairs; they share one pacer. Every candidate goes to the agent as it is found; what the agent sends from a relayed
address goes through that relay, and what a peer sends to it comes back to the agent. A restart gathers anew, from new
sockets; the old ones stay as long as the old pair carries data.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from icekit.candidate import CandidateType
from icekit.checklist import LocalCandidate
from icekit.errors import ConfigError, InvalidState
from icekit.gathering import Gatherer
from icekit.gathering_events import CandidateGathered, GatherEvent, GatheringComplete, ServerAnswered
from icekit.gathering_plan import GatherConfig, GatherServer
from icekit.ice import IceAgent, IceConfig
from icekit.ice_events import IceEvent, IceState, PairSelected
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    WorldEvent,
)
from icekit.pacing import Floor
from icekit.resolution import ServerEndpoint
from icekit.stun import Method, indication
from icekit.transaction import Schedule
from icekit.turn import TurnAllocation
from icekit.turn_events import TurnState

log = logging.getLogger(__name__)

SessionEvent = IceEvent | GatherEvent

# RFC 8445 §11: bindings are kept with an indication each 15 s. Some NATs forget after 30.
_KEEPALIVE: Final = 15.0
# How long the sockets of an old pair live after the last data was sent on it: the peer may be slower to change.
_FAREWELL: Final = 5.0
# A lost packet to a server costs one of the ``fresh`` intervals; most answers come before the first. As many
# retransmissions as RFC 8489 §6.2.1 has, never less than 500 ms apart (RFC 8445 §14.3), but within the patience of
# gathering: a relay may be all that there is, and four attempts in five seconds fail too often at 10 % loss.
_GATHERING: Final = GatherConfig(schedule=Schedule((0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0), 5.0, (0.05, 0.1, 0.2, 0.3)))
# Identifiers of sockets and streams: each gathering has so many of its own.
_IDS: Final = 1 << 20


class _Gathering:
    """A gatherer, the first of its identifiers, and what it has found.

    ``bases``: of its candidates. ``bindings``: the server that told the mapped address of a socket.
    """

    def __init__(self, gatherer: Gatherer, number: int) -> None:
        self.gatherer = gatherer
        self.first_id = number * _IDS
        self.bases: set[Address] = set()
        self.bindings: dict[Address, Address] = {}
        self.closing = False

    def close(self, now: float) -> None:
        self.closing = True
        self.gatherer.close(now)


class IceSession:
    """Gathers from ``hosts`` and ``servers``, both most preferred first, and connects one component.

    ``relay_only``: host and server-reflexive candidates are neither told to the owner nor checked.
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
        floor: Floor | None = None,
        relay_only: bool = False,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.agent = IceAgent(controlling, token_bytes, config=config, floor=floor, credentials=credentials)
        self._hosts = hosts
        self._servers = servers
        self._token_bytes = token_bytes
        self._gathering_config = gathering or _GATHERING
        self._relay_only = relay_only
        # What the names of the servers led to, by place: a restart asks the same addresses.
        self._resolved: dict[int, Sequence[ServerEndpoint] | str] = {}
        self._count = 0
        self._current = self._make_gathering()
        # Those of earlier generations that are closing, and the one that carries data until the new one does.
        self._earlier: list[_Gathering] = []
        self._in_use: _Gathering | None = None
        self._leave_at: float | None = None
        self._keepalive_at: float | None = None
        self._events: deque[SessionEvent | WorldEvent] = deque()
        self._out: list[Datagram] = []
        self._closing = False

    @property
    def gatherer(self) -> Gatherer:
        """The gathering of this generation."""
        return self._current.gatherer

    # What the owner calls.

    def start(self, now: float) -> None:
        """Begin gathering."""
        self._begin(now)
        self._after(now)

    def server_resolved(self, place: int, endpoints: Sequence[ServerEndpoint], now: float) -> None:
        """The server at ``place`` is reached at ``endpoints``."""
        self.gatherer.server_resolved(place, endpoints, now)
        self._resolved[place] = endpoints
        self._after(now)

    def server_unresolved(self, place: int, error: str, now: float) -> None:
        """The name of the server at ``place`` leads nowhere."""
        self.gatherer.server_unresolved(place, error, now)
        self._resolved[place] = error
        self._after(now)

    def restart(self, now: float, hosts: Sequence[str] | None = None) -> None:
        """New credentials, sockets and candidates (RFC 8445 §9), from ``hosts`` or the same ones as before.

        The pair in use carries data until a new one is valid.
        """
        self.agent.restart(now, keep_candidates=False)
        self.agent.pacer.reached.clear()
        self._hosts = self._hosts if hosts is None else hosts
        pair = self.agent.selected_pair()
        self._in_use = None
        for item in self._gatherings():
            if pair is not None and pair.base in item.bases and not item.closing:
                self._in_use = item
            else:
                item.close(now)
        self._leave_at = None
        self._earlier.insert(0, self._current)
        self._current = self._make_gathering()
        self._begin(now)
        self._after(now)

    def agent_used(self, now: float) -> None:
        """The owner has called methods of the agent: send what it has to send."""
        self._after(now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Servers' answers are the gatherer's, everything else is the agent's."""
        owner = next((item.gatherer for item in self._gatherings() if item.gatherer.owns(datagram)), None)
        (owner or self.agent).receive_datagram(datagram, now)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Let all parts do what is due. Order of a free slot: triggered checks, gathering, other checks."""
        self.agent.send_checks(now, only_urgent=True)
        for item in self._gatherings():
            item.gatherer.handle_timer(now)
        # What was gathered takes part in this turn already.
        self._take_gathered(now)
        self.agent.handle_timer(now)
        self._keep_bindings(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earliest of all parts."""
        due = [self.agent.get_timer(), self._leave_at, *(item.gatherer.get_timer() for item in self._gatherings())]
        if self._waits():
            due.append(self._keepalive_at)
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        for item in self._gatherings():
            out += item.gatherer.datagrams_to_send()
        return out

    def next_event(self) -> SessionEvent | WorldEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop checking, give relays back, release sockets."""
        self._closing = True
        self.agent.close(now)
        self._leave_at = None
        for item in self._gatherings():
            item.close(now)
        self._after(now)

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """A host candidate is there."""
        if (item := self._owner(id)) is None:
            self._events.append(SocketReleased(local))
            return
        item.gatherer.socket_opened(id - item.first_id, local, now)
        self._after(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A local address cannot be used."""
        if (item := self._owner(id)) is not None:
            item.gatherer.socket_failed(id - item.first_id, failure, now)
            self._after(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP to a TURN server is up."""
        if (item := self._owner(id)) is not None:
            item.gatherer.stream_connected(id - item.first_id, now)
            self._after(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream to a TURN server is up."""
        if (item := self._owner(id)) is None:
            self._events.append(StreamReleased(id))
            return
        item.gatherer.stream_opened(id - item.first_id, local, remote, now)
        self._after(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed, or the server hung up."""
        if (item := self._owner(id)) is not None:
            item.gatherer.stream_closed(id - item.first_id, failure, now, detail)
            self._after(now)

    # Gatherings.

    def _make_gathering(self) -> _Gathering:
        gatherer = Gatherer(
            self._hosts, self._servers, self._token_bytes, config=self._gathering_config, pacer=self.agent.pacer
        )
        self._count += 1
        return _Gathering(gatherer, self._count - 1)

    def _begin(self, now: float) -> None:
        self.gatherer.start(now)
        self._keepalive_at = now + _KEEPALIVE
        for place, found in self._resolved.items():
            if isinstance(found, str):
                self.gatherer.server_unresolved(place, found, now)
            else:
                self.gatherer.server_resolved(place, found, now)

    def _gatherings(self) -> tuple[_Gathering, ...]:
        return self._current, *self._earlier

    def _owner(self, id: int) -> _Gathering | None:
        return next((item for item in self._gatherings() if item.first_id <= id < item.first_id + _IDS), None)

    def _relay_of(self, base: Address) -> TurnAllocation | None:
        found = (item.gatherer.relay_of(base) for item in self._gatherings())
        return next((item for item in found if item is not None and item.state is TurnState.ALLOCATED), None)

    # Inside.

    def _after(self, now: float) -> None:
        """What every entry point ends with: candidates and relayed data to the agent, its datagrams to the relays."""
        self._take_gathered(now)
        for item in self._gatherings():
            for data in item.gatherer.drain_relays():
                self.agent.receive_datagram(Datagram(data.peer, data.relayed, data.data), now)
        self._route(now)
        while (told := self.agent.next_event()) is not None:
            if isinstance(told, PairSelected):
                self._bind_channel(told, now)
            self._events.append(told)
        if self._in_use is not None and not self._closing:
            self._leave(self._in_use, now)
        self._earlier = [item for item in self._earlier if not item.closing or item.gatherer.get_timer() is not None]

    def _leave(self, used: _Gathering, now: float) -> None:
        """Close the sockets of the last generation some time after the new one carries the data."""
        if self.agent.uses_old_pair():
            self._leave_at = None
        elif self._leave_at is None:
            self._leave_at = now + _FAREWELL
        elif self._leave_at <= now:
            self._in_use = self._leave_at = None
            used.close(now)
            self._take_gathered(now)

    def _take_gathered(self, now: float) -> None:
        for item in self._gatherings():
            while (event := item.gatherer.next_event()) is not None:
                match event:
                    case SocketWanted() | StreamWanted() | StreamReleased():
                        self._events.append(replace(event, id=event.id + item.first_id))
                    case SocketReleased():
                        self._events.append(event)
                    case _ if item is not self._current:
                        pass  # the owner asked for another gathering since
                    case CandidateGathered():
                        self._gathered(event, now)
                    case GatheringComplete():
                        self.agent.end_of_local_candidates(now)
                        self._events.append(event)
                    case ServerAnswered(server=server, base=base):
                        if base in item.bases:
                            item.bindings.setdefault(base, server)
                        self._events.append(event)
                    case _:
                        self._events.append(event)

    def _gathered(self, event: CandidateGathered, now: float) -> None:
        candidate = event.candidate
        relayed = candidate.type == CandidateType.RELAYED
        base = Address(candidate.address, candidate.port) if relayed else event.base
        self._current.bases.add(base)
        if self._relay_only and not relayed:
            return
        if self._relay_only:
            # Who asks for relays alone wants to hide the address behind them.
            hidden = "::" if ":" in candidate.address else "0.0.0.0"  # noqa: S104 - a text, nothing is bound
            candidate = replace(candidate, related_address=hidden, related_port=0)
            event = replace(event, candidate=candidate)
        server = event.server.host if relayed and event.server is not None else None
        self.agent.add_local_candidate(LocalCandidate(candidate, base, server), now)
        self._events.append(event)

    def _route(self, now: float) -> None:
        """Send what the agent has: from a relayed base through its relay, else from the socket."""
        for datagram in self.agent.datagrams_to_send():
            allocation = self._relay_of(datagram.source)
            if allocation is None:
                self._out.append(datagram)
            else:
                try:
                    allocation.send(datagram.destination, datagram.data, now)
                except (InvalidState, ConfigError) as error:
                    # Too many peers for one allocation, or data too long for one message.
                    self.agent.dropped += 1
                    log.debug("! to %s by relay: %s", datagram.destination, error)

    def _bind_channel(self, selected: PairSelected, now: float) -> None:
        """Four bytes of framing instead of 36 on the pair that carries the data."""
        allocation = self._relay_of(selected.pair.base)
        if allocation is not None and not self._closing:
            try:
                allocation.bind_channel(selected.pair.address, now)
            except InvalidState as error:
                log.debug("! %s", error)

    # Bindings.

    def _waits(self) -> bool:
        waiting = self.agent.selected_pair() is None or self.agent.uses_old_pair()
        return waiting and self.agent.state not in (IceState.CLOSED, IceState.FAILED)

    def _keep_bindings(self, now: float) -> None:
        """RFC 8445 §11: as long as nobody knows which candidates are needed, none may be forgotten by a NAT."""
        if self._keepalive_at is not None and self._keepalive_at <= now:
            self._keepalive_at = now + _KEEPALIVE
            if self._waits():
                for base, server in self._current.bindings.items():
                    data = indication(Method.BINDING, self._token_bytes(12)).encode(fingerprint=True)
                    self._out.append(Datagram(base, server, data))
