# ruff: noqa: E501 - real lines are as long as they are
from __future__ import annotations

import copy
import dataclasses
import ipaddress
import pickle
import re
import string
from typing import Any

import pytest
from aioice import Candidate as AioiceCandidate
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import Candidate, CandidateType, TcpType
from icekit.candidate import MAX_LINE, InterfaceKind, _read_fields, is_end_of_candidates
from icekit.errors import CandidateError, DecodeError
from icekit.net import AddressClass

# Lines as these stacks write them (addresses replaced); all follow the rules.
REAL_LINES = {
    "chrome host": "candidate:842163049 1 udp 2122260223 192.168.1.2 56143 typ host generation 0 ufrag EEtu network-id 1 "
    "network-cost 10",
    "chrome mdns": "candidate:3745641921 1 udp 2113937151 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 54596 typ host "
    "generation 0 ufrag gNMg network-cost 999",
    "chrome ipv6": "candidate:559267639 1 udp 2122202367 2001:db8:8d2f:1::5 51213 typ host generation 0 ufrag EEtu "
    "network-id 2 network-cost 900",
    "chrome tcp": "candidate:1491309525 1 tcp 1518283007 2001:db8:10e1:4383:904f:1941:89ca:1dc3 9 typ host tcptype active "
    "generation 0 ufrag Xxeh network-id 2 network-cost 10",
    "chrome srflx": "candidate:1853887674 1 udp 1686052607 203.0.113.7 56143 typ srflx raddr 192.168.1.2 rport 56143 "
    "generation 0 ufrag EEtu network-id 1 network-cost 10",
    "chrome relay": "candidate:3098175849 1 udp 41885439 198.51.100.9 50012 typ relay raddr 203.0.113.7 rport 56143 "
    "generation 0 ufrag EEtu network-id 1 network-cost 10",
    "chrome hidden": "candidate:1853887674 1 udp 1677729535 203.0.113.7 56143 typ srflx raddr 0.0.0.0 rport 0 generation 0",
    "safari": "candidate:2434003105 1 udp 2113937151 f0a2c1a8-0c74-4e1f-a5a1-9fb4a1f2c3d4.local 61665 typ host generation 0 "
    "network-cost 999",
    "firefox host": "candidate:0 1 UDP 2122252543 192.168.1.2 41205 typ host",
    "firefox mdns": "candidate:0 1 UDP 2122252543 5e1f0d9a-7c6c-4a52-8e0f-6f2d7a5f9b11.local 41205 typ host",
    "firefox tcp": "candidate:2 1 TCP 2105524479 192.168.1.2 9 typ host tcptype active",
    "firefox srflx": "candidate:1 1 UDP 1686052863 203.0.113.7 41205 typ srflx raddr 192.168.1.2 rport 41205",
    "firefox relay": "candidate:3 1 UDP 92217343 198.51.100.9 50013 typ relay raddr 198.51.100.9 rport 50013",
    "aioice": "candidate:5c1b7a5ff1e1c33e7a6a9a4f6d0c7f11 1 udp 2130706431 192.168.1.2 33427 typ host",
    "aiortc srflx": "candidate:9e2d1f74a9d5e35c3f4a0a8b9c7d6e5f 1 udp 1694498815 203.0.113.7 33427 typ srflx "
    "raddr 192.168.1.2 rport 33427",
    "pion": "candidate:233762139 1 udp 2130706431 172.17.0.1 58994 typ host ufrag KwMbfROhpfqUSyjj",
    "pion component 2": "candidate:233762139 2 udp 2130706430 172.17.0.1 58994 typ host",
    "pion tcp": "candidate:1052353102 1 tcp 1671430143 192.168.1.2 8443 typ host tcptype passive",
    "libnice": "candidate:1 1 UDP 2013266431 fe80::20c:29ff:fe7e:5629 36651 typ host",
    "libnice tcp": "candidate:2 1 TCP 1015022847 fe80::20c:29ff:fe7e:5629 9 typ host tcptype active",
    "libnice tcp srflx": "candidate:9 1 TCP 847249663 203.0.113.7 9 typ srflx raddr 192.168.1.2 rport 9 tcptype active",
    "libjuice": "candidate:1 1 UDP 2122317823 192.168.1.2 49853 typ host",
    "libjuice srflx": "candidate:2 1 UDP 1686109951 203.0.113.7 49853 typ srflx raddr 0.0.0.0 rport 0",
    "werift": "candidate:dc9b4f2f7d6a4f1e8a0b5c3d2e1f0a9b 1 udp 2130706431 192.168.1.2 50123 typ host generation 0 ufrag 1a2b",
    "design document": "candidate:842163049 1 udp 1677729535 192.168.1.2 56132 typ srflx raddr 192.168.1.2 rport 56132",
    "zone": "candidate:1 1 udp 2130706431 fe80::1%eth0.100 5000 typ host",
    "name": "candidate:1 1 udp 2130706431 host-1.example.org. 5000 typ host",
    "ipv4 in ipv6": "candidate:1 1 udp 2130706431 ::ffff:192.0.2.1 5000 typ host",
    "seven groups": "candidate:1 1 udp 2130706431 1:2:3:4:5:6:7:: 5000 typ host",
    "unknown type": "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ token",
    "transport token": "candidate:1 1 TCP-SO 2130706431 192.0.2.1 5000 typ host",
    "late tcptype": "candidate:1 1 tcp 2130706431 192.0.2.1 9 typ host generation 0 tcptype so ufrag abcd",
    "bounds": "candidate:++//++//++//++//++//++//++//++// 256 ! 2147483647 255.255.255.255 65535 typ prflx raddr :: rport 65535",
    "lower bounds": "candidate:/ 1 udp 1 0.0.0.0 0 typ prflx raddr :: rport 0",
}


