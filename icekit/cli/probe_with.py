"""``icekit probe --with URL``: the probe of two ends, and the page with what both saw."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from icekit.cli.command import run
from icekit.cli.output import Form, Output, redactor_of
from icekit.cli.probe_page import PATHS
from icekit.errors import ConfigError, ConnectivityError
from icekit.page import MARKS, TONES, Cell, FindingList, Lines, Page, Section, Tone, milliseconds, table
from icekit.report import PathKind, ProbeReport, Severity, from_dict, to_dict
from icekit.two_sided import MergedPath, TwoSidedReport

if TYPE_CHECKING:
    from icekit.aio.prober import ProberConfig
    from icekit.cli import render
    from icekit.servers import IceServer
    from icekit.signaling.channel import Channel

WAIT = 60.0
"""Seconds until the other end has to be there, where nothing else is asked for."""

# One process, and servers of WHIP: nobody else comes there.
_NO_ROOM = ("memory", "http", "https")


def probe_with(
    url: str,
    token: str | None,
    wait: float | None,
    servers: tuple[IceServer, ...],
    config: ProberConfig,
    output: Output,
) -> None:
    """Probe with the other end at ``url`` and print what both saw; exit code 1 if there is no path."""
    from icekit.cli import render
    from icekit.signaling import connect

    wait = WAIT if wait is None else wait
    if not 0 < wait < float("inf"):
        raise ConfigError(f"--wait: {wait} is no number of seconds above 0")
    scheme = url.partition(":")[0].lower()
    if scheme in _NO_ROOM:
        raise ConfigError(f"--with: two ends do not meet at {scheme}:; write ws://HOST:PORT/ROOM or tcp://HOST:PORT")
    channel = connect(url, token=token)

    def interrupted() -> None:
        typer.echo("icekit: interrupted before both ends were done", err=True)

    with render.Progress() as progress:
        report = run(_probe(channel, servers, config, wait, progress.show), interrupted)
    print_two_sided(report, output, servers)
    if report.path is PathKind.NONE:
        raise typer.Exit(ConnectivityError.exit_code)


async def _probe(
    channel: Channel, servers: tuple[IceServer, ...], config: ProberConfig, wait: float, on_progress: render.Show
) -> TwoSidedReport:
    from icekit.aio.local_servers import local_servers
    from icekit.call.two_sided import TwoSidedConfig, TwoSidedProbe

    two_sided = TwoSidedConfig(probe=config, wait=wait)
    async with channel:
        if not config.local:
            return await TwoSidedProbe(channel, servers, config=two_sided, on_progress=on_progress).run()
        async with local_servers() as embedded:
            return await TwoSidedProbe(channel, embedded, config=two_sided, on_progress=on_progress).run()


def print_two_sided(report: TwoSidedReport, output: Output, servers: tuple[IceServer, ...]) -> None:
    """In the form that is asked for; ``servers`` are those that this end has asked."""
    from icekit.cli import render

    if output.redact:
        report = from_dict(TwoSidedReport, redactor_of(servers).document(to_dict(report)))
    match output.form:
        case Form.JSON:
            render.print_json(report)
        case Form.TEXT:
            render.print_page(two_sided_page(report))
        case Form.MARKDOWN:
            from icekit.cli.markdown import markdown

            sys.stdout.write(markdown(two_sided_page(report)))
        case Form.HTML:
            from icekit.cli.probe_html import html

            sys.stdout.write(html(two_sided_page(report)))


def two_sided_page(report: TwoSidedReport) -> Page:
    """The verdict, what both ends saw of each pair, and each end in short."""
    other = "B" if report.this_side == "A" else "A"
    return Page(
        Cell(report.path.upper(), PATHS[report.path]),
        report.summary,
        tuple(_sections(report)),
        f"This end is {report.this_side}, the other one is {other}",
    )


def _sections(report: TwoSidedReport) -> Iterator[Section]:
    if report.findings:
        yield Section("Findings", (FindingList(report.findings),))
    yield Section("The two ends", (table(_ends(report), labels=2),))
    for path in report.pairs:
        if path.seen:
            yield Section(f"A {path.a} ↔ B {path.b}", (Lines(tuple(_lines(path))),))
    for name, end in (("A", report.a), ("B", report.b)):
        told = tuple(item for item in end.findings if item.severity in (Severity.ERROR, Severity.WARNING))
        if told:
            yield Section(f"Findings of {name} alone", (FindingList(told),))


def _ends(report: TwoSidedReport) -> Iterator[tuple[str | Cell, ...]]:
    for name, end in (("A", report.a), ("B", report.b)):
        who = f"{name} (this end)" if name == report.this_side else name
        yield who, Cell(end.verdict.code, TONES[end.verdict.severity]), _seen_as(end) + end.verdict.summary
    yield "predicted", Cell(report.predicted, PATHS[report.predicted]), report.predicted_why


def _seen_as(end: ProbeReport) -> str:
    seen = [address for nat in (end.nat.ipv4, end.nat.ipv6) if nat is not None for address in nat.mapped_addresses]
    # A NAT that changes ports is named by the verdict; the ports themselves say nothing more.
    hosts = list(dict.fromkeys(address.rpartition(":")[0] for address in seen))
    return f"Seen as {', '.join(hosts[:4])}. " if seen else ""


def _lines(path: MergedPath) -> Iterator[Cell]:
    tone = Tone.GOOD if path.works else Tone.BAD
    rtts = [pair.rtt for pair in (*path.a_view, *path.b_view) if pair.rtt is not None]
    trip = f", {milliseconds(min(rtts))} there and back" if rtts else ""
    word = "works, and a call takes it" if path.selected else "works" if path.works else "does not work"
    yield Cell(f"{MARKS[tone]} {word}{trip}", tone)
    for sentence in path.seen:
        yield Cell(sentence)
