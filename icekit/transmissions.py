"""When the packets of one request leave: retransmissions (RFC 8489 §6.2.1), and further transactions beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

# A server that looks a user up takes longer than for its challenge.
_LEAST_SPACING: Final = 0.02
_ROUND_TRIPS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a request is sent and given up: ``offsets`` of the transmissions and ``timeout``, seconds from the start.

    ``fresh``: when the same request is sent as a transaction of its own, too, as long as nobody answered: a lost packet
    then costs less than a retransmission timeout. An answer to any of them counts.
    """

    offsets: tuple[float, ...]
    timeout: float
    fresh: tuple[float, ...] = ()

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

    def until(self, timeout: float) -> Schedule:
        """The same, given up after ``timeout`` at the latest."""
        offsets = tuple(offset for offset in self.offsets if offset < timeout)
        return replace(self, offsets=offsets, timeout=min(timeout, self.timeout))

    def after_challenge(self, rtt: float | None, ta: float) -> Schedule:
        """For a server that has just answered, after ``rtt`` seconds: it is asked again so soon, then half as often."""
        spacing = None if rtt is None else max(2 * ta, _LEAST_SPACING, _ROUND_TRIPS * rtt)
        return replace(self, fresh=() if spacing is None else tuple(spacing * 2**n for n in range(len(self.fresh))))


@dataclass(slots=True)
class Twin:
    """A further transaction of a request."""

    data: bytes
    started: float
    sent: int = 1


@dataclass(slots=True)
class Transmissions:
    """The transactions of one request. The first has just been sent; only it is retransmitted, unless ``repeats_all``.

    ``late``: how much later than its schedule the request is, because the timer was: a loop that stood still must
    neither send what it missed in one burst nor give up before it asked again.
    """

    schedule: Schedule
    transaction_id: bytes
    data: bytes
    started: float
    repeats_all: bool = False
    late: float = 0.0
    sent: int = 1
    twins: dict[bytes, Twin] = field(default_factory=dict)
    skipped: int = 0
    given_up: int = 0

    @property
    def count(self) -> int:
        """How many packets it took so far."""
        return self.sent + sum(twin.sent for twin in self.twins.values()) + self.given_up

    def due(self) -> float:
        """When something is to be sent again, or the end."""
        return min(self._own_due(), *(self._twin_due(twin) for twin in self.twins.values()), math.inf)

    def take_due(self, now: float) -> list[bytes] | None:
        """What is to be sent again now; ``None`` at the end."""
        late = max(0.0, now - self.due())
        data = []
        if self._own_due() <= now:
            if self.sent >= len(self.schedule.offsets):
                return None
            self.sent += 1
            data.append(self.data)
        for twin in self.twins.values():
            if self._twin_due(twin) <= now:
                twin.sent += 1
                data.append(twin.data)
        self.late += late
        return data

    def fresh_due(self) -> float | None:
        """When another transaction is to begin."""
        used = len(self.twins) + self.skipped
        return None if used >= len(self.schedule.fresh) else self.started + self.schedule.fresh[used] + self.late

    def add(self, transaction_id: bytes, data: bytes, now: float) -> None:
        """Another transaction begins; what the timer missed is not sent in a burst."""
        self.twins[transaction_id] = Twin(data, now)
        while (due := self.fresh_due()) is not None and due <= now:
            self.skipped += 1

    def set_aside(self, transaction_id: bytes) -> None:
        """Go on without this transaction, one of several, and begin no more."""
        self.skipped = len(self.schedule.fresh)
        if transaction_id != self.transaction_id:
            self.given_up += self.twins.pop(transaction_id).sent
            return
        self.given_up += self.sent
        self.transaction_id, twin = next(iter(self.twins.items()))
        del self.twins[self.transaction_id]
        self.data, self.started, self.sent = twin.data, twin.started, twin.sent

    def rtt_of(self, transaction_id: bytes, now: float) -> float | None:
        """The round trip time of what is answered now; ``None`` when it cannot be told which packet was answered."""
        twin = self.twins.get(transaction_id)
        started, sent = (self.started, self.sent) if twin is None else (twin.started, twin.sent)
        return now - started if sent == 1 else None

    def _own_due(self) -> float:
        offsets = self.schedule.offsets
        return self.started + (offsets[self.sent] if self.sent < len(offsets) else self.schedule.timeout) + self.late

    def _twin_due(self, twin: Twin) -> float:
        # RFC 8445 §14.3: each transaction has its own retransmission timeout.
        if not self.repeats_all or twin.sent >= len(self.schedule.offsets):
            return math.inf
        return twin.started + self.schedule.offsets[twin.sent] + self.late
