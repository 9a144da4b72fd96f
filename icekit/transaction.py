"""Client transactions: retransmission, matching of responses, and the long-term credential dance (RFC 8489 §6.2, §9.2).

``Transactions`` is a table of open requests. It is a part of a core, not a core: whoever owns it hands it messages and
time, and takes outcomes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from icekit import attributes as attr
from icekit.attributes import ErrorCode, Item, PasswordAlgorithm
from icekit.errors import ConfigError, DecodeError, InvalidState
from icekit.net import Address, Datagram, Transport
from icekit.stun import (
    Class,
    Integrity,
    IntegrityKey,
    Message,
    Method,
    SecurityFeatures,
    long_term_key,
    nonce_features,
    request,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a request is sent and given up: ``offsets`` of the transmissions and ``timeout``, seconds from the start."""

    offsets: tuple[float, ...]
    timeout: float

    @classmethod
    def exponential(cls, rto: float = 0.5, rc: int = 7, rm: float = 16) -> Schedule:
        """The schedule of RFC 8489 §6.2.1: the interval doubles ``rc`` times, the last wait is ``rm`` × ``rto``."""
        offsets = tuple(rto * (2**index - 1) for index in range(rc))
        return cls(offsets, offsets[-1] + rm * rto)

    @classmethod
    def once(cls, timeout: float = 39.5) -> Schedule:
        """Over a reliable transport nothing is sent twice (RFC 8489 §6.2.2: Ti)."""
        return cls((0.0,), timeout)

    @classmethod
    def even(cls, count: int, interval: float, wait: float) -> Schedule:
        """``count`` transmissions, ``interval`` apart, then ``wait``: for tests that must trust a silence."""
        return cls(tuple(index * interval for index in range(count)), (count - 1) * interval + wait)


class Path(NamedTuple):
    """Where a request goes: from a bound local address to a server."""

    local: Address
    remote: Address
    transport: Transport = Transport.UDP


