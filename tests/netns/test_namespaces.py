"""A network namespace ends with what runs in it, and says why it cannot be made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from icekit.errors import ConfigError
from icekit.lab import KernelNat, Lab, Namespace, namespaces


@pytest.mark.netns
def test_a_program_that_outlives_its_time() -> None:
    with Namespace("slow") as namespace, pytest.raises(subprocess.TimeoutExpired):
        namespace.run(["sleep", "600"], timeout=0.1)


@pytest.mark.netns
def test_removing_kills_what_runs_inside() -> None:
    with Namespace("busy") as namespace:
        child = namespace.popen(["sh", "-c", "sleep 600 & sleep 600"])
    # It has been waited for: no zombie is left.
    assert child.returncode == -signal.SIGKILL


@pytest.mark.netns
def test_removing_kills_what_has_not_entered_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    with Namespace("early") as namespace:
        # As `ip netns exec` on a machine with much to do.
        monkeypatch.setattr(namespace, "command", lambda argv: ["sleep", "600"])
        child = namespace.popen(["true"])
    assert child.returncode == -signal.SIGKILL


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError) as error, Lab(KernelNat.MASQUERADE):
        pass
    assert str(error.value) == 'making network namespaces needs root: run it with sudo "$(command -v icekit)" …'


def test_elsewhere_than_on_linux_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError) as error, Lab(KernelNat.MASQUERADE):
        pass
    assert str(error.value) == "network namespaces need Linux, this is darwin"


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(namespaces, "_SYSTEM_FOLDERS", str(tmp_path))
    with pytest.raises(ConfigError) as error, Lab(KernelNat.MASQUERADE):
        pass
    assert str(error.value) == "missing: ip and nft; install with: apt-get install iproute2 nftables"
