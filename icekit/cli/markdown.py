"""A page as Markdown, for a ticket (GitHub's dialect: tables, and everything readable as plain text, too)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from icekit.page import MARKS, TONES, Body, Cell, FindingList, Lines, Page, Table, Tone, fix_of
from icekit.printable import printable
from icekit.report import Finding, Severity

# Only what would become markup where it stands: [2001:db8::1]:3478 stays readable as plain text.
_SPECIAL = re.compile(r"([\\`*<>|]|(?<!\w)_|_(?!\w)|~(?=~)|\](?=\())")
_WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note", Severity.OK: "ok"}


def markdown(page: Page) -> str:
    """The page; ends with a newline. Nothing in a text can become markup."""
    parts = [f"## {_escape(page.code.text)}: {_escape(page.summary)}"]
    for section in page.sections:
        parts.append(f"### {_escape(section.title)}")
        parts += (_body(body) for body in section.bodies)
    if page.footer:
        parts.append(_escape(page.footer))
    return "\n\n".join(parts) + "\n"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", printable(text))


def _code(text: str) -> str:
    # A text between backticks is taken as it is, as long as it has none itself.
    return f"`{printable(text).replace('`', chr(39))}`"


def _body(body: Body) -> str:
    match body:
        case Table():
            return "\n".join(_table(body))
        case Lines():
            return "\n".join(f"- {_line(line)}" for line in body.lines)
        case FindingList():
            return "\n".join(line for finding in body.findings for line in _finding(finding))


def _line(line: Cell) -> str:
    return _code(line.text) if line.text.startswith("candidate:") else _escape(line.text)


def _finding(finding: Finding) -> Iterator[str]:
    mark = MARKS[TONES[finding.severity]]
    yield f"- {mark} **{finding.code}** ({_WORDS[finding.severity]}): {_escape(finding.message)}"
    if fix := fix_of(finding):
        yield f"  - **Fix:** {_escape(fix)}"
    for item in finding.evidence:
        yield f"  - {_code(item)}"


def _table(table: Table) -> Iterator[str]:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    if not rows:
        return
    count = len(rows[0])
    head = rows.pop(0) if table.header else [""] * count
    yield _row(head)
    yield _row(["---:" if table.is_number(index) else "---" for index in range(count)])
    for row in rows:
        yield _row(row)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    text = _escape(cell.text)
    return f"**{text}**" if text and cell.tone is Tone.STRONG else text
