"""What can be read off the observations of a probe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icekit.net import Transport
from icekit.probe_observations import (
    SLOW_RTT,
    Observations,
    failed_hosts,
    families,
    has_turn,
    host_of,
    is_offline,
    parse_url,
    queries_by_name,
    relay_works,
    relays_over,
    slow_rtt,
    udp_works,
    url_transport,
)
from icekit.report import Interface, NatReport, NatReports, StageName, TurnReport
from tests.observations import (
    ANSWER,
    HEALTHY,
    NAT,
    REFUSED,
    RELAY_OK,
    RELAY_TCP_OK,
    SILENT,
    STUN,
    TURN,
    configured,
    dns,
    observed,
)

INTERRUPTED = TurnReport(RELAY_OK.url, False)
BLOCKED = NatReport(udp=False)


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("stun:192.0.2.1", Transport.UDP),
        ("turn:192.0.2.1?transport=tcp", Transport.TCP),
        ("turns:192.0.2.1", Transport.TLS),
        ("turn:192.0.2.1?transport=pigeon", None),
        ("https://192.0.2.1", None),
    ],
)
def test_how_the_server_of_a_url_is_reached(url: str, transport: Transport | None) -> None:
    assert url_transport(url) is transport
    assert (parse_url(url) is None) == url.startswith("https")


@pytest.mark.parametrize(
    ("address", "host"), [("192.0.2.1:3478", "192.0.2.1"), ("[::1]:3478", "::1"), ("nonsense", None), (None, None)]
)
def test_the_host_of_an_address(address: str | None, host: str | None) -> None:
    assert host_of(address) == host


def test_only_families_that_the_host_has() -> None:
    assert [name for name, _ in families(NatReports(ipv4=NAT))] == ["IPv4"]
    assert [name for name, _ in families(NatReports(ipv4=NAT, ipv6=NAT))] == ["IPv4", "IPv6"]


@pytest.mark.parametrize(
    ("turn", "works"),
    [
        ((), False),
        ((REFUSED,), False),
        ((REFUSED, RELAY_OK), True),
        ((REFUSED, INTERRUPTED), None),
        ((INTERRUPTED, RELAY_OK), True),
    ],
)
def test_whether_a_relay_works(turn: tuple[TurnReport, ...], works: bool | None) -> None:
    assert relay_works(turn) is works


def test_over_which_transport_a_relay_works() -> None:
    assert relays_over((RELAY_TCP_OK,))
    assert relays_over((RELAY_TCP_OK,), Transport.UDP, Transport.TCP)
    assert not relays_over((RELAY_TCP_OK,), Transport.UDP)
    assert not relays_over((REFUSED,))


@pytest.mark.parametrize(
    ("seen", "works"),
    [
        (observed(), True),
        (observed(NatReport(), turn=()), None),
        (observed(BLOCKED, turn=()), False),
        (observed(BLOCKED, turn=(RELAY_TCP_OK,)), False),
        (observed(BLOCKED, turn=(RELAY_OK,)), True),
        (observed(nat=None, turn=()), None),
    ],
)
def test_whether_udp_passes(seen: Observations, works: bool | None) -> None:
    assert udp_works(seen) is works


def test_a_name_with_its_last_dot_is_the_same_name() -> None:
    queries = (*dns("a.example", "192.0.2.1"), *dns("b.example"), *dns("a.example.", "192.0.2.2"))
    assert [(name, len(found)) for name, found in queries_by_name(queries)] == [("a.example", 2), ("b.example", 1)]


def test_hosts_whose_name_leads_nowhere() -> None:
    unresolved = TurnReport("turn:gone.example.org", False, StageName.RESOLVE, "TURN-RESOLVE")
    assert failed_hosts(observed(turn=(unresolved, REFUSED))) == {"gone.example.org"}


def test_whether_a_relay_was_asked_for() -> None:
    assert has_turn(HEALTHY)
    assert has_turn(observed(turn=(), configured=configured(TURN)))
    assert not has_turn(observed(turn=(), configured=configured(STUN)))


@pytest.mark.parametrize(("rtt", "slow"), [(SLOW_RTT + 0.1, SLOW_RTT + 0.1), (SLOW_RTT, None), (None, None)])
def test_the_fastest_path_decides_what_is_slow(rtt: float | None, slow: float | None) -> None:
    assert slow_rtt(observed(servers=(replace(ANSWER, rtt=rtt),), turn=())) == slow
    assert slow_rtt(observed(servers=(replace(ANSWER, rtt=9.0), replace(ANSWER, rtt=0.1)), turn=())) is None


def test_a_host_with_nothing_but_loopback_is_offline() -> None:
    loopback = Interface("lo", "127.0.0.1", "loopback")
    assert is_offline(Observations(interfaces=(loopback,), servers=(SILENT,)))
    assert not is_offline(Observations(interfaces=(loopback,), servers=(ANSWER,)))
    assert not is_offline(observed(servers=(SILENT,)))
