"""libdatachannel by way of libdatachannel-py: ``python -m icekit.bench.programs.libdatachannel`` (Python ≥ 3.12)."""

from __future__ import annotations

import struct
import threading
from importlib.metadata import version
from typing import Any

import libdatachannel as rtc

from icekit.bench.lines import PairEnd, Start, TrickledCandidate
from icekit.bench.programs.stdio import GREETING, LABEL, Pair, Voice, run
from icekit.net import Transport
from icekit.servers import ServerUri

_KINDS = {
    rtc.Candidate.Type.Host: "host",
    rtc.Candidate.Type.ServerReflexive: "srflx",
    rtc.Candidate.Type.PeerReflexive: "prflx",
    rtc.Candidate.Type.Relayed: "relay",
}

_PAYLOAD_TYPE, _SSRC = 111, 1
# 20 ms at 48 kHz (RFC 7587 §4.1), and silence for as long: a CELT frame of 20 ms.
_SECONDS, _SAMPLES, _SILENCE = 0.02, 960, b"\xf8\xff\xfe"


class LibdatachannelPeer:
    """A peer connection of libdatachannel; its callbacks come from threads of its own."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.connection: Any = None
        self.channel: Any = None
        self._trickle = False
        self._used: Pair | None = None
        self._track: Any = None
        self._ended = threading.Event()

    async def start(self, start: Start) -> None:
        """Make it; if it offers, open the channel, which makes the offer."""
        configuration = rtc.Configuration()
        configuration.ice_servers = [
            _server(ServerUri.parse(url), item)
            for item in start.ice_servers
            for url in ([item["urls"]] if isinstance(item["urls"], str) else item["urls"])
        ]
        if start.relay_only:
            configuration.ice_transport_policy = rtc.TransportPolicy.Relay
        connection = rtc.PeerConnection(configuration)
        self.connection, self._trickle = connection, start.trickle
        connection.on_ice_state_change(self._ice_changed)
        connection.on_state_change(lambda state: self.voice.state("connection", _word(state)))
        connection.on_gathering_state_change(self._gathering)
        if start.trickle:
            connection.on_local_description(self._tell_description)
            connection.on_local_candidate(lambda item: self.voice.candidate(str(item.candidate()), item.mid(), 0))
        if start.role == "answer":
            connection.on_data_channel(self._accept)
            connection.on_track(self._accept_sound)
            return
        if start.media:
            self._add_sound()
        self.channel = connection.create_data_channel(LABEL)
        self.channel.on_open(self._greet)
        self.channel.on_message(self.voice.echoed)

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description; an offer is answered."""
        self.connection.set_remote_description(rtc.Description(sdp, kind))

    async def add_candidate(self, item: TrickledCandidate) -> None:
        """A candidate of the other side, or the end of them."""
        if item.candidate:
            self.connection.add_remote_candidate(rtc.Candidate(item.candidate, item.sdp_mid or "0"))

    def send(self, text: str) -> None:
        """Send over the channel."""
        self.channel.send(text)

    async def pair(self) -> Pair | None:
        """The pair in use."""
        return self._pair()

    def _pair(self) -> Pair | None:
        local, remote = rtc.Candidate(), rtc.Candidate()
        if not self.connection.get_selected_candidate_pair(local, remote):
            return None
        return _end(local), _end(remote)

    async def close(self) -> None:
        """End it."""
        self._ended.set()
        self.connection.close()

    def _add_sound(self) -> None:
        audio = rtc.Description.Audio("audio", rtc.Description.Direction.SendOnly)
        audio.add_opus_codec(_PAYLOAD_TYPE)
        audio.add_ssrc(_SSRC, LABEL)
        self._track = self.connection.add_track(audio)
        self._track.on_open(lambda: threading.Thread(target=self._sound, daemon=True).start())

    def _sound(self) -> None:
        # It leaves RTP to its user.
        number = 0
        while not self._ended.is_set():
            header = struct.pack("!BBHII", 0x80, _PAYLOAD_TYPE, number & 0xFFFF, number * _SAMPLES, _SSRC)
            self._track.send(header + _SILENCE)
            number += 1
            self._ended.wait(_SECONDS)

    def _accept_sound(self, track: Any) -> None:
        self._track = track
        track.on_message(lambda _: self.voice.sounded())

    def _ice_changed(self, state: Any) -> None:
        self.voice.state("ice", _word(state))
        # There is no event of its own for it: the states in which it may have changed.
        pair = self._pair() if _word(state) in ("connected", "completed") else None
        if pair is not None and pair != self._used:
            self._used = pair
            self.voice.selected()

    def _gathering(self, state: Any) -> None:
        self.voice.state("gathering", _word(state))
        if state == rtc.PeerConnection.GatheringState.Complete:
            if self._trickle:
                self.voice.candidate("")
            else:
                self._tell_description(self.connection.local_description())

    def _tell_description(self, description: Any) -> None:
        self.voice.described(description.type_string(), str(description))

    def _greet(self) -> None:
        self.voice.opened()
        self.channel.send(GREETING)

    def _accept(self, channel: Any) -> None:
        self.channel = channel
        channel.on_open(self.voice.opened)
        channel.on_message(self._send_back)

    def _send_back(self, text: str) -> None:
        self.channel.send(text)
        self.voice.echoed(text)


def _server(uri: ServerUri, item: Any) -> Any:
    port = uri.port or uri.default_port
    if not uri.is_turn:
        return rtc.IceServer(uri.host, port)
    kinds = rtc.IceServer.RelayType
    kind = {Transport.UDP: kinds.TurnUdp, Transport.TCP: kinds.TurnTcp}.get(uri.require_transport(), kinds.TurnTls)
    return rtc.IceServer(uri.host, port, item.get("username", ""), item.get("credential", ""), kind)


def _word(state: Any) -> str:
    # The words of the W3C in capitals, but for one.
    word = str(state.name).lower()
    return "gathering" if word == "inprogress" else word


def _end(candidate: Any) -> PairEnd:
    return PairEnd(kind=_KINDS.get(candidate.type(), "host"), address=candidate.address(), port=candidate.port())


if __name__ == "__main__":
    run("libdatachannel", version("libdatachannel-py"), LibdatachannelPeer, media=True)
