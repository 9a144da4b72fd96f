"""One peer connection of a call: offers that can be forgotten, answers that fit, what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from icekit.call.leg import CHANNEL, Leg
from icekit.call.sources import BarsTrack, ToneTrack
from icekit.remote_candidates import RemoteCandidate
from icekit.sdp import read_sdp
from tests.call.calls import closing, until
from tests.call.rooms import config


class Side:
    """A leg and what it has told."""

    def __init__(self, *tracks: Any, offers: bool, **more: Any) -> None:
        self.candidates: list[RemoteCandidate] = []
        self.channels: list[Any] = []
        self.tracks: list[Any] = []
        settings = config(**more)
        self.leg = Leg(
            settings.connection(()), tracks, offers=offers, candidate=self.candidates.append, changed=lambda: None
        )
        self.leg.open(settings, self.tracks.append, self.channels.append)


def nothing() -> None:
    pass


@asynccontextmanager
async def legs(*sides: Side) -> AsyncIterator[None]:
    async with closing(*(side.leg.connection for side in sides)):
        yield


def kinds(sdp: str) -> list[str]:
    return [section.kind for section in read_sdp(sdp).media]


async def test_an_offer_has_our_media_what_we_take_and_a_channel() -> None:
    side = Side(ToneTrack(), offers=True)
    async with legs(side):
        created: list[int] = []
        sdp = await side.leg.make_offer(restart=False, defer=False, created=lambda: created.append(1))
        assert kinds(sdp) == ["audio", "video", "application"]
        assert created == [1]
        assert [channel.label for channel in side.channels] == [CHANNEL]
        await until(lambda: len(side.candidates) == 2)
        first, end = side.candidates
        assert first.line.startswith("candidate:")
        assert first.ufrag == end.ufrag == read_sdp(sdp).media[0].ufrag
        assert end.is_end
        assert side.leg.told == side.candidates
        assert side.leg.local == {"host": 1}
    without = Side(offers=True, data=False, receive=("audio",))
    async with legs(without):
        assert kinds(await without.leg.make_offer(restart=False, defer=True, created=nothing)) == ["audio"]


async def test_an_answer_takes_what_fits_and_the_rest_waits() -> None:
    caller, callee = Side(offers=True, receive=("audio",)), Side(ToneTrack(), BarsTrack(), offers=False)
    async with legs(caller, callee):
        offer = await caller.leg.make_offer(restart=False, defer=False, created=nothing)
        await callee.leg.take_offer(offer)
        answer = await callee.leg.make_answer(nothing)
        assert kinds(answer) == ["audio", "application"]
        assert callee.leg.has_more_to_offer
        assert "a=sendrecv" in answer or "a=sendonly" in answer
        await caller.leg.take_answer(answer)
        assert caller.leg.silent_kinds == []
        assert [track.kind for track in caller.tracks] == ["audio"]
        second = await callee.leg.make_offer(restart=False, defer=True, created=nothing)
        assert kinds(second) == ["audio", "application", "video"]
        # In the middle of that an offer of the other side: aiortc answers although there is media that it has not.
        await callee.leg.take_offer(await caller.leg.make_offer(restart=False, defer=True, created=nothing))
        assert kinds(await callee.leg.make_answer(nothing)) == ["audio", "application"]


async def test_what_an_answer_says_is_not_told_again() -> None:
    caller, callee = Side(ToneTrack(), offers=True), Side(ToneTrack(), offers=False)
    async with legs(caller, callee):
        await callee.leg.take_offer(await caller.leg.make_offer(restart=False, defer=False, created=nothing))
        answer = await callee.leg.make_answer(nothing)
        callee.leg.count_local(answer)
        assert callee.leg.in_description == 1
        await until(lambda: bool(callee.candidates))
        assert [candidate.is_end for candidate in callee.candidates] == [True]
        assert callee.leg.told == callee.candidates
        # Two sections, one transport.
        assert caller.leg.count_remote(answer) == 1
        assert callee.leg.local == caller.leg.remote == {"host": 1}


async def test_a_restart_has_candidates_of_its_own_on_both_sides() -> None:
    caller, callee = Side(ToneTrack(), offers=True), Side(ToneTrack(), offers=False)
    async with legs(caller, callee):
        await callee.leg.take_offer(await caller.leg.make_offer(restart=False, defer=False, created=nothing))
        answer = await callee.leg.make_answer(nothing)
        callee.leg.count_local(answer)
        await caller.leg.take_answer(answer)
        await until(lambda: bool(callee.candidates) and len(caller.candidates) == 2)
        first = callee.leg.told[0].ufrag
        caller.leg.is_described = callee.leg.is_described = True
        offer = await caller.leg.make_offer(restart=True, defer=True, created=nothing)
        assert caller.leg.told == []
        await callee.leg.take_offer(offer)
        # A candidate that came before the answer would be of credentials that the peer does not know.
        assert not caller.leg.is_described
        assert not callee.leg.is_described
        answer = await callee.leg.make_answer(nothing)
        callee.leg.count_local(answer)
        assert callee.leg.in_description == 1
        await until(lambda: any(item.is_end for item in callee.leg.told))
        second = read_sdp(answer).media[0].ufrag
        assert second != first
        assert {item.ufrag for item in callee.leg.told} == {second}


async def test_an_offer_that_is_deferred_can_be_forgotten() -> None:
    side = Side(ToneTrack(), offers=True)
    async with legs(side):
        await side.leg.make_offer(restart=False, defer=True, created=nothing)
        assert side.leg.connection.signalingState == "stable"
        assert side.leg.connection.localDescription is None


async def test_another_certificate_is_another_peer() -> None:
    caller, callee, third = Side(offers=True), Side(offers=False), Side(offers=True)
    async with legs(caller, callee, third):
        offer = await caller.leg.make_offer(restart=False, defer=False, created=nothing)
        assert not callee.leg.is_another_peer(offer)
        await callee.leg.take_offer(offer)
        assert not callee.leg.is_another_peer(offer)
        other = await third.leg.make_offer(restart=False, defer=True, created=nothing)
        assert callee.leg.is_another_peer(other)


@pytest.mark.parametrize(
    "line", ["candidate:", "candidate:1 1 udp 1 192.0.2.1 99999 typ host", "\x00", "candidate:1 1 udp 1 x y typ host"]
)
async def test_candidates_that_are_none_are_left_out(line: str) -> None:
    caller, callee = Side(offers=True), Side(offers=False)
    async with legs(caller, callee):
        await callee.leg.take_offer(await caller.leg.make_offer(restart=False, defer=False, created=nothing))
        await callee.leg.add_candidate(RemoteCandidate(line))
        assert callee.leg.remote == {}
        # Without section it belongs to the first one.
        good = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
        await callee.leg.add_candidate(RemoteCandidate(good))
        await callee.leg.add_candidate(RemoteCandidate(""))
        assert callee.leg.remote == {"host": 1}
        assert len(callee.leg.connection.ice_transports[0].connection.remote_candidates) == 1


async def test_what_is_not_there_is_not_counted() -> None:
    side = Side(offers=True, engine="aioice")
    async with legs(side):
        assert side.leg.checks() == (None, None, None, None)
        assert side.leg.dtls_failure is None
        assert side.leg.silent_kinds == []


async def test_a_restart_describes_nothing_of_before() -> None:
    caller, callee = Side(offers=True), Side(offers=False)
    async with legs(caller, callee):
        await callee.leg.take_offer(await caller.leg.make_offer(restart=False, defer=False, created=nothing))
        answer = await callee.leg.make_answer(nothing)
        callee.leg.count_local(answer)
        assert callee.leg.in_description == 1
        await caller.leg.take_answer(answer)
        await callee.leg.make_offer(restart=True, defer=True, created=nothing)
        assert callee.leg.in_description == 0
