"""A STUN and TURN server as one core: ``Server`` guards the door, ``StunServer`` and ``TurnServer`` do the work.

Binding goes to ``StunServer`` (RFC 8489, 5780), the rest to ``TurnServer`` (RFC 8656) if there is one. The same code
serves the tests, the simulator and ``icekit serve``; for production there is coturn.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from icekit.admission import Counters, RateLimit, Request, TokenBytes, answer_budget, encode_within
from icekit.allocation import AllocationDeleted, AllocationGranted, Deletion, TurnServerConfig
from icekit.attributes import SOFTWARE, Item
from icekit.errors import ConfigError, DecodeError
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    Transport,
)
from icekit.stun import (
    Class,
    IntegrityKey,
    Message,
    Method,
    StreamDecoder,
    decode,
    is_channel_data,
    is_stun,
)
from icekit.stun_server import StunServer
from icekit.turn_server import TurnServer

__all__ = [
    "AllocationGranted",
    "AllocationDeleted",
    "Deletion",
    "Server",
    "ServerConfig",
    "ServerEvent",
    "TurnServerConfig",
]

ServerEvent = SocketWanted | SocketReleased | StreamReleased | AllocationGranted | AllocationDeleted

_TURN_REQUESTS = frozenset({Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND})
_FINGERPRINT_HEAD = b"\x80\x28\x00\x04"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """What the server offers and how much it takes. Times in seconds."""

    # TURN, or None for a server that only answers Binding.
    turn: TurnServerConfig | None = None
    # SOFTWARE of answers (RFC 8489 §14.14); "" leaves it out.
    software: str = "icekit"
    # Longest PADDING of an answer, in bytes: the MTU of the outgoing interface (RFC 5780 §7.6).
    path_mtu: int = 1500
    # Requests each second, and at once, that a /24 or /56 may send without having authenticated (RFC 8489 §16.1.2).
    rate: float = 100.0
    burst: float = 300.0
    # How many such networks are remembered; the one that was silent for longest gives way.
    rate_table_size: int = 4096
    # Clients on TCP and TLS in all; one more is hung up on.
    max_streams: int = 1000
    # How long a stream may be silent before it has an allocation.
    stream_idle: float = 30.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.burst >= 1 and self.rate_table_size >= 1):
            raise ConfigError("the rate must be positive, burst and rate_table_size at least 1")


class _Stream:
    __slots__ = ("decoder", "heard", "id", "local", "remote")

    def __init__(self, id: int, local: Address, remote: Address, now: float) -> None:
        self.id = id
        self.local = local
        self.remote = remote
        self.decoder = StreamDecoder()
        self.heard = now


class Server:
    """The core. ``token_bytes`` gives random bytes; ``now + unix_offset`` is UNIX time (for time-limited users).

    Announce what it listens on with ``add_local_address``; ``counters`` tells what became of every packet.
    """

    def __init__(self, config: ServerConfig, *, token_bytes: TokenBytes, unix_offset: float = 0.0) -> None:
        self.config = config
        self.counters = Counters()
        self._software: Item | None = SOFTWARE(config.software) if config.software else None
        self._outbox: list[Datagram] = []
        self._events: deque[ServerEvent] = deque()
        self._rate_limit = RateLimit(config.rate, config.burst, config.rate_table_size)
        self._stun = StunServer(software=config.software, path_mtu=config.path_mtu)
        self._turn: TurnServer | None = None
        if config.turn is not None:
            self._turn = TurnServer(
                config.turn,
                token_bytes=token_bytes,
                unix_offset=unix_offset,
                counters=self.counters,
                send=self._outbox.append,
                reply=self._reply,
                emit=self._events.append,
            )
        self._streams: dict[tuple[Address, Address], _Stream] = {}
        self._streams_by_id: dict[int, _Stream] = {}
        self._idle_check: float | None = None
        self._closed = False
        # When the request at hand came, if no token was taken for it: then an answer before authentication costs one.
        self._unpaid: float | None = None

    def add_local_address(self, local: Address, transport: Transport = Transport.UDP) -> None:
        """The driver listens on ``local``."""
        self._stun.add_local_address(local, transport)

    @property
    def allocations(self) -> int:
        """How many allocations there are."""
        return 0 if self._turn is None else len(self._turn.allocations)

    # Endpoint

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """A datagram, or a piece of a client's stream."""
        if self._closed:
            return
        if datagram.transport is not Transport.UDP:
            self._stream_data(datagram, now)
            return
        turn = self._turn
        if turn is None:
            self._message(datagram, datagram.data, now)
            return
        relay = turn.relays.get(datagram.destination)
        if relay is not None:
            turn.from_peer(relay, datagram, now)
        elif is_channel_data(datagram.data):
            turn.channel_data(datagram.source, datagram.destination, False, datagram.data, now)
        else:
            self._message(datagram, datagram.data, now)

    def handle_timer(self, now: float) -> None:
        """Forget what has expired."""
        if self._closed:
            return
        if self._turn is not None:
            self._turn.handle_timer(now)
        if self._idle_check is not None and self._idle_check <= now:
            self._drop_idle_streams(now)

    def get_timer(self) -> float | None:
        """When something expires."""
        expiry = None if self._turn is None else self._turn.get_timer()
        if self._idle_check is None or expiry is None:
            return self._idle_check if expiry is None else expiry
        return min(self._idle_check, expiry)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain the answers and what is relayed."""
        datagrams = self._outbox[:]
        self._outbox.clear()
        return datagrams

    def next_event(self) -> ServerEvent | None:
        """Drain one event."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Delete every allocation and hang up on every client. What arrives later is ignored."""
        if self._closed:
            return
        self._closed = True
        if self._turn is not None:
            self._turn.close()
        for stream in self._streams.values():
            self._events.append(StreamReleased(stream.id))
        self._streams.clear()
        self._streams_by_id.clear()
        self._idle_check = None

    # SocketUser and StreamServer

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """A relay socket is bound."""
        if self._turn is None or self._closed:
            self._events.append(SocketReleased(local))
        else:
            self._turn.socket_opened(id, local, now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A relay socket could not be bound."""
        if self._turn is not None and not self._closed:
            self._turn.socket_failed(id, failure, now)

    def stream_accepted(self, id: int, transport: Transport, local: Address, remote: Address, now: float) -> None:
        """A client connected."""
        if self._closed or len(self._streams) >= self.config.max_streams or (remote, local) in self._streams:
            self.counters.refused_streams += 1
            self._events.append(StreamReleased(id))
            return
        stream = _Stream(id, local, remote, now)
        self._streams[remote, local] = self._streams_by_id[id] = stream
        if self._idle_check is None:
            self._idle_check = now + self.config.stream_idle

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """That client is gone, and its allocation with it: nobody else has that 5-tuple (RFC 8656 §3.2)."""
        stream = self._streams_by_id.get(id)
        if stream is not None:
            self._forget_stream(stream)

    def _forget_stream(self, stream: _Stream) -> None:
        del self._streams[stream.remote, stream.local], self._streams_by_id[stream.id]
        if self._turn is not None:
            self._turn.disconnected(stream.remote, stream.local)

    def _hang_up(self, stream: _Stream) -> None:
        self._forget_stream(stream)
        self._events.append(StreamReleased(stream.id))

    def _drop_idle_streams(self, now: float) -> None:
        times = []
        for stream in list(self._streams.values()):
            idle_at = stream.heard + self.config.stream_idle
            if self._turn is not None and (stream.remote, stream.local, True) in self._turn.allocations:
                # The allocation's own lifetime bounds this one; look again later.
                times.append(now + self.config.stream_idle)
            elif idle_at <= now:
                self._hang_up(stream)
            else:
                times.append(idle_at)
        self._idle_check = max(min(times), now + 1.0) if times else None

    # What arrives

    def _stream_data(self, datagram: Datagram, now: float) -> None:
        stream = self._streams.get((datagram.source, datagram.destination))
        if stream is None:
            return
        stream.heard = now
        try:
            messages = stream.decoder.feed(datagram.data)
        except DecodeError:
            # A stream that lost its framing cannot find it again.
            self.counters.garbage += 1
            self._hang_up(stream)
            return
        for data in messages:
            if is_channel_data(data):
                if self._turn is None:
                    self.counters.garbage += 1
                else:
                    self._turn.channel_data(datagram.source, datagram.destination, True, data, now)
            else:
                self._message(datagram, data, now)

    def _message(self, datagram: Datagram, data: bytes, now: float) -> None:
        if not is_stun(data):
            self.counters.garbage += 1
            return
        source, destination, transport = datagram.source, datagram.destination, datagram.transport
        # RFC 8489 §16.1.2: whoever has no allocation pays for each message before any work is done for it.
        turn = self._turn
        known = turn is not None and (source, destination, transport is not Transport.UDP) in turn.allocations
        if not known and not self._rate_limit.take(source.host, now):
            self.counters.rate_limited += 1
            return
        try:
            message = decode(data)
        except DecodeError:
            self.counters.garbage += 1
            return
        if message.message_class is Class.REQUEST:
            request = Request(message, source, destination, transport, len(data), data[-8:-4] == _FINGERPRINT_HEAD)
            if message.method == Method.BINDING:
                if known and not self._rate_limit.take(source.host, now):
                    self.counters.rate_limited += 1
                else:
                    self._sent(self._stun.answer(request))
            elif turn is not None and message.method in _TURN_REQUESTS:
                self._unpaid = now if known else None
                turn.request(request, now)
            else:
                self.counters.unexpected += 1
        elif message.message_class is Class.INDICATION and message.method == Method.SEND and turn is not None:
            turn.send_indication(source, destination, transport is not Transport.UDP, message, now)
        elif message.message_class is not Class.INDICATION or message.method != Method.BINDING:
            self.counters.unexpected += 1

    # What is answered

    def _reply(self, request: Request, response: Message, key: IntegrityKey | None) -> None:
        """Send the answer of ``TurnServer``; ``key`` when the sender of the request has authenticated."""
        if self._software is not None:
            response = Message(
                response.method,
                response.message_class,
                response.transaction_id,
                (*response.attributes, self._software),
            )
        if key is not None:
            data: bytes | None = response.encode(key, fingerprint=request.fingerprint)
        elif self._unpaid is not None and not self._rate_limit.take(request.source.host, self._unpaid):
            self.counters.rate_limited += 1
            return
        else:
            data = encode_within(response, answer_budget(request), fingerprint=request.fingerprint)
        self._sent(None if data is None else Datagram(request.destination, request.source, data, request.transport))

    def _sent(self, datagram: Datagram | None) -> None:
        if datagram is None:
            self.counters.too_large += 1
        else:
            self.counters.answered += 1
            self._outbox.append(datagram)
