"""Packets are rewritten so that checksums computed from scratch agree, and hostile bytes raise nothing."""

from __future__ import annotations

import ipaddress
import struct

from hypothesis import example, given
from hypothesis import strategies as st

from icekit.lab.ip import TIME_EXCEEDED, parse, refusal
from icekit.net import Address, Transport
from tests.lab.packets import PROTOCOLS, checksums_hold, icmp_error, ip4, ip6, query, tcp, udp

A, B = Address("192.168.77.2", 5000), Address("203.0.113.10", 3478)
C, D = Address("198.51.100.2", 40_000), Address("203.0.113.11", 3479)
A6, B6 = Address("2001:db8::2", 5000), Address("2001:db8::10", 3478)
C6 = Address("2001:db8:2::ffff", 9)

hosts = st.ip_addresses(v=4).map(str)
hosts6 = st.ip_addresses(v=6).filter(lambda host: host.ipv4_mapped is None).map(str)
ports = st.integers(0, 65_535)
addresses = st.builds(Address, hosts, ports)
addresses6 = st.builds(Address, hosts6, ports)


def test_what_is_read() -> None:
    packet = parse(udp(A, B, b"hello"))
    assert packet is not None
    assert (packet.source, packet.destination, packet.transport) == (A, B, Transport.UDP)
    assert (packet.payload, packet.hops_left, packet.fragment, packet.is_query, packet.quoted) == (
        b"hello",
        64,
        None,
        False,
        None,
    )
    packet = parse(tcp(A6, B6, b"hello"))
    assert packet is not None
    assert (packet.source, packet.destination, packet.transport) == (A6, B6, Transport.TCP)


@given(st.sampled_from(PROTOCOLS), addresses, addresses, addresses, addresses, st.binary(max_size=40))
def test_ipv4_with_other_ends(protocol, source, destination, other_source, other_destination, payload) -> None:
    data = protocol(source, destination, payload)
    packet = parse(data)
    packet.spend_hop()
    packet.readdress(other_source, other_destination)
    again = parse(data)
    assert (again.source, again.destination) == (packet.source, packet.destination) == (other_source, other_destination)
    assert (again.payload, again.hops_left) == (payload, 63)
    assert checksums_hold(data)


@given(st.sampled_from(PROTOCOLS), addresses6, addresses6, addresses6, addresses6, st.binary(max_size=40))
@example(udp, *[Address("::1:0", 9)] * 4, b"")
def test_ipv6_with_other_ends(protocol, source, destination, other_source, other_destination, payload) -> None:
    data = protocol(source, destination, payload)
    packet = parse(data)
    packet.spend_hop()
    packet.readdress(other_source, other_destination)
    again = parse(data)
    assert (again.source, again.destination) == (other_source, other_destination)
    assert (again.payload, again.hops_left) == (payload, 63)
    assert checksums_hold(data)


def test_a_datagram_without_a_checksum_gets_none() -> None:
    data = udp(A, B, b"hello")
    data[26:28] = b"\0\0"
    packet = parse(data)
    assert packet is not None
    packet.readdress(C, D)
    assert data[26:28] == b"\0\0"


@given(st.binary(max_size=40).map(lambda payload: payload + b"\1\2"), st.binary(min_size=2, max_size=2))
def test_another_payload_of_the_same_length(payload: bytes, new: bytes) -> None:
    for build in PROTOCOLS:
        data = build(A, B, payload)
        packet = parse(data)
        assert packet is not None
        packet.replace_payload(payload[:-2] + new)
        assert packet.payload == payload[:-2] + new
        assert checksums_hold(data)


def test_a_query_changes_its_identifier() -> None:
    data = query(8, A.host, B.host, 77)
    packet = parse(data)
    assert packet is not None
    assert (packet.source, packet.destination) == (Address(A.host, 77), Address(B.host, 77))
    assert (packet.is_query, packet.transport) == (True, None)
    packet.readdress(Address(C.host, 4000), Address(B.host, 0))
    again = parse(data)
    assert again is not None
    assert (again.source, again.destination.host) == (Address(C.host, 4000), B.host)
    assert checksums_hold(data)


