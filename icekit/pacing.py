"""When the next STUN transaction of an agent may start (RFC 8445 §14.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from icekit.net import Address

AT_ONCE: Final = float("-inf")

MIN_INTERVAL: Final = 0.005
"""RFC 8445 §14.2: all agents together start at most one transaction in so many seconds."""


@dataclass(slots=True)
class Floor:
    """What all agents of a process share: ``interval`` seconds between two new transactions; 0 switches it off.

    Who finds it taken stands in line, so that 1,000 agents do not all wake up for each slot and none is overtaken:
    ``given`` counts the places, ``served`` those whose turn is over. Repetitions stand in no line, as most are answered
    before their turn: each comes at a time of its own behind the line, up to ``again_until``, and asks once more.
    """

    interval: float = MIN_INTERVAL
    next_at: float = AT_ONCE
    given: int = 0
    served: int = 0
    again_until: float = AT_ONCE

    def turn_of(self, place: int | None) -> float:
        """When the turn of a place, or of the next newcomer, comes if all before it use theirs.

        Who lets it pass delays the others no further.
        """
        return self.next_at + max(0, (self.given if place is None else place) - self.served) * self.interval

    def join(self) -> int:
        """A place at the end of the line."""
        self.given += 1
        return self.given - 1

    def turn_behind(self) -> float:
        """A time for a repetition that no other one has."""
        self.again_until = max(self.again_until + self.interval, self.turn_of(None))
        return self.again_until

    def take(self, now: float, place: int | None) -> None:
        """A transaction starts now, from this place or after all of them: the turns before it are over."""
        self.next_at = max(self.next_at, now) + self.interval if self.interval else now
        self.served = max(self.served, self.given if place is None else place + 1)


@dataclass(slots=True)
class Pacer:
    """One agent's slots: one each ``ta`` seconds, gathering and checks together, never below the floor of the process.

    What is new takes a slot when it begins, a repetition only when it is nearly over: it uses what nobody else wanted,
    and what is new never waits longer for one than the least interval. The same is true of what goes ``beside``
    something new, at the end of the slot that this began: of those there is one in ``ta`` seconds.

    ``is_claimed``: whether something new waits for the next slot; repetitions let it pass. ``reached``: local hosts
    that got an answer from a server. Where there are some, the others are given no slots for repetitions: what
    swallows packets must not slow down what works. ``answered``: local sockets, each with a method that a server has
    answered there; no other server is asked for the same in repetitions. ``place``: where the agent stands in the line
    of the floor; ``again_at``: when it may ask for a repetition.
    """

    ta: float
    floor: Floor
    next_at: float = AT_ONCE
    is_claimed: Callable[[], bool] = lambda: False
    reached: set[str] = field(default_factory=set)
    answered: set[tuple[Address, int]] = field(default_factory=set)
    place: int | None = None
    again_at: float = AT_ONCE
    beside_at: float = AT_ONCE

    def slot_at(self, due: float = AT_ONCE, *, again: bool = False, beside: bool = False) -> float:
        """When to ask ``may_start`` for what is due then. For something new the agent stands in line from now on.

        ``again``: it repeats what was asked before.
        """
        if again:
            # What is new goes before it.
            first = AT_ONCE if self.place is None else self.floor.turn_of(self.place)
            return max(due, self.next_at + (self.ta - self._least), self.again_at, first)
        wanted, turn = max(due, self.beside_at if beside else self.next_at), self.floor.turn_of(self.place)
        if self.place is None and turn > wanted:
            self.place = self.floor.join()
        return max(wanted, turn)

    def may_start(self, now: float, *, again: bool = False, beside: bool = False) -> bool:
        """Whether what is due may start now; where others come first, ``slot_at`` knows when to ask again."""
        if self.slot_at(again=again, beside=beside) > now:
            return False
        if again and self.floor.turn_of(None) > now:
            self.again_at = self.floor.turn_behind()
            return False
        return True

    def take(self, now: float, *, again: bool = False, beside: bool = False) -> None:
        """A transaction starts now."""
        if beside:
            self.next_at, self.beside_at = max(self.next_at, now + self._least), now + self.ta
        else:
            self.next_at = now + (self._least if again else self.ta)
            self.beside_at = max(self.beside_at, now + self._least, self.next_at - self._least)
        # A repetition starts only when the turns of all others are over.
        self.floor.take(now, None if again else self.place)
        self.place, self.again_at = None, AT_ONCE

    @property
    def _least(self) -> float:
        return min(self.ta, MIN_INTERVAL)

    def give_back(self, now: float) -> None:
        """The last transaction did not leave: another one may start in its place."""
        self.next_at = self.beside_at = now
        self.floor.next_at = min(self.floor.next_at, now)
