"""What README and docs show is what happens: every block is run, or tied to a test (``tests/pages.py`` tells how)."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from icekit.cli import app
from tests.pages import PAGES, ROOT, TRANSLATIONS, Block, blocks, like, names_of_tests

BLOCKS = [block for page in PAGES for block in blocks(page)]
# Translations have the same blocks: once is enough.
RUN = [block for block in BLOCKS if block.page not in TRANSLATIONS.values()]
PROGRAMS = [block for block in RUN if block.language == "python" and block.kind != "test"]
ROOT_COMMAND = typer.main.get_command(app)
CONSOLES = sorted({block.page for block in RUN if block.language == "console" and block.kind is None})

# These print the same everywhere and at any time, but for the days that have gone by.
EXACT = {"sim", "predict", "explain", "lab", "bench"}
_DAYS = re.compile(r"\b\d+ days\b")
# Times differ from run to run, and so do ports that the system chooses.
_NUMBERS = [
    (re.compile(r"\b\d[\d,.]*( ?(?:ms|s|kbit/s)\b)"), r"N\1"),
    (re.compile(r"(?<=[:\]])\d{4,5}\b"), "PORT"),
    (re.compile(r"\b\d{10}(?=:)"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "DATE"),
    (re.compile(r"(?<= )[A-Za-z0-9+/]{27}="), "PASSWORD"),
]


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


# A line that begins so is a command. Which are icekit's and what they print is tested below.
_COMMAND = re.compile(r"(sudo |[A-Z_]+=\S+ )*(icekit|scripts/\w+|pip|python3?|pytest|\.|docker|openssl|curl)( |$)")


def test_what_is_no_command_is_read_by_the_test_that_is_named() -> None:
    # What a program prints, or takes, changes with it. A test that does not look at the page cannot tell.
    unread = []
    for block in RUN:
        if block.kind != "test":
            continue
        path = ROOT / (block.argument or "").partition("::")[0]
        lines = block.text.replace("\\\n", " ").splitlines()
        only_commands = all(_COMMAND.match(line) for line in lines if line.strip())
        if not only_commands and block.page.name not in path.read_text(encoding="utf-8"):
            unread.append(f"{block.name}: {block.argument} does not read {block.page.name}")
    assert unread == []


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
                # An option before the command does something at once (--install-completion).
                if words is not None and not words[0].startswith("-"):
                    found.append((block.name, words))
    return found


def parse(words: list[str]) -> None:
    """What the command line does before it runs a command: every name and option is one, and none is missing."""
    command, context = ROOT_COMMAND, None
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


def write(page: Path, command: str, expected: str, actual: str) -> None:
    """Put what a command prints now into its page and the translation, as far as they show it."""
    lines = actual.rstrip("\n").split("\n")
    if expected.endswith("…\n"):
        lines[expected.count("\n") - 1 :] = ["…"]
    old, new = f"$ {command}\n{expected}", "\n".join([f"$ {command}", *lines, ""])
    for place in (page, TRANSLATIONS.get(page, page)):
        text = place.read_text(encoding="utf-8")
        assert old in text or new in text
        place.write_text(text.replace(old, new), encoding="utf-8")


@contextmanager
def served(words: list[str]) -> Iterator[str]:
    """A server of ``icekit serve`` on free ports; gives the one of STUN and TURN."""
    command = [sys.executable, "-m", "icekit", *words, "--port", "0", "--http-port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().rpartition(":")[2]
        finally:
            process.terminate()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("page", CONSOLES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_print_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    runner = CliRunner()
    port = "3478"
    for block in blocks(page):
        if block.kind == "serve":
            port = stack.enter_context(served(words_of(block.text.strip()) or []))
        if block.kind == "file":
            assert block.argument is not None
            (tmp_path / block.argument).write_text(block.text, encoding="utf-8")
        if block.language != "console" or block.kind is not None:
            continue
        for command, expected in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            words = words_of(command.replace("\\\n", " ").replace("127.0.0.1:3478", f"127.0.0.1:{port}"))
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
            actual, wanted = (_DAYS.sub("N days", text) for text in (result.stdout, expected))
            if words[0] not in EXACT:
                actual, wanted = without_numbers(actual), without_numbers(wanted)
            if os.environ.get("ICEKIT_WRITE_DOCS") and not like(wanted, actual):
                write(page, command, expected, result.stdout.replace(f"127.0.0.1:{port}", "127.0.0.1:3478"))
                continue
            assert like(wanted, actual), f"{block.name}: {command}\n{result.stdout}"
