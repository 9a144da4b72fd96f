"""Simulation, TUN laboratory and kernel agree: the same probe behind the same NAT gives the same answer in all three.

What a NAT declares is the fourth witness.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icekit.lab import KernelNat
from icekit.lab.servers import running_servers
from icekit.lab.tun_lab import SERVER_ADDRESSES, Client, TunLab
from icekit.nat import Hairpinning, NatConfig
from icekit.nat_presets import PRESETS, preset
from icekit.report import NatReport, to_dict
from tests.requirements import require_netns
from tests.sim.test_probe_identity import MEASURED, expected
from tests.sim.test_probe_identity import probe as probe_in_simulation

# The first test waits for 19 probes, on a machine that may be busy.
pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).parent.parent.parent
AT_ONCE = 6

Probed = dict[str, dict[str, Any]]

# The model's word for each of the kernel's NATs. Only one of them hairpins.
PORT_RESTRICTED = preset("port-restricted").chain
KERNEL_AS_MODEL: dict[KernelNat, tuple[NatConfig, ...]] = {
    KernelNat.MASQUERADE: tuple(replace(item, hairpinning=Hairpinning.NONE) for item in PORT_RESTRICTED),
    KernelNat.FULLY_RANDOM: (replace(preset("symmetric").chain[0], hairpinning=Hairpinning.NONE),),
    KernelNat.FULL_CONE: (replace(preset("full-cone").chain[0], hairpinning=Hairpinning.NONE),),
    KernelNat.ADDRESS_RESTRICTED: (replace(preset("restricted").chain[0], hairpinning=Hairpinning.NONE),),
    KernelNat.UDP_DROPPED: preset("udp-blocked").chain,
    KernelNat.DOUBLE: tuple(replace(item, hairpinning=Hairpinning.NONE) for item in PORT_RESTRICTED * 2),
    KernelNat.HAIRPIN: PORT_RESTRICTED,
}
# And the presets that the kernel can be; it does not hairpin where that is said.
PRESET_IN_KERNEL = {
    "full-cone": (KernelNat.FULL_CONE, {"hairpinning"}),
    "restricted": (KernelNat.ADDRESS_RESTRICTED, {"hairpinning"}),
    "port-restricted": (KernelNat.HAIRPIN, set[str]()),
    "symmetric": (KernelNat.FULLY_RANDOM, {"hairpinning"}),
    "udp-blocked": (KernelNat.UDP_DROPPED, set[str]()),
}


def probe_in(client: Client) -> dict[str, Any]:
    command = [sys.executable, "-m", "icekit", "probe", "--json", f"stun:{SERVER_ADDRESSES[0]}"]
    done = client.namespace.run(command, timeout=200, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)["nat"]["ipv4"]
    return report


@pytest.fixture(scope="module")
def probed() -> Probed:
    """Every preset and every kernel NAT in one laboratory, side by side: each has a client and a NAT of its own."""
    require_netns()
    nats = [*PRESETS, *(f"kernel:{nat}" for nat in KernelNat)]
    with (
        TunLab(nats, seed=1) as lab,
        running_servers(lab.server, SERVER_ADDRESSES, "secret", coturn=False),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        reports = list(pool.map(probe_in, lab.clients))
    return dict(zip(nats, reports, strict=True))


def measured(report: NatReport | dict[str, Any] | None) -> dict[str, Any]:
    assert report is not None
    values = report if isinstance(report, dict) else to_dict(report)
    return {name: values[name] for name in MEASURED}


def in_simulation(chain: tuple[NatConfig, ...]) -> dict[str, Any]:
    return measured(probe_in_simulation(chain).nat.ipv4)


@pytest.mark.parametrize("name", PRESETS)
def test_the_laboratory_agrees_with_the_simulation_and_the_declaration(probed: Probed, name: str) -> None:
    chain = PRESETS[name].chain
    seen = measured(probed[name])
    assert seen == in_simulation(chain)
    if name == "blocked":
        # Nothing answers: no probe can tell that from a server that is down.
        assert seen["udp"] is None
    else:
        assert seen == expected(chain)


@pytest.mark.parametrize("nat", KernelNat)
def test_the_kernel_agrees_with_the_model(probed: Probed, nat: KernelNat) -> None:
    seen = measured(probed[f"kernel:{nat}"])
    assert seen == in_simulation(KERNEL_AS_MODEL[nat])
    declared = measured(nat.declared)
    assert {name: seen[name] for name, value in declared.items() if value is not None} == {
        name: value for name, value in declared.items() if value is not None
    }


@pytest.mark.parametrize("name", PRESET_IN_KERNEL)
def test_the_kernel_agrees_with_the_laboratory(probed: Probed, name: str) -> None:
    nat, apart = PRESET_IN_KERNEL[name]
    model, kernel = measured(probed[name]), measured(probed[f"kernel:{nat}"])
    assert {field for field in MEASURED if model[field] != kernel[field]} == apart
