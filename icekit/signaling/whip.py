"""``http://`` and ``https://``: WHIP (RFC 9725) and WHEP, an offer to a server that answers.

Request and response instead of a room: the offer is a POST, the answer is in its response, candidates and a restart are
PATCH, goodbye is DELETE. There is one peer, it never offers, and nothing is numbered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from icekit.errors import ConfigError, DecodeError, MissingExtra, SignalingError
from icekit.remote_candidates import RemoteCandidate
from icekit.sdp import MAX_SDP
from icekit.sdpfrag import CONTENT_TYPE, Fragment, apply_fragment, collect, read_fragment
from icekit.servers import IceServer
from icekit.signaling.message import Answer, Bye, Message, Offer, TrickledCandidate, decode, encode
from icekit.signaling.transport import Traits

if TYPE_CHECKING:
    import aiohttp
    from multidict import CIMultiDictProxy

logger = logging.getLogger(__name__)

REQUEST = 10.0
"""How long one request may take, in seconds."""

MAX_REDIRECTS = 5
"""Most redirects of one offer."""

MAX_SERVERS = 16
"""Most ICE servers that are taken from the ``Link`` headers of one answer."""

_BATCH = 0.02
_FAREWELL = 2.0
_ATTEMPTS = 3
_MAX_WAIT = 5

_HINTS = {
    400: "the server could not read the offer",
    401: "give the token that its owner has handed out (token=…, --token)",
    403: "this token may not use this endpoint",
    404: "there is no such endpoint: check the path of the URL",
    405: "this path is no WHIP or WHEP endpoint: check the path of the URL",
    406: "the server wants to offer itself, which is not supported",
    409: "somebody else is using this endpoint",
    413: "the offer is too long for the server",
    415: "this path is no WHIP or WHEP endpoint: check the path of the URL",
    503: "the server has no room now: try again later",
}

_link = re.compile(r'<([^<>]{1,512})>((?:\s*;\s*[A-Za-z-]{1,32}\s*=\s*(?:"[^"]{0,512}"|[^\s",;]{1,512}))*)')
_parameter = re.compile(r'([A-Za-z-]{1,32})\s*=\s*(?:"([^"]*)"|([^\s",;]+))')


def transport(url: str, *, name: str, token: str | None) -> WhipTransport:
    """MissingExtra without aiohttp; ConfigError for a URL without a host, or with a password in it."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise MissingExtra("signaling over HTTP (WHIP, WHEP)", "whip") from None
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError("signaling URL: write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
    if "@" in parts.netloc:
        raise ConfigError("signaling URL: WHIP has no user and password in the URL; give the token as token=…")
    if token is not None and (not token.isascii() or not token.isprintable()):
        raise ConfigError("signaling token: only printable ASCII characters can be sent over HTTP")
    return WhipTransport(url, token)


class WhipTransport:
    """An endpoint. ``ice_servers`` are those that the server offered in its answer (RFC 9725 §4.6)."""

    traits = Traits(resumes=False, pair=True)

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token
        self.ice_servers: tuple[IceServer, ...] = ()

    async def open(self) -> WhipLink:
        """Nothing is said before there is an offer."""
        return WhipLink(self, self._url, self._token)


class WhipLink:
    """One session at a server, from the offer to the goodbye."""

    def __init__(self, owner: WhipTransport, url: str, token: str | None) -> None:
        import aiohttp

        self._owner = owner
        self._url = url
        self._token = token
        self._client = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._arrived: asyncio.Queue[str | SignalingError | None] = asyncio.Queue()
        self._session: str | None = None
        self._etag: str | None = None
        self._offer = ""
        self._answer = ""
        self._description: Fragment | None = None
        self._pending: list[RemoteCandidate] = []
        self._sender: asyncio.Task[None] | None = None
        self._trickles = True
        # One PATCH after the other: the entity tag of the next is known when this one is answered.
        self._patching = asyncio.Lock()

    async def send(self, line: str) -> None:
        """Make the request for it. What WHIP has no request for is left out, with a line in the log."""
        match decode(line):
            case Offer(sdp=sdp) if self._session is None:
                await self._begin(sdp)
            case Offer(sdp=sdp) if sdp != self._offer:
                await self._restart(sdp)
            case TrickledCandidate() as found if self._trickles and self._session is not None:
                self._pending.append(
                    RemoteCandidate(found.candidate, found.sdp_mid, found.sdp_mline_index, found.username_fragment)
                )
                if self._sender is None or self._sender.done():
                    self._sender = asyncio.create_task(self._send_soon())
            case Bye():
                await self._end()
                self._arrived.put_nowait(None)
            case message:
                logger.debug("! WHIP has no request for %s now", type(message).__name__)

    async def receive(self) -> str | None:
        """An answer; None when the session has ended. SignalingError: what the server refused."""
        found = await self._arrived.get()
        if isinstance(found, SignalingError):
            raise found
        return found

    async def close(self) -> None:
        """End the session, and free everything."""
        try:
            if self._sender is not None:
                self._sender.cancel()
                await asyncio.wait({self._sender})
            await self._end()
        finally:
            await self._client.close()

    async def _begin(self, offer: str) -> None:
        """The POST (RFC 9725 §4.2)."""
        try:
            description = read_fragment(offer)
        except DecodeError as error:
            raise SignalingError(f"the offer cannot be sent over WHIP: {error}") from None
        url, token = self._url, self._token
        for _ in range(MAX_REDIRECTS + 1):
            status, headers, body = await self._request("POST", url, offer, "application/sdp", token)
            # RFC 9725 §4.5: 307, and 308 as well; the method must not change, which the others may do.
            if status not in (307, 308):
                break
            target = _resolve(url, headers.get("Location"), "redirect")
            if _origin(target) != _origin(url):
                # The token is for the server that it was given for.
                token = None
            url = target
        else:
            raise SignalingError(f"WHIP: the server redirected more than {MAX_REDIRECTS} times: check the URL")
        if status != 201:
            raise _refused("the offer", status)
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/sdp":
            raise SignalingError(f"WHIP: the answer has the content type {kind[:60]!r}, application/sdp is expected")
        # RFC 9725 §4.2: a 201 has a Location, the URL of the session.
        self._session = _resolve(url, headers.get("Location"), "session")
        if _origin(self._session) != _origin(url):
            token = None
        self._token = token
        self._etag = headers.get("ETag")
        self._owner.ice_servers = read_links(headers.getall("Link", []))
        self._offer, self._description = offer, description
        self._answer = body
        self._tell(Answer(sdp=body))

    async def _restart(self, offer: str) -> None:
        """The PATCH with new credentials (RFC 9725 §4.3.3)."""
        description = read_fragment(offer)
        assert self._description is not None
        if description.ufrag == self._description.ufrag:
            logger.warning("WHIP cannot change a session (RFC 9725 §4.4): the new offer was not sent")
            return
        async with self._patching:
            self._description, self._offer = description, offer
            fragment = Fragment(description.ufrag, description.pwd, description.mid, description.kind)
            # RFC 9725 §4.3.3: a restart is for whatever entity tag the session has.
            status, headers, body = await self._patch(fragment, "*")
            if status != 200:
                logger.warning("WHIP: the server did not restart ICE (HTTP %d); the path in use carries on", status)
                return
            self._etag = headers.get("ETag")
            try:
                self._answer = apply_fragment(self._answer, read_fragment(body))
            except DecodeError as error:
                raise SignalingError(f"WHIP: the answer to the restart cannot be read: {error}") from None
            self._tell(Answer(sdp=self._answer))

    async def _send_soon(self) -> None:
        try:
            while self._pending:
                await asyncio.sleep(_BATCH)
                async with self._patching:
                    await self._send_candidates()
        except SignalingError as error:
            self._arrived.put_nowait(error)

    async def _send_candidates(self) -> None:
        """The PATCH with what has appeared (RFC 9725 §4.3.2)."""
        batch, self._pending = self._pending, []
        assert self._description is not None
        fragment = collect(self._description, batch)
        if not fragment.candidates and not fragment.ended:
            return
        status, _, _ = await self._patch(fragment, self._etag)
        match status:
            case 200 | 204:
                pass
            case 404 | 410:
                self._session = None
                self._tell(Bye(reason="the server has ended the session"))
            case 405 | 415 | 422 | 501:
                # RFC 9725 §4.3: such a server takes none; our checks will tell it our addresses.
                self._trickles = False
                logger.info("WHIP: the server takes no more candidates (HTTP %d)", status)
            case 412 | 428:
                logger.info("WHIP: candidates of another generation were refused (HTTP %d)", status)
            case _:
                raise _refused("candidates", status)

    async def _patch(self, fragment: Fragment, match: str | None) -> tuple[int, CIMultiDictProxy[str], str]:
        assert self._session is not None
        return await self._request("PATCH", self._session, str(fragment), CONTENT_TYPE, self._token, match)

    async def _end(self) -> None:
        """The DELETE (RFC 9725 §4.2); that it arrives is not certain, and the peer finds out by ICE."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(SignalingError, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._request("DELETE", session, None, None, self._token)

    async def _request(
        self, method: str, url: str, body: str | None, kind: str | None, token: str | None, match: str | None = None
    ) -> tuple[int, CIMultiDictProxy[str], str]:
        """Status, headers and body; SignalingError if there is no server, or it never comes to an end."""
        import aiohttp

        headers = {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if kind is not None:
            headers["Content-Type"] = kind
        if match is not None:
            headers["If-Match"] = match
        for attempt in range(_ATTEMPTS):
            try:
                async with self._client.request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    logger.debug("> %s, < %d", method, response.status)
                    after = response.headers.get("Retry-After", "")
                    # RFC 9725 §4.5: a server with too much to do says when to come again.
                    if response.status == 503 and re.fullmatch("[0-9]", after) and attempt + 1 < _ATTEMPTS:
                        await asyncio.sleep(min(int(after), _MAX_WAIT))
                        continue
                    return response.status, response.headers, await _read(response)
            except TimeoutError:
                raise SignalingError(f"WHIP: no response to the {method} within {REQUEST:.0f} s") from None
            except (aiohttp.ClientError, ValueError) as error:
                # Its text may hold the URL, and that a key.
                reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
                raise SignalingError(f"WHIP: the {method} failed: {reason}: check host, port and scheme") from None
        raise AssertionError("the last attempt returns")

    def _tell(self, message: Message) -> None:
        self._arrived.put_nowait(encode(message))


def read_links(values: list[str]) -> tuple[IceServer, ...]:
    """The ICE servers in ``Link`` headers (RFC 9725 §4.6); what cannot be read is left out."""
    found: list[IceServer] = []
    for value in values[:MAX_SERVERS]:
        for url, rest in _link.findall(value[:8192]):
            parameters = {name.lower(): quoted or plain for name, quoted, plain in _parameter.findall(rest)}
            if parameters.get("rel", "").lower() != "ice-server" or len(found) >= MAX_SERVERS:
                continue
            try:
                found.append(
                    IceServer(urls=url, username=parameters.get("username"), credential=parameters.get("credential"))
                )
            except DecodeError as error:
                logger.debug("! Link header: %s", error)
    return tuple(found)


async def _read(response: aiohttp.ClientResponse) -> str:
    data = bytearray()
    async for chunk in response.content.iter_chunked(2**16):
        data += chunk
        if len(data) > MAX_SDP:
            raise SignalingError(f"WHIP: the response is longer than {MAX_SDP} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SignalingError("WHIP: the response is no UTF-8 text") from None


def _resolve(url: str, location: str | None, what: str) -> str:
    if location is None:
        raise SignalingError(f"WHIP: the server gave no Location for the {what}: it does not follow RFC 9725 §4.2")
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    # What began in private must not go on in the clear.
    if not fine or (parts.scheme == "http" and url.lower().startswith("https:")):
        raise SignalingError(f"WHIP: the Location of the {what} is no URL that may be used")
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _refused(what: str, status: int) -> SignalingError:
    hint = _HINTS.get(status, "ask whoever runs it" if status < 500 else "the server has failed: see its log")
    return SignalingError(f"WHIP: the server refused {what} with HTTP {status}: {hint}")
