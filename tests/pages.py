"""The blocks of code in README and docs, and what ties each of them to the program.

- A ``python`` block is run. It holds ``assert``, or a block marked ``<!-- printed -->`` follows with what it prints.
- A ``console`` block is run: behind ``$`` stands a command of icekit, below it what that prints. ``…`` alone on a
  line is any number of lines. Times and ports of the real world count as some number, those of a simulation exactly.
- A ``console`` block marked ``<!-- serve -->`` starts the server that the commands below it ask on port 3478.
- A block marked ``<!-- file: NAME -->`` is there as a file of this name for the commands below it.
- Any other block says which test holds it against the program: ``<!-- test: tests/x/test_y.py::test_z -->``. That test
  reads the page, or runs what the block shows.
- ``<!-- drawing -->`` is a picture made of characters. It holds no command and no code.
- A page of ``docs/ko`` has the blocks of its English page (``tests/test_translations.py``): only that one is run.

The mark is a line of its own right before the block. With ``ICEKIT_WRITE_DOCS=1``, ``pytest tests/test_pages.py`` puts
what the commands print now into the ``console`` blocks: look at the difference before you commit it.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        ROOT / "examples" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
# English page to Korean page.
TRANSLATIONS = {
    ROOT / "docs" / page.relative_to(ROOT / "docs" / "ko"): page
    for page in sorted((ROOT / "docs" / "ko").rglob("*.md"))
}
_MARK = re.compile(r"^ *<!-- (?P<kind>test|file|printed|drawing|serve)(?:: (?P<argument>.+?))? -->$")
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>\w*)")
_ITEM = re.compile(r"^ *(?:[-*+]|\d+[.)]) +")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block, from its first line to its last one; ``kind`` and ``argument`` are those of its mark."""

    page: Path
    line: int
    last: int
    language: str
    text: str
    kind: str | None
    argument: str | None

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Fenced and indented blocks, in order."""
    lines = page.read_text(encoding="utf-8").split("\n")
    found = []
    number, margin = 0, 4  # an indented block has four spaces more than the text around it
    while number < len(lines):
        first, begin = number, lines[number]
        fence = _FENCE.match(begin)
        if fence is not None:
            number += 1
            while not lines[number].startswith(fence["indent"] + fence["fence"]):
                number += 1
            text, language = lines[first + 1 : number], fence["language"]
            text = [line.removeprefix(fence["indent"]) for line in text]
        elif begin[:margin].isspace() and len(begin) > margin and (first == 0 or _ends_text(lines[first - 1])):
            while number + 1 < len(lines) and (not lines[number + 1] or lines[number + 1].startswith(" " * margin)):
                number += 1
            text, language = [line[margin:] for line in lines[first : number + 1]], ""
        else:
            if begin and not begin[0].isspace():
                margin = 6 if _ITEM.match(begin) else 4
            number += 1
            continue
        mark = _MARK.match(lines[first - 1]) or (_MARK.match(lines[first - 2]) if not lines[first - 1] else None)
        found.append(
            Block(
                page=page,
                line=first + 1,
                last=number + 1,
                language=language,
                text="\n".join(text).rstrip("\n") + "\n",
                kind=mark["kind"] if mark else None,
                argument=mark["argument"] if mark else None,
            )
        )
        number += 1
    return found


def _ends_text(line: str) -> bool:
    return not line.strip() or _MARK.match(line) is not None


def sections(page: Path) -> list[tuple[str, str]]:
    """Every heading, as it is written, and the text below it, up to the next one, without blocks and their marks."""
    code = {number for block in blocks(page) for number in range(block.line, block.last + 1)}
    found: list[tuple[str, list[str]]] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").split("\n"), 1):
        if number in code or _MARK.match(line):
            continue
        if re.match(r"#+ ", line):
            found.append((line, []))
        elif found:
            found[-1][1].append(line)
    return [(heading, "\n".join(lines)) for heading, lines in found]


def shown(page: str, test: str) -> str:
    """The one block of a page that says that this test (``tests/…::test_…``) holds it against the program."""
    (block,) = [block for block in blocks(ROOT / page) if block.kind == "test" and block.argument == test]
    return block.text


def like(expected: str, actual: str) -> bool:
    """Equal, where ``…`` alone on a line stands for any lines."""
    parts = [re.escape(part.strip("\n")) for part in re.split(r"^ *…$", expected, flags=re.MULTILINE)]
    return re.fullmatch(r"[\s\S]*".join(parts), actual.strip("\n")) is not None


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(item.name for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
