"""Every way in which a call between two sides can go, given what was measured of them.

What is known is fixed, what is ``None`` takes every value it can have, and each combination is played. So an unknown
matters exactly where the outcomes differ, and ``decisive`` names it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from icekit.connectivity import Neighbours, Party, WorkingPair, play
from icekit.nat import Hairpinning, NatConfig
from icekit.net import scope_of
from icekit.report import Behavior, NatReport, PathKind, Pooling
from icekit.sides import Side

__all__ = ["Outcome", "Unknown", "decisive", "neighbours", "outcomes"]

T = TypeVar("T")

Unknown = tuple[str, str]
"""A side (``a``, ``b``, or ``ab`` for what both share) and a field of its NAT report, or ``network``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What works in one family, best pair first, if what is not known is as ``assumed``."""

    pairs: tuple[WorkingPair, ...]
    assumed: frozenset[tuple[Unknown, object]] = frozenset()

    @property
    def path(self) -> PathKind:
        """How the best pair goes."""
        if not self.pairs:
            return PathKind.NONE
        return PathKind.RELAY if self.pairs[0].relays else PathKind.DIRECT


def outcomes(a: Side, b: Side, family: int) -> list[Outcome]:
    """One outcome for each combination of values that the unknown can have; at least one."""
    found = []
    for near, assumed in neighbours(a, b, family):
        if near is Neighbours.SAME_NETWORK:
            # Nothing lies between the two, so what is not known of the gateway does not matter.
            found.append(Outcome(play(Party(), Party(), near), assumed))
            continue
        # Two behind one NAT measured the same: what one of them saw is there.
        known = _hairpins(a, b, family) if near is Neighbours.SAME_NAT else False
        for hairpins, with_hairpins in _values("hairpinning", known, (True, False)):
            both = assumed | {(("ab", name), value) for name, value in with_hairpins.items()}
            for (one, with_a), (two, with_b) in itertools.product(
                _parties(a, "a", family, hairpins), _parties(b, "b", family, hairpins)
            ):
                found.append(Outcome(play(one, two, near), both | with_a | with_b))
    return found


def decisive(found: Sequence[Outcome], view: Callable[[Outcome], object]) -> list[Unknown]:
    """What, if it were known, could leave fewer values of ``view``; everything unknown if no single one could."""
    if len({view(outcome) for outcome in found}) == 1:
        return []
    names = sorted({unknown for outcome in found for unknown, _ in outcome.assumed})
    result = []
    for name in names:
        # A field without a value here (the mapping, where no NAT is assumed) says nothing about its own weight.
        views: dict[object, set[object]] = {}
        for outcome in found:
            for unknown, value in outcome.assumed:
                if unknown == name:
                    views.setdefault(value, set()).add(view(outcome))
        if any(seen != next(iter(views.values())) for seen in views.values()):
            result.append(name)
    return result or names


def neighbours(a: Side, b: Side, family: int) -> Iterator[tuple[Neighbours, frozenset[tuple[Unknown, object]]]]:
    """Whether the two are behind the same NAT, or even in the same network."""
    six = family == 6
    if a.nat_of(family) is None or b.nat_of(family) is None:
        yield Neighbours.APART, frozenset()
        return
    hosts_a, hosts_b = ({host for host in side.local_hosts if (":" in host) == six} for side in (a, b))
    subnets = [_subnet(one) for one in hosts_a for other in hosts_b if one != other and _subnet(one) == _subnet(other)]
    # A public IPv6 prefix belongs to one network; private prefixes are the same everywhere.
    if six and any(scope_of(f"{subnet}::") == 3 for subnet in subnets):
        yield Neighbours.SAME_NETWORK, frozenset()
    elif not any((":" in host) == six for host in a.public_hosts & b.public_hosts):
        yield Neighbours.APART, frozenset()
    elif subnets:
        yield Neighbours.SAME_NETWORK, frozenset()
    elif hosts_a and hosts_b:
        yield Neighbours.SAME_NAT, frozenset()
    else:
        for near in (Neighbours.SAME_NAT, Neighbours.SAME_NETWORK):
            yield near, frozenset({(("ab", "network"), near)})


def _subnet(host: str) -> str:
    """The first 64 bits, of IPv4 the first 24: nothing tells the real mask, and most homes have this one."""
    if ":" not in host:
        return host.rpartition(".")[0]
    head, _, tail = host.partition("%")[0].partition("::")
    groups = head.split(":") if head else []
    rest = tail.split(":") if tail else []
    return ":".join((groups + ["0"] * (8 - len(groups) - len(rest)) + rest)[:4])


def _hairpins(a: Side, b: Side, family: int) -> bool | None:
    seen = [nat.hairpinning for side in (a, b) if (nat := side.nat_of(family)) is not None]
    return True if True in seen else False if False in seen else None


def _parties(
    side: Side, name: str, family: int, hairpins: bool
) -> Iterator[tuple[Party, frozenset[tuple[Unknown, object]]]]:
    """The models that what is known of one side allows, with what each of them assumes."""
    relay = any(item.family == family for item in side.relays)
    nat = side.nat_of(family)
    if nat is None:
        yield Party(host=False, relay=relay), frozenset()
        return
    for config, assumed in _configs(nat, hairpins):
        party = Party(config, reflexive=side.reflexive, relay=relay)
        yield party, frozenset(((name, item), value) for item, value in assumed.items())


_Assumed = dict[str, object]


def _values(name: str, known: T | None, every: tuple[T, ...]) -> Iterator[tuple[T, _Assumed]]:
    if known is not None:
        yield known, {}
        return
    for value in every:
        yield value, {name: value}


def _configs(nat: NatReport, hairpins: bool) -> Iterator[tuple[NatConfig, _Assumed]]:
    # Who has measured a mapping has UDP and a NAT.
    measured = True if nat.mapping is not None else None
    for udp, with_udp in _values("udp", measured if nat.udp is None else nat.udp, (True, False)):
        if not udp:
            yield NatConfig(udp=False, translates=False), with_udp
            continue
        behind_nat = measured if nat.behind_nat is None else nat.behind_nat
        for behind, with_nat in _values("behind_nat", behind_nat, (True, False)):
            for filtering, with_filtering in _values("filtering", nat.filtering, tuple(Behavior)):
                assumed = with_udp | with_nat | with_filtering
                if behind:
                    for config, more in _translating(nat, filtering, hairpins):
                        yield config, assumed | more
                else:
                    yield NatConfig(filtering=filtering, translates=False), assumed


def _translating(nat: NatReport, filtering: Behavior, hairpins: bool) -> Iterator[tuple[NatConfig, _Assumed]]:
    hairpinning = Hairpinning.EXTERNAL_SOURCE if hairpins else Hairpinning.NONE
    for mapping, with_mapping in _mappings(nat):
        # An endpoint-independent mapping is one address for every peer, whatever the pool does.
        pooling = Pooling.PAIRED if mapping is Behavior.ENDPOINT_INDEPENDENT else nat.address_pooling
        for pool, with_pool in _values("address_pooling", pooling, tuple(Pooling)):
            config = NatConfig(mapping=mapping, filtering=filtering, pooling=pool, hairpinning=hairpinning)
            yield config, with_mapping | with_pool


def _mappings(nat: NatReport) -> Iterator[tuple[Behavior, _Assumed]]:
    # With a reason it is a lower bound: no server answered on the second port that would have told more.
    if nat.mapping is Behavior.ADDRESS_DEPENDENT and "mapping" in nat.reason:
        return _values("mapping", None, (Behavior.ADDRESS_DEPENDENT, Behavior.ADDRESS_AND_PORT_DEPENDENT))
    return _values("mapping", nat.mapping, tuple(Behavior))
