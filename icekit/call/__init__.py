"""Calls with aiortc on icekit's view of the network.

``PeerConnection`` is loaded when it is first asked for: importing aiortc takes 300 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icekit.call.convert import from_aiortc, to_aiortc

if TYPE_CHECKING:
    from icekit.call.peer_connection import IceCandidateError, PeerConnection

__all__ = ["IceCandidateError", "PeerConnection", "from_aiortc", "to_aiortc"]


def __getattr__(name: str) -> Any:
    if name in ("IceCandidateError", "PeerConnection"):
        from icekit.call import peer_connection

        return getattr(peer_connection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
