"""Reports of both sides, and what they say together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.call.side import SCHEMA, SideReport, findings
from icekit.report import Severity

SIZES: dict[str, Any] = {"packet_passed": 860, "packet_lost": 900}
FAILED = SideReport(
    code="CALL-PATH",
    phase="waiting for a working path",
    reason="every pair of candidates has failed",
    local={"host": 2, "srflx": 1},
    remote={"host": 1},
    checks_sent=40,
    checks_received=0,
    answered=0,
    servers=("turn:192.0.2.1: no answer",),
)


def test_there_and_back() -> None:
    told = json.loads(json.dumps(FAILED.to_dict()))
    assert told["schema"] == SCHEMA
    assert SideReport.from_dict(told) == FAILED
    assert SideReport.from_dict(SideReport().to_dict()) == SideReport()
    assert SideReport.from_dict({"schema": "icekit/probe/1"}) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("code", 7), ("code", "NO-SUCH"), ("phase", None), ("reason", ["x"]), ("local", "many")),
        *(
            ("local", {"host": -1, "relay": True, "tcp": 3}),
            ("checks_sent", 1e300),
            ("servers", "turn"),
            ("remote", [1]),
        ),
    ],
)
def test_what_is_not_well_formed_is_not_told(key: str, value: Any) -> None:
    told = SideReport().to_dict() | {key: value}
    assert SideReport.from_dict(told) == SideReport()


def test_text_of_a_peer_is_bounded_and_steers_no_terminal() -> None:
    told = FAILED.to_dict() | {"reason": "\x1b[2J" + "x" * 10_000, "servers": ["y" * 10_000] * 100}
    report = SideReport.from_dict(told)
    assert report is not None
    assert "\x1b" not in report.reason
    assert len(report.reason) == 300
    assert (len(report.servers), len(report.servers[0])) == (8, 300)


@given(st.dictionaries(st.sampled_from(list(SideReport().to_dict())), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8,
)))  # fmt: skip
def test_nothing_that_a_peer_tells_raises(told: dict[str, Any]) -> None:
    report = SideReport.from_dict(told | {"schema": SCHEMA})
    assert report is not None
    findings(FAILED, report)
    findings(SideReport(code="CALL-BYE"), report)


def evidence(ours: SideReport, theirs: SideReport | None) -> list[str]:
    return [line for finding in findings(ours, theirs) if finding.code == "CALL-PATH" for line in finding.evidence]


def test_where_the_path_broke() -> None:
    deaf = SideReport(checks_sent=12, checks_received=0, local={"host": 1, "relay": 1})
    lines = evidence(FAILED, deaf)
    assert "of 40 checks from this side, none reached the other side" in lines
    assert "of 12 checks from the other side, none reached this side" in lines
    assert "this side has no relay candidate" in lines
    one_way = SideReport(checks_sent=12, checks_received=40, answered=0)
    lines = evidence(FAILED, one_way)
    assert "checks from this side reach the other side, but no answer comes back" in lines
    assert "of 12 checks from the other side, none reached this side" in lines
    assert "this side and the other side have no relay candidate" in lines
    assert any("had nothing to check" in line for line in evidence(FAILED, SideReport(checks_sent=0)))
    assert "the other side has not told what it saw" in evidence(FAILED, None)
    # Nobody counted.
    assert not any("reach" in line for line in evidence(SideReport(code="CALL-PATH"), SideReport()))


def test_the_side_that_knows_comes_first() -> None:
    hung_up_on = SideReport(code="CALL-BYE", reason="CALL-PATH")
    assert [finding.code for finding in findings(hung_up_on, FAILED)] == ["CALL-PATH", "ICE008"]
    assert [finding.code for finding in findings(hung_up_on, None)] == ["CALL-BYE"]
    both = findings(SideReport(code="CALL-DTLS"), SideReport(code="CALL-FINGERPRINT"))
    assert [finding.code for finding in both] == ["CALL-DTLS", "CALL-FINGERPRINT"]
    assert [finding.code for finding in findings(FAILED, FAILED)] == ["CALL-PATH", "ICE008", "ICE008"]
    assert findings(SideReport(), None) == ()


def test_a_sentence_tells_what_there_was() -> None:
    (finding, servers) = findings(FAILED, None)
    assert finding.evidence[0] == (
        "this side: every pair of candidates has failed; candidates 2 host, 1 srflx, of its peer 1 host; "
        "40 checks sent, 0 answered, 0 received"
    )
    assert servers.evidence == ("this side: turn:192.0.2.1: no answer",)
    assert "candidates none" in findings(SideReport(code="CALL-PEER"), None)[0].evidence[0]


def test_a_side_whose_checks_are_refused_knows_why() -> None:
    """Whatever the sides waited for, and whichever of them it is."""
    refused = SideReport(code="CALL-PATH", checks_sent=40, answered=0, refused=38)
    waiting = SideReport(code="CALL-DTLS", checks_sent=9, answered=9, refused=0)
    for ours, theirs in ((refused, waiting), (waiting, refused), (refused, None)):
        first = findings(ours, theirs)[0]
        assert first.code == "CALL-PASSWORD"
        side = "this side" if ours is refused else "the other side"
        assert first.evidence[0].endswith(f"has refused 38 of 40 checks of {side}, and answered none")
    # Near misses: nothing came back at all, and a refusal that a later answer overtook.
    for report in (SideReport(code="CALL-PATH", checks_sent=40, answered=0, refused=0), SideReport(code="CALL-PATH")):
        assert findings(report, None)[0].code == "CALL-PATH"
    overtaken = SideReport(code="CALL-DTLS", checks_sent=40, answered=2, refused=38)
    assert findings(overtaken, None)[0].code == "CALL-DTLS"


def test_a_narrow_path_is_the_cause_where_the_encryption_does_not_get_ready() -> None:
    narrow, wide = (SideReport(**SIZES), SideReport(packet_passed=1200))
    waiting = replace(wide, code="CALL-DTLS")
    assert SideReport.from_dict(narrow.to_dict()) == narrow
    for ours, theirs, side in ((waiting, narrow, "the other side"), (replace(waiting, **SIZES), None, "this side")):
        first, *others = findings(ours, theirs)
        assert (first.code, first.severity) == ("ICE029", Severity.ERROR)
        assert first.evidence == (f"from {side}: IP packets of 860 bytes pass, those of 900 are lost",)
        assert [finding.code for finding in others] == ["CALL-DTLS"]
    # Near misses: a wide path, one that was not measured, and a failure that has another cause.
    assert [finding.code for finding in findings(waiting, wide)] == ["CALL-DTLS"]
    assert [finding.code for finding in findings(replace(waiting, packet_passed=None), None)] == ["CALL-DTLS"]
    assert findings(SideReport(code="CALL-LOST"), narrow)[0].severity is Severity.WARNING
