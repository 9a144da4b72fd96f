"""What the README begins with is what happens, and it names every command. Its other blocks: ``test_pages.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from icekit.sim.runner import Outcome, run
from icekit.sim.scenario import Scenario
from tests.pages import ROOT, shown

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


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
    assert done.stdout == shown("README.md", "tests/test_readme.py::test_the_explained_candidate")


def later(outcome: Outcome) -> str:
    """When the later side is connected, in milliseconds, as a person reads it."""
    assert outcome.a.connected_ms is not None
    assert outcome.b.connected_ms is not None
    return f"{max(outcome.a.connected_ms, outcome.b.connected_ms):,.0f}"


def test_the_figures_of_the_scenarios() -> None:
    rows = re.findall(r"^\| .*\(`([a-z-]+)`.*\) \| ([\d,]+)\b.* \| (\d+)\b.* \|$", README, re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(path.stem for path in (ROOT / "benchmarks/scenarios").iterdir())
    for name, *told in rows:
        scenario = Scenario.from_toml((ROOT / f"benchmarks/scenarios/{name}.toml").read_text(encoding="utf-8"))
        assert told == [later(run(scenario.changed({"engine": engine}))) for engine in ("aioice", "icekit")], name


def test_every_command_is_in_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "icekit", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    commands = re.findall(r"^  (\w+)  +\S", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert commands
    assert [name for name in commands if f"| `icekit {name}" not in README] == []
