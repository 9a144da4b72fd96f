"""What every transport of signaling must do: one suite, run over each of them.

A test module makes a class of it, with a fixture that says where the transport is found::

    class TestMemory(RoomContract):
        @pytest.fixture
        def place(self) -> Place:
            return Place(lambda room: f"memory:{room}")

``Contract`` is for everything, ``RoomContract`` adds what holds where more than two can meet, ``RestartContract`` what
holds where the connection can be lost. ``Place.restart`` kills the server, waits until it is dead, and starts it again
where it was; ``Place.inject`` sends bytes as a stranger who speaks the transport but not our messages.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from icekit.errors import SignalingError
from icekit.signaling import (
    Answer,
    Bye,
    Message,
    Offer,
    Presence,
    TrickledCandidate,
    connect,
    make_transport,
)
from icekit.signaling.channel import Channel
from icekit.signaling.message import MAX_SDP, MAX_SEQ
from icekit.signaling.transport import Link, Traits, Transport

PATIENCE = 40.0
"""Deadline of every wait, in seconds; nothing here takes a second on an idle machine."""

GARBAGE = (
    b"",
    b"null",
    b"not JSON",
    b"\xff\xfe\x00",
    b'{"type":"offer"}',
    b'{"type":"ack","seq":"1"}',
    b"[" * 5000,
    b'{"type":"candidate","candidate":{"candidate":"a\\nb"}}',
    b'{"type":"bye","from":"stranger","seq":%d,"id":"far"}' % MAX_SEQ,
    b'{"type":"ack","seq":%d,"from":"stranger","id":"far"}' % MAX_SEQ,
    b'{"type":"presence","left":["stranger"],"from":"stranger","seq":1,"id":"far"}',
)

RESTARTING = 90.0
"""Deadline of a test that kills a server: RabbitMQ takes ten seconds to start where others work as well."""

_rooms = itertools.count()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transport is tested: a URL for each room, and what a stranger and a fault can do there.

    ``other_url``: the same room on another way, which one of the two takes when the connection is lost.
    """

    url: Callable[[str], str]
    inject: Callable[[str, bytes], Awaitable[None]] | None = None
    restart: Callable[[], Coroutine[None, None, None]] | None = None
    other_url: Callable[[str], str] | None = None


def new_room() -> str:
    """A room that nobody uses."""
    return f"icekit-{next(_rooms)}"


async def take(channel: Channel, count: int, patience: float = PATIENCE) -> list[Message]:
    """The next ``count`` messages that are no presence."""
    found: list[Message] = []
    async with asyncio.timeout(patience):
        while len(found) < count:
            message = await anext(channel)
            if not isinstance(message, Presence):
                found.append(message)
    return found


async def meet(*channels: Channel) -> None:
    """Return when each has heard of all the others."""

    async def others(channel: Channel) -> None:
        wanted = {other.name for other in channels if other is not channel}
        while wanted:
            message = await anext(channel)
            assert isinstance(message, Presence), message
            wanted -= {*message.joined, *message.peers}

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*map(others, channels))


def numbered(count: int, size: int = 0) -> list[Bye]:
    return [Bye(reason=f"{number} {'x' * size}") for number in range(count)]


def reasons(messages: Sequence[Message]) -> list[str | None]:
    return [message.reason for message in messages if isinstance(message, Bye)]


async def send_all(channel: Channel, messages: Sequence[Message]) -> None:
    for message in messages:
        await channel.send(message)


@dataclass(slots=True)
class FaultyLink:
    """Sends some lines twice, and some after the next one."""

    inner: Link
    random: random.Random
    late: deque[str]

    async def send(self, line: str) -> None:
        if self.random.random() < 0.3:
            self.late.append(line)
            return
        for _ in range(self.random.choice((1, 1, 2))):
            await self.inner.send(line)
        while self.late:
            await self.inner.send(self.late.popleft())

    async def receive(self) -> str | bytes | None:
        return await self.inner.receive()

    async def close(self) -> None:
        await self.inner.close()


