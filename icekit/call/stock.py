"""What touches aiortc's private names: its peer connection on ICE transports of ours.

So do icekit.call.association and icekit.call.handshake.

``IceGatherer`` and ``IceTransport`` are aiortc's classes around an ``IceConnection``; ``StockPeerConnection`` has the
doors that ``icekit.call.PeerConnection`` goes through. ``PRIVATE_NAMES`` is what all of it stands on: if a release of
aiortc changes one of them, importing this module says so, and tests/call/test_stock.py says which.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final, Literal

import aiortc
from aiortc import (
    RTCConfiguration,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters

from icekit.aio.connection import IceConnection
from icekit.call import association, handshake
from icekit.call.aiortc_candidates import to_aiortc
from icekit.call.handshake import Certificate, DtlsTransport, Handshake
from icekit.call.states import connection_state, ice_state
from icekit.errors import ConfigError, IceFailed
from icekit.ice_events import IceState

log = logging.getLogger(__name__)

PRIVATE_NAMES: Final[dict[type, tuple[str, ...]]] = {
    RTCPeerConnection: (
        "_RTCPeerConnection__connect",
        "_RTCPeerConnection__createDtlsTransport",
        "_RTCPeerConnection__createSctpTransport",
        "_RTCPeerConnection__gather",
        "_RTCPeerConnection__localDescription",
        "_RTCPeerConnection__remoteDescription",
        "_RTCPeerConnection__updateConnectionState",
        "_RTCPeerConnection__updateIceConnectionState",
        "_RTCPeerConnection__updateIceGatheringState",
    ),
    RTCIceGatherer: ("_RTCIceGatherer__setState",),
    RTCIceTransport: ("_RTCIceTransport__setState",),
    **handshake.PRIVATE_NAMES,
    **association.PRIVATE_NAMES,
}
"""Methods of aiortc's classes."""

PRIVATE_ATTRIBUTES: Final[dict[type, tuple[str, ...]]] = {
    RTCPeerConnection: (
        "_RTCPeerConnection__certificates",
        "_RTCPeerConnection__closeTask",
        "_RTCPeerConnection__connectionState",
        "_RTCPeerConnection__dtlsTransports",
        "_RTCPeerConnection__iceConnectionState",
        "_RTCPeerConnection__iceTransports",
        "_RTCPeerConnection__isClosed",
        "_RTCPeerConnection__remoteIce",
        "_RTCPeerConnection__sctp",
    ),
    RTCIceGatherer: ("_connection", "_RTCIceGatherer__state", "_remote_candidates_end"),
    RTCIceTransport: ("_connection", "_recv", "_send", "_role_set"),
    RTCRtpTransceiver: ("_offerDirection",),
    **handshake.PRIVATE_ATTRIBUTES,
    **association.PRIVATE_ATTRIBUTES,
}
"""Attributes of their objects."""

# A connection that has failed may be restarted for so long; then it is closed, as aiortc does at once.
_FAILED_KEPT: Final = 30.0

_WORKING: Final = (IceState.CONNECTED, IceState.COMPLETED, IceState.DISCONNECTED)


def check_names() -> None:
    """ConfigError if aiortc is not what this module was written for."""
    missing = [
        f"{owner.__name__}.{name}"
        for owner, names in PRIVATE_NAMES.items()
        for name in names
        if name not in vars(owner)
    ]
    if missing:
        raise ConfigError(
            f"icekit.call does not fit aiortc {aiortc.__version__}, which has no {', '.join(missing)}; "
            "install a release of icekit that knows it, or aiortc 1.16"
        )


check_names()


