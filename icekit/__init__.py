"""icekit: why a call connects or does not, and what makes it connect. Importing it loads no event loop."""

from __future__ import annotations

from icekit.servers import IceServer

__all__ = ["IceServer", "__version__"]

__version__ = "0.1.0"
