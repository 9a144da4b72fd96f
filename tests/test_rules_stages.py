"""The ``TURN-`` codes: when they are told, and their sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icekit.catalogue import describe
from icekit.findings import diagnose
from icekit.report import Severity, StageName, StageResult, TurnReport
from icekit.rules_stages import turn_findings
from icekit.stage_texts import CAUSES
from tests.observations import (
    REFUSED,
    RELAY_OK,
    RELAY_TCP_OK,
    TURN,
    TURN_TCP,
    TURNS,
    observed,
)
from tests.rule_cases import Case, check_case
from tests.test_catalogue import STAGE_CODES

CASES = [
    Case("TURN-401", "a failed stage", observed(turn=(REFUSED,)), observed(turn=(RELAY_OK,))),
    Case(
        "TURN-REALM-EMPTY",
        "a warning on the way",
        observed(turn=(replace(RELAY_OK, warnings=("TURN-REALM-EMPTY",)),)),
        observed(turn=(RELAY_OK,)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: Case) -> None:
    check_case(case)


@pytest.mark.parametrize("code", [*STAGE_CODES, "TURN-300", "TURN-699"])
def test_every_stage_code_has_a_sentence_and_a_fix(code: str) -> None:
    for cause in (None, "unheard of", *(cause for other, cause in CAUSES if other == code)):
        [finding] = turn_findings(TurnReport(TURNS, False, StageName.ALLOCATE, code, cause))
        assert finding.code == code
        assert finding.message.startswith(f"{TURNS}: ")
        assert "{" not in finding.message + finding.fix
        row = describe(code)
        assert row is not None
        assert finding.severity is row.severity


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("expired", ["have expired", "fresh"]),
        ("milliseconds", ["milliseconds", "seconds"]),
        ("empty", ["empty", "--credential"]),
        # They look alike from outside, so all three are said.
        ("wrong", ["wrong password", "unknown user", "shared secret"]),
    ],
)
def test_401_speaks_by_its_cause(cause: str, words: list[str]) -> None:
    [finding] = turn_findings(replace(REFUSED, cause=cause))
    assert all(word in finding.message + finding.fix for word in words)


def test_a_stage_finding_names_what_failed_and_what_was_not_tested() -> None:
    report = TurnReport(
        TURN,
        False,
        StageName.ECHO,
        "TURN-ECHO-IN",
        stages=(
            StageResult(StageName.ALLOCATE, True, 0.1),
            StageResult(StageName.ECHO, False, 2.0, "0 of 4 came back"),
        ),
        not_tested=(StageName.REFRESH,),
    )
    [finding] = turn_findings(report)
    assert finding.evidence == ("echo: 0 of 4 came back", "not tested: refresh")
    assert finding.severity is Severity.ERROR


def test_a_stage_failure_is_a_warning_when_another_entry_works() -> None:
    report = diagnose(observed(turn=(REFUSED, RELAY_TCP_OK)))
    [finding] = [finding for finding in report.findings if finding.code == "TURN-401"]
    assert finding.severity is Severity.WARNING
    assert finding.evidence[-1] == f"works: {TURN_TCP}"


def test_hostile_braces_in_a_url_are_text() -> None:
    [finding] = turn_findings(TurnReport("turn:{host}{0}", False, StageName.RESOLVE, "TURN-RESOLVE", "no such name"))
    assert finding.message == "turn:{host}{0}: the name turn:{host}{0} does not exist."
