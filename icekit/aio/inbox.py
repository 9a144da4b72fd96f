"""Datagrams of the peer that wait for ``recv()``."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

_MAX_WAITING = 1024


class Inbox:
    """A bounded queue of data and its component; what finds no room is dropped, as a socket would."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, data: bytes, component: int) -> None:
        """The peer has sent this."""
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append((data, component))
            self._arrived.set()
        else:
            log.debug("! nobody reads; dropped %d bytes", len(data))

    def wake(self) -> None:
        """Nothing more may come: whoever waits looks again."""
        self._arrived.set()

    def popleft(self) -> tuple[bytes, int]:
        """The oldest; IndexError if there is none."""
        return self._waiting.popleft()

    async def take(self, check: Callable[[], None]) -> tuple[bytes, int]:
        """The oldest, as soon as there is one; ``check`` raises when waiting is, or has become, for nothing."""
        while not self._waiting:
            check()
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()
