"""What README and docs show is what happens: every block is run, or tied to a test (``tests/pages.py`` tells how)."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from contextlib import chdir
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from icekit.cli import app
from tests.pages import PAGES, ROOT, Block, blocks

BLOCKS = [block for page in PAGES for block in blocks(page)]
PROGRAMS = [block for block in BLOCKS if block.language == "python" and block.kind != "test"]
CONSOLES = [page for page in PAGES if any(block.language == "console" and block.kind is None for block in blocks(page))]

# These print the same everywhere.
EXACT = {"sim", "predict", "explain", "lab"}
# Times differ from run to run, and so do ports that the system chooses.
_NUMBERS = [
    (re.compile(r"\b\d[\d,.]*( ?(?:ms|s|kbit/s)\b)"), r"N\1"),
    (re.compile(r"(?<=[:\]])\d{4,5}\b"), "PORT"),
]


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(item.name for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_block_is_tied_to_the_program() -> None:
    loose = []
    for block in BLOCKS:
        tied = block.kind is not None or block.language in ("python", "console")
        if not tied:
            loose.append(block.name)
    assert loose == [], "say what ties these blocks to the program; tests/pages.py tells how"


def test_every_test_that_a_block_names_exists() -> None:
    named = {block.name: block.argument or "" for block in BLOCKS if block.kind == "test"}
    assert named
    missing = []
    for name, test in named.items():
        path, _, function = test.partition("::")
        if not (ROOT / path).is_file() or function not in names_of_tests(ROOT / path):
            missing.append(f"{name} names {test}")
    assert missing == []


def test_a_drawing_holds_no_code() -> None:
    code = re.compile(r"^ *(sudo |\$ |icekit |import |from )", re.MULTILINE)
    assert [block.name for block in BLOCKS if block.kind == "drawing" and code.search(block.text)] == []


def words_of(line: str) -> list[str] | None:
    """The arguments of the command of icekit in a line, if there is one."""
    found = re.match(r"^(?:\$ |sudo |[A-Z_]+=\S+ )*icekit (.*)$", line)
    return None if found is None else shlex.split(found[1], comments=True)


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for block in BLOCKS:
        if block.language in ("", "console", "bash", "yaml"):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = words_of(line.strip())
                if words is not None:
                    found.append((block.name, words))
    return found


def parse(words: list[str]) -> None:
    """What the command line does before it runs a command: every name and option is one, and none is missing."""
    command, context = typer.main.get_command(app), None
    try:
        while True:
            context = command.make_context(words[0] if words else "icekit", list(words), parent=context)
            get_command = getattr(command, "get_command", None)
            if get_command is None:
                return
            words = [*context._protected_args, *context.args]
            command, words = get_command(context, words[0]), words[1:]
            if command is None:
                raise LookupError("there is no such command")
    except typer.Exit:
        return  # --help


def test_every_command_is_one() -> None:
    # Also what is not run here, because it wants root, a server or another machine.
    wrong = []
    for name, words in commands():
        end = next((index for index, word in enumerate(words) if word in (">", "|", "&", "&&")), None)
        try:
            parse(words[:end])
        except Exception as error:  # noqa: BLE001 - of click, or of the copy that a newer typer has
            wrong.append(f"{name}: icekit {shlex.join(words)}: {error!r}")
    assert wrong == []


def printed_after(block: Block) -> str | None:
    """What stands in the block behind, if that is what this one prints."""
    following = [item for item in BLOCKS if item.page == block.page and item.line > block.line]
    return following[0].text if following and following[0].kind == "printed" else None


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.name)
def test_a_program_does_what_it_says(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    printed = printed_after(block)
    assert printed is not None or "assert " in block.text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(block.text, block.name, "exec"), {"__name__": "__main__"})
    out, err = capsys.readouterr()
    assert err == ""
    if printed is not None:
        assert out == printed


def without_numbers(text: str) -> str:
    for pattern, instead in _NUMBERS:
        text = pattern.sub(instead, text)
    # Columns are as wide as their longest number.
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines())


def like(expected: str, actual: str) -> bool:
    """Equal, where ``…`` alone on a line stands for any lines."""
    parts = [re.escape(part.strip("\n")) for part in re.split(r"^ *…$", expected, flags=re.MULTILINE)]
    return re.fullmatch(r"[\s\S]*".join(parts), actual.strip("\n")) is not None


@pytest.mark.parametrize("page", CONSOLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_print_what_is_shown(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    runner = CliRunner()
    for block in blocks(page):
        if block.kind == "file":
            assert block.argument is not None
            (tmp_path / block.argument).write_text(block.text, encoding="utf-8")
        if block.language != "console" or block.kind is not None:
            continue
        for command, expected in re.findall(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            words = words_of(command.replace("\\\n", " "))
            assert words is not None, f"{block.name}: {command} is no command of icekit; name a test"
            target = None
            if ">" in words:
                words, target = words[: words.index(">")], words[-1]
            with chdir(tmp_path):
                result = runner.invoke(app, words)
            assert result.exit_code in (0, 1), (command, result.output)
            if target is not None:
                (tmp_path / target).write_text(result.stdout, encoding="utf-8")
                assert expected == ""
                continue
            actual, wanted = result.stdout, expected
            if words[0] not in EXACT:
                actual, wanted = without_numbers(actual), without_numbers(wanted)
            assert like(wanted, actual), f"{block.name}: {command}\n{result.stdout}"
