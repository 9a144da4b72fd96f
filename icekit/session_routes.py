"""By what the datagrams of a session's agent leave, by their local base: a socket, a relay or a TCP connection."""

from __future__ import annotations

import logging

from icekit.errors import ConfigError, InvalidState
from icekit.ice_events import SelectedPair
from icekit.ice_tcp import TcpPaths
from icekit.net import UDP, Address, Datagram
from icekit.session_gathering import Gatherings, SessionGathering
from icekit.turn import TurnAllocation
from icekit.turn_events import TurnState

log = logging.getLogger(__name__)


class Routes:
    """The ways of one agent, through the relays of its ``gatherings`` and the connections of ``tcp``."""

    def __init__(self, tcp: TcpPaths, gatherings: Gatherings) -> None:
        self._tcp = tcp
        self.dropped = 0
        """What no relay could take."""
        self._gatherings = gatherings
        # The bases that a relay sends for, of all gatherings: data asks for every datagram.
        self._relayed: set[Address] = set()

    def add_relayed(self, base: Address) -> None:
        """What leaves from ``base`` goes to the relay that has this address."""
        self._relayed.add(base)

    def add_active(self, item: SessionGathering, host: str) -> Address:
        """A base for an active candidate of ``host``, which has no socket.

        Connections of one generation must not serve the next: the peer tells them apart by the user name of their first
        check.
        """
        base = Address(host, item.number)
        item.active.add(base)
        self._tcp.add_active(base)
        return base

    def forget_closed(self) -> None:
        """Gatherings have gone, and their relays with them."""
        self._relayed &= {base for item in self._gatherings for base in item.bases}

    def takes(self, datagram: Datagram, now: float) -> bool:
        """Whether it leaves through a relay or by TCP, which may have news then; if not, it is for its socket."""
        if datagram.transport is not UDP:
            self._tcp.send(datagram, now)
            return True
        allocation = self._relay_of(datagram.source) if datagram.source in self._relayed else None
        if allocation is None:
            return False
        try:
            allocation.send(datagram.destination, datagram.data, now)
        except (InvalidState, ConfigError) as error:
            # Too many peers for one allocation, or data too long for one message.
            self.dropped += 1
            log.debug("! to %s by relay: %s", datagram.destination, error)
        return True

    def bind_channel(self, pair: SelectedPair, now: float) -> None:
        """Four bytes of framing instead of 36 on the pair that carries the data, if a relay does."""
        allocation = self._relay_of(pair.base)
        if allocation is not None:
            try:
                allocation.bind_channel(pair.address, now)
            except InvalidState as error:
                log.debug("! %s", error)

    def _relay_of(self, base: Address) -> TurnAllocation | None:
        found = (item.gatherer.relay_of(base) for item in self._gatherings)
        return next((item for item in found if item is not None and item.state is TurnState.ALLOCATED), None)
