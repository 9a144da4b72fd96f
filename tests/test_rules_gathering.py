"""What errors of a browser's gathering mean beside the candidates that came."""

from __future__ import annotations

import pytest

from icekit.candidate import Candidate
from icekit.report import Severity
from icekit.rules_gathering import gathering_findings
from icekit.sdp import GatheringError
from tests.observations import relay_line, srflx
from tests.rule_cases import FindingCase, check_finding_case

STUN, TURN = "stun:stun.example.org", "turn:turn.example.org"
SRFLX, RELAY = Candidate.parse(srflx("8.8.4.4", "192.168.1.2")), Candidate.parse(relay_line("9.9.9.9"))


def findings(url: str, code: int, *candidates: Candidate, text: str = "") -> list[object]:
    return list(gathering_findings(candidates, [GatheringError(url, code, text)]))


CASES = [
    FindingCase("ICE005", "a 401, and a relay all the same", findings(TURN, 401, RELAY), findings(TURN, 401, SRFLX)),
    FindingCase("ICE005", "only TURN challenges", findings(TURN, 401, RELAY), findings(STUN, 401, RELAY)),
    FindingCase("ICE008", "another STUN server answered", findings(STUN, 701, SRFLX), findings(STUN, 701)),
    FindingCase("ICE008", "another relay came", findings(TURN, 701, RELAY), findings(TURN, 701, SRFLX)),
    FindingCase("TURN-401", "no relay", findings(TURN, 401, SRFLX), findings(TURN, 401, RELAY)),
    FindingCase("TURN-NO-ANSWER", "no relay", findings(TURN, 701), findings(STUN, 701)),
    FindingCase("TURN-486", "quota", findings(TURN, 486), findings(TURN, 42)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: FindingCase) -> None:
    check_finding_case(case)


def test_the_browser_s_words_are_the_evidence_and_nothing_is_said_twice() -> None:
    error = GatheringError(TURN, 701, "STUN host lookup received error.")
    (finding,) = gathering_findings([RELAY], [error, error])
    assert finding.evidence == ("701 STUN host lookup received error.",)
    assert finding.severity is Severity.INFO


def test_what_is_no_url_is_left_alone() -> None:
    assert findings("", 701) == []
