"""The documentation as a site: it builds without a warning, loads nothing from elsewhere; comparisons have sources."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest

from tests.pages import PAGES, ROOT, blocks, names_of_tests
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
        text = page.read_text(encoding="utf-8")
        assert "::</p>" not in text
        reader.feed(text)
    assert [place for place in reader.places if "//" in place] == []
    for style in tmp_path.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//.*", style.read_text(encoding="utf-8")) == [], style


# The packages that a program imports from, as the pages tell it to.
PACKAGES = ("icekit", "icekit.aio", "icekit.call", "icekit.signaling", "icekit.sim", "icekit.lab")
_IMPORT = re.compile(r"^ *from (icekit[\w.]*) import ([\w, ]+)", re.MULTILINE)


def homes(module: str, name: str) -> set[str]:
    """Where the reference may have it: in the module that is imported, in that of its definition, or alone."""
    value = getattr(import_module(module), name)
    defined = getattr(value, "__module__", module)
    return {module, defined, f"{module}.{name}", f"{defined}.{name}"}


def test_the_reference_has_what_the_pages_import_and_the_packages_export() -> None:
    reference = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").iterdir())
    there = set(re.findall(r"^::: (\S+)$", reference, re.MULTILINE))
    told = {(package, name) for package in PACKAGES for name in import_module(package).__all__}
    for page in PAGES:
        for block in blocks(page):
            for module, names in _IMPORT.findall(block.text) if block.language == "python" else ():
                told |= {(module, name.split()[0]) for name in names.split(",")}
    # Types that are made of others, and the version.
    told -= {("icekit.signaling", "Message"), ("icekit", "__version__")}
    assert len(told) > 60
    assert sorted(item for item in told if there.isdisjoint(homes(*item))) == []


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
