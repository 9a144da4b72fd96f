"""One gathering of a session: there is one for each component and ICE generation, with sockets of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from icekit.candidate import Candidate
from icekit.gathering import Gatherer
from icekit.gathering_events import CandidateGathered, ServerAnswered
from icekit.gathering_plan import GatherConfig
from icekit.ice_config import IceConfig
from icekit.net import Address, Datagram
from icekit.stun import Method, indication
from icekit.transaction import Schedule

# A lost packet to a server costs one of the ``fresh`` intervals; most answers come before the first. As many
# retransmissions as RFC 8489 §6.2.1 has, never less than 500 ms apart (RFC 8445 §14.3), but within the patience of
# gathering: a relay may be all that there is, and four attempts in five seconds fail too often at 10 % loss.
# A stream has no such attempts of ours; it is waited for nearly as long as ICE does not fail (RFC 8863 §4): at 20 %
# loss one in twenty is not there after five seconds. What comes even later could not be checked any more, and a peer
# that waits for our last candidate, because it has a component more than we have, must hear of the end before it fails.
_FOR_CHECKS: Final = 4.0
SESSION_GATHERING: Final = GatherConfig(
    schedule=Schedule((0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0), 5.0, (0.05, 0.1, 0.2, 0.3)),
    stream_patience=IceConfig().patience - _FOR_CHECKS,
)
"""How a session gathers, if nothing else is asked for."""

# Identifiers of sockets and streams: each gathering has so many of its own.
_IDS: Final = 1 << 20


class SessionGathering:
    """A gatherer, its place in the session, the component that it gathers for, and what it has found.

    ``first_id``: what its identifiers begin with in the session. ``bases``: of its candidates, ``active`` and
    ``listeners`` those of TCP. ``bindings``: the server that told the mapped address of a socket. ``complete``: all
    servers have answered or failed.
    """

    def __init__(self, gatherer: Gatherer, number: int, component: int = 1) -> None:
        self.gatherer = gatherer
        self.component = component
        self.number = number
        self.first_id = number * _IDS
        self.bases: set[Address] = set()
        self.active: set[Address] = set()
        self.listeners: set[Address] = set()
        self.bindings: dict[Address, Address] = {}
        self.complete = False
        self.closing = False

    def found(self, base: Address, event: CandidateGathered) -> None:
        """A candidate with this base."""
        self.bases.add(base)
        self.learn(event)

    def learn(self, event: CandidateGathered | ServerAnswered) -> None:
        """Remember a server that has told a mapped address, for ``keepalives``."""
        if event.base in self.bases and event.server is not None:
            self.bindings.setdefault(event.base, event.server)

    def of_component(self, candidate: Candidate) -> Candidate:
        """A gathered candidate as one of this component (RFC 8445 §5.1.2.1: a lower one is preferred)."""
        if self.component == 1:
            return candidate
        return replace(candidate, component=self.component, priority=candidate.priority - (self.component - 1))

    def keepalives(self, token_bytes: Callable[[int], bytes]) -> list[Datagram]:
        """RFC 8445 §11: an indication for each binding, so that no NAT forgets it."""
        return [
            Datagram(base, server, indication(Method.BINDING, token_bytes(12)).encode(fingerprint=True))
            for base, server in self.bindings.items()
        ]

    def owns_id(self, id: int) -> bool:
        """Whether a socket or stream of the session belongs to it."""
        return self.first_id <= id < self.first_id + _IDS

    def close(self, now: float) -> None:
        """Give its relays and sockets back."""
        self.closing = True
        self.gatherer.close(now)
