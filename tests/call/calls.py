"""Two peer connections and the signaling between them, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from icekit.call.peer_connection import PeerConnection

SECONDS = 20


def configuration(*servers: RTCIceServer, **more: Any) -> RTCConfiguration:
    return RTCConfiguration(iceServers=list(servers), **more)


def ours(*servers: RTCIceServer, hosts: tuple[str, ...] = ("127.0.0.1",), **more: Any) -> PeerConnection:
    return PeerConnection(configuration(*servers, **more), local_addresses=hosts)


@asynccontextmanager
async def closing(*connections: RTCPeerConnection) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SECONDS):
            yield
    finally:
        await asyncio.gather(*(item.close() for item in connections))


def trickle(source: RTCPeerConnection, target: RTCPeerConnection) -> list[Any]:
    """Carry candidates as they come, each in a task of its own; returns what was carried."""
    told: list[Any] = []

    @source.on("icecandidate")
    async def carry(candidate: Any) -> None:
        told.append(candidate)
        await target.addIceCandidate(candidate)

    return told


async def negotiate(caller: RTCPeerConnection, callee: RTCPeerConnection) -> None:
    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(caller.localDescription)
    await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)


class Echo:
    """A data channel of the caller's whose messages the callee sends back."""

    def __init__(self, caller: RTCPeerConnection, callee: RTCPeerConnection) -> None:
        self.channel = caller.createDataChannel("echo")
        self.open = asyncio.Event()
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.channel.on("open", self.open.set)
        self.channel.on("message", self.answers.put_nowait)

        @callee.on("datachannel")
        def answer(channel: Any) -> None:
            channel.on("message", channel.send)

    async def say(self, text: str) -> None:
        await self.open.wait()
        self.channel.send(text)
        assert await self.answers.get() == text


async def until_state(connection: RTCPeerConnection, *states: str, of: str = "iceConnectionState") -> str:
    changed = asyncio.Event()
    connection.on(of.lower() + "change", changed.set)
    while getattr(connection, of) not in states:
        changed.clear()
        await changed.wait()
    return str(getattr(connection, of))


async def until(reached: Callable[[], bool]) -> None:
    """For what has no event."""
    while not reached():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def until_the_end(track: MediaStreamTrack) -> None:
    """Read a track until it ends."""
    with suppress(MediaStreamError):
        while True:
            await track.recv()
