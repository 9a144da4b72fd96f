"""The programs of ``examples/`` as processes, on icekit's ICE or, with their one line changed, on aiortc's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from websockets.asyncio.client import ClientConnection, connect

from icekit.aio.gatherer import local_addresses

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
OURS = "from icekit.call import PeerConnection as RTCPeerConnection\n"
STOCK = "from aiortc import RTCPeerConnection\n"
ENGINES = ("icekit", "aiortc")
SECONDS = 30


def program(name: str, engine: str, folder: Path) -> Path:
    """The example, in ``folder`` with what lies beside it; with aiortc exactly one line differs."""
    if not local_addresses():
        pytest.skip("aioice uses no loopback address, and this host has no other")
    for source in EXAMPLES.glob(f"{Path(name).stem}.*"):
        shutil.copy(source, folder)
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert text.count(OURS) == 1
    assert text.count("icekit") - text.count("icekit sends") == 1
    if engine == "aiortc":
        (folder / name).write_text(text.replace(OURS, STOCK), encoding="utf-8")
    return folder / name


class Running:
    """A program that runs."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout
        self._errors = asyncio.create_task(process.stderr.read())

    async def ended(self) -> str:
        """Wait until it ends, without an error; what it said on stderr."""
        code = await self.process.wait()
        said = (await self._errors).decode()
        assert (code, "Traceback" in said) == (0, False), said
        return said


@asynccontextmanager
async def running(path: Path, *arguments: str) -> AsyncIterator[Running]:
    """The program, ended as a person ends it if it has not ended by itself: with Ctrl-C, which is no error."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = (sys.executable, str(path), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)
    program = Running(process)
    try:
        async with asyncio.timeout(SECONDS):
            yield program
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            await program.ended()
    finally:
        if process.returncode is None:
            process.kill()
        program.stdin.close()
        await process.communicate()
        with contextlib.suppress(AssertionError):
            await program.ended()


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[str]:
    """The address that a server example prints."""
    async with running(path, "--port", "0", "--host", "127.0.0.1") as program:
        yield (await program.stdout.readline()).decode().strip()


@asynccontextmanager
async def offering(url: str, connection: RTCPeerConnection) -> AsyncIterator[ClientConnection]:
    """Send an offer with all candidates to ``url``; the call lasts as long as the context."""
    async with connect(url.replace("http", "ws", 1)) as websocket:
        await connection.setLocalDescription(await connection.createOffer())
        description = connection.localDescription
        await websocket.send(json.dumps({"type": description.type, "sdp": description.sdp}))
        answer = json.loads(await websocket.recv())
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        try:
            yield websocket
        finally:
            await connection.close()
