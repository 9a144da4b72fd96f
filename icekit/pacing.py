"""When the next STUN transaction of an agent may start (RFC 8445 §14.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Floor:
    """What all agents of a process share: ``interval`` seconds between two new transactions; 0 switches it off.

    Who finds it taken stands in line, so that 1,000 agents do not all wake up for each slot, and none is overtaken.
    ``given`` counts the places of the line, ``served`` those whose turn is over.
    """

    interval: float = 0.005
    next_at: float = float("-inf")
    given: int = 0
    served: int = 0

    def turn_of(self, place: int) -> float:
        """When the turn of a place comes, if all before it use theirs; one that is not used delays no further."""
        return self.next_at + max(0, place - self.served) * self.interval

    def take(self, now: float, place: int | None = None) -> None:
        """A transaction starts now."""
        self.next_at = max(self.next_at, now) + self.interval if self.interval else now
        if place is not None:
            self.served = max(self.served, place + 1)

    def leave(self) -> None:
        """One of those in line will not come: the others move up."""
        self.served = min(self.served + 1, self.given)


@dataclass(slots=True)
class Pacer:
    """One agent's slots: ``ta`` seconds apart, gathering and checks together, never below the floor of the process.

    ``is_claimed``: whether something new waits for the next slot; repetitions let it pass. ``reached``: local hosts
    that got an answer from a server. Where there are some, the others are given no slots for repetitions: what
    swallows packets must not slow down what works. ``mapped``: those that have learned their mapped address, and are
    given none to ask another server for it. ``place``: where the agent stands in the line of the floor.
    """

    ta: float
    floor: Floor
    next_at: float = float("-inf")
    is_claimed: Callable[[], bool] = lambda: False
    reached: set[str] = field(default_factory=set)
    mapped: set[str] = field(default_factory=set)
    place: int | None = None

    def may_start(self, now: float) -> bool:
        """Whether a transaction that waits may start now; if others come first, the agent stands in line."""
        if self.next_at > now:
            return False
        turn = self.floor.turn_of(self.floor.given if self.place is None else self.place)
        if turn > now and self.place is None:
            self.place = self.floor.given
            self.floor.given += 1
        return turn <= now

    def free_at(self) -> float:
        """When to ask ``may_start`` again, if something waits."""
        return max(self.next_at, self.floor.next_at if self.place is None else self.floor.turn_of(self.place))

    def take(self, now: float) -> None:
        """A transaction starts now."""
        self.next_at = now + self.ta
        self.floor.take(now, self.place)
        self.place = None

    def give_back(self, now: float) -> None:
        """The last transaction did not leave: another one may start in its place."""
        self.next_at = now
        self.floor.next_at = min(self.floor.next_at, now)

    def leave(self) -> None:
        """Nothing will start any more."""
        if self.place is not None:
            self.place = None
            self.floor.leave()
