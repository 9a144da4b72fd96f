"""aiortc's SCTP association, open one and a half round trips earlier; the second file that touches its private names.

aiortc sends nothing before the association is established, and calls a channel open when the peer has acknowledged it.
Here the packet that returns the peer's cookie also carries the announcements of the channels and what the program sends
when they open (RFC 9260 §5.1), and a channel is open when it has been announced (RFC 8832 §6), as in browsers.
Its timers begin with the round trip that ICE has measured, and double.
``PRIVATE_NAMES`` and ``PRIVATE_ATTRIBUTES`` are checked with those of icekit.call.stock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCDataChannel, RTCSctpCapabilities, RTCSctpTransport
from aiortc.rtcsctptransport import (
    DATA_CHANNEL_OPEN,
    SCTP_COMMON_HEADER_LENGTH,
    SCTP_MAX_INIT_RETRANS,
    SCTP_MAX_PACKET_LENGTH,
    WEBRTC_DCEP,
    BaseInitChunk,
    Chunk,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    InitAckChunk,
    InitChunk,
)

from icekit.call.flights import answer_timeout

PRIVATE_NAMES: Final[dict[type, tuple[str, ...]]] = {
    RTCSctpTransport: (
        "_data_channel_close",
        "_data_channel_flush",
        "_data_channel_receive",
        "_flight_size_increase",
        "_receive_chunk",
        "_send",
        "_send_chunk",
        "_t1_expired",
        "_t1_start",
        "_t3_expired",
        "_t3_restart",
        "_t3_start",
        "_transmit",
        "_transmit_reconfig",
        "_update_rto",
    ),
    RTCDataChannel: ("_setReadyState",),
}
"""Methods of aiortc's classes."""

PRIVATE_ATTRIBUTES: Final[dict[type, tuple[str, ...]]] = {
    RTCSctpTransport: (
        "_association_state",
        "_data_channels",
        "_last_received_tsn",
        "_local_tsn",
        "_outbound_queue",
        "_reconfig_queue",
        "_remote_verification_tag",
        "_rto",
        "_rttvar",
        "_sent_queue",
        "_srtt",
        "_t1_failures",
        "_t1_handle",
        "_t3_handle",
    ),
}
"""Attributes of their objects."""

# Seconds. RFC 9260 §16 where no round trip is known; aiortc has the three seconds of RFC 4960.
_RTO_INITIAL: Final = 1.0
# As libwebrtc's: twice the 200 ms for which most peers keep an acknowledgement back (RFC 9260 §6.2), instead of 1 s;
# and ICE stops whoever sends in vain (RFC 7675), so that after an outage nobody has to wait for longer.
_RTO_MIN: Final = 0.4
# RFC 9260 §6.2: an acknowledgement may be kept back for 200 ms, also by a peer whose last ones came at once; and its
# clock.
_KEPT_BACK: Final = 0.22
_BACKOFF_MAX: Final = 3.0
# RFC 9260 §16 has eight repetitions of INIT, whose timer begins with a second. Ours begins sooner, and lasts for as
# long as ICE waits for a peer that says nothing (30 s, RFC 7675 §5.1), and one repetition more.
_PATIENCE: Final = 30.0 + _BACKOFF_MAX

_State = RTCSctpTransport.State


class _CookieEcho(CookieEchoChunk):
    """The cookie, and the data that go with it each time that it is sent."""

    def __init__(self, echo: Chunk, data: list[DataChunk]) -> None:
        super().__init__(echo.flags, echo.body)
        self.data = data

    def __bytes__(self) -> bytes:
        return super().__bytes__() + b"".join(map(bytes, self.data))


