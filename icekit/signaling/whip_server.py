"""A server for WHIP (RFC 9725) and WHEP: each offer becomes a channel that a handler answers.

A handler with a ``Call``, say::

    async def publish(channel: WhipChannel) -> None:
        async with Call(channel) as call:
            await call.ended()

    async with serve(publish, port=8081) as running:
        print(running.url("/whip/stage"))
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from icekit.errors import ConfigError, DecodeError, MissingExtra, SignalingError, TokenError
from icekit.remote_candidates import RemoteCandidate
from icekit.sdp import MAX_SDP
from icekit.sdpfrag import CONTENT_TYPE, Fragment, add_candidates, apply_fragment, collect, read_fragment
from icekit.servers import IceServer
from icekit.signaling.http import origin_allowed, require_origins
from icekit.signaling.message import Answer, Bye, Message, Offer, TrickledCandidate
from icekit.tokens import check_token, require_secret

if TYPE_CHECKING:
    from aiohttp import web

logger = logging.getLogger(__name__)

# The library would log a traceback for every stranger that speaks no HTTP.
_silent = logging.Logger("aiohttp", logging.CRITICAL + 1)

_INBOX = 512
_BODY = 10.0
_METHODS = "POST, PATCH, DELETE, OPTIONS"
_EXPOSED = "Location, ETag, Link, Accept-Patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class WhipServerConfig:
    """What the server allows.

    ``secrets``: any of them signs tokens, whose room is the path behind ``/whip/`` or ``/whep/``; without one everybody
    may come. ``origins``: web pages that may, besides those of this server; ``*`` for all. ``ice_servers`` are offered
    to clients. ``answer`` and ``gather`` in seconds: how long a handler may take to answer, and how long an answer
    waits for its candidates, for they cannot follow later.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    ice_servers: tuple[IceServer, ...] = ()
    max_sessions: int = 100
    answer: float = 10.0
    gather: float = 5.0

    def __post_init__(self) -> None:
        for secret in self.secrets:
            require_secret(secret)
        object.__setattr__(self, "origins", require_origins(self.origins))


class WhipChannel:
    """A session, as a call sees it. ``room`` is the name in the path, ``egress`` whether it came by WHEP.

    What is sent beside an answer, its candidates and a ``Bye`` goes nowhere: there is no request to put it in.
    """

    def __init__(self, room: str, offer: str, *, egress: bool, gather: float) -> None:
        self.name = secrets.token_hex(4)
        self.room = room
        self.egress = egress
        self.etag = ""
        self._gather = gather
        self._offer = offer
        self._client = read_fragment(offer)
        self._inbox: deque[Message] = deque([Offer(sdp=offer)])
        self._changed = asyncio.Event()
        self._answer: str | None = None
        self._answered: float | None = None
        self._told: list[RemoteCandidate] = []
        self.ended = False

    async def send(self, message: Message) -> None:
        """Take it for the response that waits; SignalingError when the session has ended."""
        if self.ended:
            raise SignalingError("this WHIP session has ended")
        match message:
            case Answer(sdp=sdp):
                self._answer = sdp
                self._answered = asyncio.get_running_loop().time()
            case TrickledCandidate() as found if len(self._told) < _INBOX:
                self._told.append(
                    RemoteCandidate(found.candidate, found.sdp_mid, found.sdp_mline_index, found.username_fragment)
                )
            case Bye():
                self.end(None)
            case _:
                logger.debug("! a WHIP server cannot send %s", type(message).__name__)
        self._changed.set()

    def __aiter__(self) -> WhipChannel:
        return self

    async def __anext__(self) -> Message:
        while not self._inbox:
            if self.ended:
                raise StopAsyncIteration
            await self._wait(None)
        return self._inbox.popleft()

    # What the server does.

    @property
    def ufrag(self) -> str:
        """The client's user name fragment of this generation."""
        return self._client.ufrag

    def end(self, reason: str | None) -> None:
        """It is over; with a ``reason`` because the client said so."""
        if not self.ended and reason is not None:
            self._inbox.append(Bye(reason=reason))
        self.ended = True
        self._changed.set()

    def trickle(self, fragment: Fragment) -> None:
        """Candidates of the client."""
        items = [(mid, str(candidate)) for mid, candidate in fragment.candidates]
        items += [(fragment.mid, "")] * fragment.ended
        for mid, line in items[: _INBOX - len(self._inbox)]:
            self._inbox.append(TrickledCandidate(candidate=line, sdp_mid=mid, username_fragment=fragment.ufrag))
        self._changed.set()

    def restart(self, fragment: Fragment) -> None:
        """The client has new credentials: for the call that is a new offer."""
        self._offer = apply_fragment(self._offer, fragment)
        self._client = fragment
        self._answer = self._answered = None
        self._told.clear()
        self._inbox.append(Offer(sdp=self._offer))
        self._changed.set()

    async def answer(self, seconds: float) -> str | None:
        """The answer with its candidates; None if there is none within ``seconds``, or the session ends before."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.ended and loop.time() < end:
            if self._answer is not None and self._answered is not None:
                gathered = read_fragment(self._answer).ended or any(item.is_end for item in self._told)
                if gathered or loop.time() >= self._answered + self._gather:
                    return self._with_candidates(self._answer)
                await self._wait(min(end, self._answered + self._gather))
            else:
                await self._wait(end)
        return None

    def _with_candidates(self, answer: str) -> str:
        return add_candidates(answer, collect(read_fragment(answer), self._told))

    async def _wait(self, until: float | None) -> None:
        # Two may wait: the handler for messages, the request for an answer.
        self._changed = asyncio.Event() if self._changed.is_set() else self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._changed.wait()


Handler = Callable[[WhipChannel], Awaitable[None]]
"""Answers one session; when it returns, the session is over."""


@dataclass(frozen=True, slots=True)
class RunningWhip:
    """What ``serve`` opened."""

    host: str
    port: int
    secure: bool
    sessions: dict[str, WhipChannel] = field(repr=False)

    def url(self, path: str) -> str:
        """The URL of a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{path}"