@pytest.mark.parametrize("line", REAL_LINES.values(), ids=REAL_LINES)
def test_real_lines_are_read_and_written_back(line: str) -> None:
    candidate = Candidate.parse(line)
    assert str(candidate) == line
    assert candidate.forgiven == ()
    assert Candidate.parse(line, strict=False) == candidate


def test_every_field_of_a_line() -> None:
    line = REAL_LINES["chrome relay"]
    assert dataclasses.asdict(Candidate.parse(line)) == {
        "foundation": "3098175849",
        "component": 1,
        "transport": "udp",
        "priority": 41885439,
        "address": "198.51.100.9",
        "port": 50012,
        "type": CandidateType.RELAYED,
        "related_address": "203.0.113.7",
        "related_port": 56143,
        "tcptype": None,
        "extensions": (("generation", "0"), ("ufrag", "EEtu"), ("network-id", "1"), ("network-cost", "10")),
        "forgiven": (),
    }
    tcp = Candidate.parse(REAL_LINES["chrome tcp"])
    assert tcp.tcptype is TcpType.ACTIVE
    assert tcp.extensions[0] == ("generation", "0")
    assert tcp.extension("network-id") == "2"
    assert tcp.extension("tcptype") is None


@pytest.mark.parametrize("line", REAL_LINES.values(), ids=REAL_LINES)
def test_aioice_reads_the_same(line: str) -> None:
    ours = Candidate.parse(line)
    theirs = AioiceCandidate.from_sdp(line.removeprefix("candidate:"))
    assert (ours.foundation, ours.component, ours.transport) == (theirs.foundation, theirs.component, theirs.transport)
    assert (ours.priority, ours.address, ours.port) == (theirs.priority, theirs.host, theirs.port)
    assert (ours.type, ours.tcptype) == (theirs.type, theirs.tcptype)
    assert (ours.related_address, ours.related_port) == (theirs.related_address, theirs.related_port)


@pytest.mark.parametrize("prefix", ["", "candidate:", "a=candidate:"])
def test_three_beginnings_are_one_candidate(prefix: str) -> None:
    line = "1 1 udp 2130706431 192.0.2.1 5000 typ host"
    assert str(Candidate.parse(prefix + line)) == "candidate:" + line


def test_leading_zeros_are_in_the_grammar() -> None:
    candidate = Candidate.parse("1 001 udp 0000000009 192.0.2.1 000000005000 typ host")
    assert str(candidate) == "candidate:1 1 udp 9 192.0.2.1 5000 typ host"