@given(addresses, addresses, addresses, hosts, st.integers(28, 60))
def test_an_error_changes_with_what_it_quotes(
    inside: Address, server: Address, outside: Address, reporter, cut
) -> None:
    for build in PROTOCOLS:
        # A router that quotes no more than it must (RFC 792).
        data = icmp_error(reporter, outside.host, build(outside, server, b"x" * 20)[:cut])
        packet = parse(data)
        assert packet is not None
        assert packet.quoted is not None
        packet.readdress_error(reporter, inside.host, inside, server)
        again = parse(data)
        assert again is not None
        assert again.quoted is not None
        assert (again.source.host, again.destination.host) == (reporter, inside.host)
        assert (again.quoted.source, again.quoted.destination) == (inside, server)
        assert checksums_hold(data)


def test_an_error_about_what_somebody_else_sent_is_none() -> None:
    assert parse(icmp_error(B.host, A.host, udp(C, B, b""))) is None
    assert parse(icmp_error(B.host, A.host, icmp_error(A.host, B.host, udp(B, A, b"")))) is None


def test_fragments_of_one_packet_belong_together() -> None:
    first = udp(A, B, b"x" * 16)
    first[6:8] = struct.pack("!H", 0x2000)
    last = ip4(17, A.host, B.host, b"y" * 8)
    last[6:8] = struct.pack("!H", 3)
    one, other = parse(first), parse(last)
    assert one is not None
    assert other is not None
    assert one.fragment == other.fragment is not None
    assert (one.is_first, one.source, other.is_first, other.source) == (True, A, False, Address(A.host, 0))
    last[4:6] = b"zz"
    third = parse(last)
    assert third is not None
    assert third.fragment != one.fragment


def test_a_later_fragment_has_no_ports_to_change() -> None:
    data = ip4(17, A.host, B.host, b"payload!")
    data[6:8] = struct.pack("!H", 3)
    packet = parse(data)
    assert packet is not None
    packet.readdress(Address(C.host, 0), Address(B.host, 0))
    assert data[20:] == b"payload!"
    assert str(ipaddress.ip_address(bytes(data[12:16]))) == C.host


def test_a_refusal() -> None:
    packet = parse(udp(A, B, b"x" * 1000))
    assert packet is not None
    data = refusal(packet, "192.168.77.1", TIME_EXCEEDED)
    error = parse(data)
    assert error is not None
    assert error.quoted is not None
    assert (error.source.host, error.destination.host) == ("192.168.77.1", A.host)
    assert (error.quoted.source, error.quoted.destination) == (A, B)
    assert (len(data), data[20], data[21]) == (576, 11, 0)
    assert checksums_hold(data)


def test_what_is_no_packet() -> None:
    whole = udp(A, B, b"")
    for size in range(len(whole)):
        assert parse(whole[:size]) is None
    whole = tcp(A6, B6, b"")
    for size in range(len(whole)):
        assert parse(whole[:size]) is None
    assert parse(ip4(47, A.host, B.host, b"x" * 40)) is None
    assert parse(ip6(0, A6.host, B6.host, b"x" * 40)) is None


@given(st.binary(max_size=100), st.sampled_from([0x45, 0x46, 0x4F, 0x60]), st.sampled_from([1, 6, 17, 58]))
def test_hostile_bytes(data: bytes, first: int, protocol: int) -> None:
    buffer = bytearray(data)
    if len(buffer) >= 40:
        buffer[0] = first
        buffer[6 if first == 0x60 else 9] = protocol
    packet = parse(buffer)
    if packet is None or packet.hops_left == 0:
        return
    size = len(buffer)
    six = packet.source.family == 6
    ends = (C6, B6) if six else (C, D)
    packet.spend_hop()
    if packet.quoted is not None:
        packet.readdress_error(ends[0].host, ends[1].host, ends[1], ends[0])
    else:
        packet.readdress(*ends)
    assert len(buffer) == size
