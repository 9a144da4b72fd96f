"""One peer of a call: gathering, relays and checks as one ``Endpoint``, routed by local base.

``IceSession`` is made of a ``Gatherer``, which binds sockets and keeps allocations, and an ``IceAgent``, which checks
pairs. Every candidate goes to the agent as it is found; what the agent sends from a relayed address goes through that
relay, and what a peer sends to it comes back to the agent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from icekit.candidate import CandidateType
from icekit.checklist import LocalCandidate
from icekit.gathering import Gatherer
from icekit.gathering_events import CandidateGathered, GatherEvent, GatheringComplete
from icekit.gathering_plan import GatherConfig, GatherServer
from icekit.ice import IceAgent, IceConfig
from icekit.ice_events import IceEvent, PairSelected
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    StreamFailure,
    WorldEvent,
)
from icekit.pacing import Floor
from icekit.resolution import ServerEndpoint
from icekit.turn_events import TurnState

SessionEvent = IceEvent | GatherEvent


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
        self.gatherer = Gatherer(hosts, servers, token_bytes, config=gathering)
        self._relay_only = relay_only
        self._events: deque[SessionEvent | WorldEvent] = deque()
        self._out: list[Datagram] = []
        self._closing = False

    # What the owner calls.

    def start(self, now: float) -> None:
        """Begin gathering."""
        self.gatherer.start(now)
        self._after(now)

    def server_resolved(self, place: int, endpoints: Sequence[ServerEndpoint], now: float) -> None:
        """The server at ``place`` is reached at ``endpoints``."""
        self.gatherer.server_resolved(place, endpoints, now)
        self._after(now)

    def server_unresolved(self, place: int, error: str, now: float) -> None:
        """The name of the server at ``place`` leads nowhere."""
        self.gatherer.server_unresolved(place, error, now)
        self._after(now)

    def agent_used(self, now: float) -> None:
        """The owner has called methods of the agent: send what it has to send."""
        self._after(now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Servers' answers are the gatherer's, everything else is the agent's."""
        part = self.gatherer if self.gatherer.owns(datagram) else self.agent
        part.receive_datagram(datagram, now)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Let both parts do what is due."""
        self.gatherer.handle_timer(now)
        self.agent.handle_timer(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earlier of both parts."""
        due = [self.gatherer.get_timer(), self.agent.get_timer()]
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return [*out, *self.gatherer.datagrams_to_send()]

    def next_event(self) -> SessionEvent | WorldEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop checking, give relays back, release sockets."""
        self._closing = True
        self.agent.close(now)
        self.gatherer.close(now)
        self._after(now)

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """A host candidate is there."""
        self.gatherer.socket_opened(id, local, now)
        self._after(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A local address cannot be used."""
        self.gatherer.socket_failed(id, failure, now)
        self._after(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP to a TURN server is up."""
        self.gatherer.stream_connected(id, now)
        self._after(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream to a TURN server is up."""
        self.gatherer.stream_opened(id, local, remote, now)
        self._after(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed, or the server hung up."""
        self.gatherer.stream_closed(id, failure, now, detail)
        self._after(now)

    # Inside.

    def _after(self, now: float) -> None:
        """What every entry point ends with: candidates and relayed data to the agent, its datagrams to the relays."""
        while (event := self.gatherer.next_event()) is not None:
            match event:
                case CandidateGathered():
                    self._gathered(event, now)
                case GatheringComplete():
                    self.agent.end_of_local_candidates(now)
                    self._events.append(event)
                case _:
                    self._events.append(event)
        for data in self.gatherer.drain_relays():
            self.agent.receive_datagram(Datagram(data.peer, data.relayed, data.data), now)
        self._route(now)
        while (told := self.agent.next_event()) is not None:
            if isinstance(told, PairSelected) and not self._closing:
                self._bind_channel(told, now)
            self._events.append(told)

    def _route(self, now: float) -> None:
        """Send what the agent has: from a relayed base through its relay, else from the socket."""
        for datagram in self.agent.datagrams_to_send():
            allocation = self.gatherer.relay_of(datagram.source)
            if allocation is None:
                self._out.append(datagram)
            elif allocation.state is TurnState.ALLOCATED:
                allocation.send(datagram.destination, datagram.data, now)

    def _gathered(self, event: CandidateGathered, now: float) -> None:
        candidate = event.candidate
        relayed = candidate.type == CandidateType.RELAYED
        if self._relay_only and not relayed:
            return
        base = Address(candidate.address, candidate.port) if relayed else event.base
        server = event.server.host if relayed and event.server is not None else None
        self.agent.add_local_candidate(LocalCandidate(candidate, base, server), now)
        self._events.append(event)

    def _bind_channel(self, selected: PairSelected, now: float) -> None:
        """Four bytes of framing instead of 36 on the pair that carries the data."""
        allocation = self.gatherer.relay_of(selected.pair.base)
        if allocation is not None and allocation.state is TurnState.ALLOCATED:
            allocation.bind_channel(selected.pair.address, now)
