"""Tasks on the side of an object, which end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Runs tasks and keeps them: the loop alone would let them be collected before they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        """Begin ``work`` in one of the next turns of the loop."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """End all of them, in one of the next turns of the loop."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """End all of them, and wait until they have ended."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
