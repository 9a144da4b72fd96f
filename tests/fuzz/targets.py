"""What hostile bytes are given to: readers of foreign text, STUN, the ICE agent, a session with its servers.

Each target takes any bytes. Nothing may raise but the error that a reader documents, and what must hold at any time
must still hold: timers progress, memory is bounded. The cores give the states that they went through.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from icekit import attributes as attr
from icekit.attributes import Item
from icekit.bench.lines import decode_event, decode_request
from icekit.candidate import Candidate
from icekit.checklist import LocalCandidate
from icekit.conversations import outcome, read_conversations
from icekit.errors import ConfigError, DecodeError, InvalidState, SignalingError
from icekit.explain import explain
from icekit.framing import FrameDecoder
from icekit.gathering_events import CandidateGathered
from icekit.gathering_plan import GatherServer
from icekit.ice import IceAgent, IceConfig
from icekit.ice_events import IceState, StateChanged
from icekit.loglines import read_log
from icekit.net import (
    Address,
    Datagram,
    ListenerWanted,
    SocketFailure,
    SocketWanted,
    StreamFailure,
    StreamWanted,
    Transport,
)
from icekit.network_config import NetworkConfig
from icekit.pcap import read_capture
from icekit.resolution import ServerEndpoint
from icekit.sdp import CandidateInit, read_sdp
from icekit.sdpfrag import read_fragment
from icekit.servers import ServerUri, parse_servers
from icekit.session import IceSession
from icekit.signaling.message import Shape, without_envelope
from icekit.signaling.message import decode as decode_message
from icekit.signaling.message import encode as encode_message
from icekit.signaling.stomp_frames import Frame, FrameReader
from icekit.stun import (
    ChannelData,
    Class,
    Method,
    StreamDecoder,
    decode,
    failure,
    is_channel_data,
    is_stun,
    request,
    short_term_key,
    success,
)
from icekit.tokens import read_token

HOST = "192.0.2.1"
SERVER = Address("203.0.113.10", 3478)
PLACES = (
    *(Address("192.0.2.2", 7000), Address("192.0.2.2", 7001)),
    *(Address("2001:db8::1", 4), SERVER, Address("203.0.113.10", 50000)),
)
UFRAG, PASSWORD = "peer", "the password of the peer"
ATTRIBUTES = [item for item in vars(attr).values() if type(item).__name__ == "Attribute"]
SMALL = IceConfig(
    max_pairs=8, max_open_checks=40, max_early_checks=3, max_early_data=4, max_pending_candidates=3, max_events=50
)
TIMES = (0.0, 0.001, 0.02, 0.3, 2.0, 6.0, 31.0, 60.0)


class Bytes:
    """Reads choices from the input; zeros when it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def __bool__(self) -> bool:
        return self._place < len(self._data)

    def byte(self) -> int:
        """The next one."""
        self._place += 1
        return self._data[self._place - 1] if self._place <= len(self._data) else 0

    def take(self, limit: int) -> bytes:
        """As many as the next byte says, at most ``limit``."""
        count = min(self.byte(), limit)
        self._place += count
        return self._data[self._place - count : self._place]

    def choose(self, items: Any) -> Any:
        """One of them."""
        return items[self.byte() % len(items)]

    def items(self) -> list[Item]:
        """STUN attributes of any number with any value."""
        kinds = [0x01, 0x06, 0x08, 0x09, 0x14, 0x15, 0x20, 0x24, 0x25, 0x7F01, 0x8022, 0x8028, 0x8029, 0x802A, 0xC001]
        return [(self.choose(kinds), self.take(40)) for _ in range(self.byte() % 6)]


