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
        self.waiting: deque[tuple[bytes, int]] = deque()
        """The oldest first."""
        # A future for each reader that waits: cheaper than an Event, and data comes often.
        self._readers: list[asyncio.Future[None]] = []

    def put(self, data: bytes, component: int) -> None:
        """The peer has sent this."""
        if len(self.waiting) < _MAX_WAITING:
            self.waiting.append((data, component))
            if self._readers:
                self.wake()
        else:
            log.debug("! nobody reads; dropped %d bytes", len(data))

    def wake(self) -> None:
        """Whoever waits looks again."""
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)

    async def take(self, check: Callable[[], None]) -> tuple[bytes, int]:
        """The oldest, as soon as there is one; ``check`` raises when waiting is, or has become, for nothing."""
        while not self.waiting:
            check()
            reader = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            try:
                await reader
            finally:
                self._readers.remove(reader)
        return self.waiting.popleft()
