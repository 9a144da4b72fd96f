"""``stomp://``, ``stomps://``, ``stomp+ws://`` and ``stomp+wss://``: a topic of a message broker, over STOMP 1.2.

The call that icekit follows talks like this: everybody subscribes to one topic and publishes to it. With RabbitMQ and
its web-stomp plugin: ``stomp+ws://user:password@host:15674/ws?topic=ROOM``. A topic that begins with a slash is the
whole destination, otherwise ``/topic/`` is put before it. ``vhost`` (default ``/``) is the virtual host.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Protocol

from icekit.errors import ConfigError, DecodeError
from icekit.signaling.broker import CONNECT_TIMEOUT, BrokerUrl
from icekit.signaling.message import MAX_MESSAGE
from icekit.signaling.stomp_frames import Frame, FrameReader
from icekit.signaling.transport import Traits

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

HEART_BEAT = 10.0
"""How often we say that we are there, and want to hear it of the broker, in seconds."""

PORT = 61613
TLS_PORT = 61614


class Stream(Protocol):
    """Bytes both ways; whatever breaks it is an OSError."""

    async def read(self) -> bytes:
        """Some bytes."""

    async def write(self, data: bytes) -> None:
        """Waits while there is no room."""

    async def close(self) -> None:
        """Never raises."""


def transport(url: str, *, name: str, token: str | None) -> StompTransport:
    """The room is the option ``topic``, or for ``stomp://`` the path."""
    place = BrokerUrl.parse(url, options=("topic", "vhost"))
    web = place.scheme in ("stomp+ws", "stomp+wss")
    topic = place.options.get("topic", "" if web else place.path)
    if not topic:
        example = "stomp+ws://host:15674/ws?topic=ROOM" if web else "stomp://host/ROOM"
        raise ConfigError(f"{place.scheme} URL, topic: found nothing, allowed: {example}")
    destination = topic if topic.startswith("/") else f"/topic/{place.room(topic)}"
    return StompTransport(place, destination, web)


class StompTransport:
    """A topic."""

    traits = Traits()

    def __init__(self, place: BrokerUrl, destination: str, web: bool) -> None:
        self._place = place
        self._destination = destination
        self._web = web

    async def open(self) -> StompLink:
        """Connect and subscribe; what the broker does not allow is a ConnectionRefusedError with its words."""
        stream = await (_open_web(self._place) if self._web else _open_stream(self._place))
        link = StompLink(stream, self._destination)
        try:
            await link.start(self._place)
        except BaseException:
            await link.close()
            raise
        return link


