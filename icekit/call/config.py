"""How a call is made."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy

from icekit.call.peer_connection import PeerConnection
from icekit.ice_config import IceConfig
from icekit.phases import Deadlines
from icekit.servers import IceServer


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConfig:
    """The settings of a call; all have defaults.

    ``engine``: icekit's ICE, or aiortc as it is (``aioice``: one server of each kind, no trickle, no restart).
    ``relay_only``: only through TURN. ``data``: open a data channel. ``receive``: kinds of media that are taken even
    where nothing of that kind is sent. ``peer``: the only name that may be the other side. ``local_addresses``: instead
    of the machine's. ``record``: a file for what the peer sends. ``interval`` of the statistics, in seconds.
    """

    engine: Literal["icekit", "aioice"] = "icekit"
    relay_only: bool = False
    data: bool = True
    receive: tuple[str, ...] = ("audio", "video")
    peer: str | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    local_addresses: tuple[str, ...] | None = None
    ice: IceConfig | None = None
    ssl_context: ssl.SSLContext | None = None
    record: Path | None = None
    interval: float = 1.0

    def connection(self, ice_servers: Sequence[IceServer]) -> PeerConnection:
        """A new peer connection; ConfigError for servers that cannot be asked, and without a local address."""
        policy = RTCIceTransportPolicy.RELAY if self.relay_only else RTCIceTransportPolicy.ALL
        servers = [
            RTCIceServer([str(url) for url in server.urls], server.username, server.credential)
            for server in ice_servers
        ]
        return PeerConnection(
            RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE, iceTransportPolicy=policy),
            engine=self.engine,
            local_addresses=self.local_addresses,
            config=self.ice,
            ssl_context=self.ssl_context,
        )
