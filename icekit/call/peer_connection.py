"""``PeerConnection``: ``aiortc.RTCPeerConnection`` on icekit's ICE: trickle, restarts, any number of servers."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import aioice
from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceGatherer,
    RTCIceServer,
    RTCSessionDescription,
    RTCStatsReport,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from icekit.aio.connection import IceConnection
from icekit.call.aiortc_candidates import to_aiortc
from icekit.call.description import announce, read_announced
from icekit.call.stats import ice_stats
from icekit.call.stock import IceTransport, StockPeerConnection
from icekit.errors import ConfigError
from icekit.gathering_events import CandidateGathered, ServerFailed
from icekit.gathering_plan import gather_servers
from icekit.ice import IceConfig
from icekit.network_config import NetworkConfig
from icekit.pacing import Floor
from icekit.servers import IceServer

log = logging.getLogger(__name__)

# Candidates that came before the description that they belong to.
_MAX_EARLY = 256
# W3C WebRTC §4.8.3: the code of a server that cannot be reached.
_UNREACHABLE = 701


@dataclass(frozen=True, slots=True)
class IceCandidateError:
    """``RTCPeerConnectionIceErrorEvent``: a server gave nothing; ``errorCode`` is STUN's, or 701 (not reached)."""

    address: str | None
    port: int | None
    url: str
    errorCode: int  # noqa: N815
    errorText: str  # noqa: N815


