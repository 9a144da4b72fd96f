"""The NAT model for IP packets: what passes, what it looks like on the other side, and that sums are right."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.lab.gateway import Gateway
from icekit.lab.ip import Packet, parse
from icekit.nat import NatConfig
from icekit.nat_presets import PRESETS, preset
from icekit.net import Address
from icekit.report import Behavior
from tests.lab.packets import PROTOCOLS, checksums_hold, icmp_error, ip4, query, tcp, udp

INSIDE, SERVER = Address("192.168.77.2", 5000), Address("203.0.113.10", 3478)
OTHER = Address("203.0.113.11", 3478)
ROUTER, EXTERNAL = "192.168.77.1", "198.51.100.2"
MAPPED = Address(EXTERNAL, 5000)

PORT_RESTRICTED = NatConfig(filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT)


def gateway(config: NatConfig = PORT_RESTRICTED) -> Gateway:
    return Gateway(config, (EXTERNAL,) if config.translates else (), ROUTER, token_bytes=bytes)


def out(nat: Gateway, data: bytearray) -> Packet:
    passed = nat.outbound(data, 0.0)
    assert passed is not None
    packet = parse(passed[0])
    assert packet is not None
    assert not passed[1]
    assert checksums_hold(passed[0])
    return packet


def back(nat: Gateway, data: bytearray) -> Packet | None:
    passed = nat.inbound(data, 0.0)
    if passed is None:
        return None
    assert checksums_hold(passed)
    return parse(passed)


@pytest.mark.parametrize("build", PROTOCOLS)
def test_there_and_back(build) -> None:
    nat = gateway()
    left = out(nat, build(INSIDE, SERVER, b"ask"))
    assert (left.source, left.destination, left.payload, left.hops_left) == (MAPPED, SERVER, b"ask", 63)
    came = back(nat, build(SERVER, MAPPED, b"answer"))
    assert came is not None
    assert (came.source, came.destination, came.payload) == (SERVER, INSIDE, b"answer")
    assert back(nat, build(OTHER, MAPPED, b"stranger")) is None


def test_udp_and_tcp_have_mappings_of_their_own() -> None:
    nat = gateway(NatConfig())
    out(nat, udp(INSIDE, SERVER, b""))
    assert back(nat, tcp(SERVER, MAPPED, b"")) is None


def test_a_firewall_changes_nothing_but_the_hops() -> None:
    nat = gateway(preset("firewall").chain[0])
    host = Address(EXTERNAL, 7)
    assert out(nat, udp(host, SERVER, b"ask")).source == host
    assert back(nat, udp(OTHER, host, b"stranger")) is None
    came = back(nat, udp(SERVER, host, b"answer"))
    assert came is not None
    assert came.destination == host


def test_ipv6_is_filtered_and_not_translated() -> None:
    nat = gateway()
    host, server = Address("2001:db8:2::2", 5000), Address("2001:db8:1::10", 3478)
    assert out(nat, udp(host, server, b"ask")).source == host
    assert back(nat, udp(Address("2001:db8:1::11", 3478), host, b"stranger")) is None
    assert back(nat, udp(server, host, b"answer")) is not None


def test_who_sends_to_the_nats_own_address_comes_back() -> None:
    nat = gateway()
    second = Address("192.168.77.3", 6000)
    out(nat, udp(INSIDE, SERVER, b""))
    passed = nat.outbound(udp(second, MAPPED, b"over the NAT"), 0.0)
    assert passed is not None
    packet = parse(passed[0])
    assert packet is not None
    assert passed[1]
    assert (packet.source, packet.destination) == (Address(EXTERNAL, 6000), INSIDE)
    assert checksums_hold(passed[0])


def test_an_alg_writes_the_inside_address_into_what_comes_in() -> None:
    nat = gateway(preset("alg").chain[0])
    out(nat, udp(INSIDE, SERVER, b""))
    came = back(nat, udp(SERVER, MAPPED, b"you are " + bytes([198, 51, 100, 2])))
    assert came is not None
    assert came.payload == b"you are " + bytes([192, 168, 77, 2])


def test_nobody_listens_outside() -> None:
    nat = gateway()
    sent = out(nat, udp(INSIDE, SERVER, b"ask")).data
    error = back(nat, icmp_error(SERVER.host, EXTERNAL, bytes(sent)))
    assert error is not None
    assert error.quoted is not None
    assert (error.source.host, error.destination.host) == (SERVER.host, INSIDE.host)
    assert (error.quoted.source, error.quoted.destination) == (INSIDE, SERVER)


def test_a_router_on_the_way_stays_the_source_of_its_error() -> None:
    nat = gateway()
    sent = out(nat, tcp(INSIDE, SERVER, b"ask")).data
    error = back(nat, icmp_error("192.0.2.1", EXTERNAL, bytes(sent[:28]), kind=11, code=0))
    assert error is not None
    assert (error.source.host, error.destination.host) == ("192.0.2.1", INSIDE.host)


def test_nobody_listens_inside() -> None:
    nat = gateway()
    out(nat, udp(INSIDE, SERVER, b"ask"))
    came = back(nat, udp(SERVER, MAPPED, b"late"))
    assert came is not None
    error = out(nat, icmp_error(INSIDE.host, SERVER.host, bytes(came.data)))
    assert error.quoted is not None
    assert (error.source.host, error.destination.host) == (EXTERNAL, SERVER.host)
    assert (error.quoted.source, error.quoted.destination) == (SERVER, MAPPED)


def test_an_error_about_what_was_never_sent_does_not_pass() -> None:
    nat = gateway()
    out(nat, udp(INSIDE, SERVER, b"ask"))
    assert back(nat, icmp_error(OTHER.host, EXTERNAL, bytes(udp(MAPPED, OTHER, b"")))) is None


def test_an_echo_of_icmp_is_mapped_like_a_port() -> None:
    nat = gateway()
    left = out(nat, query(8, INSIDE.host, SERVER.host, 5000))
    assert left.source == MAPPED
    came = back(nat, query(0, SERVER.host, EXTERNAL, 5000))
    assert came is not None
    assert came.destination == INSIDE
    assert back(nat, query(8, OTHER.host, EXTERNAL, 5000)) is None
    second = out(nat, query(8, "192.168.77.3", SERVER.host, 5000))
    assert second.source == Address(EXTERNAL, 5001)


def test_where_udp_is_blocked_queries_are_too() -> None:
    for name in ("udp-blocked", "tcp-443-only", "blocked"):
        nat = gateway(preset(name).chain[0])
        assert nat.outbound(query(8, EXTERNAL, SERVER.host, 1), 0.0) is None


def test_fragments_follow_the_first() -> None:
    nat = gateway()
    first = udp(INSIDE, SERVER, b"x" * 16)
    first[6:8] = struct.pack("!H", 0x2000)
    last = ip4(17, INSIDE.host, SERVER.host, b"y" * 8)
    last[6:8] = struct.pack("!H", 3)
    assert nat.outbound(bytearray(last), 0.0) is None
    assert nat.outbound(first, 0.0) is not None
    passed = nat.outbound(last, 0.0)
    assert passed is not None
    packet = parse(passed[0])
    assert packet is not None
    assert (packet.source.host, bytes(packet.data[20:])) == (EXTERNAL, b"y" * 8)


def test_the_fragments_it_remembers_are_bounded() -> None:
    nat = gateway()
    for number in range(1000):
        first = udp(INSIDE, SERVER, b"x" * 16)
        first[4:8] = struct.pack("!HH", number, 0x2000)
        nat.outbound(first, 0.0)
    assert len(nat._fragments) == 256


def test_a_packet_without_hops_is_answered_inside_only() -> None:
    nat = gateway()
    data = udp(INSIDE, SERVER, b"ask")
    data[8] = 1
    passed = nat.outbound(data, 0.0)
    assert passed is not None
    error = parse(passed[0])
    assert error is not None
    assert error.quoted is not None
    assert passed[1]
    assert (error.source.host, error.destination, error.quoted.source) == (ROUTER, Address(INSIDE.host, 0), INSIDE)
    out(nat, udp(INSIDE, SERVER, b"ask"))
    data = udp(SERVER, MAPPED, b"answer")
    data[8] = 1
    assert nat.inbound(data, 0.0) is None


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=80), st.sampled_from([1, 6, 17, 47])), max_size=5),
    st.sampled_from([name for name in PRESETS if PRESETS[name].chain]),
)
def test_hostile_bytes(packets, name: str) -> None:
    nat = gateway(preset(name).chain[0])
    for outwards, data, protocol in packets:
        buffer = bytearray(data)
        if len(buffer) > 20:
            buffer[0], buffer[9] = 0x45, protocol
        (nat.outbound if outwards else nat.inbound)(buffer, 0.0)
