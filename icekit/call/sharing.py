"""One source of media for several calls: a camera can be opened once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.frame import Frame

if TYPE_CHECKING:
    from av.packet import Packet

# A call that cannot keep up loses the oldest frames: what is late is of no use.
_MAX_WAITING = 8


class SharedTrack(MediaStreamTrack):
    """What one call gets of a source."""

    def __init__(self, source: SharedSource) -> None:
        super().__init__()
        self.kind = source.kind
        self._source = source
        self._frames: deque[Frame | Packet[Any] | None] = deque(maxlen=_MAX_WAITING)
        self._arrived = asyncio.Event()

    async def recv(self) -> Frame | Packet[Any]:
        """The next frame since this was first asked for one."""
        if self.readyState != "live":
            raise MediaStreamError
        self._source.read_for(self)
        while not self._frames:
            self._arrived.clear()
            await self._arrived.wait()
        frame = self._frames.popleft()
        if frame is None:
            self.stop()
            raise MediaStreamError
        return frame

    def give(self, frame: Frame | Packet[Any] | None) -> None:
        """A frame, or ``None`` for the end."""
        self._frames.append(frame)
        self._arrived.set()

    def stop(self) -> None:
        """This call needs no more; the others go on."""
        super().stop()
        self._source.forget(self)
        self.give(None)


class SharedSource:
    """Reads a track while anybody wants frames of it."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self.kind = track.kind
        self._track = track
        self._readers: set[SharedTrack] = set()
        self._task: asyncio.Task[None] | None = None

    def share(self) -> SharedTrack:
        """A track for one more call."""
        return SharedTrack(self)

    def read_for(self, reader: SharedTrack) -> None:
        """From now on ``reader`` gets frames."""
        self._readers.add(reader)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read())

    def forget(self, reader: SharedTrack) -> None:
        """It wants no more."""
        self._readers.discard(reader)

    async def stop(self) -> None:
        """Stop the source, and everybody who reads it."""
        self._track.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._give(None)

    async def _read(self) -> None:
        try:
            while True:
                self._give(await self._track.recv())
        except MediaStreamError:
            self._give(None)

    def _give(self, frame: Frame | Packet[Any] | None) -> None:
        for reader in tuple(self._readers):
            reader.give(frame)
