from __future__ import annotations

import pytest

from icekit.attributes import Change
from icekit.net import Address
from icekit.probe_plan import ProbeConfig, Trial, plan

SERVER, OTHER = Address("203.0.113.10", 3478), Address("203.0.113.20", 3478)


def test_the_plan_is_a_value() -> None:
    config = ProbeConfig(port_sockets=2)
    assert plan([SERVER, OTHER], config) == (
        Trial("mapping", 1),
        Trial("filtering-address", 1, SERVER, Change.IP | Change.PORT),
        Trial("filtering-port", 1, SERVER, Change.PORT),
        Trial("filtering-address", 1, OTHER, Change.IP | Change.PORT),
        Trial("filtering-port", 1, OTHER, Change.PORT),
        Trial("port", 2),
        Trial("port", 2),
        Trial("hairpin", 2),
        Trial("hairpin", 2),
    )


def test_without_a_server_nothing_is_filtered() -> None:
    assert {trial.test for trial in plan([], ProbeConfig())} == {"mapping", "port", "hairpin"}


def test_a_burst_ends_with_its_last_transmission() -> None:
    assert ProbeConfig(transmissions=4, interval=0.1).burst == pytest.approx(0.3)
