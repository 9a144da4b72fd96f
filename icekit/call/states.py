"""The states of a peer connection, from those of its transports (W3C WebRTC §4.3.3 and §4.3.4)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet


def ice_state(states: AbstractSet[str]) -> str:
    """``RTCIceConnectionState`` of transports in ``states``; closed transports do not count."""
    states = states - {"closed"}
    for state in ("failed", "disconnected"):
        if state in states:
            return state
    if states <= {"new"}:
        return "new"
    if states & {"new", "checking"}:
        return "checking"
    return "completed" if states == {"completed"} else "connected"


def connection_state(ice: AbstractSet[str], dtls: AbstractSet[str]) -> str:
    """``RTCPeerConnectionState`` of ICE and DTLS transports in these states."""
    if "failed" in ice | dtls:
        return "failed"
    if "disconnected" in ice:
        return "disconnected"
    if ice <= {"new", "closed"} and dtls <= {"new", "closed"}:
        return "new"
    if ice & {"new", "checking"} or dtls & {"new", "connecting"}:
        return "connecting"
    return "connected"
