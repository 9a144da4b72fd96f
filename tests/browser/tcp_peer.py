"""A program that answers or offers a call over ICE-TCP: messages as JSON lines on stdin and stdout, data echoed."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiortc import RTCSessionDescription

from icekit.call import PeerConnection
from icekit.network_config import NetworkConfig


def tell(**message: Any) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201


async def read() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def main(offers: bool) -> None:
    peer = PeerConnection(network=NetworkConfig(tcp=True))

    def answer_on(channel: Any) -> None:
        channel.on("message", channel.send)

    async def describe() -> None:
        await peer.setLocalDescription()
        description = peer.localDescription
        tell(description={"type": description.type, "sdp": description.sdp})

    @peer.on("iceconnectionstatechange")
    def changed() -> None:
        tell(state=peer.iceConnectionState)

    if offers:
        channel = peer.createDataChannel("echo")
        channel.on("open", lambda: channel.send("is it there?"))
        channel.on("message", lambda text: tell(echoed=text == "is it there?"))
        await describe()
    else:
        peer.on("datachannel", answer_on)
    lines = await read()
    while line := await lines.readline():
        message = json.loads(line)
        if "description" in message:
            await peer.setRemoteDescription(RTCSessionDescription(**message["description"]))
            if message["description"]["type"] == "offer":
                await describe()
        elif "selected" in message:
            pairs: list[Any] = []
            # Data flows before a pair is nominated; the test waits for a minute at most.
            while not pairs:
                await asyncio.sleep(0.01)
                report = await peer.getStats()
                pairs = [item for item in report.values() if item.type == "candidate-pair" and item.nominated]
            kinds = [(report[item.localCandidateId], report[item.remoteCandidateId]) for item in pairs]
            tell(selected=[[item.protocol for item in ends] for ends in kinds])
    await peer.close()


asyncio.run(main(sys.argv[1] == "offer"))
