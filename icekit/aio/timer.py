"""One timer that is moved often, and mostly to a later time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable


class Timer:
    """The time of one core on ``loop``; times in seconds, on its clock.

    An answer moves the time of a core away, and the next check brings it back. A cancelled timer of asyncio stays in
    the loop's heap, and with 1,000 cores those are thousands of objects that are sorted and looked through by the
    garbage collector. So a later time is only remembered: the timer that is there wakes up, and sleeps on.
    It rings in the context that it was made in, as who moves it may be anybody.
    """

    __slots__ = ("_context", "_handle", "_loop", "when")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = contextvars.copy_context()
        self._handle: asyncio.TimerHandle | None = None
        self.when: float | None = None
        """When it rings next."""

    def set(self, when: float | None, ring: Callable[[float], None]) -> None:
        """Call ``ring(now)`` at ``when`` and not before; ``None``: never."""
        self.when = when
        if self._handle is not None:
            if when is not None and self._handle.when() <= when:
                return
            self._handle.cancel()
            self._handle = None
        if when is not None:
            # Only the loop refers to ``ring``: a core that was closed is to end without the garbage collector.
            self._handle = self._loop.call_at(when, self._woken, when, ring, context=self._context)

    def _woken(self, armed: float, ring: Callable[[float], None]) -> None:
        self._handle = None
        # The loop may call up to its clock resolution early; a core must see the time that it asked for.
        now = max(self._loop.time(), armed)
        if self.when is not None and self.when > now:
            self.set(self.when, ring)
        else:
            self.when = None
            ring(now)

    def cancel(self) -> None:
        """It does not ring any more."""
        self.when = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
