"""The contract of signaling on real brokers; each is started once for this file and killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from icekit.signaling import make_transport
from tests.interop import brokers
from tests.signaling.contract import Place, RestartContract, RoomContract


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[brokers.Broker]:
    with brokers.rabbitmq() as broker:
        yield broker


def stomp_url(broker: brokers.Broker, room: str) -> str:
    return f"stomp://guest:guest@127.0.0.1:{broker.ports['stomp']}/{room}"


def web_stomp_url(broker: brokers.Broker, room: str) -> str:
    return f"stomp+ws://guest:guest@127.0.0.1:{broker.ports['web_stomp']}/ws?topic={room}"


# RabbitMQ takes its time to start.
@pytest.mark.timeout(150)
@pytest.mark.interop("rabbitmq-server")
class TestStomp(RoomContract):
    @pytest.fixture
    def place(self, rabbitmq: brokers.Broker) -> Place:
        return Place(
            lambda room: stomp_url(rabbitmq, room), inject=lambda room, data: publish_stomp(rabbitmq, room, data)
        )


async def publish_stomp(broker: brokers.Broker, room: str, data: bytes) -> None:
    from icekit.signaling.stomp import StompLink
    from icekit.signaling.stomp_frames import Frame

    link = await make_transport(stomp_url(broker, room), name="stranger").open()
    assert isinstance(link, StompLink)
    await link._stream.write(bytes(Frame("SEND", (("destination", f"/topic/{room}"),), data)))
    await link.close()


# RabbitMQ takes its time to start.
@pytest.mark.timeout(150)
@pytest.mark.interop("rabbitmq-server")
class TestStompOverWebSocket(RoomContract, RestartContract):
    @pytest.fixture
    def place(self, rabbitmq: brokers.Broker) -> Place:
        return Place(
            lambda room: web_stomp_url(rabbitmq, room),
            # One restart for both ways.
            other_url=lambda room: stomp_url(rabbitmq, room),
            inject=lambda room, data: publish_stomp(rabbitmq, room, data),
            restart=rabbitmq.restart,
        )


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[brokers.Broker]:
    with brokers.mosquitto() as broker:
        yield broker


@pytest.mark.interop("mosquitto")
class TestMqtt(RoomContract, RestartContract):
    @pytest.fixture
    def place(self, mosquitto: brokers.Broker) -> Place:
        import aiomqtt

        async def inject(room: str, data: bytes) -> None:
            async with aiomqtt.Client("127.0.0.1", mosquitto.ports["mqtt"]) as client:
                await client.publish(room, data, qos=1)

        url = f"mqtt://127.0.0.1:{mosquitto.ports['mqtt']}"
        return Place(lambda room: f"{url}/{room}", inject=inject, restart=mosquitto.restart)


@pytest.fixture(scope="module")
def redis() -> Iterator[brokers.Broker]:
    with brokers.redis() as broker:
        yield broker


@pytest.mark.interop("redis-server")
class TestRedis(RoomContract, RestartContract):
    @pytest.fixture
    def place(self, redis: brokers.Broker) -> Place:
        from redis.asyncio import Redis

        async def inject(room: str, data: bytes) -> None:
            async with Redis(port=redis.ports["redis"]) as client:
                await client.publish(room, data)

        url = f"redis://127.0.0.1:{redis.ports['redis']}"
        return Place(lambda room: f"{url}/{room}", inject=inject, restart=redis.restart)


@pytest.fixture(scope="module")
def nats() -> Iterator[brokers.Broker]:
    with brokers.nats() as broker:
        yield broker


@pytest.mark.interop("nats-server")
class TestNats(RoomContract, RestartContract):
    @pytest.fixture
    def place(self, nats: brokers.Broker) -> Place:
        from nats import connect

        async def inject(room: str, data: bytes) -> None:
            client = await connect(f"nats://127.0.0.1:{nats.ports['nats']}")
            await client.publish(room, data)
            await client.drain()

        url = f"nats://127.0.0.1:{nats.ports['nats']}"
        return Place(lambda room: f"{url}/{room}", inject=inject, restart=nats.restart)
