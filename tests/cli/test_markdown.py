"""Markdown that a ticket shows as it is meant, whatever a server wrote into it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.cli.markdown import markdown
from icekit.cli.probe_page import probe_page, turn_page
from icekit.page import Cell, FindingList, Lines, Page, Section, Table, Tone, table
from icekit.report import Finding, Severity
from tests.cli.reports import BAD, REPORT

TURN_PAGE = """\
## TURN-401: turn:203.0.113.10?transport=tcp fails at allocate (expired)

### Stages

|  |  |  |  |
| --- | --- | --- | --- |
| ✓ | resolve | 0.001 s | 203.0.113.10 |
| ✗ | allocate | 0.020 s | 401 Unauthorized |
| – | permission |  | not tested |
| – | echo |  | not tested |
"""


def test_a_page_as_text() -> None:
    assert markdown(turn_page(BAD, ())) == TURN_PAGE
    text = markdown(probe_page(REPORT))
    assert "- ! **TURN-401** (warning): turn:203.0.113.10?transport=tcp: the time-limited" in text
    assert "  - **Fix:** Ignore it and go by the verdict.\n  - `[2001:4860:4864:5:8000::1]:19302: timeout`" in text
    assert "|  | **IPv4** |\n| --- | --- |\n| UDP | works |" in text
    assert "- `candidate:1 1 udp 2130706431 192.168.1.2 40112 typ host`" in text
    assert text.endswith("\n\nMeasured in 0.4 s\n")


def test_numbers_stand_at_the_right() -> None:
    page = Page(Cell("OK"), "t", (Section("s", (table([("", "ms"), ("a", "1")], 1, header=True, numbers=True),)),))
    assert "|  | ms |\n| --- | ---: |\n| a | 1 |" in markdown(page)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", r"a\|b"),
        ("<script>", r"\<script\>"),
        ("**x** `y`", r"\*\*x\*\* \`y\`"),
        ("_x_ but x_y", r"\_x\_ but x_y"),
        ("[x](y) but [::1]:3", r"[x\](y) but [::1]:3"),
        ("~~gone~~", r"\~~gone\~~"),
        ("two\nlines", r"two\\nlines"),
    ],
)
def test_nothing_becomes_markup(text: str, written: str) -> None:
    page = Page(Cell("OK", Tone.GOOD), text, ())
    assert markdown(page) == f"## OK: {written}\n"


@given(st.text())
def test_any_text_stays_in_its_place(text: str) -> None:
    finding = Finding("ICE001", Severity.ERROR, text, text, (text,))
    sections = (
        Section(text, (Table(((Cell(text), Cell("x")),)), Lines((Cell(text),)))),
        Section("F", (FindingList((finding,)),)),
    )
    lines = markdown(Page(Cell("OK"), text, sections)).splitlines()
    assert [line[:4] for line in lines if line.startswith("#")] == ["## O", "### ", "### "]
    rows = [line for line in lines if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) for row in rows] == [3, 3, 3]
