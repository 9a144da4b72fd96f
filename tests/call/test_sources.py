"""Sources of media: those that we make, those of FFmpeg, and what is said where there is none."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from icekit.call import sources
from icekit.call.sinks import brightness, loudness
from icekit.call.sources import BarsTrack, SwitchedTrack, ToneTrack, open_sources
from icekit.errors import ConfigError
from icekit.sim import Internet
from tests.call.calls import until, until_the_end
from tests.requirements import require_program


async def test_the_tone() -> None:
    track = ToneTrack()
    frames = [await track.recv() for _ in range(3)]
    assert [(frame.pts, frame.sample_rate, frame.samples) for frame in frames] == [
        (0, 48000, 960),
        (960, 48000, 960),
        (1920, 48000, 960),
    ]
    assert loudness(frames[0]) == pytest.approx(8000 / 32768 / math.sqrt(2), rel=0.01)
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()


async def test_the_bars_move() -> None:
    track = BarsTrack()
    frames = [await track.recv() for _ in range(2)]
    assert [(frame.width, frame.height, frame.format.name) for frame in frames] == [(320, 240, "yuv420p")] * 2
    assert [frame.pts for frame in frames] == [0, 6000]
    rows = [bytes(frame.planes[0])[:320] for frame in frames]
    assert rows[1] == rows[0][2:] + rows[0][:2]
    assert {bytes(frames[0].planes[0])[20], bytes(frames[0].planes[0])[300]} == {235, 16}
    assert 0.3 < (brightness(frames[0]) or 0) < 0.6


def test_the_pace_is_the_loops() -> None:
    async def main() -> float:
        track = ToneTrack()
        for _ in range(501):
            await track.recv()
        return asyncio.get_running_loop().time()

    assert Internet(seed=1).run(main()) == pytest.approx(10.0)


async def test_muted_is_silent_and_black() -> None:
    sound, picture = SwitchedTrack(ToneTrack()), SwitchedTrack(BarsTrack())
    for track in (sound, picture):
        track.muted = True
    heard, seen = await sound.recv(), await picture.recv()
    assert isinstance(heard, AudioFrame)
    assert isinstance(seen, VideoFrame)
    assert loudness(heard) == 0
    assert (brightness(seen) or 0) == pytest.approx(16 / 255)
    assert (heard.samples, heard.pts, seen.pts) == (960, 0, 0)
    sound.muted = False
    assert (loudness(await sound.recv()) or 0) > 0.1  # type: ignore[arg-type]
    picture.stop()
    assert picture._source.readyState == "ended"
    with pytest.raises(MediaStreamError):
        await picture.recv()


async def test_a_source_that_ends_ends_the_track() -> None:
    source = AudioStreamTrack()
    track = SwitchedTrack(source)
    source.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert track.readyState == "ended"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Half a second of a test picture and a tone."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        picture, sound = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=48000)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            frame = VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([40 * number]) * plane.buffer_size)
            frame.pts = number
            container.mux(picture.encode(frame))
        for number in range(24):
            tone = AudioFrame(format="fltp", layout="mono", samples=1024)
            tone.planes[0].update(bytes(tone.planes[0].buffer_size))
            tone.sample_rate, tone.pts = 48000, 1024 * number
            container.mux(sound.encode(tone))
        for stream in (picture, sound):
            container.mux(stream.encode(None))
    return path


async def test_a_file_is_played_once(recording: Path) -> None:
    tracks = await open_sources([f"file:{recording}"])
    try:
        assert [track.kind for track in tracks] == ["audio", "video"]
        assert isinstance(await tracks[0].recv(), AudioFrame)
        # aiortc loses the last pictures, which a decoder gives only at the end.
        for _ in range(2):
            frame = await tracks[1].recv()
            assert isinstance(frame, VideoFrame)
            assert frame.width == 64
        await until_the_end(tracks[1])
        assert tracks[1].readyState == "ended"
    finally:
        for track in tracks:
            track.stop()


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("radio", r"'radio' is not known; write tone, bars, file:PATH"),
        ("tone:440", "is not known"),
        ("file", "is not known"),
        ("file:/nowhere/clip.mp4", r"file:/nowhere/clip.mp4 cannot be opened: No such file or directory; name a file"),
        ("camera:/dev/no-such-camera", r"cannot be opened: .*; connect a camera, allow its use, or name another one"),
        ("microphone:no-such-device", r"cannot be opened: .*; connect a microphone, allow its use"),
        ("screen::977", r"cannot be opened: .*; run it in a graphical session"),
    ],
)
async def test_what_cannot_be_opened(word: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        await open_sources(["tone", word])


async def test_no_display_and_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    if sys.platform == "linux":
        with pytest.raises(ConfigError, match="DISPLAY is not set; run it in a graphical session"):
            await open_sources(["screen"])
    monkeypatch.setattr(sources.sys, "platform", "plan9")
    with pytest.raises(ConfigError, match="camera: not known on plan9; play a file instead"):
        await open_sources(["camera"])
    text = tmp_path / "text.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(ConfigError, match="has neither sound nor pictures"):
        await open_sources([f"file:{text}"])


@pytest.mark.parametrize(
    ("kind", "graph", "media"),
    [("camera", "testsrc=size=64x48:rate=30", "video"), ("microphone", "sine=frequency=440", "audio")],
)
async def test_a_device_of_ffmpeg(kind: str, graph: str, media: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's own synthetic devices in place of hardware."""
    monkeypatch.setitem(sources._DEVICES, (kind, sys.platform), sources._Device("lavfi", "", {}))
    (track,) = await open_sources([f"{kind}:{graph}"])
    assert track.kind == media
    assert isinstance(await track.recv(), VideoFrame if media == "video" else AudioFrame)
    track.stop()


async def test_whoever_is_cancelled_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MediaStreamTrack] = []
    player = sources._make_player

    def slow(*arguments: object) -> object:
        result = player(*arguments)  # type: ignore[arg-type]
        made.append(result.video)  # type: ignore[arg-type]
        return result

    monkeypatch.setattr(sources, "_make_player", slow)
    monkeypatch.setitem(sources._DEVICES, ("camera", sys.platform), sources._Device("lavfi", "", {}))
    task = asyncio.ensure_future(open_sources(["camera:testsrc=size=64x48"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: bool(made) and made[0].readyState == "ended")


@pytest.fixture
def display() -> Iterator[str]:
    """A screen that nobody sees."""
    require_program("Xvfb")
    program = shutil.which("Xvfb")
    assert program is not None
    read, write = os.pipe()
    # It takes the first free number and tells it.
    process = subprocess.Popen(
        [program, "-displayfd", str(write), "-screen", "0", "160x120x24", "-nolisten", "tcp"],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            yield f":{pipe.readline().strip()}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(sys.platform != "linux", reason="X11 grabs screens on Linux")
async def test_the_screen(display: str) -> None:
    (track,) = await open_sources([f"screen:{display}"])
    frame = await track.recv()
    assert isinstance(frame, VideoFrame)
    assert (frame.width, frame.height) == (160, 120)
    track.stop()
