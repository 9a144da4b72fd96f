"""Calls with aiortc on icekit's view of the network.

::

    async with connect("ws://example.org/lobby") as channel, Call(channel, media=["tone", "bars"]) as call:
        await call.connected()

What needs aiortc is loaded when it is first asked for: importing that takes 300 ms.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from icekit.call.aiortc_candidates import from_aiortc, to_aiortc

if TYPE_CHECKING:
    from icekit.call.call import Call
    from icekit.call.config import CallConfig
    from icekit.call.explanation import explain
    from icekit.call.peer_connection import IceCandidateError, PeerConnection

__all__ = ["Call", "CallConfig", "IceCandidateError", "PeerConnection", "explain", "from_aiortc", "to_aiortc"]

_PLACES = {
    "Call": "icekit.call.call",
    "CallConfig": "icekit.call.config",
    "IceCandidateError": "icekit.call.peer_connection",
    "PeerConnection": "icekit.call.peer_connection",
    "explain": "icekit.call.explanation",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
