"""What happened between every two addresses of a capture: checks, TURN, DTLS, media, and where it stopped.

Read from the outside: nothing is decrypted and no password is known, so a check that is answered with success was
accepted, and what DTLS says behind its first flight is only seen to pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from icekit import attributes as attr
from icekit.errors import DecodeError
from icekit.net import Address, Datagram, Transport
from icekit.pcap import Packet
from icekit.report import Severity
from icekit.stun import ChannelData, Class, Message, Method, StreamDecoder, decode, is_channel_data, is_stun

MAX_CONVERSATIONS = 10_000
_MAX_OPEN = 4096

_HANDSHAKE, _ALERT, _CLIENT_HELLO, _SERVER_HELLO = 22, 21, 1, 2


@dataclass(slots=True)
class Side:
    """What one of the two sent."""

    checks: int = 0
    answered: int = 0
    errors: dict[int, int] = field(default_factory=dict)
    client_hellos: int = 0
    server_hellos: int = 0
    encrypted: int = 0
    alerts: int = 0
    media: int = 0
    other: int = 0
    open: set[bytes] = field(default_factory=set, repr=False)


@dataclass(slots=True)
class Conversation:
    """Between ``one``, which spoke first, and ``other``; ``relay`` is the TURN server that it went through, if any."""

    one: Address
    other: Address
    transport: Transport
    relay: Address | None
    first: float
    last: float
    nominated: bool = False
    ice: bool = False
    requests: dict[tuple[str, str], int] = field(default_factory=dict)
    sides: dict[Address, Side] = field(default_factory=dict)

    def side(self, address: Address) -> Side:
        """What ``address`` sent."""
        return self.sides.setdefault(address, Side())

    @property
    def duration(self) -> float:
        """Seconds from the first to the last packet."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a conversation stopped, in one sentence; ``OK`` if it went on to encrypted data."""

    severity: Severity
    text: str


def read_conversations(packets: Iterable[Packet]) -> tuple[Conversation, ...]:
    """Every conversation with STUN, TURN, DTLS or media in it, in the order in which they began."""
    reader = _Reader()
    for packet in packets:
        reader.take(packet)
    return tuple(item for item in reader.found.values() if _is_of_interest(item))


