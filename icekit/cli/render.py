"""Results as text for people and as JSON. Import it inside a command: rich costs time that ``--help`` does not have.

The order is that of a reader in a hurry: the verdict, what to do, then the measurements that prove it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.status import Status
from rich.table import Table
from rich.text import Text

from icekit.catalogue import NO_FIX
from icekit.cli.text import printable
from icekit.explain import Explanation, Kind
from icekit.outlook import families
from icekit.report import (
    Behavior,
    DnsReport,
    Finding,
    NatReport,
    NatReports,
    Outlook,
    PathKind,
    PortmapReport,
    ProbeReport,
    ServerReport,
    Severity,
    TurnReport,
    Verdict,
    to_dict,
)

# Without a terminal: wide enough for most lines, narrow enough for a mail or a ticket.
PIPE_WIDTH = 100
# Columns cannot be narrower; a smaller terminal breaks the lines itself.
LEAST_WIDTH = 72

_STYLES = {Severity.OK: "green", Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "red"}
_MARKS = {Severity.OK: "✓", Severity.INFO: "i", Severity.WARNING: "!", Severity.ERROR: "✗"}
_UNKNOWN = "–"


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that guesses nothing: no markup, no highlighting. ``NO_COLOR`` and ``COLUMNS`` are honoured."""
    result = Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)
    if width is None and not result.is_terminal and "COLUMNS" not in os.environ:
        result.width = PIPE_WIDTH
    return result


def show(renderable: RenderableType, to: Console | None = None) -> None:
    """Print; nothing is cut, and no line ends in blanks, which a narrow terminal would show as lines of their own."""
    to = console() if to is None else to
    to.width = max(to.width, LEAST_WIDTH)
    if to.legacy_windows:
        # Colours are calls of the system there, and no part of the text.
        to.print(renderable, crop=False)
        return
    with to.capture() as capture:
        to.print(renderable, crop=False)
    to.file.write("\n".join(line.rstrip() for line in capture.get().split("\n")))


Show = Callable[[str], None]


class Progress:
    """A line on stderr that says what happens now; nothing at all when stderr is no terminal."""

    def __init__(self) -> None:
        target = console(stderr=True)
        self._status: Status | None = Status("…", console=target) if target.is_terminal else None

    def __enter__(self) -> Progress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._status is not None:
            self._status.update(Text(text))

    def stop(self) -> None:
        """Remove the line."""
        if self._status is not None:
            self._status.stop()


def print_json(document: Any) -> None:
    """A report, or a dict, as JSON on stdout; ASCII, so that nothing in it can steer a terminal."""
    sys.stdout.write(json.dumps(to_dict(document), indent=2) + "\n")


def print_probe(report: ProbeReport, to: Console | None = None) -> None:
    """The report of ``icekit probe``."""
    show(probe_text(report), to)


def print_turn(report: TurnReport, findings: Sequence[Finding], to: Console | None = None) -> None:
    """The report of ``icekit turn``."""
    show(turn_text(report, findings), to)


def print_explanation(explanation: Explanation, to: Console | None = None) -> None:
    """The answer of ``icekit explain``."""
    show(explanation_text(explanation), to)


def probe_text(report: ProbeReport) -> RenderableType:
    """Verdict, findings, and what was measured."""
    parts: list[RenderableType] = [_verdict(report.verdict)]
    if report.findings:
        parts += _section("Findings", _findings(report.findings))
    if report.outlook:
        parts += _section("Outlook", _outlook(report.outlook))
    if report.nat.ipv4 is not None or report.nat.ipv6 is not None:
        parts += _section("NAT and firewall", _nat(report.nat))
    if report.servers:
        parts += _section("Servers", _servers(report.servers))
    for turn in report.turn:
        parts += _section(f"TURN {turn.url}", _turn(turn))
    if report.dns:
        parts += _section("DNS", _dns(report.dns))
    if report.interfaces:
        rows = [[item.name, item.address, item.address_class, item.kind or ""] for item in report.interfaces]
        parts += _section("Interfaces", _grid(rows))
    if report.portmap is not None:
        parts += _section("Port mapping", _portmap(report.portmap))
    if report.candidates:
        parts += _section("Candidates", Group(*(_text(line) for line in report.candidates)))
    parts += [Text(), Text(f"Measured in {report.duration:.1f} s", style="dim")]
    return Group(*parts)


def turn_text(report: TurnReport, findings: Sequence[Finding]) -> RenderableType:
    """The sentence, the findings, the stages."""
    word = "INTERRUPTED" if _is_interrupted(report) else report.code or "FAILED"
    line = Text("OK" if report.ok else word, style="bold green" if report.ok else "bold red")
    parts: list[RenderableType] = [line + _text(f"  {report.url} {_turn_summary(report)}")]
    if findings:
        parts += _section("Findings", _findings(findings))
    return Group(*parts, *_section("Stages", _turn(report, summary=False)))


