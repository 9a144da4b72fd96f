"""One gathering of a session: there is one for each ICE generation, and each has identifiers and sockets of its own."""

from __future__ import annotations

from typing import Final

from icekit.gathering import Gatherer
from icekit.gathering_plan import GatherConfig
from icekit.net import Address
from icekit.transaction import Schedule

# A lost packet to a server costs one of the ``fresh`` intervals; most answers come before the first. As many
# retransmissions as RFC 8489 §6.2.1 has, never less than 500 ms apart (RFC 8445 §14.3), but within the patience of
# gathering: a relay may be all that there is, and four attempts in five seconds fail too often at 10 % loss.
SESSION_GATHERING: Final = GatherConfig(
    schedule=Schedule((0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0), 5.0, (0.05, 0.1, 0.2, 0.3))
)
"""How a session gathers, if nothing else is asked for."""

# Identifiers of sockets and streams: each gathering has so many of its own.
_IDS: Final = 1 << 20


class SessionGathering:
    """A gatherer, its place in the session, and what it has found.

    ``first_id``: what its identifiers begin with in the session. ``bases``: of its candidates, ``active`` and
    ``listeners`` those of TCP. ``bindings``: the server that told the mapped address of a socket.
    """

    def __init__(self, gatherer: Gatherer, number: int) -> None:
        self.gatherer = gatherer
        self.number = number
        self.first_id = number * _IDS
        self.bases: set[Address] = set()
        self.active: set[Address] = set()
        self.listeners: set[Address] = set()
        self.bindings: dict[Address, Address] = {}
        self.closing = False

    def owns_id(self, id: int) -> bool:
        """Whether a socket or stream of the session belongs to it."""
        return self.first_id <= id < self.first_id + _IDS

    def close(self, now: float) -> None:
        """Give its relays and sockets back."""
        self.closing = True
        self.gatherer.close(now)
