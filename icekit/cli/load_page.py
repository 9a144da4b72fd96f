"""The page of a load test: the verdict, what to do, then each step."""

from __future__ import annotations

from collections.abc import Iterator

from icekit.bench.load_report import LoadReport, Step, percent
from icekit.page import TONES, UNKNOWN, Cell, FindingList, Page, Section, Table, Tone, milliseconds, table

# Nine columns that a terminal of 80 has room for.
_HEADER = ("allocations", "packets/s", "Mbit/s", "lost", "p50", "p90", "p99", "jitter", "behind")


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
        yield Section("Traffic: client, server, peer, and back; times in ms", (_steps(report),))
    if report.opened:
        yield Section("Allocations", (_allocations(report),))


def _steps(report: LoadReport) -> Table:
    rows = [[Cell(name, Tone.DIM) for name in _HEADER]]
    rows += [[Cell(text) for text in _row(step, report.plan.duration)] for step in report.steps]
    return table(rows, labels=1, header=True, numbers=True)


def _row(step: Step, duration: float) -> tuple[str, ...]:
    latency, flow = step.latency, step.throughput.p50
    times = (latency.p50, latency.p90, latency.p99, step.jitter.p99, step.late.p99)
    return (
        str(step.allocations),
        f"{step.sent / duration:.0f}",
        UNKNOWN if flow is None else f"{flow / 1e6:.2f}",
        percent(step.total_loss),
        *(UNKNOWN if time is None else f"{1000 * time:.{1 if time < 0.1 else 0}f}" for time in times),
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
