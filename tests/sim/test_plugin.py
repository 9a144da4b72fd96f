"""The pytest plugin, in runs of pytest of its own, as other projects have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

MEETING = """
import asyncio

import pytest

from icekit.sim import Link


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.answer = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, address):
        self.answer.set_result(asyncio.get_running_loop().time())


def ping(net):
    server, client = net.host("server"), net.host("client", nat="symmetric")

    async def listen():
        await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(server.address, 9))

    async def ask():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(Client, remote_addr=(server.address, 9))
        transport.sendto(b"hello")
        async with asyncio.timeout(1):
            return await protocol.answer

    async def main():
        await server.run(listen())
        return await client.run(ask())

    return net.run(main())
"""


def pytest_in(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(MEETING + tests, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "icekit.sim.plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "--strict-markers", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"icekit": "icekit.sim.plugin"}


def test_loading_it_loads_no_ice_and_no_command_line() -> None:
    code = "import icekit.sim.plugin, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "icekit.sim.internet" in loaded
    heavy = {"aioice", "aiortc", "av", "cryptography", "dns", "OpenSSL", "rich", "typer", "websockets", "icekit.aio"}
    assert loaded & heavy == set()


def test_seed_link_and_parameters(tmp_path: Path) -> None:
    done = pytest_in(
        tmp_path,
        """
def test_default(simulated_internet):
    assert simulated_internet.seed == 0
    assert ping(simulated_internet) == 0.0
    assert simulated_internet.timeline.records[0].event == "sent"


@pytest.mark.simulated_internet(seed=7, link=Link(delay=0.25))
def test_marker(simulated_internet):
    assert simulated_internet.seed == 7
    assert ping(simulated_internet) == 0.5


@pytest.mark.parametrize("simulated_internet", range(3), indirect=True)
def test_seeds(simulated_internet, request):
    assert f"[{simulated_internet.seed}]" in request.node.name
""",
    )
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_a_failure_shows_the_seed_and_the_packets_and_a_success_nothing(tmp_path: Path) -> None:
    done = pytest_in(
        tmp_path,
        """
@pytest.mark.simulated_internet(seed=41, link=Link(loss=1.0))
def test_lost(simulated_internet):
    ping(simulated_internet)


@pytest.mark.simulated_internet(seed=42, timeline=False)
def test_without_timeline(simulated_internet):
    assert ping(simulated_internet) is None


@pytest.mark.simulated_internet(seed=43)
def test_passes(simulated_internet):
    ping(simulated_internet)
""",
        "-rA",
    )
    assert done.returncode == 1
    assert "2 failed, 1 passed" in done.stdout
    assert "- Simulated Internet -" in done.stdout
    assert "seed 41, 1.000000 s of virtual time\n    0.000000 sent     192.168.1.1:" in done.stdout
    assert "203.0.113.1:9 udp 5 data (on the link)" in done.stdout
    assert "seed 42, 0.000000 s of virtual time\n" in done.stdout
    assert "seed 43" not in done.stdout
