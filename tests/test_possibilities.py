"""What is not known is tried both ways, and what decides is named."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from icekit.connectivity import Neighbours
from icekit.nat_presets import declared, preset
from icekit.possibilities import Outcome, decisive, neighbours, outcomes
from icekit.report import Behavior, NatReport, NatReports, PathKind, Pooling
from icekit.sides import Relay, Side

EI, AD, APD = Behavior
UDP = NatReport(udp=True, behind_nat=True)
HOME = NatReport(udp=True, behind_nat=True, mapping=EI, filtering=APD, address_pooling=Pooling.PAIRED)
SYMMETRIC = NatReport(udp=True, behind_nat=True, mapping=APD, filtering=APD, address_pooling=Pooling.PAIRED)


def side(nat: NatReport | None, **others: object) -> Side:
    return Side(nat=NatReports(ipv4=nat), **others)  # type: ignore[arg-type]


def paths(a: Side, b: Side) -> set[str]:
    return {outcome.path.value for outcome in outcomes(a, b, 4)}


def deciding(a: Side, b: Side) -> list[tuple[str, str]]:
    return decisive(outcomes(a, b, 4), lambda outcome: outcome.path)


def test_what_is_known_has_one_outcome() -> None:
    for a, b in product(("open", "port-restricted", "symmetric", "udp-blocked"), repeat=2):
        assert len(outcomes(side(declared(preset(a).chain)), side(declared(preset(b).chain)), 4)) == 1


def test_no_address_of_a_family_is_no_path() -> None:
    assert outcomes(side(HOME), side(HOME), 6) == [Outcome(())]
    assert paths(side(HOME), side(None)) == {"none"}


@pytest.mark.parametrize(
    ("a", "b", "possible", "names"),
    [
        (UDP, HOME, {"direct", "none"}, [("a", "mapping")]),
        # An open peer is reached whatever the NAT does.
        (UDP, declared(()), {"direct"}, []),
        (NatReport(udp=True, behind_nat=True, mapping=EI), HOME, {"direct"}, []),
        (NatReport(udp=True, behind_nat=True, mapping=EI), SYMMETRIC, {"direct", "none"}, [("a", "filtering")]),
        (NatReport(mapping=EI), HOME, {"direct"}, []),
        (NatReport(behind_nat=False, filtering=APD), HOME, {"direct", "none"}, [("a", "udp")]),
        (NatReport(udp=False), NatReport(), {"none"}, []),
        (
            NatReport(udp=True, behind_nat=True, mapping=APD, filtering=APD),
            NatReport(udp=True, behind_nat=True, mapping=EI, filtering=AD),
            {"direct", "none"},
            [("a", "address_pooling")],
        ),
    ],
)
def test_what_decides(a: NatReport, b: NatReport, possible: set[str], names: list[tuple[str, str]]) -> None:
    assert paths(side(a), side(b)) == possible
    assert deciding(side(a), side(b)) == names
    assert paths(side(b), side(a)) == possible
    assert deciding(side(b), side(a)) == [("b", field) for _, field in names]


def test_a_mapping_that_is_a_lower_bound_is_played_as_more_as_well() -> None:
    dependent = NatReport(udp=True, behind_nat=True, mapping=AD, filtering=EI, address_pooling=Pooling.PAIRED)
    bound = replace(dependent, reason={"mapping": "address-dependent at least: no second port"})
    more = replace(dependent, mapping=APD)
    assert paths(side(dependent), side(more)) == {"direct"}
    assert paths(side(more), side(more)) == {"none"}
    assert paths(side(bound), side(more)) == {"direct", "none"}
    assert deciding(side(bound), side(more)) == [("a", "mapping")]
    # Most peers see no difference.
    assert paths(side(bound), side(HOME)) == {"none"}


def test_nothing_known_at_all() -> None:
    assert paths(side(NatReport()), side(NatReport())) == {"direct", "none"}
    relayed = (Relay(),)
    assert paths(side(NatReport(), relays=relayed), side(NatReport(), relays=relayed)) == {"direct", "relay"}


def test_a_relay_counts_in_its_family() -> None:
    blocked = NatReport(udp=False)
    assert paths(side(blocked, relays=(Relay(family=4),)), side(HOME)) == {"relay"}
    assert paths(side(blocked, relays=(Relay(family=6),)), side(HOME)) == {"none"}


PUBLIC = frozenset({"198.51.100.7"})


@pytest.mark.parametrize(
    ("hosts", "public", "family", "expected"),
    [
        (("192.168.1.2", "192.168.1.3"), (PUBLIC, PUBLIC), 4, [Neighbours.SAME_NETWORK]),
        (("192.168.1.2", "192.168.2.3"), (PUBLIC, PUBLIC), 4, [Neighbours.SAME_NAT]),
        # The same address twice is in two networks, behind the NAT of a carrier.
        (("192.168.1.2", "192.168.1.2"), (PUBLIC, PUBLIC), 4, [Neighbours.SAME_NAT]),
        (("192.168.1.2", "192.168.1.3"), (PUBLIC, frozenset({"198.51.100.8"})), 4, [Neighbours.APART]),
        (("192.168.1.2", "192.168.1.3"), (frozenset(), frozenset()), 4, [Neighbours.APART]),
        (("192.168.1.2", ""), (PUBLIC, PUBLIC), 4, [Neighbours.SAME_NAT, Neighbours.SAME_NETWORK]),
        (("2606:4700:1:2::5", "2606:4700:1:2:3::"), (frozenset(), frozenset()), 6, [Neighbours.SAME_NETWORK]),
        (("2606:4700:1:2::5", "2606:4700:1:3::5"), (frozenset(), frozenset()), 6, [Neighbours.APART]),
        (("fd00::5", "fd00::6"), (frozenset(), frozenset()), 6, [Neighbours.APART]),
        (("192.168.1.2", "192.168.1.3"), (PUBLIC, PUBLIC), 6, [Neighbours.APART]),
    ],
)
def test_neighbours(
    hosts: tuple[str, str],
    public: tuple[frozenset[str], frozenset[str]],
    family: int,
    expected: list[Neighbours],
) -> None:
    a, b = (
        Side(nat=NatReports(HOME, HOME), local_hosts=frozenset({host} if host else ()), public_hosts=seen)
        for host, seen in zip(hosts, public, strict=True)
    )
    assert [near for near, _ in neighbours(a, b, family)] == expected
    assert [near for near, _ in neighbours(b, a, family)] == expected
    absent = Side(nat=NatReports(), local_hosts=b.local_hosts, public_hosts=b.public_hosts)
    assert [near for near, _ in neighbours(a, absent, family)] == [Neighbours.APART]


def test_behind_one_nat_hairpinning_decides() -> None:
    one, other = (side(HOME, local_hosts=frozenset({host}), public_hosts=PUBLIC) for host in ("10.0.0.2", "10.1.1.2"))
    assert deciding(one, other) == [("ab", "hairpinning")]
    assert paths(one, other) == {"direct", "none"}
    # What one of them saw holds for both.
    seen = NatReport(udp=True, behind_nat=True, mapping=EI, filtering=APD, hairpinning=True)
    knows = side(seen, local_hosts=frozenset({"10.2.2.2"}), public_hosts=PUBLIC)
    assert paths(one, knows) == paths(knows, one) == {"direct"}


def test_hidden_addresses_leave_open_whether_both_are_in_one_network() -> None:
    nat = NatReport(udp=True, behind_nat=True, mapping=EI, filtering=APD, hairpinning=False)
    one, other = (side(nat, public_hosts=PUBLIC) for _ in range(2))
    assert deciding(one, other) == [("ab", "network")]


def test_an_outcome_is_named_after_its_best_pair() -> None:
    assert Outcome(()).path is PathKind.NONE
    relayed = side(HOME, relays=(Relay(),))
    assert [outcome.path for outcome in outcomes(relayed, side(HOME), 4)] == [PathKind.DIRECT]
    assert [outcome.path for outcome in outcomes(relayed, side(SYMMETRIC), 4)] == [PathKind.RELAY]