class PeerConnection(StockPeerConnection):
    """Use it as ``aiortc.RTCPeerConnection``; what it does beyond:

    The events ``icecandidate`` (an ``RTCIceCandidate``, then ``None``) and ``icecandidateerror``. With a handler for
    the first, ``setLocalDescription`` returns at once and candidates trickle; an answer does so only if the offer
    announced trickle, and has the host candidates. Without, it waits for the servers, but for no straggler: about
    300 ms after the last candidate, 2 s at most.
    ``localDescription`` contains what has been gathered so far. ``addIceCandidate`` may come before the description.
    ``iceConnectionState`` and ``connectionState`` know ``disconnected``; a connection that failed is closed after 30 s
    if nobody restarts it. All URLs of all ICE servers are used; ConfigError for one that cannot be.

    ``engine="aioice"`` is aiortc as it is. ``local_addresses`` are used instead of the machine's interfaces.
    ``network`` has filters, the port range, announced addresses and TCP; ``ssl_context`` is for ``turns:``; ``floor``
    as of ``IceConnection``.
    """

    def __init__(
        self,
        configuration: RTCConfiguration | None = None,
        *,
        engine: Literal["icekit", "aioice"] = "icekit",
        local_addresses: Sequence[str] | None = None,
        network: NetworkConfig | None = None,
        config: IceConfig | None = None,
        ssl_context: ssl.SSLContext | None = None,
        floor: Floor | None = None,
    ) -> None:
        if engine not in ("icekit", "aioice"):
            raise ConfigError(f"no engine is called {engine!r}; choose icekit or aioice")
        configuration = RTCConfiguration() if configuration is None else configuration
        if not isinstance(configuration, RTCConfiguration):
            raise TypeError(
                f"the configuration is aiortc's RTCConfiguration, not {type(configuration).__name__}: "
                "RTCConfiguration(iceServers=[RTCIceServer('stun:HOST')])"
            )
        self.stock = engine == "aioice"
        self._config = config or IceConfig()
        self._local_addresses = local_addresses
        self._network = network
        self._ssl_context = ssl_context
        self._floor = floor
        self._servers = () if self.stock else ice_servers(configuration.iceServers)
        self._relay_only = configuration.iceTransportPolicy is RTCIceTransportPolicy.RELAY
        self._peer_trickles: bool | None = None
        # RFC 8839 §5.5 compares proposals; until there is one of the peer's, ours holds for the gathering.
        self._peer_pacing: float | None = self._config.ta
        self._peer_renominates = False
        self._early: list[RTCIceCandidate | None] = []
        self._restart_wanted = False
        self._trickling: dict[IceTransport, tuple[str, asyncio.Task[None]]] = {}
        self._end_told = False
        self._ending: asyncio.Task[None] | None = None
        super().__init__(configuration)

    def make_connection(self, username: str | None, password: str | None) -> IceConnection:
        """The connection of a new transport."""
        connection = IceConnection(
            False,
            transport_policy=aioice.TransportPolicy.RELAY if self._relay_only else None,
            local_username=username,
            local_password=password,
            ice_servers=self._servers,
            local_addresses=self._local_addresses,
            network=self._network,
            config=self._config,
            ssl_context=self._ssl_context,
            floor=self._floor,
        )
        connection.set_pacing(self._peer_pacing)
        connection.set_renomination(self._peer_renominates)
        return connection

    @property
    def canTrickleIceCandidates(self) -> bool | None:
        """Whether the peer takes candidates that come later (W3C WebRTC §4.4.2); ``None`` before its description."""
        return self._peer_trickles

    @property
    def localDescription(self) -> RTCSessionDescription | None:  # type: ignore[override]
        """The local description, with all candidates so far."""
        if self.stock:
            return super().localDescription
        description = self.refreshed_description()
        return None if description is None else self._announced(description)

    async def createOffer(self) -> RTCSessionDescription:
        """An offer; with new credentials after ``restartIce``."""
        if self._restart_wanted and not self.is_closed:
            self._restart_wanted = False
            for transport in self.ice_transports:
                transport.restart()
        return self._announced(await super().createOffer())

    async def createAnswer(self) -> RTCSessionDescription:
        """An answer."""
        return self._announced(await super().createAnswer())

    async def setLocalDescription(self, sessionDescription: RTCSessionDescription | None = None) -> None:
        """Set it and gather; returns at once if candidates trickle."""
        if self.stock:
            await super().setLocalDescription(sessionDescription)
            return
        # RFC 8838 §16: whoever is not known to take candidates later gets all that there are at once.
        trickle, answers = bool(self.listeners("icecandidate")), self.signalingState == "have-remote-offer"
        if answers:
            trickle = trickle and self._peer_trickles is True
        for transport in self.ice_transports:
            # The peer can check when it has an answer with a candidate. After an offer it has other things to do first.
            transport.gatherer.waits_for = "servers" if not trickle else "hosts" if answers else "nothing"
        await super().setLocalDescription(sessionDescription)
        self._trickle()

    async def setRemoteDescription(self, sessionDescription: RTCSessionDescription) -> None:
        """Set it, and add the candidates that came before it. ValueError for credentials that can be none."""
        if not self.stock:
            self._heed(sessionDescription)
        await super().setRemoteDescription(sessionDescription)
        early, self._early = self._early, []
        for candidate in early:
            await super().addIceCandidate(candidate)

    async def addIceCandidate(self, candidate: RTCIceCandidate | None) -> None:
        """Add a candidate of the peer, or ``None`` for the end; before the remote description it waits for that."""
        if self.stock or self.has_remote_description or self.is_closed:
            await super().addIceCandidate(candidate)
            return
        if candidate is not None and candidate.sdpMid is None and candidate.sdpMLineIndex is None:
            raise ValueError("Candidate must have either sdpMid or sdpMLineIndex")
        if len(self._early) < _MAX_EARLY:
            self._early.append(candidate)

    def restartIce(self) -> None:
        """Let the next offer begin ICE anew (W3C WebRTC §4.4.2); the connection in use stays until then."""
        self._restart_wanted = not self.stock

    async def getStats(self) -> RTCStatsReport:
        """aiortc's statistics with those of the transports, the candidates and the pairs."""
        report = await super().getStats()
        if not self.stock:
            for stats, identifier, transport in self.transport_stats():
                report.update(stats)
                for item in ice_stats(transport.connection, identifier, stats[identifier].timestamp):
                    report.add(item)
        return report

    async def close(self) -> None:
        """End it; closed ports and relays given back when this returns. Idempotent, also for who is cancelled here."""
        if self._ending is None:
            # In aiortc a close() that is cancelled is never done, and whoever calls it again waits for ever.
            self._ending = asyncio.get_running_loop().create_task(self._close(), name="icekit-close")
        await asyncio.shield(self._ending)

    # Inside.

    async def _close(self) -> None:
        await super().close()
        if self.connecting:
            await asyncio.wait(self.connecting)
        await asyncio.gather(*(task for _, task in self._trickling.values()), return_exceptions=True)

    def _announced(self, description: RTCSessionDescription) -> RTCSessionDescription:
        if self.stock:
            return description
        return RTCSessionDescription(sdp=announce(description.sdp, self._config.ta), type=description.type)

    def _heed(self, description: RTCSessionDescription) -> None:
        """Take from the peer's description what aiortc does not look at."""
        announced = read_announced(description.sdp)
        if announced.flaw is not None:
            raise ValueError(announced.flaw)
        self._peer_trickles = announced.trickle
        self._peer_pacing = announced.pacing
        self._peer_renominates = announced.renomination
        for mid, transport in self.sections().items():
            connection = transport.connection
            connection.set_pacing(announced.pacing)
            connection.set_renomination(announced.renomination)
            known, new = connection.remote_username, announced.ufrags.get(mid)
            # RFC 8839 §4.4.1.1.1: new credentials in an offer restart ICE, for us as well.
            if description.type == "offer" and known is not None and new is not None and new != known:
                transport.restart()

    def _trickle(self) -> None:
        """Tell the candidates of each transport, from the first one on after a restart."""
        if self.is_closed:
            return
        transports, seen = self.sections(), set()
        for index, mid in enumerate(self.described_mids):
            transport = transports.get(mid)
            if transport is None or transport in seen:
                continue  # bundled with another section, whose mid its candidates have
            seen.add(transport)
            username = transport.connection.local_username
            if self._trickling.get(transport, ("", None))[0] != username:
                self._end_told = False
                work = self._tell_candidates(transport, mid or None, index)
                self._trickling[transport] = username, asyncio.get_running_loop().create_task(work)

    async def _tell_candidates(self, transport: IceTransport, mid: str | None, index: int) -> None:
        username = transport.connection.local_username
        async with aclosing(transport.connection.gathering()) as events:
            async for event in events:
                match event:
                    case CandidateGathered(candidate=candidate):
                        self._tell("icecandidate", to_aiortc(candidate, sdp_mid=mid, sdp_mline_index=index))
                    case ServerFailed():
                        self._tell("icecandidateerror", _error(event))
                    case _:
                        pass
        if transport.connection.local_username == username:
            self._tell_end()

    def _tell_end(self) -> None:
        """RFC 8838 §13: there are no more candidates, of no transport."""
        complete = all(item.connection.gathering_complete for item in self.ice_transports)
        if complete and not self._end_told and not self.is_closed:
            self._end_told = True
            self._tell("icecandidate", None)

    def _tell(self, event: str, value: object) -> None:
        try:
            self.emit(event, value)
        except Exception:  # a handler's fault must not cost the candidates that follow
            log.exception("the handler of %s has failed", event)


def ice_servers(given: Sequence[RTCIceServer] | None) -> tuple[IceServer, ...]:
    """All servers of a configuration; ``None`` are aiortc's own. ConfigError for one that cannot be used."""
    servers = RTCIceGatherer.getDefaultIceServers() if given is None else given
    found = []
    for index, server in enumerate(servers):
        if server.credentialType != "password":
            raise ConfigError(f'iceServers[{index}].credentialType: only "password" is supported; leave it out')
        found.append(IceServer(urls=server.urls, username=server.username, credential=server.credential))
    # Whoever asks for a relay wants to know at once that it cannot be had.
    gather_servers(found)
    return tuple(found)


def _error(event: ServerFailed) -> IceCandidateError:
    code = re.match(r"[3-6][0-9]{2}\b", event.error)
    return IceCandidateError(
        address=event.host,
        port=None,
        url=event.url,
        errorCode=_UNREACHABLE if code is None else int(code.group()),
        errorText=event.error,
    )