def explanation_text(explanation: Explanation) -> RenderableType:
    """What it is, its parts, and what is wrong with it."""
    parts: list[RenderableType] = [_text(explanation.summary, "bold")]
    if explanation.problem is not None and explanation.kind is not Kind.UNKNOWN:
        parts.append(_text(explanation.problem, "red"))
    # A caret is of use only under its place, so these lines are not wrapped.
    parts += [_text(line, no_wrap=True) for line in explanation.pointer]
    if explanation.kind is Kind.UNKNOWN:
        parts += _section("What is understood", Group(*(_text(fact.value) for fact in explanation.facts)))
    elif explanation.facts:
        facts = explanation.facts
        # A page of the table has no third column, and its texts need the width.
        count = 2 if explanation.kind is Kind.FINDING else 3
        rows = [(fact.name, fact.value, fact.meaning)[:count] for fact in facts]
        parts += [Text(), Padding(_grid(rows, labels=1), (0, 0, 0, 2))]
    if explanation.forgiven:
        lines = Group(*(_text(item) for item in explanation.forgiven))
        parts += _section("Against the rules, but most software forgives it", lines)
    if explanation.findings:
        parts += _section("Findings", _findings(explanation.findings))
    return Group(*parts)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _text(value: str, style: str = "", *, no_wrap: bool = False) -> Text:
    """Text of servers and peers may hold anything: what is not printable is shown as an escape."""
    return Text(printable(value), style=style, no_wrap=no_wrap, overflow="ignore" if no_wrap else "fold")


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(), _text(title, "bold"), Padding(body, (0, 0, 0, 2))]


def _grid(rows: Iterable[Sequence[str | Text]], labels: int = 0) -> Table:
    """Columns without lines; a cell that is too long goes on below, never cut. ``labels`` columns stay whole."""
    listed = [[cell if isinstance(cell, Text) else _text(cell) for cell in row] for row in rows]
    count = max((len(row) for row in listed), default=0)
    table = Table.grid(padding=(0, 2, 0, 0))
    for index in range(count):
        table.add_column(overflow="fold", no_wrap=index < labels)
    for row in listed:
        table.add_row(*row, *[Text()] * (count - len(row)))
    return table


def _mark(ok: bool | None) -> Text:
    return {True: Text("✓", style="green"), False: Text("✗", style="red"), None: Text(_UNKNOWN, style="dim")}[ok]


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def _verdict(verdict: Verdict) -> RenderableType:
    return Text(verdict.code, style=f"bold {_STYLES[verdict.severity]}") + _text(f"  {verdict.summary}", "bold")


def _findings(findings: Iterable[Finding]) -> RenderableType:
    rows: list[list[str | Text]] = []
    for finding in findings:
        mark = Text(_MARKS[finding.severity], style=_STYLES[finding.severity])
        rows.append([mark, _text(finding.code, "bold"), finding.message])
        if finding.fix and finding.fix != NO_FIX:
            rows.append(["", "", Text("→ ", style="bold") + _text(finding.fix)])
        rows += [["", "", _text(item, "dim")] for item in finding.evidence]
    return _grid(rows, labels=2)


_PEERS = {
    "open": "to a peer without a NAT",
    "endpoint-independent": "to a peer behind a home router",
    "address-and-port-dependent": 'to a peer behind a "symmetric" NAT',
    "udp-blocked": "to a peer whose network blocks UDP",
}
_PATHS = {PathKind.DIRECT: "green", PathKind.RELAY: "yellow", PathKind.MAYBE: "yellow", PathKind.NONE: "red"}


def _outlook(outlook: Iterable[Outlook]) -> RenderableType:
    rows = (
        [_text(_PEERS.get(item.peer, item.peer)), Text(item.path, style=_PATHS[item.path]), _text(item.why, "dim")]
        for item in outlook
    )
    return _grid(rows, labels=2)


_BEHAVIORS = {
    Behavior.ENDPOINT_INDEPENDENT: "endpoint-independent",
    Behavior.ADDRESS_DEPENDENT: "address-dependent",
    Behavior.ADDRESS_AND_PORT_DEPENDENT: "address-and-port-dependent",
}


def _yes_no(value: bool | None) -> str:
    return {True: "yes", False: "no", None: _UNKNOWN}[value]


def _nat(reports: NatReports) -> RenderableType:
    """One column per family; what was not measured says why, below."""
    columns = list(families(reports))
    rows: list[list[str | Text]] = [["", *(_text(name, "bold") for name, _ in columns)]]
    shown = [_nat_rows(nat) for _, nat in columns]
    for row in zip(*shown, strict=True):
        if any(value != _UNKNOWN for _, value in row) or row[0][0] in _ALWAYS:
            rows.append([row[0][0], *(value for _, value in row)])
    missing = (
        _text(f"{family} {_REASONS[field]}{' not measured' if getattr(nat, field) is None else ''}: {why}", "dim")
        for family, nat in columns
        for field, why in nat.reason.items()
        if field in _REASONS
    )
    return Group(_grid(rows, labels=1), *missing)


