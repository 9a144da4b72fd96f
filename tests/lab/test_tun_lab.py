"""The names and the addresses of a TUN laboratory; tests/netns/test_tun.py builds some."""

from __future__ import annotations

import pytest

from icekit.errors import ConfigError
from icekit.lab import KernelNat
from icekit.lab.tun_lab import MAX_CLIENTS, TunLab, _networks, nat_names, read_chain
from icekit.nat_presets import PRESETS, preset

EXTERNAL = "198.51.100.2"


def test_every_name_is_read() -> None:
    assert nat_names() == (*PRESETS, *(f"kernel:{nat}" for nat in KernelNat))
    for name in PRESETS:
        assert read_chain(name) == preset(name).chain
    for nat in KernelNat:
        assert read_chain(f"kernel:{nat}") == (nat,) * nat.nats


def test_a_chain_is_read_from_the_inside_out() -> None:
    assert read_chain("kernel:masquerade + cgnat+open") == (KernelNat.MASQUERADE, *preset("cgnat").chain)


@pytest.mark.parametrize("text", ["", "moon", "kernel:", "open+"])
def test_another_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no NAT; there are: open, full-cone, .*, kernel:masquerade, "):
        read_chain(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("symetric", "did you mean symmetric?"),
        ("kernel:maskerade", "did you mean kernel:masquerade?"),
        ("none", "for no NAT write open"),
    ],
)
def test_a_name_that_is_nearly_one(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_chain(text)
    assert str(caught.value) == f"{text!r} is no NAT; {hint}"


def test_too_many() -> None:
    with pytest.raises(ConfigError, match="has 9 NATs in a row; 8 are possible"):
        read_chain("+".join(["symmetric"] * 9))
    with pytest.raises(ConfigError, match="101 clients are too many; 100 are possible"):
        TunLab(["open"] * (MAX_CLIENTS + 1))


def test_the_kernel_has_no_ipv6() -> None:
    with pytest.raises(ConfigError, match=r"have no IPv6 here"):
        TunLab(["symmetric+kernel:masquerade"], ipv6=True)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("open", [EXTERNAL]),
        ("firewall", [EXTERNAL, EXTERNAL]),
        ("symmetric", ["192.168.77.2", EXTERNAL]),
        ("cgnat", ["192.168.77.2", "100.65.0.2", EXTERNAL]),
        ("firewall+symmetric", ["192.168.77.2", "192.168.77.2", EXTERNAL]),
        ("symmetric+firewall", ["192.168.77.2", EXTERNAL, EXTERNAL]),
        ("kernel:double+symmetric", ["192.168.77.2", "100.66.0.2", "100.65.0.2", EXTERNAL]),
    ],
)
def test_addresses(text: str, addresses: list[str]) -> None:
    assert list(_networks(read_chain(text), 0, EXTERNAL)) == addresses
