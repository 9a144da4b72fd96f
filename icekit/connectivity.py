"""Which candidate pairs of two ICE agents can work, found by playing their checks over models of their NATs.

There is no table of "this NAT with that NAT" here. Every packet of the play crosses ``icekit.nat.Nat``, the model that
the simulator uses: each agent asks a STUN server, then both check all candidates of the other (RFC 8445 §7), learn
peer-reflexive ones and check those, until nothing new is learned. A relay is played as one more socket, behind a NAT
with an endpoint-independent mapping that lets in addresses it has sent to: that is what a permission does
(RFC 8656 §9). Nothing is lost, nothing expires, and only UDP is played.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from icekit.candidate import CandidateType
from icekit.nat import Hairpinning, Nat, NatConfig
from icekit.net import Address, Datagram
from icekit.report import Behavior, Pooling

__all__ = ["Neighbours", "Party", "WorkingPair", "play"]

# Two NATs with a mapping for every destination and without a filter find new peer-reflexive candidates for ever, of
# which none ever works; every chain that works is found in four rounds.
_ROUNDS = 8

_STUN_SERVER = Address("203.0.113.9", 3478)
_PERMISSIONS = NatConfig(filtering=Behavior.ADDRESS_DEPENDENT)

_PREFERENCES = {
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}


class Neighbours(StrEnum):
    """How near the two are: not at all, in two networks behind one NAT, in one network."""

    APART = "apart"
    SAME_NAT = "same-nat"
    SAME_NETWORK = "same-network"


@dataclass(frozen=True, slots=True)
class Party:
    """One of the two, in one address family. ``nat``: ``None`` for nothing between it and the Internet.

    ``host``: it has an address of its own; ``reflexive``: it asks a STUN server; ``relay``: it has a relayed address.
    """

    nat: NatConfig | None = None
    host: bool = True
    reflexive: bool = True
    relay: bool = False


@dataclass(frozen=True, slots=True)
class WorkingPair:
    """A pair that became valid on both sides, as the first party sees it."""

    local: CandidateType
    remote: CandidateType

    @property
    def relays(self) -> int:
        """How many relays carry it."""
        return (self.local is CandidateType.RELAYED) + (self.remote is CandidateType.RELAYED)

    @property
    def reversed(self) -> WorkingPair:
        """The same pair as the second party sees it."""
        return WorkingPair(self.remote, self.local)


class _Network:
    """Hosts, and gateways of other networks, by address; ``nat`` leads to ``outside``."""

    def __init__(self, nat: Nat | None = None, outside: _Network | None = None) -> None:
        self.nat = nat
        self.outside = outside
        self.members: dict[str, _Socket | _Network] = {}
        if nat is not None and outside is not None:
            outside.members.update(dict.fromkeys(nat.external_hosts, self))

    def attach(self, socket: _Socket) -> None:
        self.members[socket.address.host] = socket
        # Without translation the address is the same on both sides of the gateway.
        network = self
        while network.nat is not None and network.outside is not None and not network.nat.external_hosts:
            network.outside.members[socket.address.host] = network
            network = network.outside

    def carry(self, datagram: Datagram) -> tuple[_Socket, Datagram] | None:
        """Where a packet that was put into this network arrives, and as what; ``None``: nowhere."""
        member = self.members.get(datagram.destination.host)
        if member is None:
            if self.nat is None or self.outside is None:
                return None
            leaving = self.nat.outbound(datagram, 0.0)
            if leaving is None:
                return None
            hairpins = leaving.destination != datagram.destination
            return (self if hairpins else self.outside).carry(leaving)
        while isinstance(member, _Network):
            entering = None if member.nat is None else member.nat.inbound(datagram, 0.0)
            if entering is None:
                return None
            datagram = entering
            member = member.members.get(datagram.destination.host)
        return None if member is None or member.address != datagram.destination else (member, datagram)


class _Socket:
    """A base: ``remote`` are the candidates of the other agent that it checks, ``own`` those of its agent."""

    def __init__(self, address: Address, network: _Network, own: dict[Address, CandidateType]) -> None:
        self.address = address
        self.network = network
        self.own = own
        self.remote: dict[Address, CandidateType] = {}
        network.attach(self)

    def send(self, destination: Address) -> tuple[_Socket, Datagram] | None:
        return self.network.carry(Datagram(self.address, destination, b""))


class _Play:
    def __init__(self, a: Party, b: Party, neighbours: Neighbours) -> None:
        self._numbers = itertools.count(1)
        self.internet = _Network()
        self.server = _Socket(_STUN_SERVER, self.internet, {})
        self.sockets: tuple[list[_Socket], list[_Socket]] = ([], [])
        self.valid: dict[tuple[_Socket, _Socket], WorkingPair] = {}
        outside = self.internet
        if neighbours is Neighbours.SAME_NAT:
            outside = self._behind(_shared(a, b), self.internet, ("198.51.102.1",))
        place: _Network | None = None
        for index, party in enumerate((a, b)):
            if place is None or neighbours is not Neighbours.SAME_NETWORK:
                place = self._place(party, index, outside)
            self._gather(party, index, place)

    def _behind(self, config: NatConfig, outside: _Network, hosts: tuple[str, ...]) -> _Network:
        return _Network(Nat(config, hosts if config.translates else (), token_bytes=self._token_bytes), outside)

    def _place(self, party: Party, index: int, outside: _Network) -> _Network:
        if party.nat is None:
            return outside
        # With arbitrary pooling every mapping gets an address of its own: what works by luck does not count.
        count = 1 if party.nat.pooling is Pooling.PAIRED else 32
        hosts = tuple(f"198.51.{100 + index}.{number}" for number in range(1, count + 1))
        return self._behind(party.nat, outside, hosts)

    def _token_bytes(self, count: int) -> bytes:
        """Not chance: another port for every mapping, the same in every play."""
        return (next(self._numbers) * 9973 % 2**32).to_bytes(count, "big")

    def _gather(self, party: Party, index: int, place: _Network) -> None:
        own: dict[Address, CandidateType] = {}
        if party.host:
            host = _Socket(Address(f"10.0.{index}.2", 5000 + index), place, own)
            own[host.address] = CandidateType.HOST
            if party.reflexive and (arrived := host.send(_STUN_SERVER)) is not None:
                own.setdefault(arrived[1].source, CandidateType.SERVER_REFLEXIVE)
            self.sockets[index].append(host)
        if party.relay:
            server = self._behind(_PERMISSIONS, self.internet, (f"203.0.113.{index + 1}",))
            relayed = _Socket(Address(f"10.1.{index}.2", 6000 + index), server, own)
            if (arrived := relayed.send(_STUN_SERVER)) is not None:
                own[arrived[1].source] = CandidateType.RELAYED
            self.sockets[index].append(relayed)

    def run(self) -> tuple[WorkingPair, ...]:
        for sockets, others in (self.sockets, self.sockets[::-1]):
            for socket in sockets:
                socket.remote = dict(others[0].own) if others else {}
        # A round opens filters for whatever the one before has found; after a second quiet one nothing is left.
        quiet, known = 0, self._knowledge()
        for _ in range(_ROUNDS):
            for socket in itertools.chain(*self.sockets):
                for remote in tuple(socket.remote):
                    self._check(socket, remote)
            before, known = known, self._knowledge()
            quiet = quiet + 1 if known == before else 0
            if quiet == 2:
                break
        a, b = self.sockets
        pairs = {
            self.valid[one, two] for one in a for two in b if (one, two) in self.valid and (two, one) in self.valid
        }
        return tuple(sorted(pairs, key=_preference))

    def _knowledge(self) -> tuple[int, int]:
        return len(self.valid), sum(len(socket.remote) for socket in itertools.chain(*self.sockets))

    def _check(self, socket: _Socket, remote: Address) -> None:
        arrived = socket.send(remote)
        if arrived is None:
            return
        peer, request = arrived
        if peer is self.server or peer.own is socket.own:
            return
        # RFC 8445 §7.3.1.3: an unknown source is a new peer-reflexive candidate; it is checked from where it was heard.
        peer.remote.setdefault(request.source, CandidateType.PEER_REFLEXIVE)
        answered = peer.send(request.source)
        # RFC 8445 §7.2.5.2.1: the answer must come from the address that was asked, to the one that asked.
        if answered is None or answered[0] is not socket or answered[1].source != remote:
            return
        # RFC 8445 §7.2.5.3.1: what the peer saw is the local candidate, a peer-reflexive one if it is new.
        local = socket.own.get(request.source, CandidateType.PEER_REFLEXIVE)
        pair = WorkingPair(local, socket.remote[remote])
        self.valid[socket, peer] = min(pair, self.valid.get((socket, peer), pair), key=_preference)


def _shared(a: Party, b: Party) -> NatConfig:
    """The NAT that two networks share. What filters is played in the networks' own NATs, so it only hairpins."""
    hairpins = all(
        party.nat is not None and party.nat.hairpinning is not Hairpinning.NONE and party.nat.udp for party in (a, b)
    )
    return NatConfig(hairpinning=Hairpinning.EXTERNAL_SOURCE if hairpins else Hairpinning.NONE)


def _preference(pair: WorkingPair) -> tuple[int, int, str]:
    """Fewer relays first, then the order of RFC 8445 §5.1.2.2; the same order from both sides but for equals."""
    return pair.relays, -_PREFERENCES[pair.local] - _PREFERENCES[pair.remote], pair.local


@lru_cache(maxsize=4096)
def play(a: Party, b: Party, neighbours: Neighbours = Neighbours.APART) -> tuple[WorkingPair, ...]:
    """Every kind of pair that works between the two, best first; empty: none does."""
    return _Play(a, b, neighbours).run()
