"""What is said of many candidates of one side."""

from __future__ import annotations

from icekit.explain_gathering import explain_gathered
from icekit.explanation import NOT_JUDGED, Kind
from icekit.report import Severity
from tests.descriptions import CANDIDATES, HOST_LINE, TCP_LINE

TURN = "turn:turn.example.org"


def test_a_complete_gathering_has_no_finding() -> None:
    explanation = explain_gathered([*CANDIDATES, TCP_LINE, None])
    assert explanation.kind is Kind.CANDIDATES
    assert explanation.summary == "What one side has gathered: 2 host, 1 srflx, 1 relay."
    assert explanation.findings == ()
    assert explanation.facts[0].meaning == ""
    (table,) = explanation.tables
    assert table.rows == (
        ("host", "udp", "192.168.1.8", "private"),
        ("host", "tcp active", "192.168.1.8", "private"),
        ("srflx", "udp", "8.8.4.4", "public"),
        ("relay", "udp", "9.9.9.9", "public"),
    )


def test_causes_come_before_what_is_harmless() -> None:
    errors = [
        {"errorCode": 701, "url": "stun:stun.example.org", "errorText": "timed out"},
        {"errorCode": 401, "url": TURN, "errorText": "Unauthorized"},
    ]
    explanation = explain_gathered([*errors, {"candidate": CANDIDATES[1]}, {"candidate": ""}])
    assert [finding.code for finding in explanation.findings] == ["TURN-401", "ICE008"]
    assert explanation.tables[1].rows[1] == (TURN, "401", "Unauthorized", "the server answered, and refused")


def test_an_error_alone_is_not_judged() -> None:
    alone = {"errorCode": 701, "url": "stun:stun.example.org", "errorText": "timed out"}
    explanation = explain_gathered([alone])
    assert (explanation.findings, explanation.facts[-1].name) == ((), NOT_JUDGED)
    assert NOT_JUDGED not in [fact.name for fact in explain_gathered([alone, {"candidate": CANDIDATES[1]}]).facts]
    assert NOT_JUDGED not in [fact.name for fact in explain_gathered([{**alone, "url": TURN}]).facts]


def test_what_cannot_be_read_is_said() -> None:
    explanation = explain_gathered(["candidate:1 1 udp 1 1.2.3.4 99999 typ host", {"errorCode": "x"}, HOST_LINE])
    assert [fact.name for fact in explanation.facts] == ["candidates", "not read", "not read"]
    assert explanation.understood
    assert [finding.severity for finding in explanation.findings] == [Severity.WARNING]
    assert not explain_gathered(["candidate:x"]).understood
