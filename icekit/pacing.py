"""When the next STUN transaction of an agent may start (RFC 8445 §14.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Floor:
    """What all agents of a process share: ``interval`` seconds between two new transactions; 0 switches it off."""

    interval: float = 0.005
    next_at: float = float("-inf")

    def take(self, now: float) -> None:
        """A transaction starts now."""
        self.next_at = max(self.next_at, now) + self.interval if self.interval else now


@dataclass(slots=True)
class Pacer:
    """One agent's slots: ``ta`` seconds apart, gathering and checks together, never below the floor of the process.

    ``is_claimed``: whether something new waits for the next slot; repetitions let it pass. ``reached``: local hosts
    that got an answer from a server. Where there are some, the others are given no slots for repetitions: what
    swallows packets must not slow down what works. ``mapped``: those that have learned their mapped address, and are
    given none to ask another server for it.
    """

    ta: float
    floor: Floor
    next_at: float = float("-inf")
    is_claimed: Callable[[], bool] = lambda: False
    reached: set[str] = field(default_factory=set)
    mapped: set[str] = field(default_factory=set)

    def free_at(self) -> float:
        """When the next transaction may start."""
        return max(self.next_at, self.floor.next_at)

    def take(self, now: float) -> None:
        """A transaction starts now."""
        self.next_at = now + self.ta
        self.floor.take(now)

    def give_back(self, now: float) -> None:
        """The last transaction did not leave: another one may start in its place."""
        self.next_at = now
        self.floor.next_at = min(self.floor.next_at, now)