_ALWAYS = ("UDP", "behind a NAT", "mapping", "filtering")
_REASONS = {"udp": "UDP", "behind_nat": "NAT", "mapping": "mapping", "filtering": "filtering"}


# Reasons that answer no question of the user's.
_NOT_ASKED = ("not asked for (--lifetime)", "no NAT")


def _lifetime(nat: NatReport) -> str:
    """The reason is the better half of the answer: it says between which times, or more than which."""
    why = nat.reason.get("binding_lifetime", _UNKNOWN)
    if nat.binding_lifetime is None:
        return _UNKNOWN if why in _NOT_ASKED else why
    return f"{nat.binding_lifetime:g} s" + (f" ({why})" if why != _UNKNOWN else "")


def _nat_rows(nat: NatReport) -> list[tuple[str, str]]:
    ports = _UNKNOWN if nat.port_assignment is None else nat.port_assignment.value
    if nat.port_step is not None:
        ports += f", step {nat.port_step}"
    return [
        ("UDP", {True: "works", False: "blocked", None: _UNKNOWN}[nat.udp]),
        ("behind a NAT", _yes_no(nat.behind_nat)),
        ("seen as", ", ".join(nat.mapped_addresses) or _UNKNOWN),
        ("mapping", _UNKNOWN if nat.mapping is None else _BEHAVIORS[nat.mapping]),
        ("filtering", _UNKNOWN if nat.filtering is None else _BEHAVIORS[nat.filtering]),
        ("hairpinning", _yes_no(nat.hairpinning)),
        ("ports", ports),
        ("keeps port parity", _yes_no(nat.parity)),
        ("addresses", _UNKNOWN if nat.address_pooling is None else nat.address_pooling.value),
        ("binding lifetime", _lifetime(nat)),
        ("translations", _UNKNOWN if nat.nats is None else str(nat.nats)),
        ("carrier's NAT", _yes_no(nat.cgnat)),
        ("rewrites STUN", _yes_no(nat.alg)),
    ]


def _servers(servers: Iterable[ServerReport]) -> RenderableType:
    rows = []
    for server in servers:
        answer = _milliseconds(server.rtt) if server.reachable else server.error or "no answer"
        where = f"{server.transport} {server.address or _UNKNOWN}"
        if server.interface:
            where += f" from {server.interface}"
        saw = f"saw {server.mapped_address}" if server.mapped_address else ""
        rows.append([_mark(server.reachable), _text(server.url), _text(", ".join(filter(None, (where, answer, saw))))])
    return _grid(rows, labels=1)


def _is_interrupted(report: TurnReport) -> bool:
    return not report.ok and report.failed_stage is None


def _turn_summary(report: TurnReport) -> str:
    if _is_interrupted(report):
        return "was interrupted before it was tested to the end"
    if not report.ok:
        cause = f" ({report.cause})" if report.cause else ""
        return f"fails at {report.failed_stage}{cause}"
    trip = f", {_milliseconds(report.rtt)} through it and back" if report.rtt is not None else ""
    return f"relays as {report.relayed_address}{trip}"


def _turn(report: TurnReport, *, summary: bool = True) -> RenderableType:
    rows: list[list[str | Text]] = [
        [_mark(stage.ok), stage.name, f"{stage.seconds:.3f} s", stage.detail] for stage in report.stages
    ]
    rows += [[_mark(None), name, "", "not tested"] for name in report.not_tested]
    if not summary:
        return _grid(rows, labels=3)
    code = "" if report.ok or report.code is None else f"{report.code}: "
    return Group(_text(f"{code}{_turn_summary(report)}", "green" if report.ok else "red"), _grid(rows, labels=3))


def _dns(queries: Iterable[DnsReport]) -> RenderableType:
    rows = (
        [query.name, query.type, ", ".join(query.answers) or query.error or "no answer", _milliseconds(query.seconds)]
        for query in queries
    )
    return _grid(rows)


def _portmap(portmap: PortmapReport) -> RenderableType:
    rows = [["gateway", portmap.gateway or _UNKNOWN]]
    for name, value, field in (
        ("UPnP", portmap.upnp, "upnp"),
        ("NAT-PMP", portmap.nat_pmp, "nat_pmp"),
        ("PCP", portmap.pcp, "pcp"),
    ):
        rows.append([name, _yes_no(value), portmap.reason.get(field, "")])
    if portmap.external_address is not None:
        rows.append(["its address outside", portmap.external_address])
    if portmap.description_url is not None:
        rows.append(["UPnP device", portmap.description_url])
    return _grid(rows)
