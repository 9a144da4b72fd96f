"""``icekit bench``: what it reads, what it prints, and the exit code."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from icekit.bench import html_report, plots, simulated
from icekit.bench.engines import ENGINES
from icekit.bench.networks import NETWORKS
from icekit.bench.samples import Sample, read_results, write_results
from icekit.cli import app

runner = CliRunner()
SHORT = ["bench", "--engine", "icekit_ice", "--engine", "aioice", "--network", "host", "--runs", "1"]


def test_a_table_a_file_and_json_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    result = runner.invoke(app, [*SHORT, "--out", str(path)])
    assert result.exit_code == 0, result.output
    assert "host, RTT 50 ms, simulator" in result.stdout
    assert "icekit_ice" in result.stdout
    assert "limit" in result.stdout
    assert "2 calls at most" in result.stderr
    written = read_results(path.read_text())
    assert written.header.versions.keys() >= {"icekit_ice", "aioice"}
    printed = runner.invoke(app, [*SHORT, "--json"])
    assert read_results(printed.stdout).samples == written.samples
    again = runner.invoke(app, ["bench", "--read", str(path)])
    assert again.stdout == result.stdout
    tables = runner.invoke(app, ["bench", "--read", str(path), "--markdown"])
    assert "| no NAT, 50 ms | 50 / 75 | " in tables.stdout


def test_every_condition_is_an_option() -> None:
    options = [
        "--rtt",
        "0ms",
        "--rtt",
        "300ms",
        "--trickle",
        "--full",
        "--relay-only",
        "--dead",
        "turn",
        "--dead",
        "none",
    ]
    options += ["--signaling", "50ms", "--seed", "4", "--engine", "icekit_ice", "--network", "host", "--runs", "1"]
    result = runner.invoke(app, ["bench", *options, "--json"])
    samples = read_results(result.stdout).samples
    assert len({item.setting for item in samples}) == len(samples) == 8
    assert {item.setting.dead for item in samples} == {None, "turn"}
    assert {(item.setting.relay_only, item.setting.signaling, item.seed) for item in samples} == {(True, 0.05, 4)}
    # Relays only, and the TURN server is dead.
    assert {item.failure is None for item in samples if item.setting.dead == "turn"} == {False}
    assert result.exit_code == 1


def test_what_got_slower_is_said(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in ("old", "new")}
    results = read_results(runner.invoke(app, [*SHORT, "--json", "--runs", "8"]).stdout)
    files["old"].write_text(write_results(results), encoding="utf-8")
    late = [
        replace(item, phases={phase: value and value + 0.05 for phase, value in item.phases.items()})
        for item in results.samples
    ]
    files["new"].write_text(write_results(replace(results, samples=tuple(late))), encoding="utf-8")
    same = runner.invoke(app, ["bench", "--read", str(files["old"]), "--compare", str(files["old"])])
    assert same.exit_code == 0, same.output
    slower = runner.invoke(app, ["bench", "--read", str(files["new"]), "--compare", str(files["old"])])
    assert slower.exit_code == 1, slower.output
    assert "slower" in slower.stdout.lower()
    told = runner.invoke(app, ["bench", "--read", str(files["new"]), "--compare", str(files["old"]), "--json"])
    document = json.loads(told.stdout)
    assert document["schema"] == "icekit/bench-compare/1"
    assert {change["change"] for change in document["times"]} >= {"slower"}
    assert document["old"]["versions"].keys() >= {"icekit_ice"}
    assert told.exit_code == 1


def test_drawings_and_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That they are asked for; what is in them is for the tests of ``icekit.bench.plots`` and ``html_report``."""
    data, folder, report = tmp_path / "out.jsonl", tmp_path / "plots", tmp_path / "report.html"
    assert runner.invoke(app, [*SHORT, "--out", str(data)]).exit_code == 0
    results = read_results(data.read_text(encoding="utf-8"))
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "write_plots", lambda *arguments: drawn.append(arguments) or ())
    monkeypatch.setattr(html_report, "html_report", lambda found, change: f"{found == results} {change is not None}")
    options = ["--read", str(data), "--plots", str(folder), "--html", str(report), "--compare", str(data)]
    result = runner.invoke(app, ["bench", *options])
    assert result.exit_code == 0, result.output
    assert drawn == [(results, folder)]
    assert report.read_text(encoding="utf-8") == "True True"


