"""Rules about what a browser told while it gathered: candidates, and errors of its servers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from icekit.candidate import Candidate, CandidateType
from icekit.catalogue import describe, new_finding
from icekit.probe_observations import parse_url
from icekit.report import Finding, StageName, TurnReport
from icekit.rules_stages import turn_findings
from icekit.sdp import GatheringError

# W3C WebRTC §4.8.3: the server could not be reached.
NOT_REACHED = 701
_UNAUTHORIZED = 401
_REFLEXIVE = (CandidateType.SERVER_REFLEXIVE, CandidateType.RELAYED)


def gathering_findings(candidates: Collection[Candidate], errors: Collection[GatheringError]) -> Iterator[Finding]:
    """What each error means beside the candidates that came all the same: ICE005, ICE008, or the code of a stage."""
    types = {candidate.type for candidate in candidates}
    for error in dict.fromkeys(errors):
        uri = parse_url(error.url)
        if uri is None:
            continue
        works = CandidateType.RELAYED in types if uri.is_turn else bool(types.intersection(_REFLEXIVE))
        what = f"{error.code} {error.text}".strip()
        if works and uri.is_turn and error.code == _UNAUTHORIZED:
            yield new_finding("ICE005", f"{error.url}: a relay candidate came, so this 401 was the challenge.", what)
        elif works:
            kind = "a relay" if uri.is_turn else "a server-reflexive"
            message = f"{error.url}: {kind} candidate came all the same, so this error does not matter."
            yield new_finding("ICE008", message, what)
        elif uri.is_turn:
            yield from _failed(error, what)


def _failed(error: GatheringError, what: str) -> Iterator[Finding]:
    code = "TURN-NO-ANSWER" if error.code == NOT_REACHED else f"TURN-{error.code}"
    if describe(code) is None:
        return
    cause = "wrong" if error.code == _UNAUTHORIZED else None
    stage = StageName.CHALLENGE if error.code == NOT_REACHED else StageName.ALLOCATE
    for finding in turn_findings(TurnReport(error.url, False, stage, code, cause)):
        yield Finding(finding.code, finding.severity, finding.message, finding.fix, (what,))
