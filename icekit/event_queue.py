"""What a core has to tell its owner, in order."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

EventT = TypeVar("EventT")


class EventQueue(Generic[EventT]):
    """Events that wait for their owner. ``room``: how many may wait before what comes from the network is dropped."""

    __slots__ = ("_events", "_room", "dropped")

    def __init__(self, room: int) -> None:
        self.dropped = 0  # for want of room
        self._room = room
        self._events: deque[EventT] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: EventT) -> None:
        """The core's own news: there are few, and none may be lost."""
        self._events.append(event)

    def offer(self, event: EventT) -> None:
        """What the peers decide the number of: dropped when nobody takes it, as a full socket buffer would."""
        if len(self._events) < self._room:
            self._events.append(event)
        else:
            self.dropped += 1

    def next(self) -> EventT | None:
        """The oldest one."""
        return self._events.popleft() if self._events else None

    def drain(self) -> list[EventT]:
        """All of them."""
        events = list(self._events)
        self._events.clear()
        return events
