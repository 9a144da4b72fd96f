"""One server asked from one local address, while candidates are gathered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from icekit.local_candidates import Source
from icekit.local_sockets import LocalSocket
from icekit.net import Address
from icekit.resolution import ServerEndpoint
from icekit.turn import TurnAllocation


@dataclass(slots=True, eq=False)
class ServerLeg:
    """One server asked from one local address; ``place`` is the server's in the list, ``share`` seconds per address.

    ``endpoints`` are those still to be tried. ``deadline`` is set while it is asked.
    """

    url: str
    place: int
    base: LocalSocket
    endpoints: deque[ServerEndpoint]
    endpoint: ServerEndpoint
    credential: tuple[str, str] | None = field(repr=False)
    share: float
    local: Address | None = None
    attempt: int | None = None
    allocation: TurnAllocation | None = None
    deadline: float | None = None
    done: bool = False

    @property
    def source(self) -> Source:
        """What its candidates are told apart by."""
        return Source(self.place, self.endpoint.transport, self.endpoint.address)