@dataclass(slots=True)
class FaultyTransport:
    inner: Transport
    seed: int

    @property
    def traits(self) -> Traits:
        return self.inner.traits

    async def open(self) -> Link:
        return FaultyLink(await self.inner.open(), random.Random(self.seed), deque())


@asynccontextmanager
async def pair(place: Place) -> AsyncIterator[tuple[Channel, Channel]]:
    """Two who have met in a new room."""
    url = place.url(new_room())
    async with connect(url, name="alice") as alice, connect(url, name="bob") as bob:
        await meet(alice, bob)
        yield alice, bob


class Contract:
    """What holds for any two who meet."""

    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    async def test_order(self, place: Place) -> None:
        async with pair(place) as (alice, bob):
            messages = numbered(100)
            _, _, to_bob, to_alice = await asyncio.gather(
                send_all(alice, messages), send_all(bob, messages), take(bob, 100), take(alice, 100)
            )
            assert reasons(to_bob) == reasons(to_alice) == reasons(messages)
            assert {message.sender for message in to_bob} == {"alice"}

    async def test_every_kind_of_message_arrives_as_it_was_sent(self, place: Place) -> None:
        async with pair(place) as (alice, bob):
            await alice.send(Offer(sdp="v=0\r\ns=ü\r\n"))
            await alice.send(TrickledCandidate(candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host", sdp_mid="0"))
            await alice.send(TrickledCandidate(candidate=""))
            offer, candidate, end = await take(bob, 3)
            assert isinstance(offer, Offer)
            assert offer.sdp == "v=0\r\ns=ü\r\n"
            assert isinstance(candidate, TrickledCandidate)
            assert (candidate.candidate[:11], candidate.sdp_mid) == ("candidate:1", "0")
            assert isinstance(end, TrickledCandidate)
            assert end.candidate == ""
            await bob.send(Answer(sdp="v=0\r\n", to="alice"))
            (answer,) = await take(alice, 1)
            assert isinstance(answer, Answer)

    async def test_duplicates_and_reordering_do_not_show(self, place: Place) -> None:
        url = place.url(new_room())
        faulty = Channel(FaultyTransport(make_transport(url, name="alice"), seed=1), "alice", "faulty")
        messages = numbered(100)
        async with faulty as alice, connect(url, name="bob") as bob:
            await asyncio.gather(send_all(alice, messages), self._expect(bob, messages))

    async def _expect(self, channel: Channel, messages: Sequence[Message]) -> None:
        assert reasons(await take(channel, len(messages))) == reasons(messages)

    async def test_half_close(self, place: Place) -> None:
        url = place.url(new_room())
        messages = numbered(50)
        async with connect(url, name="bob") as bob:
            async with connect(url, name="alice") as alice:
                await meet(alice, bob)
                await send_all(alice, messages)
            assert reasons(await take(bob, 50)) == reasons(messages)

    async def test_peer_gone(self, place: Place) -> None:
        url = place.url(new_room())
        async with connect(url, name="alice") as alice:
            async with connect(url, name="bob") as bob:
                await meet(alice, bob)
            async with asyncio.timeout(PATIENCE):
                # Where there can be only one peer, the channel has ended as well.
                async for message in alice:
                    if isinstance(message, Presence) and "bob" in message.left:
                        break
                else:
                    assert make_transport(url, name="alice").traits.pair

    async def test_an_sdp_of_a_megabyte(self, place: Place) -> None:
        async with pair(place) as (alice, bob):
            line = "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n"
            sdp = (line * (MAX_SDP // len(line) + 1))[:MAX_SDP]
            await alice.send(Offer(sdp=sdp))
            await alice.send(Bye())
            offer, bye = await take(bob, 2)
            assert isinstance(offer, Offer)
            assert offer.sdp == sdp
            assert isinstance(bye, Bye)

    async def test_back_pressure(self, place: Place) -> None:
        async with pair(place) as (alice, bob):
            messages = numbered(360, size=2000)
            sending = asyncio.create_task(send_all(alice, messages))
            # Bob reads nothing: his channel holds only so much, and then alice has to wait.
            done, _ = await asyncio.wait({sending}, timeout=0.5)
            assert not done
            assert reasons(await take(bob, len(messages))) == reasons(messages)
            await sending

    async def test_after_close_nothing_can_be_sent(self, place: Place) -> None:
        async with pair(place) as (alice, _):
            await alice.close()
            with pytest.raises(SignalingError, match="closed"):
                await alice.send(Bye())
            async with asyncio.timeout(PATIENCE):
                async for _ in alice:
                    pass


class RoomContract(Contract):
    """What holds where more than two can meet, and strangers come."""

    async def test_two_rooms_are_isolated(self, place: Place) -> None:
        one, two = place.url(new_room()), place.url(new_room())
        async with (
            connect(one, name="alice") as alice,
            connect(one, name="bob") as bob,
            connect(two, name="carol") as carol,
            connect(two, name="dave") as dave,
        ):
            await asyncio.gather(meet(alice, bob), meet(carol, dave))
            await alice.send(Bye(reason="one"))
            await carol.send(Bye(reason="two"))
            assert reasons(await take(bob, 1)) == ["one"]
            assert reasons(await take(dave, 1)) == ["two"]

    async def test_a_message_for_one_reaches_only_that_one(self, place: Place) -> None:
        url = place.url(new_room())
        async with connect(url, name="a") as a, connect(url, name="b") as b, connect(url, name="c") as c:
            await meet(a, b, c)
            await a.send(Bye(reason="for c", to="c"))
            await a.send(Bye(reason="for all"))
            assert reasons(await take(b, 1)) == ["for all"]
            assert set(reasons(await take(c, 2))) == {"for c", "for all"}

    async def test_who_comes_late_gets_what_nobody_has_read(self, place: Place) -> None:
        url = place.url(new_room())
        async with connect(url, name="alice") as alice:
            await alice.send(Offer(sdp="v=0"))
            async with connect(url, name="bob") as bob:
                (offer,) = await take(bob, 1)
                assert isinstance(offer, Offer)

    async def test_garbage_does_no_harm(self, place: Place) -> None:
        room = new_room()
        url = place.url(room)
        assert place.inject is not None
        async with connect(url, name="alice") as alice, connect(url, name="bob") as bob:
            await meet(alice, bob)
            for garbage in GARBAGE:
                await place.inject(room, garbage)
            await alice.send(Bye(reason="after"))
            async with asyncio.timeout(PATIENCE):
                while reasons([await anext(bob)]) != ["after"]:
                    pass


class RestartContract:
    """What holds where a connection can be lost; for a class that is a ``Contract`` as well."""

    @pytest.mark.timeout(150)
    async def test_a_lost_connection_loses_no_message(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, logger="icekit.signaling.channel")
        restart = place.restart
        assert restart is not None
        room = new_room()
        url, other_url = place.url(room), (place.other_url or place.url)(room)
        messages = numbered(150)
        async with connect(url, name="alice") as alice, connect(other_url, name="bob") as bob:
            await meet(alice, bob)

            async def talk() -> None:
                await send_all(alice, messages[:50])
                await send_all(bob, messages[:50])
                killing = asyncio.create_task(restart())
                for message in messages[50:100]:
                    await alice.send(message)
                    await bob.send(message)
                    await asyncio.sleep(0)
                await killing
                await send_all(alice, messages[100:])
                await send_all(bob, messages[100:])

            _, to_bob, to_alice = await asyncio.gather(talk(), take(bob, 150, RESTARTING), take(alice, 150, RESTARTING))
            assert reasons(to_bob) == reasons(to_alice) == reasons(messages)
        lost = {record.args[0] for record in caplog.records if "connection lost" in record.msg}  # type: ignore[index]
        assert len(lost) == len({url, other_url}), "it was not lost"
