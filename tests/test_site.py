"""The documentation as a site: it builds without a warning, loads nothing from elsewhere; comparisons have sources."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.pages import ROOT, names_of_tests
from tests.requirements import require_module


class Loads(HTMLParser):
    """What a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "link" and "canonical" not in (found.get("rel") or ""):
            self.places.add(found.get("href") or "")
        if tag in {"script", "img", "iframe", "source", "video", "audio"}:
            self.places.add(found.get("src") or "")


@pytest.mark.timeout(300)
def test_it_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    require_module("material")
    require_module("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 30
    reader = Loads()
    for page in pages:
        reader.feed(page.read_text(encoding="utf-8"))
    assert [place for place in reader.places if "//" in place] == []
    for style in tmp_path.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//.*", style.read_text(encoding="utf-8")) == [], style


def test_a_list_in_a_list_is_one_on_the_site_too() -> None:
    """Where Markdown is read as it was first written, three spaces make no list in a list but one more item."""
    shallow = re.compile(r"^ {1,3}(?:[-*+]|\d+[.)]) ")
    wrong = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if shallow.match(line)
    ]
    assert wrong == []


def test_every_cell_of_the_comparison_has_a_source() -> None:
    text = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [line.strip("| ").split(" | ") for table in tables for line in table.splitlines()]
    cells = [cell for row in rows for cell in row[1:]]
    assert len(cells) > 25
    assert [cell for cell in cells if re.fullmatch(r"(\[[^]]+\]\([^)]+\)(; )?)+", cell) is None] == []
    for path, test in re.findall(r"\]\(\.\./([^ )#]+)(?: \"(\w+)\")?", text):
        assert (ROOT / path).is_file(), path
        assert not path.startswith("tests/") or test in names_of_tests(ROOT / path), (path, test)
