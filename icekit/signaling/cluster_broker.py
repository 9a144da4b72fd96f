"""The broker between several servers of the same rooms: Redis or NATS, and what keeps the connection to it.

``redis://[USER:PASSWORD@]HOST[:PORT]`` (``rediss://`` over TLS) or ``nats://…`` (``tls://``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from icekit.errors import ConfigError, MissingExtra, SignalingError
from icekit.signaling import without_secrets
from icekit.signaling.broker import certificate_error, reason
from icekit.signaling.cluster import BEAT, Cluster, Operation, Publish, Subscribe, Unsubscribe

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""How long a connection to the broker, or an answer of it, may take."""

MAX_PENDING = 10_000
"""Most operations that wait for the broker; then the oldest messages are given up."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

T = TypeVar("T")

OnMessage = Callable[[str, bytes], None]


class Broker(Protocol):
    """One connection. Everything raises OSError when it is broken."""

    async def open(self, on_message: OnMessage) -> int | None:
        """Connect; gives the most bytes that one message may have, if there is a bound."""

    async def subscribe(self, channel: str) -> None:
        """Returns when messages of this channel arrive."""

    async def unsubscribe(self, channel: str) -> None:
        """The channel is of no more interest."""

    async def publish(self, messages: Sequence[Publish]) -> None:
        """Hand over to all readers, in this order."""

    async def lost(self) -> None:
        """Returns when the connection is gone."""

    async def close(self) -> None:
        """Free everything; never raises."""


def make_broker(url: str) -> Callable[[], Broker]:
    """Makes connections to the broker at ``url``; ConfigError, or MissingExtra without its library."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme if parts.hostname and parts.port != 0 else ""
    except ValueError:
        scheme = ""
    if scheme in {"redis", "rediss"}:
        try:
            import redis.asyncio  # noqa: F401
        except ImportError:
            raise MissingExtra("a Redis broker", "redis") from None
        return lambda: RedisBroker(url)
    if scheme in {"nats", "tls"}:
        try:
            import nats  # noqa: F401
        except ImportError:
            raise MissingExtra("a NATS broker", "nats") from None
        return lambda: NatsBroker(url)
    # What was given may hold a password: it is not repeated.
    raise ConfigError("the broker's URL cannot be read; write redis://HOST[:PORT] or nats://HOST[:PORT]")


