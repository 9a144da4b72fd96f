"""Delivery end to end: own echoes, order, duplicates, and resume by number and acknowledgement; no input or output.

Every message that we send carries ``from``, ``id`` and ``seq``: ``id`` names a stream (this run of ours, and whom it is
for), ``seq`` counts from 1 in it. Whoever understands that answers with ``ack``, and we keep what is not acknowledged:

- An ``ack`` without ``of`` is a greeting: "I am here". We send that peer what it has not got.
- An ``ack`` from the reader of a stream says how far it has read; what it lacks is sent again, to it alone.
- An ``ack`` from the writer of a stream says that nothing up to there will come again: the reader need not wait.

A peer that sends no numbers gets what the transport gives, and is never sent anything twice.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace

from icekit.errors import InvalidState
from icekit.signaling.message import Ack, Message, Presence, encode
from icekit.signaling.numbering import ReadStream, WrittenStream
from icekit.signaling.own_messages import OwnMessages


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryConfig:
    """Bounds are numbers of messages or characters, times are seconds.

    ``resumes``: number and acknowledge. ``presence``: a server tells who joins and leaves. ``unacked`` and
    ``unacked_size`` bound what is kept for repeating, ``queue`` what waits for the transport, ``held`` and
    ``held_size`` what one stream may hold out of order. ``peers``, and streams ``per_peer``, are remembered at most.
    ``retry``: first repetition, doubled up to ``retry_limit``. ``silence``: a peer that acknowledges nothing for so
    long is gone, and what is missing of it is given up; ``gap``: the same where a peer has never acknowledged anything,
    and so will not repeat. ``ack_delay``: acknowledgements are collected.
    """

    resumes: bool = True
    presence: bool = False
    unacked: int = 256
    unacked_size: int = 2**23
    queue: int = 64
    held: int = 256
    held_size: int = 2**22
    peers: int = 64
    per_peer: int = 4
    retry: float = 1.0
    retry_limit: float = 4.0
    silence: float = 30.0
    gap: float = 5.0
    ack_delay: float = 0.05


@dataclass(slots=True)
class _Peer:
    """Somebody who numbers and acknowledges. ``acked``: how far it has read each stream of ours.

    ``repeated``: the last number of a stream that was sent again, and the last that has to be. ``answered``: the number
    after which it was already sent again because the peer asked.
    """

    session: str
    heard: float
    acked: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, tuple[int, int]] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    streams: OrderedDict[str, ReadStream] = field(default_factory=OrderedDict)
    due: float | None = None
    interval: float = 1.0
    present: bool = True
    acknowledges: bool = False


@dataclass(slots=True)
class DeliveryCounters:
    """What happened to messages that came in, and how many were sent again."""

    delivered: int = 0
    echoes: int = 0
    duplicates: int = 0
    elsewhere: int = 0
    dropped: int = 0
    resent: int = 0


class Delivery:
    """One participant. ``name`` is what others see as ``from``, ``session`` is new for every run (no dot in it)."""

    def __init__(self, name: str, session: str, config: DeliveryConfig | None = None) -> None:
        self.name = name
        self.session = session
        self.config = config or DeliveryConfig()
        self.counters = DeliveryCounters()
        self._own = OwnMessages(name)
        self._written: OrderedDict[str | None, WrittenStream] = OrderedDict({None: WrittenStream(session, None)})
        self._streams_made = 0
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        # Runs that said farewell or were replaced: what still comes from them is late.
        self._ended: deque[tuple[str, str]] = deque(maxlen=self.config.peers)
        self._out: deque[Message] = deque()
        self._in: deque[Message] = deque()
        self._connected = False
        self._closed = False
        self._farewells = 0

    # What the application does.

    @property
    def writable(self) -> bool:
        """Whether one more message should be sent now, or later (back-pressure)."""
        if len(self._out) >= self.config.queue:
            return False
        # Without anybody who acknowledges, the oldest give way.
        return not (self._readers and self._kept_too_much())

    @property
    def drained(self) -> bool:
        """Whether everything is sent, and acknowledged by every peer that acknowledges."""
        return not self._out and not any(self._lacks(name, peer) for name, peer in self._readers.items())

    @property
    def said_farewell(self) -> bool:
        """Whether a peer has, and nobody else is here."""
        return self._farewells > 0 and not self.peers

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of those who are here, number and acknowledge."""
        return tuple(name for name, peer in self._peers.items() if peer.present)

    def send(self, message: Message, now: float) -> None:
        """Queue ``message``. SignalingError if it cannot be written, InvalidState after ``farewell``."""
        if self._closed:
            raise InvalidState("a message was sent after the farewell")
        message = replace(message, sender=self.name, seq=None, id=None)
        size = len(encode(message))
        if self.config.resumes and not isinstance(message, Ack):
            stream = self._stream(message.to)
            stream.last += 1
            message = replace(message, seq=stream.last, id=stream.id)
            stream.keep(message, size)
            while self._kept_too_much() and not self._readers:
                max(self._written.values(), key=lambda written: written.size).drop_oldest()
            for name, peer in self._peers.items():
                if peer.present and message.to in (None, name) and peer.due is None:
                    peer.due = now + self.config.retry
        self._queue(message, now)

    def farewell(self, now: float) -> None:
        """Say goodbye, as the last message; with a server that tells presence nothing is said."""
        if not self._closed:
            self._acknowledge(now, everything=True)
        if not self._closed and self.config.resumes and not self.config.presence:
            self.send(Presence(left=(self.name,)), now)
        self._closed = True

    def next_message(self) -> Message | None:
        """The next message for the application; drains."""
        return self._in.popleft() if self._in else None

    # What the transport does.

    def connected(self, now: float) -> None:
        """A connection is up: say how far we have read, then greet; what waited follows."""
        self._connected = True
        if not self.config.resumes:
            return
        front: list[Message] = []
        for name, peer in self._peers.items():
            # Our own absence is not held against the peers.
            peer.heard = now
            peer.answered.clear()
            peer.interval = self.config.retry
            peer.due = now + self.config.retry if peer.present and self._lacks(name, peer) else None
            for stream in peer.streams.values():
                stream.ack_due = None
                front.append(self._ack(stream.taken, stream.id, name))
        front.append(Ack(acked=0, sender=self.name, id=self.session))
        self._out.extendleft(reversed(front))

    def disconnected(self) -> None:
        """The connection is gone."""
        self._connected = False

    def next_to_send(self) -> Message | None:
        """The next message for the transport, while there is a connection; drains."""
        return self._out.popleft() if self._connected and self._out else None

    def not_sent(self, message: Message) -> None:
        """It did not get out: it comes first on the next connection; an acknowledgement is made anew."""
        if not isinstance(message, Ack):
            self._out.appendleft(message)

    def receive(self, message: Message, now: float) -> None:
        """A message arrived."""
        if self._own.recognises(message, now):
            self.counters.echoes += 1
        elif message.to is not None and message.to != self.name:
            self.counters.elsewhere += 1
        elif isinstance(message, Ack):
            self._receive_ack(message, now)
        elif message.seq is None or message.sender is None or not self.config.resumes:
            self._deliver(message)
        else:
            self._receive_numbered(message, message.sender, message.id or "", message.seq, now)

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is wanted; None while there is no connection."""
        if not self._connected:
            return None
        times = [peer.due for peer in self._peers.values()]
        for peer in self._peers.values():
            for stream in peer.streams.values():
                times += [stream.ack_due, self._gap_end(peer, stream)]
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Repeat, acknowledge and give up what is due."""
        if not self._connected:
            return
        for name, peer in list(self._peers.items()):
            for stream in list(peer.streams.values()):
                if (end := self._gap_end(peer, stream)) is not None and now >= end:
                    self._deliver_from(stream, stream.skip(min(stream.held) - 1, now))
            if peer.due is not None and now >= peer.due and self._peers.get(name) is peer:
                self._repeat(name, peer, now)
        self._acknowledge(now)

    def _acknowledge(self, now: float, *, everything: bool = False) -> None:
        for name, peer in self._peers.items():
            for stream in peer.streams.values():
                if stream.ack_due is not None and (everything or now >= stream.ack_due):
                    stream.ack_due = None
                    self._out.append(self._ack(stream.taken, stream.id, name))

    # Streams of ours.

    def _stream(self, to: str | None) -> WrittenStream:
        stream = self._written.get(to)
        if stream is None:
            self._streams_made += 1
            stream = self._written[to] = WrittenStream(f"{self.session}.{self._streams_made}", to)
            if len(self._written) > self.config.peers:
                oldest = next(name for name in self._written if name is not None)
                del self._written[oldest]
        return stream

    def _kept_too_much(self) -> bool:
        streams = self._written.values()
        return (
            sum(len(stream.kept) for stream in streams) > self.config.unacked
            or sum(stream.size for stream in streams) > self.config.unacked_size
        )

    def _for(self, name: str) -> list[WrittenStream]:
        """The streams of ours that ``name`` reads."""
        return [stream for stream in (self._written[None], self._written.get(name)) if stream is not None]

    @property
    def _readers(self) -> dict[str, _Peer]:
        """Who has ever acknowledged: nobody else is waited for, or is sent anything again."""
        return {name: peer for name, peer in self._peers.items() if peer.present and peer.acknowledges}

    def _lacks(self, name: str, peer: _Peer) -> bool:
        return peer.acknowledges and any(
            stream.kept and peer.acked.get(stream.id, 0) < stream.last for stream in self._for(name)
        )

    def _repeat(self, name: str, peer: _Peer, now: float) -> None:
        if not self._lacks(name, peer):
            peer.due = None
            return
        if now - peer.heard > self.config.silence:
            # It may come back: what it has read, and what we have read of it, stays.
            peer.present = False
            peer.due = None
            self._settle()
            self._announce(Presence(left=(name,), peers=self.peers, sender=name))
            return
        if self._out:
            # What waits here has not even been sent once.
            peer.due = now + self.config.ack_delay
            return
        for stream in self._for(name):
            read = peer.acked.get(stream.id, 0)
            if read < stream.settled:
                self._out.append(self._ack(stream.settled, stream.id, name))
            # A window, so that a peer that reads slowly is not buried; the next one when it has read this.
            window = [(seq, message) for seq, (message, _) in stream.kept.items() if seq > read][: self.config.queue]
            for seq, message in window:
                self.counters.resent += 1
                self._queue(replace(message, to=name), now)
                peer.repeated[stream.id] = seq, stream.last
        peer.due = now + peer.interval
        peer.interval = min(2 * peer.interval, self.config.retry_limit)

    def _settle(self) -> None:
        """Forget what every peer that it is for has read."""
        for to, stream in self._written.items():
            readers = [peer for name, peer in self._readers.items() if to in (None, name)]
            if readers:
                stream.settle(min(peer.acked.get(stream.id, 0) for peer in readers))

    # Peers.

    def _peer(self, name: str, session: str, now: float) -> _Peer | None:
        """Who speaks; None for a run that has ended."""
        if (name, session) in self._ended:
            return None
        peer = self._peers.get(name)
        known = peer is not None and peer.present
        if peer is not None and peer.session != session:
            # The same name in a new run has read nothing yet, and counts from 1.
            self._ended.append((name, peer.session))
            peer = None
        if peer is None:
            peer = self._peers[name] = _Peer(session, now, interval=self.config.retry)
            if len(self._peers) > self.config.peers:
                self._forget(min(self._peers, key=lambda other: self._peers[other].heard))
        peer.heard = now
        if not known:
            peer.present = True
            peer.due = now + self.config.retry if self._lacks(name, peer) else None
            self._announce(Presence(joined=(name,), peers=self.peers, sender=name))
        return peer

    def _forget(self, name: str) -> None:
        peer = self._peers.pop(name)
        self._written.pop(name, None)
        self._settle()
        if peer.present:
            self._announce(Presence(left=(name,), peers=self.peers, sender=name))

    def _announce(self, presence: Presence) -> None:
        if not self.config.presence:
            self._in.append(presence)

    def _receive_ack(self, ack: Ack, now: float) -> None:
        if ack.sender is None or not self.config.resumes:
            return
        session = (ack.id or "").partition(".")[0]
        peer = self._peer(ack.sender, session, now)
        if peer is None:
            return
        if not peer.acknowledges:
            peer.acknowledges = True
            peer.due = now + self.config.retry if self._lacks(ack.sender, peer) else None
        everybody = self._written[None]
        if ack.of is None and ack.acked == 0:
            peer.answered.clear()
            # Who greets wants to know who is here, where our stream begins, and how far we have read.
            self._out.append(self._ack(everybody.settled, everybody.id, ack.sender))
            self._out += [self._ack(stream.taken, stream.id, ack.sender) for stream in peer.streams.values()]
            return
        of = everybody.id if ack.of is None else ack.of
        for stream in self._for(ack.sender):
            if stream.id == of:
                self._acknowledged(ack.acked, stream, ack.sender, peer, now)
                return
        if of.partition(".")[0] == session:
            read = self._read(peer, of)
            self._deliver_from(read, read.skip(ack.acked, now))
            # The writer learns at once what it has to repeat.
            read.ack_due = now

    def _acknowledged(self, acked: int, stream: WrittenStream, name: str, peer: _Peer, now: float) -> None:
        before = peer.acked.get(stream.id, 0)
        peer.acked[stream.id] = max(before, min(acked, stream.last))
        self._settle()
        if acked < stream.settled:
            self._out.append(self._ack(stream.settled, stream.id, name))
        repeated, goal = peer.repeated.get(stream.id, (0, 0))
        if acked >= goal:
            peer.repeated.pop(stream.id, None)
        if not self._lacks(name, peer):
            peer.due = None
        elif repeated <= acked < goal:
            peer.interval = self.config.retry
            peer.due = now
        elif acked <= before:
            # The same number again asks for what follows it; each further one may only tell of a duplicate.
            if peer.answered.get(stream.id) != acked:
                peer.answered[stream.id] = acked
                self._retry_soon(name, peer, now)
        else:
            peer.interval = self.config.retry
            peer.due = now + peer.interval

    def _retry_soon(self, name: str, peer: _Peer, now: float) -> None:
        if self._lacks(name, peer):
            peer.interval = self.config.retry
            soon = now + self.config.ack_delay
            peer.due = soon if peer.due is None else min(peer.due, soon)

    # Streams of theirs.

    def _gap_end(self, peer: _Peer, stream: ReadStream) -> float | None:
        if stream.gap_since is None:
            return None
        if peer.acknowledges:
            # As long as it talks it will send again what is missing, or say that it cannot.
            return max(stream.gap_since, peer.heard) + self.config.silence
        return stream.gap_since + self.config.gap

    def _read(self, peer: _Peer, id: str) -> ReadStream:
        stream = peer.streams.get(id)
        if stream is None:
            stream = peer.streams[id] = ReadStream(id)
            if len(peer.streams) > self.config.per_peer:
                peer.streams.popitem(last=False)
        return stream

    def _receive_numbered(self, message: Message, sender: str, id: str, seq: int, now: float) -> None:
        peer = self._peer(sender, id.partition(".")[0], now)
        if peer is None:
            # It waits for this before it ends.
            self.counters.duplicates += 1
            self._out.append(self._ack(seq, id, sender))
            return
        stream = self._read(peer, id)
        if stream.has(seq):
            self.counters.duplicates += 1
            stream.acknowledge_by(now + self.config.ack_delay)
            return
        size = len(encode(message))
        if seq > stream.taken + 1 and (
            seq > stream.taken + self.config.held or stream.size + size > self.config.held_size
        ):
            # It is asked for again when its turn comes.
            self.counters.dropped += 1
            stream.acknowledge_by(now + self.config.ack_delay)
            return
        new_gap = stream.gap_since is None
        self._deliver_from(stream, stream.add(seq, message, size, now))
        # A new gap is asked for at once.
        stream.acknowledge_by(now if stream.held and new_gap else now + self.config.ack_delay)

    def _deliver_from(self, stream: ReadStream, messages: list[Message]) -> None:
        for message in messages:
            # What was repeated for us alone was said to everybody, unless the stream is ours.
            self._deliver(message if "." in stream.id or not stream.id else replace(message, to=None))

    def _deliver(self, message: Message) -> None:
        match message:
            case Presence(sender=str(name), left=left) if not self.config.presence and name in left:
                # A farewell came through the peer's own stream, after all that it said; the peer waits for the answer.
                peer = self._peers.get(name)
                if peer is not None:
                    self._farewells += 1
                    self._ended.append((name, peer.session))
                    self._out += [self._ack(stream.taken, stream.id, name) for stream in peer.streams.values()]
                    self._forget(name)
                return
        self.counters.delivered += 1
        self._in.append(message)

    # What goes out.

    def _ack(self, acked: int, of: str, to: str) -> Ack:
        # A peer that names no streams has one.
        return Ack(acked=acked, of=of or None, to=to, sender=self.name, id=self.session)

    def _queue(self, message: Message, now: float) -> None:
        self._own.remember(message, now)
        self._out.append(message)
