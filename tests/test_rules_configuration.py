"""What is told about configured servers, and what is not."""

from __future__ import annotations

import pytest

from icekit.report import StageName, TurnReport, to_dict
from icekit.rules_configuration import url_finding
from tests.observations import (
    NOW,
    STUN,
    TURN,
    configured,
    dns,
    observed,
)
from tests.rule_cases import Case, check_case

CASES = [
    Case(
        "ICE001",
        "no turn URL",
        observed(turn=(), configured=configured(STUN)),
        observed(turn=(), configured=configured(STUN, TURN)),
    ),
    Case(
        "ICE015",
        "five servers",
        observed(configured=configured(TURN, "stun:a.example", "stun:b.example", "stun:c.example", "stun:d.example")),
        observed(configured=configured(TURN, "stun:a.example", "stun:b.example", "stun:c.example", "stun:c.example")),
    ),
    Case(
        "ICE016",
        "credentials that end in ten minutes",
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 600}:bob")),
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 86400}:bob")),
    ),
    Case(
        "ICE016",
        "expired ones are a stage code",
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 1}:bob")),
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) - 600}:bob")),
    ),
    Case(
        "ICE018",
        "no URL",
        observed(configured=configured("turn://turn.example.org")),
        observed(configured=configured("turn:turn.example.org")),
    ),
    Case(
        "ICE018",
        "a host without a dot that does not resolve",
        observed(configured=configured(TURN, "stun:stunserver"), dns=dns("stunserver", error="no such name")),
        observed(configured=configured(TURN, "stun:stunserver"), dns=dns("stunserver", "10.0.0.1")),
    ),
    Case(
        "ICE018",
        "a TURN server that did not resolve has its stage code",
        observed(configured=configured("turn:turnserver"), dns=dns("turnserver", error="no such name")),
        observed(
            configured=configured("turn:turnserver"),
            dns=dns("turnserver", error="no such name"),
            turn=(TurnReport("turn:turnserver", False, StageName.RESOLVE, "TURN-RESOLVE", "no such name"),),
        ),
    ),
    Case(
        "ICE021",
        "a STUN URL with a user name",
        observed(turn=(), configured=configured(STUN, username="bob")),
        observed(turn=(), configured=configured(STUN, username="bob") + configured(TURN)),
    ),
    Case(
        "ICE021",
        "a public STUN server as TURN",
        observed(configured=configured("turn:stun.l.google.com:19302")),
        observed(
            configured=configured("turn:stun.l.google.com:19302"),
            turn=(TurnReport("turn:stun.l.google.com:19302", False, StageName.CHALLENGE, "TURN-NOT-TURN"),),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: Case) -> None:
    check_case(case)


def test_bad_url_prints_the_corrected_one() -> None:
    finding = url_finding("turn://turn.example.org")
    assert finding is not None
    assert finding.fix == "Write turn:turn.example.org"
    assert url_finding("turn:turn.example.org") is None


def test_a_password_in_a_url_is_not_repeated() -> None:
    finding = url_finding("turn:bob:hunter2@turn.example.org")
    assert finding is not None
    assert "hunter2" not in str(to_dict(finding))
