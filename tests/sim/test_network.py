from __future__ import annotations

import asyncio

import pytest

from icekit.errors import ConfigError
from icekit.nat import NatConfig
from icekit.report import Behavior
from icekit.sim import Internet, Link
from tests.sim.sockets import open_ear


def test_access_links_add_up_and_a_path_has_its_own() -> None:
    net = Internet(link=Link(delay=0.1))
    a = net.host("a", link=Link(delay=0.01), uplink=Link(delay=0.002))
    lan = net.network("full-cone", name="home", link=Link(delay=0.02))
    b = lan.host("b", link=Link(delay=0.001))
    server = net.host("server")
    net.root.path(a, lan, Link(delay=0.5))

    async def main() -> None:
        ear = await open_ear(server, local_addr=(server.address, 7))
        mouth_a = await open_ear(a, local_addr=(a.address, 0))
        mouth_b = await open_ear(b, local_addr=(b.address, 0))
        mouth_a.transport.sendto(b"a", (server.address, 7))
        mouth_b.transport.sendto(b"b", (server.address, 7))
        await asyncio.sleep(1)
        times = {data: time for time, data, _ in ear.heard}
        assert times == {b"a": pytest.approx(0.102), b"b": pytest.approx(0.121)}
        mapped = next(address for _, data, address in ear.heard if data == b"b")
        began = net.now
        mouth_a.transport.sendto(b"direct", mapped)
        await asyncio.sleep(1)
        assert [time - began for time, _, _ in mouth_b.heard] == [pytest.approx(0.002 + 0.5 + 0.02 + 0.001)]

    net.run(main())


def test_hosts_in_one_network_talk_without_the_nat() -> None:
    net = Internet(link=Link(delay=0.1))
    lan = net.network("symmetric")
    one, other = lan.host(), lan.host()

    async def main() -> None:
        ear = await open_ear(other, local_addr=(other.address, 7))
        mouth = await open_ear(one, local_addr=(one.address, 5000))
        mouth.transport.sendto(b"x", (other.address, 7))
        await asyncio.sleep(0.01)
        assert ear.heard == [(0.0, b"x", (one.address, 5000))]

    net.run(main())


def test_two_homes_behind_one_carrier_meet_by_hairpinning() -> None:
    net = Internet()
    carrier = net.network(NatConfig(filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT), name="carrier")
    homes = [net.network("full-cone", outside=carrier) for _ in "ab"]
    one, other = (home.host() for home in homes)
    server = net.host("server")

    async def main() -> None:
        ear = await open_ear(server, local_addr=(server.address, 7))
        listener = await open_ear(other, local_addr=(other.address, 5000))
        listener.transport.sendto(b"who am i", (server.address, 7))
        await asyncio.sleep(0.01)
        (_, _, mapped) = ear.heard[0]
        assert mapped[0] == carrier.nat.external_hosts[0]
        mouth = await open_ear(one, local_addr=(one.address, 5000))
        mouth.transport.sendto(b"x", mapped)
        await asyncio.sleep(0.01)
        assert [(data, address[0]) for _, data, address in listener.heard] == [(b"x", mapped[0])]

    net.run(main())


def test_an_address_belongs_to_one_member() -> None:
    net = Internet()
    host = net.host("a")
    with pytest.raises(ConfigError, match=f"{host.address} is already in use"):
        net.host("b", addresses=[host.address])
    with pytest.raises(ConfigError, match="has no gateway"):
        net.root.nat  # noqa: B018


def test_a_firewall_gives_its_hosts_public_addresses() -> None:
    net = Internet()
    lan = net.network("firewall")
    inside, outside = lan.host("inside"), net.host("outside")
    assert {inside.address, outside.address} == {"203.0.113.1", "203.0.113.2"}

    async def main() -> None:
        ear = await open_ear(inside, local_addr=(inside.address, 7))
        mouth = await open_ear(outside, local_addr=(outside.address, 7))
        mouth.transport.sendto(b"stranger", (inside.address, 7))
        await asyncio.sleep(0.1)
        ear.transport.sendto(b"hello", (outside.address, 7))
        await asyncio.sleep(0.1)
        mouth.transport.sendto(b"answer", (inside.address, 7))
        await asyncio.sleep(0.1)
        assert [data for _, data, _ in ear.heard] == [b"answer"]

    net.run(main())
