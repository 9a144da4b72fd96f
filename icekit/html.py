"""A page as one HTML file: nothing is loaded, nothing runs; light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files

from icekit.page import MARKS, TONES, Body, Cell, FindingList, Lines, Page, Table, fix_of
from icekit.printable import printable
from icekit.report import Finding


def html(
    page: Page, *, title: str, drawings: Mapping[str, str] | None = None, style: str = "", contents: bool = False
) -> str:
    """One file. ``drawings``: an SVG for each section that has one, by the section's title; ``style``: rules for them.

    ``contents``: a list of the open sections before them, for a page that is too long to look for one.
    """
    # A part of the program, as a constant would be.
    style = files("icekit").joinpath("report.css").read_text("utf-8") + style
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        # Whatever a server or a peer wrote: nothing of it is loaded or run.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{text_of(title)}</title><style>\n{style}</style></head><body>",
        f"<h1>{_span(page.code, 'b')}{text_of(page.summary)}</h1>",
    ]
    if contents:
        links = (
            f'<li><a href="#s{index}">{text_of(section.title)}</a></li>'
            for index, section in enumerate(page.sections)
            if not section.folded
        )
        parts.append(f"<nav><ul>{''.join(links)}</ul></nav>")
    for index, section in enumerate(page.sections):
        head = f'<h2 id="s{index}">{text_of(section.title)}</h2>'
        parts.append(f"<details><summary>{head}</summary>" if section.folded else head)
        if drawings is not None and section.title in drawings:
            parts.append(f"<figure>{drawings[section.title]}</figure>")
        parts += (_body(body) for body in section.bodies)
        if section.folded:
            parts.append("</details>")
    if page.footer:
        parts.append(f'<footer class="dim">{text_of(page.footer)}</footer>')
    return "\n".join([*parts, "</body></html>"]) + "\n"


def text_of(text: str) -> str:
    """Text as it stands between tags."""
    return escape(printable(text))


def _row(cells: tuple[Cell, ...], of: Table, tag: str) -> str:
    return f"<tr>{''.join(_cell(cell, of, index, tag) for index, cell in enumerate(cells))}</tr>"


def _cell(cell: Cell, of: Table, column: int, tag: str) -> str:
    # Short names stay whole; the others may be broken anywhere, as addresses must be on a phone.
    if column < of.labels:
        return f'<{tag} class="{cell.tone} label"><span>{text_of(cell.text)}</span></{tag}>'
    number = " number" if of.is_number(column) else ""
    return f'<{tag} class="{cell.tone}{number}">{text_of(cell.text)}</{tag}>'


def _span(cell: Cell, tag: str = "span") -> str:
    return f'<{tag} class="{cell.tone}">{text_of(cell.text)}</{tag}>'


def _body(body: Body) -> str:
    match body:
        case Table():
            heads = int(body.header and bool(body.rows))
            rows = "\n".join(_row(row, body, "th" if index < heads else "td") for index, row in enumerate(body.rows))
            numbers = ' class="numbers"' if body.numbers else ""
            return f'<div class="scroll"><table{numbers}>{rows}</table></div>'
        case Lines():
            tag = "code" if all(line.text.startswith("candidate:") for line in body.lines) else "span"
            return "<ul>" + "\n".join(f"<li>{_span(line, tag)}</li>" for line in body.lines) + "</ul>"
        case FindingList():
            return '<ul class="findings">' + "\n".join(map(_finding, body.findings)) + "</ul>"


def _finding(finding: Finding) -> str:
    tone = TONES[finding.severity]
    fix = fix_of(finding)
    return (
        f'<li class="{tone}"><span aria-hidden="true">{MARKS[tone]}</span> <b>{text_of(finding.code)}</b>'
        f" <span>{finding.severity}</span><p>{text_of(finding.message)}</p>"
        + (f"<p>→ {text_of(fix)}</p>" if fix else "")
        + "".join(f'<div class="evidence">{text_of(item)}</div>' for item in finding.evidence)
        + "</li>"
    )
