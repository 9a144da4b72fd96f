"""The pace that all agents of a process share (RFC 8445 §14.2)."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from icekit.pacing import Floor

# Each loop has its own clock, and a simulated one its own world.
_FLOORS: WeakKeyDictionary[asyncio.AbstractEventLoop, Floor] = WeakKeyDictionary()


def shared_floor() -> Floor:
    """The floor of the running loop; where none runs, nothing is shared."""
    try:
        return _FLOORS.setdefault(asyncio.get_running_loop(), Floor())
    except RuntimeError:
        return Floor()
