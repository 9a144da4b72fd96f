"""ICE in ``getStats()``: candidates and pairs, in the words of the W3C (webrtc-stats §8.16 to §8.18)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from aiortc.stats import RTCStats

from icekit.aio.connection import IceConnection
from icekit.candidate import Candidate
from icekit.gathering_events import CandidateGathered


@dataclass
class RTCIceCandidateStats(RTCStats):
    """A candidate; ``type`` is ``local-candidate`` or ``remote-candidate``, ``url`` the server that gave it."""

    transportId: str  # noqa: N815
    foundation: str
    address: str
    port: int
    protocol: str
    candidateType: str  # noqa: N815
    priority: int
    url: str | None = None


@dataclass
class RTCIceCandidatePairStats(RTCStats):
    """A pair (``candidate-pair``); the round-trip time in seconds, ``None`` if no check was answered."""

    transportId: str  # noqa: N815
    localCandidateId: str  # noqa: N815
    remoteCandidateId: str  # noqa: N815
    state: str
    priority: int
    nominated: bool
    selected: bool
    currentRoundTripTime: float | None  # noqa: N815
    requestsSent: int  # noqa: N815
    requestsReceived: int  # noqa: N815
    responsesReceived: int  # noqa: N815
    bytesSent: int  # noqa: N815
    bytesReceived: int  # noqa: N815


def ice_stats(connection: IceConnection, transport: str, timestamp: datetime) -> Iterator[RTCStats]:
    """All candidates and pairs of a connection; ``transport`` is the identifier of its transport's own statistics."""
    told: set[str] = set()
    for event in connection.found:
        if isinstance(event, CandidateGathered):
            stats = _candidate(event.candidate, "local", transport, timestamp, event.url)
            told.add(stats.id)
            yield stats
    for pair in connection.stats():
        sides = [
            _candidate(candidate, side, transport, timestamp)
            for candidate, side in ((pair.local, "local"), (pair.remote, "remote"))
        ]
        for stats in sides:
            if stats.id not in told:
                told.add(stats.id)
                yield stats
        local, remote = (stats.id for stats in sides)
        yield RTCIceCandidatePairStats(
            timestamp=timestamp,
            type="candidate-pair",
            id=_identifier("candidate-pair", transport, local, remote),
            transportId=transport,
            localCandidateId=local,
            remoteCandidateId=remote,
            state=pair.state,
            priority=pair.priority,
            nominated=pair.nominated,
            selected=pair.selected,
            currentRoundTripTime=pair.rtt,
            requestsSent=pair.checks_sent,
            requestsReceived=pair.checks_received,
            responsesReceived=pair.responses_received,
            bytesSent=pair.bytes_sent,
            bytesReceived=pair.bytes_received,
        )


def _candidate(
    candidate: Candidate, side: str, transport: str, timestamp: datetime, url: str | None = None
) -> RTCIceCandidateStats:
    place = f"{candidate.transport} {candidate.address} {candidate.port} {candidate.type}"
    return RTCIceCandidateStats(
        timestamp=timestamp,
        type=f"{side}-candidate",
        id=_identifier(f"{side}-candidate", transport, place),
        transportId=transport,
        foundation=candidate.foundation,
        address=candidate.address,
        port=candidate.port,
        protocol=candidate.transport,
        candidateType=str(candidate.type),
        priority=candidate.priority,
        url=url,
    )


def _identifier(kind: str, *parts: str) -> str:
    digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    return f"{kind}_{digest[:16]}"