def readers(data: bytes) -> None:
    """Text from people and peers: candidates, SDP, JSON, logs, anything that is pasted."""
    text = data.decode("utf-8", "surrogateescape" if data[:1] == b"\xff" else "replace")
    for read in (Candidate.parse, read_sdp, lambda text: CandidateInit.from_json(text), ServerUri.parse):
        try:
            value = read(text)
        except DecodeError as error:
            str(error)
            continue
        if isinstance(value, Candidate):
            assert Candidate.parse(str(value)) == value
        elif isinstance(value, ServerUri):
            assert ServerUri.parse(str(value)) == value
    with suppress(ConfigError):
        parse_servers(text)
    explain(text)
    read_log(text)


def signaling(data: bytes) -> None:
    """What a peer, a room server, a broker or a WHIP client sends: the first byte says which."""
    kind, data = data[:1], data[1:]
    text = data.decode("utf-8", "replace")
    if kind == b"s":
        _stomp(data)
        return
    try:
        if kind == b"f":
            fragment = read_fragment(text)
            assert read_fragment(str(fragment)) == fragment
        elif kind == b"t":
            read_token(text)
        elif kind == b"b":
            decode_event(data)
            decode_request(data)
        else:
            message = decode_message(data)
            for shape in Shape:
                with suppress(SignalingError):
                    assert without_envelope(decode_message(encode_message(message, shape))) is not None
            assert decode_message(encode_message(message)) == message
    except DecodeError as error:
        str(error)


def _stomp(data: bytes) -> None:
    """All at once or in pieces, the frames are the same."""
    read: list[list[Frame] | None] = []
    for size in (len(data) or 1, 3):
        reader, frames = FrameReader(200), []
        try:
            for start in range(0, len(data), size):
                frames += reader.feed(data[start : start + size])
        except DecodeError as error:
            str(error)
            read.append(None)
        else:
            read.append(frames)
    assert read[0] == read[1]


def capture(data: bytes) -> None:
    """A file of packets, from the first byte to the conversations in it; and frames of RFC 4571."""
    with suppress(DecodeError):
        reading = read_capture(data)
        for conversation in read_conversations(reading.packets):
            outcome(conversation)
    decoder = FrameDecoder(300)
    with suppress(DecodeError):
        for start in range(0, len(data), 5):
            assert all(len(item) <= 300 for item in decoder.feed(data[start : start + 5]))


def stun(data: bytes) -> None:
    """Messages of STUN and TURN, as datagrams and as a stream."""
    is_channel_data(data)
    if is_stun(data):
        try:
            message = decode(data)
        except DecodeError:
            pass
        else:
            for attribute in ATTRIBUTES:
                try:
                    message.get(attribute)
                except DecodeError as error:
                    str(error)
            message.unknown_required()
            message.verify(short_term_key(PASSWORD))
            repr(message)
    try:
        ChannelData.decode(data)
    except DecodeError as error:
        str(error)
    decoder = StreamDecoder()
    try:
        for start in range(0, len(data), 7):
            decoder.feed(data[start : start + 7])
    except DecodeError as error:
        str(error)


def _check(choices: Bytes, agent: IceAgent) -> bytes:
    """A check of the peer, right or nearly so."""
    names = (f"{agent.local_ufrag}:{UFRAG}", f"{agent.local_ufrag}:", UFRAG, "")
    items = [attr.USERNAME(choices.choose(names)), *choices.items()]
    if choices.byte() % 4:
        items += [attr.PRIORITY(choices.byte() << 20), attr.ICE_CONTROLLING(choices.byte() << 56)]
    password = agent.local_password if choices.byte() % 4 else "wrong"
    message = request(Method.BINDING, choices.take(12).ljust(12, b"\0"), *items)
    return message.encode(short_term_key(password), fingerprint=bool(choices.byte() % 2))


def _answer(choices: Bytes, asked: bytes) -> bytes:
    """An answer to a request of ours, right or nearly so."""
    message = decode(asked)
    items = choices.items()
    if choices.byte() % 4:
        items.append(attr.XOR_MAPPED_ADDRESS(choices.choose(PLACES)))
    code = choices.choose((None, None, None, 300, 400, 401, 438, 487, 500))
    reply = success(message, *items) if code is None else failure(message, code, *items)
    key = choices.choose((short_term_key(PASSWORD), short_term_key("wrong"), None))
    return reply.encode(key, fingerprint=bool(choices.byte() % 2))


