"""``examples/bench_engine.py``: an engine that needs nothing of icekit, in a call with itself and with icekit."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from icekit.bench.call import CallConfig, call
from icekit.bench.engines import ENGINES, Engine, OwnEngine, read_own_engine
from icekit.bench.program import Program

PROGRAM = Path(__file__).parents[2] / "examples" / "bench_engine.py"
MINE = read_own_engine(f"mine={shlex.quote(sys.executable)} {shlex.quote(str(PROGRAM))}")


@pytest.mark.parametrize("engines", [(MINE, MINE), (ENGINES["icekit"], MINE)], ids=["itself", "icekit"])
async def test_it_calls_and_is_called(engines: tuple[Engine | OwnEngine, Engine | OwnEngine]) -> None:
    one, other = (Program(engine.name, engine.command()) for engine in engines)
    async with one, other:
        assert other.ready.engine == "mine"
        # Twice, as the benchmark does.
        for _ in range(2):
            report = await call(one, other, CallConfig(settled_after=0.0))
            assert report.failure is None
            assert report.opened is not None
            assert report.echoed is not None


def test_it_needs_nothing_of_icekit() -> None:
    assert "import icekit" not in PROGRAM.read_text()
    assert "from icekit" not in PROGRAM.read_text()
