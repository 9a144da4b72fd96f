"""What two probe reports tell together."""

from __future__ import annotations

import pytest

from icekit.findings import diagnose
from icekit.report import NatReport, ProbeReport
from icekit.rules_sides import sides_findings
from tests.observations import HEALTHY, RELAY_TCP_OK, SILENT, STUN, configured, observed
from tests.rule_cases import FindingCase, check_finding_case

GOOD = diagnose(HEALTHY)
NO_RELAY = diagnose(observed(turn=(), configured=configured(STUN)))
BLOCKED = diagnose(observed(NatReport(udp=False), turn=(), servers=(SILENT,), configured=configured(STUN)))
BLOCKED_WITH_RELAY = diagnose(observed(NatReport(udp=False), turn=(RELAY_TCP_OK,), servers=(SILENT,)))


def findings(a: ProbeReport, b: ProbeReport) -> list[object]:
    return list(sides_findings(a, b))


CASES = [
    FindingCase("ICE014", "B is blocked", findings(GOOD, BLOCKED), findings(GOOD, NO_RELAY)),
    FindingCase("ICE014", "A is blocked", findings(BLOCKED, GOOD), findings(BLOCKED_WITH_RELAY, GOOD)),
    FindingCase(
        "ICE014", "two blocked ones have no relay to reach", findings(GOOD, BLOCKED), findings(BLOCKED, BLOCKED)
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: FindingCase) -> None:
    check_finding_case(case)


def test_it_says_which_side_is_which() -> None:
    (finding,) = sides_findings(BLOCKED, GOOD)
    assert finding.message.startswith("Only B has a working relay, and the network of A lets")
    assert finding.evidence[-1] == "A: UDP is blocked, and no relay works"
