"""``docs/call.md``: its examples run, its trace has the steps of the program, its table those of the phases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from icekit.call.trace import STEPS, Trace
from icekit.catalogue import CODES
from icekit.phases import Deadlines, Phase

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "call.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_there_are_two_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("number", range(2))
def test_an_example_runs(number: int) -> None:
    assert "assert " in EXAMPLES[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_trace_has_the_steps_of_the_program() -> None:
    shown = re.search(r"<!-- output: trace -->\n```\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    texts = [re.sub(r"(\s+-?\d+ ms)+$", "", line).split(maxsplit=1)[1] for line in shown[1].splitlines()[1:14]]
    assert texts == [plan.text for plan in STEPS]
    assert len(Trace(0.0).to_table().splitlines()) == len(shown[1].splitlines())


def test_the_table_of_deadlines() -> None:
    rows = re.findall(r"^\| ([A-Za-z' ]+) \| ([^|]+) \| ([A-Z, -]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 8
    codes = {code for _, _, row in rows for code in row.split(", ")}
    assert codes <= set(CODES)
    assert {code for code in CODES if code.startswith("CALL-")} - codes == {"CALL-SILENT", "CALL-SIGNALING", "CALL-BYE"}
    defaults = Deadlines()
    waits = [Phase.OFFER, Phase.ANSWER, Phase.CANDIDATES, Phase.PATH, Phase.NOMINATION, Phase.DTLS, Phase.RESTORING]
    assert [float(seconds) for _, seconds, _ in rows[1:]] == [defaults.of(phase, candidates=0) for phase in waits]
