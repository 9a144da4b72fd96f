"""icekit: why a call connects or does not, and what makes it connect. Importing it loads no event loop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icekit.candidate import Candidate, CandidateType, TcpType
    from icekit.servers import IceServer

__all__ = ["Candidate", "CandidateType", "IceServer", "TcpType", "__version__"]

__version__ = "0.1.0"

if not TYPE_CHECKING:  # or a type checker would believe every name
    # Loaded when they are first used: who imports `icekit.call` or `icekit.cli` need not wait for them.
    _HOMES = {
        "Candidate": "icekit.candidate",
        "CandidateType": "icekit.candidate",
        "IceServer": "icekit.servers",
        "TcpType": "icekit.candidate",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'icekit' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
