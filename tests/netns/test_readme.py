"""The report that the README begins with, measured again in the laboratory."""

from __future__ import annotations

import re

import pytest

from icekit.lab import KernelNat
from icekit.lab.topology import SERVER_NAME
from tests.netns.conftest import StartLab
from tests.pages import ROOT, shown

pytestmark = [pytest.mark.netns, pytest.mark.interop("turnserver")]


def without_numbers(text: str) -> list[str]:
    """Ports and times differ from run to run, and so does the width of columns that hold them."""
    return [" ".join(re.sub(r"\d+", "#", line).split()) for line in text.splitlines()]


def test_the_report_of_the_readme(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.UDP_DROPPED)
    urls = [net.coturn.stun_uri(), net.coturn.turn_uri(), net.coturn.turns_uri(host=SERVER_NAME)]
    command = ["probe", "stun:203.0.113.10", "turn:203.0.113.10", "turns:turn.icekit.test"]
    assert "icekit " + " ".join(command) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(urls) == 3
    done = net.run_icekit(*command, "--username", net.coturn.username, "--credential", net.coturn.password)
    assert done.returncode == 0
    expected = without_numbers(shown("README.md", "tests/netns/test_readme.py::test_the_report_of_the_readme"))
    # The README leaves out what follows.
    assert expected[-1] == "…"
    assert without_numbers(done.stdout)[: len(expected) - 1] == expected[:-1]