class LongTermCredential:
    """A user name and password, and what the server told us about them (RFC 8489 §9.2). Shared by many requests."""

    __slots__ = ("_algorithm", "_key", "_password", "algorithms", "nonce", "realm", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = password
        self.realm: str | None = None
        self.nonce = b""
        # What the server offers: ``None`` means that it speaks RFC 5389 (MD5 and SHA-1 only).
        self.algorithms: tuple[tuple[int, bytes], ...] | None = None
        self._algorithm = PasswordAlgorithm.MD5
        self._key: IntegrityKey | None = None

    def __repr__(self) -> str:
        return f"LongTermCredential({self.username!r})"

    def renewed(self) -> LongTermCredential:
        """The same user for another server: realm and nonce belong to the server that gave them."""
        return LongTermCredential(self.username, self._password)

    @property
    def key(self) -> IntegrityKey | None:
        """The key, once the realm is known."""
        return self._key

    def take_challenge(self, response: Message) -> bool:
        """Learn realm and nonce from a 401 or 438; False when the challenge cannot be answered."""
        try:
            realm = response.get(attr.REALM)
            nonce = response.get(attr.NONCE)
            offered = response.get(attr.PASSWORD_ALGORITHMS)
        except DecodeError:
            return False
        realm = self.realm if realm is None else realm
        if realm is None or nonce is None:
            return False
        algorithm, integrity = PasswordAlgorithm.MD5, Integrity.SHA1
        if SecurityFeatures.PASSWORD_ALGORITHMS in nonce_features(nonce):
            # RFC 8489 §9.2.5: the bit without the list means that somebody removed it; such a response must be ignored.
            if not offered:
                return False
            known = [number for number, parameters in offered if number in (1, 2) and not parameters]
            if not known:
                return False
            algorithm, integrity = PasswordAlgorithm(known[0]), Integrity.SHA256
        else:
            offered = None
        try:
            self._key = long_term_key(self.username, realm, self._password, algorithm, integrity)
        except ConfigError:  # a realm that the OpaqueString profile forbids
            return False
        self.realm, self.nonce, self.algorithms = realm, nonce, offered
        self._algorithm = algorithm
        return True

    def items(self) -> tuple[Item, ...]:
        """The attributes that a signed request carries; none before the challenge."""
        if self.realm is None:
            return ()
        items = (attr.USERNAME(self.username), attr.REALM(self.realm), attr.NONCE(self.nonce))
        if self.algorithms is None:
            return items
        # RFC 8489 §9.2.4: the list is sent back unchanged, with the chosen one beside it, so that a change of it shows.
        chosen = (int(self._algorithm), b"")
        return (*items, attr.PASSWORD_ALGORITHMS(self.algorithms), attr.PASSWORD_ALGORITHM(chosen))


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
    """An error response. ``signed``: the request carried credentials."""

    tag: Hashable
    response: Message
    error: ErrorCode
    signed: bool
    sent: int
    seconds: float


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
    started: float
    key: IntegrityKey | None
    data: bytes
    sent: int = 0
    retried: frozenset[int] = frozenset()
    held: Message | None = None
    first_started: float = field(default=0.0)

    def due(self) -> float:
        if self.sent < len(self.schedule.offsets):
            return self.started + self.schedule.offsets[self.sent]
        return self.started + self.schedule.timeout


_MAX_OPEN: Final = 1024


class Transactions:
    """The open requests of one core. ``tag`` is the owner's own name for a request; it comes back in the outcome."""

    def __init__(self, token_bytes: Callable[[int], bytes], software: str | None = None) -> None:
        self._token_bytes = token_bytes
        self._software: tuple[Item, ...] = () if software is None else (attr.SOFTWARE(software),)
        self._open: dict[bytes, _Open] = {}
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
        if len(self._open) >= _MAX_OPEN:
            raise InvalidState(f"more than {_MAX_OPEN} open transactions")
        if path.transport.is_stream:
            schedule = Schedule.once(schedule.timeout)
        opened = _Open(
            tag, method, path, items, schedule, credential, any_source, fingerprint, now, None, b"", first_started=now
        )
        self._transmit_anew(opened, now)

    def cancel(self, tag: Hashable) -> int:
        """Forget the requests with this tag; how many transmissions they had."""
        gone = [key for key, item in self._open.items() if item.tag == tag]
        return sum(self._open.pop(key).sent for key in gone)

    def tag_of(self, transaction_id: bytes) -> Hashable | None:
        """The tag of the open request with this identifier."""
        opened = self._open.get(transaction_id)
        return None if opened is None else opened.tag

    def tags(self) -> set[Hashable]:
        """The tags of all open requests."""
        return {item.tag for item in self._open.values()}

    def receive(self, message: Message, datagram: Datagram, now: float) -> list[Outcome]:
        """Take a response; an empty list when it is not ours, or not to be trusted."""
        opened = self._open.get(message.transaction_id)
        if (
            opened is None
            or message.method != opened.method
            or message.message_class not in (Class.SUCCESS, Class.ERROR)
            or datagram.transport is not opened.path.transport
            or datagram.destination != opened.path.local
            # RFC 8489 §6.3.1 leaves this to us: an answer from elsewhere is forged, or a test of RFC 5780.
            or (datagram.source != opened.path.remote and not opened.any_source)
        ):
            self.dropped += 1
            log.debug("! %r from %s belongs to no request", message, datagram.source)
            return []
        log.debug("< %r from %s", message, datagram.source)
        # RFC 8489 §6.3.3, §6.3.4: a response with an unknown comprehension-required attribute must be discarded, and
        # the transaction counts as failed. We wait for a better one instead: the timeout is the failure.
        if message.unknown_required():
            self.dropped += 1
            return []
        if message.message_class is Class.ERROR:
            return self._refused(opened, message, now)
        if opened.key is not None and not message.verify(opened.key):
            # RFC 8489 §9.2.5: a response without right integrity must be ignored, as if it had not been received.
            self.dropped += 1
            return []
        del self._open[message.transaction_id]
        rtt = now - opened.started if opened.sent == 1 else None
        seconds = now - opened.first_started
        return [Succeeded(opened.tag, message, datagram.source, opened.path, opened.sent, seconds, rtt)]

    def _refused(self, opened: _Open, message: Message, now: float) -> list[Outcome]:
        error = message.error()
        credential = opened.credential
        retriable = error.code == 438 or (error.code == 401 and opened.key is None)
        if credential is not None and retriable and error.code not in opened.retried:
            if credential.take_challenge(message):
                # RFC 8489 §9.2.5: once with credentials after 401, once with the new nonce after 438.
                del self._open[message.transaction_id]
                opened.retried |= {error.code}
                self._transmit_anew(opened, now)
                assert credential.realm is not None
                return [Challenged(opened.tag, credential.realm, now - opened.first_started)]
        elif opened.key is not None and error.code not in (401, 438) and not message.verify(opened.key):
            # RFC 8489 §9.2.5: an error without right integrity must be ignored. It is kept: if nothing better comes
            # until the timeout, it is what a person needs to know.
            opened.held = message
            return []
        del self._open[message.transaction_id]
        seconds = now - opened.first_started
        return [Refused(opened.tag, message, error, opened.key is not None, opened.sent, seconds)]

    def handle_timer(self, now: float) -> list[Outcome]:
        """Send again what is due, and give up what had its time."""
        outcomes: list[Outcome] = []
        for transaction_id, opened in list(self._open.items()):
            while opened.due() <= now:
                if opened.sent < len(opened.schedule.offsets):
                    self._transmit(opened)
                    continue
                del self._open[transaction_id]
                seconds = now - opened.first_started
                if (held := opened.held) is not None:
                    signed = opened.key is not None
                    outcomes.append(Refused(opened.tag, held, held.error(), signed, opened.sent, seconds))
                else:
                    outcomes.append(TimedOut(opened.tag, opened.sent, seconds))
                break
        return outcomes

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is wanted."""
        return min((item.due() for item in self._open.values()), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def _transmit_anew(self, opened: _Open, now: float) -> None:
        transaction_id = self._token_bytes(12)
        items = opened.items + self._software
        if (credential := opened.credential) is not None:
            opened.key = credential.key
            items += credential.items()
        message = request(opened.method, transaction_id, *items)
        opened.data = message.encode(opened.key, fingerprint=opened.fingerprint)
        opened.started, opened.sent, opened.held = now, 0, None
        self._open[transaction_id] = opened
        log.debug("> %r to %s", message, opened.path.remote)
        self._transmit(opened)

    def _transmit(self, opened: _Open) -> None:
        opened.sent += 1
        self._out.append(Datagram(opened.path.local, opened.path.remote, opened.data, opened.path.transport))
