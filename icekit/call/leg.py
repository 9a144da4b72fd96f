"""One peer connection of a call. A call has one after the other: aiortc cannot roll back, so that a new one does it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from aiortc import RTCDataChannel, RTCIceCandidate, RTCRtpTransceiver, RTCSessionDescription, RTCStatsReport
from aiortc.mediastreams import MediaStreamTrack

from icekit.call.aiortc_candidates import from_aiortc, to_aiortc
from icekit.call.config import CallConfig
from icekit.call.description import judged, read_fingerprints
from icekit.call.handshake import DtlsTransport
from icekit.call.peer_connection import IceCandidateError, PeerConnection
from icekit.candidate import Candidate
from icekit.errors import CandidateError
from icekit.path_mtu import PathMtu
from icekit.remote_candidates import RemoteCandidate
from icekit.sdp import read_sdp

log = logging.getLogger(__name__)

CHANNEL = "icekit"
"""Label of the data channel, which the side that offers opens."""

_MAX_SERVERS = 16


class Leg:
    """A peer connection with our tracks in it, ready to offer or to answer.

    ``candidate`` is called with each local candidate line (``""``: the end), ``changed`` when a state has changed.
    ``told`` are the candidates of this generation so far, but those that our description says; they may be sent once
    ``is_described``. ``local`` and ``remote`` count candidates by kind, ``in_description`` those of ours that our
    description says.
    """

    def __init__(
        self,
        connection: PeerConnection,
        tracks: Sequence[MediaStreamTrack],
        *,
        offers: bool,
        candidate: Callable[[RemoteCandidate], None],
        changed: Callable[[], None],
    ) -> None:
        self.connection = connection
        self.offers = offers
        self.is_described = False
        self.told: list[RemoteCandidate] = []
        self.local: Counter[str] = Counter()
        self.remote: Counter[str] = Counter()
        self._described: frozenset[str] = frozenset()
        self.servers: list[str] = []
        self._tracks = list(tracks)
        self._candidate = candidate
        self._deferred: RTCSessionDescription | None = None
        self._fingerprints: frozenset[str] | None = None
        if not connection.stock:
            connection.on("icecandidate", self._tell)
            connection.on("icecandidateerror", self._server_failed)
        for event in ("iceconnectionstatechange", "connectionstatechange"):
            connection.on(event, changed)

    def open(
        self,
        config: CallConfig,
        track: Callable[[MediaStreamTrack], None],
        channel: Callable[[RTCDataChannel], None],
    ) -> None:
        """Get ready; ``track`` and ``channel`` are called with what the peer opens.

        An offer has all our tracks, an answer those that fit the offer, added before it is taken.
        """
        self.connection.on("track", track)
        self.connection.on("datachannel", channel)
        if self.offers:
            kinds = {item.kind for item in self._tracks}
            self._add_tracks(self._tracks)
            for kind in config.receive:
                if kind not in kinds:
                    self.connection.addTransceiver(kind, direction="recvonly")
            if config.data:
                channel(self.connection.createDataChannel(CHANNEL))

    async def make_offer(self, *, restart: bool, defer: bool, created: Callable[[], None]) -> str:
        """An offer. With ``defer`` it is not in force before its answer is here, so that it can be forgotten."""
        if restart:
            self.connection.restartIce()
            self._begin_generation(None)
        offer = await self.connection.createOffer()
        created()
        if defer:
            self._deferred = offer
            return offer.sdp
        await self.connection.setLocalDescription(offer)
        return self._local_sdp

    async def take_offer(self, sdp: str) -> None:
        """The peer's offer; one of ours that was deferred is forgotten. NegotiationError if it cannot be used."""
        self._deferred = None
        # aiortc does not find a transport for what is there and not offered.
        room = Counter(section.kind for section in read_sdp(sdp, strict=False).media if section.port != 0)
        room.subtract(item.kind for item in self.connection.getTransceivers())
        fitting = []
        for item in self._tracks:
            if room[item.kind] > 0:
                room[item.kind] -= 1
                fitting.append(item)
        self._add_tracks(fitting)
        before = self._local_ufrag
        with judged(sdp):
            await self._set_remote(sdp, "offer")
        if before not in (None, self._local_ufrag):
            # The offer restarts ICE on both sides.
            self._begin_generation(self._local_ufrag)

    async def make_answer(self, created: Callable[[], None]) -> str:
        """The answer to it. What did not fit the offer needs another exchange (``has_more_to_offer``).

        NegotiationError if the offer cannot be answered.
        """
        self.connection.excuse_unoffered()
        with judged(self.connection.remoteDescription.sdp):
            answer = await self.connection.createAnswer()
            created()
            await self.connection.setLocalDescription(answer)
        sdp = self._local_sdp
        self._add_tracks(self._tracks)
        return sdp

    async def take_answer(self, sdp: str) -> None:
        """The peer's answer to our offer; NegotiationError if it does not fit."""
        deferred, self._deferred = self._deferred, None
        if deferred is not None:
            await self.connection.setLocalDescription(deferred)
        with judged(self._local_sdp, sdp):
            await self._set_remote(sdp, "answer")

    async def add_candidate(self, candidate: RemoteCandidate) -> None:
        """A candidate of the peer, or the end of them; what is none is left out."""
        if candidate.is_end:
            await self.connection.addIceCandidate(None)
            return
        try:
            parsed = Candidate.parse(candidate.line, strict=False)
        except CandidateError as error:
            log.info("remote candidate left out: %s", error)
            return
        self.remote[str(parsed.type)] += 1
        mid, index = candidate.mid, candidate.index
        if mid is None and index is None:
            index = 0
        await self.connection.addIceCandidate(to_aiortc(parsed, sdp_mid=mid, sdp_mline_index=index))

    def is_another_peer(self, sdp: str) -> bool:
        """Whether a description has another certificate than the peer of this leg: it has begun anew."""
        found = read_fingerprints(sdp)
        return bool(self._fingerprints) and bool(found) and found != self._fingerprints

    @property
    def dtls_failure(self) -> tuple[str, str] | None:
        """Code and reason, if the handshake has failed."""
        failed = [item for item in self.connection.dtls_transports if item.state == "failed"]
        if not failed:
            return None
        if any(isinstance(item, DtlsTransport) and item.identity_refused for item in failed):
            return "CALL-FINGERPRINT", "the certificate has another fingerprint than the description"
        return "CALL-DTLS", "the DTLS handshake was refused or broken off"

    @property
    def silent_kinds(self) -> list[str]:
        """Kinds of media that are agreed on, where the peer sends none of them; else nothing."""
        agreed = [item for item in self.connection.getTransceivers() if item.mid is not None]
        if any(item.currentDirection in ("recvonly", "sendrecv") for item in agreed):
            return []
        return sorted({item.kind for item in agreed})

    @property
    def has_more_to_offer(self) -> bool:
        """Whether there is a track that no description has been made for yet (W3C WebRTC §4.7.3)."""
        return any(item.mid is None and _sends(item) and not item.stopped for item in self.connection.getTransceivers())

    def set_hold(self, on: bool) -> None:
        """Send and take no media from the next exchange on, or both again."""
        for item in self.connection.getTransceivers():
            item.direction = "inactive" if on else "sendrecv" if _sends(item) else "recvonly"

    def count_local(self, sdp: str) -> None:
        """Our description: an answer has candidates, and without trickle any has all of them."""
        if not self.told:
            candidates = _candidates(sdp)
            self._described = frozenset(map(str, candidates))
            self.local = Counter(str(candidate.type) for candidate in candidates)

    @property
    def in_description(self) -> int:
        """How many candidates our description says, and nothing else has to."""
        return len(self._described)

    def count_remote(self, sdp: str) -> int:
        """The peer's description; returns how many candidates it has."""
        candidates = _candidates(sdp)
        self.remote.update(str(candidate.type) for candidate in candidates)
        return len(candidates)

    def checks(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Connectivity checks sent, received, answered, refused; ``None`` where the engine does not count."""
        if self.connection.stock:
            return None, None, None, None
        pairs = [pair for item in self.connection.ice_transports for pair in item.connection.stats()]
        return (
            sum(pair.checks_sent for pair in pairs),
            sum(pair.checks_received for pair in pairs),
            sum(pair.responses_received for pair in pairs),
            sum(pair.checks_refused for pair in pairs),
        )

    @property
    def path_mtu(self) -> PathMtu | None:
        """How large a packet the path in use takes, as far as it was measured."""
        if self.connection.stock:
            return None
        pairs = (pair for item in self.connection.ice_transports for pair in item.connection.stats())
        return next((pair.mtu for pair in pairs if pair.selected and pair.mtu is not None), None)

    async def stats(self) -> RTCStatsReport:
        """The statistics of the connection."""
        return await self.connection.getStats()

    async def close(self) -> None:
        """Close it."""
        await self.connection.close()

    # Inside.

    def _begin_generation(self, ufrag: str | None) -> None:
        """Nothing is told yet but candidates of ``ufrag``, which wait until it is described."""
        self.told = [item for item in self.told if item.ufrag == ufrag]
        self._described = frozenset()
        self.is_described = False

    @property
    def _local_ufrag(self) -> str | None:
        transports = self.connection.ice_transports
        return transports[0].connection.local_username if transports else None

    def _add_tracks(self, tracks: Sequence[MediaStreamTrack]) -> None:
        for item in tuple(tracks):
            self.connection.addTrack(item)
            self._tracks.remove(item)

    @property
    def _local_sdp(self) -> str:
        description = self.connection.localDescription
        assert description is not None
        return description.sdp

    async def _set_remote(self, sdp: str, kind: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type=kind))
        self._fingerprints = read_fingerprints(sdp)

    def _tell(self, candidate: RTCIceCandidate | None) -> None:
        ufrag = self._local_ufrag
        if candidate is None:
            told = RemoteCandidate("", None, None, ufrag)
        else:
            converted = from_aiortc(candidate)
            if str(converted) in self._described:
                return
            self.local[str(converted.type)] += 1
            told = RemoteCandidate(str(converted), candidate.sdpMid, candidate.sdpMLineIndex, ufrag)
        self.told.append(told)
        self._candidate(told)

    def _server_failed(self, error: IceCandidateError) -> None:
        if len(self.servers) < _MAX_SERVERS:
            self.servers.append(f"{error.url}: {error.errorText}")


def _sends(transceiver: RTCRtpTransceiver) -> bool:
    track: MediaStreamTrack | None = transceiver.sender.track
    return track is not None


def _candidates(sdp: str) -> list[Candidate]:
    """Each once: sections that share a transport repeat them."""
    return list(dict.fromkeys(candidate for _, candidate in read_sdp(sdp, strict=False).candidates))
