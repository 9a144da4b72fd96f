"""libwebrtc by way of wrtc: ``python -m icekit.bench.programs.wrtc``."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import webrtc

from icekit.bench.lines import PairEnd, Start, TrickledCandidate
from icekit.bench.programs.stdio import GREETING, LABEL, Pair, Voice, run


class WrtcPeer:
    """A peer connection of libwebrtc."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.connection: Any = None
        self.channel: Any = None
        self._trickle = False
        self._gathered = asyncio.Event()
        self._sound: Any = None

    async def start(self, start: Start) -> None:
        """Make it; if it offers, open the channel and tell the offer."""
        servers = [
            webrtc.RTCIceServer(
                urls=item["urls"], username=item.get("username") or "", credential=item.get("credential") or ""
            )
            for item in start.ice_servers
        ]
        policy = "relay" if start.relay_only else "all"
        configuration = webrtc.RTCConfiguration(ice_servers=servers, ice_transport_policy=policy)
        if start.media:
            configuration.bundle_policy = webrtc.RTCBundlePolicy.max_bundle
        connection = webrtc.RTCPeerConnection(configuration)
        self.connection, self._trickle = connection, start.trickle
        connection.on("iceconnectionstatechange", lambda _: self._tell_state("ice", connection.ice_connection_state))
        connection.on("connectionstatechange", lambda _: self._tell_state("connection", connection.connection_state))
        connection.on("icegatheringstatechange", lambda _: self._gathering(connection.ice_gathering_state))
        if start.trickle:
            connection.on("icecandidate", self._tell_candidate)
        if start.role == "answer":
            connection.on("datachannel", self._accept)
            connection.on("track", self._watch_sound)
            return
        if start.media:
            stream = await webrtc.media_devices.get_user_media(webrtc.MediaStreamConstraints(audio=True))
            (self._sound,) = stream.get_audio_tracks()
            connection.add_track(self._sound)
        self.channel = connection.create_data_channel(LABEL)
        self.channel.on("open", self._greet)
        self.channel.on("message", lambda event: self.voice.echoed(event.data))
        await self._tell_description()

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description; an offer is answered."""
        description = webrtc.RTCSessionDescriptionInit(type=kind, sdp=sdp)
        await self.connection.set_remote_description(description)
        if kind == "offer":
            await self._tell_description()

    async def add_candidate(self, item: TrickledCandidate) -> None:
        """A candidate of the other side, or the end of them."""
        if item.candidate:
            candidate = webrtc.RTCIceCandidate(
                candidate=item.candidate, sdp_mid=item.sdp_mid, sdp_m_line_index=item.sdp_mline_index
            )
            await self.connection.add_ice_candidate(candidate)

    def send(self, text: str) -> None:
        """Send over the channel."""
        self.channel.send(text)

    async def pair(self) -> Pair | None:
        """The pair in use, from the statistics."""
        stats = list((await self.connection.get_stats()).values())
        by_id = {item.id: item for item in stats}
        for item in stats:
            pair = by_id.get(getattr(item, "selected_candidate_pair_id", None) or "")
            if item.type == "transport" and pair is not None:
                return _end(by_id[pair.local_candidate_id]), _end(by_id[pair.remote_candidate_id])
        return None

    async def close(self) -> None:
        """End it."""
        self.connection.close()
        if self._sound is not None:
            self._sound.stop()

    async def _tell_description(self) -> None:
        await self.connection.set_local_description()
        dtls = self.connection.sctp.transport
        dtls.on("statechange", lambda _: self._tell_state("dtls", dtls.state))
        dtls.ice_transport.on("selectedcandidatepairchange", lambda _: self.voice.selected())
        if not self._trickle:
            await self._gathered.wait()
        description = self.connection.local_description
        self.voice.described(str(description.type.value), description.sdp)

    def _watch_sound(self, event: Any) -> None:
        # What it hands out is out of SRTP and not yet in the jitter buffer.
        event.receiver.transform = webrtc.RTCRtpScriptTransform(self._hear)

    async def _hear(self, event: Any) -> None:
        writer = event.transformer.writable.get_writer()
        async for frame in event.transformer.readable:
            self.voice.sounded()
            await writer.write(frame)

    def _tell_state(self, of: str, state: Any) -> None:
        self.voice.state(of, str(state.value))

    def _gathering(self, state: Any) -> None:
        self._tell_state("gathering", state)
        if state == "complete":
            self._gathered.set()

    def _tell_candidate(self, event: Any) -> None:
        candidate = event.candidate
        if candidate is None:
            self.voice.candidate("")
        else:
            self.voice.candidate(candidate.candidate, candidate.sdp_mid, candidate.sdp_m_line_index)

    def _greet(self, _: Any) -> None:
        self.voice.opened()
        self.channel.send(GREETING)

    def _accept(self, event: Any) -> None:
        self.channel = event.channel
        self.channel.on("message", self._send_back)
        # Announced before it is open, or after.
        if self.channel.ready_state == "open":
            self.voice.opened()
        else:
            self.channel.on("open", lambda _: self.voice.opened())

    def _send_back(self, event: Any) -> None:
        self.channel.send(event.data)
        self.voice.echoed(event.data)


def _end(stats: Any) -> PairEnd:
    # Of a peer-reflexive candidate libwebrtc does not tell the address.
    return PairEnd(kind=str(stats.candidate_type), address=stats.address or None, port=stats.port)


if __name__ == "__main__":
    run("wrtc", version("wrtc"), WrtcPeer, media=True)