# line, field, column, found, a part of what is allowed
BROKEN = [
    ("", "foundation", 1, "", "1 to 32"),
    ("candidate:", "foundation", 11, "", "1 to 32"),
    ("candidate: 1 udp 1 192.0.2.1 5 typ host", "foundation", 11, " ", "1 to 32"),
    ("a=1 1 udp 1 192.0.2.1 5 typ host", "foundation", 1, "a=1", "1 to 32"),
    ("Candidate:1 1 udp 1 192.0.2.1 5 typ host", "foundation", 1, "Candidate:1", "1 to 32"),
    (f"{'f' * 33} 1 udp 1 192.0.2.1 5 typ host", "foundation", 1, "f" * 33, "1 to 32"),
    ("a-b 1 udp 1 192.0.2.1 5 typ host", "foundation", 1, "a-b", "letters"),
    ("1 0 udp 1 192.0.2.1 5 typ host", "component", 3, "0", "1 to 256"),
    ("1 257 udp 1 192.0.2.1 5 typ host", "component", 3, "257", "1 to 256"),
    ("1 0001 udp 1 192.0.2.1 5 typ host", "component", 3, "0001", "1 to 256"),
    ("1 -1 udp 1 192.0.2.1 5 typ host", "component", 3, "-1", "1 to 256"),
    ("1 ² udp 1 192.0.2.1 5 typ host", "component", 3, "²", "1 to 256"),
    ("1  1 udp 1 192.0.2.1 5 typ host", "component", 3, " ", "1 to 256"),
    ("1 1", "transport", 4, "", "token"),
    ("1 1 u/p 1 192.0.2.1 5 typ host", "transport", 5, "u/p", "token"),
    ("1 1 udp 0 192.0.2.1 5 typ host", "priority", 9, "0", "1 to 2147483647"),
    ("1 1 udp 2147483648 192.0.2.1 5 typ host", "priority", 9, "2147483648", "1 to 2147483647"),
    ("1 1 udp 00000000001 192.0.2.1 5 typ host", "priority", 9, "00000000001", "1 to 2147483647"),
    ("1 1 udp ١ 192.0.2.1 5 typ host", "priority", 9, "١", "1 to 2147483647"),
    ("1 1 udp 1 192.0.2.256 5 typ host", "address", 11, "192.0.2.256", "0 to 255"),
    ("1 1 udp 1 192.0.2.01 5 typ host", "address", 11, "192.0.2.01", "leading zeros"),
    ("1 1 udp 1 192.0.2 5 typ host", "address", 11, "192.0.2", "0 to 255"),
    ("1 1 udp 1 192.0.2.1. 5 typ host", "address", 11, "192.0.2.1.", "0 to 255"),
    ("1 1 udp 1 host.123 5 typ host", "address", 11, "host.123", "0 to 255"),
    ("1 1 udp 1 1:2:3:4:5:6:7 5 typ host", "address", 11, "1:2:3:4:5:6:7", "IPv6"),
    ("1 1 udp 1 1::2::3 5 typ host", "address", 11, "1::2::3", "IPv6"),
    ("1 1 udp 1 1:2:3:4::5:6:7:8 5 typ host", "address", 11, "1:2:3:4::5:6:7:8", "IPv6"),
    ("1 1 udp 1 1:2:3:4:5:6:7:8:: 5 typ host", "address", 11, "1:2:3:4:5:6:7:8::", "IPv6"),
    ("1 1 udp 1 12345:: 5 typ host", "address", 11, "12345::", "IPv6"),
    ("1 1 udp 1 [::1] 5 typ host", "address", 11, "[::1]", "IPv6"),
    ("1 1 udp 1 fe80::1% 5 typ host", "address", 11, "fe80::1%", "zone"),
    ("1 1 udp 1 fe80::1%a/b 5 typ host", "address", 11, "fe80::1%a/b", "zone"),
    ("1 1 udp 1 a..b 5 typ host", "address", 11, "a..b", "host name"),
    ("1 1 udp 1 -a.b 5 typ host", "address", 11, "-a.b", "host name"),
    ("1 1 udp 1 a_b.local 5 typ host", "address", 11, "a_b.local", "hyphens"),
    (f"1 1 udp 1 {'a.' * 127}b 5 typ host", "address", 11, "a." * 127 + "b", "253"),
    ("1 1 udp 1 192.0.2.1 65536 typ host", "port", 21, "65536", "0 to 65535"),
    ("1 1 udp 1 192.0.2.1 5 host", "typ", 23, "host", "typ"),
    ("1 1 udp 1 192.0.2.1 5 TYP host", "typ", 23, "TYP", "lower case"),
    ("1 1 udp 1 192.0.2.1 5 typ", "type", 26, "", "srflx"),
    ("1 1 udp 1 192.0.2.1 5 typ Host", "type", 27, "Host", "lower case"),
    ("1 1 udp 1 192.0.2.1 5 typ a/b", "type", 27, "a/b", "srflx"),
    ("1 1 udp 1 192.0.2.1 5 typ host\n", "type", 27, "host\n", "host"),
    ("1 1 udp 1 192.0.2.1 5 typ host\r\n", "type", 27, "host\r\n", "host"),
    ("1 1 udp 1 192.0.2.1 5 typ host ", "extension", 32, "", "name"),
    ("1 1 udp 1 192.0.2.1 5 typ host a", "extension", 33, "", "value after a"),
    ("1 1 udp 1 192.0.2.1 5 typ host a ", "extension", 34, "", "one space"),
    ("1 1 udp 1 192.0.2.1 5 typ host a  b", "extension", 34, " ", "one space"),
    ("1 1 udp 1 192.0.2.1 5 typ host a\tb c", "extension", 32, "a\tb", "name"),
    ("1 1 udp 1 192.0.2.1 5 typ host a é", "extension", 34, "é", "visible"),
    ("1 1 udp 1 192.0.2.1 5 typ host a b\r", "extension", 34, "b\r", "visible"),
    ("1 1 udp 1 192.0.2.1 5 typ srflx", "raddr", 32, "", "srflx"),
    ("1 1 udp 1 192.0.2.1 5 typ prflx raddr 192.0.2.2", "rport", 48, "", "prflx"),
    ("1 1 udp 1 192.0.2.1 5 typ relay rport 5", "raddr", 40, "", "relay"),
    ("1 1 udp 1 192.0.2.1 5 typ relay raddr 192.0.2.300 rport 5", "raddr", 39, "192.0.2.300", "0 to 255"),
    ("1 1 udp 1 192.0.2.1 5 typ relay raddr 192.0.2.3 rport 65536", "rport", 55, "65536", "0 to 65535"),
    ("1 1 udp 1 192.0.2.1 5 typ relay rport 5 raddr 192.0.2.3", "raddr", 41, "raddr", "directly"),
    ("1 1 udp 1 192.0.2.1 5 typ relay a b raddr 192.0.2.3 rport 5", "raddr", 37, "raddr", "directly"),
    ("1 1 udp 1 192.0.2.1 5 typ relay raddr :: rport 5 rport 6", "rport", 50, "rport", "once"),
    ("1 1 udp 1 192.0.2.1 5 typ host raddr 192.0.2.2 rport 5", "raddr", 32, "raddr", "host"),
    ("1 1 tcp 1 192.0.2.1 5 typ host", "tcptype", 31, "", "active"),
    ("1 1 TCP 1 192.0.2.1 5 typ host tcptype open", "tcptype", 40, "open", "active"),
    ("1 1 tcp 1 192.0.2.1 5 typ host tcptype so tcptype so", "tcptype", 43, "tcptype", "once"),
    ("a=candidate:1 0 udp 1 192.0.2.1 5 typ host", "component", 15, "0", "1 to 256"),
    ("a=end-of-candidates", "foundation", 1, "a=end-of-candidates", "1 to 32"),
]


