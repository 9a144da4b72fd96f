"""What a negotiation asks of its owner, and tells it: one frozen value for each."""

from __future__ import annotations

from dataclasses import dataclass

from icekit.phases import Phase
from icekit.remote_candidates import RemoteCandidate
from icekit.report import Finding


@dataclass(frozen=True, slots=True)
class OfferWanted:
    """Make an offer, ``offer_made`` when done; with new ICE credentials if ``restart``. It is not sent yet."""

    restart: bool


@dataclass(frozen=True, slots=True)
class AnswerWanted:
    """Take the peer's offer and make an answer, ``answer_made`` when done.

    ``rolled_back``: our own offer has lost and counts for nothing (W3C WebRTC §4.4.1.5, rollback).
    """

    sdp: str
    rolled_back: bool


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    """Apply the peer's answer to our offer, ``answer_applied`` when done."""

    sdp: str


@dataclass(frozen=True, slots=True)
class DescriptionReady:
    """Send this description, word for word; ``again``: and after it all candidates of it that there are so far."""

    type: str
    sdp: str
    again: bool


@dataclass(frozen=True, slots=True)
class CandidateReady:
    """Add this candidate of the peer to the connection."""

    candidate: RemoteCandidate


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The call now waits for something else."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class ChangeFailed:
    """A change of a call that works (new media, a restart) came to nothing; the call goes on as it was."""

    code: str
    reason: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class NegotiationFailed:
    """It ended: ``code`` of ``icekit.catalogue``, the phase that it ended in, why, and what the owner has found."""

    code: str
    phase: Phase
    reason: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The peer hung up."""

    reason: str | None


NegotiationEvent = (
    OfferWanted
    | AnswerWanted
    | AnswerReceived
    | DescriptionReady
    | CandidateReady
    | PhaseChanged
    | ChangeFailed
    | NegotiationFailed
    | PeerLeft
)
