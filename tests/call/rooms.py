"""Calls in rooms of this process, and what may happen to messages on their way there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from icekit.call import Call, CallConfig
from icekit.phases import Deadlines
from icekit.signaling import Message, connect
from icekit.signaling.channel import Channel

SECONDS = 30
LOCAL = ("127.0.0.1",)
_numbers = itertools.count()

Change = Callable[[Message], Iterable[Message]]


def new_room() -> str:
    return f"memory:call-{next(_numbers)}"


def config(*, deadlines: Deadlines | None = None, **more: Any) -> CallConfig:
    return CallConfig(local_addresses=LOCAL, deadlines=deadlines or Deadlines(), **more)


class Through:
    """A channel whose incoming messages are changed: dropped, repeated, held back until others have come."""

    def __init__(self, channel: Channel, change: Change) -> None:
        self._channel = channel
        self._change = change
        self.sent: list[Message] = []

    @property
    def name(self) -> str:
        return self._channel.name

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        await self._channel.send(message)

    async def __aiter__(self) -> AsyncIterator[Message]:
        async for message in self._channel:
            for item in self._change(message):
                yield item


@asynccontextmanager
async def room(*names: str, change: Change | None = None) -> AsyncIterator[list[Any]]:
    """A channel for each name; what the first one hears is changed. Nothing in it lasts longer than it should."""
    place = new_room()
    async with asyncio.timeout(SECONDS):
        channels = [connect(place, name=name) for name in names]
        entered: list[Any] = []
        try:
            for channel in channels:
                entered.append(await channel.__aenter__())
            if change is not None:
                entered[0] = Through(entered[0], change)
            yield entered
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))


@asynccontextmanager
async def two_calls(
    first: CallConfig | None = None,
    second: CallConfig | None = None,
    *,
    media: tuple[Any, ...] = ("tone",),
    names: tuple[str, str] = ("alice", "bob"),
    change: Change | None = None,
) -> AsyncIterator[tuple[Call, Call]]:
    """Both sides, entered and not yet connected."""
    async with (
        room(*names, change=change) as (one, other),
        Call(one, media=media, config=first or config()) as caller,
        Call(other, media=media, config=second or config()) as callee,
    ):
        yield caller, callee


async def both(*waits: Any) -> list[Any]:
    """All of them, with exceptions as results."""
    return await asyncio.gather(*waits, return_exceptions=True)


async def talk(one: Call, other: Call) -> None:
    """Data arrive both ways."""
    for source, target in ((one, other), (other, one)):
        await source.opened()
        source.send(f"from {source.peer}'s peer")
        assert await target.receive() == f"from {source.peer}'s peer"
