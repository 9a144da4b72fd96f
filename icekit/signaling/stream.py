"""``tcp://host:port`` and ``unix:/path``: two peers, one connection, one line for each message.

Who comes first listens, who comes second connects. aiortc's ``TcpSocketSignaling`` and ``UnixSocketSignaling`` do the
same, and speak JSON of their own. icekit's peers recognise each other by some white space before the first line,
which a reader of JSON does not see; everybody else is spoken to in the shape of the lines that come from there, and
in aiortc's when none has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from icekit.errors import ConfigError, SignalingError
from icekit.signaling.message import MAX_MESSAGE, Shape, decode, encode
from icekit.signaling.transport import Link, Traits

logger = logging.getLogger(__name__)

PREAMBLE = b" \t\t \t   "
"""What icekit sends first; JSON ignores it."""

PREAMBLE_WAIT = 1.0
"""How long the first line waits for the other side's preamble, in seconds."""

_ATTEMPTS = 5
_PAUSE = 0.05
_LOOK = 1.0

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Accept: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


def transport(url: str, *, name: str, token: str | None) -> StreamTransport:
    """``tcp://host:port`` (an IPv6 address in brackets) or ``unix:/path``."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if not path:
            raise ConfigError("unix: needs a path: unix:/tmp/call.sock")
        return StreamTransport(UnixAddress(Path(path)))
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"tcp URL, port: {error}") from None
    if not host or not port:
        raise ConfigError("tcp: needs a host and a port: tcp://127.0.0.1:1234")
    return StreamTransport(TcpAddress(host, port))


class TcpAddress:
    """A host and a port."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def connect(self) -> Streams:
        """OSError if nobody listens."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        if writer.get_extra_info("sockname") == writer.get_extra_info("peername"):
            # Linux connects a socket to itself when the port that it picks is the one asked for.
            writer.transport.abort()
            raise ConnectionRefusedError("nobody listens")
        return reader, writer

    async def listen(self, accept: Accept) -> asyncio.Server:
        """OSError if the port is taken, or the host is not this one."""
        return await asyncio.start_server(accept, self._host, self._port)

    def still_ours(self) -> bool:
        """Whether those who connect come to us."""
        return True

    def release(self) -> None:
        """We listen no more."""


class UnixAddress:
    """A path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode: int | None = None

    async def connect(self) -> Streams:
        """OSError if nobody listens."""
        return await asyncio.open_unix_connection(self._path)

    async def listen(self, accept: Accept) -> asyncio.Server:
        """OSError if the path cannot be. A socket that nobody listens on is replaced."""
        server = await asyncio.start_unix_server(accept, self._path)
        self._inode = self._path.stat().st_ino
        return server

    def still_ours(self) -> bool:
        """Whether those who connect come to us: two who come at the same moment replace each other's socket."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def release(self) -> None:
        """We listen no more. From Python 3.13 on asyncio has removed the socket."""
        if self.still_ours():
            self._path.unlink(missing_ok=True)


class StreamTransport:
    """Two peers on one address."""

    traits = Traits(pair=True)

    def __init__(self, address: TcpAddress | UnixAddress) -> None:
        self._address = address

    async def open(self) -> Link:
        """Connect, or listen if nobody does."""
        for attempt in range(_ATTEMPTS):
            try:
                return StreamLink(self._address, await self._address.connect())
            except OSError as failure:
                # Whoever is not at the address of the URL can only connect; that error says more than the other.
                not_there: OSError = failure
            try:
                link = StreamLink(self._address, None)
                await link.listen()
                return link
            except OSError:
                # The other side began to listen at the same moment.
                await asyncio.sleep(_PAUSE * attempt)
        raise not_there


class StreamLink:
    """One connection, or one that is waited for."""

    def __init__(self, address: TcpAddress | UnixAddress, streams: Streams | None) -> None:
        self._address = address
        self._server: asyncio.Server | None = None
        self._buffer = bytearray()
        self._begun = False
        # None is icekit's own, with envelope and acknowledgements.
        self._shape: Shape | None = Shape.AIORTC
        self._heard = False
        self._settled = asyncio.Event()
        self._connected: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()
        if streams is not None:
            self._accept(*streams)

    async def listen(self) -> None:
        """Wait for a peer in the background."""
        self._server = await self._address.listen(self._accept)

    async def send(self, line: str) -> None:
        """Waits for a peer, and until it takes the line."""
        _, writer = await self._streams()
        if not self._settled.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PREAMBLE_WAIT):
                    await self._settled.wait()
            self._settled.set()
        if self._shape is not None:
            try:
                line = encode(decode(line), self._shape)
            except SignalingError as error:
                logger.debug("! not sent: %s", error)
                return
        writer.write(line.encode() + b"\n")
        await writer.drain()

    async def receive(self) -> bytes | None:
        """The next line; None when a peer that is not icekit has closed the connection."""
        reader, _ = await self._streams()
        while True:
            self._begin()
            if self._begun:
                line, end, rest = self._buffer.partition(b"\n")
                if end:
                    self._buffer = rest
                    self._learn(line)
                    return bytes(line)
            if len(self._buffer) > MAX_MESSAGE:
                raise ConnectionError(f"a line of more than {MAX_MESSAGE} bytes")
            data = await reader.read(2**16)
            if not data:
                if self._shape is None or not self._heard:
                    # icekit says farewell first, and who says nothing at all was no peer.
                    raise ConnectionResetError("the other side closed the connection")
                return None
            self._buffer += data

    async def close(self) -> None:
        """Close the connection and stop to listen."""
        if self._server is not None:
            self._server.close()
            self._address.release()
            self._server = None
        if self._connected.done() and not self._connected.cancelled():
            _, writer = self._connected.result()
            writer.close()
            try:
                async with asyncio.timeout(_LOOK):
                    await writer.wait_closed()
            except TimeoutError:
                # Somebody who reads no more.
                writer.transport.abort()
            except OSError:
                pass
        else:
            self._connected.cancel()

    async def _streams(self) -> Streams:
        while not self._connected.done():
            await asyncio.wait({self._connected}, timeout=_LOOK)
            if not self._connected.done() and not self._address.still_ours():
                raise ConnectionResetError("somebody else listens there now")
        return self._connected.result()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connected.done():
            # Two are enough.
            writer.close()
            return
        writer.write(PREAMBLE)
        self._connected.set_result((reader, writer))

    def _begin(self) -> None:
        """Look for the preamble."""
        if self._begun or (len(self._buffer) < len(PREAMBLE) and PREAMBLE.startswith(self._buffer)):
            return
        self._begun = True
        if self._buffer.startswith(PREAMBLE):
            del self._buffer[: len(PREAMBLE)]
            self._shape = None
            self._heard = True
            self._settled.set()

    def _learn(self, line: bytearray) -> None:
        """The shape of what came is the shape of what goes."""
        if self._shape is None:
            return
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict) and any(
            isinstance(value.get(key), dict) for key in ("offer", "answer", "candidate")
        ):
            self._shape = Shape.DOCUMENT
        self._heard = True
        self._settled.set()
