"""The targets of ``scripts/fuzz`` run with the kept inputs and with chance, and reach what they are for."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from icekit.ice_events import IceState
from tests.fake_wire import SEEDS
from tests.fuzz.targets import TARGETS, agent, session

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("path", sorted(CORPUS.rglob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_kept_inputs(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_by_chance(name: str) -> None:
    assert any((CORPUS / name).iterdir())
    for seed in range(10 * SEEDS):
        dice = random.Random(f"{name}/{seed}")
        TARGETS[name](dice.randbytes(dice.randrange(300)))


def test_the_script_runs_every_target() -> None:
    script = (Path(__file__).parents[2] / "scripts" / "fuzz").read_text(encoding="utf-8")
    chosen = re.search(r"^ +targets=\((.+)\)$", script, re.MULTILINE)
    assert chosen is not None
    assert sorted(chosen[1].split()) == sorted(TARGETS) == sorted(path.name for path in CORPUS.iterdir())


@pytest.mark.parametrize("run", [agent, session])
def test_the_targets_come_far(run: Callable[[bytes], list[IceState]]) -> None:
    """The kept inputs reach the states of a call that fails and of one that connects."""
    states = {state for path in (CORPUS / run.__name__).iterdir() for state in run(path.read_bytes())}
    assert IceState.FAILED in states
    assert {IceState.CONNECTED, IceState.COMPLETED} <= states
