"""What has happened to a connection, with its times."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from icekit.session import SessionEvent

_MAX_ENTRIES = 1000

Entry = tuple[float, SessionEvent]


class History:
    """Events with the time of the loop, oldest first; the last 1,000 of them."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self._added = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, now: float, event: SessionEvent) -> None:
        """It happens now."""
        self._entries.append((now, event))
        self._added += 1

    def after(self, told: int) -> tuple[list[Entry], int]:
        """What came after the first ``told`` and is still known, and how many have come in all."""
        new = min(self._added - told, len(self._entries))
        return list(self._entries)[len(self._entries) - new :], self._added
