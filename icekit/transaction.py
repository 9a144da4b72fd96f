"""Client transactions: retransmission, matching of responses, a second request with credentials (RFC 8489 §6.2, §9.2).

``Transactions`` is a table of open requests. It is a part of a core, not a core: whoever owns it hands it messages and
time, and takes outcomes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from icekit import attributes as attr
from icekit.attributes import ErrorCode, Item
from icekit.errors import InvalidState
from icekit.long_term_credential import LongTermCredential, is_authentic
from icekit.net import Address, Datagram, Transport
from icekit.pacing import Floor, Pacer
from icekit.stun import (
    Class,
    IntegrityKey,
    Message,
    Method,
    request,
)
from icekit.transmissions import Schedule, Transmissions

__all__ = [
    "Challenged",
    "Outcome",
    "Path",
    "Refused",
    "Schedule",
    "Succeeded",
    "TimedOut",
    "Transactions",
]

log = logging.getLogger(__name__)


class Path(NamedTuple):
    """Where a request goes: from a bound local address to a server."""

    local: Address
    remote: Address
    transport: Transport = Transport.UDP


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A success response. ``rtt`` in seconds, ``None`` when it cannot be told which transmission was answered."""

    tag: Hashable
    response: Message
    source: Address
    path: Path
    sent: int
    seconds: float
    rtt: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An error response, or one that cannot be used: then ``error`` is a 500 of our own that says why.

    ``signed``: the request carried credentials. ``authentic`` False: it did, and the response has no valid integrity
    although it should; nothing better came (RFC 8489 §9.2.5).
    """

    tag: Hashable
    response: Message
    error: ErrorCode
    signed: bool
    sent: int
    seconds: float
    authentic: bool = True


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Nobody answered ``sent`` transmissions in ``seconds``."""

    tag: Hashable
    sent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Challenged:
    """The server asked for credentials and the request went out again, signed (RFC 8489 §9.2.4)."""

    tag: Hashable
    realm: str
    seconds: float


Outcome = Succeeded | Refused | TimedOut | Challenged


@dataclass(slots=True)
class _Open:
    tag: Hashable
    method: Method
    path: Path
    items: tuple[Item, ...]
    schedule: Schedule
    credential: LongTermCredential | None
    any_source: bool
    fingerprint: bool
    first_started: float
    sending: Transmissions
    key: IntegrityKey | None = None
    retried: frozenset[int] = frozenset()
    held: Message | None = None


