"""icekit: why a call connects or does not, and what makes it connect. Importing it loads no event loop."""

from __future__ import annotations

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.servers import IceServer

__all__ = ["Candidate", "CandidateType", "IceServer", "TcpType", "__version__"]

__version__ = "0.1.0"
