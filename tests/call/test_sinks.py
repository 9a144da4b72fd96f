"""What comes in is measured, thrown away or written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import av
import pytest
from av import AudioFrame, VideoFrame

from icekit.call.sinks import Level, Sink, brightness, loudness
from icekit.call.sources import BarsTrack, ToneTrack
from icekit.errors import ConfigError
from tests.call.calls import until


async def test_levels_of_each_track() -> None:
    firsts: list[Level] = []
    sink = Sink(None, asyncio.get_running_loop().time(), firsts.append)
    for track in (ToneTrack(), BarsTrack()):
        sink.add(track)
    await sink.start()
    await until(lambda: all(level.frames > 1 for level in sink.levels))
    audio, video = sink.levels
    assert (audio.kind, video.kind, video.size) == ("audio", "video", (320, 240))
    assert (audio.level or 0) > 0.1
    assert sorted(level.kind for level in firsts) == ["audio", "video"]
    assert all(0 <= (level.first or 0) < 10 for level in firsts)
    await sink.stop()
    await sink.stop()


async def test_a_new_connection_has_new_tracks() -> None:
    sink = Sink(None, 0.0, lambda level: None)
    old, new = ToneTrack(), BarsTrack()
    sink.add(old)
    sink.renew()
    assert sink.levels == ()
    sink.add(new)
    await until(lambda: sink.levels[0].frames > 0)
    assert [level.kind for level in sink.levels] == ["video"]
    await sink.stop()


async def test_a_recording_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    sink = Sink(path, 0.0, lambda level: None)
    for track in (ToneTrack(), BarsTrack()):
        sink.add(track)
    await sink.start()
    late = BarsTrack()
    sink.add(late)
    await until(lambda: all(level.frames > 5 for level in sink.levels))
    await sink.stop()
    late.stop()
    with av.open(str(path)) as container:
        kinds = [stream.type for stream in container.streams]
        assert sorted(kinds) == ["audio", "video"]
        frames = list(container.decode(video=0))
        assert (frames[0].width, frames[0].height) == (320, 240)
        assert len(frames) >= 5


async def test_a_recording_of_nothing_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(tmp_path / "call.mp4", 0.0, lambda level: None)
    await sink.start()
    await sink.stop()
    never = Sink(tmp_path / "other.mp4", 0.0, lambda level: None)
    never.add(BarsTrack())
    await never.stop()
    assert caplog.record_tuples == []


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "call.mp4", tmp_path / "call.nonsense"):
        with pytest.raises(ConfigError, match=r"--record: .* cannot be written: .*; name a file such as call.mp4"):
            Sink(path, 0.0, lambda level: None)


def test_formats_that_are_not_measured() -> None:
    assert loudness(AudioFrame(format="flt", layout="mono", samples=10)) is None
    assert brightness(VideoFrame(16, 16, "rgb24")) is None
    assert loudness(AudioFrame(format="s16", layout="stereo", samples=0)) == 0
