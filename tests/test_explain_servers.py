"""What is said of one URL, and of a whole list."""

from __future__ import annotations

from icekit.explain_servers import explain_server, explain_server_list
from icekit.explanation import Explanation, Kind

LIST = [
    {"urls": "stun:stun.example.org"},
    {
        "urls": ["turn:turn.example.org", "turns:turn.example.org:443"],
        "username": "bob",
        "credential": "hunter2",
    },
]


def facts(explanation: Explanation) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.meaning) for fact in explanation.facts}


def test_a_clean_list() -> None:
    explanation = explain_server_list(LIST, None)
    assert explanation.kind is Kind.SERVER_LIST
    assert explanation.understood
    assert explanation.summary == "A list of ICE servers with 3 URLs."
    assert explanation.findings == ()
    who, why = explanation.tables
    assert who.rows == (
        ("stun:stun.example.org", "yes", "yes", "yes"),
        ("turn:turn.example.org", "yes", "yes", "yes"),
        ("turns:turn.example.org:443", "yes", "ignored (1)", "yes"),
    )
    assert why.rows == (("(1)", "only the first TURN URL is used"),)
    assert facts(explanation)["TURN"][0] == "2 on 1 host"
    assert facts(explanation)["blocked UDP"][0] == "passes"
    assert "hunter2" not in repr(explanation)


def test_a_list_that_web_only_networks_do_not_let_pass() -> None:
    explanation = explain_server_list(LIST[:1], None)
    assert facts(explanation)["blocked UDP"] == (
        "fails",
        "a network that passes only web traffic needs turns:HOST:443?transport=tcp",
    )
    assert [finding.code for finding in explanation.findings] == ["ICE001"]


def test_findings_are_ranked_and_a_list_without_a_url_is_of_no_use() -> None:
    explanation = explain_server_list([{"urls": ["stun:a", "stun:b", "stun:c", "stun:d", "turn:e"]}], 1_700_000_000.0)
    assert [finding.code for finding in explanation.findings] == ["ICE028", "ICE015"]
    assert not explain_server_list({"iceServers": []}, None).understood


def test_a_url() -> None:
    assert explain_server("turns:turn.example.org").canonical == "turns:turn.example.org"
    assert facts(explain_server("turn:10.0.0.1?transport=tcp"))["transport"][0] == "tcp"
