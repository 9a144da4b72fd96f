"""One server asked from one local address, while candidates are gathered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from icekit.gathering_plan import GatherConfig
from icekit.local_candidates import Source
from icekit.local_sockets import LocalSocket
from icekit.net import Address
from icekit.resolution import ServerEndpoint
from icekit.transmissions import Schedule
from icekit.turn import TurnAllocation

# A request that nobody answers ends by its own schedule; the deadline, a little later, ends what hangs between two.
_GRACE: Final = 0.5


@dataclass(slots=True, eq=False)
class ServerLeg:
    """One server asked from one local address; ``place`` is the server's in the list.

    ``endpoints`` are those still to be tried. ``patience``: seconds for all, ``share`` for one of them. ``deadline`` is
    set while it is asked. ``until``: when the last address is given up, over whatever connection. ``opened``: the
    connection that is there, until the first request over it leaves. ``binding``: the Binding request that the server
    of an allocation gets, too; ``beside``: it is such a one.
    """

    url: str
    place: int
    base: LocalSocket
    endpoints: deque[ServerEndpoint]
    endpoint: ServerEndpoint
    credential: tuple[str, str] | None = field(repr=False)
    patience: float
    share: float
    local: Address | None = None
    attempt: int | None = None
    allocation: TurnAllocation | None = None
    deadline: float | None = None
    until: float | None = None
    opened: tuple[int, Address, Address] | None = None
    done: bool = False
    binding: ServerLeg | None = None
    beside: bool = False

    def next_endpoint(self, config: GatherConfig, now: float) -> Schedule:
        """Go on with the next address; when its requests are sent, and how long it is waited for."""
        self.endpoint = self.endpoints.popleft()
        if not self.endpoint.transport.is_stream or self.endpoints:
            self.deadline = self.deadline or now + self.patience + _GRACE
            return config.schedule.until(self.share)
        if self.until is None:
            # All addresses share the patience.
            began = now if self.deadline is None else self.deadline - self.patience - _GRACE
            self.until = max(began + config.stream_patience, now + self.share)
        self.patience = config.stream_patience
        self.deadline = min(now + self.share, self.until) + _GRACE
        return Schedule.once(self.patience)

    def again(self, now: float) -> ServerLeg | None:
        """The same address asked over another connection, with twice the patience; ``None``: it had its time.

        A connection that has lost several packets in a row waits ever longer before it repeats one.
        """
        if self.until is None or now >= self.until:
            return None
        fresh = deque([self.endpoint])
        return replace(self, endpoints=fresh, share=2 * self.share, attempt=None, allocation=None, deadline=None)

    def make_binding(self) -> ServerLeg:
        """A Binding request to the same address, beside this allocation."""
        fresh = deque([self.endpoint])
        return replace(self, endpoints=fresh, credential=None, deadline=None, binding=None, beside=True)

    def is_binding_to(self, address: Address) -> bool:
        """Whether it asks this address for the mapped address."""
        return self.credential is None and self.endpoint.address == address

    @property
    def connects(self) -> bool:
        """Whether the next step is a connection, and not a request."""
        return self.opened is None and self.endpoints[0].transport.is_stream

    @property
    def source(self) -> Source:
        """What its candidates are told apart by."""
        return Source(self.place, self.endpoint.transport, self.endpoint.address)
