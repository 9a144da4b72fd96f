"""``docs/simulator.md``: its example for pytest passes, its table is that of the scenario."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

from icekit.sim.scenario import Scenario
from tests.pages import shown

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
EXAMPLE = shown("docs/simulator.md", "tests/sim/test_docs.py::test_the_example_for_pytest_passes")


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


def test_the_example_for_pytest_passes(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(EXAMPLE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = run(
        "-W", "error", "-m", "pytest", "-q", "-p", "icekit.sim.plugin", "-p", "no:cacheprovider", "--strict-markers",
        folder=tmp_path,
    )  # fmt: skip
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_the_table_has_every_key_with_its_default() -> None:
    defaults = {}
    for names, values in re.findall(r"^\| (`.*?`) \| ([^|]+) \|", TEXT, re.MULTILINE):
        keys = re.findall(r"`(\w+)`", names)
        words = values.replace("`", "").split(", ")
        for key, word in zip(keys, words * len(keys) if len(words) == 1 else words, strict=True):
            defaults[key] = tomllib.loads(f"value = {word}")["value"]
    assert defaults == {item.name: getattr(Scenario(), item.name) for item in fields(Scenario)}