class SctpTransport(RTCSctpTransport):
    """The association of one peer connection.

    ``opens_early`` is for peers that are ready for a message in the packet that announces its channel. For others
    channels are announced as early, and open when the peer has answered that packet.
    """

    opens_early = True

    def __init__(self, transport: Any, port: int = 5000) -> None:
        super().__init__(transport, port)
        self.round_trip: Callable[[], float | None] = lambda: None
        """Asked when the association begins: the least round trip of its path in seconds; ``None``: not known."""
        self._least_rtt = 0.0
        # For what is answered at once, INIT and COOKIE ECHO; data may be acknowledged later.
        self._rto = self._opening_rto = _RTO_INITIAL
        self._patient_until = 0.0
        # The packet with the cookie and data is under way, and the peer's own cookie has come first.
        self._echo_in_doubt = False
        self._echo_wait = 0.0
        self._repeating: asyncio.Future[None] | None = None
        self._initial_tsn = self._local_tsn
        # Streams of channels that we have announced, and on which the peer has not said anything.
        self._unanswered: set[int] = set()
        self._collecting = False
        self._echo: _CookieEcho | None = None

    async def start(self, remoteCaps: RTCSctpCapabilities | None, remotePort: int) -> None:
        """Open it; RFC 9260 §6.3.1 C2 with the round trip that ICE has measured."""
        rtt = self.round_trip() if self.state == "new" else None
        if rtt is not None:
            self._least_rtt = rtt
            self._update_rto(rtt)
            self._opening_rto = answer_timeout(rtt)
        await super().start(remoteCaps, remotePort)

    async def _receive_chunk(self, chunk: Chunk) -> None:
        was_established = self._association_state is _State.ESTABLISHED
        if was_established and isinstance(chunk, InitChunk):
            # RFC 9260 §5.2.2: what has been agreed stays. Within one DTLS connection this is a packet that came late.
            return
        counted = self._last_received_tsn
        repeated_at = None if self._t1_handle is None else self._t1_handle.when()
        await super()._receive_chunk(chunk)
        if isinstance(chunk, BaseInitChunk) and counted is not None:
            # Said once more; data may have come meanwhile, which aiortc would forget.
            self._last_received_tsn = counted
        if isinstance(chunk, CookieAckChunk) and self._echo_in_doubt:
            self._echo_in_doubt = False
            if self._t3_handle is not None:
                # It has come with its data; their acknowledgement may be kept back.
                self._t3_restart()
        if not was_established and self._association_state is _State.ESTABLISHED:
            await self._established(None if isinstance(chunk, CookieAckChunk) else repeated_at)

    async def _send_chunk(self, chunk: Chunk) -> None:
        if isinstance(chunk, CookieEchoChunk) and self._association_state is _State.COOKIE_WAIT:
            self._echo = chunk = _CookieEcho(chunk, await self._early_data(chunk))
        known = self._remote_verification_tag
        if isinstance(chunk, InitAckChunk):
            # RFC 9260 §5.2.1: the same as in our INIT; meanwhile data may have been numbered.
            chunk.initial_tsn = self._initial_tsn
        elif isinstance(chunk, InitChunk):
            # RFC 9260 §8.5.1: no tag goes with an INIT, not even one that the peer's own INIT has told meanwhile.
            self._remote_verification_tag = 0
        await super()._send_chunk(chunk)
        self._remote_verification_tag = known

    def _t1_start(self, chunk: Chunk) -> None:
        again = self._echo if isinstance(chunk, CookieEchoChunk) and self._echo is not None else chunk
        self._rto = self._opening_rto
        if isinstance(chunk, InitChunk) and self.is_server:
            # The client may not have our last flight of DTLS. aiortc then keeps what comes, and is late with all that
            # follows by as many packets; the client's own INIT goes again soon.
            self._rto = max(self._rto, _RTO_INITIAL)
        self._patient_until = asyncio.get_running_loop().time() + _PATIENCE
        super()._t1_start(again)

    def _t1_expired(self) -> None:
        self._double_rto()
        if asyncio.get_running_loop().time() < self._patient_until:
            self._t1_failures = min(self._t1_failures, SCTP_MAX_INIT_RETRANS - 1)
        super()._t1_expired()

    def _t3_expired(self) -> None:
        self._double_rto()
        super()._t3_expired()

    def _echo_expired(self) -> None:
        """Neither the cookie nor its data have been acknowledged: the same packet again, which needs both at once."""
        assert self._echo is not None
        for chunk in self._echo.data:
            chunk._sent_count += 1
        self._repeating = asyncio.ensure_future(self._send_chunk(self._echo))
        self._t3_handle = None
        self._echo_wait *= 2
        if self._echo_wait < self._rto:
            self._t3_handle = asyncio.get_running_loop().call_later(self._echo_wait, self._echo_expired)
        else:
            self._t3_start()

    def _double_rto(self) -> None:
        # RFC 9260 §6.3.3 E2; aiortc goes on with the same.
        self._rto = max(self._rto, min(2 * self._rto, _BACKOFF_MAX))

    def _update_rto(self, R: float) -> None:
        # aiortc looks at the real clock, also where time is virtual.
        super()._update_rto(max(R, self._least_rtt))
        self._rto = self._data_rto()

    def _data_rto(self) -> float:
        """RFC 9260 §6.3.1."""
        srtt, variation = self._srtt, self._rttvar
        if srtt is None or variation is None:
            return _RTO_INITIAL
        return max(_RTO_MIN, srtt + max(4 * variation, _KEPT_BACK))

    async def _early_data(self, echo: Chunk) -> list[DataChunk]:
        """What fits into one packet with the cookie.

        RFC 9260 §5.1 C: until the cookie is acknowledged, this is the only packet that may be sent.
        """
        room = SCTP_MAX_PACKET_LENGTH - SCTP_COMMON_HEADER_LENGTH - len(bytes(echo))
        taken: list[DataChunk] = []
        waiting = self._outbound_queue
        self._collecting = True
        # To aiortc's methods the association is established; they put chunks into the queue, and ``_transmit`` waits.
        self._association_state = _State.ESTABLISHED
        try:
            if self.opens_early:
                self._open_negotiated()
            while True:
                await self._data_channel_flush()
                if not waiting or len(bytes(waiting[0])) > room:
                    return taken
                chunk = waiting.popleft()
                room -= len(bytes(chunk))
                taken.append(chunk)
                self._sent_queue.append(chunk)
                self._flight_size_increase(chunk)
                chunk._sent_count += 1
                chunk._sent_time = time.time()
        finally:
            self._association_state = _State.COOKIE_WAIT
            self._collecting = False

    def _open_negotiated(self) -> None:
        for channel in list(self._data_channels.values()):
            if channel.negotiated:
                _open(channel)

    async def _send(
        self,
        stream_id: int,
        pp_id: int,
        user_data: bytes,
        expiry: float | None = None,
        max_retransmits: int | None = None,
        ordered: bool = True,
    ) -> None:
        # RFC 8832 §6: in order until the peer has said something on this channel.
        ordered = ordered or stream_id in self._unanswered
        await super()._send(stream_id, pp_id, user_data, expiry, max_retransmits, ordered)
        if pp_id == WEBRTC_DCEP and user_data[0] == DATA_CHANNEL_OPEN:
            self._unanswered.add(stream_id)
            if self.opens_early or not self._collecting:
                _open(self._data_channels[stream_id])

    async def _transmit(self) -> None:
        if not self._collecting and self._association_state is not _State.COOKIE_ECHOED:
            await super()._transmit()

    async def _transmit_reconfig(self) -> None:
        if not self._collecting:
            await super()._transmit_reconfig()

    async def _established(self, repeated_at: float | None) -> None:
        """Send what found no room beside the cookie, and look after what did.

        ``repeated_at``: when the packet with the cookie would have been sent again, if the peer's own came first and
        nothing tells whether ours has arrived.
        """
        self._echo_wait, self._rto = self._rto, self._data_rto()
        for stream_id in self._unanswered & self._data_channels.keys():
            _open(self._data_channels[stream_id])
        if self._t1_failures:
            # RFC 9260 §6.3.1 C5: what was sent more than once says nothing about the round trip.
            for chunk in self._sent_queue:
                chunk._sent_count += 1
        if self._sent_queue and self._t3_handle is None:
            if repeated_at is None:
                self._t3_start()
            else:
                self._echo_in_doubt = True
                self._t3_handle = asyncio.get_running_loop().call_at(repeated_at, self._echo_expired)
        await self._transmit()

    def _data_channel_close(self, channel: RTCDataChannel) -> None:
        if self._association_state is _State.COOKIE_ECHOED and channel.readyState == "open" and channel.id is not None:
            # The peer may know it already: it is told when it may be told anything.
            channel._setReadyState("closing")
            self._reconfig_queue.append(channel.id)
        else:
            super()._data_channel_close(channel)

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        self._unanswered.discard(stream_id)
        is_new = stream_id not in self._data_channels
        await super()._data_channel_receive(stream_id, pp_id, data)
        if is_new and stream_id in self._data_channels:
            # A handler that is a coroutine gets its turn before the messages that follow.
            await asyncio.sleep(0)


def _open(channel: RTCDataChannel) -> None:
    if channel.readyState == "connecting":
        channel._setReadyState("open")
