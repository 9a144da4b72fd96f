"""The owner of a negotiation, without rooms and media: what it says and when it forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from icekit.call.exchange import Exchange, Owner
from icekit.call.trace import Mark, Trace
from icekit.errors import SignalingError
from icekit.negotiation_events import NegotiationEvent, NegotiationFailed, PeerLeft
from icekit.signaling import Answer, Bye, Message, Offer, TrickledCandidate
from tests.call.calls import until
from tests.call.rooms import SECONDS, config


class Side:
    """An exchange and everything that its owner was told."""

    def __init__(self, name: str) -> None:
        self.said: list[Message] = []
        self.told: list[NegotiationEvent] = []
        self.lost: list[str] = []
        self.channels: list[Any] = []
        self.connections = 0
        self.deaf = False
        self.other: Side | None = None
        owner = Owner(
            say=self._say, tell=self.told.append, lost=self.lost.append, begins=self._begin,
            track=lambda track: None, channel=self.channels.append,
        )  # fmt: skip
        self.trace = Trace(asyncio.get_running_loop().time())
        self.exchange = Exchange(name, config(receive=()), (), (), self.trace, owner)

    def _begin(self) -> None:
        self.connections += 1

    async def _say(self, message: Message) -> None:
        if self.deaf:
            raise SignalingError("nobody listens")
        self.said.append(message)
        if self.other is not None:
            self.other.exchange.take(message)


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Side, Side]]:
    sides = Side("alice"), Side("bob")
    sides[0].other, sides[1].other = sides[1], sides[0]
    async with asyncio.timeout(SECONDS):
        try:
            for side in sides:
                side.exchange.start()
            yield sides
        finally:
            await asyncio.gather(*(side.exchange.close() for side in sides))


async def test_descriptions_first_then_candidates() -> None:
    async with two() as (alice, bob):
        assert alice.exchange.is_idle
        alice.exchange.offer()
        assert not alice.exchange.is_idle
        await until(lambda: alice.exchange.is_connected and bob.exchange.is_connected)
        # An answer says the host candidate, an offer does not wait for it.
        for side, said in ((alice, [Offer, *[TrickledCandidate] * 2]), (bob, [Answer, TrickledCandidate])):
            assert [type(message) for message in side.said] == said
            assert {Mark.SENT, Mark.GATHERED, Mark.CANDIDATE_SENT, Mark.CANDIDATE_ADDED} <= set(side.trace.marks)
            assert side.connections == 1
        assert len(alice.channels) == 1
        alice.exchange.take(Bye())
        assert not alice.exchange.is_connected


async def test_a_collision_costs_one_side_its_connection() -> None:
    async with two() as (alice, bob):
        for side in (alice, bob):
            side.exchange.offer()
        await until(lambda: alice.exchange.is_connected and bob.exchange.is_connected)
        # Whose offer was on its way first is a matter of luck; who loses begins once more.
        assert sorted([alice.connections, bob.connections]) == [1, 2]
        assert alice.trace.offers is not bob.trace.offers


async def test_from_the_beginning() -> None:
    async with two() as (alice, bob):
        alice.other = None
        alice.exchange.offer()
        await until(lambda: len(alice.said) == 3)
        alice.exchange.start_over()
        assert alice.exchange.is_idle
        alice.other = bob
        alice.exchange.offer()
        await until(lambda: alice.exchange.is_connected and bob.exchange.is_connected)
        assert alice.connections == 2


async def test_what_cannot_be_sent_or_read() -> None:
    async with two() as (alice, bob):
        bob.exchange.take(Offer(sdp="v=0\r\nm=audio 9 RTP/AVP 0\r\na=ice-ufrag:abcd\r\na=mid:0\r\n"))
        await until(lambda: any(isinstance(event, NegotiationFailed) for event in bob.told))
        (failed,) = [event for event in bob.told if isinstance(event, NegotiationFailed)]
        assert failed.code == "CALL-DESCRIPTION"
        assert failed.reason
        alice.deaf = True
        alice.exchange.offer()
        await until(lambda: bool(alice.lost))
        assert alice.lost[0] == "nobody listens"


@pytest.mark.parametrize("farewell", [True, False])
async def test_a_farewell_may_be_slower_than_the_end_of_the_connection(farewell: bool) -> None:
    async with two() as (alice, bob):
        alice.exchange.offer()
        await until(lambda: alice.exchange.is_connected and bob.exchange.is_connected)
        assert alice.exchange.leg is not None
        assert bob.exchange.leg is not None
        connection = bob.exchange.leg.connection
        await alice.exchange.leg.connection.close()
        await until(lambda: connection.connectionState == "closed")
        assert bob.exchange.is_connected
        if farewell:
            bob.exchange.take(Bye(reason="done"))
        await until(lambda: not bob.exchange.is_connected)
        reasons = [event.reason for event in bob.told if isinstance(event, PeerLeft)]
        assert reasons == ["done" if farewell else "it closed the connection"]
