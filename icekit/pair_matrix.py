"""Which candidate of one side can meet which of the other, as far as the candidates alone tell.

Whether a NAT lets a packet in is not written in a candidate, so the best that most pairs get is ``NAT``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.net import AddressClass, classify_host


class Reach(StrEnum):
    """What has to be true for a pair to work; ``NEVER``: nothing helps."""

    DIRECT = "direct"
    NAT = "NAT"
    HAIRPIN = "hairpin"
    LAN = "LAN"
    HOST = "host"
    RELAY = "relay"
    NEVER = "never"


MEANINGS: dict[Reach, str] = {
    Reach.DIRECT: "both addresses are public: only a firewall can stop it",
    Reach.NAT: "works if the NATs and firewalls in between let it through; two symmetric ones do not",
    Reach.HAIRPIN: "both are seen as one address, so they share a NAT, which must send packets back inside",
    Reach.LAN: "works only if both sides are in the same network",
    Reach.HOST: "works only if both sides are on the same machine",
    Reach.RELAY: "through a TURN server",
    Reach.NEVER: "an address that nobody can send to",
}

_NOWHERE = (AddressClass.UNSPECIFIED, AddressClass.MULTICAST, AddressClass.RESERVED)
_INSIDE = (AddressClass.PRIVATE, AddressClass.CGNAT, AddressClass.ULA, AddressClass.MDNS)
_LOCAL = (AddressClass.LOOPBACK, AddressClass.LINK_LOCAL)
_BEHIND_NAT = (CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE)


def is_usable(candidate: Candidate) -> bool:
    """Whether anybody can send there."""
    placeholder = candidate.tcptype is TcpType.ACTIVE
    return candidate.address_class not in _NOWHERE and (candidate.port != 0 or placeholder)


def family_of(candidate: Candidate) -> int | None:
    """4 or 6; ``None`` for a name, which does not tell."""
    if candidate.address_class in (AddressClass.MDNS, AddressClass.NAME):
        return None
    return 6 if ":" in candidate.address else 4


def reach(one: Candidate, other: Candidate) -> Reach | None:
    """What a pair of candidates of two sides needs; ``None``: they form no pair (RFC 8445 §6.1.2.2, RFC 6544 §6.2)."""
    if not _pair_up(one, other):
        return None
    if not (is_usable(one) and is_usable(other)):
        return Reach.NEVER
    kinds = (one.address_class, other.address_class)
    for kind in _LOCAL:
        if kind in kinds:
            same = kinds == (kind, kind)
            return (Reach.HOST if kind is AddressClass.LOOPBACK else Reach.LAN) if same else Reach.NEVER
    relayed = [candidate for candidate in (one, other) if candidate.type is CandidateType.RELAYED]
    if relayed:
        # A relay on a private address is of use only inside.
        return Reach.LAN if any(item.address_class in _INSIDE for item in relayed) else Reach.RELAY
    if one.address == other.address:
        return Reach.HAIRPIN if one.type in _BEHIND_NAT or other.type in _BEHIND_NAT else Reach.HOST
    if kinds[0] in _INSIDE and kinds[1] in _INSIDE:
        return Reach.LAN
    behind = any(item.type in _BEHIND_NAT or item.address_class in _INSIDE for item in (one, other))
    return Reach.NAT if behind else Reach.DIRECT


_TCP_PARTNERS = {
    TcpType.ACTIVE: TcpType.PASSIVE,
    TcpType.PASSIVE: TcpType.ACTIVE,
    TcpType.SIMULTANEOUS_OPEN: TcpType.SIMULTANEOUS_OPEN,
}


def _pair_up(one: Candidate, other: Candidate) -> bool:
    if one.transport.lower() != other.transport.lower() or one.component != other.component:
        return False
    families = {family_of(one), family_of(other)} - {None}
    if len(families) > 1:
        return False
    if one.tcptype is None or other.tcptype is None:
        return one.tcptype is other.tcptype
    return _TCP_PARTNERS[one.tcptype] is other.tcptype


@dataclass(frozen=True, slots=True)
class PairMatrix:
    """``cells[i][j]`` is what row ``i`` of one side and column ``j`` of the other need."""

    rows: tuple[Candidate, ...]
    columns: tuple[Candidate, ...]
    cells: tuple[tuple[Reach | None, ...], ...]

    @property
    def found(self) -> frozenset[Reach]:
        """Everything that occurs."""
        return frozenset(cell for row in self.cells for cell in row if cell is not None)


def pair_matrix(one: Iterable[Candidate], other: Iterable[Candidate]) -> PairMatrix:
    """Every candidate of one side with every one of the other; those that differ only in the port count once."""
    rows, columns = distinct(one), distinct(other)
    return PairMatrix(rows, columns, tuple(tuple(reach(row, column) for column in columns) for row in rows))


_ORDER = list(CandidateType)


def distinct(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each sort of candidate once, host candidates first: media sections and components repeat what they share."""
    found: dict[tuple[object, ...], Candidate] = {}
    for item in candidates:
        key = (item.type, item.transport.lower(), item.tcptype, item.address.lower())
        found.setdefault(key, item)
    return tuple(sorted(found.values(), key=_rank))


def _rank(candidate: Candidate) -> tuple[int, bool]:
    kind = candidate.type
    place = _ORDER.index(kind) if isinstance(kind, CandidateType) else len(_ORDER)
    return place, candidate.transport.lower() != "udp"


def networks_differ(one: Sequence[Candidate], other: Sequence[Candidate]) -> bool:
    """Whether the private addresses of two sides are in no common network (/24, IPv6 /64), so that LAN is unlikely."""
    networks = [{_network(item.address) for item in side if item.address_class in _INSIDE} for side in (one, other)]
    known = [networks_ - {None} for networks_ in networks]
    return all(known) and None not in networks[0] | networks[1] and not known[0] & known[1]


def _network(address: str) -> str | None:
    kind = classify_host(address)
    if kind is AddressClass.MDNS:
        return None
    if ":" not in address:
        return address.rpartition(".")[0]
    import ipaddress

    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
