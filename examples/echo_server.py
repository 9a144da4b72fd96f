"""A server that a browser can call: it sends back the camera picture and every message of a data channel.

Open the address that it prints, and press the button. Page and signaling (a WebSocket) come from one port.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from icekit.call import PeerConnection as RTCPeerConnection

PAGE = Path(__file__).with_name("echo_server.html").read_text(encoding="utf-8")


async def answer_call(websocket: ServerConnection, configuration: RTCConfiguration) -> None:
    """One WebSocket is one call; the call ends with it."""
    connection = RTCPeerConnection(configuration)
    sending: set[asyncio.Task[None]] = set()

    def tell(message: dict[str, Any]) -> None:
        task = asyncio.create_task(websocket.send(json.dumps(message)))
        sending.add(task)
        task.add_done_callback(sending.discard)

    @connection.on("datachannel")
    def accept(channel: Any) -> None:
        channel.on("message", lambda message: channel.send(f"you said: {message}"))

    @connection.on("track")
    def return_picture(track: Any) -> None:
        connection.addTrack(track)

    # icekit sends the answer at once and tells candidates as they are found. aiortc by itself has no such event and
    # puts them all into the answer, so the same program serves both.
    @connection.on("icecandidate")
    def trickle(candidate: Any) -> None:
        if candidate is not None:
            line = f"candidate:{candidate_to_sdp(candidate)}"
            tell({"candidate": line, "sdpMid": candidate.sdpMid, "sdpMLineIndex": candidate.sdpMLineIndex})

    try:
        async for text in websocket:
            message = json.loads(text)
            if "sdp" in message:
                await connection.setRemoteDescription(RTCSessionDescription(message["sdp"], message["type"]))
                await connection.setLocalDescription(await connection.createAnswer())
                description = connection.localDescription
                tell({"type": description.type, "sdp": description.sdp})
            elif message.get("candidate"):
                candidate = candidate_from_sdp(message["candidate"].partition(":")[2])
                candidate.sdpMid, candidate.sdpMLineIndex = message["sdpMid"], message["sdpMLineIndex"]
                await connection.addIceCandidate(candidate)
    finally:
        await connection.close()
        await asyncio.gather(*sending, return_exceptions=True)


def page(connection: ServerConnection, request: Request) -> Response | None:
    """The page for a browser; ``None`` lets a WebSocket through."""
    if request.path == "/call":
        return None
    found = request.path == "/"
    response = connection.respond(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, PAGE if found else "not here\n")
    if found:
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/html; charset=utf-8"
    return response


async def main() -> None:
    """Read the command line and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost", help="browsers give the camera only to localhost and https")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ice-server", metavar="URL", action="append", default=[], help="may be given several times")
    options = parser.parse_args()
    configuration = RTCConfiguration([RTCIceServer(urls=url) for url in options.ice_server])

    async def handle(websocket: ServerConnection) -> None:
        # The browser may leave without a goodbye.
        with contextlib.suppress(ConnectionClosed):
            await answer_call(websocket, configuration)

    async with serve(handle, options.host, options.port, process_request=page) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"http://{options.host}:{port}/", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
