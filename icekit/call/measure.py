"""What a call is like, once a second: round trip, loss, jitter, bit rate, the pair in use, what is heard and seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiortc.stats import (
    RTCInboundRtpStreamStats,
    RTCRemoteInboundRtpStreamStats,
    RTCStats,
    RTCStatsReport,
    RTCTransportStats,
)

from icekit.call.sinks import Level
from icekit.call.stats import RTCIceCandidatePairStats, RTCIceCandidateStats

# RTP clocks (RFC 7587 §4.1, RFC 7741 §4.1).
_CLOCKS = {"audio": 48000, "video": 90000}


@dataclass(frozen=True, slots=True)
class UsedPair:
    """The pair that carries the call: kinds (``host``, ``srflx``, ``prflx``, ``relay``) and addresses of its ends."""

    local: str
    remote: str
    local_address: str
    remote_address: str

    @property
    def is_relayed(self) -> bool:
        """Whether one of the ends is a relay."""
        return "relay" in (self.local, self.remote)


@dataclass(frozen=True, slots=True)
class CallStats:
    """One second of a call. ``None``: not measured, as nothing was sent, or the engine does not say.

    ``time`` since the call began; ``rtt`` and ``jitter`` in seconds, ``jitter`` of the worse track; ``loss`` of what
    the peer sent, and ``loss_out`` of what we sent, from 0 to 1; bit rates in bit/s, of everything that the transport
    carries.
    """

    time: float
    rtt: float | None
    loss: float | None
    loss_out: float | None
    jitter: float | None
    bitrate_in: float | None
    bitrate_out: float | None
    pair: UsedPair | None
    levels: tuple[Level, ...] = ()


@dataclass(slots=True)
class _Totals:
    time: float
    received: int
    lost: int
    bytes_in: int
    bytes_out: int


class Meter:
    """Turns the counters of two reports into what happened in between."""

    def __init__(self) -> None:
        self._before: _Totals | None = None

    def measure(self, report: RTCStatsReport, time: float, levels: tuple[Level, ...]) -> CallStats:
        """The statistics of the time since the last report; ``time`` in seconds since the call began."""
        items: Iterable[RTCStats] = list(report.values())
        inbound = [item for item in items if isinstance(item, RTCInboundRtpStreamStats)]
        heard_of = [item for item in items if isinstance(item, RTCRemoteInboundRtpStreamStats)]
        transports = [item for item in items if isinstance(item, RTCTransportStats)]
        pair = next((item for item in items if isinstance(item, RTCIceCandidatePairStats) and item.selected), None)
        now = _Totals(
            time,
            sum(item.packetsReceived for item in inbound),
            sum(item.packetsLost for item in inbound),
            sum(item.bytesReceived for item in transports),
            sum(item.bytesSent for item in transports),
        )
        before, self._before = self._before, now
        rates: tuple[float | None, float | None] = (None, None)
        loss = None
        # A connection that was replaced counts anew.
        if before is not None and now.time > before.time and now.bytes_in >= before.bytes_in:
            seconds = now.time - before.time
            rates = (8 * (now.bytes_in - before.bytes_in) / seconds, 8 * (now.bytes_out - before.bytes_out) / seconds)
            received, lost = now.received - before.received, max(0, now.lost - before.lost)
            loss = lost / (received + lost) if received + lost else None
        rtts = [item.roundTripTime for item in heard_of if item.roundTripTime]
        rtt = pair.currentRoundTripTime if pair is not None else None
        return CallStats(
            time=time,
            rtt=rtt if rtt is not None else max(rtts, default=None),
            loss=loss,
            loss_out=max((item.fractionLost for item in heard_of), default=None),
            jitter=max((item.jitter / _CLOCKS.get(item.kind, 90000) for item in inbound), default=None),
            bitrate_in=rates[0],
            bitrate_out=rates[1],
            pair=None if pair is None else _pair(report, pair),
            levels=levels,
        )


def _pair(report: RTCStatsReport, pair: RTCIceCandidatePairStats) -> UsedPair | None:
    ends = report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)
    local, remote = ends
    if not isinstance(local, RTCIceCandidateStats) or not isinstance(remote, RTCIceCandidateStats):
        return None
    addresses = [
        f"[{end.address}]:{end.port}" if ":" in end.address else f"{end.address}:{end.port}" for end in (local, remote)
    ]
    return UsedPair(local.candidateType, remote.candidateType, addresses[0], addresses[1])
