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
class Line:
    """Who waits for a slot, in order: ``given`` counts the places, ``served`` those whose turn is over."""

    given: int = 0
    served: int = 0

    def ahead_of(self, place: int | None) -> int:
        """How many come before this place, before the next newcomer without one."""
        return max(0, (self.given if place is None else place) - self.served)

    def join(self) -> int:
        """A place at the end."""
        self.given += 1
        return self.given - 1

    def serve(self, place: int | None) -> None:
        """The turn of this place is over, and of those before it; without one, of all."""
        self.served = max(self.served, self.given if place is None else place + 1)


@dataclass(slots=True)
class Floor:
    """What all agents of a process share: ``interval`` seconds between two new transactions; 0 switches it off.

    Who finds it taken stands in line, so that 1,000 agents do not all wake up for each slot and none is overtaken.
    ``again`` is the line of repetitions, which use what those in ``first`` leave: most are answered before their turn.
    """

    interval: float = MIN_INTERVAL
    next_at: float = AT_ONCE
    first: Line = field(default_factory=Line)
    again: Line = field(default_factory=Line)

    def turn_of(self, place: int | None, *, again: bool) -> float:
        """When the turn of a place comes, if all before it use theirs; who lets it pass delays nobody further."""
        ahead = self.first.ahead_of(None) + self.again.ahead_of(place) if again else self.first.ahead_of(place)
        return self.next_at + ahead * self.interval

    def take(self, now: float) -> None:
        """A transaction starts now."""
        self.next_at = max(self.next_at, now) + self.interval if self.interval else now


@dataclass(slots=True)
class Pacer:
    """One agent's slots: one each ``ta`` seconds, gathering and checks together, never below the floor of the process.

    What is new takes a slot when it begins, a repetition only when it is nearly over: it uses what nobody else wanted,
    and what is new never waits longer for one than the least interval.

    ``is_claimed``: whether something new waits for the next slot; repetitions let it pass. ``reached``: local hosts
    that got an answer from a server. Where there are some, the others are given no slots for repetitions: what
    swallows packets must not slow down what works. ``answered``: local sockets, each with a method that a server has
    answered there; no other server is asked for the same in repetitions. ``place`` and ``place_again``: where the agent
    stands in the lines of the floor.
    """

    ta: float
    floor: Floor
    next_at: float = AT_ONCE
    is_claimed: Callable[[], bool] = lambda: False
    reached: set[str] = field(default_factory=set)
    answered: set[tuple[Address, int]] = field(default_factory=set)
    place: int | None = None
    place_again: int | None = None

    def slot_at(self, due: float = AT_ONCE, *, again: bool = False) -> float:
        """When what is due then may start; if others come first, the agent stands in line from now on.

        ``again``: it repeats what was asked before.
        """
        place = self.place_again if again else self.place
        begin = self.next_at + (self.ta - self._least) if again else self.next_at
        wanted, turn = max(due, begin), self.floor.turn_of(place, again=again)
        if place is None and turn > wanted:
            if again:
                self.place_again = self.floor.again.join()
            else:
                self.place = self.floor.first.join()
        return max(wanted, turn)

    def take(self, now: float, *, again: bool = False) -> None:
        """A transaction starts now."""
        self.next_at = now + (self._least if again else self.ta)
        self.floor.take(now)
        if again:
            self.floor.again.serve(self.place_again)
            self.place_again = None
        # A repetition starts only when the turns of all others are over.
        self.floor.first.serve(None if again else self.place)
        self.place = None

    @property
    def _least(self) -> float:
        return min(self.ta, MIN_INTERVAL)

    def give_back(self, now: float) -> None:
        """The last transaction did not leave: another one may start in its place."""
        self.next_at = now
        self.floor.next_at = min(self.floor.next_at, now)
