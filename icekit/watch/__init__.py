"""The fleet prober: servers from a TOML file, checked at intervals, and their metrics. Needs the extra ``metrics``."""

from icekit.watch.fleet import Fleet, ServerResult
from icekit.watch.fleet_file import FleetConfig, WatchedServer, read_fleet

__all__ = ["Fleet", "FleetConfig", "ServerResult", "WatchedServer", "read_fleet"]
