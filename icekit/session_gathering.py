"""The gatherings of a session: one for each component and ICE generation, with sockets of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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

# How long the sockets of an old pair live after the last data was sent on it: the peer may be slower to change.
_FAREWELL: Final = 5.0
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


class Gatherings:
    """Those of all generations, the ``current`` ones first, one for each component.

    The earlier ones are closing, or carry data until a new pair does and the peer has had time to change as well.
    """

    def __init__(self, current: tuple[SessionGathering, ...]) -> None:
        self.current = current
        self.leave_at: float | None = None
        """When ``leave`` is wanted."""
        self._earlier: tuple[SessionGathering, ...] = ()
        self.in_use: tuple[SessionGathering, ...] = ()
        """Earlier ones that carry data."""
        self._all = current

    def __iter__(self) -> Iterator[SessionGathering]:
        return iter(self._all)

    def owner(self, id: int) -> SessionGathering | None:
        """Whose socket or stream it is; ``None``: of one that is gone."""
        return next((item for item in self._all if item.owns_id(id)), None)

    def listener_on(self, host: str, component: int) -> Address | None:
        """One listener serves all generations: its port may be the only one that a firewall lets pass."""
        open_ones = (base for item in self._all if item.component == component for base in item.listeners)
        return next((base for base in open_ones if base.host == host), None)

    def replace(self, current: tuple[SessionGathering, ...], used: Iterable[Address], now: float) -> None:
        """A new generation; of all others only those that own one of the bases in use stay open."""
        # Two may have a base: a listener serves all generations. Then either will do, but one is enough.
        alive = [item for item in self._all if not item.closing]
        owners = (next((item for item in alive if base in item.bases), None) for base in used)
        self.in_use = tuple(item for item in owners if item is not None)
        for item in self._all:
            if item not in self.in_use:
                item.close(now)
        self.leave_at = None
        self._earlier = self._all
        self.current = current
        self._all = *current, *self._earlier

    def leave(self, now: float, *, uses_old_pair: bool) -> None:
        """Close those in use some time after a pair of the new generation carries the data."""
        if uses_old_pair:
            self.leave_at = None
        elif self.leave_at is None:
            self.leave_at = now + _FAREWELL
        elif self.leave_at <= now:
            for item in self.in_use:
                item.close(now)
            self.in_use, self.leave_at = (), None

    @property
    def closing(self) -> list[SessionGathering]:
        """Earlier ones that have still something to give back."""
        return [item for item in self._earlier if item.closing]

    def forget_closed(self) -> bool:
        """Drop those that have given everything back; False: there is none."""
        left = tuple(item for item in self._earlier if not item.closing or item.gatherer.get_timer() is not None)
        if len(left) == len(self._earlier):
            return False
        self._earlier = left
        self._all = *self.current, *left
        return True

    def close(self, now: float) -> None:
        """Give everything back."""
        self.leave_at = None
        for item in self._all:
            item.close(now)