@pytest.mark.parametrize(("line", "kind"), [(None, "NoneType"), (5, "int"), (b"", "bytes")])
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_no_text_is_a_type_error(line: Any, kind: str, strict: bool) -> None:
    with pytest.raises(TypeError) as caught:
        Candidate.parse(line, strict=strict)
    assert str(caught.value) == f"a candidate line is text (str), not {kind}"


@pytest.mark.parametrize(("line", "field", "column", "found", "allowed"), BROKEN, ids=[row[0][:40] for row in BROKEN])
def test_an_error_says_what_is_wrong_where(line: str, field: str, column: int, found: str, allowed: str) -> None:
    with pytest.raises(CandidateError) as caught:
        Candidate.parse(line)
    error = caught.value
    assert (error.field, error.column, error.found, error.text) == (field, column, found, line)
    assert allowed in error.allowed
    assert isinstance(error, DecodeError)
    assert isinstance(error, ValueError)
    assert f"column {column}, {field}" in str(error)


def test_a_line_without_end_is_not_read() -> None:
    line = "1 1 udp 1 192.0.2.1 5 typ host x " + "y" * MAX_LINE
    for strict in (True, False):
        with pytest.raises(CandidateError) as caught:
            Candidate.parse(line, strict=strict)
        assert (caught.value.field, caught.value.column) == ("line", MAX_LINE + 1)
        assert len(caught.value.text) == MAX_LINE


