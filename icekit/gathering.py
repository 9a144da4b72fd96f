"""Candidate gathering (RFC 8445 §5.1.1) from every given server on every given local address, as an ``Endpoint``.

Host candidates are UDP sockets that the core asks for, one per local address. Each server is asked from each local
address of its family, all side by side and each with its own deadline, so a dead server delays nobody: a STUN server
with one Binding request from the host's own socket, a TURN server with an allocation, which over UDP shares that socket
and tells the server-reflexive address, too. Candidates are events, in the order in which they are found (RFC 8838).
A session has one for each component. Not done: TCP candidates of servers (RFC 6544 §5.2), mDNS names.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from icekit.candidate import Candidate
from icekit.errors import ConfigError, DecodeError, ErrorResponse, InvalidState, TransactionTimeout
from icekit.gathering_events import (
    CandidateGathered,
    GatherEvent,
    GatheringComplete,
    RelayedDataReceived,
    RelayLost,
    ServerAnswered,
    ServerFailed,
    failure_text,
)
from icekit.gathering_plan import MAX_SERVERS, GatherConfig, GatherServer, local_hosts
from icekit.local_candidates import LocalCandidates
from icekit.local_sockets import Found, LocalSockets
from icekit.mapped import is_usable, mapped_address
from icekit.net import (
    Address,
    Datagram,
    ListenerReleased,
    SocketFailure,
    SocketReleased,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
    WorldEvent,
)
from icekit.network_config import NetworkConfig
from icekit.pacing import Floor, Pacer
from icekit.resolution import ServerEndpoint
from icekit.server_leg import ServerLeg
from icekit.stun import Method, decode, is_stun
from icekit.transaction import LongTermCredential, Outcome, Path, Refused, Succeeded, TimedOut, Transactions
from icekit.turn import TurnAllocation
from icekit.turn_events import AllocationCreated, AllocationFailed, DataReceived, ServerRedirected, Step, TurnState

log = logging.getLogger(__name__)


class Gatherer:
    """Gathers from ``hosts`` (IP literals) and ``servers``, both most preferred first.

    ``start``, then ``server_resolved`` or ``server_unresolved`` once for each place in ``servers``, as names resolve.
    ``network``: ports, announced addresses, TCP. ``pacer``: slots that others use, too. Allocations live until
    ``close``. ConfigError for bad or too many hosts, and for announced addresses that fit none.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        servers: Sequence[GatherServer],
        token_bytes: Callable[[int], bytes],
        *,
        config: GatherConfig | None = None,
        network: NetworkConfig | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        hosts = local_hosts(hosts)
        if len(servers) > MAX_SERVERS:
            raise ConfigError(f"candidates are gathered from at most {MAX_SERVERS} server URLs, not {len(servers)}")
        self._servers = tuple(servers)
        self._unresolved = set(range(len(servers)))
        self._config = config or GatherConfig()
        self._token_bytes = token_bytes
        self._candidates = LocalCandidates(hosts, MAX_SERVERS)
        self._sockets = LocalSockets(hosts, network or NetworkConfig(), self._candidates, token_bytes)
        self._pacer = pacer or Pacer(self._config.ta, Floor(0.0))
        self._bindings = Transactions(token_bytes, pacer=self._pacer)
        self._legs: list[ServerLeg] = []
        self._queue: list[ServerLeg] = []
        self._by_path: dict[Path, ServerLeg] = {}
        self._by_attempt: dict[int, ServerLeg] = {}
        # Stream identifiers of an allocation: one, and one more for each redirect.
        self._stride = self._config.turn.max_redirects + 1
        self._events: deque[GatherEvent | WorldEvent] = deque()
        self._began: float | None = None
        self._complete = False
        self._closing = False
        self._closed = False
        self._relayed_data: list[RelayedDataReceived] = []
        self.dropped = 0

    # What the owner calls.

    def start(self, now: float) -> None:
        """Begin: bind the host candidates."""
        if self._began is not None or self._closing:
            raise InvalidState("start() on a gatherer that runs already or is closed")
        self._began = now
        self._events += self._sockets.wanted()
        self._at_hosts(self._sockets.active(), now)

    def server_resolved(self, place: int, endpoints: Sequence[ServerEndpoint], now: float) -> None:
        """The server at ``place`` is reached at ``endpoints``, best first."""
        server = self._take(place)
        asked = False
        for base in self._sockets.all:
            family = 6 if ":" in base.host else 4
            fitting = [item for item in endpoints if item.address.family == family]
            fitting = [item for item in fitting if server.uri.is_turn or item.transport is Transport.UDP]
            if fitting := fitting[: self._config.max_addresses]:
                asked = True
                url, credential, patience = str(server.uri), server.credential, self._config.patience
                share = patience / len(fitting)
                leg = ServerLeg(url, place, base, deque(fitting), fitting[0], credential, patience, share)
                self._legs.append(leg)
                self._queue.append(leg)
        if not asked:
            families = " or ".join(sorted({f"IPv{item.address.family}" for item in endpoints}))
            text = f"no local {families} address to ask it from" if families else "its name has no address"
            if not server.uri.is_turn and server.uri.secure:
                text = "STUN over TLS tells no address for UDP; write stun: instead"
            self._not_asked(server, text, now)
        self._after(now)

    def server_unresolved(self, place: int, error: str, now: float) -> None:
        """The name of the server at ``place`` leads nowhere."""
        self._not_asked(self._take(place), error, now)
        self._after(now)

    def _take(self, place: int) -> GatherServer:
        if self._began is None or self._closing or place not in self._unresolved:
            raise InvalidState("each server is resolved once, after start() and before close()")
        self._unresolved.remove(place)
        return self._servers[place]

    def _not_asked(self, server: GatherServer, error: str, now: float) -> None:
        self._events.append(ServerFailed(str(server.uri), None, None, error, self._seconds(now)))

    # The relays in use.

    def relay_of(self, relayed: Address) -> TurnAllocation | None:
        """The allocation with this relayed address, to send through it; ``drain_relays`` gives what comes back."""
        allocations = (leg.allocation for leg in self._legs if leg.allocation is not None)
        return next((item for item in allocations if relayed in item.relayed), None)

    def drain_relays(self) -> list[RelayedDataReceived]:
        """What peers have sent through the relays. The allocations bound it; who does not use relays may ignore it."""
        data, self._relayed_data = self._relayed_data, []
        return data

    def owns(self, datagram: Datagram) -> bool:
        """Whether it belongs to a server, and not to a peer."""
        # Asked for every datagram of data, too: a plain tuple is equal to a Path.
        if (datagram.destination, datagram.source, datagram.transport) in self._by_path:
            return True
        return len(self._bindings) > 0 and self._bindings.tag_of(datagram.data[8:20]) is not None

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Hand it to the request or the allocation it belongs to."""
        if datagram.transport is Transport.UDP and self._receive_binding(datagram, now):
            self._after(now)
            return
        leg = self._by_path.get(Path(datagram.destination, datagram.source, datagram.transport))
        if leg is None or leg.allocation is None:
            self.dropped += 1
            return
        leg.allocation.receive_datagram(datagram, now)
        self._drain(leg, now)
        self._after(now)

    def unreachable(self, datagram: Datagram, now: float) -> None:
        """The system has no route for this request: the server cannot be asked there from that address."""
        leg = self._bindings.tag_of(datagram.data[8:20])
        if not isinstance(leg, ServerLeg):
            leg = self._by_path.get(Path(datagram.source, datagram.destination, datagram.transport))
        # A relay that was there may come back with the route.
        if leg is None or leg.done or self._closing:
            return
        self._pacer.give_back(now)
        self._end_asking(leg, now)
        self._try_next(leg, "this host has no route to it from there", now)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Start the next request, retransmit, refresh, give up. Requests start here alone: who shares the pacer may go
        before them.
        """
        self._ask_next(now)
        for outcome in self._bindings.handle_timer(now):
            self._bound(outcome, now)
        for leg in self._legs:
            if leg.allocation is not None:
                leg.allocation.handle_timer(now)
                self._drain(leg, now)
            if leg.deadline is not None and leg.deadline <= now:
                self._give_up(leg, now)
        self._ask_next(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earliest of all parts."""
        if self._closed or not (self._legs or self._bindings):
            return None
        due = [self._bindings.get_timer()]
        if any(leg.base.local is not None for leg in self._queue):
            due.append(self._pacer.slot_at())
        for leg in self._legs:
            due.append(leg.deadline)
            if leg.allocation is not None:
                due.append(leg.allocation.get_timer())
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out = self._bindings.datagrams_to_send()
        for leg in self._legs:
            if leg.allocation is not None:
                out += leg.allocation.datagrams_to_send()
        return out

    def next_event(self) -> GatherEvent | WorldEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Give all relays back, then release the sockets; what is still unanswered is not reported."""
        if self._closing:
            return
        self._closing = True
        self._queue.clear()
        for leg in self._legs:
            self._bindings.cancel(leg)
            leg.deadline = None
            if leg.allocation is not None:
                leg.allocation.close(now)
                self._drain(leg, now)
        self._after(now)

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """A host candidate is there."""
        if self._closing:
            self._events.append(SocketReleased(local))
            return
        self._at_hosts(self._sockets.opened(id, local), now)
        self._after(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """Another port is tried; or a local address cannot be used, and no server is asked from there."""
        if not self._closing:
            self._events += self._sockets.socket_failed(id, failure, self._seconds(now))
            self._after(now)

    def listener_opened(self, id: int, local: Address, now: float) -> None:
        """A passive TCP candidate is there."""
        if self._closing:
            self._events.append(ListenerReleased(local))
            return
        self._at_hosts(self._sockets.listener_opened(id, local), now)
        self._after(now)

    def listener_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """Another port is tried; or there is no passive TCP candidate on a local address."""
        if not self._closing:
            self._events += self._sockets.listener_failed(id, failure, self._seconds(now))
            self._after(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up and TLS begins."""
        self._to_stream(id, now, lambda allocation: allocation.stream_connected(id, now))

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream to a TURN server is up."""
        if (leg := self._leg_of(id)) is not None:
            leg.local = local
            self._by_path[Path(local, remote, leg.endpoint.transport)] = leg
        self._to_stream(id, now, lambda allocation: allocation.stream_opened(id, local, remote, now))

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed, or the server hung up."""
        self._to_stream(id, now, lambda allocation: allocation.stream_closed(id, failure, now, detail))

    def _leg_of(self, id: int) -> ServerLeg | None:
        attempt = id // self._stride
        leg = self._by_attempt.get(attempt)
        # What an abandoned attempt still hears is not for the one that followed it.
        return leg if leg is not None and leg.attempt == attempt else None

    def _to_stream(self, id: int, now: float, tell: Callable[[TurnAllocation], None]) -> None:
        leg = self._leg_of(id)
        if leg is not None and leg.allocation is not None:
            tell(leg.allocation)
            self._drain(leg, now)
        self._after(now)

    # Asking.

    def _after(self, now: float) -> None:
        """What every entry point ends with."""
        if self._closing:
            relays = [leg.allocation for leg in self._legs if leg.allocation is not None]
            if not self._closed and all(allocation.state is TurnState.CLOSED for allocation in relays):
                self._closed = True
                self._events += self._sockets.released()
            return
        for stuck in [leg for leg in self._queue if leg.base.failed]:
            self._queue.remove(stuck)
            self._fail(stuck, "the local address cannot be used", now)
        if self._complete or self._began is None or self._unresolved:
            return
        if self._sockets.is_decided() and all(leg.done for leg in self._legs):
            self._complete = True
            self._events.append(GatheringComplete(self._seconds(now)))

    def _ask_next(self, now: float) -> None:
        # RFC 8445 §14.2: new transactions are at least Ta apart.
        leg = next((leg for leg in self._queue if leg.base.local is not None), None)
        if leg is not None and self._pacer.may_start(now):
            self._pacer.take(now)
            self._queue.remove(leg)
            self._ask(leg, now)

    def _ask(self, leg: ServerLeg, now: float) -> None:
        """Ask the next address of a server."""
        local = leg.base.local
        assert local is not None
        schedule = leg.next_endpoint(self._config, now)
        endpoint = leg.endpoint
        path = Path(local, endpoint.address, endpoint.transport)
        if leg.credential is None:
            self._bindings.send(leg, Method.BINDING, path, (), schedule, now)
            return
        udp = endpoint.transport is Transport.UDP
        if udp:
            if (other := self._by_path.get(path)) is not None:
                # A server has one allocation for each 5-tuple (RFC 8656 §7.2).
                self._fail(leg, f"it is the same server as {other.url}, which is asked already", now)
                return
            self._by_path[path] = leg
        leg.attempt, leg.local = len(self._by_attempt), local if udp else None
        self._by_attempt[leg.attempt] = leg
        leg.allocation = TurnAllocation(
            endpoint.address,
            endpoint.transport,
            # Realm and nonce belong to one server, and with some to one 5-tuple, so no two allocations share them.
            LongTermCredential(*leg.credential),
            self._token_bytes,
            local=local if udp else Address(leg.base.host, 0),
            server_name=endpoint.server_name,
            stream_id=leg.attempt * self._stride,
            config=replace(self._config.turn, schedule=schedule, connect_timeout=schedule.timeout),
            pacer=self._pacer,
        )
        leg.allocation.allocate(now)
        self._drain(leg, now)

    def _receive_binding(self, datagram: Datagram, now: float) -> bool:
        """Take the answer to a Binding request of ours; False if it is none."""
        if not is_stun(datagram.data) or self._bindings.tag_of(datagram.data[8:20]) is None:
            return False
        try:
            message = decode(datagram.data)
            outcomes = self._bindings.receive(message, datagram, now)
        except DecodeError as error:
            self.dropped += 1
            log.debug("! %s from %s", error, datagram.source)
            return True
        for outcome in outcomes:
            self._bound(outcome, now)
        return True

    def _bound(self, outcome: Outcome, now: float) -> None:
        leg = outcome.tag
        assert isinstance(leg, ServerLeg)
        match outcome:
            case Succeeded(response=response):
                mapped = mapped_address(response)
                if mapped is None:
                    self._fail(leg, "its answer has no address that can be used", now)
                else:
                    self._reflexive(leg, mapped, now)
                    self._answered(leg, mapped, (), now)
            case Refused(error=error):
                self._fail(leg, str(ErrorResponse(*error)), now)
            case TimedOut(sent=sent, seconds=seconds):
                self._try_next(leg, failure_text(TransactionTimeout(sent, seconds)), now)

    def _drain(self, leg: ServerLeg, now: float) -> None:
        """Take what an allocation tells."""
        allocation = leg.allocation
        assert allocation is not None
        failed: AllocationFailed | None = None
        while (event := allocation.next_event()) is not None:
            match event:
                case StreamWanted() | StreamReleased():
                    self._events.append(event)
                case ServerRedirected(server=server) if leg.endpoint.transport is Transport.UDP:
                    self._by_path.setdefault(Path(leg.base.local or server, server), leg)
                case AllocationCreated():
                    self._allocated(leg, allocation, event, now)
                case AllocationFailed():
                    failed = event
                case DataReceived(peer=peer, data=data) if allocation.relayed:
                    relayed = next((item for item in allocation.relayed if item.family == peer.family), None)
                    if relayed is not None:
                        self._relayed_data.append(RelayedDataReceived(relayed, peer, data))
                case _:
                    pass  # permissions and channels are refreshed by the allocation itself
        if failed is None or self._closing:
            return
        error = failure_text(failed.error, failed.step, signed=failed.signed)
        if failed.step is Step.REFRESH:
            self._events.append(RelayLost(leg.url, allocation.relayed, error, self._seconds(now)))
        elif not leg.done:
            # Who refused has answered: another address of the same service would say the same.
            end = self._fail if isinstance(failed.error, ErrorResponse) else self._try_next
            end(leg, error, now)

    def _try_next(self, leg: ServerLeg, error: str, now: float) -> None:
        if not leg.endpoints:
            self._fail(leg, error, now)
            return
        log.debug("= %s at %s: %s; the next address", leg.url, leg.endpoint.address, error)
        self._queue.append(leg)

    def _give_up(self, leg: ServerLeg, now: float) -> None:
        if leg in self._queue:
            self._queue.remove(leg)
        self._end_asking(leg, now)
        if (again := leg.again(now)) is not None:
            leg.deadline, leg.done = None, True
            self._legs.append(again)
            self._queue.append(again)
            return
        self._fail(leg, f"no result within {leg.patience:g} s", now)

    def _end_asking(self, leg: ServerLeg, now: float) -> None:
        self._bindings.cancel(leg)
        if leg.allocation is not None:
            leg.allocation.close(now)
            self._drain(leg, now)

    def _fail(self, leg: ServerLeg, error: str, now: float) -> None:
        leg.deadline, leg.done = None, True
        self._events.append(ServerFailed(leg.url, leg.endpoint.address, leg.base.host, error, self._seconds(now)))

    def _answered(self, leg: ServerLeg, mapped: Address | None, relayed: tuple[Address, ...], now: float) -> None:
        leg.deadline, leg.done = None, True
        base = leg.local or leg.base.local
        assert base is not None
        seconds = self._seconds(now)
        self._events.append(ServerAnswered(leg.url, leg.endpoint.address, base, mapped, relayed, seconds))

    # Candidates.

    def _allocated(self, leg: ServerLeg, allocation: TurnAllocation, event: AllocationCreated, now: float) -> None:
        if leg.done:
            return
        mapped = event.mapped if event.mapped is not None and is_usable(event.mapped) else None
        # An allocation has one address of each family (RFC 8656 §7.2), whatever the server writes.
        relayed = tuple({address.family: address for address in event.relayed if is_usable(address)}.values())
        if mapped is not None and leg.endpoint.transport is Transport.UDP:
            self._reflexive(leg, mapped, now)
        if not relayed:
            allocation.close(now)
            self._fail(leg, f"it relays on {event.relayed[0]}, which is no address to send to", now)
            return
        for index, address in enumerate(relayed):
            related = mapped or leg.local
            candidate = self._candidates.relayed(leg.base.host, address, related, leg.source, second=index > 0)
            self._gathered(candidate, leg.local, leg, now)
        self._answered(leg, mapped, relayed, now)

    def _reflexive(self, leg: ServerLeg, mapped: Address, now: float) -> None:
        local = leg.base.local
        assert local is not None
        self._gathered(self._candidates.server_reflexive(leg.base.host, local, mapped, leg.source), local, leg, now)

    def _gathered(self, candidate: Candidate | None, base: Address | None, leg: ServerLeg, now: float) -> None:
        if candidate is not None and base is not None:
            server = leg.endpoint.address
            self._events.append(CandidateGathered(candidate, base, leg.url, server, self._seconds(now)))

    def _at_hosts(self, found: Found, now: float) -> None:
        self._events += (CandidateGathered(item, base, None, None, self._seconds(now)) for item, base in found)

    def _seconds(self, now: float) -> float:
        assert self._began is not None
        return now - self._began
