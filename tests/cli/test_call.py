"""``icekit call``: two processes that meet, and what is said when they cannot."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from icekit.cli import app
from icekit.signaling.server import serve

ROOT = Path(__file__).parents[2]
LOCAL = ("--ice", "none", "--local-address", "127.0.0.1")


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "icekit", "call", *arguments,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


async def results(
    *processes: asyncio.subprocess.Process, stop: asyncio.subprocess.Process | None = None
) -> list[tuple[int | None, str, str]]:
    """Exit code, stdout and stderr of each; ``stop`` gets Ctrl-C when the first one has ended."""
    try:
        async with asyncio.timeout(50):
            said = [await processes[0].communicate()]
            if stop is not None:
                stop.send_signal(signal.SIGINT)
            said += await asyncio.gather(*(process.communicate() for process in processes[1:]))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return [
        (process.returncode, out.decode(), error.decode())
        for process, (out, error) in zip(processes, said, strict=True)
    ]


async def test_two_processes_meet(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    async with serve(port=0) as running:
        url = running.url("lobby")
        one = await start(url, *LOCAL, "--name", "alice", "--duration", "3", "--json")
        other = await start(url, *LOCAL, "--name", "bob", "--record", str(path), "--trace", "mermaid")
        (first, second) = await results(one, other)
    assert (first[0], second[0]) == (0, 0), (first, second)
    report = json.loads(first[1])
    assert report["schema"] == "icekit/call/1"
    assert (report["ok"], report["peer"], report["reason"]) == (True, "bob", "hung up")
    assert {level["kind"] for level in report["levels"] if level["frames"] > 5} == {"audio", "video"}
    assert report["sent"] > 0
    assert report["received"] > 0
    assert report["pair"]["local"] == "host"
    assert 0 < report["connected"] < report["first_media"]
    steps = report["trace"]["steps"]
    assert [step["number"] for step in steps] == list(range(1, 14))
    assert all(step["a"] or step["b"] for step in steps)
    assert "connected to alice" in second[2]
    assert "sequenceDiagram" in second[1]
    assert "Connected after" in second[1]
    assert "the other side hung up" in second[1]
    with av.open(str(path)) as container:
        assert {stream.type for stream in container.streams} == {"audio", "video"}
        assert len(list(container.decode(video=0))) > 5


async def test_a_group_of_two() -> None:
    """Of three in tests/call/test_mesh.py."""
    async with serve(port=0) as running:
        url = running.url("lobby")
        more = (*LOCAL, "--group", "--media", "tone", "--json")
        one, other = (
            await start(url, *more, "--name", "alice", "--duration", "2"),
            await start(url, *more, "--wait", "30"),
        )
        (code, out, error), _ = await results(one, other, stop=other)
    assert code == 0, error
    report = json.loads(out)
    assert report["schema"] == "icekit/calls/1"
    (call,) = report["calls"]
    assert call["ok"]
    assert call["levels"][0]["frames"] > 0


@pytest.mark.parametrize(
    ("more", "text"),
    [((), "The call failed (CALL-PEER)"), (("--group",), "Nobody came."), (("--json",), '"code": "CALL-PEER"')],
)
def test_nobody_comes(more: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(app, ["call", "memory:empty", *LOCAL, "--media", "none", "--wait", "0.3", *more])
    assert result.exit_code == 1, result.output
    assert text in result.stdout
    assert "waiting for" in result.stderr
    assert more or "Start the other side with the same URL" in " ".join(result.stdout.split())
    # Nothing happened of which a table could tell.
    assert "--json" in more or "creates an offer" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["carrier-pigeon:x"], "carrier-pigeon"),
        (["127.0.0.1:8080/room"], "signaling URL: it has no scheme, allowed: "),
        (["call.example.org/room"], "signaling URL: it has no scheme, allowed: "),
        (["memory:x", "--relay-only", *LOCAL], "--relay-only needs a TURN server: name one with --ice turn:HOST"),
        (["memory:x", "--trace", "song"], "--trace: 'song' is not known; write table, mermaid or none"),
        (["memory:x", "--engine", "v8"], "--engine: 'v8' is not known; write icekit or aioice"),
        (["memory:x", "--duration", "0"], "--duration: 0.0 is no number of seconds above 0"),
        (["memory:x", "--wait", "nan"], "--wait: nan is no number"),
        (["memory:x", "--media", "radio", *LOCAL], "media 'radio' is not known; write tone, bars"),
        (["memory:x", "--ice", "turn:192.0.2.1"], "username and credential"),
        (["memory:x", *LOCAL, "--record", "/nowhere/x.mp4"], "--record: /nowhere/x.mp4 cannot be written"),
    ],
)
def test_what_cannot_be(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(app, ["call", *arguments])
    assert result.exit_code == 2, result.output
    assert text in " ".join(result.stderr.split())


def test_a_server_that_is_not_there() -> None:
    result = CliRunner().invoke(app, ["call", "ws://127.0.0.1:9/x", *LOCAL])
    assert result.exit_code == 3
    assert "no connection" in result.stderr
