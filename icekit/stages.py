"""One TURN server, stage by stage, with data proven through the relay in both directions (an ``Endpoint``).

Beside the allocation under test there is an *echo peer*: a UDP socket of its own, that is no client of the relay. It
learns its mapped address from the server, sends to the relayed address first, so that its own NAT is open, and the
permission is for that mapped address. Where UDP does not pass, a second allocation over the same transport is the peer.

The first failure ends the test; the relay is given back in any case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from icekit import attributes as attr
from icekit.errors import DecodeError, ErrorResponse, TransactionTimeout
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
from icekit.reachability import ServerCheck, ServerChecked, Target
from icekit.report import StageName, StageResult, TurnReport
from icekit.servers import decode_username
from icekit.stun import Method, decode, is_stun
from icekit.transaction import LongTermCredential, Path, Schedule, Succeeded, Transactions
from icekit.turn import TurnAllocation, TurnConfig, TurnState
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
    TurnEvent,
)


@dataclass(frozen=True, slots=True)
class StagePassed:
    """Progress: one more stage is done."""

    stage: StageResult


@dataclass(frozen=True, slots=True)
class TurnTested:
    """The test is over and the relay is given back."""

    report: TurnReport


StageEvent = StagePassed | TurnTested | SocketWanted | SocketReleased | StreamWanted | StreamReleased

_ORDER: Final = tuple(StageName)
_DATAGRAM_ONLY: Final = (StageName.CONNECT, StageName.TLS)
# 0, 0.25, 0.75 and 1.75 s, then two seconds: enough for a satellite, and a silent server costs four seconds.
_SCHEDULE: Final = Schedule.exponential(0.25, 4, 8)
_PEER_SCHEDULE: Final = Schedule.even(5, 0.1, 0.4)
_PING_INTERVAL: Final = 0.05
_PING_COUNT: Final = 24
# How long the channel waits for the peer's first packet, which shows from which port its NAT really sends.
_PEER_PATIENCE: Final = 0.6
_CLIENT_SOCKET, _PEER_SOCKET, _CHECK, _CLIENT_STREAM, _PEER_STREAM = 1, 2, 3, 100, 200
_UNSIGNED_REFUSALS: Final = (400, 404, 405, 500, 501)


class TurnStages:
    """Tests one server address from ``host``; emits ``StagePassed`` as it goes and ``TurnTested`` once.

    ``done`` are the stages before this (``resolve``); ``unix_time`` tells expired user names from wrong passwords.
    """

    def __init__(
        self,
        target: Target,
        host: str,
        username: str,
        password: str,
        token_bytes: Callable[[int], bytes],
        *,
        done: tuple[StageResult, ...] = (),
        unix_time: float | None = None,
    ) -> None:
        self._target = target
        self._host = host
        self._username = username
        self._password = password
        self._token_bytes = token_bytes
        self._unix_time = unix_time
        self._stages = list(done)
        self._events: deque[StageEvent] = deque()
        self._client = self._allocation(_CLIENT_STREAM, Address(host, 0))
        self._check = ServerCheck(target, host, token_bytes, id=_CHECK)
        self._checked: ServerChecked | None = None
        self._peer_transactions = Transactions(token_bytes)
        self._peer_out: list[Datagram] = []
        self._peer_local: Address | None = None
        self._peer_mapped: Address | None = None
        self._peer_failed = False
        self._peer_relay: TurnAllocation | None = None
        self._peer_relay_done = False
        self._peer: Address | None = None
        self._client_local: Address | None = None
        self._relayed: Address | None = None
        self._lifetime: int | None = None
        self._rtt: float | None = None
        self._warnings: list[str] = []
        self._failure: tuple[StageName, str, str | None] | None = None
        self._ping_in, self._ping_out, self._pong = (token_bytes(16) for _ in range(3))
        self._pings = 0
        self._ping_at: float | None = None
        self._patience_until: float | None = None
        self._stage = StageName.CHALLENGE
        self._stage_began = 0.0
        self._heard_in = False
        self._heard_out = False
        self._first_out: float | None = None
        self._closing = False
        self._finished = False
        self.dropped = 0

    def _allocation(self, stream_id: int, local: Address) -> TurnAllocation:
        target = self._target
        return TurnAllocation(
            target.address,
            target.transport,
            LongTermCredential(self._username, self._password),
            self._token_bytes,
            local=local,
            server_name=target.server_name,
            stream_id=stream_id,
            config=TurnConfig(schedule=_SCHEDULE, connect_timeout=5.0),
        )

    # What the owner calls.

    def start(self, now: float) -> None:
        """Begin: the server under test, the echo peer and a plain Binding request, side by side."""
        self._stage_began = now
        if self._target.transport is Transport.UDP:
            self._events.append(SocketWanted(_CLIENT_SOCKET, Address(self._host, 0), self._target.address))
        else:
            self._stage = StageName.CONNECT
            self._client.allocate(now)
        self._events.append(SocketWanted(_PEER_SOCKET, Address(self._host, 0)))
        self._check.start(now)
        self._after(now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Hand it to the part whose socket or stream it came to."""
        if datagram.transport is Transport.UDP and datagram.destination == self._peer_local:
            self._receive_peer(datagram, now)
        else:
            self._client.receive_datagram(datagram, now)
            if self._peer_relay is not None:
                self._peer_relay.receive_datagram(datagram, now)
            self._check.receive_datagram(datagram, now)
        self._after(now)

    def handle_timer(self, now: float) -> None:
        """Retransmit, ping, give up."""
        self._client.handle_timer(now)
        self._check.handle_timer(now)
        if self._peer_relay is not None:
            self._peer_relay.handle_timer(now)
        for outcome in self._peer_transactions.handle_timer(now):
            self._peer_answered(outcome, now)
        if self._ping_at is not None and self._ping_at <= now:
            self._ping(now)
        if self._patience_until is not None and self._patience_until <= now:
            self._patience_until = None
            self._bind_channel(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earliest of all parts."""
        if self._finished:
            return None
        due = [
            self._client.get_timer(),
            self._check.get_timer(),
            self._peer_transactions.get_timer(),
            self._ping_at,
            self._patience_until,
        ]
        if self._peer_relay is not None:
            due.append(self._peer_relay.get_timer())
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._peer_out = self._peer_out, []
        out += self._peer_transactions.datagrams_to_send()
        out += self._client.datagrams_to_send()
        if self._peer_relay is not None:
            out += self._peer_relay.datagrams_to_send()
        return out + self._check.datagrams_to_send()

    def next_event(self) -> StageEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop: the stage that runs counts as not tested, and the relay is given back."""
        if not self._closing and not self._finished:
            self._release(now)
            self._after(now)

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """The client's, the peer's or the check's socket is there."""
        if id == _CHECK:
            self._check.socket_opened(id, local, now)
        elif self._closing:
            self._events.append(SocketReleased(local))
        elif id == _CLIENT_SOCKET:
            self._client_local = local
            self._stage_began = now
            self._client = self._allocation(_CLIENT_STREAM, local)
            self._client.allocate(now)
        else:
            self._peer_local = local
            for server in dict.fromkeys((self._target.address, Address(self._target.address.host, 3478))):
                path = Path(local, server)
                self._peer_transactions.send(server, Method.BINDING, path, (), _PEER_SCHEDULE, now)
        self._after(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A socket could not be bound, or ICMP came back."""
        if id == _CHECK:
            self._check.socket_failed(id, failure, now)
        elif id == _PEER_SOCKET:
            self._peer_failed = True
        elif self._client.state in (TurnState.NEW, TurnState.ALLOCATING) and not self._closing:
            self._fail(StageName.CONNECT, "TURN-CONNECT", failure.value, f"{failure} (ICMP or local policy)", now)
        self._after(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up."""
        if (part := self._stream_part(id)) is not None:
            part.stream_connected(id, now)
        self._after(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream is up."""
        if (part := self._stream_part(id)) is not None:
            part.stream_opened(id, local, remote, now)
        self._after(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed or is gone."""
        if (part := self._stream_part(id)) is not None:
            part.stream_closed(id, failure, now, detail)
        self._after(now)

    def _stream_part(self, id: int) -> TurnAllocation | ServerCheck | None:
        if id == _CHECK:
            return self._check
        return self._client if id < _PEER_STREAM else self._peer_relay

    # The echo peer.

    def _receive_peer(self, datagram: Datagram, now: float) -> None:
        if is_stun(datagram.data):
            try:
                message = decode(datagram.data)
            except DecodeError:
                self.dropped += 1
                return
            for outcome in self._peer_transactions.receive(message, datagram, now):
                self._peer_answered(outcome, now)
        elif datagram.source == self._relayed or self._relayed is None:
            self._peer_heard(datagram.data, now)
        elif datagram.data == self._ping_out:
            # The token proves that it is ours; the relay just sends from another address than it named.
            self._peer_heard(datagram.data, now)
        else:
            self.dropped += 1

    def _peer_answered(self, outcome: object, now: float) -> None:
        if isinstance(outcome, Succeeded) and self._peer_mapped is None:
            mapped = outcome.response.get(attr.XOR_MAPPED_ADDRESS) or outcome.response.get(attr.MAPPED_ADDRESS)
            if mapped is not None:
                self._peer_mapped = mapped
                for tag in self._peer_transactions.tags():
                    self._peer_transactions.cancel(tag)
        elif not len(self._peer_transactions) and self._peer_mapped is None:
            self._peer_failed = True

    def _peer_heard(self, data: bytes, now: float) -> None:
        """The relay forwarded something to the peer."""
        if data == self._ping_out:
            self._heard_out = True
            self._peer_send(self._pong, now)

    def _peer_send(self, data: bytes, now: float) -> None:
        assert self._relayed is not None
        if self._peer_relay is not None:
            if self._peer_relay.state is TurnState.ALLOCATED:
                self._peer_relay.send(self._relayed, data, now)
        elif self._peer_local is not None:
            self._peer_out.append(Datagram(self._peer_local, self._relayed, data))

    def _take_peer_event(self, event: TurnEvent, now: float) -> None:
        match event:
            case AllocationCreated(relayed=relayed):
                self._peer_mapped = relayed[0]
            case AllocationFailed():
                self._peer_relay_done = True
                if not self._closing and self._peer_mapped is None:
                    detail = "no echo peer: UDP does not pass, and a second allocation was refused"
                    self._fail(StageName.PERMISSION, "TURN-PERMISSION", "no-peer", detail, now)
            case AllocationReleased():
                self._peer_relay_done = True
            case DataReceived(data=data):
                self._peer_heard(data, now)
            case StreamWanted() | StreamReleased():
                self._events.append(event)
            case _:
                pass

    # The client under test.

    def _take_client_event(self, event: TurnEvent, now: float) -> None:
        match event:
            case ServerConnected(seconds=seconds):
                self._pass(StageName.CONNECT, seconds, f"TCP to {self._client.server}", now)
                self._stage = StageName.TLS if self._target.transport is Transport.TLS else StageName.CHALLENGE
            case ServerSecured(seconds=seconds):
                self._pass(StageName.TLS, seconds, f"certificate for {self._target.server_name}", now)
                self._stage = StageName.CHALLENGE
            case ServerRedirected(server=server):
                self._stages.append(StageResult(self._stage, True, 0.0, f"TURN-300: redirected to {server}"))
            case ServerChallenged(realm=realm, seconds=seconds):
                if not realm:
                    self._warnings.append("TURN-REALM-EMPTY")
                self._pass(StageName.CHALLENGE, seconds, f"realm {realm!r}", now)
            case AllocationCreated():
                self._allocated(event, now)
            case AllocationFailed():
                self._allocation_failed(event, now)
            case PermissionCreated(host=host, seconds=seconds):
                self._pass(StageName.PERMISSION, seconds, f"peer {host}", now)
                if self._peer is not None:
                    self._bind_channel(now)
                else:
                    self._patience_until = now + _PEER_PATIENCE
            case PermissionFailed(error=error):
                self._fail_at(StageName.PERMISSION, error, "TURN-PERMISSION", now)
            case ChannelBound(channel=channel, seconds=seconds):
                self._pass(StageName.CHANNEL, seconds, f"0x{channel:04x} to {self._peer}", now)
                self._start_echo(now)
            case ChannelFailed(error=error):
                self._fail_at(StageName.CHANNEL, error, "TURN-PERMISSION", now)
            case DataReceived(peer=peer, data=data):
                self._heard(peer, data, now)
            case AllocationRefreshed(lifetime=lifetime, seconds=seconds):
                self._lifetime = lifetime
                self._pass(StageName.REFRESH, seconds, f"{lifetime} s", now)
                self._release(now)
            case AllocationReleased(confirmed=confirmed, seconds=seconds):
                self._released(confirmed, seconds)
            case StreamWanted() | StreamReleased():
                self._events.append(event)
            case _:
                pass

    def _allocated(self, event: AllocationCreated, now: float) -> None:
        if not any(stage.name is StageName.CHALLENGE for stage in self._stages):
            self._pass(StageName.CHALLENGE, 0.0, "the server asks for no credentials", now)
        self._relayed = event.relayed[0]
        self._lifetime = event.lifetime
        detail = f"{event.lifetime} s" + (f", {event.software}" if event.software else "")
        self._pass(StageName.ALLOCATE, now - self._stage_began, detail, now)
        server = self._client.server
        if scope_of(self._relayed.host) < scope_of(server.host):
            detail = f"{self._relayed} cannot be reached from where {server} can"
            self._fail(StageName.RELAY_ADDRESS, "TURN-RELAY-PRIVATE", None, detail, now)
            return
        self._pass(StageName.RELAY_ADDRESS, 0.0, str(self._relayed), now)
        self._stage = StageName.PERMISSION

    def _allocation_failed(self, event: AllocationFailed, now: float) -> None:
        if self._closing:
            self._released(False, event.seconds)
            return
        error = event.error
        match event.step, error:
            case Step.CONNECT, StreamError():
                self._fail(StageName.CONNECT, "TURN-CONNECT", error.failure.value, str(error), now)
            case Step.TLS, StreamError():
                # A peer that hangs up on a ClientHello does not speak TLS.
                cause = error.failure
                if cause in (StreamFailure.RESET, StreamFailure.CLOSED, StreamFailure.TIMEOUT):
                    cause = StreamFailure.NOT_TLS
                self._fail(StageName.TLS, "TURN-TLS", cause.value, str(error), now)
            case Step.ALLOCATE, ErrorResponse(code=401) if event.signed:
                self._fail(StageName.ALLOCATE, "TURN-401", self._credential_cause(), str(error), now)
            case Step.ALLOCATE, ErrorResponse(code=code) if not event.signed and code in _UNSIGNED_REFUSALS:
                self._fail(StageName.CHALLENGE, "TURN-NOT-TURN", f"refused {code}", str(error), now)
            case Step.ALLOCATE, _ if event.signed or any(s.name is StageName.CHALLENGE for s in self._stages):
                self._fail_at(StageName.ALLOCATE, error, "TURN-NO-ANSWER", now)
            case Step.ALLOCATE, TransactionTimeout() | StreamError():
                answered = self._checked is not None and bool(self._checked.report.reachable)
                detail = "Binding is answered, Allocate is not" if answered else str(error)
                silent = "TURN-NOT-TURN" if answered else "TURN-NO-ANSWER"
                self._fail(StageName.CHALLENGE, silent, None, detail, now)
            case Step.ALLOCATE, _:
                self._fail_at(StageName.CHALLENGE, error, "TURN-NO-ANSWER", now)
            case _:
                stage = StageName.REFRESH if self._stage is StageName.REFRESH else self._stage
                self._fail_at(stage, error, "TURN-REFRESH", now)

    def _credential_cause(self) -> str:
        if not self._username or not self._password:
            return "empty"
        user = decode_username(self._username)
        if user.milliseconds:
            return "milliseconds"
        if user.expires_at is not None and self._unix_time is not None and user.expires_at <= self._unix_time:
            return "expired"
        return "wrong"

    def _bind_channel(self, now: float) -> None:
        if self._stage is not StageName.CHANNEL or self._closing:
            return
        self._patience_until = None
        self._peer = self._peer or self._peer_mapped
        assert self._peer is not None
        self._client.bind_channel(self._peer, now)

    def _heard(self, peer: Address, data: bytes, now: float) -> None:
        """The relay forwarded something to the client."""
        if data == self._ping_in:
            self._heard_in = True
            if self._peer is None:
                # The port from which the peer's NAT really sends to the relay.
                self._peer = peer
                if self._patience_until is not None:
                    self._bind_channel(now)
        elif data == self._pong and self._stage is StageName.ECHO:
            self._heard_in = self._heard_out = True
            if self._rtt is None and self._first_out is not None:
                self._rtt = now - self._first_out
        else:
            self.dropped += 1
            return
        if self._stage is StageName.ECHO and self._rtt is not None:
            kind = "a second allocation" if self._peer_relay is not None else "an independent socket"
            self._pass(StageName.ECHO, now - self._stage_began, f"both ways with {kind} at {self._peer}", now)
            self._ping_at = None
            self._stage = StageName.REFRESH
            self._client.refresh(now)

    def _start_echo(self, now: float) -> None:
        self._stage = StageName.ECHO
        self._pings = 0
        self._ping(now)

    def _ping(self, now: float) -> None:
        """Keep both directions busy until an answer proves them, or the count says that none will come."""
        self._pings += 1
        if self._stage is StageName.ECHO and self._pings > _PING_COUNT:
            self._ping_at = None
            if self._heard_out:
                self._fail(StageName.ECHO, "TURN-ECHO-IN", None, "peer to client is lost, client to peer works", now)
            else:
                cause = None if self._heard_in else "both"
                lost = "client to peer is lost, peer to client works" if self._heard_in else "lost in both directions"
                self._fail(StageName.ECHO, "TURN-ECHO-OUT", cause, lost, now)
            return
        if not self._heard_in:
            self._peer_send(self._ping_in, now)
        if self._stage is StageName.ECHO:
            assert self._peer is not None
            self._first_out = now if self._first_out is None or self._pings % 8 == 0 else self._first_out
            self._client.send(self._peer, self._ping_out, now)
        self._ping_at = now + _PING_INTERVAL

    # Stages and the end.

    def _pass(self, stage: StageName, seconds: float, detail: str, now: float) -> None:
        result = StageResult(stage, True, seconds, detail)
        self._stages.append(result)
        self._events.append(StagePassed(result))
        self._stage_began = now
        if stage is StageName.PERMISSION:
            self._stage = StageName.CHANNEL

    def _fail_at(self, stage: StageName, error: TurnError, silent: str, now: float) -> None:
        """Exactly one code: the number that the server sent, else that of the silence."""
        if isinstance(error, ErrorResponse):
            self._fail(stage, f"TURN-{error.code}", None, str(error), now)
        else:
            self._fail(stage, silent, None, str(error), now)

    def _fail(self, stage: StageName, code: str, cause: str | None, detail: str, now: float) -> None:
        if self._failure is not None or self._closing:
            return
        self._failure = (stage, code, cause)
        result = StageResult(stage, False, now - self._stage_began, detail)
        self._stages.append(result)
        self._events.append(StagePassed(result))
        self._release(now)

    def _release(self, now: float) -> None:
        self._closing = True
        self._ping_at = self._patience_until = None
        for tag in self._peer_transactions.tags():
            self._peer_transactions.cancel(tag)
        self._check.close(now)
        self._client.close(now)
        if self._peer_relay is not None:
            self._peer_relay.close(now)

    def _released(self, confirmed: bool, seconds: float) -> None:
        detail = "" if confirmed else f"not confirmed; the server frees it after {self._lifetime} s at the latest"
        self._stages.append(StageResult(StageName.RELEASE, confirmed, seconds, detail))
        if not confirmed and self._failure is None:
            self._failure = (StageName.RELEASE, "TURN-REFRESH", None)

    def _after(self, now: float) -> None:
        """What every entry point ends with: move events between the parts, begin what can begin, notice the end."""
        while (check := self._check.next_event()) is not None:
            if isinstance(check, ServerChecked):
                self._checked = check
            else:
                self._events.append(check)
        while (event := self._client.next_event()) is not None:
            self._take_client_event(event, now)
        if self._peer_relay is not None:
            while (event := self._peer_relay.next_event()) is not None:
                self._take_peer_event(event, now)
        if self._stage is StageName.PERMISSION and not self._closing:
            self._begin_permission(now)
        if self._closing and not self._finished:
            self._finish_when_released()

    def _begin_permission(self, now: float) -> None:
        if self._peer_mapped is not None:
            if self._ping_at is None:
                self._ping(now)
                self._stage_began = now
                self._client.create_permission(self._peer_mapped.host, now)
        elif self._peer_failed and self._peer_relay is None:
            if self._target.transport is Transport.UDP:
                detail = "no echo peer: the server answers no Binding request"
                self._fail(StageName.PERMISSION, "TURN-PERMISSION", "no-peer", detail, now)
                return
            self._peer_relay = self._allocation(_PEER_STREAM, Address(self._host, 0))
            self._peer_relay.allocate(now)
            self._after(now)

    def _finish_when_released(self) -> None:
        relay = self._peer_relay
        if self._client.state not in (TurnState.NEW, TurnState.CLOSED):
            return
        if relay is not None and relay.state is not TurnState.CLOSED:
            return
        self._finished = True
        for local in (self._client_local, self._peer_local):
            if local is not None:
                self._events.append(SocketReleased(local))
        seen = {stage.name for stage in self._stages}
        stream = self._target.transport.is_stream
        untested = tuple(
            name
            for name in _ORDER
            if name not in seen
            and name is not StageName.RESOLVE
            and (stream or name not in _DATAGRAM_ONLY)
            and (name is not StageName.TLS or self._target.transport is Transport.TLS)
            and (name is not StageName.RELEASE or self._relayed is not None)
        )
        stage, code, cause = self._failure or (None, None, None)
        ok = self._failure is None and not untested
        self._events.append(
            TurnTested(
                TurnReport(
                    url=self._target.url,
                    ok=ok,
                    failed_stage=stage,
                    code=code,
                    cause=cause,
                    lifetime=self._lifetime,
                    relayed_address=None if self._relayed is None else str(self._relayed),
                    rtt=self._rtt,
                    stages=tuple(sorted(self._stages, key=lambda item: _ORDER.index(item.name))),
                    server_address=str(self._client.server),
                    warnings=tuple(self._warnings),
                    not_tested=untested,
                )
            )
        )
