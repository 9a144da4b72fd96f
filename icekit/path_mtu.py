"""How large a packet a path takes: checks of that size, with small ones beside them that tell size from silence.

The method is that of RFC 8899 §5.3: probe packets of a size, each confirmed by the other side, and another size after
some in a row that were not. It changes nothing: what it finds is for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WANTED_PACKET: Final = 1200
"""Bytes of an IP packet that every path should take; media and DTLS fill them."""

# Seconds: between two attempts, or twice the round-trip time; from a large check to a small one; before a measurement
# that told nothing is repeated.
_INTERVAL, _GAP, _PAUSE = 0.2, 0.02, 5.0
# At 5 % loss each way six attempts in a row fail on one path in a million. The search behind them is for the evidence.
_ATTEMPTS, _SEARCH_ATTEMPTS, _ROUNDS = 6, 2, 3
# Of the small checks beside them so many must have been answered: else it is not the size.
_ANSWERED: Final = 4
_PRECISION: Final = 48


@dataclass(frozen=True, slots=True)
class PathMtu:
    """What is known of one path in one direction, in bytes of IP packets, headers included.

    ``passed``: the largest that was confirmed; ``lost``: the smallest that was not, while smaller ones were.
    """

    passed: int
    lost: int | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether packets of ``WANTED_PACKET`` bytes are lost."""
        return self.lost is not None


class PathMtuSearch:
    """The measurement of one path, from ``begin`` on. Its owner sends the checks, UDP only.

    ``smallest``: bytes of an IP packet with a check that has nothing to make it larger.
    """

    def __init__(self, begin: float, smallest: int) -> None:
        self.due: float | None = begin
        """When ``next_size`` is wanted; ``None``: it is over."""
        self.result: PathMtu | None = None
        """``None``: not measured, or not yet."""
        self._passed = self._smallest = smallest
        self._lost: int | None = None
        self._size = WANTED_PACKET
        self._attempts = 0
        self._wants_small = False
        self._small_answered = 0
        self._rounds = 0

    def next_size(self, now: float, rtt: float | None) -> int | None:
        """The IP packet with the check that leaves now, in bytes, if one is due; ``rtt`` of the path, in seconds."""
        if self.due is None or self.due > now:
            return None
        interval = max(_INTERVAL, 2.0 * (rtt or 0.0))
        if self._wants_small:
            self._wants_small = False
            self.due = now + interval
            return self._smallest
        searching = self._lost is not None
        if self._attempts >= (_SEARCH_ATTEMPTS if searching else _ATTEMPTS):
            if not searching and self._small_answered < _ANSWERED:
                self._begin_again(now)
                return None
            self._lost = self._size
            if not self._choose(now):
                return None
            searching = True
        self._attempts += 1
        # Nothing is wrong yet when the first one leaves.
        self._wants_small = self._attempts > 1 and not searching
        self.due = now + (_GAP if self._wants_small else interval)
        return self._size

    def answered(self, size: int, now: float) -> None:
        """A check of ``size`` bytes has arrived at the peer; that may be known late."""
        if size <= self._smallest:
            self._small_answered += 1
            return
        self._passed = max(self._passed, size)
        if self._passed >= WANTED_PACKET:
            self._lost, self.due, self.result = None, None, PathMtu(self._passed)
        elif self._lost is not None:
            # What was taken for lost was only late.
            self._lost = self._lost if self._lost > self._passed else WANTED_PACKET
            if self.due is None:
                self.result = PathMtu(self._passed, self._lost)
            else:
                self._choose(now)

    def _choose(self, now: float) -> bool:
        """The next size between what passes and what does not; False and a result if they are close."""
        assert self._lost is not None
        self._attempts, self._wants_small = 0, False
        if self._lost - self._passed <= _PRECISION:
            self.due, self.result = None, PathMtu(self._passed, self._lost)
            return False
        # RFC 8489 §5: a message has a multiple of four bytes, and so has each header below it.
        self._size = (self._passed + self._lost) // 2 & ~3
        self.due = now
        return True

    def _begin_again(self, now: float) -> None:
        """Small checks were lost, too: later, if at all."""
        self._rounds += 1
        self._attempts = self._small_answered = 0
        self.due = None if self._rounds >= _ROUNDS else now + _PAUSE