# what a stack wrote, what is made of it, the fields that were forgiven
FORGIVEN = [
    (f"{'f' * 33} 1 udp 1 192.0.2.1 5 typ host", f"{'f' * 33} 1 udp 1 192.0.2.1 5 typ host", ["foundation"]),
    ("remote-1 1 udp 1 192.0.2.1 5 typ host", "remote-1 1 udp 1 192.0.2.1 5 typ host", ["foundation"]),
    ("candidate: 1 udp 1 192.0.2.1 5 typ host", " 1 udp 1 192.0.2.1 5 typ host", ["foundation"]),
    ("candidate:candidate:1 1 UDP 1 192.0.2.1 5 typ host", "1 1 UDP 1 192.0.2.1 5 typ host", ["line"]),
    ("A=CANDIDATE:1 1 UDP 1 192.0.2.1 5 typ host", "1 1 UDP 1 192.0.2.1 5 typ host", ["line"]),
    ("1 1 udp 1 192.0.2.1 5 typ host\r\n", "1 1 udp 1 192.0.2.1 5 typ host", ["line"]),
    ("1  1 udp\t1 192.0.2.1 5 typ host", "1 1 udp 1 192.0.2.1 5 typ host", ["line"]),
    ("1 1 udp 0 192.0.2.1 5 typ host", "1 1 udp 0 192.0.2.1 5 typ host", ["priority"]),
    ("1 1 udp 4294967295 192.0.2.1 5 typ host", "1 1 udp 4294967295 192.0.2.1 5 typ host", ["priority"]),
    ("1 1 UDP 1 192.0.2.1 5 TYP HOST", "1 1 UDP 1 192.0.2.1 5 typ host", ["typ", "type"]),
    ("1 1 udp 1 my_host.local 5 typ host", "1 1 udp 1 my_host.local 5 typ host", ["address"]),
    ("1 1 udp 1 192.0.2.1 5 typ srflx", "1 1 udp 1 192.0.2.1 5 typ srflx", ["raddr", "rport"]),
    ("1 1 udp 1 192.0.2.1 5 typ relay raddr ::", "1 1 udp 1 192.0.2.1 5 typ relay raddr ::", ["rport"]),
    (
        "1 1 udp 1 192.0.2.1 5 typ srflx generation 0 raddr :: rport 9",
        "1 1 udp 1 192.0.2.1 5 typ srflx raddr :: rport 9 generation 0",
        ["raddr", "rport"],
    ),
    ("1 1 udp 1 192.0.2.1 5 typ host raddr :: rport 9", "1 1 udp 1 192.0.2.1 5 typ host raddr :: rport 9", ["raddr"]),
    ("1 1 TCP 1 192.0.2.1 5 typ host", "1 1 TCP 1 192.0.2.1 5 typ host", ["tcptype"]),
    ("1 1 tcp 1 192.0.2.1 5 typ host TCPTYPE Active", "1 1 tcp 1 192.0.2.1 5 typ host tcptype active", ["tcptype"] * 2),
    ("1 1 udp 1 192.0.2.1 5 typ host a b lone", "1 1 udp 1 192.0.2.1 5 typ host a b", ["extension"]),
    ("1 1 udp 1 192.0.2.1 5 typ host a/b c", "1 1 udp 1 192.0.2.1 5 typ host a/b c", ["extension"]),
    ("1 1 tcp 1 192.0.2.1 5 typ host tcptype so tcptype so", "1 1 tcp 1 192.0.2.1 5 typ host tcptype so", ["tcptype"]),
]


@pytest.mark.parametrize(("line", "read", "fields"), FORGIVEN, ids=[row[0][:60] for row in FORGIVEN])
def test_what_stacks_write_against_the_rules(line: str, read: str, fields: list[str]) -> None:
    with pytest.raises(CandidateError):
        Candidate.parse(line)
    candidate = Candidate.parse(line, strict=False)
    assert str(candidate) == f"candidate:{read}"
    assert [text.partition(":")[0] for text in candidate.forgiven] == fields


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\r\n",
        "1 1 udp 1 192.0.2.1 99999 typ host",
        "1 0 udp 1 192.0.2.1 5 typ host",
        "1 1 udp 1099511627776 192.0.2.1 5 typ host",
        "1 1 udp 1 192.0.2.300 5 typ host",
        "1 1 udp 1 not/a/host 5 typ host",
        "1 1 udp 1 192.0.2.1 5 typ host\na b",
        "1 1 udp 1 192.0.2.1 5 typ host a ü",
        "1 1 tcp 1 192.0.2.1 5 typ host tcptype maybe",
    ],
)
def test_what_nobody_can_use_is_not_forgiven(line: str) -> None:
    with pytest.raises(CandidateError):
        Candidate.parse(line, strict=False)


