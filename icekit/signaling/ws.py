"""``ws://HOST[:PORT]/ROOM`` and ``wss://``: a room of the signaling server (``server.py``).

The token is the argument, or ``?token=…`` in the URL; it is sent as a header, so that no proxy logs it. ``wss://``
trusts the certificates that OpenSSL trusts (``SSL_CERT_FILE`` names others).
"""

from __future__ import annotations

import logging
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import CloseCode

from icekit.errors import ConfigError, DecodeError, SignalingError
from icekit.signaling.message import MAX_MESSAGE, Fault, decode
from icekit.signaling.room_terms import ROOM_NAME, FaultCode, is_member_name
from icekit.signaling.transport import Traits

# The library would log the token.
_silent = logging.Logger("websockets", logging.CRITICAL + 1)

# What may be different a moment later; everything else stays as it is.
_TRANSIENT = {FaultCode.SERVER_FULL, FaultCode.SLOW}

_CLOSE_SECONDS = 2.0
_PING_SECONDS = 20.0


def transport(url: str, *, name: str, token: str | None) -> WsTransport:
    """A member ``name`` of a room; ConfigError names the part of the URL that is wrong."""
    parts = urlsplit(url)
    try:
        parts.port  # noqa: B018 - it is checked when it is read
    except ValueError:
        raise ConfigError("ws URL: the port must be a number from 0 to 65535") from None
    if not parts.hostname:
        raise ConfigError("ws URL: the host is missing; write ws://HOST[:PORT]/ROOM")
    if parts.username is not None:
        raise ConfigError("ws URL: no user and password here; give a token")
    room = parts.path.removeprefix("/")
    if not ROOM_NAME.fullmatch(room):
        raise ConfigError(f"ws URL: the room {room[:80]!r} must have 1 to 64 letters, digits, - or _: ws://HOST/ROOM")
    if not is_member_name(name):
        raise ConfigError("a name has 1 to 64 printable characters, no space around")
    given = parse_qs(parts.query).get("token")
    if given and token is None:
        token = given[0]
    if token is not None and not (token.isascii() and token.isprintable()):
        raise ConfigError("the token has characters that no token has; look for a line end in it")
    return WsTransport(f"{parts.scheme}://{parts.netloc}/{room}", name, token)


class WsTransport:
    """The same member over all its connections."""

    traits = Traits(presence=True)

    def __init__(self, url: str, name: str, token: str | None) -> None:
        query = urlencode({"name": name, "session": secrets.token_urlsafe(24)})
        self._url = f"{url}?{query}"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def open(self) -> WsLink:
        """Join. SignalingError when the server refuses, with its words."""
        try:
            connection = await connect(
                self._url,
                additional_headers=self._headers,
                compression=None,
                max_size=MAX_MESSAGE,
                max_queue=4,
                open_timeout=None,
                close_timeout=_CLOSE_SECONDS,
                ping_interval=_PING_SECONDS,
                ping_timeout=_PING_SECONDS,
                logger=_silent,
            )
        except InvalidStatus as error:
            answer = error.response
            words = bytes(answer.body)[:200].decode(errors="replace").partition("\n")[0]
            text = f"the server answers {answer.status_code} {answer.reason_phrase}: {_printable(words)}"
            if answer.status_code >= 500:
                raise ConnectionError(text) from None
            raise SignalingError(text) from None
        except InvalidURI as error:
            raise ConfigError(f"ws URL: {error.msg}") from None
        except InvalidHandshake as error:
            if isinstance(error.__cause__, EOFError):
                raise ConnectionError(
                    "the server closed the connection before it answered; if its port speaks TLS, write wss: for ws:"
                ) from None
            raise SignalingError(
                f"this is no WebSocket server ({error}); icekit serve prints the URL of its rooms as signaling"
            ) from None
        link = WsLink(connection)
        try:
            await link.joined()
        except BaseException:
            await link.close()
            raise
        return link


class WsLink:
    """One connection to the room."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._first: bytes | None = None
        self._last = b""

    async def joined(self) -> None:
        """Returns when the server has let us in; the line that says so is the first to be received."""
        first = await self.receive()
        if isinstance(_read(first), Fault):
            # The server closes after it, and receive tells why.
            await self.receive()
        self._first = first

    async def send(self, line: str) -> None:
        """Waits while the server takes no more."""
        try:
            await self._connection.send(line)
        except ConnectionClosed as closed:
            raise self._reason(closed) from None

    async def receive(self) -> bytes:
        """The next line of the room."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            line = await self._connection.recv(decode=False)
        except ConnectionClosed as closed:
            raise self._reason(closed) from None
        assert isinstance(line, bytes)
        self._last = line
        return line

    async def close(self) -> None:
        """Leave the room, or cut the connection when the server does not answer."""
        await self._connection.close()

    def _reason(self, closed: ConnectionClosed) -> Exception:
        """SignalingError where coming back would end the same way."""
        code = None if closed.rcvd is None else closed.rcvd.code
        fault = _read(self._last)
        if code == CloseCode.POLICY_VIOLATION and isinstance(fault, Fault) and fault.code not in _TRANSIENT:
            return SignalingError(f"the server closed the connection: {_printable(fault.text)}")
        if code == CloseCode.MESSAGE_TOO_BIG:
            return SignalingError("the server closed the connection: a message was longer than it takes")
        return ConnectionError("the server closed the connection" if closed.rcvd else "the connection was lost")


def _printable(text: str) -> str:
    """What the server says must not steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _read(line: bytes) -> object:
    try:
        return decode(line)
    except DecodeError:
        return None
