"""STOMP against a broker of a few lines, for what a good one does not do; the contract runs over RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from icekit.errors import ConfigError, SignalingError
from icekit.signaling import connect, make_transport
from icekit.signaling.stomp_frames import Frame, FrameReader


@asynccontextmanager
async def broker(*answers: bytes) -> AsyncIterator[tuple[str, list[Frame]]]:
    """Answers each frame with the next of ``answers``, then closes; the URL, and what it was sent."""
    got: list[Frame] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(answers)
        frames = FrameReader(1000)
        while left and (data := await reader.read(1000)):
            for frame in frames.feed(data):
                got.append(frame)
                if left:
                    writer.write(left.pop(0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"stomp://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/room", got


CONNECTED = bytes(Frame("CONNECTED", (("version", "1.2"),)))


async def test_what_the_broker_refuses_is_said_without_secrets() -> None:
    refusal = bytes(Frame("ERROR", (("message", "Bad CONNECT"),), b"Access refused for user 'user'\n"))
    async with broker(refusal) as (url, got):
        with pytest.raises(SignalingError, match="the broker refused: Bad CONNECT: Access refused") as caught:
            async with connect(url):
                raise AssertionError
        assert "secret" not in str(caught.value)
        assert got[0].header("passcode") == "secret"
        assert got[0].header("heart-beat") == "10000,10000"


async def test_what_comes_before_the_receipt_is_not_lost() -> None:
    message = bytes(Frame("MESSAGE", (("subscription", "0"),), b'{"type":"bye"}'))
    async with broker(CONNECTED, message + bytes(Frame("RECEIPT", (("receipt-id", "0"),)))) as (url, got):
        link = await make_transport(url, name="a").open()
        assert await link.receive() == b'{"type":"bye"}'
        with pytest.raises(ConnectionResetError):
            await link.receive()
        await link.close()
        assert got[1].header("destination") == "/topic/room"


async def test_a_topic_that_is_refused() -> None:
    async with broker(CONNECTED, bytes(Frame("ERROR", (("message", "\x1b[31mno"),)))) as (url, _):
        with pytest.raises(ConnectionRefusedError, match=r"refused the topic:  \[31mno"):
            await make_transport(url, name="a").open()


async def test_garbage_from_the_broker_ends_the_connection() -> None:
    for answers in ((b"hello\n\n\0",), (CONNECTED, b"hello\n\n\0")):
        async with broker(*answers) as (url, _):
            with pytest.raises(ConnectionAbortedError, match="hello"):
                await make_transport(url, name="a").open()


@pytest.mark.parametrize(
    "url", ["stomp://host", "stomp+ws://host/ws", "stomp+ws://host/ws?topic=%23", "stomp+ws://host/ws?room=a"]
)
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError):
        connect(url)
