"""Where the media that we send comes from: synthetic tone and bars, files, cameras, microphones, screens."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame
from av.frame import Frame

from icekit.errors import ConfigError

if TYPE_CHECKING:
    from av.packet import Packet

_RATE, _SAMPLES = 48000, 960
# 8 periods fit into one frame of 20 ms, so that all frames are alike.
_TONE = 400
_AMPLITUDE = 8000
_WIDTH, _HEIGHT, _FRAMES = 320, 240, 15
_CLOCK = 90000
# ITU-R BT.601: white, yellow, cyan, green, magenta, red, blue, black.
_BARS = ((235, 128, 128), (210, 16, 146), (170, 166, 16), (145, 54, 34), (106, 202, 222), (81, 90, 240), (41, 240, 110))
_BARS_BLACK = (16, 128, 128)

SOURCES: Final = ("tone", "bars", "file:PATH", "camera[:DEVICE]", "microphone[:DEVICE]", "screen[:DISPLAY]")
"""What ``open_sources`` knows."""


class _Paced(MediaStreamTrack):
    """A track that makes its frames itself, by the clock of the loop, which may be a simulated one."""

    def __init__(self, step: Fraction) -> None:
        super().__init__()
        self._step = step
        self._began: float | None = None
        self._number = -1

    async def next_number(self) -> int:
        """Wait until the next frame is due. A track that was not read for a while goes on with what is due now."""
        if self.readyState != "live":
            raise MediaStreamError
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now
        self._number = max(self._number + 1, math.floor((now - self._began) / self._step))
        await asyncio.sleep(self._began + float(self._number * self._step) - now)
        return self._number


class ToneTrack(_Paced):
    """A sine of 400 Hz, 48 kHz mono."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__(Fraction(_SAMPLES, _RATE))
        wave = (round(_AMPLITUDE * math.sin(2 * math.pi * _TONE * index / _RATE)) for index in range(_SAMPLES))
        self._data = array("h", wave).tobytes()

    async def recv(self) -> Frame:
        """The next 20 ms."""
        number = await self.next_number()
        frame = AudioFrame(format="s16", layout="mono", samples=_SAMPLES)
        frame.planes[0].update(self._data)
        frame.sample_rate, frame.time_base = _RATE, Fraction(1, _RATE)
        frame.pts = number * _SAMPLES
        return frame


