"""A laboratory with a TURN server in it, for the tests of this folder.

::

    @pytest.mark.netns
    def test_x(start_lab: StartLab) -> None:
        net = start_lab(KernelNat.FULL_CONE)
        done = net.run_icekit("probe", "--json", net.coturn.stun_uri(), net.coturn.turn_uri(),
                              "--username", net.coturn.username, "--credential", net.coturn.password)

``net.lab`` is the ``Lab`` (``run`` and ``popen`` at a ``Place``), ``net.coturn`` the server: RFC 5780 on 203.0.113.10
and 203.0.113.11, ports 3478 and 3479, TLS and DTLS on 5349, relayed addresses on 203.0.113.10; the name in its
certificate is ``turn.icekit.test`` (``net.coturn.turns_uri(host=SERVER_NAME)``), and all programs of the laboratory
resolve it. ``KernelNat.declared`` is what a probe has to report.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from icekit.lab import KernelNat, Lab, Place
from icekit.lab.topology import SERVER_ADDRESSES, SERVER_NAME
from tests.interop.coturn import STANDARD_PORTS, Coturn, CoturnConfig, add_logs
from tests.requirements import require_netns, require_program

REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class LabWithServer:
    """A built laboratory and the TURN server that runs in it."""

    lab: Lab
    coturn: Coturn

    def run_icekit(self, *arguments: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """``python -m icekit …`` on the client, of this checkout; it trusts the server's certificate."""
        with self.start_icekit(*arguments) as process:
            stdout, stderr = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start_icekit(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, while it still runs."""
        environment = os.environ | {"SSL_CERT_FILE": str(self.coturn.ca_file), "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-m", "icekit", *arguments]
        pipe = subprocess.PIPE
        return self.lab.popen(
            Place.CLIENT, command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment
        )

    @property
    def credentials(self) -> tuple[str, ...]:
        """The options that every icekit command takes for them."""
        return "--username", self.coturn.username, "--credential", self.coturn.password


StartLab = Callable[[KernelNat], LabWithServer]


@contextmanager
def lab_with_server(nat: KernelNat) -> Iterator[LabWithServer]:
    """A laboratory for more than one test; ``start_lab`` has one that ends with the test."""
    require_netns()
    require_program("turnserver")
    config = CoturnConfig(
        hosts=SERVER_ADDRESSES, ports=STANDARD_PORTS, certificate_names=(SERVER_NAME, SERVER_ADDRESSES[0])
    )
    with Lab(nat) as lab, Coturn(config, command=lab.namespace(Place.SERVER).command) as server:
        yield LabWithServer(lab, server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    add_logs(report)
    return report


@pytest.fixture
def start_lab() -> Iterator[StartLab]:
    """``start_lab(nat)`` builds a laboratory that ends with the test."""
    with ExitStack() as stack:
        yield lambda nat: stack.enter_context(lab_with_server(nat))
