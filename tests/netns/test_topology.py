"""What a laboratory promises beside its NATs: it is gone afterwards, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from icekit.errors import ConfigError, InvalidState
from icekit.lab import KernelNat, Lab, Place, remove_all
from icekit.lab.topology import SERVER_NAME
from tests.conftest import own_namespaces

REPOSITORY = Path(__file__).parent.parent.parent


def all_namespaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob("icekit-*")}


@pytest.mark.netns
def test_a_place_has_its_name_service_and_its_process() -> None:
    with Lab(KernelNat.MASQUERADE) as lab:
        assert lab.run(Place.CLIENT, ["getent", "ahostsv4", SERVER_NAME]).stdout.split()[0] == "203.0.113.10"
        sleeper = lab.popen(Place.CLIENT, ["sleep", "600"])
        assert len(own_namespaces()) == 3
        files = [Path("/etc/netns") / name for name in own_namespaces()]
        assert all(folder.is_dir() for folder in files)
    assert sleeper.returncode == -signal.SIGKILL
    assert not any(folder.exists() for folder in files)


@pytest.mark.netns
def test_it_is_gone_after_an_error() -> None:
    built = set()

    def fail_inside() -> None:
        with Lab(KernelNat.DOUBLE):
            built.update(own_namespaces())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert len(built) == 4
    assert own_namespaces() == set()


@pytest.mark.netns
def test_it_is_gone_when_building_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KernelNat, "ruleset", lambda self, **names: "no such rules")
    with pytest.raises(ConfigError, match="syntax error"), Lab(KernelNat.MASQUERADE):
        pass
    assert own_namespaces() == set()


HOLD_A_LAB = """
import sys, time
from icekit.lab import KernelNat, Lab, Place
with Lab(KernelNat.DOUBLE) as lab:
    print(lab.namespace(Place.CLIENT).name, flush=True)
    time.sleep(600)
"""


def hold_a_lab() -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_LAB], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.netns
def test_ctrl_c_removes_it() -> None:
    process, name = hold_a_lab()
    with process:
        assert name in all_namespaces()
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert not any(f"-{process.pid}-" in name for name in all_namespaces())


@pytest.mark.netns
def test_what_a_crash_left_can_be_removed() -> None:
    process, name = hold_a_lab()
    with process:
        assert name not in remove_all()
        assert name in all_namespaces()
        process.kill()
    assert len([left for left in all_namespaces() if f"-{process.pid}-" in left]) == 4
    removed = remove_all()
    assert len([left for left in removed if f"-{process.pid}-" in left]) == 4
    assert not any(f"-{process.pid}-" in left for left in all_namespaces())


def test_a_place_that_is_not_there() -> None:
    with pytest.raises(InvalidState, match="no client"):
        Lab(KernelNat.MASQUERADE).run(Place.CLIENT, ["true"])
