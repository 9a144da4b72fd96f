"""``docs/call.md``: its trace has the steps of the program, its table those of the phases."""

from __future__ import annotations

import re
from pathlib import Path

from icekit.call.trace import STEPS, Trace
from icekit.catalogue import CODES
from icekit.phases import Deadlines, Phase
from tests.pages import shown

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "call.md").read_text(encoding="utf-8")


def test_the_trace_has_the_steps_of_the_program() -> None:
    table = shown("docs/call.md", "tests/call/test_docs.py::test_the_trace_has_the_steps_of_the_program")
    texts = [re.sub(r"(\s+-?\d+ ms)+$", "", line).split(maxsplit=1)[1] for line in table.splitlines()[1:14]]
    assert texts == [plan.text for plan in STEPS]
    assert len(Trace(0.0).to_table().splitlines()) == len(table.splitlines())


def test_the_table_of_deadlines() -> None:
    rows = re.findall(r"^\| ([A-Za-z' ]+) \| ([^|]+) \| ([A-Z, -]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 8
    codes = {code for _, _, row in rows for code in row.split(", ")}
    assert codes <= set(CODES)
    assert {code for code in CODES if code.startswith("CALL-")} - codes == {"CALL-SILENT", "CALL-SIGNALING", "CALL-BYE"}
    defaults = Deadlines()
    waits = [Phase.OFFER, Phase.ANSWER, Phase.CANDIDATES, Phase.PATH, Phase.NOMINATION, Phase.DTLS, Phase.RESTORING]
    assert [float(seconds) for _, seconds, _ in rows[1:]] == [defaults.of(phase, candidates=0) for phase in waits]
