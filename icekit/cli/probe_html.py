"""A probe report as one HTML file: the topology and the times are drawn, the rest is what the terminal shows."""

from __future__ import annotations

from collections.abc import Iterator

from icekit import html as document
from icekit.html import text_of
from icekit.page import UNKNOWN, Page, milliseconds
from icekit.probe_observations import families
from icekit.report import ProbeReport, StageResult, TurnReport


def html(page: Page, report: ProbeReport | None = None) -> str:
    """One file. ``report`` is what ``page`` was made of: its topology and its times are drawn, where there is one."""
    drawings = {}
    if report is not None:
        drawings["Servers"] = topology(report)
        drawings |= {f"TURN {turn.url}": stage_bars(turn) for turn in report.turn}
    return document.html(page, title=f"icekit probe: {page.code.text}", drawings=drawings)


# --- drawings --------------------------------------------------------------------------------------------------------

_ROW = 44
_WIDTH = 960
# Of the bars, whose letters can be read on a phone without scrolling.
_NARROW = 480
# A longer text would leave the drawing; all of it is in its title and in the table below.
_LONGEST = 46


def topology(report: ProbeReport) -> str:
    """This host, what stands between it and the Internet, and every server address, with what came back."""
    servers = report.servers
    height = max(len(servers) * _ROW, 3 * _ROW)
    middle = height / 2
    hosts = [f"{item.name} {item.address}" for item in report.interfaces if item.address_class != "loopback"]
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="This host, its NAT and the servers">',
        *_box(0, middle, 230, ["This host", *_first(hosts, 4)]),
        f'<line x1="230" y1="{middle}" x2="270" y2="{middle}"/>',
        *_box(270, middle, 260, _nat_lines(report)),
    ]
    for index, server in enumerate(servers):
        y = index * _ROW + _ROW / 2 + (height - len(servers) * _ROW) / 2
        tone = "good" if server.reachable else "bad"
        parts.append(f'<path class="{tone}-line" d="M530 {middle} C570 {middle} 570 {y} 610 {y}"/>')
        answer = milliseconds(server.rtt) if server.reachable else server.error or "no answer"
        mark = "✓" if server.reachable else "✗"
        parts.append(_label(616, y - 3, f"{mark} {server.url}"))
        parts.append(_label(616, y + 13, f"{server.transport} {server.address or UNKNOWN}, {answer}", "dim"))
    return "".join([*parts, "</svg>"])


def _nat_lines(report: ProbeReport) -> list[str]:
    lines = []
    for family, nat in families(report.nat):
        between = {True: "NAT", False: "no NAT", None: "NAT not known"}[nat.behind_nat]
        lines.append(f"{family}: {between}" + ("" if nat.udp is not False else ", UDP blocked"))
        if nat.mapping is not None:
            lines.append(f"maps {nat.mapping}")
        if nat.filtering is not None:
            lines.append(f"filters {nat.filtering}")
        lines += [f"seen as {address}" for address in _first(list(nat.mapped_addresses), 2)]
    return lines or ["NAT not measured"]


def _first(texts: list[str], count: int) -> list[str]:
    return texts if len(texts) <= count else [*texts[: count - 1], f"and {len(texts) - count + 1} more"]


def _box(x: float, middle: float, width: float, lines: list[str]) -> Iterator[str]:
    height = len(lines) * 17 + 14
    top = middle - height / 2
    yield f'<rect class="box" x="{x + 0.5}" y="{top}" width="{width - 1}" height="{height}" rx="6"/>'
    for index, line in enumerate(lines):
        yield _label(x + 10, top + 20 + index * 17, line, "" if index == 0 else "dim")


def _label(x: float, y: float, text: str, tone: str = "") -> str:
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f'<text x="{x}" y="{y}" class="{tone}">{text_of(shown)}<title>{text_of(text)}</title></text>'


def stage_bars(turn: TurnReport) -> str:
    """One bar per stage, each beginning where the one before ended."""
    total = sum(stage.seconds for stage in turn.stages) or 1.0
    height = len(turn.stages) * 22 + 4
    parts = [f'<svg class="fits" viewBox="0 0 {_NARROW} {height}" role="img" aria-label="Seconds per stage">']
    began = 0.0
    for index, stage in enumerate(turn.stages):
        parts += _bar(index * 22, began / total, stage, total)
        began += stage.seconds
    return "".join([*parts, "</svg>"])


def _bar(y: float, began: float, stage: StageResult, total: float) -> Iterator[str]:
    left, right = 100, 60
    room = _NARROW - left - right
    width = max(stage.seconds / total * room, 2)
    x = left + began * room
    yield _label(0, y + 16, stage.name)
    tone = "good" if stage.ok else "bad"
    yield f'<rect class="{tone}" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="15" rx="2"/>'
    yield _label(x + width + 6, y + 16, milliseconds(stage.seconds), "dim")
