"""One camera for many viewers: the server takes the picture of the newest sender and relays it to everyone who looks.

Open the address that it prints: one page sends the camera, any number of others look. The picture is received once,
however many look.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from http import HTTPStatus
from pathlib import Path

from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from icekit.call import PeerConnection as RTCPeerConnection

PAGE = Path(__file__).with_name("media_relay.html").read_text(encoding="utf-8")


class Stage:
    """The picture that is shown now."""

    def __init__(self) -> None:
        self.relay = MediaRelay()
        self.track: MediaStreamTrack | None = None

    def show(self, track: MediaStreamTrack) -> None:
        """Relay this one from now on, until it ends."""
        self.track = track

        @track.on("ended")
        def clear() -> None:
            if self.track is track:
                self.track = None


async def answer_call(websocket: ServerConnection, stage: Stage, configuration: RTCConfiguration) -> None:
    """Take one offer, and keep the call until the WebSocket is closed."""
    connection = RTCPeerConnection(configuration)
    try:
        offer = json.loads(await websocket.recv())
        if websocket.request is not None and websocket.request.path == "/send":
            connection.on("track", stage.show)
        elif stage.track is not None:
            connection.addTrack(stage.relay.subscribe(stage.track))
        else:
            await websocket.close(reason="nobody sends a picture yet")
            return
        await connection.setRemoteDescription(RTCSessionDescription(offer["sdp"], offer["type"]))
        await connection.setLocalDescription(await connection.createAnswer())
        answer = connection.localDescription
        await websocket.send(json.dumps({"type": answer.type, "sdp": answer.sdp}))
        await websocket.wait_closed()
    finally:
        await connection.close()


def page(connection: ServerConnection, request: Request) -> Response | None:
    """The page for a browser; ``None`` lets a WebSocket through."""
    if request.path in ("/send", "/look"):
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
    stage = Stage()

    async def handle(websocket: ServerConnection) -> None:
        # The browser may leave without a goodbye.
        with contextlib.suppress(ConnectionClosed):
            await answer_call(websocket, stage, configuration)

    async with serve(handle, options.host, options.port, process_request=page) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"http://{options.host}:{port}/", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
