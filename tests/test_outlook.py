"""The path to each class of peer, as a table."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from icekit.outlook import PEERS, outlook
from icekit.probe_observations import Observations
from icekit.report import (
    Behavior,
    Interface,
    NatReport,
    NatReports,
    TurnReport,
)
from icekit.verdict import verdict
from tests.observations import (
    AD,
    ANSWER,
    APD,
    EI,
    NAT,
    REFUSED,
    RELAY_OK,
    RELAY_TCP_OK,
    SILENT,
    observed,
)

INTERRUPTED = TurnReport(RELAY_OK.url, False)


def paths(observations: Observations) -> str:
    found = outlook(observations)
    assert tuple(item.peer for item in found) == PEERS
    return " ".join(item.path for item in found)


# mapping, filtering, behind a NAT, UDP → open, endpoint-independent, address-and-port-dependent, udp-blocked with a
# relay, and without one
OUTLOOKS = [
    (EI, EI, True, True, "direct direct direct relay", "direct direct direct none"),
    (EI, AD, True, True, "direct direct direct relay", "direct direct direct none"),
    # the example of the contract
    (EI, APD, True, True, "direct direct relay relay", "direct direct none none"),
    (AD, APD, True, True, "direct relay relay relay", "direct none none none"),
    (APD, EI, True, True, "direct relay relay relay", "direct none none none"),
    (APD, APD, True, True, "direct relay relay relay", "direct none none none"),
    (APD, None, True, True, "direct relay relay relay", "direct none none none"),
    (EI, None, True, True, "direct direct maybe relay", "direct direct maybe none"),
    (None, APD, True, True, "direct maybe relay relay", "direct maybe none none"),
    (None, EI, True, True, "direct maybe maybe relay", "direct maybe maybe none"),
    (None, EI, False, True, "direct direct direct relay", "direct direct direct none"),
    (None, APD, False, True, "direct direct relay relay", "direct direct none none"),
    (None, None, False, True, "direct direct maybe relay", "direct direct maybe none"),
    (None, None, None, False, "relay relay relay relay", "none none none none"),
    (None, None, None, None, "maybe maybe maybe relay", "maybe maybe maybe none"),
]


@pytest.mark.parametrize(("mapping", "filtering", "behind", "udp", "relayed", "alone"), OUTLOOKS)
def test_outlook(
    mapping: Behavior | None,
    filtering: Behavior | None,
    behind: bool | None,
    udp: bool | None,
    relayed: str,
    alone: str,
) -> None:
    nat = NatReport(mapping=mapping, filtering=filtering, behind_nat=behind, udp=udp)
    assert paths(observed(nat, turn=(RELAY_TCP_OK,))) == relayed
    assert paths(observed(nat, turn=())) == alone
    assert paths(observed(nat, turn=(REFUSED,))) == alone
    # An interrupted test has not shown that there is no relay.
    assert paths(observed(nat, turn=(REFUSED, INTERRUPTED))) == alone.replace("none", "maybe")
    assert paths(observed(nat, turn=(INTERRUPTED, RELAY_TCP_OK))) == relayed


def test_a_relay_over_udp_proves_udp() -> None:
    assert paths(observed(NatReport(), turn=(RELAY_OK,))) == "direct maybe maybe relay"


@pytest.mark.parametrize(
    "interfaces",
    [(), (Interface("lo", "127.0.0.1", "loopback"), Interface("eth0", "fe80::1%eth0", "link-local"))],
)
def test_without_a_network_there_is_no_path(interfaces: tuple[Interface, ...]) -> None:
    gone = replace(SILENT, error="unreachable: no route to the server")
    offline = Observations(interfaces=interfaces, servers=(gone,))
    assert [(item.path, item.why) for item in outlook(offline)] == [("none", "this host has no network address")] * 4
    assert verdict(offline, outlook(offline)).code == "BLOCKED"
    # What was reached, and what was cut short, speaks against it.
    assert paths(replace(offline, servers=(ANSWER,))) == "maybe maybe maybe none"
    assert paths(replace(offline, turn=(INTERRUPTED,))) == "maybe maybe maybe maybe"
    assert paths(replace(offline, turn=(RELAY_TCP_OK,))) == "maybe maybe maybe relay"


def test_ipv6_counts_where_ipv4_brings_nothing() -> None:
    six = NatReport(udp=True, behind_nat=False, filtering=APD)
    both = NatReports(ipv4=NatReport(udp=False), ipv6=six)
    found = outlook(Observations(nat=both))
    assert [item.path for item in found] == ["direct", "direct", "none", "none"]
    assert found[0].why == "over IPv6 only"
    assert [item.path for item in outlook(Observations(nat=NatReports(NAT, six)))][:2] == ["direct", "direct"]
    assert outlook(Observations(nat=NatReports(NAT, six)))[0].why == ""


@pytest.mark.parametrize(
    ("mapping", "filtering", "udp", "relay"),
    list(itertools.product([None, EI, AD, APD], [None, EI, AD, APD], [None, False, True], [False, True])),
)
def test_what_is_measured_never_gives_maybe_and_more_knowledge_never_contradicts(
    mapping: Behavior | None, filtering: Behavior | None, udp: bool | None, relay: bool
) -> None:
    turn = (RELAY_TCP_OK,) if relay else ()
    nat = NatReport(mapping=mapping, filtering=filtering, behind_nat=True, udp=udp)
    found = outlook(observed(nat, turn=turn))
    if None not in (mapping, filtering, udp):
        assert "maybe" not in [item.path for item in found]
    # Whatever is claimed with gaps stays true when the gaps are filled.
    for full in itertools.product(
        [mapping] if mapping else [EI, AD, APD],
        [filtering] if filtering else [EI, AD, APD],
        [False, True] if udp is None else [udp],
    ):
        known = NatReport(mapping=full[0], filtering=full[1], behind_nat=True, udp=full[2])
        for partial, whole in zip(found, outlook(observed(known, turn=turn)), strict=True):
            assert partial.path in ("maybe", whole.path)
