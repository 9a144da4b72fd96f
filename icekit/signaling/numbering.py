"""Numbered streams of messages: one that we write and keep until it is read, one of a peer that is put in order."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from icekit.signaling.message import Message


@dataclass(slots=True)
class WrittenStream:
    """What we said to everybody, or to one peer ``to``, under the name ``id``.

    ``last`` is the number of the newest message; ``kept``: messages with their sizes, until they are read.
    """

    id: str
    to: str | None
    last: int = 0
    size: int = 0
    kept: OrderedDict[int, tuple[Message, int]] = field(default_factory=OrderedDict)

    @property
    def settled(self) -> int:
        """Nothing up to this number will be sent again."""
        return next(iter(self.kept)) - 1 if self.kept else self.last

    def keep(self, message: Message, size: int) -> None:
        """Keep the newest message."""
        self.kept[self.last] = (message, size)
        self.size += size

    def drop_oldest(self) -> None:
        """Forget the oldest message."""
        _, (_, size) = self.kept.popitem(last=False)
        self.size -= size

    def settle(self, seq: int) -> None:
        """Forget what has been read."""
        while self.kept and next(iter(self.kept)) <= seq:
            self.drop_oldest()


@dataclass(slots=True)
class ReadStream:
    """What a peer says under the name ``id``. ``taken`` is the last number that came out in order.

    ``held``: messages with their sizes that came before their turn; ``gap_since``: how long one is missing.
    ``ack_due``: when to acknowledge.
    """

    id: str
    taken: int = 0
    held: dict[int, tuple[Message, int]] = field(default_factory=dict)
    size: int = 0
    ack_due: float | None = None
    gap_since: float | None = None

    def has(self, seq: int) -> bool:
        """Whether the message came before."""
        return seq <= self.taken or seq in self.held

    def add(self, seq: int, message: Message, size: int, now: float) -> list[Message]:
        """A new message; those whose turn it is now, in order."""
        self.held[seq] = (message, size)
        self.size += size
        return self._ready(now)

    def skip(self, seq: int, now: float) -> list[Message]:
        """Nothing up to ``seq`` will come any more; those whose turn it is now, in order."""
        found = [self._take(number) for number in sorted(number for number in self.held if number <= seq)]
        self.taken = max(self.taken, seq)
        return found + self._ready(now)

    def acknowledge_by(self, when: float) -> None:
        """Acknowledge at ``when``, or earlier if that is due anyway."""
        self.ack_due = when if self.ack_due is None else min(self.ack_due, when)

    def _ready(self, now: float) -> list[Message]:
        found = []
        while self.taken + 1 in self.held:
            found.append(self._take(self.taken + 1))
        if not self.held:
            self.gap_since = None
        elif self.gap_since is None or found:
            self.gap_since = now
        return found

    def _take(self, number: int) -> Message:
        message, size = self.held.pop(number)
        self.size -= size
        self.taken = number
        return message
