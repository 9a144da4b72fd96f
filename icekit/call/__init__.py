"""Calls with aiortc on icekit's view of the network."""

from __future__ import annotations

from icekit.call.convert import from_aiortc, to_aiortc

__all__ = ["from_aiortc", "to_aiortc"]
