"""The TCP connections under the pairs of one agent (RFC 6544): opened for active candidates, accepted for passive ones.

The agent knows pairs and whole datagrams. ``TcpPaths`` gives each pair its connection: it opens one when the first
datagram of an active candidate leaves, cuts the bytes that arrive into datagrams, and hangs up on strangers. Who
connects to us is a stranger until its first frame is a check that the agent can authenticate: until then there is one
small buffer for it, and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from icekit.checklist import PairKey
from icekit.errors import ConfigError, DecodeError
from icekit.framing import MAX_FRAME, FrameDecoder, frame
from icekit.net import Address, Datagram, StreamFailure, StreamReleased, StreamWanted, Transport

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpConfig:
    """How long connections may take, and how many there may be; times in seconds.

    ``connect_timeout``: of one that we open. ``stranger_timeout``: of one that we accepted, until its first check.
    ``idle_timeout``: without anything in either direction; pairs in use have a check each 5 s (RFC 7675).
    ``max_strangers``: the one that waits longest gives way to the next. ``max_connections``: all others together.
    ``max_first_frame``: what a stranger may send, in bytes.
    """

    connect_timeout: float = 10.0
    stranger_timeout: float = 5.0
    idle_timeout: float = 60.0
    max_strangers: int = 32
    max_connections: int = 64
    max_first_frame: int = 1_280


@dataclass(frozen=True, slots=True)
class PathOpened:
    """The connection of a pair is there: a check would arrive now."""

    key: PairKey


@dataclass(frozen=True, slots=True)
class PathLost:
    """The connection of a pair could not be opened, or is gone."""

    key: PairKey


@dataclass(slots=True, eq=False)
class _Stream:
    """``base`` and ``remote`` are those of its pair; ``wire``: both ends as the driver names them, ``None`` until it is
    open. It ends at the ``deadline``.
    """

    id: int
    base: Address
    remote: Address
    deadline: float
    wire: tuple[Address, Address] | None = None
    stranger: bool = False
    decoder: FrameDecoder = field(default_factory=FrameDecoder)

    @property
    def key(self) -> PairKey:
        return self.base, self.remote, Transport.TCP


FIRST_ID: Final = 1 << 40
"""Identifiers of the connections that we open; nobody else in a session counts so far."""


class TcpPaths:
    """All connections of one agent. ``is_check``: whether a frame is a check that the agent can authenticate."""

    def __init__(self, is_check: Callable[[bytes], bool], config: TcpConfig | None = None) -> None:
        self._is_check = is_check
        self._config = config or TcpConfig()
        self._active: set[Address] = set()
        self._by_key: dict[tuple[Address, Address], _Stream] = {}
        self._by_wire: dict[tuple[Address, Address], _Stream] = {}
        self._by_id: dict[int, _Stream] = {}
        self._next_id = FIRST_ID
        self._out: list[Datagram] = []
        self._events: list[StreamWanted | StreamReleased] = []
        self._news: list[PathOpened | PathLost] = []
        self._closed = False
        self.dropped = 0

    # What the owner calls.

    def add_active(self, base: Address) -> None:
        """Connections may be opened from ``base``; its port only tells bases apart."""
        self._active.add(base)

    def send(self, datagram: Datagram, now: float) -> None:
        """Send what the agent has; where there is no connection it is dropped, and an active one is opened."""
        stream = self._by_key.get((datagram.source, datagram.destination))
        if stream is None:
            if datagram.source in self._active:
                self._open(datagram.source, datagram.destination, now)
        elif stream.wire is not None and not stream.stranger:
            try:
                data = frame(datagram.data)
            except ConfigError as error:
                self.dropped += 1
                log.debug("! to %s: %s", stream.remote, error)
                return
            self._out.append(Datagram(*stream.wire, data, Transport.TCP))
            stream.deadline = now + self._config.idle_timeout

    def receive(self, datagram: Datagram, now: float) -> list[Datagram]:
        """What the agent shall see of a piece of a stream."""
        stream = self._by_wire.get((datagram.destination, datagram.source))
        if stream is None:
            self.dropped += 1
            return []
        try:
            frames = stream.decoder.feed(datagram.data)
        except DecodeError as error:
            log.debug("! %s: %s", stream.remote, error)
            self._hang_up(stream, lost=not stream.stranger)
            return []
        if stream.stranger and frames and not self._trust(stream, frames[0]):
            return []
        if frames:
            stream.deadline = now + self._config.idle_timeout
        return [Datagram(stream.remote, stream.base, data, Transport.TCP) for data in frames]

    def owns(self, datagram: Datagram) -> bool:
        """Whether it came by one of these connections."""
        return (datagram.destination, datagram.source) in self._by_wire

    def owns_stream(self, id: int) -> bool:
        """Whether the connection is one of these."""
        return id in self._by_id or id >= FIRST_ID or id < 0

    def release(self, bases: set[Address]) -> None:
        """Close what began or ended at ``bases``, which are given up."""
        self._active -= bases
        for stream in [stream for stream in self._by_id.values() if stream.base in bases]:
            self._hang_up(stream, lost=False)

    def news(self) -> list[PathOpened | PathLost]:
        """Drain what the agent should know of its pairs."""
        news, self._news = self._news, []
        return news

    # As of an Endpoint.

    def handle_timer(self, now: float) -> None:
        """Hang up on who is too slow."""
        for stream in [stream for stream in self._by_id.values() if stream.deadline <= now]:
            self._hang_up(stream, lost=not stream.stranger)

    def get_timer(self) -> float | None:
        """When somebody is too slow."""
        return min((stream.deadline for stream in self._by_id.values()), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> StreamWanted | StreamReleased | None:
        """Drain."""
        return self._events.pop(0) if self._events else None

    def close(self) -> None:
        """Hang up on everybody."""
        self._closed = True
        for stream in list(self._by_id.values()):
            self._hang_up(stream, lost=False)

    # StreamUser and StreamServer.

    def stream_accepted(self, id: int, local: Address, remote: Address, now: float) -> None:
        """Somebody connected to a passive candidate."""
        if self._closed or (local, remote) in self._by_wire:
            self._events.append(StreamReleased(id))
            return
        strangers = [stream for stream in self._by_id.values() if stream.stranger]
        if len(strangers) >= self._config.max_strangers:
            # The peer's check follows its connection by a round trip; who waits longer is the less likely one.
            self._hang_up(strangers[0], lost=False)
        deadline = now + self._config.stranger_timeout
        decoder = FrameDecoder(self._config.max_first_frame)
        self._add(_Stream(id, local, remote, deadline, (local, remote), stranger=True, decoder=decoder))

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """A connection of ours is there."""
        stream = self._by_id.get(id)
        if stream is None or (local, remote) in self._by_wire:
            self._events.append(StreamReleased(id))
            return
        stream.wire, stream.deadline = (local, remote), now + self._config.idle_timeout
        self._by_wire[stream.wire] = stream
        self._news.append(PathOpened(stream.key))

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """A connection could not be opened, or the other side hung up."""
        stream = self._by_id.get(id)
        if stream is not None:
            log.debug("= TCP with %s: %s %s", stream.remote, failure, detail)
            self._forget(stream, lost=not stream.stranger)

    # Inside.

    def _open(self, base: Address, remote: Address, now: float) -> None:
        if self._closed or self._trusted() >= self._config.max_connections:
            self.dropped += 1
            return
        stream = _Stream(self._next_id, base, remote, now + self._config.connect_timeout)
        self._next_id += 1
        self._add(stream)
        self._events.append(StreamWanted(stream.id, base.host, remote, Transport.TCP))

    def _trust(self, stream: _Stream, first: bytes) -> bool:
        """RFC 6544 §7.2: who connects sends a check first. It names our user name fragment and proves the password."""
        if self._trusted() < self._config.max_connections and self._is_check(first):
            stream.stranger = False
            stream.decoder.limit = MAX_FRAME
            return True
        self.dropped += 1
        self._hang_up(stream, lost=False)
        return False

    def _trusted(self) -> int:
        return sum(not stream.stranger for stream in self._by_id.values())

    def _add(self, stream: _Stream) -> None:
        self._by_id[stream.id] = self._by_key[stream.base, stream.remote] = stream
        if stream.wire is not None:
            self._by_wire[stream.wire] = stream

    def _hang_up(self, stream: _Stream, *, lost: bool) -> None:
        self._events.append(StreamReleased(stream.id))
        self._forget(stream, lost=lost)

    def _forget(self, stream: _Stream, *, lost: bool) -> None:
        del self._by_id[stream.id], self._by_key[stream.base, stream.remote]
        if stream.wire is not None:
            del self._by_wire[stream.wire]
        if lost:
            self._news.append(PathLost(stream.key))
