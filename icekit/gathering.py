"""Candidate gathering (RFC 8445 §5.1.1) from every given server on every given local address, as an ``Endpoint``.

Host candidates are UDP sockets that the core asks for, one per local address. Each server is asked from each local
address of its family, all side by side and each with its own deadline, so a dead server delays nobody: a STUN server
with one Binding request from the host's own socket, a TURN server with an allocation, which over UDP shares that socket
and tells the server-reflexive address, too, or sooner with a Binding request beside it. Candidates are events, in the
order in which they are found (RFC 8838). A session has one gatherer for each component. Not done: TCP candidates of
servers (RFC 6544 §5.2), mDNS names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from icekit.errors import ConfigError, InvalidState
from icekit.gathering_events import CandidateGathered, GatherEvent, GatheringComplete, RelayedDataReceived
from icekit.gathering_plan import MAX_SERVERS, GatherConfig, GatherServer, local_hosts
from icekit.local_candidates import LocalCandidates
from icekit.local_sockets import Found, LocalSockets
from icekit.net import (
    Address,
    Datagram,
    ListenerReleased,
    SocketFailure,
    SocketReleased,
    StreamFailure,
    WorldEvent,
)
from icekit.network_config import NetworkConfig
from icekit.pacing import Floor, Pacer
from icekit.resolution import ServerEndpoint
from icekit.server_asking import ServerAsking
from icekit.turn import TurnAllocation


class Gatherer:
    """Gathers from ``hosts`` (IP literals) and ``servers``, both most preferred first.

    ``start``, then ``server_resolved`` or ``server_unresolved`` once for each place in ``servers``, as names resolve.
    ``network``: ports, announced addresses, TCP. ``pacer``: slots that others use, too. ``relay_only``: reflexive
    candidates are of no use, so no server is asked for one. Allocations live until ``close``. ConfigError for bad or
    too many hosts, and for announced addresses that fit none.
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
        relay_only: bool = False,
    ) -> None:
        hosts = local_hosts(hosts)
        if len(servers) > MAX_SERVERS:
            raise ConfigError(f"candidates are gathered from at most {MAX_SERVERS} server URLs, not {len(servers)}")
        self._servers = tuple(servers)
        self._unresolved = set(range(len(servers)))
        self._families = {6 if ":" in host else 4 for host in hosts}
        config = config or GatherConfig()
        candidates = LocalCandidates(hosts, MAX_SERVERS)
        self._sockets = LocalSockets(hosts, network or NetworkConfig(), candidates, token_bytes)
        pacer = pacer or Pacer(config.ta, Floor(0.0))
        self._asking = ServerAsking(candidates, token_bytes, config, pacer, relay_only=relay_only)
        self._events: deque[GatherEvent | WorldEvent] = deque()
        self._began: float | None = None
        self._complete = False
        self._closing = False
        self._closed = False

    @property
    def dropped(self) -> int:
        """How many datagrams belonged to nothing, or could not be read."""
        return self._asking.dropped

    # What the owner calls.

    def start(self, now: float) -> None:
        """Begin: bind the host candidates."""
        if self._began is not None or self._closing:
            raise InvalidState("start() on a gatherer that runs already or is closed")
        self._began = now
        self._asking.start(now)
        self._events += self._sockets.wanted()
        self._at_hosts(self._sockets.active(), now)

    @property
    def unresolved(self) -> Sequence[int]:
        """Places of the servers of which nothing is known yet."""
        return sorted(self._unresolved)

    def reaches(self, endpoints: Sequence[ServerEndpoint]) -> bool:
        """Whether a local address has the family of one of them."""
        return not {item.address.family for item in endpoints}.isdisjoint(self._families)

    def server_resolved(self, place: int, endpoints: Sequence[ServerEndpoint], now: float) -> None:
        """The server at ``place`` is reached at ``endpoints``, best first."""
        server = self._take(place)
        if not self._asking.add(server, place, self._sockets.all, endpoints):
            families = " or ".join(sorted({f"IPv{item.address.family}" for item in endpoints}))
            text = f"no local {families} address to ask it from" if families else "its name has no address"
            if not server.uri.is_turn and server.uri.secure:
                text = "STUN over TLS tells no address for UDP; write stun: instead"
            self._asking.not_asked(server, text, now)
        self._after(now)

    def server_unresolved(self, place: int, error: str, now: float) -> None:
        """The name of the server at ``place`` leads nowhere."""
        self._asking.not_asked(self._take(place), error, now)
        self._after(now)

    def _take(self, place: int) -> GatherServer:
        if self._began is None or self._closing or place not in self._unresolved:
            raise InvalidState("each server is resolved once, after start() and before close()")
        self._unresolved.remove(place)
        return self._servers[place]

    # The relays in use.

    def relay_of(self, relayed: Address) -> TurnAllocation | None:
        """The allocation with this relayed address, to send through it; ``drain_relays`` gives what comes back."""
        return self._asking.relay_of(relayed)

    def drain_relays(self) -> list[RelayedDataReceived]:
        """What peers have sent through the relays. The allocations bound it; who does not use relays may ignore it."""
        return self._asking.drain_relays()

    def owns(self, datagram: Datagram) -> bool:
        """Whether it belongs to a server, and not to a peer."""
        return self._asking.owns(datagram)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Hand it to the request or the allocation it belongs to."""
        self._asking.receive_datagram(datagram, now)
        self._after(now)

    def unreachable(self, datagram: Datagram, now: float) -> None:
        """The system has no route for this request: the server cannot be asked there from that address."""
        self._asking.unreachable(datagram, now)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Start the next request, retransmit, refresh, give up. Requests start here alone: who shares the pacer may go
        before them.
        """
        self._asking.handle_timer(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earliest of all parts."""
        return None if self._closed else self._asking.get_timer()

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        return self._asking.datagrams_to_send()

    def next_event(self) -> GatherEvent | WorldEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Give all relays back, then release the sockets; what is still unanswered is not reported."""
        if self._closing:
            return
        self._closing = True
        self._asking.close(now)
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
        self._asking.stream_connected(id, now)
        self._after(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream to a TURN server is up."""
        self._asking.stream_opened(id, local, remote, now)
        self._after(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed, or the server hung up."""
        self._asking.stream_closed(id, failure, now, detail)
        self._after(now)

    # Inside.

    def _after(self, now: float) -> None:
        """What every entry point ends with."""
        if not self._closing:
            self._asking.drop_unusable(now)
        while (event := self._asking.next_event()) is not None:
            self._events.append(event)
        if self._closing:
            if not self._closed and self._asking.is_released():
                self._closed = True
                self._events += self._sockets.released()
            return
        if self._complete or self._began is None or self._unresolved:
            return
        if self._sockets.is_decided() and self._asking.is_done():
            self._complete = True
            self._events.append(GatheringComplete(self._seconds(now)))

    def _at_hosts(self, found: Found, now: float) -> None:
        self._events += (CandidateGathered(item, base, None, None, self._seconds(now)) for item, base in found)

    def _seconds(self, now: float) -> float:
        assert self._began is not None
        return now - self._began
