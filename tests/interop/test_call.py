"""Calls with peers that are not ours: stock aiortc driven as a page drives a browser, with the plain messages of such a
page: no names, no numbers, no user name fragments, no rollback.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from icekit.aio.gatherer import local_addresses
from icekit.call import Call, CallConfig
from icekit.call.aiortc_candidates import to_aiortc
from icekit.candidate import Candidate
from icekit.signaling import Answer, Bye, Offer, TrickledCandidate, connect, decode, encode, make_transport
from tests.call.calls import until
from tests.call.rooms import SECONDS, both, new_room

pytestmark = pytest.mark.interop


@pytest.fixture(autouse=True)
def reachable() -> None:
    if not local_addresses():
        pytest.skip("aioice uses no loopback address, and this host has no other")


class Page:
    """The other side: what it gets, in order, and what it does about it, as the followed document does."""

    def __init__(self, link: Any) -> None:
        self.link = link
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTrack(AudioStreamTrack())
        self.texts: list[Any] = []
        self.tracks: list[Any] = []
        self.connection.on("track", self.tracks.append)
        self.connection.on("datachannel", self.answer)
        self.left = False

    def answer(self, channel: Any) -> None:
        channel.on("message", self.texts.append)
        channel.on("message", channel.send)

    async def initiate(self) -> None:
        """Somebody presses the button."""
        self.channel = self.connection.createDataChannel("page")
        self.answer(self.channel)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        await self.say(Offer(sdp=self.connection.localDescription.sdp))

    async def say(self, message: Any) -> None:
        await self.link.send(encode(message))

    async def serve(self) -> None:
        while True:
            match decode(await self.link.receive()):
                case Offer(sdp=sdp):
                    await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
                    await self.connection.setLocalDescription(await self.connection.createAnswer())
                    await self.say(Answer(sdp=self.connection.localDescription.sdp))
                case Answer(sdp=sdp):
                    await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
                case TrickledCandidate(candidate=line, sdp_mid=mid, sdp_mline_index=index) if line:
                    candidate = to_aiortc(Candidate.parse(line), sdp_mid=mid, sdp_mline_index=index)
                    await self.connection.addIceCandidate(candidate)
                case Bye():
                    self.left = True


@asynccontextmanager
async def page(place: str) -> AsyncIterator[Page]:
    link = await make_transport(place, name="").open()
    made = Page(link)
    serving = asyncio.ensure_future(made.serve())
    try:
        async with asyncio.timeout(SECONDS):
            yield made
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await made.connection.close()
        await link.close()


@pytest.mark.parametrize("page_calls", [True, False])
async def test_a_plain_page(page_calls: bool) -> None:
    place = new_room()
    async with page(place) as other, connect(place, name="alice") as channel:
        async with Call(channel, media=["tone"], config=CallConfig(receive=("audio",))) as call:
            if page_calls:
                await other.initiate()
            await call.connected()
            assert call.trace.offers is not page_calls
            assert call.peer is None
            await call.first_media()
            await until(lambda: bool(other.tracks))
            assert (await other.tracks[0].recv()).sample_rate == 48000
            await call.opened()
            call.send("hello")
            assert await call.receive() == "hello"
        await until(lambda: other.left)


@pytest.mark.parametrize("engines", [("icekit", "aioice"), ("aioice", "icekit"), ("aioice", "aioice")])
async def test_both_engines(engines: tuple[Any, Any]) -> None:
    place = new_room()
    async with (
        asyncio.timeout(SECONDS),
        connect(place, name="alice") as one,
        connect(place, name="bob") as other,
        Call(one, media=["tone"], config=CallConfig(engine=engines[0])) as caller,
        Call(other, media=["tone"], config=CallConfig(engine=engines[1])) as callee,
    ):
        assert await both(caller.connected(), callee.connected()) == [None, None]
        await both(caller.first_media(), callee.first_media(), caller.opened(), callee.opened())
        caller.send("hello")
        assert await callee.receive() == "hello"
        caller.hold()
        await until(lambda: all(_direction(call) == "inactive" for call in (caller, callee)))
        assert caller.findings == callee.findings == ()


def _direction(call: Call) -> str | None:
    assert call.leg is not None
    return next(item.currentDirection for item in call.leg.connection.getTransceivers() if item.kind == "audio")
