"""Results as one HTML file that loads nothing: all conditions at a glance, then each with its drawings."""

from __future__ import annotations

from dataclasses import replace

from icekit.bench.canvas import svg
from icekit.bench.compare import Comparison
from icekit.bench.plots import drawings
from icekit.bench.samples import Results
from icekit.bench.summary import Block, blocks, summarise
from icekit.bench.table import HEADS, comparison_page, milliseconds, more, results_page, tone_of
from icekit.html import html
from icekit.page import UNKNOWN, Body, Cell, Lines, Page, Section, Table, Tone, table

# No line of a page is too wide: its tables scroll.
_WIDE = 1_000


def html_report(results: Results, comparison: Comparison | None = None) -> str:
    """The page of the terminal with all percentiles, what got slower before it, and the drawings.

    MissingExtra: there is no matplotlib.
    """
    page = results_page(results, width=_WIDE, percentiles=True)
    found = blocks(summarise(results.samples))
    by_title: dict[str, list[str]] = {}
    for drawing in drawings(results):
        title = drawing.condition or drawing.title
        by_title.setdefault(title, []).append(svg(drawing))
    conditions = page.sections[: len(found)]
    maps = [Section(title, ()) for title in by_title if title not in {block.label for block in found}]
    measured, explained, *ratios = page.sections[len(found) :]
    sections = [measured]
    if comparison is not None:
        compared = comparison_page(comparison)
        verdict = Cell(f"{compared.code.text}: {compared.summary}", compared.code.tone)
        sections += [Section("Compared with the old file", (Lines((verdict,)),)), *compared.sections]
    if len(found) > 1:
        sections.append(Section("All conditions", (overview(found),)))
    # What the terminal has to break can be scrolled here.
    whole = [replace(item, bodies=tuple(map(_whole, item.bodies))) for item in ratios]
    sections += [*whole, *maps, *conditions, explained]
    shown = Page(page.code, page.summary, tuple(sections))
    pictures = {title: "\n".join(svgs) for title, svgs in by_title.items()}
    return html(shown, title=f"icekit bench: {page.code.text}", drawings=pictures, contents=True)


def _whole(body: Body) -> Body:
    return replace(body, labels=1, numbers=True) if isinstance(body, Table) else body


def overview(found: tuple[Block, ...]) -> Table:
    """A row for each condition, a column for each engine: the median, and what it is above the limit."""
    names = list(dict.fromkeys(entry.setting.engine for block in found for entry in block.entries))
    rows: list[list[str | Cell]] = [[Cell(head, Tone.DIM) for head in ("p50, ms", "until", "limit", *names)]]
    for block in found:
        limit = block.limit(block.goal)
        row: list[str | Cell] = [block.label, HEADS[block.goal], Cell(milliseconds(limit), Tone.DIM)]
        entries = {entry.setting.engine: entry for entry in block.entries}
        for name in names:
            entry = entries.get(name)
            if entry is None:
                row.append("")
                continue
            reached = entry.rows[block.goal]
            text = milliseconds(reached.p50) if reached.n else UNKNOWN
            if reached.over is not None:
                text += f" ({more(reached.over)})"
            if reached.failures:
                text += f", {reached.failures} failed"
            row.append(Cell(text, Tone.BAD if reached.failures else tone_of(reached)))
        rows.append(row)
    return table(rows, labels=1, header=True, numbers=True)
