"""Versions that are known to be broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.rules_libraries import Pin, library_findings
from tests.rule_cases import FindingCase, check_finding_case


def findings(*pins: Pin) -> list[object]:
    return list(library_findings(pins))


CASES = [
    FindingCase("ICE017", "before the last fix", findings(Pin("aioice", "0.12.1")), findings(Pin("aioice", "0.13.0"))),
    FindingCase("ICE017", "aiortc", findings(Pin("aiortc", "1.15.9")), findings(Pin("aiortc", "1.16.0"))),
    FindingCase("ICE017", "a bound", findings(Pin("aioice", "0.13", True)), findings(Pin("aioice", "0.14", True))),
    FindingCase("ICE017", "10 is above 9", findings(Pin("aioice", "0.9.0")), findings(Pin("aioice", "0.100.0"))),
    FindingCase("ICE017", "two numbers", findings(Pin("aioice", "0.12")), findings(Pin("aioice", "1"))),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: FindingCase) -> None:
    check_finding_case(case)


def test_every_bug_is_told_and_one_upgrade_repairs_all() -> None:
    (finding,) = library_findings([Pin("aioice", "0.10.2")])
    assert finding.message == "aioice 0.10.2 has 4 bugs that were fixed since."
    assert finding.fix == 'Upgrade: pip install "aioice>=0.13.0"'
    assert [line.partition(":")[0] for line in finding.evidence] == [
        *("before 0.11.0", "before 0.12.0", "before 0.12.1", "before 0.13.0")
    ]


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_version_is_read(version: str) -> None:
    list(library_findings([Pin("aioice", version)]))
