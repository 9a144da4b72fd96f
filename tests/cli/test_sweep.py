"""``icekit sim --sweep``: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icekit.cli import app

runner = CliRunner()

SWEEP = 'a = "open"\nb = "open"\n[vary]\nengine = ["icekit", "aioice"]\nseed = {first = 1, last = 9}\n'


@pytest.fixture(scope="module", autouse=True)
def _resource_tracker() -> None:
    """The process that multiprocessing starts once and keeps: before a test could be blamed for it."""
    resource_tracker.ensure_running()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my-sweep.toml"
    path.write_text(SWEEP)
    return path


def test_lines_beside_the_file_and_again(file: Path) -> None:
    out = file.with_suffix(".jsonl")
    result = runner.invoke(app, ["sim", "--sweep", str(file)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"18 runs, 0 of them were there before: {out}\n"
    scenarios = [json.loads(line)["scenario"] for line in out.read_text().splitlines()]
    assert [(scenario["engine"], scenario["seed"]) for scenario in scenarios] == [
        (engine, seed) for engine in ("icekit", "aioice") for seed in range(1, 10)
    ]
    again = runner.invoke(app, ["sim", "--sweep", str(file)])
    assert again.stderr == f"18 runs, 18 of them were there before: {out}\n"


def test_jobs_write_the_same(file: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    for out, jobs in ((one, "1"), (two, "2")):
        result = runner.invoke(app, ["sim", "--sweep", str(file), "--out", str(out), "--jobs", jobs])
        assert result.exit_code == 0, result.stderr
    assert one.read_bytes() == two.read_bytes()


def test_two_interrupts_end_it_and_leave_nobody_behind(file: Path) -> None:
    file.write_text(SWEEP.replace("last = 9", "last = 99999"))
    command = [sys.executable, "-m", "icekit", "sim", "--sweep", str(file), "--jobs", "2"]
    # As a terminal does it: all of them are interrupted.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        try:
            while not (out := file.with_suffix(".jsonl")).exists() or not out.read_bytes():
                assert running.poll() is None
                time.sleep(0.05)
            for _ in range(2):
                os.killpg(running.pid, signal.SIGINT)
                time.sleep(0.05)
            _, said = running.communicate(timeout=60)
            # multiprocessing's resource tracker ends after all others.
            with contextlib.suppress(ProcessLookupError):
                for _ in range(200):
                    os.killpg(running.pid, 0)
                    time.sleep(0.05)
                pytest.fail("a process is left")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert (running.returncode, said) == (130, "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--sweep", "FILE", "openxopen"], "--sweep goes with --out, --jobs and --dask only"),
        (["--sweep", "FILE", "--json"], "--sweep goes with --out, --jobs and --dask only"),
        (["--sweep", "FILE", "--jobs", "2", "--dask", "tcp://127.0.0.1:1"], "--jobs and --dask exclude each other"),
        (["--sweep", "FILE", "--dask", "nonsense://1"], "there is no Dask scheduler at nonsense://1"),
        (["--sweep", "missing.toml"], "--sweep: missing.toml: No such file or directory"),
        (
            ["--sweep", "FILE", "--out", "no/folder/runs.jsonl"],
            "--out: no/folder/runs.jsonl cannot be written; name a file",
        ),
        (["openxopen", "--jobs", "2"], "--out, --jobs and --dask belong to --sweep FILE"),
        ([], "name a scenario file or two presets"),
    ],
)
def test_what_is_refused(arguments: list[str], text: str, file: Path) -> None:
    result = runner.invoke(app, ["sim", *(str(file) if word == "FILE" else word for word in arguments)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"icekit: {text}")
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_capture_of_one_run(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    result = runner.invoke(app, ["sim", "openxopen", "--capture", str(path)])
    assert result.exit_code == 0
    # The section header, and STUN somewhere (the magic cookie).
    assert path.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    assert b"\x21\x12\xa4\x42" in path.read_bytes()
