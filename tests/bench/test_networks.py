from __future__ import annotations

import pytest

from icekit.bench.networks import NETWORKS, Network, read_network
from icekit.errors import ConfigError


def test_networks_by_name() -> None:
    assert all(read_network(name) is network for name, network in NETWORKS.items())
    assert read_network("open") is read_network("open--open") is NETWORKS["host"]
    assert read_network("port-restricted--port-restricted") is NETWORKS["port-restricted"]
    assert read_network("cgnat") == Network(name="cgnat", a="cgnat", b="cgnat")
    assert read_network("cgnat--open") == Network(name="cgnat--open", a="cgnat", b="open")


@pytest.mark.parametrize("name", ["", "--", "home", "open--", "open--home", "open--open--open", "x" * 1000])
def test_a_bad_name_is_told_what_there_is(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_network(name)
    text = str(caught.value)
    assert all(known in text for known in NETWORKS)
    assert "NAT--NAT with the NATs of icekit lab list" in text
    assert len(text) < 280


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("none", "'none' is no network; for no NAT write open"),
        ("open--symetric", "'open--symetric' is no network; did you mean symmetric?"),
        ("relay_only", "'relay_only' is no network; did you mean relay-only?"),
    ],
)
def test_a_name_that_is_nearly_one(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_network(name)
    assert str(caught.value) == hint


def test_where_udp_is_blocked() -> None:
    assert NETWORKS["udp-blocked--open"].blocked == (True, False)
    assert NETWORKS["port-restricted"].blocked == (False, False)
