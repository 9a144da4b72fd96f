"""The page of findings is that of the table."""

from __future__ import annotations

import re
from pathlib import Path

from icekit.catalogue import CODES
from icekit.catalogue_page import anchor, findings_page

PAGE = Path(__file__).parent.parent / "docs" / "findings.md"


def test_the_page_is_written_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == findings_page(), "run scripts/findings and commit what it writes"


def test_every_code_stands_in_the_contents_and_under_its_heading() -> None:
    page = findings_page()
    linked = re.findall(r"^\| \[([A-Z0-9-]+)\]\(#([a-z0-9-]+)\)", page, re.MULTILINE)
    assert sorted(code for code, _ in linked) == sorted(CODES)
    assert len({place for _, place in linked}) == len(CODES)
    assert [heading.split()[0] for heading in re.findall(r"^### (.*)$", page, re.MULTILINE)] == [
        code for code, _ in linked
    ]


def test_an_anchor_is_what_readers_of_markdown_make_of_the_heading() -> None:
    assert anchor(CODES["ICE001"]) == "ice001-no-turn"
    assert anchor(CODES["TURN-NO-ANSWER"]) == "turn-no-answer-no-answer"
    assert anchor(CODES["TURN-441"]) == "turn-441-another-users-allocation"


def test_no_name_of_a_text_is_left_open() -> None:
    assert "{" not in findings_page()
