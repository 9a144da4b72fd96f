"""A stack for ``icekit bench``, in lines of JSON: here aiortc as it is, in the place of your own.

    sudo icekit bench --lab --engine 'mine=python examples/bench_engine.py' --engine icekit --network host

What is asked and told is in docs/programs.md. Nothing of icekit is needed, so the same fits into any language.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp


def tell(kind: str, **fields: Any) -> None:
    """One event on stdout, with its time on the clock that ``ready`` names."""
    print(json.dumps({"type": kind, **fields, "time": time.monotonic()}), flush=True)


class Side:
    """One peer connection, from ``start`` to ``end``."""

    def __init__(self, start: dict[str, Any]) -> None:
        names = ("urls", "username", "credential")
        servers = [RTCIceServer(**{name: item.get(name) for name in names}) for item in start["iceServers"]]
        self._offers = start["role"] == "offer"
        self._channel: RTCDataChannel | None = None
        self._pc = RTCPeerConnection(RTCConfiguration(servers))
        self._pc.on("iceconnectionstatechange", lambda: tell("state", of="ice", state=self._pc.iceConnectionState))
        self._pc.on("datachannel", self._take)

    async def begin(self) -> None:
        """The side that offers opens the channel."""
        if self._offers:
            self._take(self._pc.createDataChannel("bench"))
            await self._describe(await self._pc.createOffer())

    async def take(self, kind: str, sdp: str) -> None:
        """The description of the other side."""
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        if kind == "offer":
            await self._describe(await self._pc.createAnswer())

    async def _describe(self, description: RTCSessionDescription) -> None:
        await self._pc.setLocalDescription(description)
        # aiortc gathers first, so all candidates are in here; a stack that trickles tells each with ``candidate``.
        tell(self._pc.localDescription.type, sdp=self._pc.localDescription.sdp)

    async def take_candidate(self, asked: dict[str, Any]) -> None:
        """A candidate of the other side; an empty text is the end of them."""
        if asked["candidate"]:
            candidate = candidate_from_sdp(asked["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = asked.get("sdpMid"), asked.get("sdpMLineIndex")
            await self._pc.addIceCandidate(candidate)

    def _take(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._came)
        if channel.readyState == "open":
            self._opened()
        else:
            channel.on("open", self._opened)

    def _opened(self) -> None:
        tell("open")
        if self._offers:
            self.send("is it there?")

    def _came(self, text: str) -> None:
        if not self._offers:
            self.send(text)
        tell("echo", text=text)

    def send(self, text: str) -> None:
        """Over the channel."""
        assert self._channel is not None
        self._channel.send(text)

    async def end(self) -> None:
        """No more of it."""
        await self._pc.close()
        tell("ended")


async def main() -> None:
    """Requests, one a line, until stdin ends."""
    stdin = asyncio.StreamReader(limit=262_144)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    tell("ready", protocol=1, engine="mine", version="0.1", clock="monotonic")
    side: Side | None = None
    while line := await stdin.readline():
        asked = json.loads(line)
        if asked["type"] == "start":
            side = Side(asked)
            await side.begin()
            continue
        assert side is not None
        match asked["type"]:
            case "offer" | "answer":
                await side.take(asked["type"], asked["sdp"])
            case "candidate":
                await side.take_candidate(asked)
            case "send":
                side.send(asked["text"])
            case "pair":
                tell("pair", local=None, remote=None)
            case "end":
                await side.end()
                side = None


if __name__ == "__main__":
    asyncio.run(main())
