"""Candidates to and from aiortc, which keeps no extension attribute at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icekit.candidate import Candidate

if TYPE_CHECKING:
    import aiortc


def to_aiortc(
    candidate: Candidate, *, sdp_mid: str | None = None, sdp_mline_index: int | None = None
) -> aiortc.RTCIceCandidate:
    """The same candidate for ``RTCPeerConnection.addIceCandidate``, which wants the mid or the index of its section."""
    # Importing aiortc takes 300 ms, which only those should pay who use it.
    import aiortc

    return aiortc.RTCIceCandidate(
        component=candidate.component,
        foundation=candidate.foundation,
        ip=candidate.address,
        port=candidate.port,
        priority=candidate.priority,
        protocol=candidate.transport,
        type=str(candidate.type),
        relatedAddress=candidate.related_address,
        relatedPort=candidate.related_port,
        sdpMid=sdp_mid,
        sdpMLineIndex=sdp_mline_index,
        tcpType=None if candidate.tcptype is None else str(candidate.tcptype),
    )


def from_aiortc(candidate: aiortc.RTCIceCandidate) -> Candidate:
    """The same candidate, checked as ``Candidate.parse(…, strict=False)`` does; CandidateError if it cannot be one.

    ``sdpMid`` and ``sdpMLineIndex`` belong to the section and stay with the caller.
    """
    from aiortc.sdp import candidate_to_sdp

    return Candidate.parse(candidate_to_sdp(candidate), strict=False)