@asynccontextmanager
async def serve(
    handler: Handler,
    config: WhipServerConfig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8081,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[RunningWhip]:
    """Serve ``/whip/ROOM`` and ``/whep/ROOM`` until the block ends. A port of 0 is any free one.

    MissingExtra without aiohttp; ConfigError when the port cannot be listened on.
    """
    try:
        from aiohttp import web
    except ImportError:
        raise MissingExtra("a WHIP server", "whip") from None
    service = _Service(handler, config or WhipServerConfig())
    application = web.Application(client_max_size=MAX_SDP)
    for path in ("/{kind:whip|whep}/{room}", "/{kind:whip|whep}/{room}/{session}"):
        application.router.add_route("*", path, service.respond)
    # Who has gone waits for nothing; aiohttp would also go on to wait for the rest of its body, past our own end.
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, logger=_silent)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, host, port, ssl_context=ssl_context)
            await site.start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}; choose another port") from error
        yield RunningWhip(host, runner.addresses[0][1], ssl_context is not None, service.sessions)
    finally:
        await service.close()
        await runner.cleanup()


class _Refusal(Exception):
    """A status that is not a success, and a sentence for people."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}


class _Service:
    def __init__(self, handler: Handler, config: WhipServerConfig) -> None:
        self.config = config
        self.sessions: dict[str, WhipChannel] = {}
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._links = tuple(_written(url, server) for server in config.ice_servers for url in map(str, server.urls))

    async def respond(self, request: web.Request) -> web.Response:
        from aiohttp import web

        origin = request.headers.get("Origin")
        try:
            if not origin_allowed(origin, request.headers.get("Host"), self.config.origins):
                raise _Refusal(403, "pages of this origin may not use this server; add it to origins")
            response = await self._do(request)
        except _Refusal as refusal:
            response = web.Response(status=refusal.status, text=f"{refusal}\n", headers=refusal.headers)
            if refusal.status == 403:
                return response
        except Exception:
            logger.exception("a WHIP request failed")
            response = web.Response(status=500, text="this request failed; the log of the server says why\n")
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
            response.headers["Vary"] = "Origin"
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _do(self, request: web.Request) -> web.Response:
        from aiohttp import web

        room, key = request.match_info["room"], request.match_info.get("session")
        if request.method == "OPTIONS":
            # RFC 9725 §4.2: which type a POST takes; §4.7: a preflight has no token, and is not asked for one.
            headers = {
                "Accept-Post": "application/sdp",
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
                "Access-Control-Max-Age": "600",
            }
            return web.Response(status=204, headers=headers)
        self._check_token(request, room)
        if key is None:
            if request.method != "POST":
                raise _Refusal(405, "an offer is sent with POST", {"Allow": "POST, OPTIONS"})
            return await self._begin(request, room)
        channel = self.sessions.get(key)
        if channel is None or channel.room != room:
            raise _Refusal(404, "there is no such session, or it has ended")
        match request.method:
            case "PATCH":
                return await self._patch(request, channel)
            case "DELETE":
                channel.end("the client has ended the session")
                self.sessions.pop(key, None)
                return web.Response(status=200)
        raise _Refusal(405, "a session takes PATCH and DELETE", {"Allow": "PATCH, DELETE, OPTIONS"})

    def _check_token(self, request: web.Request, room: str) -> None:
        if not self.config.secrets:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise TokenError("this endpoint wants a token: Authorization: Bearer …")
            check_token(token.strip(), self.config.secrets, room, time.time())
        except TokenError as error:
            raise _Refusal(401, str(error), {"WWW-Authenticate": "Bearer"}) from None

    async def _begin(self, request: web.Request, room: str) -> web.Response:
        from aiohttp import web

        offer = await _body(request, "application/sdp")
        if len(self.sessions) >= self.config.max_sessions:
            raise _Refusal(503, "there are as many sessions as there may be; try again later", {"Retry-After": "5"})
        egress = request.match_info["kind"] == "whep"
        try:
            channel = WhipChannel(room, offer, egress=egress, gather=self.config.gather)
        except DecodeError as error:
            raise _Refusal(400, str(error)) from None
        if not offer.startswith("v=0") or "\nm=" not in offer:
            raise _Refusal(400, "the offer is no session description with a media section")
        key = secrets.token_urlsafe(16)
        channel.etag = _new_etag()
        self.sessions[key] = channel
        task = asyncio.create_task(self._handle(key, channel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            answer = await self._answer(channel)
        except asyncio.CancelledError:
            # Nobody else will ever know the address of this session.
            channel.end("the client went before its answer")
            raise
        headers = {
            "Location": f"/{request.match_info['kind']}/{quote(room, safe='')}/{key}",
            "ETag": channel.etag,
            "Accept-Patch": CONTENT_TYPE,
        }
        response = web.Response(status=201, body=answer.encode(), content_type="application/sdp", headers=headers)
        for link in self._links:
            response.headers.add("Link", link)
        return response

    async def _handle(self, key: str, channel: WhipChannel) -> None:
        try:
            await self._handler(channel)
        except Exception:
            # A handler is somebody else's, and the others' sessions go on.
            logger.exception("the handler of a WHIP session failed")
        finally:
            channel.end(None)
            self.sessions.pop(key, None)

    async def _answer(self, channel: WhipChannel) -> str:
        try:
            answer = await channel.answer(self.config.answer)
        except DecodeError:
            logger.exception("the answer of a WHIP session cannot be used")
            answer = None
        if answer is None:
            channel.end("no answer was made in time")
            raise _Refusal(500, "no answer was made to this offer; see the log of the server")
        return answer

    async def _patch(self, request: web.Request, channel: WhipChannel) -> web.Response:
        from aiohttp import web

        match = request.headers.get("If-Match")
        text = await _body(request, CONTENT_TYPE)
        try:
            fragment = read_fragment(text)
        except DecodeError as error:
            raise _Refusal(400, str(error)) from None
        # RFC 9725 §4.3.1: a session with entity tags wants one in each PATCH (428), and the right one (412).
        if match is None:
            raise _Refusal(428, "a PATCH wants If-Match: the ETag of the session, or * for a restart of ICE")
        if match not in ("*", channel.etag):
            raise _Refusal(412, "the If-Match is not the ETag of this session")
        if fragment.ufrag == channel.ufrag:
            channel.trickle(fragment)
            return web.Response(status=204)
        if match != "*":
            raise _Refusal(412, "a restart of ICE wants If-Match: *")
        channel.restart(fragment)
        answer = read_fragment(await self._answer(channel))
        channel.etag = _new_etag()
        return web.Response(
            status=200, body=str(answer).encode(), content_type=CONTENT_TYPE, headers={"ETag": channel.etag}
        )

    async def close(self) -> None:
        for channel in self.sessions.values():
            channel.end("the server is closing")
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=2.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _body(request: web.Request, kind: str) -> str:
    from aiohttp import web

    if request.content_type != kind:
        raise _Refusal(415, f"the body has to be {kind}")
    try:
        async with asyncio.timeout(_BODY):
            return (await request.read()).decode()
    except TimeoutError:
        raise _Refusal(408, f"the body has to arrive within {_BODY:.0f} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise _Refusal(413, f"the body may have at most {MAX_SDP} bytes") from None
    except web.RequestPayloadError:
        raise _Refusal(400, "the body is not what its Content-Encoding or Transfer-Encoding says") from None
    except UnicodeDecodeError:
        raise _Refusal(400, "the body is no UTF-8 text") from None


def _new_etag() -> str:
    # RFC 9725 §4.3.1: a strong entity tag for each generation of ICE.
    return f'"{secrets.token_urlsafe(8)}"'


def _written(url: str, server: IceServer) -> str:
    link = f'<{url}>; rel="ice-server"'
    if server.username is not None and server.credential is not None:
        link += f'; username="{server.username}"; credential="{server.credential}"; credential-type="password"'
    return link
