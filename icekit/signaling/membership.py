"""What the servers of the same rooms tell each other: who has come and gone, and what was said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A member as all servers know it: ``key`` is the digest of its session, ``since`` in seconds since 1970."""

    name: str
    key: str | None
    since: float
    owner: bool

    def is_same(self, other: Membership) -> bool:
        """Whether it is one session, over another connection."""
        return self.key is not None and self.key == other.key

    def prevails(self, other: Membership) -> bool:
        """Whether this one has the name when both want it; all servers come to the same answer."""
        if self.is_same(other) or (self.owner and other.owner):
            return self.since > other.since
        if self.owner != other.owner:
            return self.owner
        return self.since < other.since


@dataclass(frozen=True, slots=True)
class RoomOpened:
    """The first member of this server has come."""

    room: str


@dataclass(frozen=True, slots=True)
class Came:
    """A member of this server has come."""

    room: str
    membership: Membership


@dataclass(frozen=True, slots=True)
class Went:
    """A member of this server has gone."""

    room: str
    name: str


@dataclass(frozen=True, slots=True)
class Spoke:
    """A member of this server sends a line to all, or ``to`` one that is not here."""

    room: str
    to: str | None
    line: bytes


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """The last member of this server has gone."""

    room: str


SharedEvent: TypeAlias = RoomOpened | Came | Went | Spoke | RoomClosed
