"""Candidates to and from aioice, which knows no extension attribute but ``generation``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from icekit.candidate import Candidate

if TYPE_CHECKING:
    import aioice


def to_aioice(candidate: Candidate) -> aioice.Candidate:
    """The same candidate for aioice; extension attributes other than ``generation`` have no place there."""
    # Importing aioice takes 100 ms, which only those should pay who use it.
    import aioice

    generation = candidate.extension("generation") or ""
    return aioice.Candidate(
        foundation=candidate.foundation,
        component=candidate.component,
        transport=candidate.transport,
        priority=candidate.priority,
        host=candidate.address,
        port=candidate.port,
        type=str(candidate.type),
        related_address=candidate.related_address,
        related_port=candidate.related_port,
        tcptype=None if candidate.tcptype is None else str(candidate.tcptype),
        generation=int(generation) if generation.isdecimal() else None,
    )


def default_candidate(candidates: Sequence[Candidate], component: int) -> Candidate | None:
    """What a peer without ICE is told (RFC 8839 §4.2.1.2): the most reachable candidate, of IPv4 if there is one.

    Of UDP, which is what the rest of a description speaks of (RFC 6544 §4.4).
    """
    order = {"relay": 0, "srflx": 1, "host": 2}
    fitting = [item for item in candidates if item.component == component and item.transport.lower() == "udp"]
    return min(fitting, key=lambda item: (":" in item.address, order.get(str(item.type), 3)), default=None)


def from_aioice(candidate: aioice.Candidate) -> Candidate:
    """The same candidate, checked as ``Candidate.parse(…, strict=False)`` does, because aioice checks nothing.

    CandidateError if it cannot be one: aioice accepts port 99999 and a host that is no address. TypeError for what is
    no candidate at all.
    """
    if not hasattr(candidate, "to_sdp"):
        raise TypeError(
            f"a candidate is a Candidate of icekit or aioice, not {type(candidate).__name__}; "
            "Candidate.parse(text, strict=False) of icekit reads a line"
        )
    return Candidate.parse(candidate.to_sdp(), strict=False)
