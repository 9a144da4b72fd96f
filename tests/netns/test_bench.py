"""``icekit bench --lab``: real calls; what is left behind is for the fixture of all tests to see."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from icekit.bench.laboratory import check, measure_all
from icekit.bench.measure import Orders
from icekit.bench.samples import Phase, Sample, Setting, read_results

pytestmark = [pytest.mark.netns, pytest.mark.interop("turnserver")]

ROOT = Path(__file__).parents[2]
SETTINGS = [
    Setting(engine=engine, network="port-restricted", rtt=rtt, medium="lab")
    for rtt in (0.0, 0.05)
    for engine in ("icekit", "aioice")
]
# From SRTP to the program it is another way in each.
WITH_SOUND = [
    Setting(engine=engine, network="port-restricted", rtt=0.05, medium="lab", media=True)
    for engine in ("icekit", "aiortc", "wrtc")
]


def test_engines_take_turns_behind_nats_and_sound_comes() -> None:
    settings = [*SETTINGS, *WITH_SOUND]
    check(settings)
    taken: list[Sample] = []
    versions: dict[str, str] = {}
    measure_all(settings, Orders(runs=1, seed=1, take=taken.append, told=versions.update))
    assert [item.setting for item in taken] == settings
    assert set(versions) == {"icekit", "aioice", "aiortc", "wrtc"}
    for sample in taken:
        assert sample.failure is None, sample
        alone = sample.setting.engine == "aioice"
        missing = {phase for phase in Phase if sample.phases[phase] is None}
        silent = set() if sample.setting.media else {Phase.MEDIA}
        assert missing == silent | ({Phase.DTLS, Phase.OPEN} if alone else set()), sample
        assert sample.reasons.get(Phase.MEDIA) == ("no sound was asked for (--media)" if silent else None)
        for phase, limit in sample.limits.items():
            assert (sample.phases[phase] or limit) >= limit - 0.001, (phase, sample)


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    engine = f"mine={shlex.quote(sys.executable)} examples/bench_engine.py"
    options = ["--lab", "--engine", engine, "--network", "host", "--rtt", "0ms", "--runs", "1000"]
    command = [sys.executable, "-m", "icekit", "bench", *options, "--out", str(path)]
    environment, pipe = os.environ | {"PYTHONPATH": str(ROOT)}, subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        # A sample is in the file as soon as it is taken.
        while process.poll() is None and not (path.exists() and len(path.read_text().splitlines()) > 2):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=40)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    results = read_results(path.read_text())
    assert len(results.samples) >= 2
    assert results.header.versions.keys() == {"mine"}
    assert "host, RTT 0 ms, laboratory" in stdout
    assert not list(Path("/run/netns").glob(f"icekit-{process.pid}-*"))
