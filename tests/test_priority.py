from __future__ import annotations

import re

import pytest
from aioice.candidate import candidate_priority
from hypothesis import given
from hypothesis import strategies as st

from icekit import Candidate, CandidateType
from icekit.priority import compute_foundation, compute_priority, explain_priority, local_preferences

types = st.sampled_from(list(CandidateType))


@given(types, st.integers(1, 256), st.integers(0, 65535))
def test_priority_is_the_one_of_aioice(type: CandidateType, component: int, local_preference: int) -> None:
    priority = compute_priority(type, component, local_preference)
    assert priority == candidate_priority(component, str(type), local_preference)
    assert 0 <= priority < 2**31


def test_priority_of_the_rfc_example() -> None:
    # RFC 8445 §15.1 (RFC 5245 §17): host, one address, component 1.
    assert compute_priority(CandidateType.HOST) == 2130706431
    assert compute_priority(CandidateType.SERVER_REFLEXIVE) == 1694498815
    assert compute_priority(CandidateType.HOST, type_preference=90) == 1526726655


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"component": 0}, "component 0 is not from 1 to 256"),
        ({"component": 257}, "component 257 is not from 1 to 256"),
        ({"local_preference": -1}, "local preference -1 is not from 0 to 65535"),
        ({"local_preference": 65536}, "local preference 65536 is not from 0 to 65535"),
        ({"type_preference": 127}, "type preference 127 is not from 0 to 126"),
    ],
)
def test_a_part_out_of_range(arguments: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        compute_priority(CandidateType.HOST, **arguments)


ICE_CHARS = re.compile("[A-Za-z0-9+/]{1,32}")
HOST, SRFLX = CandidateType.HOST, CandidateType.SERVER_REFLEXIVE


def test_foundations_are_the_same_for_the_same_four_things() -> None:
    different = [
        (HOST, "192.0.2.1", "udp"),
        (HOST, "192.0.2.2", "udp"),
        (HOST, "192.0.2.1", "tcp"),
        (SRFLX, "192.0.2.1", "udp", "203.0.113.1"),
        (SRFLX, "192.0.2.1", "udp", "203.0.113.2"),
    ]
    foundations = [compute_foundation(*key) for key in different]
    assert len(set(foundations)) == len(different)
    assert all(ICE_CHARS.fullmatch(foundation) for foundation in foundations)
    assert foundations == [compute_foundation(*key) for key in different]
    assert compute_foundation(HOST, "2001:DB8::1", "UDP") == compute_foundation(HOST, "2001:db8::1", "udp")


def order(addresses: list[str]) -> list[str]:
    preferences = local_preferences(addresses)
    return sorted(preferences, key=preferences.__getitem__, reverse=True)


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], []),
        (["192.0.2.1"], ["192.0.2.1"]),
        (["192.0.2.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"]),
        (["192.0.2.1", "::1"], ["::1", "192.0.2.1"]),
        (["1.1.1.1", "1.1.1.2", "1.1.1.3", "::1"], ["::1", "1.1.1.1", "1.1.1.2", "1.1.1.3"]),
        (["1.1.1.1", "1.1.1.1"], ["1.1.1.1"]),
        (
            # RFC 8421 §4: two IPv4 and six IPv6 addresses, an IPv4 address after four IPv6 addresses.
            ["1.1.1.1", "1.1.1.2", "::1", "::2", "::3", "::4", "::5", "::6"],
            ["::1", "::2", "::3", "::4", "1.1.1.1", "::5", "::6", "1.1.1.2"],
        ),
    ],
)
def test_families_are_interleaved(addresses: list[str], expected: list[str]) -> None:
    assert order(addresses) == expected


@given(st.lists(st.ip_addresses().map(str), max_size=30))
def test_local_preferences_are_unique_and_keep_the_order_of_a_family(addresses: list[str]) -> None:
    preferences = local_preferences(addresses)
    assert set(preferences) == set(addresses)
    assert sorted(preferences.values()) == list(range(65536 - len(preferences), 65536))
    for sign in (True, False):
        family = [address for address in dict.fromkeys(addresses) if (":" in address) is sign]
        assert [address for address in order(addresses) if (":" in address) is sign] == family


def test_more_addresses_than_preferences() -> None:
    with pytest.raises(ValueError, match="65537 addresses"):
        local_preferences(f"2001:db8::{number:x}:1" for number in range(65537))


WEBRTC = ("libwebrtc (Chrome, Edge, Safari)",)
FIREFOX = ("Firefox",)
NICE = ("libnice (GStreamer, Janus)",)
JUICE = ("libjuice (libdatachannel)",)
RFC = ("RFC 8445 with one address (aioice, pion, werift)",)
RELATED = "raddr 192.168.1.2 rport 5"


