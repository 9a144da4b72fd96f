"""aiortc's certificate, made once, and its DTLS transport, which repeats lost flights soon; it touches private names.

``PRIVATE_NAMES`` is checked with those of icekit.call.stock.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cached_property
from typing import Any, Final, Protocol

from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcdtlstransport import SRTP_PROFILES, X509_DIGEST_ALGORITHMS, SRTPProtectionProfile
from cryptography.hazmat.primitives.serialization import Encoding

from icekit.call.flights import Flights

PRIVATE_NAMES: Final[dict[type, tuple[str, ...]]] = {
    RTCCertificate: ("_create_ssl_context",),
    RTCDtlsTransport: ("_do_handshake", "_get_stats", "_validate_peer_identity"),
}
"""Methods of aiortc's classes."""

PRIVATE_ATTRIBUTES: Final[dict[type, tuple[str, ...]]] = {
    RTCCertificate: ("_cert", "_key"),
    RTCDtlsTransport: ("_srtp_profiles", "encrypted"),
}
"""Attributes of their objects."""


class Certificate(RTCCertificate):
    """aiortc's certificate; what OpenSSL makes of it is made once, its context when there is time for it."""

    @cached_property
    def _context(self) -> Any:
        return super()._create_ssl_context(SRTP_PROFILES)

    @cached_property
    def _fingerprints(self) -> list[RTCDtlsFingerprint]:
        # A quarter of the time that aiortc takes for the same.
        encoded = self._cert.public_bytes(Encoding.DER)
        digests = {name: hashlib.new(name.replace("-", ""), encoded).digest() for name in X509_DIGEST_ALGORITHMS}
        return [RTCDtlsFingerprint(name, digest.hex(":").upper()) for name, digest in digests.items()]

    def getFingerprints(self) -> list[RTCDtlsFingerprint]:
        """Those of its descriptions, of which each asks."""
        return [*self._fingerprints]

    def prepare(self) -> None:
        """It takes half a millisecond, which the handshake does not have to wait for."""
        _ = self._context

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> Any:
        return self._context if srtp_profiles is SRTP_PROFILES else super()._create_ssl_context(srtp_profiles)


class Path(Protocol):
    """What ``Handshake`` needs of an ICE transport, which tells it what passes."""

    handshake: Handshake | None

    @property
    def rtt(self) -> float | None:
        """Of the pair in use, in seconds."""

    async def send_again(self, data: bytes) -> None:
        """Send what it has sent before."""


class Handshake:
    """``Flights`` on the clock of the loop and over ``path``, from the first flight until none is needed any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._flights = Flights(path.rtt)
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Future[None]] = set()
        path.handshake = self

    def sent(self, data: bytes) -> None:
        """The library of DTLS has sent this."""
        self._flights.sent(data, self._loop.time())
        self._rearm()

    def received(self, data: bytes) -> None:
        """This has come from the peer."""
        self._flights.received(data, self._loop.time())
        self._rearm()

    def completed(self) -> None:
        """It has succeeded here."""
        self._flights.completed()
        self._rearm()

    def stop(self) -> None:
        """Nothing is repeated any more."""
        self._path.handshake = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rearm(self) -> None:
        if self._flights.is_over:
            self.stop()
            return
        due = self._flights.get_timer()
        if self._timer is not None and self._timer.when() != due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer = self._loop.call_at(due, self._expired)

    def _expired(self) -> None:
        self._timer = None
        flight = self._flights.repeat(self._loop.time())
        if flight is not None:
            sending = asyncio.ensure_future(self._path.send_again(flight))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        self._rearm()


class DtlsTransport(RTCDtlsTransport):
    """aiortc's transport, which also tells when the peer has another certificate than its description says."""

    identity_refused = False
    _handshake: Handshake | None = None

    async def stop(self) -> None:
        """Close it."""
        if self._handshake is not None:
            self._handshake.stop()
        await super().stop()

    async def _do_handshake(self) -> None:
        path: Any = self.transport
        handshake = self._handshake = Handshake(path)
        try:
            await super()._do_handshake()
        finally:
            if self.encrypted:
                handshake.completed()
            else:
                handshake.stop()

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        # Whoever is told of the new state asks at once.
        self.identity_refused = True
        super()._validate_peer_identity(remoteParameters)
        self.identity_refused = self.state == "failed"