class Transactions:
    """The open requests of one core. ``tag`` is the owner's own name for a request; it comes back in the outcome.

    ``max_open``: how many there may be at a time. ``pacer``: the slots that ``Schedule.fresh`` waits for.
    """

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        software: str | None = None,
        *,
        max_open: int = 1024,
        pacer: Pacer | None = None,
    ) -> None:
        self._token_bytes = token_bytes
        self._pacer = pacer or Pacer(0.0, Floor(0.0))
        self._max_open = max_open
        self._software: tuple[Item, ...] = () if software is None else (attr.SOFTWARE(software),)
        self._open: dict[bytes, _Open] = {}
        # The first transaction of a request, by the identifiers of the others.
        self._first: dict[bytes, bytes] = {}
        self._out: list[Datagram] = []
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._open)

    def send(
        self,
        tag: Hashable,
        method: Method,
        path: Path,
        items: tuple[Item, ...],
        schedule: Schedule,
        now: float,
        *,
        credential: LongTermCredential | None = None,
        any_source: bool = False,
        fingerprint: bool = False,
    ) -> None:
        """Start a request. ``any_source``: its answer may come from another address (RFC 5780 CHANGE-REQUEST)."""
        if len(self._open) >= self._max_open:
            raise InvalidState(f"more than {self._max_open} open transactions")
        if path.transport.is_stream:
            schedule = Schedule.once(schedule.timeout)
        sending = Transmissions(schedule, b"", b"", now)
        opened = _Open(tag, method, path, items, schedule, credential, any_source, fingerprint, now, sending)
        self._transmit_anew(opened, None, now)

    def cancel(self, tag: Hashable) -> int:
        """Forget the requests with this tag; how many transmissions they had."""
        gone = [item for item in self._open.values() if item.tag == tag]
        for item in gone:
            self._forget(item)
        return sum(item.sending.count for item in gone)

    def hush(self, tag: Hashable, now: float, wait: float) -> None:
        """Send nothing more for this tag, but listen for the answer to what was sent for ``wait`` seconds."""
        for opened in self._open.values():
            if opened.tag == tag:
                sending = opened.sending
                sending.schedule = Schedule.once(now + wait - sending.started - sending.late)
                opened.credential = None

    def tag_of(self, transaction_id: bytes) -> Hashable | None:
        """The tag of the open request with this identifier."""
        opened = self._find(transaction_id)
        return None if opened is None else opened.tag

    def tags(self) -> set[Hashable]:
        """The tags of all open requests."""
        return {item.tag for item in self._open.values()}

    def receive(self, message: Message, datagram: Datagram, now: float) -> list[Outcome]:
        """Take a response; an empty list when it is not ours, or not to be trusted."""
        opened = self._find(message.transaction_id)
        if opened is None or not _answers(opened, message, datagram):
            self.dropped += 1
            log.debug("! %r from %s belongs to no request", message, datagram.source)
            return []
        log.debug("< %r from %s", message, datagram.source)
        self._pacer.reached.add(datagram.destination.host)
        error = message.error() if message.message_class is Class.ERROR else None
        challenge = error is not None and error.code in (401, 438)
        if error is None or (challenge and opened.credential is not None):
            self._pacer.answered.add((datagram.destination, message.method))
        if opened.key is not None and not challenge and not is_authentic(opened.key, message):
            return self._hold(opened, message, now)
        if unknown := message.unknown_required():
            # RFC 8489 §6.3.3, §6.3.4: an unknown comprehension-required attribute fails the transaction.
            numbers = ", ".join(f"0x{number:04x}" for number in unknown[:4])
            error = ErrorCode(500, f"the answer has attributes that we must know and do not: {numbers}")
        elif challenge and error is not None and self._answer_challenge(opened, message, error.code):
            return [self._begin_anew(opened, message, now)]
        elif error is not None and error.code == 437 and opened.sending.repeats_all and opened.sending.twins:
            # RFC 8656 §7.2: another transaction of this request has got the allocation; its answer is late or lost.
            self._forget(opened)
            opened.sending.set_aside(message.transaction_id)
            self._remember(opened)
            return []
        self._forget(opened)
        seconds = now - opened.first_started
        if error is not None:
            return [Refused(opened.tag, message, error, opened.key is not None, opened.sending.count, seconds)]
        rtt = opened.sending.rtt_of(message.transaction_id, now)
        return [Succeeded(opened.tag, message, datagram.source, opened.path, opened.sending.count, seconds, rtt)]

    def _hold(self, opened: _Open, message: Message, now: float) -> list[Outcome]:
        """Keep a response that does not prove who sent it."""
        # RFC 8489 §9.2.5: a response without right integrity must be discarded, and a request over a stream ends
        # with it. The last one is kept: a request that ends without a better one must say that integrity failed.
        self.dropped += 1
        opened.held = message
        return [self._end_held(opened, now)] if opened.path.transport.is_stream else []

    def _answer_challenge(self, opened: _Open, message: Message, code: int) -> bool:
        """Whether the request is to go out again with what the server told in ``message``."""
        credential = opened.credential
        # RFC 8489 §9.2.5: after 401 only if the credentials change, which they do when there were none; after 438 with
        # the new nonce. Each of them once: a server that refuses what it has just asked for will not stop.
        if credential is None or code in opened.retried or (code == 401 and opened.key is not None):
            return False
        opened.retried |= {code}
        return credential.take_challenge(message)

    def _begin_anew(self, opened: _Open, challenge: Message, now: float) -> Challenged:
        self._forget(opened)
        self._transmit_anew(opened, opened.sending.rtt_of(challenge.transaction_id, now), now)
        assert opened.credential is not None
        assert opened.credential.realm is not None
        return Challenged(opened.tag, opened.credential.realm, now - opened.first_started)

    def _end_held(self, opened: _Open, now: float) -> Refused:
        self._forget(opened)
        held = opened.held
        assert held is not None
        if held.message_class is Class.ERROR:
            error = held.error()
        else:
            error = ErrorCode(500, "the answer's MESSAGE-INTEGRITY is missing or wrong")
        return Refused(opened.tag, held, error, True, opened.sending.count, now - opened.first_started, authentic=False)

    def handle_timer(self, now: float) -> list[Outcome]:
        """Send again what is due, and give up what had its time."""
        outcomes: list[Outcome] = []
        for opened in list(self._open.values()):
            self._transmit_fresh(opened, now)
            if (again := opened.sending.take_due(now)) is not None:
                self._out += (self._datagram(opened, data) for data in again)
            elif opened.held is not None:
                outcomes.append(self._end_held(opened, now))
            else:
                self._forget(opened)
                outcomes.append(TimedOut(opened.tag, opened.sending.count, now - opened.first_started))
        return outcomes

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is wanted."""
        due = [item.sending.due() for item in self._open.values()]
        fresh = [when for item in self._open.values() if (when := self._fresh_due(item)) is not None]
        if fresh:
            due.append(self._pacer.slot_at(min(fresh), again=True))
        return min(due, default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def _find(self, transaction_id: bytes) -> _Open | None:
        return self._open.get(self._first.get(transaction_id, transaction_id))

    def _forget(self, opened: _Open) -> None:
        del self._open[opened.sending.transaction_id]
        for twin in opened.sending.twins:
            del self._first[twin]

    def _remember(self, opened: _Open) -> None:
        self._open[opened.sending.transaction_id] = opened
        self._first |= dict.fromkeys(opened.sending.twins, opened.sending.transaction_id)

    def _transmit_anew(self, opened: _Open, rtt: float | None, now: float) -> None:
        """``rtt``: of the server that has just challenged."""
        if opened.credential is not None:
            opened.key = opened.credential.key
        schedule, repeats_all = opened.schedule, False
        if opened.method == Method.ALLOCATE and opened.key is not None:
            schedule, repeats_all = schedule.after_challenge(rtt, self._pacer.ta), True
        transaction_id = self._token_bytes(12)
        data = self._encode(opened, transaction_id)
        opened.held = None
        opened.sending = Transmissions(schedule, transaction_id, data, now, repeats_all)
        self._remember(opened)
        self._out.append(self._datagram(opened, data))

    def _encode(self, opened: _Open, transaction_id: bytes) -> bytes:
        items = opened.items + self._software
        if opened.credential is not None:
            items += opened.credential.items()
        message = request(opened.method, transaction_id, *items)
        log.debug("> %r to %s", message, opened.path.remote)
        return message.encode(opened.key, fingerprint=opened.fingerprint)

    def _datagram(self, opened: _Open, data: bytes) -> Datagram:
        return Datagram(opened.path.local, opened.path.remote, data, opened.path.transport)

    def _fresh_due(self, opened: _Open) -> float | None:
        pacer, local = self._pacer, opened.path.local
        if pacer.reached and local.host not in pacer.reached:
            return None
        # One mapped address or relay of a socket is enough: whoever is slower, or dead, is asked at leisure.
        unheard = opened.key is None and opened.method in (Method.BINDING, Method.ALLOCATE)
        if unheard and (local, opened.method) in pacer.answered:
            return None
        return opened.sending.fresh_due()

    def _transmit_fresh(self, opened: _Open, now: float) -> None:
        due = self._fresh_due(opened)
        if due is None or due > now or self._pacer.is_claimed() or not self._pacer.may_start(now, again=True):
            return
        self._pacer.take(now, again=True)
        twin = self._token_bytes(12)
        data = self._encode(opened, twin)
        opened.sending.add(twin, data, now)
        self._first[twin] = opened.sending.transaction_id
        self._out.append(self._datagram(opened, data))


def _answers(opened: _Open, message: Message, datagram: Datagram) -> bool:
    """Whether a response is one to this request, on the path of it."""
    return (
        message.method == opened.method
        and message.message_class in (Class.SUCCESS, Class.ERROR)
        and datagram.transport is opened.path.transport
        and datagram.destination == opened.path.local
        # RFC 8489 §6.3.1.2: servers answer from where they were asked; what comes from elsewhere is forged, or a test
        # of RFC 5780.
        and (datagram.source == opened.path.remote or opened.any_source)
    )