def test_it_is_a_value() -> None:
    line = REAL_LINES["chrome srflx"]
    candidate = Candidate.parse(line)
    with pytest.raises(dataclasses.FrozenInstanceError):
        candidate.port = 1  # type: ignore[misc]
    assert not hasattr(candidate, "__dict__")
    assert type(candidate) is Candidate
    for same in (copy.deepcopy(candidate), pickle.loads(pickle.dumps(candidate)), dataclasses.replace(candidate)):
        assert same == candidate
        assert hash(same) == hash(candidate)
    assert candidate != dataclasses.replace(candidate, port=1)
    assert candidate != line


def test_the_transport_is_compared_without_case_and_kept_as_read() -> None:
    lower, upper = (Candidate.parse(f"1 1 {word} 1 192.0.2.1 5 typ host") for word in ("udp", "UDP"))
    assert lower == upper
    assert hash(lower) == hash(upper)
    assert (lower.transport, upper.transport) == ("udp", "UDP")


def test_what_was_forgiven_is_not_part_of_equality() -> None:
    line = "1 1 udp 1 192.0.2.1 5 typ host"
    assert Candidate.parse(line + " ", strict=False) == Candidate.parse(line)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", AddressClass.LOOPBACK),
        ("fe80::1%eth0", AddressClass.LINK_LOCAL),
        ("192.168.1.2", AddressClass.PRIVATE),
        ("100.64.0.1", AddressClass.CGNAT),
        ("fd00::1", AddressClass.ULA),
        ("203.0.113.7", AddressClass.DOCUMENTATION),
        ("64:ff9b::c000:201", AddressClass.NAT64),
        ("2002:c000:201::1", AddressClass.TUNNEL),
        ("abc.local", AddressClass.MDNS),
        ("example.org", AddressClass.NAME),
        ("8.8.8.8", AddressClass.GLOBAL),
    ],
)
def test_address_class(address: str, expected: AddressClass) -> None:
    assert Candidate.parse(f"1 1 udp 1 {address} 5 typ host").address_class is expected


@pytest.mark.parametrize(
    ("cost", "kind"),
    [
        ("0", InterfaceKind.ETHERNET),
        ("10", InterfaceKind.WIFI),
        ("900", InterfaceKind.CELLULAR),
        ("11", InterfaceKind.VPN),
        ("50", None),
        ("999", None),
        ("x", None),
    ],
)
def test_the_interface_is_known_by_its_cost(cost: str, kind: InterfaceKind | None) -> None:
    assert Candidate.parse(f"1 1 udp 1 192.0.2.1 5 typ host network-cost {cost}").interface_kind is kind
    assert Candidate.parse("1 1 udp 1 192.0.2.1 5 typ host").interface_kind is None


@pytest.mark.parametrize("text", ["", None, "end-of-candidates", "a=end-of-candidates", "a=end-of-candidates\r\n"])
def test_end_of_candidates(text: str | None) -> None:
    assert is_end_of_candidates(text)


@pytest.mark.parametrize("text", [" ", "null", "candidate:", "a=end-of-candidates:1", "A=END-OF-CANDIDATES"])
def test_not_the_end_of_candidates(text: str) -> None:
    assert not is_end_of_candidates(text)