class StompLink:
    """One subscription."""

    def __init__(self, stream: Stream, destination: str) -> None:
        self._stream = stream
        self._destination = destination
        self._reader = FrameReader(MAX_MESSAGE)
        self._frames: deque[Frame] = deque()
        self._patience: float | None = CONNECT_TIMEOUT
        self._beating: asyncio.Task[None] | None = None

    async def start(self, place: BrokerUrl) -> None:
        """Introduce ourselves, agree on heart-beats, subscribe."""
        milliseconds = round(HEART_BEAT * 1000)
        headers = [
            ("accept-version", "1.2"),
            ("host", place.options.get("vhost", "/")),
            ("heart-beat", f"{milliseconds},{milliseconds}"),
        ]
        if place.username is not None:
            headers += [("login", place.username), ("passcode", place.password or "")]
        await self._stream.write(bytes(Frame("CONNECT", tuple(headers))))
        frame = await self._next_frame()
        if frame.command != "CONNECTED":
            raise ConnectionRefusedError(f"the broker refused: {_words(frame)}")
        sends, wants = _heart_beat(frame)
        # STOMP 1.2, heart-beating: the larger of what one can and the other wants; 0 is never.
        self._patience = 2 * max(HEART_BEAT, sends) if sends else None
        if wants:
            self._beating = asyncio.create_task(self._beat(max(HEART_BEAT, wants)))
        subscription = (("id", "0"), ("destination", self._destination), ("ack", "auto"))
        await self._stream.write(bytes(Frame("SUBSCRIBE", (*subscription, ("receipt", "0")))))
        early = []
        while (frame := await self._next_frame()).command != "RECEIPT":
            if frame.command == "ERROR":
                raise ConnectionRefusedError(f"the broker refused the topic: {_words(frame)}")
            early.append(frame)
        self._frames.extendleft(reversed(early))

    async def send(self, line: str) -> None:
        """Publish."""
        headers = (("destination", self._destination), ("content-type", "application/json"))
        await self._stream.write(bytes(Frame("SEND", headers, line.encode())))

    async def receive(self) -> bytes:
        """What somebody published, ourselves too."""
        while True:
            frame = await self._next_frame()
            if frame.command == "MESSAGE":
                return frame.body
            if frame.command == "ERROR":
                raise ConnectionAbortedError(f"the broker ended the connection: {_words(frame)}")

    async def close(self) -> None:
        """Leave; what was published is on its way."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait({self._beating})
            self._beating = None
        with contextlib.suppress(OSError):
            async with asyncio.timeout(1):
                await self._stream.write(bytes(Frame("DISCONNECT")))
        await self._stream.close()

    async def _next_frame(self) -> Frame:
        while not self._frames:
            async with asyncio.timeout(self._patience):
                data = await self._stream.read()
            try:
                self._frames += self._reader.feed(data)
            except DecodeError as error:
                raise ConnectionAbortedError(str(error)) from error
        return self._frames.popleft()

    async def _beat(self, seconds: float) -> None:
        # A broken connection is found by those who read.
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(seconds)
                await self._stream.write(b"\n")


def _heart_beat(frame: Frame) -> tuple[float, float]:
    """How often the broker sends, and wants to hear, in seconds; 0 is never."""
    text = frame.header("heart-beat") or "0,0"
    numbers = text.split(",")
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        return 0.0, 0.0
    return int(numbers[0]) / 1000, int(numbers[1]) / 1000


def _words(frame: Frame) -> str:
    text = frame.header("message") or frame.command
    detail = frame.body[:200].decode(errors="replace").strip()
    words = f"{text[:200]}: {detail}" if detail and detail != text else text[:200]
    return "".join(character if character.isprintable() else " " for character in words)


async def _open_stream(place: BrokerUrl) -> Stream:
    tls = place.tls("stomps")
    port = place.port or (PORT if tls is None else TLS_PORT)
    return SocketStream(*await asyncio.open_connection(place.host, port, ssl=tls))


class SocketStream:
    """TCP or TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Some bytes."""
        data = await self._reader.read(2**16)
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        return data

    async def write(self, data: bytes) -> None:
        """Waits while there is no room."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Let go."""
        self._writer.close()
        try:
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()
        except OSError:
            pass


async def _open_web(place: BrokerUrl) -> Stream:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException
    from websockets.typing import Subprotocol

    host = f"[{place.host}]" if ":" in place.host else place.host
    port = "" if place.port is None else f":{place.port}"
    url = f"{place.scheme.removeprefix('stomp+')}://{host}{port}/{place.path}"
    try:
        return WebStream(
            await connect(
                url,
                subprotocols=[Subprotocol("v12.stomp")],
                max_size=2 * MAX_MESSAGE,
                max_queue=16,
                # The broker's heart-beats say the same as pings.
                ping_interval=None,
                close_timeout=1,
                open_timeout=CONNECT_TIMEOUT,
            )
        )
    except WebSocketException as error:
        raise ConnectionRefusedError(f"no WebSocket: {error}") from error


class WebStream:
    """A WebSocket, whose messages are a stream of bytes for STOMP."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """Some bytes."""
        from websockets.exceptions import WebSocketException

        try:
            return await self._socket.recv(decode=False)
        except WebSocketException as error:
            raise ConnectionResetError(f"the broker closed the connection: {error}") from error

    async def write(self, data: bytes) -> None:
        """One frame, one message; waits while there is no room."""
        from websockets.exceptions import WebSocketException

        try:
            await self._socket.send(data, text=True)
        except WebSocketException as error:
            raise ConnectionResetError(f"the broker closed the connection: {error}") from error

    async def close(self) -> None:
        """Let go."""
        await self._socket.close()
