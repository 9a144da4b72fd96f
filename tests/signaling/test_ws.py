"""``ws://`` against the signaling server: the contract of all transports, and what only this one does."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import trustme
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.http11 import Request, Response

from icekit.errors import ConfigError, SignalingError
from icekit.signaling import Bye, Fault, Presence, connect, decode, encode, make_transport
from icekit.signaling.channel import Channel
from icekit.signaling.room_terms import RoomsConfig
from icekit.signaling.server import RunningSignaling, SignalingServerConfig, serve
from icekit.tokens import RoomGrant, make_token
from tests.signaling.contract import Place, RestartContract, RoomContract, meet

SECRET = "a secret for tests that has at least 32 bytes"


class Restartable:
    """A server on one port, which can be killed and started again."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self.running: RunningSignaling | None = None

    async def start(self) -> None:
        port = 0 if self.running is None else self.running.port
        self.running = await self._stack.enter_async_context(serve(SignalingServerConfig(), port=port))

    async def stop(self) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        await self.stop()
        await self.start()


class TestWs(RoomContract, RestartContract):
    @pytest.fixture
    async def place(self) -> AsyncIterator[Place]:
        server = Restartable()
        await server.start()
        running = server.running
        assert running is not None

        async def inject(room: str, data: bytes) -> None:
            async with connect_websocket(running.url(room)) as stranger:
                await stranger.send(data, text=True)

        yield Place(running.url, inject, server.restart)
        await server.stop()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ws:///room", "host is missing"),
        ("ws://h", "the room ''"),
        ("ws://h/a/b", "the room 'a/b'"),
        ("ws://h:x/r", "port must be a number"),
        ("ws://user:pw@h/r", "give a token"),
        ("ws://h/r?token=%0d%0aX-Evil:1", "look for a line end in it"),
    ],
)
def test_urls_that_cannot_be(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        connect(url)


def test_names_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="1 to 64 printable"):
        connect("ws://h/r", name=" ")


async def refusal(url: str, *, name: str = "alice", token: str | None = None) -> str:
    with pytest.raises(SignalingError) as refused:
        async with connect(url, name=name, token=token):
            pass
    return str(refused.value)


async def test_the_words_of_a_server_that_refuses() -> None:
    def refuse(status: int) -> Callable[[ServerConnection, Request], Response]:
        return lambda connection, _: connection.respond(status, "closed\x1b[2J today\nsecond line")

    async def nothing(connection: ServerConnection) -> None:
        await connection.close(1000)

    for status in (403, 503):
        async with serve_websockets(nothing, "127.0.0.1", 0, process_request=refuse(status)) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            text = await refusal(f"ws://127.0.0.1:{port}/r")
            assert f" {status} " in text
            assert text.endswith("closed\N{REPLACEMENT CHARACTER}[2J today")
    async with serve_websockets(nothing, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        assert "closed the connection" in await refusal(f"ws://127.0.0.1:{port}/r")
    assert "no connection" in await refusal(f"ws://127.0.0.1:{port}/r")


async def test_what_speaks_no_websocket() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop())
        writer.close()

    answers = [b"", b"220 mail.example.org ESMTP\r\n"]
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/r"
        assert "icekit serve prints the URL" in await refusal(url)
        assert "before it answered" in await refusal(url)


async def test_only_a_good_token_opens_the_room(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good = make_token(SECRET, RoomGrant(room="r", expires_at=time.time() + 60))
    late = make_token(SECRET, RoomGrant(room="r", expires_at=time.time() - 1))
    named = make_token(SECRET, RoomGrant(room="r", expires_at=time.time() + 60, name="bob"))
    async with serve(SignalingServerConfig(secrets=(SECRET,)), port=0) as running:
        url = running.url("r")
        async with connect(url, name="alice", token=good) as alice, connect(f"{url}?token={good}", name="bob") as bob:
            await meet(alice, bob)
            assert "alice" not in await refusal(url, name="carol")
        texts = [await refusal(f"{url}?token={late}"), await refusal(running.url("other"), token=good)]
        assert "expired" in texts[0]
        assert "does not open this room" in texts[1]
        assert "for the name 'bob'" in await refusal(url, token=named)
    for secret in (SECRET, good, late, named):
        assert secret not in caplog.text + "".join(texts)


async def test_a_refusal_in_the_middle_ends_the_channel_with_its_reason() -> None:
    async with serve(port=0) as running:
        link = await make_transport(running.url("r"), name="alice").open()
        await link.receive()
        await link.send("{")
        await link.receive()
        with pytest.raises(SignalingError, match="not JSON"):
            await link.receive()
        with pytest.raises(SignalingError, match="not JSON"):
            await link.send("{}")
        await link.close()


async def drain(channel: Channel) -> None:
    async with asyncio.timeout(20):
        async for _ in channel:
            pass


async def test_a_message_that_is_longer_than_the_server_takes_ends_the_channel() -> None:
    config = SignalingServerConfig(rooms=RoomsConfig(max_message=1000))
    async with serve(config, port=0) as running, connect(running.url("r"), name="alice") as alice:
        await alice.send(Bye(reason="x" * 2000))
        with pytest.raises(SignalingError, match="longer than it takes"):
            await drain(alice)


@pytest.mark.parametrize(("code", "comes_back"), [("slow", True), ("server-full", True), ("replaced", False)])
async def test_what_may_be_different_a_moment_later_is_tried_again(code: str, comes_back: bool) -> None:
    async def dismiss(connection: ServerConnection) -> None:
        await connection.send(encode(Presence(to="alice")))
        await connection.send(encode(Fault(code=code, text="why")))
        await connection.close(1008, code)

    async with serve_websockets(dismiss, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        link = await make_transport(f"ws://127.0.0.1:{port}/r", name="alice").open()
        assert [isinstance(decode(await link.receive() or ""), kind) for kind in (Presence, Fault)] == [True, True]
        with pytest.raises(ConnectionError if comes_back else SignalingError):
            await link.receive()
        await link.close()


def test_wss_refuses_a_certificate_of_nobody_known() -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        async with serve(port=0, ssl_context=context) as running:
            assert "certificate" in await refusal(running.url("r"))
            with authority.cert_pem.tempfile() as path, pytest.MonkeyPatch.context() as patch:
                patch.setenv("SSL_CERT_FILE", path)
                async with connect(running.url("r"), name="alice") as alice:
                    assert isinstance(await anext(alice), Presence)

    authority = trustme.CA()
    asyncio.run(main())
