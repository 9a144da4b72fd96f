"""``examples/media_relay.py``: a sender and two viewers, all of them stock aiortc."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import VideoStreamTrack
from av import VideoFrame
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK

from tests.examples.programs import ENGINES, offering, program, serving

BRIGHT = 200


class Grey(VideoStreamTrack):
    """A small picture of one brightness, which nothing but this sender shows."""

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(160, 120, "yuv420p")
        for plane, value in zip(frame.planes, (BRIGHT, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


@pytest.mark.parametrize("engine", ENGINES)
async def test_one_sender_two_viewers(engine: str, tmp_path: Path) -> None:
    async with serving(program("media_relay.py", engine, tmp_path)) as url, AsyncExitStack() as calls:
        async with connect(f"{url}look".replace("http", "ws")) as early:
            await early.send("{}")
            with pytest.raises(ConnectionClosedOK, match="nobody sends a picture yet"):
                await early.recv()
        sender = RTCPeerConnection(RTCConfiguration([]))
        sender.addTrack(Grey())
        await calls.enter_async_context(offering(f"{url}send", sender))
        for _ in range(2):
            viewer = RTCPeerConnection(RTCConfiguration([]))
            viewer.addTransceiver("video", direction="recvonly")
            tracks: asyncio.Queue[Any] = asyncio.Queue()
            viewer.on("track", tracks.put_nowait)
            await calls.enter_async_context(offering(f"{url}look", viewer))
            picture = await tracks.get()
            frame = await picture.recv()
            assert (frame.width, frame.height) == (160, 120)
            assert abs(bytes(frame.planes[0])[0] - BRIGHT) < 8
