"""A rule, what triggers it, and the near miss that must not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from icekit.findings import diagnose
from icekit.probe_observations import Observations


class Case(NamedTuple):
    """``trigger`` gives exactly one finding of ``code``, ``near_miss`` none."""

    code: str
    name: str
    trigger: Observations
    near_miss: Observations

    def __str__(self) -> str:
        return f"{self.code}-{self.name}"


def check_case(case: Case) -> None:
    """Hold the rule to its case."""
    [finding] = [finding for finding in diagnose(case.trigger).findings if finding.code == case.code]
    assert finding.message.endswith(".")
    assert finding.fix
    assert all(isinstance(item, str) for item in finding.evidence)
    assert case.code not in [finding.code for finding in diagnose(case.near_miss).findings]


class FindingCase(NamedTuple):
    """The same for rules that are not part of ``diagnose``: the findings themselves."""

    code: str
    name: str
    trigger: Sequence[Any]
    near_miss: Sequence[Any]

    def __str__(self) -> str:
        return f"{self.code}-{self.name}"


def check_finding_case(case: FindingCase) -> None:
    """Hold the rule to its case."""
    [finding] = [finding for finding in case.trigger if finding.code == case.code]
    assert finding.message.endswith(".")
    assert finding.fix
    assert case.code not in [finding.code for finding in case.near_miss]
