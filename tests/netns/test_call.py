"""Two processes of ``icekit call``, each behind its NAT; coturn and the signaling server are on the Internet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from icekit.lab.servers import USERNAME, running_servers
from icekit.lab.tun_lab import SERVER_ADDRESSES, TunLab
from tests.requirements import require_netns, require_program

pytestmark = [pytest.mark.netns, pytest.mark.interop("turnserver")]

ROOT = Path(__file__).parents[2]
PASSWORD = "correct-horse-battery"
HOST = SERVER_ADDRESSES[0]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "ICEKIT_CREDENTIAL": PASSWORD}
NATS = ["port-restricted", "port-restricted", "symmetric", "symmetric"]

SIGNALING = """
import asyncio
from icekit.signaling.server import serve

async def main():
    async with serve(hosts=["203.0.113.10"], port=8080):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[TunLab]:
    require_netns()
    require_program("turnserver")
    with (
        TunLab(NATS, seed=1) as built,
        running_servers(built.server, SERVER_ADDRESSES, PASSWORD, coturn=True),
        built.server.popen([sys.executable, "-c", SIGNALING], stdout=subprocess.PIPE, env=ENVIRONMENT) as signaling,
    ):
        try:
            assert signaling.stdout is not None
            assert signaling.stdout.readline() == "ready\n"
            yield built
        finally:
            signaling.kill()


def call(lab: TunLab, room: str, clients: tuple[int, int], *more: str) -> list[dict[str, Any]]:
    """Both sides call at once; their reports."""
    servers = ("--ice", f"stun:{HOST}", "--ice", f"turn:{HOST}", "--username", USERNAME)
    command = [sys.executable, "-m", "icekit", "call", f"ws://{HOST}:8080/{room}", "--json", *servers, *more]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                lab.clients[client].namespace.popen(
                    [*command, "--duration", "4", "--name", f"side{number}"],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
                )
            )
            for number, client in enumerate(clients)
        ]  # fmt: skip
        try:
            said = [process.communicate(timeout=50) for process in processes]
        finally:
            for process in processes:
                process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    return [json.loads(out) for out, _ in said]


@pytest.mark.parametrize(
    ("name", "clients", "relayed"),
    [("direct", (0, 1), False), ("mixed", (0, 2), True), ("forced", (2, 3), True)],
)
def test_sound_pictures_and_data_through_nats(lab: TunLab, name: str, clients: tuple[int, int], relayed: bool) -> None:
    reports = call(lab, name, clients, *(["--relay-only"] if name == "forced" else []))
    for report in reports:
        assert report["ok"], report
        frames = {level["kind"]: level["frames"] for level in report["levels"]}
        assert frames["audio"] > 10
        assert frames["video"] > 5
        assert report["sent"] > 0
        assert report["received"] > 0
        used = {report["pair"]["local"], report["pair"]["remote"]}
        assert ("relay" in used) is relayed, report["pair"]
        # From joining the room to the first decoded frame.
        assert 0 < report["connected"] < report["first_media"]
        steps = report["trace"]["steps"]
        assert [step["number"] for step in steps] == list(range(1, 14))
        assert all(step["a"] or step["b"] for step in steps)
    assert {report["side"] for report in reports} == {"A", "B"}
    traces = [report["trace"] for report in reports]
    # All thirteen, with the times of both sides, on both sides.
    for number in (11, 12, 13):
        for trace in traces:
            step = trace["steps"][number - 1]
            assert step["a"] is not None
            assert step["b"] is not None
