"""Two processes of ``icekit serve`` behind a real Redis, and behind a real NATS, serve the same rooms."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from icekit.errors import SignalingError
from icekit.signaling import Bye, Message, Offer, Presence, connect
from icekit.signaling.channel import Channel
from tests.interop import brokers
from tests.signaling.contract import (
    PATIENCE,
    meet,
    new_room,
    numbered,
    reasons,
    send_all,
    take,
)


class Servers:
    """A broker and two servers, on ports that they keep when they are killed."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.kind = kind
        # A port is free until it is listened on, so each is started before the next one chooses.
        self.broker: brokers.Broker = stack.enter_context(getattr(brokers, kind)())
        self.one = stack.enter_context(self._server())
        self.other = stack.enter_context(self._server())

    def _server(self) -> brokers.Broker:
        return brokers.icekit_serve("--broker", f"{self.kind}://127.0.0.1:{self.broker.ports[self.kind]}")

    def url(self, room: str) -> str:
        return f"ws://127.0.0.1:{self.one.ports['http']}/{room}"

    def other_url(self, room: str) -> str:
        return f"ws://127.0.0.1:{self.other.ports['http']}/{room}"

    def health(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.one.ports['http']}/health", timeout=PATIENCE) as answer:
            status = json.load(answer)["status"]
            assert isinstance(status, str)
            return status


@pytest.fixture(scope="module", params=["redis", "nats"])
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(request.param, stack)


@pytest.mark.interop("redis-server", "nats-server")
class TestTwoServers:
    async def test_they_serve_one_room(self, servers: Servers) -> None:
        room = new_room()
        one, other = servers.url(room), servers.other_url(room)
        async with connect(one, name="a") as a, connect(one, name="b") as b:
            await meet(a, b)
            async with connect(other, name="c") as c:
                await meet(a, b, c)
                await c.send(Bye(reason="for b", to="b"))
                await c.send(Offer(sdp="v=0\r\n" * 100_000))
                messages = numbered(200)
                await asyncio.gather(send_all(c, messages), send_all(a, messages))
                for_b = await take(b, 402)
                assert reasons(for_b[:1]) == ["for b"]
                assert reasons([message for message in for_b[1:] if message.sender == "c"]) == reasons(messages)
                assert reasons(await take(c, 200)) == reasons(messages)
                (offer, *_) = await take(a, 201)
                assert isinstance(offer, Offer)
                assert len(offer.sdp) == 500_000
            async with asyncio.timeout(PATIENCE):
                async for message in a:
                    if isinstance(message, Presence) and message.left == ("c",):
                        assert message.peers == ("b",)
                        break

    async def test_a_name_is_taken_on_both(self, servers: Servers) -> None:
        room = new_room()
        async with (
            connect(servers.url(room), name="alice") as alice,
            connect(servers.other_url(room), name="bob") as bob,
        ):
            await meet(alice, bob)
            with pytest.raises(SignalingError, match="name is in the room"):
                await connect(servers.other_url(room), name="alice").__aenter__()

    async def test_a_broker_that_is_killed_loses_nothing_and_nobody_leaves(self, servers: Servers) -> None:
        room = new_room()
        messages = numbered(60)
        async with (
            connect(servers.url(room), name="alice") as alice,
            connect(servers.other_url(room), name="bob") as bob,
        ):
            await meet(alice, bob)
            killing = asyncio.create_task(servers.broker.restart())
            for number in range(0, 60, 10):
                await asyncio.gather(
                    send_all(alice, messages[number : number + 10]), send_all(bob, messages[number : number + 10])
                )
                await asyncio.sleep(0.05)
            await killing
            to_bob, to_alice = await asyncio.gather(everything(bob, 60), everything(alice, 60))
            # Not even presence: nobody came or went.
            assert reasons(to_bob) == reasons(to_alice) == reasons(messages)
            assert len(to_bob) == len(to_alice) == 60
            assert await asyncio.to_thread(servers.health) == "ok"


async def everything(channel: Channel, count: int) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            found.append(await anext(channel))
    return found
