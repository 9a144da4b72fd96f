"""Results as text for people and as JSON. Import it inside a command: rich costs time that ``--help`` does not have."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from icekit.explanation import NOT_JUDGED, Explanation, Kind
from icekit.explanation import Table as ExplainedTable
from icekit.page import (
    MARKS,
    TONES,
    Body,
    Cell,
    FindingList,
    Lines,
    Page,
    Table,
    Tone,
    fix_of,
    table,
)
from icekit.printable import printable
from icekit.report import Finding, Severity, to_dict

# Without a terminal: wide enough for most lines, narrow enough for a mail or a ticket.
PIPE_WIDTH = 100
# Columns cannot be narrower; a smaller terminal breaks the lines itself.
LEAST_WIDTH = 72

_STYLES = {
    Tone.PLAIN: "",
    Tone.STRONG: "bold",
    Tone.DIM: "dim",
    Tone.GOOD: "green",
    Tone.NOTE: "cyan",
    Tone.WARNING: "yellow",
    Tone.BAD: "red",
}


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
        from rich.status import Status

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


def print_findings(findings: Iterable[Finding], to: Console | None = None) -> None:
    """Findings alone, each with its fix and what proves it."""
    show(_findings(findings), to)


def print_page(page: Page, to: Console | None = None) -> None:
    """A report as a page."""
    show(_page(page), to)


def print_explanation(explanation: Explanation, to: Console | None = None) -> None:
    """The answer of ``icekit explain``."""
    show(explanation_text(explanation), to)


def _page(page: Page) -> RenderableType:
    """A page for the terminal."""
    line = Text(page.code.text, style=f"bold {_STYLES[page.code.tone]}") + _text(f"  {page.summary}", "bold")
    parts: list[RenderableType] = [line]
    for section in page.sections:
        parts += [Text(), _text(section.title, "bold"), *_bodies(section.bodies)]
    if page.footer:
        parts += [Text(), Text(page.footer, style="dim")]
    return Group(*parts)


def explanation_text(explanation: Explanation) -> RenderableType:
    """What it is, its parts, and what is wrong with it. What has many parts begins with the causes."""
    parts: list[RenderableType] = [_text(explanation.summary, "bold")]
    if explanation.problem is not None and explanation.kind is not Kind.UNKNOWN:
        parts.append(_text(explanation.problem, "red"))
    # A caret is of use only under its place, so these lines are not wrapped.
    parts += [_text(line, no_wrap=True) for line in explanation.pointer]
    if explanation.kind in _RANKED:
        judged = explanation.problem is None and all(fact.name != NOT_JUDGED for fact in explanation.facts)
        parts += _causes(explanation.findings, judged=judged)
    if explanation.kind is Kind.UNKNOWN:
        parts += _section("What is understood", Group(*(_text(fact.value) for fact in explanation.facts)))
    elif explanation.facts:
        facts = explanation.facts
        # A page of the table has no third column, and its texts need the width.
        count = 2 if explanation.kind is Kind.FINDING else 3
        rows = [(fact.name, fact.value, fact.meaning)[:count] for fact in facts]
        parts += [Text(), Padding(_grid(table(rows, labels=1)), (0, 0, 0, 2))]
    for item in explanation.tables:
        parts += _section(item.title, _grid(_explained(item)))
    if explanation.forgiven:
        lines = Group(*(_text(item) for item in explanation.forgiven))
        parts += _section("Against the rules, but most software forgives it", lines)
    if explanation.findings and explanation.kind not in _RANKED:
        parts += _section("Findings", _findings(explanation.findings))
    return Group(*parts)


# What has several causes, told before its parts.
_RANKED = (Kind.CANDIDATES, Kind.DESCRIPTION, Kind.EXCHANGE, Kind.LIBRARIES, Kind.REPORT, Kind.SERVER_LIST)


def _causes(findings: Sequence[Finding], *, judged: bool) -> list[RenderableType]:
    """What may be to blame, the most serious first, and apart from it what nobody needs to chase."""
    harmless = [finding for finding in findings if finding.severity is Severity.INFO]
    to_blame = [finding for finding in findings if finding.severity is not Severity.INFO]
    parts: list[RenderableType] = []
    if to_blame:
        parts += _section("What to look at, the likeliest cause first", _findings(to_blame))
    if harmless:
        parts += _section("Harmless, do not chase it", _findings(harmless))
    if judged and not findings:
        parts += [Text(), Text("Nothing found that is wrong.", style="green")]
    return parts


def _explained(item: ExplainedTable) -> Table:
    heading = [[Cell(name, Tone.DIM) for name in item.columns]] if any(item.columns) else []
    return table([*heading, *item.rows], labels=1)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _text(value: str, style: str = "", *, no_wrap: bool = False) -> Text:
    """Text of servers and peers may hold anything: what is not printable is shown as an escape."""
    return Text(printable(value), style=style, no_wrap=no_wrap, overflow="ignore" if no_wrap else "fold")


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(), _text(title, "bold"), Padding(body, (0, 0, 0, 2))]


def _bodies(bodies: Sequence[Body]) -> Iterator[RenderableType]:
    for index, body in enumerate(bodies):
        # Two tables would look like one, and lines before a head like rows of their own table.
        if index and isinstance(body, Table) and (body.header or isinstance(bodies[index - 1], Table)):
            yield Text()
        if isinstance(body, Lines) and all(line.text.startswith("candidate:") for line in body.lines):
            # They are copied from here, and a line break of ours would go with them: the terminal wraps them itself.
            yield from (_text(f"  {line.text}", _STYLES[line.tone], no_wrap=True) for line in body.lines)
        else:
            yield Padding(_body(body), (0, 0, 0, 2))


def _body(body: Body) -> RenderableType:
    match body:
        case Table():
            return _grid(body)
        case Lines():
            return Group(*(_text(line.text, _STYLES[line.tone]) for line in body.lines))
        case FindingList():
            return _findings(body.findings)


def _grid(content: Table) -> Grid:
    """Columns without lines; a cell that is too long goes on below, never cut. The labels stay whole."""
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for index in range(max(map(len, content.rows), default=0)):
        side: JustifyMethod = "right" if content.is_number(index) else "left"
        grid.add_column(overflow="fold", no_wrap=index < content.labels, justify=side)
    for row in content.rows:
        grid.add_row(*(_text(cell.text, _STYLES[cell.tone]) for cell in row))
    return grid


def _findings(findings: Iterable[Finding]) -> RenderableType:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for index in range(3):
        grid.add_column(overflow="fold", no_wrap=index < 2)
    for finding in findings:
        tone = TONES[finding.severity]
        grid.add_row(Text(MARKS[tone], style=_STYLES[tone]), _text(finding.code, "bold"), _text(finding.message))
        if fix := fix_of(finding):
            grid.add_row("", "", Text("→ ", style="bold") + _text(fix))
        for item in finding.evidence:
            grid.add_row("", "", _text(item, "dim"))
    return grid
