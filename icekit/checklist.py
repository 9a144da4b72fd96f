"""Candidate pairs and the list of them: forming, pruning, order and state (RFC 8445 §6.1.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.net import Address, AddressClass, Datagram, Transport, canonical_host, classify_host, scope_of
from icekit.path_mtu import PathMtuSearch

# Names must be resolved before, and nobody can be at the others.
_NOT_YET_ADDRESSES: Final = (
    AddressClass.MDNS,
    AddressClass.NAME,
    AddressClass.UNSPECIFIED,
    AddressClass.MULTICAST,
)
# The type preferences of RFC 8445 §5.1.2.2, and below those of all UDP but relays for TCP (RFC 6544 §4.2).
_PEER_REFLEXIVE: Final = 110
_PEER_REFLEXIVE_TCP: Final = 80
# So many times less than the whole list is for pairs with a relay.
_RELAYED_SHARE: Final = 4
_INTERNET: Final = 3  # of ``scope_of``
_RELAY_AVOIDS: Final = (AddressClass.PRIVATE, AddressClass.ULA, AddressClass.LINK_LOCAL, AddressClass.LOOPBACK)

PairKey = tuple[Address, Address, Transport]
"""What tells a pair from all others: our base, the address of the peer, and what lies between them."""


class PairState(StrEnum):
    """Where the check of a pair stands (RFC 8445 §6.1.2.6)."""

    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """A candidate of ours, and the ``base`` that its datagrams leave from (RFC 8445 §5.1.1).

    The base of a relayed candidate is the relayed address; ``relay_server`` is then the host that relays. The base of
    an active TCP candidate is no socket: connections from there have ports of their own.
    """

    candidate: Candidate
    base: Address
    relay_server: str | None = None

    @property
    def is_relayed(self) -> bool:
        """Whether a relay carries its datagrams."""
        return self.relay_server is not None

    @property
    def transport(self) -> Transport:
        """How datagrams leave from the base."""
        return transport_of(self.candidate)


@dataclass(slots=True, eq=False)
class CandidatePair:
    """One pair and everything that is known of it; times in seconds.

    ``nomination``: the number of its last nomination, where nominations are numbered.
    ``heard``: the peer has sent an authenticated check on it. ``mapped``: our address as the peer sees it.
    ``improvement_told``: the owner knows that it is better than the nominated one. ``mtu``: what its path takes.
    ``openness``: see ``openness_of``.
    """

    local: LocalCandidate
    remote: Candidate
    priority: int
    state: PairState = PairState.FROZEN
    nominated: bool = False
    nominated_by_peer: bool = False
    nomination: int = 0
    improvement_told: bool = False
    heard: bool = False
    rtt: float | None = None
    mapped: Address | None = None
    mtu: PathMtuSearch | None = None
    first_check: float | None = None
    last_check: float = 0.0
    interval: float = 0.0
    answered_at: float = float("-inf")
    nominating_since: float | None = None
    consent_at: float | None = None
    consent_until: float = 0.0
    checks_sent: int = 0
    checks_received: int = 0
    responses_received: int = 0
    checks_refused: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    component: int = field(init=False)
    remote_address: Address = field(init=False)
    key: PairKey = field(init=False)
    openness: int = field(init=False)

    def __post_init__(self) -> None:
        # Data needs them for every datagram. A candidate that replaces another has the same component and address.
        self.component = self.local.candidate.component
        self.remote_address = Address(self.remote.address, self.remote.port)
        self.key = self.local.base, self.remote_address, self.local.transport
        self.openness = openness_of(self.local, self.remote)

    @property
    def valid(self) -> bool:
        """Whether data may flow (RFC 8445 §12.1)."""
        return self.state is PairState.SUCCEEDED

    @property
    def is_relayed(self) -> bool:
        """Whether a relay of either side carries it."""
        return self.local.is_relayed or self.remote.type == CandidateType.RELAYED

    @property
    def retry_at(self) -> float:
        """When it may be checked again."""
        return self.last_check + self.interval

    def datagram(self, data: bytes) -> Datagram:
        """``data`` on its way to the peer."""
        base, address, transport = self.key
        return Datagram(base, address, data, transport)

    @property
    def foundation(self) -> tuple[str, str]:
        """Pairs with the same one are thawed together (RFC 8445 §6.1.2.6)."""
        return self.local.candidate.foundation, self.remote.foundation


def openness_of(local: LocalCandidate, remote: Candidate) -> int:
    """How likely a check passes before any server has told anything: 2 without a NAT, 1 with one of ours, else 0.

    The peer's own address is one of the Internet: no NAT on its side has to be opened, and one on ours lets answers in.
    To a private address there may be no way, or a way to somebody else.
    """
    if local.is_relayed or remote.type != CandidateType.HOST or local.transport is not Transport.UDP:
        return 0
    if scope_of(remote.address) < _INTERNET:
        return 0
    if scope_of(local.base.host) == _INTERNET:
        return 2
    # IPv6 has no NAT that would lead from a local address to the Internet.
    behind_nat = classify_host(local.base.host) in (AddressClass.PRIVATE, AddressClass.CGNAT)
    return int(behind_nat and ":" not in local.base.host)


def pair_priority(controlling: int, controlled: int) -> int:
    """RFC 8445 §6.1.2.3."""
    low, high = (controlling, controlled) if controlling < controlled else (controlled, controlling)
    return (low << 32) + 2 * high + (controlling > controlled)


def peer_reflexive_priority(candidate: Candidate) -> int:
    """The priority that a peer-reflexive candidate with the same base would have (RFC 8445 §7.1.1)."""
    preference = _PEER_REFLEXIVE if transport_of(candidate) is Transport.UDP else _PEER_REFLEXIVE_TCP
    return preference << 24 | candidate.priority & 0xFFFFFF


def transport_of(candidate: Candidate) -> Transport:
    """What a candidate is reached by."""
    return Transport.TCP if candidate.transport.lower() == Transport.TCP else Transport.UDP


def key_of_received(datagram: Datagram) -> PairKey:
    """The pair on which this arrived."""
    return datagram.destination, datagram.source, datagram.transport


def heard_candidate(check: Datagram, component: int, priority: int) -> Candidate:
    """Who sent an authenticated check, as a peer-reflexive candidate (RFC 8445 §7.3.1.3)."""
    return Candidate(
        foundation=f"prflx{check.source.port}",
        component=component,
        transport=check.transport.value,
        priority=max(1, priority & 0x7FFFFFFF),
        address=check.source.host,
        port=check.source.port,
        type=CandidateType.PEER_REFLEXIVE,
        # RFC 6544 §7.2: who has connected to us is active.
        tcptype=None if check.transport is Transport.UDP else TcpType.ACTIVE,
    )


@dataclass(slots=True)
class Checklist:
    """All pairs of one generation. ``max_pairs`` bounds it, and the candidates of the peer (RFC 8445 §6.1.2.5: 100).

    ``reflexive``: local candidates that are another one's base seen from elsewhere, by base and address.
    """

    controlling: bool
    max_pairs: int = 100
    locals: list[LocalCandidate] = field(default_factory=list)
    reflexive: dict[PairKey, Candidate] = field(default_factory=dict)
    remotes: list[Candidate] = field(default_factory=list)
    pairs: dict[PairKey, CandidatePair] = field(default_factory=dict)
    triggered: list[CandidatePair] = field(default_factory=list)

    def __iter__(self) -> Iterator[CandidatePair]:
        return iter(self.pairs.values())

    def add_local(self, local: LocalCandidate) -> None:
        """Pair it with every remote candidate; a server-reflexive one is its base (RFC 8445 §6.1.2.4)."""
        if self._local_at(local.base, local.transport) is not None:
            mapped = Address(local.candidate.address, local.candidate.port)
            self.reflexive[local.base, mapped, local.transport] = local.candidate
            return
        self.locals.append(local)
        for remote in self.remotes:
            self._form(local, remote)

    def take_locals(self, other: Checklist) -> None:
        """Begin with the local candidates of the last generation."""
        for local in other.locals:
            self.add_local(local)
        self.reflexive = dict(other.reflexive)

    def add_remote(self, remote: Candidate) -> None:
        """Pair it with every local candidate; it replaces a peer-reflexive one with the same address."""
        if classify_host(remote.address) in _NOT_YET_ADDRESSES or not remote.port:
            return
        # RFC 6544 §4.5: the port of an active candidate says nothing; who it is shows when its connection is there.
        if transport_of(remote) is Transport.TCP and remote.tcptype is not TcpType.PASSIVE:
            return
        remote = replace(remote, address=canonical_host(remote.address))
        address = Address(remote.address, remote.port)
        for index, known in enumerate(self.remotes):
            if _is_same(known, remote):
                if known.type == CandidateType.PEER_REFLEXIVE != remote.type:
                    self.remotes[index] = remote
                    self._replace(address, remote)
                return
        if len(self.remotes) >= self.max_pairs:
            return
        self.remotes.append(remote)
        for local in self.locals:
            self._form(local, remote)

    def form_heard(self, base: Address, remote: Candidate) -> CandidatePair | None:
        """The pair on which the peer has sent an authenticated check, made if it is new and there is room."""
        transport = transport_of(remote)
        if (pair := self.pairs.get((base, Address(remote.address, remote.port), transport))) is not None:
            return pair
        local = self._local_at(base, transport)
        if local is None:
            return None
        for known in self.remotes:
            if _is_same(known, remote):
                return self._insert(local, known)
        if len(self.remotes) < self.max_pairs:
            self.remotes.append(remote)
        return self._insert(local, remote)

    def component_of(self, base: Address, transport: Transport = Transport.UDP) -> int | None:
        """The component that a base of ours belongs to."""
        local = self._local_at(base, transport)
        return None if local is None else local.candidate.component

    def _local_at(self, base: Address, transport: Transport) -> LocalCandidate | None:
        return next((item for item in self.locals if item.base == base and item.transport is transport), None)

    def local_of(self, pair: CandidatePair) -> Candidate:
        """RFC 8445 §7.2.5.3.1: the candidate with the mapped address; an unknown one is peer-reflexive."""
        candidate, base, mapped = pair.local.candidate, pair.local.base, pair.mapped
        if mapped is None or mapped == (candidate.address, candidate.port) or pair.local.is_relayed:
            return candidate
        if (known := self.reflexive.get((base, mapped, pair.local.transport))) is not None:
            return known
        if candidate.tcptype is TcpType.ACTIVE and mapped.host == base.host:
            # Only the port is news: that of the connection, which an active candidate cannot know before.
            return replace(candidate, port=mapped.port)
        return replace(
            candidate,
            foundation=f"prflx{mapped.port}",
            priority=peer_reflexive_priority(candidate),
            address=mapped.host,
            port=mapped.port,
            type=CandidateType.PEER_REFLEXIVE,
            related_address=base.host,
            related_port=base.port,
            extensions=(),
        )

    def map(self, pair: CandidatePair, mapped: Address) -> None:
        """The peer sees us at this address, which makes the pair another one.

        RFC 8445 §7.2.5.3.2: its priority is that of the candidate with the mapped address. Both sides then rank valid
        pairs alike, so that they meet on one before it is nominated.
        """
        if pair.mapped != mapped:
            pair.mapped = mapped
            pair.priority = self._priority(self.local_of(pair), pair.remote)

    def set_role(self, controlling: bool) -> None:
        """After a role conflict every priority is computed anew (RFC 8445 §7.3.1.1)."""
        self.controlling = controlling
        for pair in self:
            pair.priority = self._priority(self.local_of(pair), pair.remote)

    def next_waiting(self, wanted: Callable[[CandidatePair], bool] = lambda pair: True) -> CandidatePair | None:
        """The best pair that was never checked; when none waits, a frozen one is thawed (RFC 8445 §6.1.4.2)."""
        best: CandidatePair | None = None
        for pair in self.pairs.values():
            if pair.state is PairState.WAITING or pair.state is PairState.FROZEN:
                rank = (pair.state is PairState.WAITING, pair.priority)
                if (best is None or rank > (best.state is PairState.WAITING, best.priority)) and wanted(pair):
                    best = pair
        return best

    def thaw(self, foundation: tuple[str, str]) -> None:
        """Let pairs like one that succeeded be checked (RFC 8445 §7.2.5.3.3)."""
        for pair in self:
            if pair.state is PairState.FROZEN and pair.foundation == foundation:
                pair.state = PairState.WAITING

    def trigger(self, pair: CandidatePair, *, first: bool = False) -> None:
        """Check it in the next free slot, before the others that wait if it is to be ``first``."""
        if pair in self.triggered:
            if not first:
                return
            self.triggered.remove(pair)
        self.triggered.insert(0 if first else len(self.triggered), pair)

    def best_valid(self, component: int) -> CandidatePair | None:
        """The valid pair of a component with the highest priority."""
        return max(
            (pair for pair in self if pair.valid and pair.component == component),
            key=lambda pair: pair.priority,
            default=None,
        )

    def may_improve(self, best: CandidatePair) -> bool:
        """Whether a pair that would win over ``best`` is still being checked."""
        return any(
            pair.priority > best.priority
            for pair in self
            if pair.component == best.component and pair.state not in (PairState.SUCCEEDED, PairState.FAILED)
        )

    def _priority(self, local: Candidate, remote: Candidate) -> int:
        mine, theirs = local.priority, remote.priority
        return pair_priority(mine, theirs) if self.controlling else pair_priority(theirs, mine)

    def _replace(self, address: Address, remote: Candidate) -> None:
        for pair in self:
            if pair.remote_address == address and _is_same(pair.remote, remote):
                pair.remote = remote
                pair.priority = self._priority(self.local_of(pair), remote)

    def _form(self, local: LocalCandidate, remote: Candidate) -> None:
        key = local.base, Address(remote.address, remote.port), local.transport
        if key in self.pairs or not _compatible(local, remote):
            return
        self._insert(local, remote)

    def _insert(self, local: LocalCandidate, remote: Candidate) -> CandidatePair | None:
        pair = CandidatePair(local, remote, self._priority(local.candidate, remote))
        if len(self.pairs) >= self.max_pairs and not self._make_room(pair):
            return None
        # RFC 8445 §6.1.2.6: the first of each foundation may be checked, the others wait for its result.
        like = (other for other in self if other.foundation == pair.foundation)
        if all(other.state is PairState.SUCCEEDED for other in like):
            pair.state = PairState.WAITING
        self.pairs[pair.key] = pair
        return pair

    def _make_room(self, pair: CandidatePair) -> bool:
        """RFC 8445 §6.1.2.5: the pair with the lowest priority gives way, but none that the peer has been heard on.

        RFC 8838 §10, §11: before them all, whatever its priority, one that has failed. And a part of the list is for
        relays: they come late, rank last, and are what is needed where all others fail.
        """
        silent = [other for other in self if not other.heard and not other.valid]
        relayed = sum(other.is_relayed for other in self)
        share = self.max_pairs // _RELAYED_SHARE
        if failed := [other for other in silent if other.state is PairState.FAILED]:
            worst = _least(failed)
        elif pair.is_relayed and relayed < share:
            worst = _least([other for other in silent if not other.is_relayed])
        else:
            worst = _least([other for other in silent if pair.is_relayed or relayed > share or not other.is_relayed])
            if worst is not None and worst.priority >= pair.priority:
                return False
        if worst is None:
            return False
        del self.pairs[worst.key]
        if worst in self.triggered:
            self.triggered.remove(worst)
        return True


def _least(pairs: list[CandidatePair]) -> CandidatePair | None:
    return min(pairs, key=lambda pair: pair.priority, default=None)


def _compatible(local: LocalCandidate, remote: Candidate) -> bool:
    """RFC 8445 §6.1.2.2: same component, transport and family, link-local with link-local; and no hopeless relays."""
    mine = local.candidate
    # RFC 6544 §6.2: active is paired with passive, and a passive one checks nothing before it was connected to.
    if mine.tcptype is TcpType.PASSIVE:
        return False
    if mine.component != remote.component or mine.transport.lower() != remote.transport.lower():
        return False
    if (":" in local.base.host) != (":" in remote.address):
        return False
    theirs = classify_host(remote.address)
    if local.relay_server is not None:
        # A relay on the Internet cannot reach a private address of the peer; one in the same network can.
        return theirs not in _RELAY_AVOIDS or scope_of(local.relay_server) <= scope_of(remote.address)
    link_local = classify_host(local.base.host) is AddressClass.LINK_LOCAL
    return link_local == (theirs is AddressClass.LINK_LOCAL) or ":" not in remote.address


def _is_same(one: Candidate, other: Candidate) -> bool:
    """Whether both are one place: a UDP and a TCP candidate of one address and port are two."""
    places = ((item.component, item.address, item.port, transport_of(item)) for item in (one, other))
    return next(places) == next(places)
