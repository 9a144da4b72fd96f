from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from icekit.errors import ConfigError, MissingExtra
from icekit.report import from_dict
from icekit.sim import sweep as module
from icekit.sim.runner import run
from icekit.sim.scenario import Outcome, Scenario
from icekit.sim.sweep import dask_executor, read_sweep, sweep

SCENARIO = Scenario(a="port-restricted", b="full-cone")
VARY = {"loss": (0, 0.05), "seed": range(20)}


@pytest.fixture(scope="module", autouse=True)
def _resource_tracker() -> None:
    """The process that multiprocessing starts once and keeps: before a test could be blamed for it."""
    resource_tracker.ensure_running()


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("serial") / "runs.jsonl"
    assert sweep(SCENARIO, VARY, out=out) == (40, 40)
    return out.read_bytes()


def test_every_combination_in_order(serial: bytes) -> None:
    outcomes = [from_dict(Outcome, json.loads(line)) for line in serial.splitlines()]
    combinations = [(loss, seed) for loss in (0, 0.05) for seed in range(20)]
    assert [(outcome.scenario.loss, outcome.scenario.seed) for outcome in outcomes] == combinations
    assert outcomes[25] == run(SCENARIO.changed({"loss": 0.05, "seed": 5}))
    assert len({outcome.a.connected_ms for outcome in outcomes}) > 1


