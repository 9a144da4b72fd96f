from __future__ import annotations

import asyncio
from typing import Any

import ifaddr
import pytest

from icekit.errors import ConfigError
from icekit.sim import Internet, current_host
from tests.sim.sockets import Ear, open_ear


def test_a_wildcard_socket_answers_from_the_address_that_reaches_the_peer() -> None:
    net = Internet()
    lan = net.network("full-cone")
    host = net.host("router")
    lan.attach(host, addresses=["192.168.1.200"])
    inside, outside = lan.host("inside"), net.host("outside", ipv6=True)

    async def main() -> None:
        ear = await open_ear(host, local_addr=("0.0.0.0", 7))
        assert ear.transport.get_extra_info("sockname") == ("0.0.0.0", 7)
        for peer, seen in ((inside, "192.168.1.200"), (outside, host.address)):
            other = await open_ear(peer, local_addr=(peer.address, 9))
            ear.transport.sendto(b"x", (peer.address, 9))
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            assert [address for _, _, address in other.heard] == [(seen, 7)]
        ear.transport.sendto(b"x", (outside.addresses[1], 9))
        assert ear.errors == [OSError]

    net.run(main())


def test_kill_down_reboot_and_a_lost_address() -> None:
    net = Internet()
    server = net.host("server")
    lan = net.network("port-restricted")
    home = lan.host("home")

    async def echo() -> None:
        class Echo(Ear):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.transport.sendto(data, addr)

        await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(server.address, 7))
        await asyncio.Event().wait()

    async def main() -> list[bool]:
        server.run(echo())
        await asyncio.sleep(0.5)
        ear = await open_ear(home, local_addr=(home.address, 5000), remote_addr=(server.address, 7))
        answers = []
        for second in range(1, 10):
            await asyncio.sleep(second - net.now)
            before = len(ear.heard)
            ear.transport.sendto(b"x")
            await asyncio.sleep(0.1)
            answers.append(len(ear.heard) > before)
        assert ear.errors == [ConnectionRefusedError]
        return answers

    net.at(1.5, server.down)
    net.at(2.5, server.up)
    net.at(3.5, net.root.down)
    net.at(4.5, net.root.up)
    net.at(5.5, lan.nat.reboot)
    net.at(6.5, lambda: lan.detach(home, home.address))
    net.at(7.5, lambda: lan.attach(home, addresses=["192.168.1.1"]))
    net.at(8.5, server.kill)
    assert net.run(main()) == [True, False, True, False, True, True, False, True, False]


def test_programs_see_the_addresses_of_their_host() -> None:
    net = Internet()
    host = net.host("a", ipv6=True)
    net.network(None, name="docker0").attach(host, addresses=["172.17.0.1"])
    real = ifaddr.get_adapters

    async def main() -> None:
        with host:
            adapters = ifaddr.get_adapters()
            assert current_host() is host
        assert [(adapter.name, [ip.ip for ip in adapter.ips]) for adapter in adapters] == [
            ("eth0", [host.addresses[0], (host.addresses[1], 0, 0)]),
            ("eth1", ["172.17.0.1"]),
        ]
        with pytest.raises(ConfigError, match="runs on no simulated host"):
            await asyncio.get_running_loop().create_datagram_endpoint(Ear, local_addr=("0.0.0.0", 0))

    net.run(main())
    assert ifaddr.get_adapters is real
