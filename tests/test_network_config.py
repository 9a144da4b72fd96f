"""What may be used of a host, and what a peer is told of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.candidate import CandidateType
from icekit.errors import ConfigError
from icekit.net import classify_host
from icekit.network_config import NetworkConfig
from icekit.report import Interface


def at(name: str, address: str) -> Interface:
    return Interface(name, address, classify_host(address).value)


HOST = [
    at("eth0", "10.0.0.5"),
    at("eth0:1", "10.1.0.5"),
    at("eth1", "192.168.56.3"),
    at("wlan0", "192.168.1.7"),
    at("wlan0", "fe80::7%wlan0"),
    at("wlan0", "2001:db8::7"),
]


@pytest.mark.parametrize(
    ("keywords", "left"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"interfaces": ["eth0"]}, [0, 1]),
        ({"interfaces": ["eth*"]}, [0, 1, 2]),
        ({"interfaces": ["eth*", "!eth1"]}, [0, 1]),
        ({"interfaces": ["!eth*"]}, [3, 4, 5]),
        ({"interfaces": ["eth?", "wlan0", "!wlan0"]}, [0, 1, 2]),
        ({"interfaces": ["ETH0"]}, []),
        ({"addresses": ["10.0.0.0/8"]}, [0, 1]),
        ({"addresses": ["10.0.0.5"]}, [0]),
        # Host bits do no harm.
        ({"addresses": ["192.168.56.99/24", "2001:db8::/32"]}, [2, 5]),
        ({"addresses": ["!192.168.0.0/16", "!fe80::/10"]}, [0, 1, 5]),
        ({"interfaces": ["eth*"], "addresses": ["!10.0.0.0/16"]}, [1, 2]),
    ],
)
def test_filters(keywords: dict[str, Any], left: list[int]) -> None:
    network = NetworkConfig(**keywords)
    assert [index for index, item in enumerate(HOST) if network.allows(item)] == left


@pytest.mark.parametrize(
    ("announced", "hosts", "found"),
    [
        ([], ["10.0.0.5"], {}),
        (["203.0.113.7"], ["10.0.0.5"], {"10.0.0.5": "203.0.113.7"}),
        (["203.0.113.7"], ["10.0.0.5", "2001:db8::7"], {"10.0.0.5": "203.0.113.7"}),
        (["203.0.113.7/10.0.0.6"], ["10.0.0.5", "10.0.0.6"], {"10.0.0.6": "203.0.113.7"}),
        (
            ["203.0.113.7/10.0.0.5", "203.0.113.8/10.0.0.6"],
            ["10.0.0.5", "10.0.0.6"],
            {"10.0.0.5": "203.0.113.7", "10.0.0.6": "203.0.113.8"},
        ),
        (["2001:DB8::1/fd00::0005"], ["fd00::5"], {"fd00::5": "2001:db8::1"}),
        (["203.0.113.7", "203.0.113.7/10.0.0.5"], ["10.0.0.5"], {"10.0.0.5": "203.0.113.7"}),
    ],
)
def test_announced_addresses(announced: list[str], hosts: list[str], found: dict[str, str]) -> None:
    assert NetworkConfig(announced=announced).announced_for(hosts) == found


@pytest.mark.parametrize(
    ("announced", "hosts", "error"),
    [
        (["203.0.113.7"], ["10.0.0.5", "10.0.0.6"], "here is 10.0.0.5, 10.0.0.6; write 203.0.113.7/LOCAL-ADDRESS"),
        (["203.0.113.7"], ["2001:db8::7"], "here is none of 2001:db8::7"),
        (["203.0.113.7/10.0.0.9"], ["10.0.0.5"], "10.0.0.9, which is not gathered from; local addresses: 10.0.0.5"),
        (["203.0.113.7", "203.0.113.8"], ["10.0.0.5"], "two announced addresses, 203.0.113.7 and 203.0.113.8"),
    ],
)
def test_announced_addresses_that_fit_no_host(announced: list[str], hosts: list[str], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        NetworkConfig(announced=announced).announced_for(hosts)


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"interfaces": "eth0"}, r"interfaces is a list of texts; write interfaces=\['eth0'\]"),
        ({"interfaces": ["!"]}, "'!' names no interface"),
        ({"addresses": ["eth0"]}, "'eth0' is no address or prefix"),
        ({"addresses": ["10.0.0.0/33"]}, "is no address or prefix"),
        ({"port_range": (0, 10)}, "port range 0 to 10: give the first and the last port, from 1 to 65535"),
        ({"port_range": (50001, 50000)}, "port range 50001 to 50000"),
        ({"port_range": (50000, 65536)}, "from 1 to 65535"),
        ({"announced": "203.0.113.7"}, "announced is a list of texts"),
        ({"announced": ["example.org"]}, "'example.org' is no address to announce"),
        ({"announced": ["203.0.113.7/"]}, "is no address to announce"),
        ({"announced": ["203.0.113.7:5000"]}, "is no address to announce"),
        ({"announced": ["0.0.0.0"]}, "no peer elsewhere can send to it"),
        ({"announced": ["127.0.0.1/10.0.0.5"]}, "no peer elsewhere can send to it"),
        ({"announced": ["203.0.113.7/fd00::5"]}, "does not change the family"),
        ({"announced_as": CandidateType.RELAYED}, "announced as host or srflx, not as relay"),
    ],
)
def test_nonsense_is_told(keywords: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        NetworkConfig(**keywords)


@given(st.text(max_size=40))
def test_any_text_is_taken_or_told(text: str) -> None:
    for keywords in ({"announced": [text]}, {"addresses": [text]}):
        try:
            network = NetworkConfig(**keywords)  # type: ignore[arg-type]
        except ConfigError:
            continue
        assert isinstance(network.allows(HOST[0]), bool)