class _Reader:
    def __init__(self) -> None:
        self.found: dict[tuple[object, ...], Conversation] = {}
        # Channels of a client at its server, and the client's streams.
        self._channels: dict[tuple[Address, Address, int], Address] = {}
        self._streams: dict[tuple[Address, Address], StreamDecoder] = {}

    def take(self, packet: Packet) -> None:
        datagram = packet.datagram
        if datagram.transport is Transport.UDP:
            self._message(packet.time, datagram, None)
            return
        key = (datagram.source, datagram.destination)
        if packet.syn or packet.rst:
            self._streams.pop(key, None)
            return
        if not datagram.data:
            return
        decoder = self._streams.get(key)
        if decoder is None:
            if len(self._streams) >= MAX_CONVERSATIONS:
                return
            decoder = self._streams[key] = StreamDecoder()
        try:
            messages = decoder.feed(datagram.data)
        except DecodeError:
            # TLS, or a stream whose beginning is not in the capture.
            self._streams.pop(key, None)
            return
        for message in messages:
            self._message(packet.time, Datagram(*key, message, Transport.TCP), None)

    def _message(self, time: float, datagram: Datagram, relay: Address | None) -> None:
        data = datagram.data
        conversation = self._conversation(time, datagram, relay)
        if conversation is None or not data:
            return
        if is_stun(data):
            try:
                self._stun(time, datagram, conversation, decode(data))
            except DecodeError:
                conversation.side(datagram.source).other += 1
        elif is_channel_data(data) and relay is None:
            self._channel_data(time, datagram)
        else:
            _other(conversation.side(datagram.source), data)

    def _conversation(self, time: float, datagram: Datagram, relay: Address | None) -> Conversation | None:
        ends = (datagram.source, datagram.destination)
        key = (frozenset(ends), datagram.transport, relay)
        conversation = self.found.get(key)
        if conversation is None:
            if len(self.found) >= MAX_CONVERSATIONS:
                return None
            conversation = self.found[key] = Conversation(*ends, datagram.transport, relay, time, time)
        conversation.last = max(conversation.last, time)
        return conversation

    def _stun(self, time: float, datagram: Datagram, conversation: Conversation, message: Message) -> None:
        side, peer = conversation.side(datagram.source), conversation.side(datagram.destination)
        if message.method == Method.BINDING:
            _binding(conversation, side, peer, message)
        elif message.method in (Method.SEND, Method.DATA):
            self._indication(time, datagram, message)
        else:
            self._turn(datagram, conversation, message)

    def _turn(self, datagram: Datagram, conversation: Conversation, message: Message) -> None:
        method = _name(message.method)
        match message.message_class:
            case Class.REQUEST:
                outcome = "sent"
                channel, peer = message.get(attr.CHANNEL_NUMBER), message.get(attr.XOR_PEER_ADDRESS)
                if channel is not None and peer is not None and len(self._channels) < MAX_CONVERSATIONS:
                    self._channels[datagram.source, datagram.destination, channel] = peer
            case Class.SUCCESS:
                outcome = "granted"
            case Class.ERROR:
                error = message.get(attr.ERROR_CODE)
                outcome = "refused" if error is None else str(error.code)
            case _:
                return
        conversation.requests[method, outcome] = conversation.requests.get((method, outcome), 0) + 1

    def _indication(self, time: float, datagram: Datagram, message: Message) -> None:
        peer, data = message.get(attr.XOR_PEER_ADDRESS), message.get(attr.DATA)
        if peer is not None and data is not None:
            self._inner(time, datagram, peer, data, outwards=message.method == Method.SEND)

    def _channel_data(self, time: float, datagram: Datagram) -> None:
        try:
            message = ChannelData.decode(datagram.data)
        except DecodeError:
            return
        ends = (datagram.source, datagram.destination)
        for client, server in (ends, ends[::-1]):
            if (peer := self._channels.get((client, server, message.channel))) is not None:
                self._inner(time, datagram, peer, message.data, outwards=client == datagram.source)
                return

    def _inner(self, time: float, datagram: Datagram, peer: Address, data: bytes, *, outwards: bool) -> None:
        """A packet in a packet of TURN: from the client to the peer, or back."""
        if outwards:
            self._message(time, Datagram(datagram.source, peer, data), datagram.destination)
        else:
            self._message(time, Datagram(peer, datagram.destination, data), datagram.source)


def _name(method: int) -> str:
    return Method(method).name.replace("_", " ").title().replace(" ", "") if method in set(Method) else hex(method)


def _binding(conversation: Conversation, side: Side, peer: Side, message: Message) -> None:
    match message.message_class:
        case Class.REQUEST:
            side.checks += 1
            conversation.ice = conversation.ice or message.get(attr.USERNAME) is not None
            conversation.nominated = conversation.nominated or message.get(attr.USE_CANDIDATE) is True
            if len(side.open) < _MAX_OPEN:
                side.open.add(message.transaction_id)
        case Class.SUCCESS if message.transaction_id in peer.open:
            peer.open.discard(message.transaction_id)
            peer.answered += 1
        case Class.ERROR if message.transaction_id in peer.open:
            peer.open.discard(message.transaction_id)
            error = message.get(attr.ERROR_CODE)
            code = 0 if error is None else error.code
            peer.errors[code] = peer.errors.get(code, 0) + 1


