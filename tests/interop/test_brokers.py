"""The contract of signaling on real brokers, and calls; each is started once for this file and killed in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from icekit.call import Call
from icekit.errors import SignalingError
from icekit.phases import Deadlines, Phase
from icekit.signaling import Message, Presence, TrickledCandidate, connect, make_transport
from icekit.signaling.channel import Channel
from icekit.signaling.message import without_envelope
from tests.call.calls import until
from tests.call.rooms import Through, both, config
from tests.interop import brokers
from tests.signaling.contract import (
    RESTARTING,
    Place,
    RestartContract,
    RoomContract,
    meet,
    new_room,
    numbered,
    reasons,
    send_all,
    take,
)


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
class TestStompOverWebSocket(RoomContract):
    @pytest.fixture
    def place(self, rabbitmq: brokers.Broker) -> Place:
        return Place(
            lambda room: web_stomp_url(rabbitmq, room),
            inject=lambda room, data: publish_stomp(rabbitmq, room, data),
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


@pytest.fixture(scope="module")
def own_server() -> Iterator[brokers.Broker]:
    with brokers.icekit_serve() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Meeting:
    """A broker, and how each of two gets to a room there."""

    broker: brokers.Broker
    urls: tuple[str, str]


# A fixture of the file, so that the broker that it starts counts as one that was there before the test.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("own_server", "ws://127.0.0.1:{http}/{room}"), id="ws"),
        pytest.param(("redis", "redis://127.0.0.1:{redis}/{room}"), id="redis"),
        pytest.param(("nats", "nats://127.0.0.1:{nats}/{room}"), id="nats"),
        pytest.param(("mosquitto", "mqtt://127.0.0.1:{mqtt}/{room}"), id="mqtt"),
        pytest.param(
            # RabbitMQ takes seconds to start: it is killed in this file here alone, for both ways to it.
            (
                "rabbitmq",
                "stomp+ws://guest:guest@127.0.0.1:{web_stomp}/ws?topic={room}",
                "stomp://guest:guest@127.0.0.1:{stomp}/{room}",
            ),
            id="stomp",
        ),
    ],
)
def meeting(request: pytest.FixtureRequest) -> Meeting:
    name, *ways = request.param
    broker: brokers.Broker = request.getfixturevalue(name)
    place = {**broker.ports, "room": new_room()}
    return Meeting(broker, (ways[0].format_map(place), ways[-1].format_map(place)))


@pytest.mark.timeout(150)
async def test_a_call_goes_on_without_its_broker(meeting: Meeting) -> None:
    """While it is dead media flow both ways; what is said meanwhile arrives when it is back, once and in order."""
    broker = meeting.broker
    async with (
        asyncio.timeout(RESTARTING),
        connect(meeting.urls[0], name="alice") as one,
        connect(meeting.urls[1], name="bob") as other,
    ):
        alice, bob = Recorder(one), Recorder(other)
        # A change without an answer is given up in time; RabbitMQ may take longer to start.
        patient = config(deadlines=Deadlines(answer=RESTARTING))
        async with (
            Call(alice, media=["tone", "bars"], config=patient) as caller,
            Call(bob, media=["tone", "bars"], config=patient) as callee,
        ):
            assert await both(caller.connected(), callee.connected()) == [None, None]
            await until(lambda: len(frames(caller, callee)) == 4 and min(frames(caller, callee)) > 0)

            # Some of it is on its way when the connection breaks.
            killing = asyncio.create_task(broker.kill())
            await asyncio.gather(gossip(alice, to="bob"), gossip(bob, to="alice"))
            await killing
            before = frames(caller, callee)
            caller.hold()
            late = [f"candidate:{number} 1 udp {number} 127.0.0.1 9 typ host" for number in range(1, 21)]
            assert callee.leg is not None
            ufrag = callee.leg.connection.ice_transports[0].connection.local_username
            for line in late:
                await bob.send(TrickledCandidate(candidate=line, sdp_mid="0", username_fragment=ufrag, to="alice"))
            # Sound has 50 frames a second, pictures have 15.
            await until(lambda: all(now >= was + 8 for was, now in zip(before, frames(caller, callee), strict=True)))
            assert not broker.is_running
            assert [call.phase for call in (caller, callee)] == [Phase.CONNECTED] * 2
            assert [direction(call) for call in (caller, callee)] == ["sendrecv"] * 2
            await broker.start()

            await until(lambda: [direction(call) for call in (caller, callee)] == ["inactive"] * 2)
            caller.hold(False)
            await until(lambda: [direction(call) for call in (caller, callee)] == ["sendrecv"] * 2)
            before = frames(caller, callee)
            await until(lambda: all(now > was for was, now in zip(before, frames(caller, callee), strict=True)))
            await until(lambda: (len(alice.heard), len(bob.heard)) == (len(bob.sent), len(alice.sent)))
            await caller.hang_up("done")
            assert await callee.ended() == "the other side hung up: done"
            assert bob.heard == alice.said
            assert alice.heard == bob.said
            assert [item.candidate for item in candidates(alice.heard) if item.candidate in late] == late
            assert caller.findings == callee.findings == ()


async def gossip(channel: Recorder, *, to: str) -> None:
    """What calls do not care about: candidates of no generation."""
    for number in range(20):
        line = f"candidate:{number} 1 udp 1 192.0.2.1 9 typ host"
        await channel.send(TrickledCandidate(candidate=line, username_fragment="stale", to=to))
        await asyncio.sleep(0)


class Recorder(Through):
    """A channel that remembers what was said and heard, but who comes and goes."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel, self._hear)
        self.heard: list[Message] = []

    @property
    def said(self) -> list[Message]:
        return [without_envelope(message) for message in self.sent]

    def _hear(self, message: Message) -> list[Message]:
        if not isinstance(message, Presence):
            self.heard.append(without_envelope(message))
        return [message]


