"""Who the other side of a call is, in a room where others may be, and which of the two offers."""

from __future__ import annotations

from enum import Enum

from icekit.signaling.message import Message, Presence


class Change(Enum):
    """What a message has changed."""

    ARRIVED = "the peer is here"
    LEFT = "the peer has gone"
    NOTHING = "nothing"


class Attendance:
    """The first who is heard is the peer, until it leaves. A peer without a name is one that never sends any.

    ``wanted``: the only name that can be the peer, if not everybody can.
    """

    def __init__(self, name: str, *, wanted: str | None = None) -> None:
        self._name = name
        self._wanted = wanted
        self.peer: str | None = None
        self.heard = False
        self.is_told = False

    @property
    def offers_first(self) -> bool:
        """Of two with names, the greater one; its offer also wins if both call."""
        return self.peer is not None and self._name > self.peer

    @property
    def is_unknown(self) -> bool:
        """Whether nobody was heard, and nobody would say so if somebody were there."""
        return self.peer is None and not self.heard and not self.is_told and self._wanted is None

    def see(self, presence: Presence) -> Change:
        """Somebody came or went. A server says so without a sender: then silence means that nobody is there."""
        self.is_told = self.is_told or presence.sender is None
        if self.peer is not None and self.peer in presence.left:
            others = [name for name in presence.peers if name != self.peer]
            self.peer, self.heard = None, False
            self._choose(others)
            return Change.LEFT
        if self.peer is None and not self.heard and self._choose([*presence.joined, *presence.peers]):
            return Change.ARRIVED
        return Change.NOTHING

    def admits(self, message: Message) -> bool:
        """Whether it is from the peer; the first one decides who that is."""
        if message.sender == self._name or message.to not in (None, self._name):
            return False
        if not self.heard and self.peer is None:
            if self._wanted not in (None, message.sender):
                return False
            self.peer = message.sender
        if message.sender != self.peer:
            return False
        self.heard = True
        return True

    def _choose(self, names: list[str]) -> bool:
        for name in names:
            if name != self._name and self._wanted in (None, name):
                self.peer = name
                return True
        return False
