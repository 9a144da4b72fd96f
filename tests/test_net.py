"""Addresses as text, and the table of address classes at the border of every range."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError
from icekit.net import Address, AddressClass, Transport, canonical_host, classify_host, scope_of

# first and last address of a range, then the class just before and just after it
BORDERS = [
    ("0.0.0.0", "0.255.255.255", AddressClass.UNSPECIFIED, None, AddressClass.GLOBAL),
    ("10.0.0.0", "10.255.255.255", AddressClass.PRIVATE, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("100.64.0.0", "100.127.255.255", AddressClass.CGNAT, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("127.0.0.0", "127.255.255.255", AddressClass.LOOPBACK, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("169.254.0.0", "169.254.255.255", AddressClass.LINK_LOCAL, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("172.16.0.0", "172.31.255.255", AddressClass.PRIVATE, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("192.0.0.0", "192.0.0.7", AddressClass.PRIVATE, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("192.0.2.0", "192.0.2.255", AddressClass.DOCUMENTATION, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("192.168.0.0", "192.168.255.255", AddressClass.PRIVATE, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("198.18.0.0", "198.19.255.255", AddressClass.BENCHMARK, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("198.51.100.0", "198.51.100.255", AddressClass.DOCUMENTATION, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("203.0.113.0", "203.0.113.255", AddressClass.DOCUMENTATION, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("224.0.0.0", "239.255.255.255", AddressClass.MULTICAST, AddressClass.GLOBAL, AddressClass.RESERVED),
    ("240.0.0.0", "255.255.255.255", AddressClass.RESERVED, AddressClass.MULTICAST, None),
    ("::", "::", AddressClass.UNSPECIFIED, None, AddressClass.LOOPBACK),
    ("::1", "::1", AddressClass.LOOPBACK, AddressClass.UNSPECIFIED, AddressClass.GLOBAL),
    ("64:ff9b::", "64:ff9b::ffff:ffff", AddressClass.NAT64, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", AddressClass.NAT64, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("100::", "100::ffff:ffff:ffff:ffff", AddressClass.RESERVED, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass.TUNNEL, AddressClass.GLOBAL, AddressClass.GLOBAL),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", AddressClass.BENCHMARK, AddressClass.GLOBAL, AddressClass.GLOBAL),
    (
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        AddressClass.DOCUMENTATION,
        AddressClass.GLOBAL,
        AddressClass.GLOBAL,
    ),
    (
        "2002::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        AddressClass.TUNNEL,
        AddressClass.GLOBAL,
        AddressClass.GLOBAL,
    ),
    (
        "3fff::",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        AddressClass.DOCUMENTATION,
        AddressClass.GLOBAL,
        AddressClass.GLOBAL,
    ),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass.ULA, AddressClass.GLOBAL, AddressClass.GLOBAL),
    (
        "fe80::",
        "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        AddressClass.LINK_LOCAL,
        AddressClass.GLOBAL,
        AddressClass.PRIVATE,
    ),
    (
        "fec0::",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        AddressClass.PRIVATE,
        AddressClass.LINK_LOCAL,
        AddressClass.MULTICAST,
    ),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AddressClass.MULTICAST, AddressClass.PRIVATE, None),
]


@pytest.mark.parametrize(("first", "last", "kind", "before", "after"), BORDERS, ids=[row[0] for row in BORDERS])
def test_class_at_the_borders(
    first: str, last: str, kind: AddressClass, before: AddressClass | None, after: AddressClass | None
) -> None:
    assert classify_host(first) is kind
    assert classify_host(last) is kind
    if before is not None:
        assert classify_host(str(ipaddress.ip_address(first) - 1)) is before
    if after is not None:
        assert classify_host(str(ipaddress.ip_address(last) + 1)) is after


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("8.8.8.8", AddressClass.GLOBAL),
        ("2a00:1450:4001:80b::200e", AddressClass.GLOBAL),
        ("::ffff:192.168.1.1", AddressClass.PRIVATE),
        ("::ffff:8.8.8.8", AddressClass.GLOBAL),
        ("fe80::1%eth0", AddressClass.LINK_LOCAL),
        ("e7b1c1f0-1d2b-4a52-9d3c-0f9f2f7e7d11.local", AddressClass.MDNS),
        ("Printer.LOCAL.", AddressClass.MDNS),
        ("stun.example.org", AddressClass.NAME),
        ("local", AddressClass.NAME),
        ("mylocal", AddressClass.NAME),
        ("010.0.0.1", AddressClass.NAME),
        ("1.2.3", AddressClass.NAME),
        ("", AddressClass.NAME),
        ("::1::", AddressClass.NAME),
        ("१.२.३.४", AddressClass.NAME),
    ],
)
def test_class_of_other_hosts(host: str, kind: AddressClass) -> None:
    assert classify_host(host) is kind


@given(st.text(max_size=40))
def test_class_of_any_text(text: str) -> None:
    assert classify_host(text) in AddressClass


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", 0),
        ("::1", 0),
        ("0.0.0.0", 0),
        ("169.254.1.1", 1),
        ("fe80::1", 1),
        ("192.168.0.1", 2),
        ("192.0.0.4", 2),
        ("100.64.0.1", 2),
        ("fd00::1", 2),
        ("203.0.113.1", 3),
        ("198.18.0.1", 3),
        ("8.8.8.8", 3),
        ("2a00::1", 3),
    ],
)
def test_scope(host: str, scope: int) -> None:
    assert scope_of(host) == scope


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1:3478", Address("192.0.2.1", 3478)),
        ("192.0.2.1:0", Address("192.0.2.1", 0)),
        ("192.0.2.1:65535", Address("192.0.2.1", 65535)),
        ("[2001:DB8:0:0::1]:3478", Address("2001:db8::1", 3478)),
        ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1)),
        ("[::ffff:192.0.2.1]:1", Address("192.0.2.1", 1)),
    ],
)
def test_parse(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:-1",
        "192.0.2.1:+1",
        "192.0.2.1: 1",
        "192.0.2.1:65536",
        "192.0.2.1:²",
        "192.0.2.1:٣",
        "192.0.2.1:" + "9" * 5000,
        "192.0.2.256:1",
        "192.0.2.01:1",
        " 192.0.2.1:1",
        "192.0.2.1:1\n",
        "2001:db8::1",
        "2001:db8::1:3478",
        "[2001:db8::1]",
        "[2001:db8::1:3478",
        "[2001:db8::1]]:3478",
        "[192.0.2.1]:3478",
        "[]:1",
        "example.org:3478",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)
    assert "address" in str(caught.value)


@given(st.text(max_size=30))
def test_parse_any_text(text: str) -> None:
    try:
        address = Address.parse(text)
    except ConfigError:
        return
    assert Address.parse(str(address)) == address


@given(st.ip_addresses(), st.integers(0, 65535))
def test_parse_reads_what_str_writes(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    address = Address(canonical_host(str(host)), port)
    assert Address.parse(str(address)) == address
    assert address.family == (6 if ":" in address.host else 4)


def test_canonical_host_refuses_names() -> None:
    with pytest.raises(ValueError, match=r"example\.org"):
        canonical_host("example.org")


def test_which_transports_are_streams() -> None:
    assert [transport for transport in Transport if transport.is_stream] == [Transport.TCP, Transport.TLS]
