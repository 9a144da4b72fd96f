"""``Mesh``: a call with everybody in a room, over one channel; up to eight people."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from aiortc.mediastreams import MediaStreamTrack

from icekit.call.call import Call, MessageChannel
from icekit.call.config import CallConfig
from icekit.call.outcome import CallOutcome
from icekit.call.sharing import SharedSource
from icekit.call.sources import open_sources
from icekit.errors import CallFailed, IcekitError
from icekit.servers import IceServer
from icekit.signaling.message import Message, Offer, Presence

log = logging.getLogger(__name__)

MAX_PEOPLE = 8
"""Everybody sends to everybody: more than this many need a server that forwards media."""

_MAX_WAITING = 1000


class PeerChannel:
    """The part of a channel that is for one peer, and from it."""

    def __init__(self, channel: MessageChannel, peer: str) -> None:
        self._channel = channel
        self._peer = peer
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(_MAX_WAITING)

    @property
    def name(self) -> str:
        """Our name in the room."""
        return self._channel.name

    async def send(self, message: Message) -> None:
        """Send it to the peer alone."""
        await self._channel.send(replace(message, to=self._peer))

    def give(self, message: Message | None) -> None:
        """A message of the peer, or ``None`` when the channel has ended. A peer that floods loses messages."""
        with contextlib.suppress(asyncio.QueueFull):
            self._messages.put_nowait(message)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self._messages.get()) is not None:
            yield message


class Mesh:
    """Enter it with ``async with``; it calls whoever is in the room, and whoever comes.

    ``media`` are opened once and shared by all calls. ``config.record`` gets the name of the peer before its ending.
    A call that fails is no failure of the others: it is in ``ended``, by peer, with those that were hung up.
    """

    def __init__(
        self,
        channel: MessageChannel,
        *,
        ice_servers: Sequence[IceServer] = (),
        media: Sequence[str | MediaStreamTrack] = (),
        config: CallConfig | None = None,
    ) -> None:
        self._channel = channel
        self._servers = tuple(ice_servers)
        self._media = tuple(media)
        self._config = config or CallConfig()
        self._sources: list[SharedSource] = []
        self._channels: dict[str, PeerChannel] = {}
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.ended: dict[str, CallOutcome] = {}
        """What became of calls that are over, the last one with each peer."""
        self.left_out: set[str] = set()
        """Who was in the room when it was full."""

    async def __aenter__(self) -> Mesh:
        """Open the media and look who is there."""
        words = [item for item in self._media if isinstance(item, str)]
        tracks: list[MediaStreamTrack] = [*await open_sources(words)]
        tracks += [item for item in self._media if not isinstance(item, str)]
        self._sources = [SharedSource(track) for track in tracks]
        self._reader = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    @property
    def calls(self) -> Mapping[str, Call]:
        """The calls that are not over, by the name of the peer."""
        return self._calls

    async def connected(self, count: int = 1) -> None:
        """Wait until so many calls are connected."""
        await self._until(lambda: sum(call.is_connected for call in self._calls.values()) >= count)

    async def until_ended(self, count: int = 1) -> None:
        """Wait until calls with so many peers are over."""
        await self._until(lambda: len(self.ended) >= count)

    def send(self, message: str | bytes) -> None:
        """Send it to everybody whose data channel is open."""
        for call in self._calls.values():
            if call.can_send:
                call.send(message)

    def mute(self, kind: Literal["audio", "video"], on: bool = True) -> None:
        """Send nobody any sound, or pictures, or do so again."""
        for call in self._calls.values():
            call.mute(kind, on)

    async def hang_up(self) -> None:
        """End all calls and close everything. Idempotent."""
        tasks = [*self._tasks.values(), *([] if self._reader is None else [self._reader])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for source in self._sources:
            await source.stop()

    # Inside.

    async def _read(self) -> None:
        """Give every peer its own; until the channel ends."""
        try:
            async for message in self._channel:
                self._take(message)
        except IcekitError as error:
            log.warning("the signaling has ended: %s", error)
        for channel in self._channels.values():
            channel.give(None)

    def _take(self, message: Message) -> None:
        match message:
            case Presence(joined=joined, left=left, peers=peers):
                for name in left:
                    self.left_out.discard(name)
                    if name in self._channels:
                        self._channels[name].give(Presence(left=(name,), sender=name))
                for name in (*joined, *peers):
                    if name not in left:
                        self._meet(name)
            case Offer(sender=str(name)) if name not in self._calls:
                # Somebody who is there longer than we know, or who calls once more.
                self._meet(name)
                if name in self._channels:
                    self._channels[name].give(message)
            case _ if message.sender in self._channels:
                self._channels[message.sender].give(message)
            case _:
                pass

    def _meet(self, name: str) -> None:
        if name == self._channel.name or name in self._calls:
            return
        if len(self._calls) >= MAX_PEOPLE - 1:
            if len(self.left_out) < 100 and name not in self.left_out:
                self.left_out.add(name)
                log.warning("%s is left out: a call like this one is for %d people", name, MAX_PEOPLE)
            return
        channel = self._channels[name] = PeerChannel(self._channel, name)
        channel.give(Presence(joined=(name,), peers=(name,), sender=name))
        record = self._config.record
        config = replace(self._config, peer=name, record=None if record is None else _file_of(record, name))
        call = Call(
            channel, ice_servers=self._servers, media=[source.share() for source in self._sources], config=config
        )
        self._calls[name] = call
        self._tasks[name] = asyncio.get_running_loop().create_task(self._run(name, call))

    async def _run(self, name: str, call: Call) -> None:
        """One call, from its beginning to its end."""
        reason, failure = "hung up", None
        try:
            async with call:
                try:
                    await call.connected()
                    self._changed.set()
                    reason = await call.ended()
                except CallFailed as error:
                    failure = error
                finally:
                    self.ended[name] = CallOutcome.of(call, reason, sent=0, received=0, failure=failure)
        finally:
            self._calls.pop(name, None)
            self._channels.pop(name, None)
            self._tasks.pop(name, None)
            self._changed.set()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._changed.clear()
            await self._changed.wait()


def _file_of(path: Path, name: str) -> Path:
    """``call.mp4`` and Bob: ``call-Bob.mp4``. A name is a stranger's, and no path."""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name[:60])
    return path.with_name(f"{path.stem}-{safe}{path.suffix}")