class BarsTrack(_Paced):
    """Colour bars of 320 × 240 that move by two pixels with each of 15 frames a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__(Fraction(1, _FRAMES))
        bars = (*_BARS, _BARS_BLACK)
        self._rows = [
            b"".join(bytes([bar[plane]]) * (width // len(bars)) for bar in bars)
            for plane, width in enumerate((_WIDTH, _WIDTH // 2, _WIDTH // 2))
        ]

    async def recv(self) -> Frame:
        """The next picture."""
        number = await self.next_number()
        frame = VideoFrame(_WIDTH, _HEIGHT, "yuv420p")
        for plane, row in zip(frame.planes, self._rows, strict=True):
            shift = number * len(row) // (_WIDTH // 2) % len(row)
            moved = (row[shift:] + row[:shift]).ljust(plane.line_size, b"\0")
            plane.update(moved * plane.height)
        frame.time_base = Fraction(1, _CLOCK)
        frame.pts = number * _CLOCK // _FRAMES
        return frame


class SwitchedTrack(MediaStreamTrack):
    """Another track that can be muted: then it gives silence, or black pictures, at the same pace."""

    def __init__(self, source: MediaStreamTrack) -> None:
        super().__init__()
        self.kind = source.kind
        self.muted = False
        self._source = source

    async def recv(self) -> Frame | Packet[Any]:
        """The next frame of the source, or an empty one with its time."""
        if self.readyState != "live":
            raise MediaStreamError
        try:
            frame = await self._source.recv()
        except MediaStreamError:
            self.stop()
            raise
        if not self.muted:
            return frame
        return _silent(frame) if isinstance(frame, AudioFrame) else _black(frame)

    def stop(self) -> None:
        """Stop it, and its source."""
        super().stop()
        self._source.stop()


def _silent(frame: AudioFrame) -> AudioFrame:
    empty = AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=frame.samples)
    for plane in empty.planes:
        plane.update(bytes(plane.buffer_size))
    empty.sample_rate, empty.pts, empty.time_base = frame.sample_rate, frame.pts, frame.time_base
    return empty


def _black(frame: Frame | Packet[Any]) -> VideoFrame:
    assert isinstance(frame, VideoFrame)
    empty = VideoFrame(frame.width, frame.height, "yuv420p")
    for plane, value in zip(empty.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    empty.pts, empty.time_base = frame.pts, frame.time_base
    return empty


@dataclass(frozen=True, slots=True)
class _Device:
    """How FFmpeg is told to open a device on one platform: its format, the name where none is given, and options."""

    format: str
    name: str
    options: dict[str, str]
    prefix: str = ""


_DEVICES: Final = {
    ("camera", "linux"): _Device("v4l2", "/dev/video0", {"video_size": "640x480"}),
    ("microphone", "linux"): _Device("alsa", "default", {}),
    ("screen", "linux"): _Device("x11grab", "", {"framerate": "15"}),
    ("camera", "darwin"): _Device("avfoundation", "default:none", {"framerate": "30", "video_size": "640x480"}),
    ("microphone", "darwin"): _Device("avfoundation", "none:default", {}),
    ("screen", "darwin"): _Device("avfoundation", "Capture screen 0:none", {"framerate": "15"}),
    ("camera", "win32"): _Device("dshow", "Integrated Camera", {}, "video="),
    ("microphone", "win32"): _Device("dshow", "Microphone", {}, "audio="),
    ("screen", "win32"): _Device("gdigrab", "desktop", {"framerate": "15"}),
}

_ADVICE: Final = {
    "file": "name a file that FFmpeg can read",
    "camera": "connect a camera, allow its use, or name another one (camera:/dev/video1); bars needs none",
    "microphone": "connect a microphone, allow its use, or name another one (microphone:hw:1); tone needs none",
    "screen": "run it in a graphical session, or name a display (screen::0)",
}


async def open_sources(words: Sequence[str]) -> list[SwitchedTrack]:
    """The tracks that ``words`` name, each one of ``SOURCES``, opened and ready to be read; files are played once.

    ConfigError says which cannot be opened, why, and what to do; what was open by then is closed.
    """
    tracks: list[SwitchedTrack] = []
    try:
        for word in words:
            tracks += [SwitchedTrack(track) for track in await _open(word)]
    except BaseException:
        for track in tracks:
            track.stop()
        raise
    return tracks


async def _open(word: str) -> list[MediaStreamTrack]:
    kind, _, name = word.partition(":")
    match kind:
        case "tone" if not name:
            return [ToneTrack()]
        case "bars" if not name:
            return [BarsTrack()]
        case "file" if name:
            return await _play(word, kind, name, None, {})
        case "camera" | "microphone" | "screen":
            device = _DEVICES.get((kind, sys.platform))
            if device is None:
                raise ConfigError(f"{kind}: not known on {sys.platform}; play a file instead (file:PATH)")
            name = name or device.name or os.environ.get("DISPLAY", "")
            return await _play(word, kind, f"{device.prefix}{name}", device.format, device.options)
    raise ConfigError(f"media {word!r} is not known; write {', '.join(SOURCES)}")


async def _play(word: str, kind: str, name: str, form: str | None, options: dict[str, str]) -> list[MediaStreamTrack]:
    """Open it with FFmpeg, in a thread: a camera takes a second."""
    if kind == "screen" and not name:
        raise ConfigError(f"screen cannot be opened: DISPLAY is not set; {_ADVICE[kind]}")
    work = asyncio.ensure_future(asyncio.to_thread(_make_player, name, form, options))
    try:
        player = await asyncio.shield(work)
    except asyncio.CancelledError:
        # The thread goes on; what it opens must not stay open.
        work.add_done_callback(_discard)
        raise
    except (OSError, ValueError, av.FFmpegError) as error:
        raise ConfigError(f"{word} cannot be opened: {_reason(error)}; {_ADVICE[kind]}") from None
    tracks = [track for track in (player.audio, player.video) if track is not None]
    if not tracks:
        raise ConfigError(f"{word} has neither sound nor pictures; {_ADVICE[kind]}")
    return tracks


def _make_player(name: str, form: str | None, options: dict[str, str]) -> MediaPlayer:
    return MediaPlayer(name, format=form, options=options)


def _discard(work: asyncio.Future[MediaPlayer]) -> None:
    if not work.cancelled() and work.exception() is None:
        _stop(work.result())


def _stop(player: MediaPlayer) -> None:
    for track in (player.audio, player.video):
        if track is not None:
            track.stop()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