class _World:
    """Everything that happens to a core, as the input says; the clock is its own."""

    def __init__(self, choices: Bytes, core: Any, agent: IceAgent) -> None:
        self.choices, self.core, self.agent = choices, core, agent
        self.now = 0.0
        self.asked: list[Datagram] = []
        self.bases: list[tuple[Address, Transport]] = []
        self.streams: list[tuple[Address, Address]] = []
        self.ports = 5000
        self.states: list[IceState] = []

    def drain(self) -> None:
        while True:
            out = self.core.datagrams_to_send()
            self.asked = [*self.asked, *(item for item in out if is_stun(item.data))][-8:]
            event = self.core.next_event()
            if event is None and not out:
                return
            self.serve(event)

    def serve(self, event: Any) -> None:
        """Open what is wanted, mostly."""
        opens = isinstance(event, SocketWanted | ListenerWanted | StreamWanted) and self.choices.byte() % 8 != 7
        match event:
            case SocketWanted(id=id, local=local):
                if opens:
                    self.ports += 1
                    self.bases.append((Address(local.host, self.ports), Transport.UDP))
                    self.core.socket_opened(id, self.bases[-1][0], self.now)
                else:
                    self.core.socket_failed(id, SocketFailure.IN_USE, self.now)
            case ListenerWanted(id=id, local=local):
                if opens:
                    self.ports += 1
                    self.bases.append((Address(local.host, self.ports), Transport.TCP))
                    self.core.listener_opened(id, self.bases[-1][0], self.now)
                else:
                    self.core.listener_failed(id, SocketFailure.DENIED, self.now)
            case StreamWanted(id=id, remote=remote):
                if opens:
                    self.ports += 1
                    self.streams.append((Address(HOST, self.ports), remote))
                    self.core.stream_opened(id, self.streams[-1][0], remote, self.now)
                else:
                    self.core.stream_closed(id, StreamFailure.REFUSED, self.now)
            case CandidateGathered(candidate=candidate):
                str(candidate)
            case StateChanged(state=state):
                self.states.append(state)

    def receive(self, data: bytes) -> None:
        choices = self.choices
        source, (base, transport) = choices.choose(PLACES), choices.choose(self.bases or [(PLACES[0], Transport.UDP)])
        if self.streams and choices.byte() % 4 == 0:
            base, source = choices.choose(self.streams)
            transport = Transport.TCP
        if self.asked and choices.byte() % 2:
            # From where it was sent to, as an answer would come.
            last = choices.choose(self.asked)
            source, base, transport = last.destination, last.source, last.transport
        self.core.receive_datagram(Datagram(source, base, data, transport), self.now)

    def answer(self, asked: Datagram) -> None:
        """The answer to a request of ours, mostly from where it was sent to."""
        if decode(asked.data).message_class is not Class.REQUEST:
            return
        data = _answer(self.choices, asked.data)
        if self.choices.byte() % 4:
            self.core.receive_datagram(Datagram(asked.destination, asked.source, data, asked.transport), self.now)
        else:
            self.receive(data)

    def step(self) -> None:
        choices, agent = self.choices, self.agent
        match choices.byte() % 12:
            case 0 | 1:
                self.receive(choices.take(80))
            case 2 | 3 | 4:
                self.receive(_check(choices, agent))
            case 5 | 6 if self.asked:
                self.answer(choices.choose(self.asked))
            case 7:
                self.now += choices.choose(TIMES)
                self.core.handle_timer(self.now)
                left = self.core.get_timer()
                assert left is None or left > self.now, (left, self.now)
            case 8:
                try:
                    agent.add_remote_candidate(Candidate.parse(choices.take(90).decode("utf-8", "replace")), self.now)
                except DecodeError as error:
                    str(error)
            case 9:
                place = choices.choose(PLACES)
                line = f"candidate:{choices.byte()} 1 udp {choices.byte() << 22 | 1} {place.host} {place.port} typ host"
                agent.add_remote_candidate(Candidate.parse(line), self.now)
            case 10:
                agent.set_remote_credentials(UFRAG, PASSWORD, self.now, lite=choices.byte() % 8 == 0)
            case 11:
                self.misuse()

    def misuse(self) -> None:
        """What an owner calls, at any time."""
        agent, now = self.agent, self.now
        match self.choices.byte() % 8:
            case 0:
                self.core.restart(now)
            case 1:
                agent.send(1, b"data", now)
            case 2:
                agent.end_of_remote_candidates(now)
            case 3:
                agent.set_renomination(bool(self.choices.byte() % 2))
            case 4 if self.asked:
                self.core.unreachable(self.choices.choose(self.asked), now)
            case 5:
                agent.set_controlling(bool(self.choices.byte() % 2), now)
            case 6:
                agent.set_pacing(self.choices.choose((None, 0.001, 0.05)))
            case 7 if self.choices.byte() == 255:
                self.core.close(now)

    def run(self) -> list[IceState]:
        used = getattr(self.core, "agent_used", lambda now: None)
        for _ in range(64):
            if not self.choices:
                break
            try:
                self.step()
                used(self.now)
            except InvalidState as error:
                str(error)
            self.drain()
            self.check()
        self.core.close(self.now)
        for _ in range(40):
            self.drain()
            if (timer := self.core.get_timer()) is None:
                return self.states
            self.now = max(self.now, timer)
            self.core.handle_timer(self.now)
        raise AssertionError("close() comes to no end")

    def check(self) -> None:
        config = self.agent.config
        self.agent.stats()
        for generation in self.agent._generations:
            assert len(generation.checklist.pairs) <= config.max_pairs
            assert len(generation.checklist.remotes) <= config.max_pairs
            assert generation.open_checks <= config.max_open_checks
            assert len(generation.early_checks) <= config.max_early_checks
            assert all(
                pair.valid for pair in generation.selection.selected.values() if not pair.local.transport.is_stream
            )


