"""Completion: what is offered, and that bash really gets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from icekit.catalogue import CODES
from icekit.cli.completion import codes, engines, lab_nats, preset_pairs, presets, requirements, scenario_settings
from icekit.cli.sim import _setting
from icekit.lab.tun_lab import TunLab
from icekit.nat_presets import PRESETS
from icekit.sim.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]


def test_codes_of_findings() -> None:
    assert codes("ICE00") == [f"ICE00{digit}" for digit in range(1, 10)]
    assert set(codes("call-p")) == {"CALL-PATH", "CALL-PEER", "CALL-PASSWORD"} <= set(CODES)
    # People explain files; their names come from the shell.
    assert codes("") == codes("./log") == []


def test_nats_and_pairs_of_them() -> None:
    assert presets("") == list(PRESETS)
    assert presets("sym") == ["symmetric", "symmetric-sequential"]
    assert "symmetricxport-restricted" in preset_pairs("symmetricxp")
    assert preset_pairs("") == preset_pairs("scenario.toml") == []


def test_a_chain_of_nats_is_completed_at_its_end() -> None:
    assert lab_nats("kernel:masquerade+full") == ["kernel:masquerade+full-cone"]
    assert "kernel:masquerade" in lab_nats("k")
    for name in lab_nats(""):
        TunLab([name])


def test_every_setting_is_one() -> None:
    assert {"engine=icekit", "engine=aioice", "turn=udp"} <= set(scenario_settings(""))
    for text in scenario_settings(""):
        if not text.endswith("="):
            assert Scenario().changed(dict([_setting(text)]))


def test_words_begin_as_what_was_typed() -> None:
    assert engines("a") == ["aioice"]
    assert requirements("u") == ["udp"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pro"], "probe"),
        (["explain", "CALL-PA"], "CALL-PATH"),
        (["predict", "open", "symmetric-"], "symmetric-sequential"),
    ],
)
def test_bash_completes(words: list[str], offered: str, tmp_path: Path) -> None:
    program = tmp_path / "icekit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m icekit "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = """
        eval "$(_ICEKIT_COMPLETE=source_bash icekit)"
        COMP_WORDS=(icekit "$@") COMP_CWORD=$#
        _icekit_completion icekit
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (offered in done.stdout.split(), done.stderr) == (True, "")


@pytest.mark.parametrize(
    ("shell", "more", "answer"),
    [("zsh", {}, '"CALL-PATH"'), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "CALL-PATH\n")],
)
def test_other_shells_get_the_words_in_their_own_form(shell: str, more: dict[str, str], answer: str) -> None:
    def say(instruction: str, **arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "_ICEKIT_COMPLETE": f"{instruction}_{shell}", **arguments}
        done = subprocess.run(
            [sys.executable, "-m", "icekit"],
            env=environment, capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout

    # What the shell is told to ask for is what is asked here.
    assert f"_ICEKIT_COMPLETE=complete_{shell}" in say("source")
    assert answer in say("complete", _TYPER_COMPLETE_ARGS="icekit explain CALL-PA", **more)
