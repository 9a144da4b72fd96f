"""The page of a load test: the verdict, what to do, then each step."""

from __future__ import annotations

from collections.abc import Iterator

from icekit.bench.load_plan import mbit
from icekit.bench.load_report import LoadReport, Step, percent
from icekit.page import TONES, Cell, FindingList, Page, Section, Table, Tone, milliseconds, table

_HEADER = ("allocations", "packets/s", "back", "lost", "p50", "p90", "p99", "max", "jitter", "behind")


def load_page(report: LoadReport) -> Page:
    """Verdict, findings, a row for each step."""
    verdict = report.verdict
    return Page(
        Cell(verdict.code, TONES[verdict.severity]),
        f"{report.url}: {verdict.summary}",
        tuple(_sections(report)),
        f"{report.server} over {report.transport.upper()}; the peer is {report.peer}",
    )


def _sections(report: LoadReport) -> Iterator[Section]:
    if report.findings:
        yield Section("Findings", (FindingList(report.findings),))
    if report.steps:
        yield Section("Traffic: client, server, peer, and back", (_steps(report),))
    if report.opened:
        yield Section("Allocations", (_allocations(report),))


def _steps(report: LoadReport) -> Table:
    rows = [[Cell(name, Tone.DIM) for name in _HEADER]]
    rows += [[Cell(text) for text in _row(step, report.plan.duration)] for step in report.steps]
    return table(rows, labels=1, header=True, numbers=True)


def _row(step: Step, duration: float) -> tuple[str, ...]:
    latency = step.latency
    return (
        str(step.allocations),
        f"{step.sent / duration:.0f}",
        "–" if step.throughput.p50 is None else mbit(step.throughput.p50),
        percent(step.total_loss),
        *(milliseconds(value) or "–" for value in (latency.p50, latency.p90, latency.p99, latency.max)),
        milliseconds(step.jitter.p99) or "–",
        milliseconds(step.late.p99) or "–",
    )


def _allocations(report: LoadReport) -> Table:
    setup = report.setup
    rows = [
        ["opened", f"{report.opened}, in {milliseconds(setup.p50)} (p99 {milliseconds(setup.p99)})"],
        ["released", str(report.released)],
    ]
    if report.lost:
        rows.append(["ended before", str(report.lost)])
    if report.unconfirmed:
        rows.append(["not confirmed", str(report.unconfirmed)])
    return table(rows, labels=1)
