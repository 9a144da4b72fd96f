"""``nats://`` and ``nats+tls://``: a subject of NATS (``nats://user:password@host/ROOM``).

A NATS server takes a megabyte at once. A longer message is sent in parts, which carry ``Icekit-Part: id number count``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

from icekit.errors import ConfigError, MissingExtra
from icekit.signaling.broker import CONNECT_TIMEOUT, BrokerUrl, certificate_error
from icekit.signaling.message import MAX_MESSAGE
from icekit.signaling.transport import Traits

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

PORT = 4222

HEADER = "Icekit-Part"

HEADROOM = 512
"""What the headers of a part may take of a server's limit, in bytes."""

MAX_PARTS = 256
"""Most parts of one message."""

MAX_UNFINISHED = 8
"""Most messages of which only some parts have come."""

QUEUE = 16
"""Most messages that the channel has not taken yet."""

PENDING = 2**24
"""Most bytes that wait to be read; more are lost, and asked for again."""

_is_part = re.compile(r"([0-9A-Za-z.-]{1,64}) ([0-9]{1,3}) ([0-9]{1,3})").fullmatch


def transport(url: str, *, name: str, token: str | None) -> NatsTransport:
    """MissingExtra without nats-py. A slash in the room becomes a dot."""
    try:
        import nats  # noqa: F401
    except ImportError:
        raise MissingExtra("signaling over NATS", "nats") from None
    place = BrokerUrl.parse(url)
    if place.username is not None and place.password is None:
        raise ConfigError("nats URL, password: found nothing, allowed: nats://user:password@host/ROOM")
    return NatsTransport(place, place.room().replace("/", "."), token)


class NatsTransport:
    """A subject."""

    traits = Traits()

    def __init__(self, place: BrokerUrl, subject: str, token: str | None) -> None:
        self._place = place
        self._subject = subject
        self._token = token

    async def open(self) -> NatsLink:
        """Connect and subscribe."""
        from nats.aio.client import Client
        from nats.errors import Error

        client = Client()
        link = NatsLink(client, self._subject)
        host = f"[{self._place.host}]" if ":" in self._place.host else self._place.host
        tls = self._place.tls("nats+tls")
        try:
            await client.connect(
                f"{'nats' if tls is None else 'tls'}://{host}:{self._place.port or PORT}",
                user=self._place.username,
                password=self._place.password,
                token=self._token,
                tls=tls,
                no_echo=True,
                # The channel does that, and knows when messages are missing.
                allow_reconnect=False,
                # With 0 it would try for ever. It pauses before the second attempt, which must not be long.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=round(CONNECT_TIMEOUT),
                error_cb=link.failed,
                disconnected_cb=link.lost,
                closed_cb=link.lost,
            )
            await link.subscribe()
        except (Error, TimeoutError) as error:
            await link.close()
            # That no server is left says nothing; the library has reported why.
            failure = link.failure or error
            raise certificate_error(failure) or ConnectionRefusedError(f"NATS refused: {failure}") from error
        except OSError:
            await link.close()
            raise
        return link


class NatsLink:
    """One subscription."""

    def __init__(self, client: Client, subject: str) -> None:
        self.reason = "the connection is lost"
        self.failure: Exception | None = None
        self._client = client
        self._subject = subject
        self._messages: asyncio.Queue[Msg | None] = asyncio.Queue(QUEUE)
        self._parts = Parts()
        self._id = secrets.token_hex(4)
        self._numbers = itertools.count()

    async def failed(self, error: Exception) -> None:
        """The library reports."""
        self.failure = error
        self.reason = str(error) or type(error).__name__

    async def lost(self) -> None:
        """The library reports that the connection is gone: what has come is of no use without the rest."""
        while self._messages.full():
            self._messages.get_nowait()
        self._messages.put_nowait(None)

    async def subscribe(self) -> None:
        """Returns when the server knows."""
        await self._client.subscribe(self._subject, cb=self._messages.put, pending_bytes_limit=PENDING)
        await self._client.flush(round(CONNECT_TIMEOUT))

    async def send(self, line: str) -> None:
        """Publish; returns when the server has it."""
        from nats.errors import Error

        data = line.encode()
        size = self._client.max_payload - HEADROOM
        try:
            if len(data) <= self._client.max_payload:
                await self._client.publish(self._subject, data)
            else:
                parts = [data[start : start + size] for start in range(0, len(data), size)]
                name = f"{self._id}-{next(self._numbers)}"
                for number, part in enumerate(parts):
                    headers = {HEADER: f"{name} {number} {len(parts)}"}
                    await self._client.publish(self._subject, part, headers=headers)
            await self._client.flush(round(CONNECT_TIMEOUT))
        except Error as error:
            raise ConnectionResetError(f"{self.reason}: {error}") from error

    async def receive(self) -> bytes:
        """What somebody else published."""
        while (message := await self._messages.get()) is not None:
            part = message.headers.get(HEADER) if message.headers else None
            line = message.data if part is None else self._parts.add(part, message.data)
            if line is not None:
                return line
        raise ConnectionResetError(self.reason)

    async def close(self) -> None:
        """Leave."""
        from nats.errors import Error

        # Where TLS could not be begun, the library waits for the end of a connection that has ended.
        with contextlib.suppress(Error, OSError):
            async with asyncio.timeout(1 if self._client.is_connected else 0.1):
                await self._client.close()
        # Where closing fails in the middle (a broken pipe), the library leaves the tasks of its subscriptions behind.
        for subscription in self._client._subs.values():  # noqa: SLF001
            subscription._stop_processing()  # noqa: SLF001


class Parts:
    """Puts long messages together."""

    def __init__(self) -> None:
        self._unfinished: OrderedDict[str, list[bytes]] = OrderedDict()

    def add(self, header: str, data: bytes) -> bytes | None:
        """The whole message with its last part. What does not fit is dropped: the channel asks for it again."""
        match = _is_part(header)
        if match is None:
            return None
        name, number, count = match[1], int(match[2]), int(match[3])
        parts = self._unfinished.setdefault(name, [])
        # One connection carries the parts, so they come in order.
        if number != len(parts) or not number < count <= MAX_PARTS or sum(map(len, parts)) + len(data) > MAX_MESSAGE:
            del self._unfinished[name]
            return None
        parts.append(data)
        if len(parts) == count:
            return b"".join(self._unfinished.pop(name))
        while len(self._unfinished) > MAX_UNFINISHED:
            self._unfinished.popitem(last=False)
        return None
