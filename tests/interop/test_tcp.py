"""ICE-TCP (RFC 6544) with libnice, which connects and listens: each role, each direction, data both ways."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from icekit.aio import IceConnection
from icekit.candidate import Candidate, TcpType
from icekit.network_config import NetworkConfig
from icekit.sdp import read_sdp
from tests.requirements import require_libnice

pytestmark = pytest.mark.interop

_PEER = Path(__file__).parent / "nice_peer.py"


class Nice:
    """libnice in a process of its own; ``hear`` gives what it says of one kind."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self, kind: str) -> Any:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if kind in message:
                return message[kind]
        raise AssertionError("the program with libnice has ended")

    def tell(self, sdp: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"sdp": sdp}).encode() + b"\n")


def description(connection: IceConnection, candidates: list[Candidate]) -> str:
    lines = [
        "m=application 9 ICE/SDP",
        "c=IN IP4 127.0.0.1",
        f"a=ice-ufrag:{connection.local_username}",
        f"a=ice-pwd:{connection.local_password}",
        *(f"a={candidate}" for candidate in candidates),
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize("listens", ["icekit", "libnice"])
async def test_libnice_over_tcp(listens: str, controlling: bool) -> None:
    python = require_libnice()
    role = "controlled" if controlling else "controlling"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(str(python), str(_PEER), role, "127.0.0.1", stdin=pipe, stdout=pipe)
    nice = Nice(process)
    ours = TcpType.PASSIVE if listens == "icekit" else TcpType.ACTIVE
    theirs = TcpType.ACTIVE if listens == "icekit" else TcpType.PASSIVE
    connection = IceConnection(controlling, local_addresses=["127.0.0.1"], network=NetworkConfig(tcp=True))
    try:
        async with asyncio.timeout(30):
            await connection.gather_candidates()
            (media,) = read_sdp(await nice.hear("sdp")).media
            connection.remote_username, connection.remote_password = media.ufrag, media.pwd
            for candidate in media.candidates:
                if candidate.tcptype is theirs:
                    await connection.add_remote_candidate(candidate)
            await connection.add_remote_candidate(None)
            nice.tell(description(connection, [item for item in connection.gathered if item.tcptype is ours]))
            await connection.connect()
            pair = await connection.settled()
            assert (pair.local.tcptype, pair.remote.tcptype) == (ours, theirs)
            while await nice.hear("state") not in ("connected", "ready"):
                pass
            for length in (5, 1200, 20_000):
                await connection.send(bytes(length))
                assert await nice.hear("received") == length
                assert await connection.recv() == bytes(length)
    finally:
        await connection.close()
        process.kill()
        await process.wait()