def candidates(messages: list[Message]) -> list[TrickledCandidate]:
    return [message for message in messages if isinstance(message, TrickledCandidate)]


def frames(*calls: Call) -> list[int]:
    """Decoded frames so far, for each track."""
    return [level.frames for call in calls for level in call.levels]


def direction(call: Call) -> str | None:
    assert call.leg is not None
    return next(item.currentDirection for item in call.leg.connection.getTransceivers() if item.kind == "audio")


@pytest.fixture(scope="module")
def nats_over_tls() -> Iterator[brokers.Broker]:
    with brokers.nats(tls=True) as broker:
        yield broker


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("redis", "rediss://{host}:{rediss}/{room}"), id="rediss"),
        pytest.param(("nats_over_tls", "nats+tls://{host}:{nats}/{room}"), id="nats+tls"),
        pytest.param(("mosquitto", "mqtts://{host}:{mqtts}/{room}"), id="mqtts"),
        pytest.param(("rabbitmq", "stomps://guest:guest@{host}:{stomps}/{room}"), id="stomps"),
        pytest.param(("rabbitmq", "stomp+wss://guest:guest@{host}:{web_stomps}/ws?topic={room}"), id="stomp+wss"),
    ],
)
def tls_place(request: pytest.FixtureRequest) -> tuple[brokers.Broker, str]:
    name, url = request.param
    return request.getfixturevalue(name), url


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.timeout(150)
async def test_over_tls(tls_place: tuple[brokers.Broker, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a certificate of a trusted authority for the name in the URL is taken; what is wrong is told at once."""
    broker, pattern = tls_place
    room = new_room()
    url, other_name = (pattern.format(**broker.ports, host=host, room=room) for host in ("127.0.0.1", "localhost"))
    with pytest.raises(SignalingError, match=r"certificate of the server is not accepted .* in SSL_CERT_FILE"):
        await connect(url, name="alice").__aenter__()
    monkeypatch.setenv("SSL_CERT_FILE", str(broker.folder / "authority.pem"))
    with pytest.raises(SignalingError, match=r"not valid for 'localhost'\): connect by a name or address"):
        await connect(other_name, name="alice").__aenter__()
    async with connect(url, name="alice") as alice, connect(url, name="bob") as bob:
        await meet(alice, bob)
        await send_all(alice, numbered(20))
        assert reasons(await take(bob, 20)) == reasons(numbered(20))