def agent(data: bytes) -> list[IceState]:
    """The agent alone, with one base."""
    choices = Bytes(data)
    core = IceAgent(bool(choices.byte() % 2), random.Random(1).randbytes, config=SMALL)
    base = Address(HOST, 5000)
    core.add_local_candidate(LocalCandidate(Candidate.parse(f"candidate:1 1 udp 9 {HOST} 5000 typ host"), base), 0.0)
    world = _World(choices, core, core)
    world.bases.append((base, Transport.UDP))
    return world.run()


def session(data: bytes) -> list[IceState]:
    """A session with a STUN and two TURN servers, and TCP."""
    choices = Bytes(data)
    urls = [f"stun:{SERVER}", f"turn:{SERVER}", f"turn:{SERVER}?transport=tcp"]
    servers = [GatherServer(ServerUri.parse(url), ("alice", "secret") if url[0] == "t" else None) for url in urls]
    core = IceSession(
        bool(choices.byte() % 2),
        [HOST],
        servers,
        random.Random(1).randbytes,
        config=SMALL,
        network=NetworkConfig(tcp=bool(choices.byte() % 2)),
    )
    core.start(0.0)
    for place, server in enumerate(servers):
        transport = Transport.TCP if "tcp" in urls[place] else Transport.UDP
        core.server_resolved(place, [ServerEndpoint(server.uri, transport, SERVER, SERVER.host)], 0.0)
    world = _World(choices, core, core.agent)
    world.drain()
    return world.run()


TARGETS: dict[str, Callable[[bytes], object]] = {
    target.__name__: target for target in (readers, signaling, capture, stun, agent, session)
}
