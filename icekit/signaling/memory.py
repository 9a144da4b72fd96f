"""``memory:ROOM``: rooms of one process and one event loop."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from icekit.errors import ConfigError
from icekit.signaling.transport import Traits

QUEUE = 64
"""Most lines that wait for one reader; a sender waits for the slowest."""

_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, list[MemoryLink]]] = WeakKeyDictionary()


def transport(url: str, *, name: str, token: str | None) -> MemoryTransport:
    """``memory:ROOM``; the room is any text."""
    room = url.partition(":")[2]
    if not room:
        raise ConfigError("memory: needs a room: memory:ROOM")
    return MemoryTransport(room)


class MemoryTransport:
    """A room of this process."""

    traits = Traits()

    def __init__(self, room: str) -> None:
        self._room = room

    async def open(self) -> MemoryLink:
        """Join."""
        rooms = _rooms.setdefault(asyncio.get_running_loop(), {})
        return MemoryLink(rooms.setdefault(self._room, []))


class MemoryLink:
    """One member of a room."""

    def __init__(self, members: list[MemoryLink]) -> None:
        self._members = members
        self.lines: asyncio.Queue[str] = asyncio.Queue(QUEUE)
        members.append(self)

    async def send(self, line: str) -> None:
        """To every other member; waits for the slowest."""
        for member in list(self._members):
            if member is not self and member in self._members:
                await member.lines.put(line)

    async def receive(self) -> str:
        """The next line of another member."""
        return await self.lines.get()

    async def close(self) -> None:
        """Leave."""
        if self in self._members:
            self._members.remove(self)
            # Whoever waits for room in our queue need not wait any more.
            while not self.lines.empty():
                self.lines.get_nowait()