class ClusterLink:
    """Keeps a cluster connected to its broker. ``changed`` is called after every change of the rooms from there."""

    def __init__(self, cluster: Cluster, url: str, changed: Callable[[], None]) -> None:
        self.connected = False
        self.lost_operations = 0
        self._cluster = cluster
        self._make = make_broker(url)
        self._where = without_secrets(url)
        self._changed = changed
        self._broker = self._make()
        self._work = asyncio.Event()
        self._pending: deque[Operation] = deque()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int | None:
        """Connect for the first time; SignalingError if that fails. Gives the broker's bound for one message."""
        try:
            bound = await self._open()
        except OSError as error:
            raise SignalingError(f"{self._where}: no connection to the broker: {reason(error)}") from None
        self._task = asyncio.create_task(self._run(), name="icekit-signaling-broker")
        return bound

    def wake(self) -> None:
        """The cluster has something to do for the broker."""
        while (operation := self._cluster.next_operation()) is not None:
            self._pending.append(operation)
        while len(self._pending) > MAX_PENDING:
            # A broker that is so far behind is as good as lost: what is there is told anew when it is back.
            self._pending.popleft()
            self.lost_operations += 1
        self._work.set()

    async def close(self) -> None:
        """Say what is still to be said, if that goes at once."""
        if self._task is not None:
            await _end(self._task)
        if self.connected:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._work_off()
        await self._broker.close()

    async def _open(self) -> int | None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                bound = await self._broker.open(self._receive)
                for channel in self._cluster.channels():
                    await self._broker.subscribe(channel)
        except (OSError, TimeoutError):
            await self._broker.close()
            raise
        self.connected = True
        return bound

    async def _run(self) -> None:
        while True:
            writing = asyncio.create_task(self._write(), name="icekit-signaling-broker-write")
            lost = asyncio.create_task(self._broker.lost(), name="icekit-signaling-broker-lost")
            try:
                await asyncio.wait([writing, lost], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _end(writing)
                await _end(lost)
            self.connected = False
            _log.warning("= the connection to the broker %s is lost", self._where)
            await self._broker.close()
            pause = _FIRST_PAUSE
            while not self.connected:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._broker = self._make()
                # What waited is as old as the connection; who is there is told anew.
                self._pending.clear()
                with contextlib.suppress(OSError, TimeoutError):
                    await self._open()
            _log.warning("= the broker %s is back", self._where)
            self._cluster.broker_returned()
            self.wake()

    async def _write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._work_off()
                self._work.clear()
                await self._work.wait()

    async def _work_off(self) -> None:
        while self._pending:
            match self._pending[0]:
                case Subscribe(channel):
                    self._pending.popleft()
                    await self._broker.subscribe(channel)
                case Unsubscribe(channel):
                    self._pending.popleft()
                    await self._broker.unsubscribe(channel)
                case Publish():
                    messages = []
                    while self._pending and isinstance(message := self._pending[0], Publish):
                        messages.append(message)
                        self._pending.popleft()
                    await self._broker.publish(messages)

    def _receive(self, channel: str, data: bytes) -> None:
        self._cluster.receive(channel, data, asyncio.get_running_loop().time())
        self._changed()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it until it ends: redis-py loses a cancellation that comes while it closes a broken connection."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class RedisBroker:
    """Two connections: one publishes, one reads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Redis | None = None
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._confirmed: dict[str, asyncio.Event] = {}
        self._on_message: OnMessage | None = None

    async def open(self, on_message: OnMessage) -> int | None:
        """Connect; Redis takes 512 MB at once, which is no bound here."""
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._on_message = on_message
        # Where it reconnected by itself, nobody would know that messages are missing.
        self._client = Redis.from_url(
            self._url,
            socket_connect_timeout=CONNECT_SECONDS,
            # Our own signs of life come back, so that nothing to read means that nothing arrives.
            socket_timeout=3 * BEAT,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            # Older releases of the library take any name.
            **({"ssl_check_hostname": True} if self._url.lower().startswith("rediss:") else {}),
        )
        self._pubsub = self._client.pubsub()
        await _redis(self._client.ping())
        return None

    async def subscribe(self, channel: str) -> None:
        """Returns when Redis has confirmed it: publishing goes over the other connection."""
        assert self._pubsub is not None
        confirmed = self._confirmed[channel] = asyncio.Event()
        await _redis(self._pubsub.subscribe(channel))
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="icekit-signaling-redis")
        async with asyncio.timeout(CONNECT_SECONDS):
            await confirmed.wait()

    async def unsubscribe(self, channel: str) -> None:
        """No more of it."""
        assert self._pubsub is not None
        await _redis(self._pubsub.unsubscribe(channel))

    async def publish(self, messages: Sequence[Publish]) -> None:
        """Returns when Redis has them."""
        assert self._client is not None
        async with self._client.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(message.channel, message.data)
            await _redis(pipeline.execute())

    async def lost(self) -> None:
        """Returns when reading has ended."""
        assert self._reader is not None
        await asyncio.wait([self._reader])

    async def close(self) -> None:
        """Close both connections."""
        if self._reader is not None:
            await _end(self._reader)
        for part in (self._pubsub, self._client):
            if part is not None:
                with contextlib.suppress(Exception):
                    await part.aclose()

    async def _read(self) -> None:
        assert self._pubsub is not None
        assert self._on_message is not None
        with contextlib.suppress(OSError):
            while True:
                message: dict[str, Any] | None = await _redis(self._pubsub.get_message(timeout=None))
                if message is None:
                    continue
                channel = message["channel"].decode()
                if message["type"] == "subscribe" and channel in self._confirmed:
                    self._confirmed.pop(channel).set()
                elif message["type"] == "message":
                    self._on_message(channel, message["data"])


async def _redis(asked: Awaitable[Any]) -> Any:
    """What Redis answers; every failure of it as an OSError."""
    try:
        return await asked
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  # over half an answer the library stumbles in ways of its own
        raise certificate_error(error) or ConnectionError(str(error)) from None


class NatsBroker:
    """One connection; what is subscribed on it comes before what is published after."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._on_message: OnMessage | None = None
        self._lost = asyncio.Event()
        self._failure: Exception = ConnectionError("NATS does not answer")

    async def open(self, on_message: OnMessage) -> int | None:
        """Connect; a NATS server takes 1 MB at once unless ``max_payload`` says otherwise."""
        from nats.aio.client import Client

        self._on_message = on_message
        self._client = Client()
        await self._asked(
            self._client.connect(
                self._url,
                # Where it reconnected by itself, nobody would know that messages are missing.
                allow_reconnect=False,
                # With 0 it would try for ever. It pauses before the second attempt, which must not be long.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=round(CONNECT_SECONDS),
                ping_interval=round(BEAT),
                no_echo=True,
                error_cb=self._failed,
                disconnected_cb=self._is_lost,
                closed_cb=self._is_lost,
            )
        )
        return self._client.max_payload

    async def subscribe(self, channel: str) -> None:
        """The server reads it before anything that is published later."""
        assert self._client is not None
        self._subscriptions[channel] = await self._asked(self._client.subscribe(channel, cb=self._receive))

    async def unsubscribe(self, channel: str) -> None:
        """No more of it."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None:
            await self._asked(subscription.unsubscribe())

    async def publish(self, messages: Sequence[Publish]) -> None:
        """Returns when the server has them."""
        from nats.errors import MaxPayloadError

        assert self._client is not None
        for message in messages:
            try:
                await self._asked(self._client.publish(message.channel, message.data))
            except MaxPayloadError:
                _log.warning("! a message of %d bytes is too large for NATS: raise max_payload", len(message.data))
        await self._asked(self._client.flush(round(CONNECT_SECONDS)))

    async def lost(self) -> None:
        """Returns when the library says so; it forgets to when the connection breaks while it sends."""
        assert self._client is not None
        while not self._client.is_closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._lost.wait()

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            # Where TLS could not be begun, the library waits for the end of a connection that has ended.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await self._client.close()

    async def _receive(self, message: Msg) -> None:
        assert self._on_message is not None
        self._on_message(message.subject, message.data)

    async def _failed(self, error: Exception) -> None:
        self._failure = error

    async def _is_lost(self) -> None:
        self._lost.set()

    async def _asked(self, asked: Awaitable[T]) -> T:
        """What NATS answers; every failure of it as an OSError, but a message that is too large."""
        from nats.errors import MaxPayloadError, NoServersError

        try:
            return await asked
        except (MaxPayloadError, OSError):
            raise
        except NoServersError:
            # It says nothing; the library has reported why.
            raise certificate_error(self._failure) or ConnectionError(str(self._failure)) from None
        except Exception as error:  # noqa: BLE001  # over half an answer the library stumbles in ways of its own
            raise certificate_error(error) or ConnectionError(str(error) or str(self._failure)) from None
