"""The sockets of the host candidates of one gathering: which ports are tried, and what the peer is told of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.gathering_events import LocalAddressFailed
from icekit.local_candidates import DISCARD_PORT, LocalCandidates
from icekit.net import (
    Address,
    ListenerReleased,
    ListenerWanted,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    Transport,
)
from icekit.network_config import NetworkConfig

Found = list[tuple[Candidate, Address]]
"""New candidates with their bases."""

# Another port may be free, or allowed.
_PASSING = (SocketFailure.IN_USE, SocketFailure.DENIED)


@dataclass(slots=True, eq=False)
class LocalSocket:
    """A local address: its UDP socket, and for ICE-TCP (RFC 6544) where it listens."""

    id: int
    host: str
    ports: Iterator[int]
    tcp_ports: Iterator[int]
    local: Address | None = None
    failed: bool = False
    listens: Address | None = None
    listening_failed: bool = False


class LocalSockets:
    """One for each of ``hosts``; ``token_bytes`` gives random bytes. ConfigError for announced addresses of none."""

    def __init__(
        self,
        hosts: Sequence[str],
        network: NetworkConfig,
        candidates: LocalCandidates,
        token_bytes: Callable[[int], bytes],
    ) -> None:
        self._network = network
        self._candidates = candidates
        self._announced = network.announced_for(hosts)
        self.all = tuple(
            LocalSocket(number, host, self._ports(token_bytes), self._ports(token_bytes))
            for number, host in enumerate(hosts)
        )

    def _ports(self, token_bytes: Callable[[int], bytes]) -> Iterator[int]:
        """Every port to try once, from a random one on, so that two agents do not go for the same ones."""
        if self._network.port_range is None:
            return iter((0,))
        first, last = self._network.port_range
        size = last - first + 1
        start = int.from_bytes(token_bytes(4)) % size
        return (first + (start + step) % size for step in range(size))

    def is_decided(self) -> bool:
        """Whether all are open or failed."""
        return all(
            (item.local or item.failed) and (item.listens or item.listening_failed or not self._network.tcp)
            for item in self.all
        )

    def wanted(self) -> list[SocketWanted | ListenerWanted]:
        """What to open first."""
        wanted: list[SocketWanted | ListenerWanted] = []
        for item in self.all:
            wanted.append(SocketWanted(item.id, Address(item.host, next(item.ports))))
            if self._network.tcp:
                wanted.append(ListenerWanted(item.id, Address(item.host, next(item.tcp_ports))))
        return wanted

    def active(self) -> Found:
        """The TCP candidates that need no socket (RFC 6544 §5.1)."""
        if not self._network.tcp:
            return []
        bases = [(item.host, Address(item.host, DISCARD_PORT)) for item in self.all]
        return _known((self._candidates.tcp(TcpType.ACTIVE, host, base), base) for host, base in bases)

    def opened(self, id: int, local: Address) -> Found:
        """The UDP socket is there."""
        item = self.all[id]
        item.local = local
        public = self._announced.get(item.host)
        if public is None or self._network.announced_as is CandidateType.HOST:
            return _known([(self._candidates.host(item.host, local, public), local)])
        return _known(
            [
                (self._candidates.host(item.host, local), local),
                (self._candidates.announced(item.host, local, public), local),
            ]
        )

    def listener_opened(self, id: int, local: Address) -> Found:
        """Connections are accepted."""
        item = self.all[id]
        item.listens = local
        public = self._announced.get(item.host)
        if public is None or self._network.announced_as is CandidateType.HOST:
            return _known([(self._candidates.tcp(TcpType.PASSIVE, item.host, local, public), local)])
        return _known(
            [
                (self._candidates.tcp(TcpType.PASSIVE, item.host, local), local),
                (self._candidates.tcp_announced(item.host, local, public), local),
            ]
        )

    def socket_failed(self, id: int, failure: SocketFailure, seconds: float) -> list[SocketWanted | LocalAddressFailed]:
        """What follows from it: another port, or the end of this address."""
        item = self.all[id]
        if item.failed or item.local is not None:
            return []
        if failure in _PASSING and (port := next(item.ports, None)) is not None:
            return [SocketWanted(id, Address(item.host, port))]
        item.failed = True
        return [LocalAddressFailed(item.host, failure, seconds, ports=self._network.port_range)]

    def listener_failed(
        self, id: int, failure: SocketFailure, seconds: float
    ) -> list[ListenerWanted | LocalAddressFailed]:
        """The same for TCP."""
        item = self.all[id]
        if item.listening_failed or item.listens is not None:
            return []
        if failure in _PASSING and (port := next(item.tcp_ports, None)) is not None:
            return [ListenerWanted(id, Address(item.host, port))]
        item.listening_failed = True
        return [LocalAddressFailed(item.host, failure, seconds, Transport.TCP, self._network.port_range)]

    def released(self) -> list[SocketReleased | ListenerReleased]:
        """All that is open, to be closed."""
        return [
            *(SocketReleased(item.local) for item in self.all if item.local is not None),
            *(ListenerReleased(item.listens) for item in self.all if item.listens is not None),
        ]


def _known(found: Sequence[tuple[Candidate | None, Address]] | Iterator[tuple[Candidate | None, Address]]) -> Found:
    return [(candidate, base) for candidate, base in found if candidate is not None]
