"""Everything of icekit that runs on asyncio."""

from __future__ import annotations

from icekit.aio.aioice_candidates import from_aioice, to_aioice
from icekit.aio.connection import IceConnection
from icekit.aio.gatherer import gather
from icekit.aio.prober import Prober, ProberConfig
from icekit.aio.relay_check import RelayCheck
from icekit.aio.server import serve

__all__ = [
    # measure
    "Prober",
    "ProberConfig",
    "RelayCheck",
    "gather",
    # connect
    "IceConnection",
    "from_aioice",
    "to_aioice",
    # serve
    "serve",
]