def test_without_pillow_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    result = runner.invoke(app, [*SHORT, "--plots", str(tmp_path), "--out", str(tmp_path / "out.jsonl")])
    assert result.exit_code == 2
    assert "pip install" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_list() -> None:
    result = runner.invoke(app, ["bench", "--list"])
    assert all(name in result.stdout for name in (*ENGINES, *NETWORKS))
    document = json.loads(runner.invoke(app, ["bench", "--list", "--json"]).stdout)
    assert document["schema"] == "icekit/bench-list/1"
    assert document["networks"]["relay-only"] == {"a": "port-restricted", "b": "port-restricted", "relay_only": True}
    assert document["engines"]["aioice"] == {"simulator": True, "missing": None}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "libjuice"], "there is no engine 'libjuice'; there are icekit, "),
        (["--engine", "mine=cat"], "mine is no engine of the simulator, which has icekit, "),
        (["--engine", "mine=cat", "--all"], "--all takes every engine and network"),
        (["--engine", "mine="], "the engine mine has no command"),
        (["--engine", "mine=cat", "--engine", "mine=tac"], "two programs are called mine"),
        (["--network", "home"], "'home' is no network; there are host, "),
        (["--dead", "dns"], "--dead: 'dns' is not known; write stun, turn, interface or none"),
        (["--rtt", "50"], "--rtt: '50' has no unit; write 50ms or 50s"),
        (["--rtt", "soon"], "--rtt: 'soon' is no time"),
        (["--network", "none"], "'none' is no network; for no NAT write open"),
        (["--loss", "5 percent"], "--loss: '5 percent' is no share"),
        (["--engine", "icekit", "--loss", "5%"], "OpenSSL"),
        (["--media"], "--media: sound is sent by the real clock, which the simulator has not; add --lab"),
        (["--media", "--engine", "icekit_ice"], "--media: sound is sent by the real clock"),
        (["--all", "--engine", "icekit"], "--all takes every engine"),
        (["--read", "nothing.jsonl"], "--read: nothing.jsonl"),
        (["--read", "pyproject.toml"], "--read: pyproject.toml: line 1: no JSON"),
        (["--json", "--markdown"], "--json and --markdown are two forms"),
        (["--read", "x", "--media"], "--read shows what was measured before"),
        (["--read", "x", "--lab"], "--read shows what was measured before"),
    ],
)
def test_what_is_refused(options: list[str], said: str) -> None:
    result = runner.invoke(app, ["bench", *options])
    assert result.exit_code == 2, result.output
    assert said in result.stderr


def test_the_laboratory_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = runner.invoke(app, ["bench", "--lab", "--engine", "icekit"])
    assert result.exit_code == 2
    assert "needs root" in result.stderr


def test_ctrl_c_shows_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measure = simulated.measure

    def interrupted(*arguments: Any) -> Sample:
        if arguments[1] == 1:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(simulated, "measure", interrupted)
    path = tmp_path / "out.jsonl"
    result = runner.invoke(app, [*SHORT, "--runs", "5", "--out", str(path)])
    assert result.exit_code == 130
    assert len(read_results(path.read_text()).samples) == 2
    assert "host, RTT 50 ms, simulator" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plots", "pyproject.toml"], "--plots: pyproject.toml is a file; name a folder"),
        (["--out", "no/such/folder/now.jsonl"], "--out: no/such/folder/now.jsonl cannot be written; name a file"),
        (["--html", "tests"], "--html: tests cannot be written; name a file in a folder that exists"),
        (["--html", "no/such/folder/page.html"], "--html: no/such/folder/page.html cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_told_before_anything_is_measured(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(simulated, "measure", None)
    result = runner.invoke(app, [*SHORT, *options])
    assert result.exit_code == 2, result.output
    assert said in result.stderr
