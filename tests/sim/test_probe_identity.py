"""The identity: probing through a simulated NAT reports exactly that NAT."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from icekit.aio.prober import Prober
from icekit.aio.server import serve
from icekit.nat import Hairpinning, NatConfig
from icekit.nat_presets import PRESETS, declared
from icekit.report import Behavior, NatReport, PortAssignment, ProbeReport
from icekit.server import ServerConfig
from icekit.servers import IceServer
from icekit.sim import Internet, Link

MEASURED = (
    "mapping",
    "filtering",
    "hairpinning",
    "port_assignment",
    "port_step",
    "address_pooling",
    "behind_nat",
    "udp",
    "alg",
)
ADDRESSES = {4: ("203.0.113.10", "203.0.113.11"), 6: ("2001:db8:1::10", "2001:db8:1::11")}
COMBINATIONS = list(product(Behavior, Behavior, Hairpinning, PortAssignment))


def probe(chain: tuple[NatConfig, ...], *, family: int = 4, seed: int = 1, loss: float = 0.0) -> ProbeReport:
    """icekit's own prober and server, as they are, on the simulated Internet."""
    net = Internet(seed, link=Link(delay=0.01, loss=loss))
    server = net.host("server", addresses=ADDRESSES[family])
    place = net.network(chain, nat66=True)
    client = place.host("client", addresses=[place.allocate(family == 6)])
    url = f"stun:{ADDRESSES[4][0]}" if family == 4 else f"stun:[{ADDRESSES[6][0]}]"

    async def service(port: int) -> None:
        async with serve(ServerConfig(), hosts=server.addresses, ports=(port, port + 1)):
            await asyncio.Event().wait()

    async def main() -> ProbeReport:
        server.run(service(3478))
        server.run(service(443))
        await asyncio.sleep(0.1)
        return await client.run(Prober([IceServer(urls=url)]).run())

    return net.run(main())


def measured(report: NatReport | None) -> dict[str, object]:
    assert report is not None
    return {name: getattr(report, name) for name in MEASURED}


def expected(chain: tuple[NatConfig, ...]) -> dict[str, object]:
    known = measured(declared(chain))
    if not known["udp"]:
        known["behind_nat"] = None
        known["alg"] = None
    return known


@pytest.mark.parametrize("family", [4, 6])
def test_every_nat_is_reported_as_it_is(family: int) -> None:
    wrong = {}
    for combination in COMBINATIONS:
        mapping, filtering, hairpinning, assignment = combination
        chain = (NatConfig(mapping=mapping, filtering=filtering, hairpinning=hairpinning, port_assignment=assignment),)
        report = probe(chain, family=family)
        found = measured(report.nat.ipv4 if family == 4 else report.nat.ipv6)
        if found != expected(chain):
            wrong[combination] = {name: value for name, value in found.items() if value != expected(chain)[name]}
    assert wrong == {}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_reported_as_declared(name: str) -> None:
    chain = PRESETS[name].chain
    found = measured(probe(chain).nat.ipv4)
    if name in ("tcp-443-only", "udp-blocked"):
        assert found["udp"] is False
    elif name == "blocked":
        assert found["udp"] is None
    else:
        assert found == expected(chain)


@pytest.mark.parametrize("seed", range(20))
def test_loss_does_not_change_the_answer(seed: int) -> None:
    mapping, filtering, hairpinning, assignment = COMBINATIONS[seed * 4]
    chain = (NatConfig(mapping=mapping, filtering=filtering, hairpinning=hairpinning, port_assignment=assignment),)
    assert measured(probe(chain, seed=seed, loss=0.05).nat.ipv4) == expected(chain)