def _other(side: Side, data: bytes) -> None:
    """DTLS and media by their first byte (RFC 7983 §7)."""
    first = data[0]
    if 128 <= first <= 191:
        side.media += 1
    elif 32 <= first <= 63:
        side.encrypted += 1  # the short header of DTLS 1.3 (RFC 9147 §4)
    elif 20 <= first <= 31 and len(data) >= 14:
        if data[3] or data[4]:
            side.encrypted += 1  # an epoch behind the first: keys are in use
        elif first == _HANDSHAKE and data[13] == _CLIENT_HELLO:
            side.client_hellos += 1
        elif first == _HANDSHAKE and data[13] == _SERVER_HELLO:
            side.server_hellos += 1
        elif first == _ALERT:
            side.alerts += 1
    else:
        side.other += 1


def _is_of_interest(item: Conversation) -> bool:
    counted = (side.checks + side.client_hellos + side.encrypted + side.media for side in item.sides.values())
    return bool(item.requests) or any(counted)


def outcome(conversation: Conversation) -> Outcome:
    """How far it came."""
    one, other = conversation.side(conversation.one), conversation.side(conversation.other)
    if one.encrypted and other.encrypted:
        media = one.media + other.media
        return Outcome(Severity.OK, f"works: encrypted both ways{f', {media} media packets' if media else ''}")
    if one.alerts or other.alerts:
        text = "DTLS was refused with an alert: the certificate does not match the fingerprint, or no common cipher"
        return Outcome(Severity.ERROR, text)
    if one.client_hellos or other.client_hellos:
        return _dtls(one, other)
    if conversation.requests:
        return _turn_outcome(conversation)
    return _checks(conversation, one, other)


def _dtls(one: Side, other: Side) -> Outcome:
    hellos = one.client_hellos + other.client_hellos
    if one.client_hellos and other.client_hellos:
        return Outcome(Severity.ERROR, "both sides began DTLS as client: the a=setup lines do not fit")
    if not (one.server_hellos or other.server_hellos):
        return Outcome(Severity.ERROR, f"DTLS stopped: {hellos} ClientHello without an answer")
    return Outcome(
        Severity.ERROR, "DTLS stopped behind ServerHello: its larger packets are lost (MTU), or the other side gave up"
    )


def _turn_outcome(conversation: Conversation) -> Outcome:
    refused = [(method, code) for method, code in conversation.requests if code not in ("sent", "granted")]
    granted = {method for method, code in conversation.requests if code == "granted"}
    for method, code in refused:
        # The first 401 is the challenge, 438 asks to try again.
        if method not in granted and code not in ("438",):
            return Outcome(Severity.ERROR, f"the TURN server refuses {method} with {code}")
    if not granted:
        return Outcome(Severity.ERROR, "the TURN server does not answer")
    return Outcome(Severity.OK, "the TURN server works")


def _checks(conversation: Conversation, one: Side, other: Side) -> Outcome:
    sent, answered = one.checks + other.checks, one.answered + other.answered
    what = "check" if conversation.ice else "Binding request"
    errors = {**one.errors, **other.errors}
    if answered == 0 and errors:
        meaning = {
            401: "the ice-pwd does not fit: descriptions of two different calls",
            400: "the check is not understood",
            487: "both sides insist on the same role",
        }
        [code, *_] = sorted(errors)
        return Outcome(Severity.ERROR, f"{sent} {what}s, answered with {code}: {meaning.get(code, 'refused')}")
    if answered == 0:
        if one.checks and other.checks:
            return Outcome(
                Severity.WARNING, f"{one.checks} {what}s one way and {other.checks} the other, none was answered"
            )
        return Outcome(Severity.WARNING, f"{sent} {what}{'s' if sent > 1 else ''}, nothing came back")
    if conversation.ice and not conversation.nominated:
        return Outcome(Severity.INFO, f"{answered} of {sent} checks answered, never nominated")
    if conversation.ice:
        return Outcome(Severity.WARNING, f"{answered} of {sent} checks answered, nominated, but nothing was sent on it")
    return Outcome(Severity.OK, f"{answered} of {sent} Binding requests answered")
