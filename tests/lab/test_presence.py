"""A laboratory that stays up is found and ended, and nothing else is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from icekit.lab import presence
from icekit.lab.presence import present, stop_running
from tests.requirements import require_linux

REPOSITORY = Path(__file__).parent.parent.parent
STAY = """
import signal
from icekit.lab.presence import present
with present():
    print("ready", flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def on_linux() -> None:
    require_linux()


def stay() -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", STAY], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_those_that_stay_are_ended() -> None:
    with stay() as one, stay() as other:
        # Others may keep laboratories on this machine.
        assert stop_running([one.pid]) == [one.pid]
        assert (one.wait(5), other.poll()) == (-signal.SIGTERM, None)
        assert stop_running([one.pid, other.pid]) == [other.pid]
        assert other.wait(5) == -signal.SIGTERM
    assert stop_running([one.pid, other.pid]) == []


def test_a_crash_leaves_nothing_to_find() -> None:
    with stay() as process:
        process.kill()
    assert stop_running([process.pid]) == []


def test_one_process_at_a_time_has_the_name() -> None:
    with present(), socket.socket(socket.AF_UNIX) as second, pytest.raises(OSError):
        second.bind(f"\0icekit-lab-{os.getpid()}")


def test_without_a_number_all_of_them_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(presence, "_end", lambda pid: not ended.append(pid))
    with stay() as one, stay() as other:
        assert {one.pid, other.pid} <= set(stop_running()) == set(ended)
        one.kill()
        other.kill()
