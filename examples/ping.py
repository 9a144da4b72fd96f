"""A data channel between two terminals: one end sends pings, the other sends them back, and the times are printed.

The two ends find each other by copy and paste, or over a Unix socket on one machine; see README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer, RTCSessionDescription
from aiortc.contrib.signaling import BaseSignaling, CopyAndPasteSignaling, UnixSocketSignaling

from icekit.call import PeerConnection as RTCPeerConnection


async def call(connection: RTCPeerConnection, signaling: BaseSignaling, count: int) -> None:
    """Offer a channel and measure ``count`` round trips."""
    channel = connection.createDataChannel("ping")
    opened = asyncio.Event()
    channel.on("open", opened.set)
    answers: asyncio.Queue[Any] = asyncio.Queue()
    channel.on("message", answers.put_nowait)

    await connection.setLocalDescription(await connection.createOffer())
    await signaling.send(connection.localDescription)
    answer = await signaling.receive()
    if not isinstance(answer, RTCSessionDescription):
        raise SystemExit("no answer")
    await connection.setRemoteDescription(answer)

    await opened.wait()
    for number in range(count):
        sent = time.perf_counter()
        channel.send(f"ping {number}")
        text = await answers.get()
        say(f"{text}: {(time.perf_counter() - sent) * 1000:.1f} ms")


async def answer(connection: RTCPeerConnection, signaling: BaseSignaling) -> None:
    """Take the offer, and send back what comes, until the caller hangs up."""
    ended = asyncio.Event()

    @connection.on("datachannel")
    def accept(channel: Any) -> None:
        channel.on("message", channel.send)

    @connection.on("connectionstatechange")
    def watch() -> None:
        if connection.connectionState in ("failed", "closed"):
            ended.set()

    offer = await signaling.receive()
    if not isinstance(offer, RTCSessionDescription):
        raise SystemExit("no offer")
    await connection.setRemoteDescription(offer)
    await connection.setLocalDescription(await connection.createAnswer())
    await signaling.send(connection.localDescription)
    await ended.wait()


def say(text: str) -> None:
    """Print beside the signaling, which has stdout when it is copied and pasted."""
    print(text, file=sys.stderr, flush=True)


async def main() -> None:
    """Read the command line and play one of the two roles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["call", "answer"])
    parser.add_argument("--socket", metavar="PATH", help="signaling over this Unix socket, not by copy and paste")
    parser.add_argument("--ice-server", metavar="URL", action="append", default=[], help="may be given several times")
    parser.add_argument("--count", type=int, default=5)
    options = parser.parse_args()

    signaling = UnixSocketSignaling(options.socket) if options.socket else CopyAndPasteSignaling()
    connection = RTCPeerConnection(RTCConfiguration([RTCIceServer(urls=url) for url in options.ice_server]))
    await signaling.connect()
    try:
        if options.role == "call":
            await call(connection, signaling, options.count)
        else:
            await answer(connection, signaling)
    finally:
        await connection.close()
        await signaling.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
