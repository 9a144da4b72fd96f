"""What reports, presets and descriptions tell of one end of a call."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError
from icekit.nat_presets import PRESETS
from icekit.net import Transport
from icekit.report import (
    Interface,
    NatReport,
    NatReports,
    PortmapReport,
    ProbeReport,
    ServerReport,
    Severity,
    TurnReport,
    Verdict,
    VerdictCode,
    to_dict,
)
from icekit.sdp import read_sdp
from icekit.sides import Relay, Side, read_side

VERDICT = Verdict(VerdictCode.OK, Severity.OK, "fine")
REPORT = ProbeReport(
    0.4,
    VERDICT,
    interfaces=(
        Interface("eth0", "192.168.1.2", "private", "ethernet"),
        Interface("lo", "127.0.0.1", "loopback", "loopback"),
        Interface("wg0", "10.9.0.1", "private", "vpn"),
        Interface("eth0", "fe80::1%eth0", "link-local", "ethernet"),
    ),
    nat=NatReports(ipv4=NatReport(udp=True, mapped_addresses=("198.51.100.2:40112", "rubbish"))),
    servers=(
        ServerReport("stun:a", "203.0.113.10:3478", "udp", True, 0.03, "198.51.100.3:1"),
        ServerReport("stun:a", "203.0.113.10:3479", "udp", True, 0.02),
        ServerReport("stun:a", "203.0.113.10:443", "tcp", True, None),
        ServerReport("stun:b", None, "udp", False),
    ),
    turn=(
        TurnReport(
            "turn:a?transport=tcp", True, relayed_address="203.0.113.10:50000", server_address="203.0.113.10:3478"
        ),
        TurnReport(
            "turns:b", True, relayed_address="[2001:db8::1]:50000", server_address="203.0.113.99:5349", rtt=0.08
        ),
        TurnReport("turn:c", False),
    ),
    portmap=PortmapReport("192.168.1.1", upnp=False, nat_pmp=True),
)


def test_a_report() -> None:
    side = Side.from_report(REPORT)
    assert side.nat == REPORT.nat
    assert side.relays == (
        Relay(Transport.TCP, 4, "203.0.113.10"),
        Relay(Transport.TLS, 6, "203.0.113.99"),
    )
    # Through the relay and back is twice the way to the server and back.
    assert side.rtts == {"203.0.113.10": 0.02, "203.0.113.99": 0.04}
    assert side.local_hosts == {"192.168.1.2"}
    assert side.public_hosts == {"198.51.100.2", "198.51.100.3"}
    assert (side.tcp, side.port_mapping, side.reflexive) == (True, True, True)
    assert side.nat_of(4) is REPORT.nat.ipv4
    assert side.nat_of(6) is None


def test_tcp_is_ruled_out_only_by_failures() -> None:
    failed = ServerReport("stun:a", None, "tcp", False)
    unknown = ServerReport("stun:a", None, "tls", None)
    assert Side.from_report(ProbeReport(0.1, VERDICT)).tcp is None
    assert Side.from_report(ProbeReport(0.1, VERDICT, servers=(failed,))).tcp is False
    assert Side.from_report(ProbeReport(0.1, VERDICT, servers=(failed, unknown))).tcp is None


def test_a_relay_over_udp_proves_that_udp_works() -> None:
    nat = NatReports(ipv4=NatReport(), ipv6=NatReport(udp=False))
    turn = TurnReport("turn:a", True, server_address="203.0.113.10:3478")
    side = Side.from_report(ProbeReport(0.1, VERDICT, nat=nat, turn=(turn,)))
    assert side.nat == NatReports(ipv4=NatReport(udp=True), ipv6=NatReport(udp=False))
    for other in (
        replace(turn, ok=False),
        replace(turn, url="turn:a?transport=tcp"),
        replace(turn, server_address="[2001:db8::1]:3478"),
        replace(turn, server_address=None),
    ):
        assert Side.from_report(ProbeReport(0.1, VERDICT, nat=nat, turn=(other,))).nat == nat


URLS = ("turn:192.0.2.1?transport=udp", "turn:192.0.2.1?transport=tcp", "turns:192.0.2.1:443")


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("symmetric", ["udp", "tcp", "tls"]),
        ("udp-blocked", ["tcp", "tls"]),
        ("tcp-443-only", ["tls"]),
        ("blocked", []),
    ],
)
def test_a_preset_has_the_relays_that_its_network_lets_through(name: str, passes: list[str]) -> None:
    assert [relay.transport for relay in Side.from_preset(name, URLS).relays] == passes
    assert Side.from_preset(name).relays == ()


def test_every_preset_is_a_side() -> None:
    for name in PRESETS:
        nat = Side.from_preset(name).nat.ipv4
        assert nat is not None
        assert nat.udp is not None


def test_wrong_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="'cone' is no NAT preset; there are: open, full-cone"):
        Side.from_preset("cone")
    with pytest.raises(ConfigError, match="server URI, column"):
        Side.from_preset("open", ["turn//x"])


def sdp(*candidates: str) -> str:
    lines = ["v=0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 22]
    return "\r\n".join([*lines, *(f"a=candidate:1 1 {candidate}" for candidate in candidates), ""])


HOST = "udp 2130706431 192.168.1.9 5000 typ host"
PUBLIC = "udp 2130706431 9.9.9.9 5000 typ host"
MDNS = "udp 2130706431 0a0a0a0a-0000-4000-8000-000000000000.local 5000 typ host"
SRFLX = "udp 1694498815 198.51.100.7 6000 typ srflx raddr 192.168.1.9 rport 5000"
RELAYED = "udp 1000 203.0.113.10 7000 typ relay raddr 198.51.100.7 rport 6000"
TCP = "tcp 1000 192.168.1.9 9 typ host tcptype active"


@pytest.mark.parametrize(
    ("candidates", "udp", "behind_nat", "reflexive"),
    [
        ([HOST, SRFLX], True, True, True),
        ([HOST, TCP], None, True, False),
        ([PUBLIC], None, False, False),
        ([MDNS, SRFLX], True, None, True),
        ([MDNS], None, None, False),
        ([], None, None, True),
    ],
)
def test_candidates_tell(candidates: list[str], udp: bool | None, behind_nat: bool | None, reflexive: bool) -> None:
    side = Side.from_sdp(read_sdp(sdp(*candidates)))
    nat = side.nat.ipv4
    assert nat is not None
    assert (nat.udp, nat.behind_nat, side.reflexive) == (udp, behind_nat, reflexive)
    assert (nat.mapping, nat.filtering) == (None, None)
    assert side.nat.ipv6 is None
    assert side.relays == ()


def test_a_relay_alone_is_no_host() -> None:
    side = Side.from_sdp(read_sdp(sdp(RELAYED)))
    assert side.nat == NatReports()
    assert side.relays == (Relay(family=4),)


def test_ipv6_candidates() -> None:
    side = Side.from_sdp(read_sdp(sdp("udp 1 2606:4700::1 5000 typ host", "udp 1 fe80::1 5000 typ host")))
    assert side.nat.ipv4 is None
    assert side.nat.ipv6 is not None
    assert side.nat.ipv6.behind_nat is False
    assert side.local_hosts == {"2606:4700::1"}


def test_texts_are_recognised() -> None:
    assert read_side(json.dumps(to_dict(REPORT)), "x") == Side.from_report(REPORT)
    described = Side.from_sdp(read_sdp(sdp(HOST, SRFLX)))
    assert read_side(sdp(HOST, SRFLX), "x") == described
    assert read_side("\n " + json.dumps({"type": "offer", "sdp": sdp(HOST, SRFLX)}), "x") == described


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither a report of icekit probe --json nor an SDP with a media section"),
        ("hello", "neither a report of icekit probe --json nor an SDP with a media section"),
        ("{", "this is no JSON (Expecting property name"),
        ("{}", "report.schema: found null, expected 'icekit/probe/1'"),
        ('{"schema": "icekit/turn/1"}', "report.schema: found 'icekit/turn/1', expected 'icekit/probe/1'"),
        ('{"schema": "icekit/probe/1"}', "report.duration: is missing"),
        ('{"sdp": "m=audio 9 x\\n' + "x" * 2**20 + '"}', "SDP of 1048588 characters, at most 1048576 are read"),
    ],
)
def test_other_texts_are_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_side(text, "a.json")
    assert str(caught.value).startswith(f"a.json: {message}")
    assert "\n" not in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text() | st.text().map("{".__add__) | VALUES.map(json.dumps))
def test_no_text_raises_anything_else(text: str) -> None:
    with suppress(ConfigError):
        read_side(text, "x")
