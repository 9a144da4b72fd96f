"""One source for several calls."""

from __future__ import annotations

import asyncio

import pytest
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

from icekit.call.sharing import SharedSource
from icekit.call.sources import ToneTrack
from tests.call.calls import until_the_end


async def test_everybody_gets_the_same_frames() -> None:
    source = SharedSource(ToneTrack())
    one, other = source.share(), source.share()
    assert one.kind == "audio"
    frames = await asyncio.gather(one.recv(), other.recv())
    assert frames[0] is frames[1]
    one.stop()
    with pytest.raises(MediaStreamError):
        await one.recv()
    # The others go on.
    assert (await other.recv()).pts is not None
    await source.stop()
    await until_the_end(other)
    assert other.readyState == "ended"
    await source.stop()


async def test_who_is_late_loses_the_oldest() -> None:
    source = SharedSource(ToneTrack())
    fast, slow = source.share(), source.share()
    await asyncio.gather(fast.recv(), slow.recv())
    for _ in range(20):
        await fast.recv()
    pts = (await slow.recv()).pts
    assert pts is not None
    assert pts >= 960 * 10
    await source.stop()


async def test_a_source_that_ends_ends_for_all() -> None:
    track = AudioStreamTrack()
    source = SharedSource(track)
    reader = source.share()
    await reader.recv()
    track.stop()
    await until_the_end(reader)
    assert reader.readyState == "ended"
    await source.stop()


async def test_a_source_that_nobody_reads_stops_its_track() -> None:
    track = ToneTrack()
    source = SharedSource(track)
    source.share()
    await source.stop()
    assert track.readyState == "ended"
