"""``RelayLoop``: one allocation, a peer that sends everything back, and numbered packets that go round.

client → server → relayed address → peer → relayed address → server → client. The peer is an ``EchoPeer``: a UDP socket
of this machine, or a second allocation where UDP finds no way to one. Data uses a channel. It is an ``Endpoint``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from icekit.bench.load_plan import HEADER, PATIENCE
from icekit.bench.load_report import Tally, Traffic
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
)
from icekit.relay_user import RelayUser
from icekit.report import StageName
from icekit.stage_failures import (
    StageFailure,
    connection_failure,
    credentials_failure,
    echo_failure,
    request_failure,
    socket_failure,
)
from icekit.turn import TurnAllocation, TurnState
from icekit.turn_events import (
    AllocationCreated,
    AllocationFailed,
    AllocationReleased,
    ChannelBound,
    ChannelFailed,
    DataReceived,
    PermissionCreated,
    PermissionFailed,
    ServerChallenged,
    Step,
    StreamError,
    TurnError,
)


@dataclass(frozen=True, slots=True)
class LoopReady:
    """A packet went round; ``allocate``: seconds from the beginning to the relayed address."""

    allocate: float


@dataclass(frozen=True, slots=True)
class LoopFailed:
    """There is no way round, or no longer. ``code``: the number of the server's refusal."""

    failure: StageFailure
    code: int | None = None


@dataclass(frozen=True, slots=True)
class LoopEnded:
    """Everything is given back that can be."""


LoopEvent = LoopReady | LoopFailed | LoopEnded | SocketWanted | SocketReleased | StreamWanted | StreamReleased

_CLIENT_SOCKET, _PEER_SOCKET, _CLIENT_STREAM, _PEER_STREAM = 1, 2, 100, 200
# Seconds until the first packet of the peer has come, which shows from which port its NAT sends; between two packets of
# the proof, and for it.
_HELLO, _ASK, _PROOF = 0.6, 0.05, 2.0
_NUMBER: Final = 8