ICE_CHARS = string.ascii_letters + string.digits + "+/"
TOKEN = string.ascii_letters + string.digits + "-.!%*_+`'~"
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
tokens = st.text(TOKEN, min_size=1, max_size=12)
labels = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,8}[A-Za-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: not name.split(".")[-1].isdigit())
zones = st.from_regex(r"[A-Za-z0-9._~-]{1,15}", fullmatch=True)
addresses = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.builds("{}%{}".format, st.ip_addresses(v=6, network="fe80::/10"), zones),
    st.uuids().map("{}.local".format),
    names,
)
ports = st.integers(0, 65535)
pairs = st.tuples(
    tokens.filter(lambda name: name.lower() not in ("raddr", "rport", "tcptype")),
    st.text(VISIBLE, min_size=1, max_size=12),
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    transport = draw(st.one_of(st.sampled_from(["udp", "UDP", "tcp", "TCP", "TCP-SO"]), tokens))
    words = [
        draw(st.text(ICE_CHARS, min_size=1, max_size=32)),
        str(draw(st.integers(1, 256))),
        transport,
        str(draw(st.integers(1, 2**31 - 1))),
        draw(addresses),
        str(draw(ports)),
        "typ",
    ]
    kind = draw(st.one_of(st.sampled_from(list(CandidateType)), tokens.filter(lambda word: word.islower())))
    words.append(str(kind))
    known = str(kind) in list(CandidateType)
    if kind != "host" and (known or draw(st.booleans())):
        words += ["raddr", draw(addresses), "rport", str(draw(ports))]
    attributes = draw(st.lists(pairs, max_size=5))
    if transport.lower() == "tcp" or draw(st.booleans()):
        attributes.insert(draw(st.integers(0, len(attributes))), ("tcptype", str(draw(st.sampled_from(list(TcpType))))))
    return "candidate:" + " ".join([*words, *(word for pair in attributes for word in pair)])


@given(lines())
def test_every_line_of_the_grammar_is_read_and_written_back(line: str) -> None:
    candidate = Candidate.parse(line)
    assert str(candidate) == line
    assert Candidate.parse("a=" + line) == candidate
    # The two ways of reading agree.
    assert _read_fields(line, strict=True) == candidate
    assert _read_fields(line, strict=False) == candidate


# Text that is nearly a line: a line with a few characters replaced, removed or doubled.
@st.composite
def nearly_lines(draw: st.DrawFn) -> str:
    text = list(draw(lines()))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(text) - 1))
        text[place] = draw(
            st.one_of(st.sampled_from(["", "  ", "\t", "\n", " ", ":", ".", "0", "9" * 5]), st.characters())
        )
    return "".join(text)


@given(st.one_of(st.text(), nearly_lines(), st.sampled_from([row[0] for row in (*BROKEN, *FORGIVEN)])))
@settings(max_examples=500)
def test_any_text_is_read_or_a_candidate_error(text: str) -> None:
    outcomes = []
    for strict in (True, False):
        try:
            candidate = Candidate.parse(text, strict=strict)
        except CandidateError as caught:
            check_error(caught, text)
            outcomes.append(None)
            continue
        outcomes.append(candidate)
        # What was read once is read again, and is the same.
        assert Candidate.parse(str(candidate), strict=strict) == candidate
        assert str(candidate).isascii()
        assert not re.search(r"[\r\n]", str(candidate))
    strictly, loosely = outcomes
    if strictly is not None:
        check_bounds(strictly)
        # Forgiving changes nothing where there is nothing to forgive, and only then.
        assert loosely == strictly
        assert loosely.forgiven == strictly.forgiven == ()
        assert _read_fields(text, strict=True) == strictly
    elif loosely is not None:
        assert loosely.forgiven != ()


def check_error(error: CandidateError, text: str) -> None:
    assert 1 <= error.column <= len(text) + 1
    assert str(error).startswith(f"candidate, column {error.column}, {error.field}: found ")


def check_bounds(candidate: Candidate) -> None:
    assert re.fullmatch("[A-Za-z0-9+/]{1,32}", candidate.foundation)
    assert 1 <= candidate.component <= 256
    assert 1 <= candidate.priority <= 2**31 - 1
    assert set(candidate.transport) <= set(TOKEN)
    for address, port in ((candidate.address, candidate.port), (candidate.related_address, candidate.related_port)):
        assert port is None or 0 <= port <= 65535
        if address is not None and (":" in address or address.rstrip(".").split(".")[-1].isdigit()):
            ipaddress.ip_address(address)
    assert set(str(candidate.type)) <= set(TOKEN)
    if candidate.type in ("srflx", "prflx", "relay"):
        assert candidate.related_address is not None
        assert candidate.related_port is not None
    if candidate.transport.lower() == "tcp":
        assert candidate.tcptype in list(TcpType)
    for name, value in candidate.extensions:
        assert set(name) <= set(TOKEN)
        assert value
        assert set(value) <= set(VISIBLE)
