from __future__ import annotations

import pytest

from icekit.bench.networks import NETWORKS, Network, read_network
from icekit.errors import ConfigError
from icekit.nat_presets import PRESETS


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
    assert all(known in text for known in (*NETWORKS, *PRESETS))
    assert len(text) < 600


def test_where_udp_is_blocked() -> None:
    assert NETWORKS["udp-blocked--open"].blocked == (True, False)
    assert NETWORKS["port-restricted"].blocked == (False, False)
