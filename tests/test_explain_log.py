"""A log explained: what matters, what is harmless, and the pairs that were tried."""

from __future__ import annotations

from icekit.explain import explain
from icekit.explanation import Kind
from icekit.report import Severity

LOG = """\
INFO:root:hello
INFO:aioice.ice:Connection(0) Check CandidatePair(('172.17.0.2', 4) -> ('8.8.8.8', 5)) State.IN_PROGRESS -> State.FAILED
INFO:aioice.ice:Connection(0) Check CandidatePair(('172.17.0.2', 4) -> ('9.9.9.9', 6)) State.FROZEN -> State.WAITING
INFO:aioice.ice:Connection(0) Consent to send expired
INFO:aioice.ice:Connection(0) ICE failed
"""


def test_a_log() -> None:
    explanation = explain(LOG)
    assert explanation.kind is Kind.LOG
    assert explanation.summary.startswith("A log of aioice: the peer stopped answering for 30 s")
    assert [(fact.name, fact.value, fact.meaning) for fact in explanation.facts] == [
        ("lines", "5", "1 of them are of no known pattern")
    ]
    matter, pairs, harmless = explanation.tables
    assert [row[0] for row in matter.rows] == ["4", "5"]
    assert pairs.rows == (("172.17.0.2:4", "8.8.8.8:5", "no answer"), ("172.17.0.2:4", "9.9.9.9:6", "not tried"))
    assert [row[0] for row in harmless.rows] == ["2", "3"]
    assert [(finding.code, finding.severity) for finding in explanation.findings] == [
        ("ICE013", Severity.ERROR),
        ("ICE009", Severity.WARNING),
    ]
    assert explanation.findings[0].evidence == ("line 4: INFO:aioice.ice:Connection(0) Consent to send expired",)
    # The log has an address, and no candidate line.
    assert explanation.findings[1].evidence == ("172.17.0.2:4 in the pairs of this log",)


def test_where_a_pair_works_addresses_are_no_cause() -> None:
    explanation = explain(LOG.replace("State.FAILED", "State.SUCCEEDED"))
    assert [finding.code for finding in explanation.findings] == ["ICE013"]
    assert explanation.tables[1].rows[0][2] == "works"


def test_a_finding_that_begins_with_a_scheme_keeps_it() -> None:
    line = "0: (1): WARNING: cannot start TLS and DTLS listeners because private key file is not set properly"
    (finding,) = explain(line).findings
    assert finding.message == "turns: does not work: certificate or key cannot be read."


def test_a_log_without_a_fault() -> None:
    explanation = explain("ICE completed\nsomething else")
    assert explanation.summary == "A log of aioice: nothing in it is a fault."
    assert explanation.findings == ()
    assert [table.title for table in explanation.tables] == ["Harmless: do not chase these"]


def test_unknown_lines_are_not_a_log() -> None:
    assert explain("one\ntwo").kind is Kind.UNKNOWN


def test_addresses_of_a_pair_that_are_none() -> None:
    line = "Check CandidatePair(('x.local', 4) -> ('8.8.8.8', 70000)) State.FROZEN -> State.WAITING"
    assert [table.title for table in explain(line).tables] == ["Harmless: do not chase these"]
