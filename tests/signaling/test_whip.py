"""The client: against the server of ``whip_server``, and against servers that answer anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from icekit.errors import ConfigError, SignalingError
from icekit.sdp import MAX_SDP
from icekit.sdpfrag import CONTENT_TYPE, read_fragment
from icekit.signaling import Answer, Bye, Message, Offer, TrickledCandidate, connect
from icekit.signaling.whip import WhipTransport, read_links, transport

PWD = "P2uYro0UCOQ4zxjKXaWCBui1"
HOST = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def description(ufrag: str = "abcd") -> str:
    return (
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
        f"a=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{PWD}\r\na=setup:actpass\r\n"
    )


Respond = Callable[[web.Request, str], Awaitable[web.Response]]


@asynccontextmanager
async def served(respond: Respond) -> AsyncIterator[str]:
    """A server that we did not check: gives the URL of its endpoint."""

    async def read(request: web.Request) -> web.Response:
        return await respond(request, await request.text())

    application = web.Application(client_max_size=2 * MAX_SDP)
    application.router.add_route("*", "/{path:.*}", read)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/whip/stage"
    finally:
        await runner.cleanup()


def created(**headers: str) -> web.Response:
    return web.Response(
        status=201,
        body=description("srvr").encode(),
        headers={"Content-Type": "application/sdp", "Location": "/session/1", "ETag": '"1"', **headers},
    )


async def first(channel: object) -> Message:
    async with asyncio.timeout(10):
        return await anext(channel)  # type: ignore[call-overload, no-any-return]


async def test_the_requests_are_those_of_the_rfc() -> None:
    seen: list[tuple[str, str, str | None, str | None, str | None]] = []
    deleted, patched = asyncio.Event(), asyncio.Event()

    async def respond(request: web.Request, body: str) -> web.Response:
        headers = request.headers
        kind = headers.get("Content-Type")
        seen.append((request.method, request.path, kind, headers.get("Authorization"), headers.get("If-Match")))
        match request.method:
            case "POST":
                assert body == description()
                return created()
            case "PATCH":
                fragment = read_fragment(body)
                if fragment.ufrag == "newu":
                    answer = f"a=ice-ufrag:srv2\r\na=ice-pwd:{PWD}\r\n"
                    return web.Response(text=answer, headers={"Content-Type": CONTENT_TYPE, "ETag": '"2"'})
                assert fragment.ufrag == "abcd"
                if fragment.ended:
                    patched.set()
                return web.Response(status=204)
        deleted.set()
        return web.Response()

    async with served(respond) as url, connect(url, token="secret") as channel, asyncio.timeout(20):
        await channel.send(Offer(sdp=description()))
        assert await first(channel) == Answer(sdp=description("srvr"))
        await channel.send(TrickledCandidate(candidate=HOST, sdp_mid="0", username_fragment="abcd"))
        await channel.send(TrickledCandidate(candidate="", sdp_mid="0", username_fragment="abcd"))
        await patched.wait()
        await channel.send(Offer(sdp=description("newu")))
        assert await first(channel) == Answer(sdp=description("srv2"))
        await channel.send(Bye())
        await deleted.wait()
        assert [message async for message in channel] == []
    bearer = "Bearer secret"
    assert seen[0] == ("POST", "/whip/stage", "application/sdp", bearer, None)
    patches = [item for item in seen if item[0] == "PATCH"]
    # As many as there were batches, then the restart.
    assert set(patches[:-1]) == {("PATCH", "/session/1", CONTENT_TYPE, bearer, '"1"')}
    assert patches[-1] == ("PATCH", "/session/1", CONTENT_TYPE, bearer, "*")
    assert seen[-1] == ("DELETE", "/session/1", None, bearer, None)
    assert [item[0] for item in seen].count("DELETE") == 1


async def test_leaving_ends_the_session() -> None:
    methods: list[str] = []

    async def respond(request: web.Request, body: str) -> web.Response:
        methods.append(request.method)
        return created() if request.method == "POST" else web.Response()

    async with served(respond) as url:
        async with connect(url) as channel:
            await channel.send(Offer(sdp=description()))
            await first(channel)
        assert methods == ["POST", "DELETE"]


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_is_followed_and_the_token_stays_home(status: int) -> None:
    tokens: list[str | None] = []

    async def target(request: web.Request, body: str) -> web.Response:
        tokens.append(request.headers.get("Authorization"))
        return created() if request.method == "POST" else web.Response()

    async with served(target) as there:

        async def respond(request: web.Request, body: str) -> web.Response:
            tokens.append(request.headers.get("Authorization"))
            where = "/other" if request.path != "/other" else there
            return web.Response(status=status, headers={"Location": where})

        async with served(respond) as url, connect(url, token="secret") as channel:
            await channel.send(Offer(sdp=description()))
            assert isinstance(await first(channel), Answer)
    assert tokens == ["Bearer secret", "Bearer secret", None, None]


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (lambda: web.Response(status=401), "HTTP 401: give the token"),
        (lambda: web.Response(status=404), "HTTP 404: there is no such endpoint"),
        (lambda: web.Response(status=418), "HTTP 418: ask whoever"),
        (lambda: web.Response(status=502), "HTTP 502: the server has failed"),
        (lambda: web.Response(status=302, headers={"Location": "/"}), "HTTP 302"),
        (lambda: web.Response(status=307, headers={"Location": "/whip/stage"}), "more than 5 times"),
        (lambda: web.Response(status=307, headers={"Location": "file:///etc/passwd"}), "no URL that may be used"),
        (lambda: web.Response(status=307, headers={"Location": "http://[::"}), "no URL that may be used"),
        (lambda: web.Response(status=307), "no Location for the redirect"),
        (lambda: created(Location="ftp://host/"), "Location of the session"),
        (lambda: created(**{"Content-Type": "text/html"}), "'text/html'"),
        (lambda: web.Response(status=201, body=b"v=0", content_type="application/sdp"), "no Location for the session"),
        (lambda: web.Response(status=201, body=b"a" * (MAX_SDP + 1)), "longer than"),
        (lambda: web.Response(status=201, body=b"\xff", content_type="application/sdp"), "no UTF-8"),
    ],
)
async def test_what_a_server_may_refuse_or_get_wrong(response: Callable[[], web.Response], words: str) -> None:
    async def respond(request: web.Request, body: str) -> web.Response:
        return response()

    async with served(respond) as url, connect(f"{url}?key=hidden", token="secret") as channel:
        await channel.send(Offer(sdp=description()))
        with pytest.raises(SignalingError) as caught:
            await first(channel)
    assert words in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_nobody_listens() -> None:
    async def respond(request: web.Request, body: str) -> web.Response:
        return web.Response()

    async with served(respond) as url:
        pass
    async with connect(url) as channel:
        await channel.send(Offer(sdp=description()))
        with pytest.raises(SignalingError, match="the POST failed"):
            await first(channel)


@pytest.mark.parametrize(("status", "goes_on"), [(405, True), (422, True), (412, True), (404, False), (500, False)])
async def test_a_server_that_takes_no_candidates(status: int, goes_on: bool) -> None:
    patched = asyncio.Event()

    async def respond(request: web.Request, body: str) -> web.Response:
        if request.method == "POST":
            return created()
        patched.set()
        return web.Response(status=status)

    async with served(respond) as url, connect(url) as channel, asyncio.timeout(20):
        await channel.send(Offer(sdp=description()))
        await first(channel)
        await channel.send(TrickledCandidate(candidate=HOST, sdp_mid="0"))
        await patched.wait()
        if goes_on:
            await channel.send(Bye())
            assert [message async for message in channel] == []
        elif status == 404:
            assert isinstance(await first(channel), Bye)
        else:
            with pytest.raises(SignalingError, match="refused candidates with HTTP 500"):
                await first(channel)


async def test_a_busy_server_is_asked_again() -> None:
    asked: list[str] = []

    async def respond(request: web.Request, body: str) -> web.Response:
        asked.append(request.method)
        return web.Response(status=503, headers={"Retry-After": "0"}) if len(asked) < 3 else created()

    async with served(respond) as url, connect(url) as channel:
        await channel.send(Offer(sdp=description()))
        assert isinstance(await first(channel), Answer)


@pytest.mark.parametrize(
    "url", ["http:", "http:///whip", "https://user:pass@host/whip", "http://host:0/", "http://host:x/"]
)
def test_a_url_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError, match="signaling URL"):
        transport(url, name="a", token=None)


def test_a_token_that_cannot_be_a_header() -> None:
    with pytest.raises(ConfigError, match="token"):
        transport("http://host/", name="a", token="a\r\nX: y")
    assert isinstance(transport("http://host/", name="a", token="abc"), WhipTransport)


def test_ice_servers_in_link_headers() -> None:
    # The form of RFC 9725 §4.6.
    found = read_links(
        [
            '<stun:stun.example.net>; rel="ice-server"',
            '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="p,w;d"',
            '<stun:two.example.net>; rel="next", <turns:other.example.net>; rel=ice-server; x="y"',
            '<https://example.net/>; rel="next"',
            '<turn:>; rel="ice-server"',
            "nonsense",
        ]
    )
    assert [str(server.urls[0]) for server in found] == [
        "stun:stun.example.net",
        "turn:turn.example.net?transport=udp",
        "turns:other.example.net",
    ]
    assert (found[1].username, found[1].credential) == ("user", "p,w;d")
