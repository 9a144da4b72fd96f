"""What is said of icekit's own reports when they are pasted back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from icekit.explain import explain
from icekit.explain_reports import explain_reports
from icekit.explanation import NOT_JUDGED, Explanation, Kind
from icekit.findings import diagnose
from icekit.gathering_events import AskedServer, GatheredCandidate, GatherReport, ServerOutcome, UnusableAddress
from icekit.report import NatReport, ProbeReport, StageName, StageResult, TurnReport, from_dict, to_dict, turn_document
from icekit.rules_stages import turn_findings
from icekit.two_sided import CheckedPair, EndChecks, merge
from tests.observations import HEALTHY, REFUSED, RELAY_OK, SILENT, STUN, TURN, configured, observed

GOOD = to_dict(diagnose(HEALTHY))
BLOCKED = to_dict(diagnose(observed(NatReport(udp=False), turn=(), servers=(SILENT,), configured=configured(STUN))))


def facts(explanation: Explanation) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.meaning) for fact in explanation.facts}


def test_a_probe() -> None:
    explanation = explain_reports([GOOD])
    assert explanation.kind is Kind.REPORT
    assert explanation.summary.startswith("A probe report: OK. Calls work")
    assert facts(explanation)["IPv4 mapping"][0] == "endpoint-independent"
    assert [table.title for table in explanation.tables] == ["Outlook", "TURN servers"]
    assert explanation.tables[1].rows == ((TURN, "works", ""),)
    assert explanation.findings == ()


def test_what_was_not_measured_says_why() -> None:
    explanation = explain_reports([to_dict(diagnose(observed(NatReport(reason={"mapping": "interrupted"}))))])
    assert facts(explanation)["IPv4 mapping"] == ("not measured", "interrupted")
    assert facts(explanation)["IPv4 UDP"][0] == "not measured"
    open_host = to_dict(diagnose(observed(NatReport(behind_nat=False, udp=True))))
    assert "IPv4 mapping" not in facts(explain_reports([open_host]))


def test_findings_come_back_as_they_were() -> None:
    report = diagnose(observed(turn=(REFUSED, RELAY_OK)))
    explanation = explain_reports([to_dict(report)])
    assert explanation.findings == report.findings
    assert explanation.tables[-1].rows[0] == (REFUSED.url, "fails at allocate", "TURN-401")


def test_a_turn_test() -> None:
    bad = TurnReport(
        TURN,
        False,
        StageName.ALLOCATE,
        "TURN-401",
        stages=(StageResult(StageName.ALLOCATE, False, 0.1, "401"),),
        not_tested=(StageName.ECHO,),
    )
    explanation = explain_reports([turn_document(bad, turn_findings(bad))])
    assert explanation.summary == f"A TURN test: {TURN} fails at allocate."
    assert explanation.tables[0].rows == (("allocate", "failed", "401"), ("echo", "not tested", ""))
    assert [finding.code for finding in explanation.findings] == ["TURN-401"]
    assert explain(json.dumps(turn_document(bad, turn_findings(bad)))) == explanation
    good = explain_reports([turn_document(RELAY_OK, ())])
    assert good.summary == f"A TURN test: {TURN} works and relays as 203.0.113.10:50012."


def test_a_gathering() -> None:
    host = "candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host"
    srflx = "candidate:2 1 udp 1694498815 198.51.100.2 6001 typ srflx raddr 192.168.1.2 rport 5000"
    report = GatherReport(
        duration=0.1,
        complete=True,
        candidates=tuple(GatheredCandidate(line, line.split()[7], "public", None, "", 0.1) for line in (host, srflx)),
        servers=(
            AskedServer(STUN, "x", "y", ServerOutcome.ANSWERED, None, "198.51.100.2:6001", (), 0.1),
            AskedServer(TURN, "x", "y", ServerOutcome.FAILED, "no answer", None, (), 0.1),
        ),
        unusable_addresses=(UnusableAddress("10.0.0.1", "it is no address of this host"),),
    )
    explanation = explain(json.dumps(to_dict(report)))
    assert explanation.kind is Kind.REPORT
    assert explanation.summary == "A gathering. What one side has gathered: 1 host, 1 srflx. 1 of 2 servers answered."
    assert facts(explanation)[NOT_JUDGED] == ("why 1 did not", "icekit probe URL… finds out")
    assert explanation.tables[-1].rows == (
        (STUN, "answered", "198.51.100.2:6001"),
        (TURN, "failed", "no answer"),
        ("10.0.0.1", "no candidate", "it is no address of this host"),
    )
    good = replace(report, servers=report.servers[:1], complete=False)
    assert NOT_JUDGED not in facts(explain_reports([to_dict(good)]))


def test_two_probes_are_the_two_sides_of_a_call() -> None:
    explanation = explain_reports([GOOD, BLOCKED])
    assert explanation.summary == "Two probe reports. Between these two: none."
    assert facts(explanation)["would help"][0] == "turn-tls-443"
    assert [finding.code for finding in explanation.findings] == ["ICE014"]


def test_a_two_sided_probe() -> None:
    a, b = (from_dict(ProbeReport, document) for document in (GOOD, BLOCKED))
    host = "candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host"
    srflx = "candidate:2 1 udp 1694498815 198.51.100.2 6001 typ srflx raddr 192.168.2.2 rport 5001"
    pair = CheckedPair(local=host, remote=srflx, state="failed", checks_sent=6)
    report = merge("A", a, b, EndChecks(candidates=(host,), pairs=(pair,)), EndChecks(candidates=(srflx,)))
    explanation = explain_reports([to_dict(report)])
    assert explanation.summary == "A two-sided probe: none. No pair of candidates works between A and B."
    assert [finding.code for finding in explanation.findings] == ["CALL-PATH", "ICE014"]
    [row] = explanation.tables[0].rows
    assert row[2].startswith("A sent 6 checks to B's srflx 198.51.100.2:6001, B saw none: ")


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([{"schema": "icekit/probe/1"}], "is missing"),
        ([{**GOOD, "duration": "long"}], "expected a number"),
        ([{"schema": "icekit/probe-with/1", "this_side": "A"}], "is missing"),
        ([{"schema": "icekit/turn/1", "url": TURN, "ok": True, "findings": [5]}], "expected an object"),
        ([{"schema": "icekit/other/1"}], "upgrade icekit"),
        ([GOOD, {"schema": "icekit/turn/1"}], "upgrade icekit"),
        ([{"schema": 5}], "upgrade icekit"),
    ],
)
def test_what_cannot_be_explained(documents: list[dict[str, Any]], words: str) -> None:
    explanation = explain_reports(documents)
    assert not explanation.understood
    assert words in (explanation.problem or "")
