"""One HTML file that loads nothing, and in which nobody's text becomes markup."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from icekit.cli.probe_html import html, stage_bars, topology
from icekit.cli.probe_page import probe_page
from icekit.report import Finding, Interface, NatReports, ProbeReport, Severity
from tests.cli.reports import BAD, REPORT
from tests.html_reader import Reader
from tests.observations import server


def test_everything_of_the_page_is_there_and_nothing_is_loaded() -> None:
    text = html(probe_page(REPORT), REPORT)
    reader = Reader(text)
    shown = " ".join(reader.texts)
    for expected in (REPORT.verdict.summary, "TURN-401", "to a peer without a NAT", "401 Unauthorized", "Measured in"):
        assert expected in shown
    for line in REPORT.candidates:
        assert line in shown
    assert reader.names & {"script", "img", "link", "iframe", "a", "object"} == set()
    assert reader.attributes & {"src", "href", "onload", "onclick", "action"} == set()
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_the_topology_names_host_nat_and_servers() -> None:
    texts = Reader(topology(REPORT)).texts
    assert "This host" in texts
    assert "eth0 192.168.1.2" in texts
    assert "IPv4: NAT" in texts
    assert "maps endpoint-independent" in texts
    assert "✓ stun:203.0.113.10" in texts
    assert "✗ stun:stun.example.org:19302" in texts


def test_a_crowd_is_counted_and_a_long_name_is_cut_but_kept_in_full() -> None:
    hosts = tuple(Interface(f"eth{index}", f"10.0.0.{index}", "private") for index in range(9))
    url = f"stun:{'long-' * 20}.example.org"
    report = replace(REPORT, interfaces=hosts, nat=NatReports(), servers=(server(url, "192.0.2.1:1"),))
    texts = Reader(topology(report)).texts
    assert "and 6 more" in texts
    assert "NAT not measured" in texts
    assert f"✓ {url}" in texts
    assert all(len(text) <= 46 or text.startswith("✓ ") for text in texts)


def test_a_report_without_servers_has_no_drawing() -> None:
    report = ProbeReport(0.0, REPORT.verdict)
    assert "<svg" not in html(probe_page(report), report)


def test_the_bars_of_stages_follow_each_other() -> None:
    drawing = stage_bars(BAD)
    assert drawing.count("<rect") == len(BAD.stages)
    assert 'class="good" x="100.0" y="4"' in drawing
    assert 'class="bad" x="115.2" y="26" width="304.8"' in drawing


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    finding = Finding("ICE001", Severity.ERROR, text, text, (text,))
    report = replace(
        REPORT,
        verdict=replace(REPORT.verdict, summary=text),
        findings=(finding,),
        interfaces=(Interface(text, text, text, text),),
        servers=(server(text, text, error=text),),
        candidates=(text,),
    )
    names = Reader(html(probe_page(report), report)).names
    assert names <= Reader(html(probe_page(REPORT), REPORT)).names