class IceGatherer(RTCIceGatherer):
    """aiortc's gatherer around an ``IceConnection``. ``waits_for``: with whose candidates ``gather`` returns."""

    def __init__(self, connection: IceConnection) -> None:
        # Past RTCIceGatherer's, which makes a connection of aioice.
        super(RTCIceGatherer, self).__init__()
        self._connection: Any = connection
        self._remote_candidates_end = False
        _private(self)._RTCIceGatherer__state = "new"
        self.connection = connection
        self.waits_for: Literal["nothing", "hosts", "servers"] = "servers"
        self._following: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    async def gather(self) -> None:
        """Begin, and wait for the first candidates if it is to."""
        if self.state == "new":
            self._follow()
        if self.waits_for == "servers":
            await self.connection.gather_candidates()
            self._complete()
        elif self.waits_for == "hosts":
            await self.connection.gather_hosts()

    async def first_candidate(self) -> None:
        """Return when there is one, or when there will be none; at once if nobody has asked for any."""
        if self.state == "gathering" and not self.connection.gathered:
            await self._begun.wait()

    def getLocalCandidates(self) -> list[RTCIceCandidate]:
        """What has been gathered so far."""
        return [to_aiortc(candidate) for candidate in self.connection.gathered]

    def restart(self) -> None:
        """New credentials and candidates, for which the peer has candidates of its own."""
        if self.state != "new":
            self.connection.restart()
            self._remote_candidates_end = False
            self._follow()

    async def stop(self) -> None:
        """Wait for what follows the gathering; the connection is closed."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    def _follow(self) -> None:
        if self._following is not None:
            self._following.cancel()
        _private(self)._RTCIceGatherer__setState("gathering")
        self._following = asyncio.get_running_loop().create_task(self._until_complete())

    async def _until_complete(self) -> None:
        async with aclosing(self.connection.gathering()) as events:
            async for _ in events:
                if self.connection.gathered:
                    self._begun.set()
        self._begun.set()
        self._complete()

    def _complete(self) -> None:
        if self.connection.gathering_complete and self.state == "gathering":
            _private(self)._RTCIceGatherer__setState("completed")


class IceTransport(RTCIceTransport):
    """aiortc's transport around an ``IceConnection``, with the states that aiortc has not, and restarts."""

    def __init__(self, gatherer: IceGatherer) -> None:
        super().__init__(gatherer)
        self.gatherer = gatherer
        self.connection = gatherer.connection
        self._recv = self._receive
        self._send = self._transmit
        self._monitoring: asyncio.Task[None] | None = None
        self._was_connected = False
        self.meanwhile: Callable[[], object] = bool
        """What to compute while the first check is under way."""
        self.handshake: Handshake | None = None
        """What follows the datagrams, while DTLS needs it."""
        # The user name fragment that the peer had before a restart.
        self._left: str | None = None

    def expect(self, remoteParameters: RTCIceParameters) -> None:
        """What ``start`` will be given when there is a candidate: its check can leave then."""
        connection = self.connection
        if self.gatherer.state == "new":
            self._know(remoteParameters)
        elif connection.remote_username is None and remoteParameters.usernameFragment != self._left:
            self._know(remoteParameters)
            connection.begin_checks()

    def _know(self, remoteParameters: RTCIceParameters) -> None:
        connection = self.connection
        connection.remote_is_lite = remoteParameters.iceLite
        connection.remote_username = remoteParameters.usernameFragment
        connection.remote_password = remoteParameters.password

    async def start(self, remoteParameters: RTCIceParameters) -> None:
        """Return when data may flow; called again, it takes the credentials of a restart. ConnectionError if closed."""
        if self.state == "closed":
            raise InvalidStateError("RTCIceTransport is closed")
        if remoteParameters.usernameFragment == self._left:
            # We have restarted, and the peer's answer is not here yet.
            await self._until_working()
            return
        connection = self.connection
        if connection.remote_username is None:
            self._know(remoteParameters)
        if self._monitoring is None:
            self._set_state("checking")
            self._monitoring = asyncio.get_running_loop().create_task(self._monitor_states())
        connecting = asyncio.ensure_future(connection.connect())
        # The first check is under way before there is anything else to do.
        await asyncio.sleep(0)
        self.meanwhile()
        try:
            await connecting
        except ConnectionError:
            # It may be restarted, and this is what the DTLS transport waits for.
            await self._until_working()
        else:
            # Told before DTLS begins, which computes for milliseconds.
            self._set_state(connection.state.value)

    def restart(self) -> None:
        """New credentials and candidates; the pair in use stays until the peer has new ones, too."""
        if self.gatherer.state != "new" and self.connection.remote_username is not None:
            self._left = self.connection.remote_username
        self.gatherer.restart()

    async def stop(self) -> None:
        """Close the connection, for ever."""
        await super().stop()
        if self._monitoring is not None:
            await self._monitoring
            self._monitoring = None
        await self.gatherer.stop()

    @property
    def rtt(self) -> float | None:
        """The least of the pair in use, in seconds."""
        pair = self.connection.selected_pair
        return None if pair is None else pair.rtt

    async def send_again(self, data: bytes) -> None:
        """Send what was sent before; lost if there is no path."""
        with contextlib.suppress(ConnectionError):
            await self.connection.send(data)

    def _set_state(self, state: str) -> None:
        if self.state != "closed":
            _private(self)._RTCIceTransport__setState(state)

    async def _monitor_states(self) -> None:
        async with aclosing(self.connection.states()) as states:
            async for state in states:
                if state in _WORKING:
                    self._was_connected = True
                if state not in (IceState.NEW, IceState.CLOSED):
                    self._set_state(state.value)

    async def _until_working(self) -> None:
        async with aclosing(self.connection.states()) as states:
            async for state in states:
                if state in _WORKING:
                    return
        raise IceFailed("the connection is closed")

    async def _receive(self) -> bytes:
        while True:
            try:
                data = await self.connection.recv()
            except ConnectionError:
                if not self._was_connected or self.state == "closed":
                    raise
            else:
                if self.handshake is not None:
                    self.handshake.received(data)
                return data
            try:
                async with asyncio.timeout(_FAILED_KEPT):
                    await self._until_working()
            except TimeoutError:
                raise IceFailed("the connection has failed, and nobody has restarted it") from None

    async def _transmit(self, data: bytes) -> None:
        if self.handshake is not None:
            self.handshake.sent(data)
        try:
            await self.connection.send(data)
        except ConnectionError:
            # What is sent while a connection is down is lost, as on any network; senders go on after a restart.
            if not self._was_connected or self.state == "closed":
                raise


