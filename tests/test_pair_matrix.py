"""What pairs of candidates need, in a table, and what never makes a pair."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.candidate import Candidate
from icekit.pair_matrix import MEANINGS, Reach, distinct, family_of, is_usable, networks_differ, pair_matrix, reach


def host(address: str, port: int = 5000, rest: str = "", transport: str = "udp", component: int = 1) -> Candidate:
    return Candidate.parse(f"candidate:1 {component} {transport} 1 {address} {port} typ host{rest}", strict=False)


def srflx(address: str) -> Candidate:
    return Candidate.parse(f"candidate:2 1 udp 1 {address} 5000 typ srflx raddr 0.0.0.0 rport 0")


def relay(address: str) -> Candidate:
    return Candidate.parse(f"candidate:3 1 udp 1 {address} 5000 typ relay raddr 0.0.0.0 rport 0")


ACTIVE, PASSIVE = " tcptype active", " tcptype passive"
MDNS = host("2f9e0e7c-6b5e-4d3c-9d8e-0a1b2c3d4e5f.local")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (host("8.8.8.8"), host("1.1.1.1"), Reach.DIRECT),
        (host("2a00::1"), host("2a01::1"), Reach.DIRECT),
        (host("192.168.1.2"), host("1.1.1.1"), Reach.NAT),
        (srflx("8.8.8.8"), srflx("1.1.1.1"), Reach.NAT),
        (host("192.168.1.2"), srflx("1.1.1.1"), Reach.NAT),
        (srflx("8.8.8.8"), srflx("8.8.8.8"), Reach.HAIRPIN),
        (host("192.168.1.2"), host("10.0.0.2"), Reach.LAN),
        (MDNS, host("10.0.0.2"), Reach.LAN),
        (MDNS, srflx("1.1.1.1"), Reach.NAT),
        (host("100.64.1.1"), host("100.64.1.2"), Reach.LAN),
        (host("172.17.0.2"), host("172.17.0.2"), Reach.HOST),
        (host("127.0.0.1"), host("127.0.0.1"), Reach.HOST),
        (host("127.0.0.1"), host("8.8.8.8"), Reach.NEVER),
        (host("169.254.1.1"), host("169.254.1.2"), Reach.LAN),
        (host("fe80::1"), host("2a00::1"), Reach.NEVER),
        (relay("9.9.9.9"), host("10.0.0.2"), Reach.RELAY),
        (relay("9.9.9.9"), MDNS, Reach.RELAY),
        (relay("9.9.9.9"), relay("9.9.9.9"), Reach.RELAY),
        (relay("10.0.0.9"), host("8.8.8.8"), Reach.LAN),
        (relay("9.9.9.9"), host("127.0.0.1"), Reach.NEVER),
        (host("0.0.0.0"), host("8.8.8.8"), Reach.NEVER),
        (host("8.8.8.8", port=0), host("1.1.1.1"), Reach.NEVER),
        # No pair at all.
        (host("8.8.8.8"), host("2a00::1"), None),
        (host("8.8.8.8"), host("1.1.1.1", transport="tcp", rest=PASSIVE), None),
        (host("8.8.8.8"), host("1.1.1.1", component=2), None),
        (
            host("8.8.8.8", transport="tcp", rest=ACTIVE, port=9),
            host("1.1.1.1", transport="tcp", rest=PASSIVE),
            Reach.DIRECT,
        ),
        (
            host("8.8.8.8", transport="tcp", rest=PASSIVE),
            host("1.1.1.1", transport="tcp", rest=PASSIVE),
            None,
        ),
        (host("8.8.8.8", transport="tcp"), host("1.1.1.1", transport="tcp", rest=PASSIVE), None),
    ],
)
def test_reach(one: Candidate, other: Candidate, expected: Reach | None) -> None:
    assert reach(one, other) == expected
    assert reach(other, one) == expected


def test_every_reach_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Reach)


def test_the_family_of_a_name_is_not_known() -> None:
    assert [family_of(item) for item in (host("8.8.8.8"), host("2a00::1"), MDNS)] == [4, 6, None]


def test_an_active_tcp_candidate_may_have_no_port() -> None:
    assert is_usable(host("8.8.8.8", transport="tcp", rest=ACTIVE, port=0))
    assert not is_usable(host("8.8.8.8", port=0))


def test_what_differs_only_in_port_or_component_counts_once_and_hosts_come_first() -> None:
    told = [relay("9.9.9.9"), host("10.0.0.2"), host("10.0.0.2", port=6000), host("10.0.0.2", component=2)]
    assert distinct(told) == (told[1], told[0])
    assert distinct([host("8.8.8.8", transport="tcp"), host("8.8.8.8")])[0].transport == "udp"


def test_the_matrix_has_the_sides_in_their_places() -> None:
    matrix = pair_matrix([host("10.0.0.2"), srflx("8.8.8.8")], [relay("9.9.9.9")])
    assert matrix.cells == ((Reach.RELAY,), (Reach.RELAY,))
    assert matrix.found == {Reach.RELAY}
    assert pair_matrix([], [host("10.0.0.2")]).found == frozenset()


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("192.168.1.2", "192.168.2.2", True),
        ("192.168.1.2", "192.168.1.3", False),
        ("fd00:1::2", "fd00:1::3", False),
        ("fd00:1::2", "fd00:2::3", True),
        # Nobody knows in which network a name is, and public addresses do not count.
        ("2f9e0e7c-6b5e-4d3c-9d8e-0a1b2c3d4e5f.local", "192.168.1.3", False),
        ("8.8.8.8", "192.168.1.3", False),
    ],
)
def test_networks(one: str, other: str, differ: bool) -> None:
    assert networks_differ([host(one)], [host(other)]) is differ


addresses = st.ip_addresses().map(str) | st.sampled_from(["a.local", "a.example", "fe80::1%eth0", "0.0.0.0", "::"])
candidates = st.lists(
    st.builds(
        "candidate:1 {} {} 1 {} {} typ {} raddr {} rport 1{}".format,
        st.integers(1, 2),
        st.sampled_from(["udp", "tcp", "UDP", "ssltcp"]),
        addresses,
        st.sampled_from([0, 9, 5000]),
        st.sampled_from(["host", "srflx", "prflx", "relay", "other"]),
        addresses,
        st.sampled_from(["", ACTIVE, PASSIVE, " tcptype so"]),
    ).map(lambda line: Candidate.parse(line, strict=False)),
    max_size=4,
)


@settings(deadline=None)
@given(candidates, candidates)
def test_the_matrix_is_the_same_from_both_sides(one: list[Candidate], other: list[Candidate]) -> None:
    there, back = pair_matrix(one, other), pair_matrix(other, one)
    assert there.cells == tuple(zip(*back.cells, strict=True)) or not (one and other)
    assert networks_differ(one, other) is networks_differ(other, one)
