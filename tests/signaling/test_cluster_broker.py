"""Making brokers, and keeping the connection to one that breaks; real ones are in ``tests/interop/test_cluster.py``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import pytest

from icekit.errors import ConfigError, MissingExtra, SignalingError
from icekit.signaling import cluster_broker
from icekit.signaling.cluster import SERVERS, Cluster, Publish
from icekit.signaling.cluster_broker import ClusterLink, OnMessage, make_broker
from icekit.signaling.rooms import Rooms


@pytest.mark.parametrize(
    "url",
    ["amqp://user:hunter2@host", "redis", "", "http://h?password=hunter2", "redis://", "nats://h:x", "redis://[::1"],
)
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError, match="redis://HOST") as refused:
        make_broker(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"), [("redis://h", "redis.asyncio", "redis"), ("nats://h", "nats", "nats")]
)
def test_without_the_library_the_extra_is_named(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"icekit\[{extra}\]"):
        make_broker(url)


class FakeBroker:
    """One connection to a broker that is up or down."""

    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self.gone = asyncio.Event()
        self.closed = False

    async def open(self, on_message: OnMessage) -> int | None:
        if not self.world.up:
            raise ConnectionRefusedError("nobody there")
        self.world.connections.append(self)
        return 5000

    async def subscribe(self, channel: str) -> None:
        self.world.log.append(f"+{channel}")

    async def unsubscribe(self, channel: str) -> None:
        self.world.log.append(f"-{channel}")

    async def publish(self, messages: Sequence[Publish]) -> None:
        if self.gone.is_set():
            raise ConnectionResetError
        self.world.log += [message.channel for message in messages]

    async def lost(self) -> None:
        await self.gone.wait()

    async def close(self) -> None:
        self.closed = True


class FakeWorld:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up = True
        self.connections: list[FakeBroker] = []
        self.log: list[str] = []
        monkeypatch.setattr(cluster_broker, "make_broker", lambda url: lambda: FakeBroker(self))
        monkeypatch.setattr(cluster_broker, "_FIRST_PAUSE", 0.001)
        self.rooms = Rooms(token_hex=lambda size: "0" * size, shared=True)
        self.cluster = Cluster(self.rooms, "A", 0.0)
        self.link = ClusterLink(self.cluster, "redis://user:hunter2@broker.test", lambda: None)

    def pump(self) -> None:
        while (event := self.rooms.next_event()) is not None:
            if type(event).__name__ not in {"Waiting", "Dismissed"}:
                self.cluster.tell(event)  # type: ignore[arg-type]
        self.link.wake()

    async def until(self, *wanted: str) -> None:
        async with asyncio.timeout(10):
            while self.log != list(wanted):  # noqa: ASYNC110 - the link has no event to wait for
                await asyncio.sleep(0)
        self.log.clear()


ROOM = "icekit.room.r"


async def test_everything_goes_out_in_order_and_again_when_the_broker_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = FakeWorld(monkeypatch)
    assert await world.link.start() == 5000
    await world.until(f"+{SERVERS}")
    world.rooms.join("r", 0.0, name="alice")
    world.pump()
    await world.until(f"+{ROOM}", ROOM, ROOM)
    world.up = False
    (first,) = world.connections
    first.gone.set()
    world.rooms.join("r", 0.0, name="bob")
    world.pump()
    async with asyncio.timeout(10):
        while world.link.connected:  # noqa: ASYNC110 - the link has no event to wait for
            await asyncio.sleep(0)
    assert first.closed
    world.up = True
    # Who is there is told once, with the question who else is; what waited is in it.
    await world.until(f"+{SERVERS}", f"+{ROOM}", ROOM)
    assert world.link.connected
    world.rooms.join("other", 0.0, name="carol")
    world.pump()
    await world.link.close()
    assert world.log == ["+icekit.room.other", "icekit.room.other", "icekit.room.other"]
    assert world.connections[-1].closed


async def test_a_broker_that_is_not_there_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    world = FakeWorld(monkeypatch)
    world.up = False
    with pytest.raises(SignalingError, match="no connection to the broker: nobody there") as refused:
        await world.link.start()
    assert "hunter2" not in str(refused.value)
    await world.link.close()


async def test_what_waits_for_the_broker_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_broker, "MAX_PENDING", 3)
    world = FakeWorld(monkeypatch)
    await world.link.start()
    for number in range(5):
        world.cluster.handle_timer(10.0 * number)
    world.pump()
    assert world.link.lost_operations == 2
    await world.until(f"+{SERVERS}", SERVERS, SERVERS, SERVERS)
    await world.link.close()


@pytest.mark.parametrize("scheme", ["nats", "redis"])
@pytest.mark.parametrize("said", [b"", b'INFO {"serv\r\n', b"INFO []\r\n", b"INFO {}\r\n", b"$-7\r\n", b"\xff\xfe\r\n"])
async def test_whatever_a_dying_broker_says_is_a_lost_connection(scheme: str, said: bytes) -> None:
    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(dying, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        broker = make_broker(f"{scheme}://127.0.0.1:{port}")()
        with pytest.raises(OSError):
            async with asyncio.timeout(10):
                await broker.open(lambda channel, data: None)
        await broker.close()
