"""One TURN server, stage by stage, with data proven through the relay in both directions (an ``Endpoint``).

Beside the allocation under test there are an ``EchoPeer``, which is no client of the relay, and a plain Binding request
(``ServerCheck``), which tells a STUN server from a silent one. The first failure ends the test; the relay is given back
in any case.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Final

from icekit.echo import EchoPeer, PeerFailed, PeerReady
from icekit.errors import ErrorResponse
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
    scope_of,
)
from icekit.reachability import ServerCheck, ServerChecked
from icekit.relay_echo import RelayEcho
from icekit.relay_user import RelayUser
from icekit.report import ServerReport, StageName, StageResult
from icekit.stage_allocations import StageAllocations
from icekit.stage_failures import (
    StageFailure,
    connection_failure,
    credentials_failure,
    echo_failure,
    is_stun_only,
    refusal,
    request_failure,
    silence,
    socket_failure,
)
from icekit.stage_record import StagePassed, StageRecord, TurnTested
from icekit.turn import TurnAllocation, TurnState
from icekit.turn_events import (
    AllocationCreated,
    AllocationFailed,
    AllocationRefreshed,
    AllocationReleased,
    ChannelBound,
    ChannelFailed,
    DataReceived,
    PermissionCreated,
    PermissionFailed,
    ServerChallenged,
    ServerConnected,
    ServerRedirected,
    ServerSecured,
    Step,
    StreamError,
    TurnError,
)

StageEvent = StagePassed | TurnTested | SocketWanted | SocketReleased | StreamWanted | StreamReleased

_BINDING_PATIENCE: Final = 0.6
# How long the channel waits for the peer's first packet, which shows from which port its NAT really sends, and how long
# an answer of the peer may take: seconds, or as many round trips to the server where those take longer.
_PEER_PATIENCE: Final = (0.6, 2.0)
_ECHO_PATIENCE: Final = (1.2, 5.0)
_CLIENT_SOCKET, _PEER_SOCKET, _CHECK, _TLS_CHECK = 1, 2, 3, 4
# A certificate that is not for us is one all the same; what else fails in a handshake does not show that TLS is there.
_CERTIFICATE_ERRORS: Final = (StreamFailure.TLS_NAME, StreamFailure.TLS_EXPIRED, StreamFailure.TLS_ISSUER)
_Part = TurnAllocation | EchoPeer | ServerCheck


class TurnStages:
    """Tests the target of ``user``; emits ``StagePassed`` as it goes and ``TurnTested`` once.

    ``done`` are the stages before this (``resolve``).
    ConfigError if the OpaqueString profile forbids the user's name or password (RFC 8265).
    """

    def __init__(self, user: RelayUser, *, done: tuple[StageResult, ...] = ()) -> None:
        target, host, token_bytes = user.target, user.host, user.token_bytes
        self._user = user
        self._target = target
        self._host = host
        self._record = StageRecord(target.url, target.transport, done)
        self._events: deque[StageEvent] = deque()
        self._allocations = StageAllocations(user)
        self._client = self._allocations.for_client()
        self._client_local: Address | None = None
        servers = (target.address, Address(target.address.host, 3478))
        self._peer = EchoPeer(
            _PEER_SOCKET, host, servers, token_bytes, lambda own: self._allocations.for_peer(self._client, own)
        )
        self._check = ServerCheck(target, host, token_bytes, id=_CHECK)
        self._binding: ServerReport | None = None
        # A refused Allocate, and until when the answer to Binding is waited for.
        self._refused: tuple[ErrorResponse, float] | None = None
        # Asked only when a TCP port takes the connection and does not speak TURN.
        self._tls_check: ServerCheck | None = None
        self._unanswered: TurnError | None = None
        # Which part has which socket or stream; streams of one local port differ in their remote address.
        self._owners: dict[tuple[Transport, Address, Address | None], _Part] = {}
        self._mapped: Address | None = None
        self._channel_peer: Address | None = None
        self._server_rtt: float | None = None
        self._echo = RelayEcho(self._peer, target.address)
        self._patience_until: float | None = None
        self._is_heard = False
        self._closing = False
        self._finished = False
        self.dropped = 0

    # What the owner calls.

    def start(self, now: float) -> None:
        """Begin: the server under test, the echo peer and a plain Binding request, side by side."""
        self._record.began = now
        if self._target.transport is Transport.UDP:
            self._events.append(SocketWanted(_CLIENT_SOCKET, Address(self._host, 0), self._target.address))
        else:
            self._client.allocate(now)
        self._peer.start(now)
        self._check.start(now)
        self._after(now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Hand it to the part whose socket or stream it came to."""
        remote = None if datagram.transport is Transport.UDP else datagram.source
        part = self._owners.get((datagram.transport, datagram.destination, remote))
        if part is None:
            self.dropped += 1
        else:
            part.receive_datagram(datagram, now)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Retransmit, ask the peer again, give up."""
        for part in self._parts():
            part.handle_timer(now)
        self._after(now)
        self._ask_peer(now)
        if self._patience_until is not None and self._patience_until <= now:
            self._bind_channel(now)
        if self._refused is not None and self._refused[1] <= now:
            self._judge_refusal(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earliest of all parts."""
        due = [part.get_timer() for part in self._parts()]
        due += [self._echo.get_timer(), self._patience_until, None if self._refused is None else self._refused[1]]
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        return [datagram for part in self._parts() for datagram in part.datagrams_to_send()]

    def next_event(self) -> StageEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop: the stage that runs counts as not tested, and the relay is given back."""
        self._release(now)
        self._after(now)

    def _parts(self) -> list[_Part]:
        # The client first: its CreatePermission should be there before what the peer sends.
        parts: list[_Part] = [self._client, self._peer, self._check]
        return parts if self._tls_check is None else [*parts, self._tls_check]

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """The client's, the peer's or the check's socket is there."""
        if id != _CLIENT_SOCKET:
            part = self._peer if id == _PEER_SOCKET else self._check
            self._owners[Transport.UDP, local, None] = part
            part.socket_opened(id, local, now)
        elif self._closing:
            self._events.append(SocketReleased(local))
        else:
            self._client_local = local
            self._record.began = now
            self._client = self._allocations.for_client(self._client, local)
            self._owners[Transport.UDP, local, None] = self._client
            self._client.allocate(now)
        self._after(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A socket could not be bound, or ICMP came back."""
        if id == _CHECK:
            self._check.socket_failed(id, failure, now)
        elif id == _PEER_SOCKET:
            self._peer.socket_failed(id, failure, now)
        elif not self._record.has(StageName.CHALLENGE):
            self._fail(socket_failure(failure), now)
        self._after(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up."""
        self._part_of_stream(id).stream_connected(id, now)
        self._after(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream is up."""
        part = self._part_of_stream(id)
        transport = Transport.TLS if part is self._tls_check else self._target.transport
        self._owners[transport, local, remote] = part
        part.stream_opened(id, local, remote, now)
        self._after(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed or is gone."""
        self._part_of_stream(id).stream_closed(id, failure, now, detail)
        self._after(now)

    def _part_of_stream(self, id: int) -> _Part:
        if id == _TLS_CHECK and self._tls_check is not None:
            return self._tls_check
        if id == _CHECK:
            return self._check
        return self._client if id < StageAllocations.FIRST_PEER_STREAM else self._peer

    # What the parts tell.

    def _after(self, now: float) -> None:
        """What every entry point ends with: take what the parts tell until they are silent, notice the end."""
        # The client may be another one after an event, so the list is made anew each time.
        while (event := next(filter(None, (part.next_event() for part in self._parts())), None)) is not None:
            self._take(event, now)
        if self._closing and not self._finished:
            self._finish_when_released()

    def _take(self, event: object, now: float) -> None:
        match event:
            case SocketWanted() | SocketReleased() | StreamWanted() | StreamReleased():
                self._events.append(event)
            case PeerReady(mapped=mapped):
                self._mapped = mapped
                self._begin_permission(now)
            case PeerFailed() if self._refused is not None:
                pass
            case PeerFailed(detail=detail):
                self._fail(StageFailure(StageName.PERMISSION, "TURN-PERMISSION", "no-peer", detail), now)
            case ServerChecked(report=report, connected=connected) if report.transport == self._target.transport:
                self._binding = report
                self._judge_refusal(now)
            case ServerChecked(report=report, connected=connected) if self._unanswered is not None:
                speaks_tls = connected is not None or (report.error or "").partition(":")[0] in _CERTIFICATE_ERRORS
                self._fail(silence(self._unanswered, speaks_tls=speaks_tls), now)
            case ServerConnected(seconds=seconds):
                self._pass(StageName.CONNECT, seconds, f"TCP to {self._client.server}", now)
            case ServerSecured(seconds=seconds):
                self._pass(StageName.TLS, seconds, f"certificate for {self._client.server_name}", now)
            case ServerRedirected():
                self._redirect(now)
            case ServerChallenged(realm=realm, seconds=seconds):
                if not realm:
                    self._record.warn("TURN-REALM-EMPTY")
                self._pass(StageName.CHALLENGE, seconds, f"realm {realm!r}", now)
            case AllocationCreated():
                self._allocated(event, now)
            case AllocationFailed(step=step, error=error, signed=signed):
                self._allocation_failed(step, error, signed, now)
            case AllocationReleased(confirmed=confirmed, seconds=seconds):
                self._record.end(confirmed, seconds)
            case _:
                self._take_data_event(event, now)

    def _take_data_event(self, event: object, now: float) -> None:
        # An event may be older than the end of the test, or of the allocation.
        if self._closing or self._client.state is not TurnState.ALLOCATED:
            return
        match event:
            case PermissionCreated(host=host, seconds=seconds):
                self._pass(StageName.PERMISSION, seconds, f"peer {host}", now)
                self._note_rtt(seconds)
                self._patience_until = now + self._patience(_PEER_PATIENCE)
                if self._channel_peer is not None:
                    self._bind_channel(now)
            case PermissionFailed(error=error):
                self._fail(request_failure(StageName.PERMISSION, error), now)
            case ChannelBound(channel=channel, seconds=seconds):
                self._pass(StageName.CHANNEL, seconds, f"0x{channel:04x} to {self._channel_peer}", now)
                self._note_rtt(seconds)
                self._echo.begin(now)
                self._ask_peer(now)
            case ChannelFailed(error=error):
                self._fail(request_failure(StageName.CHANNEL, error), now)
            case DataReceived(peer=peer, data=data):
                self._hear(peer, data, now)
            case AllocationRefreshed(lifetime=lifetime, seconds=seconds):
                self._record.lifetime = lifetime
                if self._record.stage is StageName.REFRESH:
                    self._pass(StageName.REFRESH, seconds, f"{lifetime} s", now)
                    self._ask_peer(now)
            case _:
                pass

    # Up to the relayed address.

    def _redirect(self, now: float) -> None:
        self._record.warn("TURN-300")
        self._allocations.redirects += 1
        if self._target.transport is Transport.UDP:
            # The socket is connected to the old server, so that ICMP is heard.
            self._ask_from_another_address(now)
        else:
            self._record.restart(now)

    def _ask_from_another_address(self, now: float) -> None:
        self._record.restart(now)
        # The stream of the one before is not released yet.
        for event in iter(self._client.next_event, None):
            self._take(event, now)
        self._client = self._allocations.for_client(self._client)
        if self._target.transport is not Transport.UDP:
            self._client.allocate(now)
            return
        assert self._client_local is not None
        self._events.append(SocketReleased(self._client_local))
        self._client_local = None
        self._events.append(SocketWanted(_CLIENT_SOCKET, Address(self._host, 0), self._client.server))

    def _allocated(self, event: AllocationCreated, now: float) -> None:
        seconds = now - self._record.began
        if not self._record.has(StageName.CHALLENGE):
            self._pass(StageName.CHALLENGE, 0.0, "the server asks for no credentials", now)
        relayed = event.relayed[0]
        self._record.relayed = relayed
        self._record.lifetime = event.lifetime
        detail = f"{event.lifetime} s" + (f", {event.software}" if event.software else "")
        if self._allocations.addresses > 1:
            detail += ", from another port: the first one is in use at the server (437)"
        self._pass(StageName.ALLOCATE, seconds, detail, now)
        server = self._client.server
        if scope_of(relayed.host) < scope_of(server.host):
            detail = f"{relayed} cannot be reached from where {server} can"
            self._fail(StageFailure(StageName.RELAY_ADDRESS, "TURN-RELAY-PRIVATE", None, detail), now)
            return
        self._pass(StageName.RELAY_ADDRESS, 0.0, str(relayed), now)
        if not self._closing:
            self._peer.greet(relayed, now)
            self._begin_permission(now)

    def _allocation_failed(self, step: Step, error: TurnError, signed: bool, now: float) -> None:
        transport = self._target.transport
        answers = self._binding is not None and bool(self._binding.reachable)
        if not self._closing and self._allocations.wants_another_address(step, error):
            self._ask_from_another_address(now)
        elif step is Step.REFRESH:
            self._fail(request_failure(self._record.stage, error), now)
        elif step is not Step.ALLOCATE and isinstance(error, StreamError):
            plain = self._mapped is not None and not self._peer.is_allocation
            self._fail(connection_failure(step, error, transport, answers_plain_udp=plain), now)
        elif isinstance(error, ErrorResponse) and signed and error.code == 401:
            self._fail(credentials_failure(error, self._user), now)
        elif self._record.has(StageName.CHALLENGE):
            self._fail(request_failure(StageName.ALLOCATE, error), now)
        elif isinstance(error, ErrorResponse):
            # Both are asked at once: what was not answered in twice the time of Allocate, or a little more, is lost.
            self._refused = error, now + max(_BINDING_PATIENCE, 2.0 * (now - self._record.began))
            if self._closing or self._binding is not None or not is_stun_only(error):
                self._judge_refusal(now)
        elif answers or transport is not Transport.TCP or self._closing:
            self._fail(silence(error, answers_binding=answers), now)
        else:
            self._unanswered = error
            target = dataclasses.replace(self._target, transport=Transport.TLS, connect_only=True)
            self._tls_check = ServerCheck(target, self._host, self._user.token_bytes, id=_TLS_CHECK)
            self._tls_check.start(now)

    def _judge_refusal(self, now: float) -> None:
        """Tell a server for STUN only, by its answer to Binding, from one that refuses whatever it is asked."""
        if self._refused is not None:
            (error, _), self._refused = self._refused, None
            binding = self._binding
            works = binding is not None and binding.reachable is True and binding.error is None
            self._fail(refusal(error, binding_works=works), now)

    # Permission, channel, echo.

    def _begin_permission(self, now: float) -> None:
        usable = self._client.state is TurnState.ALLOCATED and not self._closing
        if self._record.stage is StageName.PERMISSION and self._mapped is not None and usable:
            self._record.began = now
            self._client.create_permission(self._mapped.host, now)

    def _bind_channel(self, now: float) -> None:
        self._patience_until = None
        if self._client.state is TurnState.ALLOCATED:
            self._channel_peer = self._channel_peer or self._mapped
            assert self._channel_peer is not None
            self._record.began = now
            self._client.bind_channel(self._channel_peer, now)

    def _ask_peer(self, now: float) -> None:
        """Until an answer proves both directions, or there was time enough; then with larger packets, for as long."""
        if self._closing or self._client.state is not TurnState.ALLOCATED:
            return
        question = self._echo.next_question(now)
        if self._echo.unanswered_for(now) >= self._patience(_ECHO_PATIENCE):
            self._fail(echo_failure(out=self._peer.is_reached, back=self._is_heard), now)
            return
        if question is not None:
            assert self._channel_peer is not None
            self._client.send(self._channel_peer, question, now)
        if self._record.has(StageName.REFRESH) and not self._echo.is_measuring:
            self._record.mtu = self._echo.mtu
            self._release(now)

    def _hear(self, peer: Address, data: bytes, now: float) -> None:
        """The relay forwarded something to the client."""
        if data == self._peer.hello:
            self._is_heard = True
            self._peer.hush()
            if self._channel_peer is None:
                # The port from which the peer's NAT really sends to the relay.
                self._channel_peer = peer
                if self._record.stage is StageName.CHANNEL:
                    self._bind_channel(now)
        elif not self._echo.hear(data, now):
            self.dropped += 1
        elif self._record.stage is StageName.ECHO:
            self._record.rtt = self._echo.rtt
            kind = "a second allocation" if self._peer.is_allocation else "an independent socket"
            detail = f"both ways with {kind} at {self._channel_peer}"
            self._pass(StageName.ECHO, now - self._record.began, detail, now)
            self._peer.hush()
            self._client.refresh(now)
            if self._target.transport is Transport.UDP:
                self._echo.measure(now)
        self._ask_peer(now)

    def _note_rtt(self, seconds: float) -> None:
        self._server_rtt = seconds if self._server_rtt is None else min(self._server_rtt, seconds)

    def _patience(self, limits: tuple[float, float]) -> float:
        seconds, round_trips = limits
        return max(seconds, round_trips * (self._server_rtt or 0.0))

    # Stages and the end.

    def _pass(self, stage: StageName, seconds: float, detail: str, now: float) -> None:
        self._events.append(StagePassed(self._record.succeed(stage, seconds, detail, now)))

    def _fail(self, failure: StageFailure, now: float) -> None:
        if not self._closing:
            self._events.append(StagePassed(self._record.fail(failure, now)))
            self._release(now)

    def _release(self, now: float) -> None:
        if not self._closing:
            self._closing = True
            self._patience_until = None
            self._echo.stop()
            for part in self._parts():
                part.close(now)

    def _finish_when_released(self) -> None:
        if self._client.state not in (TurnState.NEW, TurnState.CLOSED) or not self._peer.is_closed:
            return
        self._finished = True
        if self._client_local is not None:
            self._events.append(SocketReleased(self._client_local))
        self._events.append(TurnTested(self._record.report(self._client.server)))
