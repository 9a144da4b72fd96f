"""One file that loads nothing, with all that the terminal shows and the drawings."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from icekit.bench.compare import compare
from icekit.bench.html_report import html_report, overview
from icekit.bench.summary import blocks, summarise
from icekit.page import Tone
from tests.bench.made import HEADER, LATE, SETTING, results, some_results, timed

SLOW = replace(SETTING, rtt=0.3)


@pytest.fixture(scope="module")
def report() -> str:
    new = some_results(settings=(SETTING, SLOW), runs=8)
    old = some_results(engines={name: LATE[name] for name in ("icekit", "aioice")}, runs=8)
    header = replace(HEADER, command="icekit bench --out '<b>'")
    return html_report(replace(new, header=header), compare(old, new))


def titles(report: str) -> list[str]:
    return re.findall(r'<h2 id="s\d+">([^<]*)</h2>', report)


def test_sections_in_the_order_in_which_one_asks(report: str) -> None:
    assert titles(report) == [
        *("Measured", "Compared with the old file", "In one file only", "The two files"),
        "All conditions: simulator, ICE alone",
        "The best other engine&#x27;s median, divided by icekit&#x27;s",
        "How to read this",
        *(SETTING.label, SLOW.label),
    ]


def test_drawings_stand_with_their_condition(report: str) -> None:
    assert report.count("<svg ") == 1 + 4
    for setting in (SETTING, SLOW):
        section = report.split(f">{setting.label}</h2>")[1].split("<h2")[0]
        assert section.count('class="plot"') == 2
        assert "p99" in section


def test_nothing_is_loaded_and_nothing_becomes_markup(report: str) -> None:
    assert "default-src 'none'" in report
    links = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', report)
    assert links
    assert all((one or other).startswith("#") for one, other in links)
    assert "<script" not in report
    assert "&lt;b&gt;" in report
    assert "<image" not in report


def test_of_many_conditions_each_is_closed_and_none_is_in_the_contents() -> None:
    networks = ("host", "port-restricted", "symmetric--port-restricted", "symmetric--symmetric")
    settings = [replace(SETTING, network=network) for network in networks]
    shown = html_report(some_results(settings=settings, runs=2))
    contents = shown.split("</nav>")[0]
    for title in (*(setting.label for setting in settings), "NAT × NAT: RTT 50 ms, simulator"):
        assert re.search(rf'<details><summary><h2 id="s\d+">{title}</h2></summary>', shown)
        assert title not in contents
    assert shown.count("<details>") == shown.count("</details>") == 5
    assert "All conditions" in contents


def test_where_and_with_what(report: str) -> None:
    for text in (HEADER.machine, HEADER.commit, "aioice 0.13.0", HEADER.python):
        assert text in report


def test_the_overview_has_a_row_for_each_condition() -> None:
    fails = timed([None, 0.3], setting=replace(SETTING, engine="aioice"))
    other = timed([0.2], setting=replace(SLOW, network="host"))
    table = overview(blocks(summarise([*timed([0.18, 0.18]), *fails, *other])))
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [
        ["p50, ms", "until", "limit", "icekit", "aioice"],
        ["port-restricted, RTT 50 ms", "selected", "175", "180 (+5.0)", "300 (+125), 1 failed"],
        ["host, RTT 300 ms", "selected", "175", "200 (+25)", ""],
    ]
    assert [cell.tone for cell in table.rows[1][3:]] == [Tone.GOOD, Tone.BAD]


def test_nothing_measured_is_a_page_too() -> None:
    assert "No run is in the file." in html_report(results([]))