class StockPeerConnection(RTCPeerConnection):
    """aiortc's peer connection with doors; with ``stock`` they stay shut, and everything is as aiortc does it."""

    stock = False

    def __init__(self, configuration: RTCConfiguration | None = None) -> None:
        super().__init__(configuration)
        self.connecting: set[asyncio.Task[Any]] = set()
        """What waits for a path, or for DTLS on it."""
        if not self.stock:
            made = _private(self)._RTCPeerConnection__certificates[0]
            self._certificate = Certificate(made._key, made._cert)
            _private(self)._RTCPeerConnection__certificates = [self._certificate]

    def make_connection(self, username: str | None, password: str | None) -> IceConnection:
        """A new connection, with these credentials if there are any."""
        raise NotImplementedError

    @property
    def canTrickleIceCandidates(self) -> bool | None:
        """Whether the peer takes candidates that come later (W3C WebRTC §4.4.2); ``None`` before its description."""
        raise NotImplementedError

    @property
    def ice_transports(self) -> list[IceTransport]:
        """Those in use: one if everything is bundled."""
        return [item for item in _private(self)._RTCPeerConnection__iceTransports if isinstance(item, IceTransport)]

    @property
    def dtls_transports(self) -> list[RTCDtlsTransport]:
        """Those in use."""
        return list(_private(self)._RTCPeerConnection__dtlsTransports)

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return bool(_private(self)._RTCPeerConnection__isClosed)

    @property
    def has_remote_description(self) -> bool:
        """Whether there is one."""
        return _private(self)._RTCPeerConnection__remoteDescription() is not None

    def sections(self) -> dict[str, IceTransport]:
        """The transport of each media section, by mid."""
        users: list[tuple[str | None, RTCDtlsTransport]] = [
            (item.mid, item.receiver.transport) for item in self.getTransceivers()
        ]
        if self.sctp is not None:
            users.append((self.sctp.mid, self.sctp.transport))
        return {
            mid: dtls.transport for mid, dtls in users if mid is not None and isinstance(dtls.transport, IceTransport)
        }

    @property
    def described_mids(self) -> list[str]:
        """Those of the sections of the local description, in its order."""
        description = _private(self)._RTCPeerConnection__localDescription()
        return [] if description is None else [media.rtp.muxId for media in description.media]

    def refreshed_description(self) -> RTCSessionDescription | None:
        """The local description, with what has been gathered since it was set."""
        description = _private(self)._RTCPeerConnection__localDescription()
        if description is None:
            return None
        transports = self.sections()
        for media in description.media:
            transport = transports.get(media.rtp.muxId)
            # After a restart, candidates belong to the next description.
            if transport is None or transport.connection.local_username != media.ice.usernameFragment:
                continue
            media.ice_candidates = transport.gatherer.getLocalCandidates()
            media.ice_candidates_complete = transport.connection.gathering_complete
            if media.ice_candidates:
                media.host, media.port = media.ice_candidates[0].ip, media.ice_candidates[0].port
        return RTCSessionDescription(sdp=str(description), type=description.type)

    def excuse_unoffered(self) -> None:
        """Before an answer: aiortc cannot answer while it has media that the offer does not have."""
        for item in self.getTransceivers():
            if item.mid is None and _private(item)._offerDirection is None:
                _private(item)._offerDirection = "inactive"

    def transport_stats(self) -> list[Any]:
        """aiortc's own statistics of the transports, with each ICE transport."""
        return [(item._get_stats(), item._stats_id, item.transport) for item in self.dtls_transports]

    # What aiortc's methods call.

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:
        private = _private(self)
        stock: Any = super()
        if self.stock:
            return stock._RTCPeerConnection__createDtlsTransport()  # type: ignore[no-any-return]
        # All sections of a description have the same credentials, as with aiortc.
        first = next(iter(self.ice_transports), None)
        username = None if first is None else first.connection.local_username
        password = None if first is None else first.connection.local_password
        gatherer = IceGatherer(self.make_connection(username, password))
        gatherer.on("statechange", private._RTCPeerConnection__updateIceGatheringState)
        transport = IceTransport(gatherer)
        transport.meanwhile = self._certificate.prepare
        transport.on("statechange", self._RTCPeerConnection__updateIceConnectionState)
        transport.on("statechange", self._RTCPeerConnection__updateConnectionState)
        private._RTCPeerConnection__iceTransports.add(transport)
        dtls = DtlsTransport(transport, private._RTCPeerConnection__certificates)
        dtls.on("statechange", self._RTCPeerConnection__updateConnectionState)
        private._RTCPeerConnection__dtlsTransports.add(dtls)
        private._RTCPeerConnection__updateIceGatheringState()
        self._RTCPeerConnection__updateIceConnectionState()
        self._RTCPeerConnection__updateConnectionState()
        return dtls

    def _RTCPeerConnection__createSctpTransport(self) -> None:
        private = _private(self)
        stock: Any = super()
        stock._RTCPeerConnection__createSctpTransport()
        if self.stock:
            return
        made = private._RTCPeerConnection__sctp
        sctp = association.SctpTransport(made.transport)
        sctp._bundled = made._bundled
        sctp.round_trip = lambda: _private(sctp).transport.transport.rtt
        sctp.on("datachannel", lambda channel: self.emit("datachannel", channel))
        private._RTCPeerConnection__sctp = sctp

    async def _RTCPeerConnection__connect(self) -> None:
        private = _private(self)
        stock: Any = super()
        if not self.stock:
            expected: dict[Any, RTCIceParameters] = {}
            for user, parameters in private._RTCPeerConnection__remoteIce.items():
                dtls = user.receiver.transport if isinstance(user, RTCRtpTransceiver) else user.transport
                # Of what is bundled, the first section counts.
                expected.setdefault(dtls.transport, parameters)
            for transport, parameters in expected.items():
                transport.expect(parameters)
            if isinstance(self.sctp, association.SctpTransport):
                # A program on aiortc may have a coroutine for a handler, which hears nothing of the packet that
                # announces the channel; aiortc has no trickle.
                self.sctp.opens_early = self.canTrickleIceCandidates is not False
            # aiortc connects only what has a candidate.
            await asyncio.gather(*(item.gatherer.first_candidate() for item in self.ice_transports))
            if self.signalingState == "have-local-offer":
                # There is nothing to do before the answer.
                self._certificate.prepare()
        if (task := asyncio.current_task()) is not None:
            self.connecting.add(task)
            task.add_done_callback(self.connecting.discard)
        try:
            await stock._RTCPeerConnection__connect()
        except (ConnectionError, InvalidStateError):
            if not self.is_closed:
                raise
        finally:
            if self.is_closed and not self.stock:
                await self._stop_late()

    async def _stop_late(self) -> None:
        """What a handshake has begun that ended behind ``close``, which had stopped everything by then."""
        for item in self.getTransceivers():
            await item.stop()
        if self.sctp is not None:
            await self.sctp.stop()

    def _RTCPeerConnection__updateIceConnectionState(self) -> None:
        private = _private(self)
        stock: Any = super()
        if self.stock:
            stock._RTCPeerConnection__updateIceConnectionState()
            return
        state = "closed" if self.is_closed else ice_state({item.state for item in self.ice_transports})
        if state != self.iceConnectionState:
            log.debug("= iceConnectionState %s", state)
            private._RTCPeerConnection__iceConnectionState = state
            self.emit("iceconnectionstatechange")

    def _RTCPeerConnection__updateConnectionState(self) -> None:
        private = _private(self)
        stock: Any = super()
        if self.stock:
            stock._RTCPeerConnection__updateConnectionState()
            return
        dtls = {item.state for item in self.dtls_transports}
        state = "closed" if self.is_closed else connection_state({item.state for item in self.ice_transports}, dtls)
        if state != self.connectionState:
            log.debug("= connectionState %s", state)
            private._RTCPeerConnection__connectionState = state
            self.emit("connectionstatechange")
        # The peer has said goodbye, or cannot be heard any more.
        if dtls == {"closed"} and not self.is_closed and private._RTCPeerConnection__closeTask is None:
            private._RTCPeerConnection__closeTask = asyncio.ensure_future(self.close())


def _private(item: Any) -> Any:
    """``item``, for the names that its class does not promise."""
    return item
