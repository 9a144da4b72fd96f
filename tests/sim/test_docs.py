"""``docs/simulator.md``: its examples run, its output is that of the command, its table is that of the scenario."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from icekit.sim.scenario import Scenario

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # As into a file, whatever the width of the terminal that runs the tests.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_there_are_five_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("number", range(4))
def test_an_example_runs(number: int) -> None:
    assert "assert " in EXAMPLES[number]
    done = run("-W", "error", "-c", EXAMPLES[number])
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_for_pytest_passes(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(EXAMPLES[4], encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = run(
        "-W", "error", "-m", "pytest", "-q", "-p", "icekit.sim.plugin", "-p", "no:cacheprovider", "--strict-markers",
        folder=tmp_path,
    )  # fmt: skip
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_the_output_is_that_of_the_command() -> None:
    shown = re.search(r"<!-- output: aioice-stall -->\n```\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    done = run("-m", "icekit", "sim", "benchmarks/scenarios/aioice-stall.toml")
    assert (done.stdout, done.returncode) == (shown[1], 0)


def test_the_table_has_every_key_with_its_default() -> None:
    defaults = {}
    for names, values in re.findall(r"^\| (`.*?`) \| ([^|]+) \|", TEXT, re.MULTILINE):
        keys = re.findall(r"`(\w+)`", names)
        words = values.replace("`", "").split(", ")
        for key, word in zip(keys, words * len(keys) if len(words) == 1 else words, strict=True):
            defaults[key] = tomllib.loads(f"value = {word}")["value"]
    assert defaults == {item.name: getattr(Scenario(), item.name) for item in fields(Scenario)}
