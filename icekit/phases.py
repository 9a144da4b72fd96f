"""What a call waits for, how long, and the code of a wait that was in vain (``icekit.catalogue`` has the texts)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a call waits for now."""

    PEER = "waiting for a peer"
    OFFER = "waiting for the offer"
    ANSWER = "waiting for the answer"
    CANDIDATES = "waiting for end-of-candidates"
    PATH = "waiting for a working path"
    NOMINATION = "waiting for nomination"
    DTLS = "waiting for DTLS"
    CONNECTED = "connected"
    RESTORING = "restoring the path"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long each phase may last, in seconds; ``None``: for ever.

    ``peer`` until anything is heard, ``answer`` for the offer or the answer of a peer that is there (whose owner may be
    asked for a camera first), ``candidates`` for a first candidate, ``path`` from the descriptions to a working pair
    (RFC 8863 §4 wants 39.5 s), ``restoring`` from the loss of a path to a new one.
    """

    peer: float | None = None
    answer: float = 30.0
    candidates: float = 30.0
    path: float = 45.0
    nomination: float = 10.0
    dtls: float = 20.0
    restoring: float = 40.0

    def of(self, phase: Phase, *, candidates: int) -> float | None:
        """The time for ``phase`` when so many ``candidates`` of the peer have come."""
        match phase:
            case Phase.PEER:
                return self.peer
            case Phase.OFFER | Phase.ANSWER:
                return self.answer
            case Phase.CANDIDATES:
                return self.path if candidates else self.candidates
            case Phase.PATH:
                return self.path
            case Phase.NOMINATION:
                return self.nomination
            case Phase.DTLS:
                return self.dtls
            case Phase.RESTORING:
                return self.restoring
            case Phase.CONNECTED | Phase.ENDED:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What else is known when a wait ends: it tells apart why."""

    collisions: int = 0
    refused: str | None = None
    candidates: int = 0
    stale: int = 0


def code_of(phase: Phase, what: Circumstances) -> str:
    """The code of a wait in ``phase`` that was in vain."""
    match phase:
        case Phase.PEER:
            return "CALL-PEER"
        case Phase.OFFER | Phase.ANSWER if what.refused is not None:
            return "CALL-DESCRIPTION"
        case Phase.ANSWER if what.collisions:
            return "CALL-GLARE"
        case Phase.OFFER:
            return "CALL-OFFER"
        case Phase.ANSWER:
            return "CALL-ANSWER"
        case Phase.CANDIDATES | Phase.PATH if not what.candidates:
            return "CALL-UFRAG" if what.stale else "CALL-CANDIDATES"
        case Phase.CANDIDATES | Phase.PATH:
            return "CALL-PATH"
        case Phase.NOMINATION:
            return "CALL-NOMINATION"
        case Phase.DTLS:
            return "CALL-DTLS"
        case Phase.CONNECTED | Phase.RESTORING | Phase.ENDED:
            return "CALL-LOST"
