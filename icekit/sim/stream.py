"""One end of a simulated TCP connection (RFC 9293), as asyncio's ``Transport``.

Done: handshake, refusal, ordering, retransmission (``flight.py``), half-close, reset, time-out.
Not done: congestion control, receive windows, simultaneous open.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from asyncio import protocols
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from icekit.net import Address
from icekit.sim.flight import Flight
from icekit.sim.packet import ACK, FIN, RST, SYN, Segment
from icekit.sim.udp import socket_address

if TYPE_CHECKING:
    from icekit.sim.tcp import TcpStack

# Linux's tcp_syn_retries and tcp_retries2.
_SYN_RETRIES, _RETRIES = 6, 15
# RFC 2018 §3: three fit beside timestamps.
_BLOCKS = 3
_WINDOW = 262_144
_HIGH_WATER = 65_536


def _system_error(kind: type[OSError], number: int) -> OSError:
    return kind(number, os.strerror(number))


class SimStream(asyncio.Transport):
    """One end of a TCP connection."""

    # What ``loop.start_tls`` looks for.
    _start_tls_compatible = True

    def __init__(
        self, stack: TcpStack, local: Address, remote: Address, protocol: asyncio.BaseProtocol, *, passive: bool
    ) -> None:
        super().__init__({"sockname": socket_address(local), "peername": socket_address(remote)})
        self.local = local
        self.remote = remote
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stack = stack
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._protocol: Any = protocol
        self._passive = passive
        self._established = False
        self._closing = False
        self._lost = False
        self._gone = False
        self._reading = True
        self._paused_writing = False
        self._high_water = _HIGH_WATER
        # Sending.
        self._pending = bytearray()
        self._eof_wanted = False
        self._eof_sent = False
        self._flight = Flight()
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None
        self._mss = 1440 if local.family == 6 else 1460
        # Receiving.
        self._expected = 0
        self._echo: float | None = None
        self._early: dict[int, Segment] = {}
        self._inbox: deque[bytes] = deque()
        self._peer_done = False

    # What the stack calls.

    def open(self) -> None:
        """Begin the handshake; ``opened`` is done when it is."""
        self._emit(SYN)

    def receive(self, segment: Segment) -> None:
        """Take a segment of this connection."""
        flags = segment.flags
        if segment.length:
            self._echo = segment.stamp
        if flags & RST:
            refused = not self._established and not self._passive
            self._fail(
                _system_error(ConnectionRefusedError, errno.ECONNREFUSED)
                if refused
                else _system_error(ConnectionResetError, errno.ECONNRESET)
            )
            return
        if flags & SYN and self._expected == 0:
            self._expected = 1
            if self._passive:
                self._emit(SYN | ACK)
                return
        if flags & ACK:
            self._flight.acknowledged(segment, self._loop.time())
            self._send_lost()
        if not self._established and self._expected and not self._flight.is_opening:
            self._established = True
            if not self.opened.done():
                self.opened.set_result(None)
        if segment.length:
            self._take(segment)
            self._send_plain(ACK, self._blocks(segment))
        self._push()
        if self._eof_sent and self._peer_done and not self._flight:
            self._forget()

    def _take(self, segment: Segment) -> None:
        if segment.sequence > self._expected:
            self._early[segment.sequence] = segment
            return
        arrived: Segment | None = segment
        while arrived is not None and arrived.sequence == self._expected:
            self._expected += arrived.length
            if arrived.data:
                self._inbox.append(arrived.data)
            if arrived.flags & FIN:
                self._peer_done = True
            arrived = self._early.pop(self._expected, None)
        self._deliver()

    def _deliver(self) -> None:
        while self._inbox and self._reading and not self._closing:
            data = self._inbox.popleft()
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                self._call(protocols._feed_data_to_buffered_proto, self._protocol, data)  # type: ignore[attr-defined]  # noqa: SLF001  # asyncio's own rule for them
            else:
                self._call(self._protocol.data_received, data)
        if self._peer_done and not self._inbox and self._reading and not self._closing:
            self._reading = False
            if not self._call(self._protocol.eof_received):
                self.close()

    def _blocks(self, latest: Segment) -> tuple[tuple[int, int], ...]:
        """What has arrived behind a gap: RFC 2018 §4, first the block with the latest segment."""
        blocks: list[tuple[int, int]] = []
        for sequence in sorted(self._early):
            end = sequence + self._early[sequence].length
            if blocks and blocks[-1][1] == sequence:
                blocks[-1] = blocks[-1][0], end
            else:
                blocks.append((sequence, end))
        blocks.sort(key=lambda block: not block[0] <= latest.sequence < block[1])
        return tuple(blocks[:_BLOCKS])

    def _emit(self, flags: int, data: bytes = b"") -> None:
        """Send what has to be acknowledged."""
        segment = self._segment(flags, data)
        self._next += segment.length
        self._flight.sent(segment, self._loop.time())
        self._stack.host.send(segment)
        self._arm()

    def _send_plain(self, flags: int, blocks: tuple[tuple[int, int], ...] = ()) -> None:
        self._stack.host.send(self._segment(flags, b"", blocks))

    def _segment(self, flags: int, data: bytes, blocks: tuple[tuple[int, int], ...] = ()) -> Segment:
        return Segment(
            self.local,
            self.remote,
            data,
            flags=flags,
            sequence=self._next,
            acknowledgment=self._expected,
            blocks=blocks,
            stamp=self._loop.time(),
            echo=self._echo,
        )

    def _send_lost(self) -> None:
        for segment in self._flight.take_lost(self._loop.time()):
            self._stack.host.send(segment)
        self._arm()

    def _arm(self) -> None:
        self._stop_timer()
        due = None if self._gone else self._flight.due()
        if due is not None:
            self._timer = self._loop.call_at(due, self._timed_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        for segment in self._flight.take_timed_out(self._loop.time()):
            # It counts this sending already.
            if self._flight.tries > (_RETRIES if self._established else _SYN_RETRIES) + 1:
                self._fail(_system_error(TimeoutError, errno.ETIMEDOUT))
                return
            self._stack.host.send(segment)
        self._send_lost()

    def _push(self) -> None:
        if not self._established or self._gone:
            return
        while self._pending and self._flight.size < _WINDOW:
            data = bytes(self._pending[: self._mss])
            del self._pending[: self._mss]
            self._emit(ACK, data)
        if self._pending:
            return
        if self._eof_wanted and not self._eof_sent:
            self._eof_sent = True
            self._emit(FIN | ACK)
        if self._paused_writing:
            self._paused_writing = False
            self._call(self._protocol.resume_writing)
        if self._closing:
            self._announce(None)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        # A copy, because a program's own call may lead back here and a context cannot be entered twice.
        return self._context.copy().run(function, *arguments)

    def _announce(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, error, context=self._context)

    def _fail(self, error: OSError) -> None:
        self._forget()
        self._closing = True
        if not self.opened.done():
            self.opened.set_exception(error)
            # A listening end has nobody who waits for it.
            self.opened.exception()
        else:
            self._announce(error)

    def _forget(self) -> None:
        self._gone = True
        self._stop_timer()
        self._stack.forget(self)

    def abandon(self) -> None:
        """The loop is closed: no program hears of this stream any more."""
        self._closing = True
        self._gone = True

    # What a program calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; nothing after ``close``."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof_wanted:
            if not self._closing:
                raise RuntimeError("Cannot call write() after write_eof()")
            return
        self._pending += data
        self._push()
        if len(self._pending) > self._high_water and not self._paused_writing:
            self._paused_writing = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """Half-close."""
        self._eof_wanted = True
        self._push()

    def can_write_eof(self) -> bool:
        """TCP can."""
        return True

    def close(self) -> None:
        """Flush, then close; ``connection_lost`` follows."""
        if not self._closing:
            self._closing = True
            self._eof_wanted = True
            if self._gone:
                self._announce(None)
            elif self._established:
                self._push()
            else:
                self.abort()

    def abort(self) -> None:
        """Reset the connection at once."""
        self._force_close(None)

    def _force_close(self, error: Exception | None) -> None:
        # The name that asyncio's TLS layer calls.
        if not self._gone:
            self._send_plain(RST | ACK)
            self._forget()
        self._closing = True
        self._pending.clear()
        if self.opened.done():
            self._announce(error)
        else:
            self.opened.cancel()

    def is_closing(self) -> bool:
        """Whether it was closed or lost."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether ``data_received`` is called."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Keep what arrives until ``resume_reading``."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver what was kept, soon."""
        if not self._closing and not self._reading:
            self._reading = True
            self._loop.call_soon(self._deliver, context=self._context)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that hears this stream."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol hear it (``start_tls`` does)."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Bytes that were not sent yet."""
        return len(self._pending)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high water."""
        return 0, self._high_water

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the writer above ``high`` bytes; it goes on when all are sent."""
        self._high_water = _HIGH_WATER if high is None else high
