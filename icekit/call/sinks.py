"""What becomes of the media that comes in: it is measured, and thrown away or written to a file."""

from __future__ import annotations

import asyncio
import logging
import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from aiortc.contrib.media import MediaRecorder
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame
from av.frame import Frame

from icekit.errors import ConfigError

if TYPE_CHECKING:
    from av.packet import Packet

log = logging.getLogger(__name__)

_FULL_SCALE = 32768.0


@dataclass(slots=True)
class Level:
    """What has come of one track: decoded ``frames``, when the first one came, and how loud or bright it is.

    ``level`` is of the last frame: for sound the root mean square from 0 to 1 (a full square wave), for pictures the
    mean brightness from 0 to 1, ``None`` before the first frame. ``first`` in seconds since the call began, ``size`` in
    pixels.
    """

    kind: str
    frames: int = 0
    first: float | None = None
    level: float | None = None
    size: tuple[int, int] | None = None


class MeasuredTrack(MediaStreamTrack):
    """A track of the peer that is measured while it is read; ``first`` is called with its first frame.

    The call began at ``began``, in the loop's time.
    """

    def __init__(self, source: MediaStreamTrack, began: float, first: Callable[[Level], None]) -> None:
        super().__init__()
        self.kind = source.kind
        self.level = Level(source.kind)
        self._source = source
        self._began = began
        self._first = first

    async def recv(self) -> Frame | Packet[Any]:
        """The next frame."""
        frame = await self._source.recv()
        level = self.level
        level.frames += 1
        if isinstance(frame, AudioFrame):
            level.level = loudness(frame)
        elif isinstance(frame, VideoFrame):
            level.level, level.size = brightness(frame), (frame.width, frame.height)
        if level.first is None:
            level.first = asyncio.get_running_loop().time() - self._began
            self._first(level)
        return frame


def loudness(frame: AudioFrame) -> float | None:
    """Root mean square of the samples, 0 to 1; ``None`` for other formats than 16 bits, which aiortc decodes to."""
    if not frame.format.name.startswith("s16"):
        return None
    if not frame.samples:
        return 0.0
    samples = array("h")
    plane = frame.planes[0]
    wanted = frame.samples * (1 if frame.format.is_planar else len(frame.layout.channels)) * samples.itemsize
    samples.frombytes(bytes(plane)[:wanted])
    # Every fourth sample is enough to tell silence from speech.
    some = samples[::4]
    return math.sqrt(sum(value * value for value in some) / len(some)) / _FULL_SCALE


def brightness(frame: VideoFrame) -> float | None:
    """Mean of the luma, 0 to 1; ``None`` for formats without a plane of it."""
    if not frame.format.name.startswith("yuv"):
        return None
    some = bytes(frame.planes[0])[::997]
    return sum(some) / len(some) / 255


class Sink:
    """Reads every track of the peer: measures it and throws it away, or records it to ``path``.

    ``first`` is called with the first frame of each track. ConfigError if the file cannot be written.
    """

    def __init__(self, path: Path | None, began: float, first: Callable[[Level], None]) -> None:
        self._began = began
        self._first = first
        self._path = path
        self._recorder: MediaRecorder | None = None
        self._recording = False
        self._tracks: dict[str, MeasuredTrack] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        if path is not None:
            try:
                # FFmpeg itself finds out with the first frame only.
                path.open("wb").close()
                self._recorder = MediaRecorder(str(path))
            except (OSError, ValueError, av.FFmpegError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise ConfigError(
                    f"--record: {path} cannot be written: {reason}; name a file such as call.mp4, call.webm or call.wav"
                ) from None

    @property
    def levels(self) -> tuple[Level, ...]:
        """One for each track, in the order in which they came."""
        return tuple(track.level for track in self._tracks.values())

    def add(self, track: MediaStreamTrack) -> None:
        """Begin to read a track. One that comes after the recording has begun is only measured."""
        measured = self._tracks[track.id] = MeasuredTrack(track, self._began, self._first)
        if self._recorder is not None and not self._recording:
            self._recorder.addTrack(measured)
        else:
            self._tasks[track.id] = asyncio.get_running_loop().create_task(_consume(measured))

    def renew(self) -> None:
        """What comes from now on is of a new connection; what is recorded already goes on."""
        for identifier, task in self._tasks.items():
            task.cancel()
            self._tracks.pop(identifier)
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)
        self._tasks.clear()

    async def start(self) -> None:
        """All tracks are there: begin the recording."""
        if self._recorder is not None and not self._recording and self._tracks:
            self._recording = True
            await self._recorder.start()

    async def stop(self) -> None:
        """Stop reading, and finish the file. Idempotent."""
        tasks = {*self._tasks.values(), *self._cancelled}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        try:
            await recorder.stop()
        except (OSError, ValueError, av.FFmpegError) as error:
            # FFmpeg cannot finish a file that nothing was written to.
            log.warning("the recording %s is not complete: %s", self._path, error)


async def _consume(track: MediaStreamTrack) -> None:
    try:
        while True:
            await track.recv()
    except MediaStreamError:
        return
