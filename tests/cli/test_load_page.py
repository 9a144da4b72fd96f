from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from icekit.bench.load_plan import LoadPlan
from icekit.bench.load_report import LoadReport, Spread, Throughput, Verdict
from icekit.cli.load_page import load_page
from icekit.cli.render import print_page
from icekit.page import Cell, FindingList, Table, Tone
from icekit.report import Finding, Severity
from tests.bench.test_load_report import GOOD

REPORT = LoadReport(
    url="turn:203.0.113.10",
    server="203.0.113.10:3478",
    transport="udp",
    peer="a UDP socket of this machine for each",
    plan=LoadPlan(duration=10),
    verdict=Verdict("OK", Severity.OK, "it holds"),
    held=10,
    limit=None,
    steps=(replace(GOOD, latency=Spread(0.02, 0.03, 0.12, 0.15)),),
    setup=Spread(0.04, 0.05, 0.06, 0.06),
    opened=10,
    released=10,
    lost=0,
    unconfirmed=0,
)


def texts(table: object) -> list[list[str]]:
    assert isinstance(table, Table)
    return [[cell.text for cell in row] for row in table.rows]


def test_a_good_report() -> None:
    page = load_page(REPORT)
    assert (page.code, page.summary) == (Cell("OK", Tone.GOOD), "turn:203.0.113.10: it holds")
    traffic, allocations = page.sections
    header, row = texts(traffic.bodies[0])
    assert dict(zip(header, row, strict=True)) == {
        "allocations": "10",
        "packets/s": "100",
        "Mbit/s": "0.08",
        "lost": "0 %",
        "p50": "20.0",
        "p90": "30.0",
        "p99": "120",
        "jitter": "2.0",
        "behind": "1.0",
    }
    assert texts(allocations.bodies[0]) == [["opened", "10, in 40.0 ms (p99 60.0 ms)"], ["released", "10"]]
    assert page.footer == "203.0.113.10:3478 over UDP; the peer is a UDP socket of this machine for each"


def test_what_was_not_measured_is_a_dash() -> None:
    nothing = Spread(None, None, None, None)
    step = replace(GOOD, received=0, latency=nothing, jitter=nothing, late=nothing, throughput=Throughput(*[None] * 3))
    page = load_page(replace(REPORT, steps=(step,)))
    assert texts(page.sections[0].bodies[0])[1] == ["10", "100", "–", "100 %", *["–"] * 5]


def test_what_was_lost_and_what_to_do() -> None:
    finding = Finding("TURN-486", Severity.ERROR, "too many", "raise user-quota")
    page = load_page(
        replace(
            REPORT,
            findings=(finding,),
            lost=2,
            released=5,
            unconfirmed=3,
            verdict=Verdict("REFUSED", Severity.ERROR, "it does not"),
        )
    )
    assert page.code == Cell("REFUSED", Tone.BAD)
    assert page.sections[0].bodies == (FindingList((finding,)),)
    assert texts(page.sections[2].bodies[0])[1:] == [["released", "5"], ["ended before", "2"], ["not confirmed", "3"]]


def test_nothing_opened() -> None:
    assert load_page(replace(REPORT, steps=(), opened=0, released=0)).sections == ()


def test_a_terminal_has_room_for_the_table() -> None:
    slow = Spread(9.999, 9.999, 9.999, 9.999)
    step = replace(GOOD, allocations=4000, sent=9_999_990, latency=slow, jitter=slow, late=slow, received=1)
    written = StringIO()
    print_page(load_page(replace(REPORT, steps=(step,))), Console(file=written, width=80))
    (row,) = [line for line in written.getvalue().splitlines() if line.startswith("  4000")]
    assert row.split() == ["4000", "999999", "0.08", "100", "%", "9999", "9999", "9999", "9999", "9999"]
