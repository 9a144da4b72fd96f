"""What a page holds; how it looks is for the tests of its writers."""

from __future__ import annotations

from icekit.cli.probe_page import probe_page, turn_page
from icekit.page import Cell, FindingList, Lines, Table, Tone
from icekit.report import ProbeReport, Severity, TurnReport, Verdict, VerdictCode
from tests.cli.reports import BAD, REPORT
from tests.observations import TURN


def test_the_sections_of_a_probe_in_order() -> None:
    page = probe_page(REPORT)
    assert page.code == Cell("OK", Tone.GOOD)
    titles = [section.title for section in page.sections]
    assert titles == [
        *("Findings", "Outlook", "NAT and firewall", "Servers"),
        *("TURN turn:203.0.113.10?transport=udp", "TURN turn:203.0.113.10?transport=tcp"),
        *("DNS", "Interfaces", "Candidates"),
    ]
    kinds = [tuple(type(body) for body in section.bodies) for section in page.sections]
    assert kinds == [(FindingList,), (Table,), (Table,), (Table,), *[(Lines, Table)] * 2, (Table,), (Table,), (Lines,)]
    assert page.footer == "Measured in 0.4 s"


def test_a_report_of_nothing_is_a_sentence() -> None:
    page = probe_page(ProbeReport(0.0, Verdict(VerdictCode.UNKNOWN, Severity.WARNING, "Nothing was measured.")))
    assert (page.code, page.summary, page.sections) == (
        Cell("UNKNOWN", Tone.WARNING),
        "Nothing was measured.",
        (),
    )


def test_a_turn_server_that_fails_and_one_that_was_interrupted() -> None:
    page = turn_page(BAD, ())
    assert page.code == Cell("TURN-401", Tone.BAD)
    assert page.summary == "turn:203.0.113.10?transport=tcp fails at allocate (expired)"
    assert [section.title for section in page.sections] == ["Stages"]
    interrupted = turn_page(TurnReport(TURN, False), ())
    assert interrupted.code == Cell("INTERRUPTED", Tone.BAD)
    assert interrupted.summary.endswith("was interrupted before it was tested to the end")
