"""What gathering finds, as candidates: each with its priority and foundation, each only once (RFC 8445 §5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.net import Address, Transport
from icekit.priority import MAX_LOCAL_PREFERENCE, compute_foundation, compute_priority, local_preferences

# Relays over UDP are the quickest, then TCP, then TLS.
_TRANSPORTS = {Transport.UDP: 0, Transport.DTLS: 0, Transport.TCP: 1, Transport.TLS: 2}

# RFC 6544 §4.2: below UDP candidates of the same and of all other types but relays, which are a detour.
_TCP_PREFERENCES = {CandidateType.HOST: 90, CandidateType.SERVER_REFLEXIVE: 70}
# RFC 6544 §4.2: behind a NAT it is easier to connect than to be connected to, except where that was arranged.
_DIRECTIONS = {
    (CandidateType.HOST, TcpType.ACTIVE): 6,
    (CandidateType.HOST, TcpType.PASSIVE): 4,
    (CandidateType.SERVER_REFLEXIVE, TcpType.PASSIVE): 2,
}
_MAX_OTHER_PREFERENCE = 8_191

DISCARD_PORT = 9
"""What an active candidate writes for its port (RFC 6544 §4.5)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A server: its place in the list (0 is the most preferred), how it was reached, and its address."""

    place: int
    transport: Transport
    address: Address


class LocalCandidates:
    """The candidates of one component, gathered from ``hosts`` (most preferred first) and up to ``max_servers``.

    Each method gives the candidate, or ``None`` for a redundant one.
    """

    def __init__(self, hosts: Sequence[str], max_servers: int) -> None:
        # RFC 8421 §4: the families are mixed.
        self._ranks = {host: MAX_LOCAL_PREFERENCE - value for host, value in local_preferences(hosts).items()}
        self._max_servers = max_servers
        self._known: set[tuple[Address, Address, TcpType | None]] = set()

    def host(self, host: str, local: Address, announced: str | None = None) -> Candidate | None:
        """``local``: the socket on ``host``; ``announced``: told instead of it, as the address that others reach."""
        foundation = compute_foundation(CandidateType.HOST, host, "udp")
        told = Address(announced or local.host, local.port)
        return self._add(CandidateType.HOST, told, local, foundation, self._preference(host))

    def announced(self, host: str, local: Address, announced: str) -> Candidate | None:
        """``announced``: the host from which a 1:1 NAT leads to ``host``, told beside it."""
        kind = CandidateType.SERVER_REFLEXIVE
        foundation = compute_foundation(kind, host, "udp")
        # Behind all servers' places, so that no two have the same preference.
        preference = self._preference(host, place=2 * len(_TRANSPORTS) * self._max_servers)
        return self._add(kind, Address(announced, local.port), local, foundation, preference, local)

    def tcp(self, tcptype: TcpType, host: str, local: Address, announced: str | None = None) -> Candidate | None:
        """A host candidate of RFC 6544. ``local``: where a passive one listens; of an active one only the host counts.

        ``announced``: as in ``host``.
        """
        told = Address(announced or local.host, local.port)
        return self._add_tcp(CandidateType.HOST, tcptype, host, told, local, None)

    def tcp_announced(self, host: str, local: Address, announced: str) -> Candidate | None:
        """A passive one at the address from which a 1:1 NAT leads to ``local``."""
        kind, told = CandidateType.SERVER_REFLEXIVE, Address(announced, local.port)
        return self._add_tcp(kind, TcpType.PASSIVE, host, told, local, local)

    def server_reflexive(self, host: str, local: Address, mapped: Address, source: Source) -> Candidate | None:
        """``mapped``: the socket ``local`` as the server sees it."""
        kind = CandidateType.SERVER_REFLEXIVE
        foundation = compute_foundation(kind, host, source.transport, source.address.host)
        return self._add(kind, mapped, local, foundation, self._preference(host, source), local)

    def relayed(
        self, host: str, relayed: Address, related: Address | None, source: Source, *, second: bool = False
    ) -> Candidate | None:
        """``related``: our mapped address (RFC 8839 §5.1). ``second``: of two addresses of one allocation."""
        kind = CandidateType.RELAYED
        # RFC 8445 §5.1.1.2: the base of a relayed candidate is the candidate itself.
        foundation = compute_foundation(kind, relayed.host, source.transport, source.address.host)
        return self._add(kind, relayed, relayed, foundation, self._preference(host, source, second=second), related)

    def _preference(self, host: str, source: Source | None = None, *, second: bool = False, place: int = 0) -> int:
        """RFC 8445 §5.1.2.1: a local preference that no other candidate of the type has.

        By transport to the server, then the order of servers, then of local addresses.
        """
        if source is not None:
            place = 2 * (_TRANSPORTS[source.transport] * self._max_servers + source.place) + second
        return MAX_LOCAL_PREFERENCE - (place * len(self._ranks) + self._ranks[host])

    def _add(
        self,
        kind: CandidateType,
        address: Address,
        base: Address,
        foundation: str,
        preference: int,
        related: Address | None = None,
    ) -> Candidate | None:
        # RFC 8445 §5.1.3: redundant is what has the same address and the same base. The first stays, although a later
        # one may have a higher priority: it may have been told to the peer already (RFC 8838 §9).
        if (address, base, None) in self._known:
            return None
        self._known.add((address, base, None))
        priority = compute_priority(kind, local_preference=preference)
        raddr, rport = (None, None) if related is None else related
        return Candidate(foundation, 1, "udp", priority, address.host, address.port, kind, raddr, rport)

    def _add_tcp(
        self, kind: CandidateType, tcptype: TcpType, host: str, told: Address, local: Address, related: Address | None
    ) -> Candidate | None:
        if (told, local, tcptype) in self._known:
            return None
        self._known.add((told, local, tcptype))
        foundation = compute_foundation(kind, host, f"tcp {tcptype}")
        # RFC 6544 §4.2: the direction is in the upper three bits of the local preference.
        preference = (_DIRECTIONS[kind, tcptype] << 13) + _MAX_OTHER_PREFERENCE - self._ranks[host]
        priority = compute_priority(kind, local_preference=preference, type_preference=_TCP_PREFERENCES[kind])
        raddr, rport = (None, None) if related is None else related
        # Browsers write the transport in lower case, and RFC 6544 in upper case; both read either.
        return Candidate(foundation, 1, "tcp", priority, told.host, told.port, kind, raddr, rport, tcptype)
