"""``PeerConnection`` with stock aiortc: both roles, with and without trickle, direct and by relay, data and audio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiortc import RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack

from icekit.aio.gatherer import local_addresses
from icekit.call import PeerConnection
from tests.call.calls import Echo, closing, configuration, negotiate, trickle, until_state
from tests.interop.coturn import Coturn

pytestmark = pytest.mark.interop("turnserver")


@pytest.fixture(autouse=True)
def reachable() -> None:
    if not local_addresses():
        pytest.skip("aioice uses no loopback address, and this host has no other")


def pair(ours_calls: bool, *servers: RTCIceServer, **more: Any) -> tuple[RTCPeerConnection, RTCPeerConnection]:
    """Caller and callee; one of them is stock aiortc."""
    ours = PeerConnection(configuration(*servers, **more))
    theirs = RTCPeerConnection(configuration(*servers, **more))
    return (ours, theirs) if ours_calls else (theirs, ours)


@pytest.mark.parametrize("trickling", [False, True])
@pytest.mark.parametrize("ours_calls", [True, False])
async def test_data(ours_calls: bool, trickling: bool) -> None:
    caller, callee = pair(ours_calls)
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        if trickling:
            trickle(caller, callee)
            trickle(callee, caller)
        await negotiate(caller, callee)
        await echo.say("hello")
        for connection in (caller, callee):
            assert await until_state(connection, "completed")
            assert connection.connectionState == "connected"


@pytest.mark.parametrize("ours_calls", [True, False])
async def test_audio_both_ways(ours_calls: bool) -> None:
    caller, callee = pair(ours_calls)
    async with closing(caller, callee):
        tracks = [asyncio.get_running_loop().create_future() for _ in range(2)]
        for connection, track in zip((caller, callee), tracks, strict=True):
            connection.addTrack(AudioStreamTrack())
            connection.on("track", track.set_result)
        await negotiate(caller, callee)
        for track in tracks:
            for _ in range(5):
                assert (await (await track).recv()).sample_rate == 48000


@pytest.mark.parametrize("ours_calls", [True, False])
async def test_relay_only(coturn: Coturn, ours_calls: bool) -> None:
    server = RTCIceServer(coturn.turn_uri(), coturn.username, coturn.password)
    caller, callee = pair(ours_calls, server, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    ours = caller if ours_calls else callee
    assert isinstance(ours, PeerConnection)
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        await negotiate(caller, callee)
        await echo.say("hello")
        pairs = [item for item in (await ours.getStats()).values() if item.type == "candidate-pair"]
        report = await ours.getStats()
        (used,) = [item for item in pairs if item.selected]
        kinds = [report[item].candidateType for item in (used.localCandidateId, used.remoteCandidateId)]
        assert kinds == ["relay", "relay"]


@pytest.mark.parametrize("ours_calls", [True, False])
@pytest.mark.parametrize("ours_closes", [True, False])
async def test_goodbye(ours_calls: bool, ours_closes: bool) -> None:
    caller, callee = pair(ours_calls)
    first, second = (caller, callee) if ours_calls is ours_closes else (callee, caller)
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        await negotiate(caller, callee)
        await echo.say("hello")
        await first.close()
        assert await until_state(second, "closed", of="connectionState")


async def test_a_peer_that_cannot_restart_keeps_the_connection() -> None:
    """Stock aiortc answers a restart with the credentials that it had; the pair in use goes on."""
    caller, callee = pair(True)
    assert isinstance(caller, PeerConnection)
    async with closing(caller, callee):
        echo = Echo(caller, callee)
        await negotiate(caller, callee)
        await echo.say("before")
        await until_state(caller, "completed")
        caller.restartIce()
        await negotiate(caller, callee)
        for _ in range(10):
            await echo.say("after")
        assert caller.connectionState == "connected"
