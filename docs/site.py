"""For mkdocs: pages may link to files of the repository. The site gets a copy of each, so that no link leaves it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_LINK = re.compile(r"(?<=\]\()((?:\.\./)+[^)#\s]+)")
_DOCS = "docs"


def _inside(config: Any, page: str, link: str) -> str | None:
    """Where the file that a page links to lies in the repository, if it lies outside the documentation."""
    place = normpath(PurePosixPath(_DOCS, page).parent / link)
    outside = not place.startswith((f"{_DOCS}/", "..")) and (Path(config.config_file_path).parent / place).is_file()
    return place if outside else None


def on_files(files: Files, config: Any) -> Files:
    """Add what is linked to."""
    root = Path(config.config_file_path).parent
    wanted = set()
    for file in files.documentation_pages():
        text = Path(file.abs_src_path or "").read_text(encoding="utf-8")
        wanted |= {_inside(config, file.src_uri, link) for link in _LINK.findall(text)}
    for place in sorted(wanted - {None}):
        files.append(File.generated(config, f"source/{place}.txt", content=(root / place).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Point the links at the copies."""

    def instead(found: re.Match[str]) -> str:
        place = _inside(config, page.file.src_uri, found[1])
        return found[1] if place is None else relpath(f"source/{place}.txt", PurePosixPath(page.file.src_uri).parent)

    return _LINK.sub(instead, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings announce an example with ``::``, as reStructuredText wants it. Here that is text, and goes."""
    return html.replace("<p>::</p>\n", "").replace("::</p>", ":</p>")
