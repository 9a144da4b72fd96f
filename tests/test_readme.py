"""What the README shows is what happens: its snippets run, its output is that of the commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def shown(name: str) -> str:
    found = re.search(rf"<!-- output: {re.escape(name)} -->\n```\n(.*?)```", README, re.DOTALL)
    assert found is not None, name
    return found[1]


def test_there_are_five_snippets() -> None:
    assert len(SNIPPETS) == 5


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SNIPPETS[number]], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_explained_candidate() -> None:
    command = "explain 'candidate:842163049 1 udp 1677729535 192.168.1.2 56132 typ srflx raddr 192.168.1.2 rport 56132'"
    assert f"icekit {command}" in README
    line = command.split("'")[1]
    done = subprocess.run(
        [sys.executable, "-m", "icekit", "explain", line],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == shown("explain")


def test_every_command_is_in_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "icekit", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    commands = re.findall(r"^  (\w+)  +\S", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert commands
    assert [name for name in commands if f"| `icekit {name}" not in README] == []