@pytest.mark.parametrize(
    ("line", "parts", "formulas"),
    [
        ("1 1 udp 2122260223 192.168.1.2 5 typ host", (126, 32542, 1), WEBRTC),
        ("1 1 udp 2122202367 2001:db8::1 5 typ host", (126, 32316, 1), ()),
        ("1 1 udp 2122197247 2001:db8::1 5 typ host", (126, 32296, 1), WEBRTC),
        ("1 1 udp 2122262783 2001:db8::1 5 typ host", (126, 32552, 1), WEBRTC),
        ("1 1 udp 2122265343 fd00::1 5 typ host", (126, 32562, 1), WEBRTC),
        ("1 1 udp 2113937151 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 5 typ host", (126, 30, 1), WEBRTC),
        ("1 1 tcp 1518280447 192.168.1.2 9 typ host tcptype active", (90, 32542, 1), WEBRTC),
        (f"1 1 udp 1677729535 203.0.113.7 5 typ srflx {RELATED}", (100, 30, 1), WEBRTC),
        (f"1 1 udp 41885439 198.51.100.9 5 typ relay {RELATED}", (2, 32542, 1), WEBRTC),
        (f"1 1 udp 25108223 198.51.100.9 5 typ relay {RELATED}", (1, 32542, 1), WEBRTC),
        ("0 1 UDP 2122252543 192.168.1.2 5 typ host", (126, 32512, 1), FIREFOX),
        ("2 1 TCP 2105524479 192.168.1.2 9 typ host tcptype active", (125, 32704, 1), FIREFOX),
        (f"1 1 UDP 1686052863 203.0.113.7 5 typ srflx {RELATED}", (100, 32543, 1), FIREFOX),
        (f"1 1 UDP 92217343 198.51.100.9 5 typ relay {RELATED}", (5, 32543, 1), FIREFOX),
        ("1 1 UDP 2013266431 192.168.1.2 5 typ host", (120, 1, 1), NICE),
        ("1 2 UDP 2015363326 192.168.1.2 5 typ host", (120, 8192, 2), NICE),
        ("2 1 TCP 1015021823 192.168.1.2 9 typ host tcptype active", (60, 32768, 1), NICE),
        (f"3 1 UDP 1677722111 203.0.113.7 5 typ srflx {RELATED}", (100, 1, 1), NICE),
        ("1 1 UDP 2122317823 192.168.1.2 5 typ host", (126, 32767, 1), JUICE),
        (f"2 1 UDP 1686109951 203.0.113.7 5 typ srflx {RELATED}", (100, 32766, 1), JUICE),
        ("1 1 udp 2130706431 192.168.1.2 5 typ host", (126, 65535, 1), RFC),
        ("1 2 udp 2130706430 192.168.1.2 5 typ host", (126, 65535, 2), RFC),
        ("1 1 tcp 1671430143 192.168.1.2 5 typ host tcptype passive", (99, 40959, 1), ("pion over TCP",)),
        ("1 1 tcp 1524629503 192.168.1.2 9 typ host tcptype active", (90, 57343, 1), ("icekit over TCP",)),
        ("1 1 tcp 1520434687 192.168.1.2 5 typ host tcptype passive", (90, 40957, 1), ("icekit over TCP",)),
        ("1 1 tcp 1524629503 192.168.1.2 5 typ host tcptype passive", (90, 57343, 1), ()),
        ("1 1 udp 2130706431 192.168.1.2 5 typ other", (126, 65535, 1), ()),
    ],
)
def test_whose_formula(line: str, parts: tuple[int, int, int], formulas: tuple[str, ...]) -> None:
    explained = explain_priority(Candidate.parse(line))
    assert (explained.type_preference, explained.local_preference, explained.component) == parts
    assert explained.formulas == formulas
    assert all(formula in str(explained) for formula in formulas)


@pytest.mark.parametrize(
    ("line", "end"),
    [
        (
            "1 1 udp 1677729535 192.0.2.1 5 typ srflx raddr 192.0.2.1 rport 5",
            "as libwebrtc (Chrome, Edge, Safari) computes it",
        ),
        (
            "1 2 udp 2130706431 192.0.2.1 5 typ host",
            "the line says component 2, so this is not the formula of RFC 8445",
        ),
        ("1 1 udp 2147483647 192.0.2.1 5 typ host", "a type preference above 126 is not allowed (RFC 8445 §5.1.2.1)"),
        ("1 1 udp 2130706431 192.0.2.1 5 typ other", "nothing is known about type other"),
        (
            "1 1 udp 2130700031 192.0.2.1 5 typ host",
            "the type preference that RFC 8445 recommends, with a local preference of its own",
        ),
        (
            f"1 1 udp 1694498815 192.0.2.1 5 typ relay {RELATED}",
            "no formula that is known here; RFC 8445 recommends type preference 0",
        ),
    ],
)
def test_the_sentence(line: str, end: str) -> None:
    explained = explain_priority(Candidate.parse(line))
    start = (
        f"type preference {explained.type_preference}, local preference {explained.local_preference}, "
        f"component {explained.component}: "
    )
    assert str(explained) == start + end


@given(types, st.integers(1, 256), st.integers(0, 65535))
def test_taking_apart_is_the_inverse(type: CandidateType, component: int, local_preference: int) -> None:
    priority = compute_priority(type, component, local_preference)
    explained = explain_priority(Candidate("1", component, "udp", priority, "192.0.2.1", 5, type))
    assert (explained.local_preference, explained.component) == (local_preference, component)
    assert compute_priority(type, explained.component, explained.local_preference) == explained.priority == priority
