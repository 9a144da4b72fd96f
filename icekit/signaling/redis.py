"""``redis://`` and ``rediss://``: a channel of Redis (``redis://user:password@host/ROOM``)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from icekit.errors import MissingExtra
from icekit.signaling.broker import CONNECT_TIMEOUT, BrokerUrl, certificate_error
from icekit.signaling.transport import Traits

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

PORT = 6379


def transport(url: str, *, name: str, token: str | None) -> RedisTransport:
    """MissingExtra without redis."""
    try:
        import redis.asyncio  # noqa: F401
    except ImportError:
        raise MissingExtra("signaling over Redis", "redis") from None
    place = BrokerUrl.parse(url)
    return RedisTransport(place, place.room())


class RedisTransport:
    """A channel of Redis."""

    traits = Traits()

    def __init__(self, place: BrokerUrl, channel: str) -> None:
        self._place = place
        self._channel = channel

    async def open(self) -> RedisLink:
        """Connect and subscribe."""
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        client = Redis(
            host=self._place.host,
            port=self._place.port or PORT,
            username=self._place.username,
            password=self._place.password,
            ssl=self._place.scheme == "rediss",
            # Older releases take any name.
            ssl_check_hostname=True,
            socket_connect_timeout=CONNECT_TIMEOUT,
            # It would subscribe anew by itself, and nobody would know that messages are missing.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        link = RedisLink(client, pubsub, self._channel)
        try:
            await pubsub.subscribe(self._channel)
        except RedisError as error:
            await link.close()
            raise certificate_error(error) or ConnectionRefusedError(f"Redis refused: {error}") from error
        return link


class RedisLink:
    """One subscription."""

    def __init__(self, client: Redis, pubsub: PubSub, channel: str) -> None:
        self._client = client
        self._pubsub = pubsub
        self._channel = channel

    async def send(self, line: str) -> None:
        """Publish; returns when Redis has it."""
        from redis.exceptions import RedisError

        try:
            await self._client.publish(self._channel, line)
        except RedisError as error:
            raise ConnectionResetError(str(error)) from error

    async def receive(self) -> bytes:
        """What somebody published, ourselves too."""
        from redis.exceptions import RedisError

        try:
            while True:
                message: dict[str, Any] | None = await self._pubsub.get_message(timeout=None)
                if message is not None and message["type"] == "message":
                    data: bytes = message["data"]
                    return data
        except RedisError as error:
            raise ConnectionResetError(str(error)) from error

    async def close(self) -> None:
        """Leave."""
        from redis.exceptions import RedisError

        with contextlib.suppress(RedisError, OSError):
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        with contextlib.suppress(RedisError, OSError):
            await self._client.aclose()
