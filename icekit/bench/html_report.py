"""Results as one HTML file that loads nothing: all conditions at a glance, then each with its drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from icekit.bench.canvas import style, svg
from icekit.bench.compare import Comparison
from icekit.bench.plots import drawings, overviews
from icekit.bench.result_pages import HEADS, comparison_page, milliseconds, more, results_page, tone_of
from icekit.bench.samples import Results
from icekit.bench.summary import Block, blocks, ours_first, summarise
from icekit.html import html
from icekit.page import UNKNOWN, Body, Cell, Lines, Page, Section, Table, Tone, table

# No line of a page is too wide: its tables scroll.
_WIDE = 1_000
# With more conditions they are closed.
_MANY = 3


def html_report(results: Results, comparison: Comparison | None = None) -> str:
    """All conditions at a glance and what got slower; each condition, with all percentiles, for who opens it."""
    page = results_page(results, width=_WIDE, percentiles=True)
    found = blocks(summarise(results.samples))
    pictures: dict[str, str] = {}
    for drawing in drawings(results):
        title = drawing.condition or drawing.title
        pictures[title] = pictures.get(title, "") + svg(drawing, alone=False)
    measured, explained, *ratios = page.sections[len(found) :]
    sections = [measured]
    if comparison is not None:
        compared = comparison_page(comparison)
        verdict = Cell(f"{compared.code.text}: {compared.summary}", compared.code.tone)
        sections += [Section("Compared with the old file", (Lines((verdict,)),)), *compared.sections]
    groups = dict(overviews(found))
    sections += (Section(title, (overview(group),)) for title, group in groups.items())
    # What the terminal has to break can be scrolled here.
    sections += [replace(item, bodies=tuple(map(_whole, item.bodies))) for item in ratios]
    # In what order one asks: how to read it, then what one may want to know of the rest.
    conditions = {section.title: section for section in page.sections[: len(found)]}
    maps = [Section(title, ()) for title in pictures if title not in conditions and title not in groups]
    many = len(found) > _MANY
    sections += [explained, *(replace(item, folded=many) for item in (*maps, *conditions.values()))]
    shown = Page(page.code, page.summary, tuple(sections))
    return html(shown, title=f"icekit bench: {page.code.text}", drawings=pictures, style=style(), contents=True)


def _whole(body: Body) -> Body:
    return replace(body, labels=1, numbers=True) if isinstance(body, Table) else body


def overview(found: Sequence[Block]) -> Table:
    """A row for each condition, a column for each engine: the median, and what it is above the limit."""
    names = sorted({entry.setting.engine for block in found for entry in block.entries}, key=ours_first)
    rows: list[list[str | Cell]] = [[Cell(head, Tone.DIM) for head in ("p50, ms", "until", "limit", *names)]]
    for block in found:
        limit = block.limit(block.goal)
        # Those of one table have one medium.
        label = block.entries[0].setting.label.rpartition(", ")[0]
        row: list[str | Cell] = [label, HEADS[block.goal], Cell(milliseconds(limit), Tone.DIM)]
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
