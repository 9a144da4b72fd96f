from __future__ import annotations

import asyncio
import errno

import pytest

from icekit.sim import Internet, Link
from tests.sim.sockets import open_ear, two_hosts


def test_a_datagram_takes_the_delay_of_the_link() -> None:
    net, a, b = two_hosts(Link(delay=0.025))

    async def main() -> None:
        ear = await open_ear(b, local_addr=(b.address, 7))
        mouth = await open_ear(a, local_addr=(a.address, 5000))
        assert mouth.transport.get_extra_info("sockname") == (a.address, 5000)
        mouth.transport.sendto(b"hello", (b.address, 7))
        await asyncio.sleep(1)
        assert ear.heard == [(0.025, b"hello", (a.address, 5000))]

    net.run(main())
    assert net.now == 1.0


def test_a_port_is_bound_once_and_given_back() -> None:
    net, a, _ = two_hosts()

    async def main() -> None:
        first = await open_ear(a, local_addr=(a.address, 5000))
        for taken in (a.address, "0.0.0.0"):
            with pytest.raises(OSError, match="5000") as caught:
                await open_ear(a, local_addr=(taken, 5000))
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match="on a") as caught:
            await open_ear(a, local_addr=("203.0.113.99", 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL
        first.transport.close()
        assert first.transport.is_closing()
        first.transport.sendto(b"ignored", (a.address, 9))
        await open_ear(a, local_addr=(a.address, 5000))
        assert first.lost == [None]
        ports = {(await open_ear(a, local_addr=(a.address, 0))).transport.get_extra_info("sockname") for _ in "abc"}
        assert len(ports) == 3

    net.run(main())


def test_connected_sockets_hear_one_peer_and_port_unreachable() -> None:
    net, a, b = two_hosts(Link(delay=0.01))
    home = net.host("home", nat="port-restricted")

    async def main() -> None:
        for host in (a, home):
            connected = await open_ear(host, remote_addr=(b.address, 7))
            assert connected.transport.get_extra_info("peername") == (b.address, 7)
            assert connected.transport.get_extra_info("sockname")[0] == host.address
            free = await open_ear(host, local_addr=(host.address, 0))
            connected.transport.sendto(b"nobody there")
            free.transport.sendto(b"nobody there", (b.address, 7))
            await asyncio.sleep(1)
            assert connected.errors == [ConnectionRefusedError]
            assert free.errors == []
        stranger = await open_ear(b, local_addr=(b.address, 8))
        connected = await open_ear(a, local_addr=(a.address, 5000), remote_addr=(b.address, 7))
        friend = await open_ear(b, local_addr=(b.address, 7))
        for ear in (stranger, friend):
            ear.transport.sendto(ear.transport.get_extra_info("sockname")[1].to_bytes(1, "big"), (a.address, 5000))
        await asyncio.sleep(1)
        assert [data for _, data, _ in connected.heard] == [b"\x07"]
        with pytest.raises(ValueError, match="Invalid address"):
            connected.transport.sendto(b"x", (b.address, 8))

    net.run(main())


def test_a_datagram_larger_than_an_ip_packet_is_an_error() -> None:
    net = Internet()
    a = net.host("a", ipv6=True)
    b = net.host("b", ipv6=True)

    async def main() -> None:
        for address, other in zip(a.addresses, b.addresses, strict=True):
            ear = await open_ear(b, local_addr=(other, 7))
            mouth = await open_ear(a, local_addr=(address, 7))
            largest = 65_527 if ":" in address else 65_507
            mouth.transport.sendto(bytes(largest), (other, 7))
            mouth.transport.sendto(bytes(largest + 1), (other, 7))
            await asyncio.sleep(1)
            assert [len(data) for _, data, _ in ear.heard] == [largest]
            assert mouth.errors == [OSError]

    net.run(main())