def test_several_processes_write_the_same_file(serial: bytes, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert sweep(SCENARIO, VARY, out=out, executor=executor) == (40, 40)
    assert out.read_bytes() == serial


def test_threads_write_the_same_file(serial: bytes, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    with ThreadPoolExecutor(4) as executor:
        sweep(SCENARIO, VARY, out=out, executor=executor)
    assert out.read_bytes() == serial


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a Dask cluster: a scheduler here, two workers that are processes with two threads each."""
    import distributed

    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=True,
        # Without one the scheduler takes port 8787, which another test of the machine may have.
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address=None,
        host="127.0.0.1",
        local_directory=str(tmp_path),
    ) as local:
        local.wait_for_workers(2, timeout=50)
        yield local.scheduler_address


def test_a_dask_cluster_writes_the_same_file(cluster: str, serial: bytes, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    with dask_executor(cluster) as executor:
        assert sweep(SCENARIO, VARY, out=out, executor=executor) == (40, 40)
    assert out.read_bytes() == serial


def test_what_is_there_is_not_run_again(serial: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "runs.jsonl"
    lines = serial.splitlines(keepends=True)
    ran: list[int] = []

    def counted(scenario: Scenario) -> Outcome:
        ran.append(scenario.seed)
        return run(scenario)

    monkeypatch.setattr(module, "run", counted)
    # The last line is half a line, and then one without its end.
    for rest in (lines[37][:100], lines[37][:-1]):
        ran.clear()
        out.write_bytes(b"".join(lines[:37]) + rest)
        assert sweep(SCENARIO, VARY, out=out) == (40, 3)
        assert out.read_bytes() == serial
        assert ran == [17, 18, 19]
    assert sweep(SCENARIO, VARY, out=out) == (40, 0)
    assert out.read_bytes() == serial


PROGRAM = """
from pathlib import Path
import sys
from icekit.sim.scenario import Scenario
from icekit.sim.sweep import sweep
sweep(Scenario(a="port-restricted", b="full-cone"), {"loss": (0, 0.05), "seed": range(60)}, out=Path(sys.argv[1]))
"""


def test_a_killed_sweep_goes_on(tmp_path: Path) -> None:
    out, whole = tmp_path / "runs.jsonl", tmp_path / "whole.jsonl"
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(out)])
    try:
        while not out.exists() or out.stat().st_size == 0:
            assert program.poll() is None
            time.sleep(0.005)
        os.kill(program.pid, signal.SIGKILL)
    finally:
        program.kill()
        assert program.wait() == -signal.SIGKILL
    vary = {"loss": (0, 0.05), "seed": range(60)}
    total, ran = sweep(SCENARIO, vary, out=out)
    assert total == 120
    assert 0 < ran < 120
    sweep(SCENARIO, vary, out=whole)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("line", ["{}\n", "no JSON\n", "[1]\n", "null\n"])
def test_a_file_of_something_else_is_left_alone(line: str, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    out.write_text(line)
    with pytest.raises(ConfigError, match="is not the result of this sweep"):
        sweep(SCENARIO, VARY, out=out)
    assert out.read_text() == line


def test_a_file_of_another_sweep_is_left_alone(serial: bytes, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    out.write_bytes(serial)
    for scenario, vary in ((SCENARIO, {"seed": (0,)}), (SCENARIO.changed({"turn": "udp"}), VARY)):
        with pytest.raises(ConfigError, match=re.escape(f"{out} is not the result of this sweep")):
            sweep(scenario, vary, out=out)
    assert out.read_bytes() == serial


@pytest.mark.parametrize(
    ("vary", "text"),
    [({"loss": (0, 2)}, "loss is '2'"), ({"colour": (1,)}, "no key 'colour'"), ({"seed": ()}, "seed has no value")],
)
def test_every_value_is_checked_before_the_first_run(vary: dict[str, Any], text: str, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    with pytest.raises(ConfigError, match=text):
        sweep(SCENARIO, {"seed": range(2), **vary}, out=out)
    assert not out.exists()


class Broken(Executor):
    """Answers the first parcel, fails the second, and never begins with the others."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        match len(self.futures):
            case 1:
                future.set_result(function(*arguments, **options))
            case 2:
                future.set_exception(RuntimeError("the worker is gone"))
        return future


def test_what_came_before_a_failure_is_kept(serial: bytes, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    executor = Broken()
    with pytest.raises(RuntimeError, match="the worker is gone"):
        sweep(SCENARIO, VARY, out=out, executor=executor)
    assert out.read_bytes() == b"".join(serial.splitlines(keepends=True)[:16])
    assert executor.futures[2].cancelled()
    assert sweep(SCENARIO, VARY, out=out) == (40, 24)
    assert out.read_bytes() == serial


def test_no_more_is_on_its_way_than_fits_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PARCEL", 1)
    monkeypatch.setattr(module, "_PARCELS", 3)
    out = tmp_path / "runs.jsonl"
    ahead: list[int] = []

    class Watched(Executor):
        def __init__(self) -> None:
            self.count = 0

        def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
            self.count += 1
            ahead.append(self.count - len(out.read_bytes().splitlines()))
            future: Future[Any] = Future()
            future.set_result(function(*arguments, **options))
            return future

    sweep(SCENARIO, {"seed": range(9)}, out=out, executor=Watched())
    assert ahead == [1, 2, 3, 3, 3, 3, 3, 3, 3]


def test_parquet_has_the_same_outcomes(serial: bytes, tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    # What an earlier one left.
    (tmp_path / "runs.parquet.jsonl").write_bytes(b"".join(serial.splitlines(keepends=True)[:30]))
    assert sweep(SCENARIO, VARY, out=out) == (40, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.parquet"]
    rows = pyarrow.parquet.read_table(out).to_pylist()
    outcomes = [json.loads(line) for line in serial.splitlines()]
    assert [{"schema": "icekit/sim/1", **row} for row in rows] == outcomes
    assert sweep(SCENARIO, VARY, out=out) == (40, 0)
    with pytest.raises(ConfigError, match="is not the result of this sweep"):
        sweep(SCENARIO, {"seed": range(20)}, out=out)


def test_parquet_knows_the_types_of_columns_that_are_empty(tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    sweep(Scenario(a="udp-blocked", stun="none"), {"seed": (0,)}, out=out)
    schema = pyarrow.parquet.read_schema(out)
    assert schema.field("a").type.field("connected_ms").type == "double"
    assert schema.field("a").type.field("relayed").type == "bool"
    assert schema.field("scenario").type.field("seed").type == "int64"
    assert schema.field("path").type == "string"
    assert pyarrow.parquet.read_table(out).to_pylist()[0]["a"]["connected_ms"] is None


@pytest.mark.parametrize(("package", "extra"), [("pyarrow.parquet", "parquet"), ("distributed", "dask")])
def test_a_missing_extra_is_named(package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    def attempt() -> None:
        if extra == "parquet":
            sweep(SCENARIO, VARY, out=tmp_path / "runs.parquet")
        else:
            with dask_executor("127.0.0.1:1"):
                pass

    with pytest.raises(MissingExtra, match=re.escape(f"pip install 'icekit[{extra}]'")):
        attempt()


def test_an_address_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="no Dask scheduler at nonsense://1"), dask_executor("nonsense://1"):
        pass


def test_a_sweep_file() -> None:
    text = 'a = "symmetric"\nturn = "udp"\n[vary]\nloss = [0, 0.05]\nseed = {first = 0, last = 99}\n'
    scenario, vary = read_sweep(text)
    assert scenario == Scenario(a="symmetric", turn="udp")
    assert vary == {"loss": [0, 0.05], "seed": range(100)}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a =", "not TOML"),
        ('a = "symmetric"', "no table"),
        ("vary = 1", "no table"),
        ("[vary]\nloss = 0.5", "loss: write a list"),
        ("[vary]\nseed = {first = 9, last = 1}", "seed: write a list"),
        ("[vary]\nseed = {first = 0, last = 1, step = 1}", "seed: write a list"),
        ("colour = 1\n[vary]\nseed = [1]", "no key 'colour'"),
    ],
)
def test_a_sweep_file_that_is_wrong(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        read_sweep(text)
