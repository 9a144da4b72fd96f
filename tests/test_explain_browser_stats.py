"""Statistics of a browser explained: how far each connection came, and why not farther."""

from __future__ import annotations

import json
from pathlib import Path

from icekit.explain import explain
from icekit.explanation import Kind
from tests.test_browser_stats import OLD

HERE = Path(__file__).parent


def test_a_dump_of_calls_that_work() -> None:
    explanation = explain((HERE / "webrtc_internals.json").read_text())
    assert explanation.kind is Kind.STATISTICS
    assert explanation.summary == "Statistics of a browser: 2 of 2 connections came up."
    assert explanation.facts[0].value == "connected over host (hidden):49085 – host (hidden):50700"
    titles = [table.title for table in explanation.tables]
    assert titles == [f"{what} of connection {number}" for number in (1, 2) for what in ("States", "Pairs")]
    assert explanation.tables[1].rows[1] == (
        "host (hidden):49085", "host (hidden):50700", "succeeded (selected)", "4 of 4", "1 ms",
    )  # fmt: skip
    assert explanation.findings == ()


def test_the_result_of_get_stats() -> None:
    explanation = explain((HERE / "get_stats.json").read_text())
    assert explanation.summary.startswith("Statistics of a browser: connected over host (hidden):49085")


def test_a_connection_that_failed() -> None:
    explanation = explain(json.dumps(OLD))
    assert explanation.summary == "Statistics of a browser: ICE failed: 0 checks sent on 0 pairs, 0 answered."
    assert [table.title for table in explanation.tables] == ["States", "Errors", "Refused"]
    assert "TURN allocate request timed out." in explanation.tables[1].rows[0]
    assert explanation.findings


def dump(**changes: object) -> str:
    connection = {"url": "", "rtcConfiguration": "", "updateLog": [], "stats": {}} | changes
    return json.dumps({"PeerConnections": {"1": connection}})


def state(kind: str, value: str) -> dict[str, object]:
    return {"type": f"on{kind}change", "value": f'"{value}"', "timestamp": 1000.0}


def test_ice_that_never_began_and_dtls_that_failed() -> None:
    assert "ICE never began" in explain(dump()).summary
    log = [state("iceconnectionstate", "connected"), state("connectionstate", "failed")]
    assert explain(dump(updateLog=log)).summary == "Statistics of a browser: ICE connected, DTLS failed."


def test_without_turn_that_is_what_is_missing() -> None:
    configuration = json.dumps({"iceServers": [{"urls": ["stun:stun.example.org"]}]})
    log = [state("iceconnectionstate", "failed")]
    explanation = explain(dump(rtcConfiguration=configuration, updateLog=log))
    assert [finding.code for finding in explanation.findings] == ["ICE001"]


def test_a_slow_path() -> None:
    stats = {
        "P-state": {"statsType": "candidate-pair", "values": '["succeeded"]'},
        "P-currentRoundTripTime": {"statsType": "candidate-pair", "values": "[0.1, 0.61]"},
        "T-selectedCandidatePairId": {"statsType": "transport", "values": '["P"]'},
    }
    explanation = explain(dump(stats=stats))
    assert [finding.code for finding in explanation.findings] == ["ICE013"]
    assert "610 ms" in explanation.findings[0].message


def test_an_empty_dump() -> None:
    explanation = explain(json.dumps({"PeerConnections": {}}))
    assert explanation.problem == "nothing was recorded: open chrome://webrtc-internals before the call"
