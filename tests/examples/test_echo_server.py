"""``examples/echo_server.py`` called by stock aiortc; Chromium calls it in tests/browser/test_examples.py."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import VideoStreamTrack
from aiortc.sdp import candidate_from_sdp

from tests.examples.programs import ENGINES, offering, program, serving


@pytest.mark.parametrize("engine", ENGINES)
async def test_data_and_picture_come_back(engine: str, tmp_path: Path) -> None:
    async with serving(program("echo_server.py", engine, tmp_path)) as url:
        connection = RTCPeerConnection(RTCConfiguration([]))
        channel = connection.createDataChannel("chat")
        said: asyncio.Queue[Any] = asyncio.Queue()
        channel.on("message", said.put_nowait)
        channel.on("open", lambda: channel.send("hello"))
        connection.addTrack(VideoStreamTrack())
        pictures: asyncio.Queue[Any] = asyncio.Queue()
        connection.on("track", pictures.put_nowait)
        async with offering(f"{url}call", connection) as websocket:
            if engine == "icekit":
                await add_candidate(connection, json.loads(await websocket.recv()))
            assert await said.get() == "you said: hello"
            picture = await pictures.get()
            for _ in range(3):
                assert (await picture.recv()).width == 640


async def add_candidate(connection: RTCPeerConnection, message: dict[str, Any]) -> None:
    """What the page does with what comes after the answer."""
    candidate = candidate_from_sdp(message["candidate"].removeprefix("candidate:"))
    candidate.sdpMid, candidate.sdpMLineIndex = message["sdpMid"], message["sdpMLineIndex"]
    await connection.addIceCandidate(candidate)