class RelayLoop:
    """``start``, wait for ``LoopReady``, then ``begin`` as often as you like, and ``close``.

    ``size``: bytes of each packet. ConfigError if the OpaqueString profile forbids the name or password (RFC 8265).
    """

    def __init__(self, user: RelayUser, *, size: int) -> None:
        target, host = user.target, user.host
        self.allocate_seconds: float | None = None
        self.lifetime = 0
        self.is_ready = False
        self.dropped = 0
        self._target = target
        self._host = host
        # The load is for this server, and not for one that it names: no allocation follows a redirect.
        self._user = user
        self._client = user.allocation(_CLIENT_STREAM)
        servers = (target.address, Address(target.address.host, 3478))
        self._peer = EchoPeer(_PEER_SOCKET, host, servers, user.token_bytes, self._allocate_for_peer)
        self._padding = bytes(size - HEADER)
        self._client_local: Address | None = None
        self._owners: dict[tuple[Transport, Address, Address | None], TurnAllocation | EchoPeer] = {}
        self._events: deque[LoopEvent] = deque()
        self._mapped: Address | None = None
        self._channel: Address | None = None
        self._began = 0.0
        self._challenged = False
        self._asks_permission = False
        self._bind_at: float | None = None
        self._ask_at: float | None = None
        self._proof_until: float | None = None
        self._is_heard = False
        self._failed = False
        self._released: bool | None = None
        self._closing = False
        self._ended = False
        # The traffic of one step.
        self._tally: Tally | None = None
        self._number = 0
        self._next_at: float | None = None
        self._first_at = self._interval = self._until = self._too_late = 0.0
        self._turn = 0
        self._in_flight: dict[int, float] = {}
        self._sent = self._received = self._reached_before = 0
        self._latency: float | None = None
        self._jitter: float | None = None

    def _allocate_for_peer(self, local: Address | None) -> TurnAllocation:
        return self._user.allocation(_PEER_STREAM, local if self._target.transport is Transport.UDP else None)

    # What the owner calls, and sees.

    def start(self, now: float) -> None:
        """Open the sockets, allocate, and prove that packets go round: LoopReady or LoopFailed."""
        self._began = now
        if self._target.transport is Transport.UDP:
            self._events.append(SocketWanted(_CLIENT_SOCKET, Address(self._host, 0), self._target.address))
        else:
            self._client.allocate(now)
        self._peer.start(now)
        self._after(now)

    def begin(self, first: float, interval: float, until: float, too_late: float, tally: Tally) -> None:
        """Send a packet at ``first`` and every ``interval`` seconds after it, before ``until``; count in ``tally``.

        A packet that is behind its time by more than ``too_late`` seconds is not sent.
        """
        self._tally = tally
        self._in_flight.clear()
        self._turn = self._sent = self._received = 0
        self._reached_before = self._peer.questions
        self._latency = self._jitter = None
        self._first_at, self._interval, self._until, self._too_late = first, interval, until, too_late
        # One that has failed meanwhile sends nothing.
        self._next_at = first if self.is_ready else None

    @property
    def is_waiting(self) -> bool:
        """Whether packets are to be sent, or are on their way."""
        return self.is_ready and (self._next_at is not None or bool(self._in_flight))

    def take_traffic(self) -> Traffic:
        """What became of the packets since ``begin``; what comes later is counted no more."""
        self._tally = None
        self._next_at = None
        self._in_flight.clear()
        return Traffic(self._sent, self._peer.questions - self._reached_before, self._received, self._jitter)

    @property
    def opened(self) -> int:
        """Allocations that the server made, as far as we know: one may have been given back before its answer came."""
        client = self.allocate_seconds is not None or self._released is not None
        peer = self._peer.is_allocation and (self._mapped is not None or self._peer.is_released is not None)
        return client + peer

    @property
    def released(self) -> int:
        """Those of them that it has confirmed to have given up."""
        return (self._released is True) + (self._peer.is_released is True)

    @property
    def has_lost(self) -> bool:
        """Whether the allocation ended without our doing."""
        ended = self._client.state is TurnState.CLOSED
        return ended and self.allocate_seconds is not None and self._released is None

    @property
    def uses_second_allocation(self) -> bool:
        """Whether that is the peer."""
        return self._peer.is_allocation

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
        """Retransmit, prove, send the packets whose turn it is, give up what is lost."""
        self._client.handle_timer(now)
        self._peer.handle_timer(now)
        self._after(now)
        if self._bind_at is not None and self._bind_at <= now:
            self._bind(now)
        if self._ask_at is not None and self._ask_at <= now:
            self._ask(now)
        self._send_due(now)
        self._after(now)

    def get_timer(self) -> float | None:
        """The earliest of the parts and of the packets."""
        due = (self._client.get_timer(), self._peer.get_timer(), self._bind_at, self._ask_at, self._next_at)
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        # The client first: its CreatePermission should be there before what the peer sends.
        return self._client.datagrams_to_send() + self._peer.datagrams_to_send()

    def next_event(self) -> LoopEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Give everything back; LoopEnded follows."""
        if not self._closing:
            self._closing = True
            self._bind_at = self._ask_at = self._next_at = None
            self._client.close(now)
            self._peer.close(now)
            self._after(now)

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """The client's or the peer's socket is there."""
        if id == _PEER_SOCKET:
            self._owners[Transport.UDP, local, None] = self._peer
            self._peer.socket_opened(id, local, now)
        elif self._closing:
            self._events.append(SocketReleased(local))
        else:
            self._client_local = local
            self._client = self._user.allocation(_CLIENT_STREAM, local)
            self._owners[Transport.UDP, local, None] = self._client
            self._client.allocate(now)
        self._after(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A socket could not be bound, or ICMP came back."""
        if id == _PEER_SOCKET:
            self._peer.socket_failed(id, failure, now)
        elif not self._challenged:
            self._fail(socket_failure(failure))
        self._after(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up."""
        self._part_of_stream(id).stream_connected(id, now)
        self._after(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream is up."""
        part = self._part_of_stream(id)
        self._owners[self._target.transport, local, remote] = part
        part.stream_opened(id, local, remote, now)
        self._after(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream failed or is gone."""
        self._part_of_stream(id).stream_closed(id, failure, now, detail)
        self._after(now)

    def _part_of_stream(self, id: int) -> TurnAllocation | EchoPeer:
        return self._client if id < _PEER_STREAM else self._peer

    # What the parts tell.

    def _after(self, now: float) -> None:
        """What every entry point ends with."""
        while (event := self._client.next_event() or self._peer.next_event()) is not None:
            self._take(event, now)
        gone = self._client.state in (TurnState.NEW, TurnState.CLOSED) and self._peer.is_closed
        if self._closing and gone and not self._ended:
            self._ended = True
            if self._client_local is not None:
                self._events.append(SocketReleased(self._client_local))
            self._events.append(LoopEnded())

    def _take(self, event: object, now: float) -> None:
        match event:
            case SocketWanted() | SocketReleased() | StreamWanted() | StreamReleased():
                self._events.append(event)
            case ServerChallenged():
                self._challenged = True
            case AllocationCreated(relayed=relayed, lifetime=lifetime):
                self._challenged = True
                self.allocate_seconds = now - self._began
                self.lifetime = lifetime
                self._peer.greet(relayed[0], now)
                self._ask_permission(now)
            case PeerReady(mapped=mapped):
                self._mapped = mapped
                self._ask_permission(now)
            case PeerFailed(detail=detail):
                self._fail(StageFailure(StageName.PERMISSION, "TURN-PERMISSION", "no-peer", detail))
            case AllocationFailed(step=step, error=error, signed=signed):
                self._fail(self._explain(step, error, signed), _number_of(error))
            case AllocationReleased(confirmed=confirmed):
                self._released = confirmed
            case _ if self._closing or self._client.state is not TurnState.ALLOCATED:
                pass
            case PermissionCreated():
                if self._channel is None:
                    self._bind_at = now + _HELLO
                else:
                    self._bind(now)
            case PermissionFailed(error=error):
                self._fail(request_failure(StageName.PERMISSION, error), _number_of(error))
            case ChannelBound() if not self.is_ready and self._proof_until is None:
                self._proof_until = now + _PROOF
                self._ask(now)
            case ChannelFailed(error=error):
                self._fail(request_failure(StageName.CHANNEL, error), _number_of(error))
            case DataReceived(peer=peer, data=data):
                self._hear(peer, data, now)
            case _:
                pass

    def _explain(self, step: Step, error: TurnError, signed: bool) -> StageFailure:
        if step in (Step.CONNECT, Step.TLS) and isinstance(error, StreamError):
            return connection_failure(step, error, self._target.transport)
        if isinstance(error, ErrorResponse) and signed and error.code == 401:
            return credentials_failure(error, self._user)
        if step is Step.REFRESH:
            return request_failure(StageName.REFRESH, error)
        return request_failure(StageName.ALLOCATE if self._challenged else StageName.CHALLENGE, error)

    def _fail(self, failure: StageFailure, code: int | None = None) -> None:
        """Once; what is still open is given back by ``close``."""
        self.is_ready = False
        self._bind_at = self._ask_at = self._next_at = None
        if not self._failed and not self._closing:
            self._failed = True
            self._events.append(LoopFailed(failure, code))

    # Until packets go round.

    def _ask_permission(self, now: float) -> None:
        usable = self._client.state is TurnState.ALLOCATED and not self._closing
        if usable and self._mapped is not None and not self._asks_permission:
            self._asks_permission = True
            self._client.create_permission(self._mapped.host, now)

    def _bind(self, now: float) -> None:
        self._bind_at = None
        if self._client.state is TurnState.ALLOCATED:
            self._channel = self._channel or self._mapped
            assert self._channel is not None
            self._client.bind_channel(self._channel, now)

    def _ask(self, now: float) -> None:
        self._ask_at = None
        if self._proof_until is None or self._client.state is not TurnState.ALLOCATED:
            return
        if now >= self._proof_until:
            self._fail(echo_failure(out=self._peer.is_reached, back=self._is_heard))
            return
        self._send(0, now)
        self._ask_at = now + _ASK

    # Data.

    def _send(self, number: int, now: float) -> None:
        assert self._channel is not None
        self._client.send(self._channel, self._peer.question + number.to_bytes(_NUMBER) + self._padding, now)

    def _send_due(self, now: float) -> None:
        tally = self._tally
        if tally is None or self._client.state is not TurnState.ALLOCATED:
            self._next_at = None
        while tally is not None and self._next_at is not None and self._next_at <= now:
            late = now - self._next_at
            tally.late.add(late)
            if late > self._too_late:
                tally.unsent += 1
            else:
                self._number += 1
                self._sent += 1
                self._in_flight[self._number] = now
                self._send(self._number, now)
            self._turn += 1
            # Not from the last one, so that nothing adds up.
            due = self._first_at + self._turn * self._interval
            self._next_at = due if due < self._until else None
        while self._in_flight and now - next(iter(self._in_flight.values())) > PATIENCE:
            del self._in_flight[next(iter(self._in_flight))]

    def _hear(self, peer: Address, data: bytes, now: float) -> None:
        """The relay forwarded something to the client."""
        answer = self._peer.answer
        if data == self._peer.hello:
            self._is_heard = True
            self._peer.hush()
            if self._channel is None:
                # The port from which the peer's NAT really sends to the relay.
                self._channel = peer
                if self._bind_at is not None:
                    self._bind(now)
        elif data.startswith(answer) and len(data) == HEADER + len(self._padding):
            number = int.from_bytes(data[len(answer) : len(answer) + _NUMBER])
            if number:
                self._count(number, now)
            elif not self.is_ready and self._proof_until is not None and not self._failed:
                self._proof_until = self._ask_at = None
                self.is_ready = True
                self._peer.hush()
                assert self.allocate_seconds is not None
                self._events.append(LoopReady(self.allocate_seconds))
        else:
            self.dropped += 1

    def _count(self, number: int, now: float) -> None:
        if self._tally is None:
            return
        sent_at = self._in_flight.pop(number, None)
        if sent_at is None:
            self._tally.duplicates += 1
            return
        latency = now - sent_at
        self._received += 1
        self._tally.take(latency, now)
        if self._latency is not None:
            # RFC 3550 §6.4.1: the mean deviation of the difference between two packets, smoothed by 16.
            step = abs(latency - self._latency)
            self._jitter = step / 16 if self._jitter is None else self._jitter + (step - self._jitter) / 16
        self._latency = latency


def _number_of(error: TurnError) -> int | None:
    return error.code if isinstance(error, ErrorResponse) else None
