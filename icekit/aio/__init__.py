"""Everything of icekit that runs on asyncio."""

from __future__ import annotations

from icekit.aio.convert import from_aioice, to_aioice

__all__ = ["from_aioice", "to_aioice"]
