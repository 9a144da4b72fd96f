"""A program without a network, for tests of what drives programs: ``python peers.py BEHAVIOUR``.

Its connection is up as soon as it has the other side's description, and texts reach it as candidates of the other side.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from icekit.bench.lines import PairEnd, Start, TrickledCandidate
from icekit.bench.programs.stdio import GREETING, Pair, Voice, run

HOST = PairEnd(kind="host", address="192.0.2.1", port=5000)
RELAY = PairEnd(kind="relay", address="203.0.113.10", port=50000)
RELAYED = "candidate:1 1 udp 1 203.0.113.10 50000 typ relay raddr 192.0.2.1 rport 5000"


def command(behaviour: str = "") -> list[str]:
    return [sys.executable, str(Path(__file__)), behaviour]


class TestPeer:
    __test__ = False

    def __init__(self, voice: Voice, behaviour: str) -> None:
        self.voice = voice
        self.behaviour = behaviour
        self.role = ""
        self.polls = 0
        self.media = False

    async def start(self, start: Start) -> None:
        self.role, self.media = start.role, start.media
        if self.behaviour == "raises":
            raise ValueError(f"no such server: {start.ice_servers}")
        if self.behaviour == "dies":
            os.write(2, b"out of memory, secret hunter2")
            asyncio.get_running_loop().call_soon(sys.exit, 3)
        if self.role == "offer":
            # A candidate that is there before the description is told after it.
            self.voice.candidate(RELAYED, "0", 0)
            self.voice.described("offer", "v=0\r\n")

    async def describe(self, kind: str, sdp: str) -> None:
        if kind == "offer":
            self.voice.described("answer", "v=0\r\n")
        self.voice.state("ice", "checking")
        self.voice.state("ice", "connected")
        self.voice.opened()
        if self.role == "offer":
            self.send(GREETING)
        elif self.media and self.behaviour != "hears nothing":
            self.voice.sounded()

    async def add_candidate(self, item: TrickledCandidate) -> None:
        if item.candidate.startswith("text:"):
            text = item.candidate.removeprefix("text:")
            if self.role == "answer":
                self.send(text)
            self.voice.echoed(text)

    def send(self, text: str) -> None:
        if self.behaviour != "mute":
            self.voice.candidate(f"text:{text}")

    async def pair(self) -> Pair | None:
        self.polls += 1
        match self.behaviour:
            case "silent":
                await asyncio.get_running_loop().create_future()
            case "no pair":
                return None
            case "relayed":
                return RELAY, HOST
            case "sees a relay":
                return HOST, PairEnd(kind="prflx", address="203.0.113.10", port=50000)
            case "sees nothing":
                return HOST, PairEnd(kind="prflx")
            case "moves" if self.polls in (1, 3, 5):
                return RELAY, HOST
        return HOST, HOST

    async def close(self) -> None:
        if self.behaviour == "tells late":
            self.voice.candidate(RELAYED, "0", 0)
        if self.behaviour in ("tells late", "ends slowly"):
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    run("test", "1.0", lambda voice: TestPeer(voice, sys.argv[1]), media=sys.argv[1] != "no sound")
