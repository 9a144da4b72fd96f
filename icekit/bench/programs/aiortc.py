"""Stock aiortc: ``python -m icekit.bench.programs.aiortc``. It cannot trickle what it has; it takes what comes."""

from __future__ import annotations

import asyncio
from typing import Any

import aiortc
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from icekit.bench.lines import PairEnd, Start, TrickledCandidate
from icekit.bench.programs.stdio import GREETING, LABEL, Pair, Voice, run


class AiortcPeer:
    """A peer connection of aiortc, or one with its interface."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.connection: Any = None
        self.channel: Any = None
        self.trickle = False
        self._answering: asyncio.Task[None] | None = None

    def make_connection(self, configuration: aiortc.RTCConfiguration) -> Any:
        """The connection."""
        return aiortc.RTCPeerConnection(configuration)

    def watch_transport(self) -> None:
        """Tell what becomes of DTLS; called when the transport has been made."""
        dtls = self.connection.sctp.transport
        dtls.on("statechange", lambda: self.voice.state("dtls", dtls.state))

    async def start(self, start: Start) -> None:
        """Make it; if it offers, open the channel and tell the offer."""
        policy = RTCIceTransportPolicy.RELAY if start.relay_only else RTCIceTransportPolicy.ALL
        servers = [
            aiortc.RTCIceServer(item["urls"], item.get("username"), item.get("credential"))
            for item in start.ice_servers
        ]
        # Stock aiortc would gather for the sound and for the channel, each with servers of its own.
        bundle = RTCBundlePolicy.MAX_BUNDLE if start.media else RTCBundlePolicy.BALANCED
        connection = self.make_connection(
            aiortc.RTCConfiguration(iceServers=servers, iceTransportPolicy=policy, bundlePolicy=bundle)
        )
        self.connection, self.trickle = connection, start.trickle
        for of, name in (("ice", "iceConnectionState"), ("connection", "connectionState")):
            connection.on(name.lower() + "change", self._teller(of, name))
        connection.on("icegatheringstatechange", self._teller("gathering", "iceGatheringState"))
        if start.trickle:
            connection.on("icecandidate", self._tell_candidate)
        if start.role == "answer":
            connection.on("datachannel", self._accept)
            return
        if start.media:
            connection.addTrack(aiortc.AudioStreamTrack())
        self.channel = connection.createDataChannel(LABEL)
        self.channel.on("open", self._greet)
        self.channel.on("message", self.voice.echoed)
        offer = await connection.createOffer()
        self.watch_transport()
        await connection.setLocalDescription(offer)
        self.voice.described("offer", connection.localDescription.sdp)

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description; an offer is answered."""
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(sdp=sdp, type=kind))
        if kind == "offer":
            for receiver in self.connection.getReceivers():
                self._watch_sound(receiver)
            # Gathering may take its time, in which candidates of the other side come.
            self._answering = asyncio.create_task(self._answer())

    async def add_candidate(self, item: TrickledCandidate) -> None:
        """A candidate of the other side, or the end of them."""
        if not item.candidate:
            await self.connection.addIceCandidate(None)
            return
        candidate = candidate_from_sdp(item.candidate.removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = item.sdp_mid, item.sdp_mline_index
        await self.connection.addIceCandidate(candidate)

    def send(self, text: str) -> None:
        """Send over the channel."""
        self.channel.send(text)

    async def pair(self) -> Pair | None:
        """The pair in use, from the ICE connection of the one transport."""
        # aioice has no public way to ask for it.
        pair = self.connection.sctp.transport.transport._connection._nominated.get(1)
        return None if pair is None else (_end(pair.local_candidate), _end(pair.remote_candidate))

    async def close(self) -> None:
        """End it."""
        if self._answering is not None:
            await asyncio.gather(self._answering, return_exceptions=True)
        await self.connection.close()

    async def _answer(self) -> None:
        try:
            self.watch_transport()
            await self.connection.setLocalDescription(await self.connection.createAnswer())
        except Exception as error:  # noqa: BLE001  # the driver is told
            self.voice.failed(f"{type(error).__name__}: {error}")
            return
        self.voice.described("answer", self.connection.localDescription.sdp)

    def _watch_sound(self, receiver: Any) -> None:
        # Its statistics would have to be asked all the time, and its track is behind the jitter buffer.
        handle = receiver._handle_rtp_packet

        async def hear(packet: Any, arrival_time_ms: int) -> None:
            self.voice.sounded()
            await handle(packet, arrival_time_ms)

        receiver._handle_rtp_packet = hear

    def _teller(self, of: str, name: str) -> Any:
        return lambda: self.voice.state(of, getattr(self.connection, name))

    def _tell_candidate(self, candidate: Any) -> None:
        if candidate is None:
            self.voice.candidate("")
        else:
            text = f"candidate:{candidate_to_sdp(candidate)}"
            self.voice.candidate(text, candidate.sdpMid, candidate.sdpMLineIndex)

    def _greet(self) -> None:
        self.voice.opened()
        self.channel.send(GREETING)

    def _accept(self, channel: Any) -> None:
        self.channel = channel
        self.voice.opened()

        channel.on("message", self._send_back)

    def _send_back(self, text: str) -> None:
        self.channel.send(text)
        self.voice.echoed(text)


def _end(candidate: Any) -> PairEnd:
    return PairEnd(kind=str(candidate.type), address=candidate.host, port=candidate.port)


if __name__ == "__main__":
    run("aiortc", aiortc.__version__, AiortcPeer, media=True)
