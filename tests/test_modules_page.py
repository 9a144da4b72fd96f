"""``docs/modules.md`` has the first line of every module's docstring, in the rooms of ``docs/architecture.md``."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "icekit"
PAGE = ROOT / "docs" / "modules.md"

HEAD = """\
# Every module

The first line of each, room by room ([architecture](architecture.md)). The modules directly in `icekit/` are pure, the
folders touch the world. After a change: `ICEKIT_WRITE_DOCS=1 pytest tests/test_modules_page.py`.
"""


def first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def pure_modules() -> set[str]:
    return {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}


def rooms() -> Iterator[tuple[str, list[str]]]:
    """The rows of the map that name pure modules, each with these modules; ``explain_…`` is all that begin so."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## The rooms")[2].partition("## Where is …")[0]
    for row in re.findall(r"^\| ([^|]+) \| ([^|]+) \|", table, re.MULTILINE)[2:]:
        if "/`" in row[1]:
            continue
        modules: list[str] = []
        for name in re.findall(r"`(\w+…?)`", row[1]):
            family = name.removesuffix("…")
            modules += sorted(item for item in pure_modules() if item.startswith(family)) if "…" in name else [name]
        yield row[0], modules


def lines(paths: list[Path]) -> list[str]:
    rows = [f"| `{path.stem}` | {first_line(path).replace('``', '`').replace('|', chr(92) + '|')} |" for path in paths]
    return ["", "| module | what is in it |", "|---|---|", *rows]


def page() -> str:
    out = [HEAD]
    for room, modules in rooms():
        out += [f"## {room[0].upper()}{room[1:]}", *lines([PACKAGE / f"{name}.py" for name in modules]), ""]
    for init in sorted(PACKAGE.rglob("*/__init__.py")):
        modules = sorted(path for path in init.parent.glob("*.py") if path != init)
        out += [f"## `{init.parent.relative_to(ROOT)}/`", "", first_line(init).replace("``", "`"), *lines(modules), ""]
    return "\n".join(out)


def test_every_pure_module_is_in_one_room() -> None:
    named = [name for _, modules in rooms() for name in modules]
    assert sorted(named) == sorted(pure_modules())


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_module_says_in_one_sentence_what_is_in_it() -> None:
    silent = [path for path in PACKAGE.rglob("*.py") if not first_line(path).endswith(".")]
    assert silent == []


def test_the_page_has_the_line_of_every_module() -> None:
    if os.environ.get("ICEKIT_WRITE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "ICEKIT_WRITE_DOCS=1 pytest tests/test_modules_page.py"
