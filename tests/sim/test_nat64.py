"""An IPv6-only network with NAT64 and DNS64 in the simulator."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from icekit.aio.connection import IceConnection
from icekit.aio.dns import Resolver
from icekit.aio.server import serve as serve_turn
from icekit.nat import NatConfig
from icekit.nat64 import WELL_KNOWN_PREFIX
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.sim import Host, Internet, Link, Network
from tests.requirements import require_program
from tests.sim.sockets import connect, open_ear, serve
from tests.sim.stun_peer import connect_aioice, serve_stun


def ipv6_only(**arguments: Any) -> tuple[Internet, Host, Network, Host]:
    net = Internet(link=Link(delay=0.01), **arguments)
    server = net.host("server", addresses=("203.0.113.10",))
    net.name("server.example.org", server)
    lan = net.network("port-restricted", name="lan", nat64=WELL_KNOWN_PREFIX)
    return net, server, lan, lan.host("phone")


def test_names_of_ipv4_servers_get_an_ipv6_address() -> None:
    net, server, _, phone = ipv6_only()
    both = net.host("both", ipv6=True)
    net.name("both.example.org", both)
    assert [":" in address for address in phone.addresses] == [True]

    async def look_up(name: str) -> list[str]:
        infos = await asyncio.get_running_loop().getaddrinfo(name, 1, type=socket.SOCK_DGRAM)
        return [info[4][0] for info in infos]

    async def main() -> None:
        made = "64:ff9b::cb00:710a"
        assert await phone.run(look_up("server.example.org")) == [made, server.address]
        assert await phone.run(look_up("ipv4only.arpa")) == [
            "64:ff9b::c000:aa", "64:ff9b::c000:ab", "192.0.0.170", "192.0.0.171",
        ]  # fmt: skip
        # What has an IPv6 address of its own, and what is no name, stays as it is; and so does everything elsewhere.
        assert await phone.run(look_up("both.example.org")) == list(both.addresses)
        assert await phone.run(look_up("203.0.113.10")) == ["203.0.113.10"]
        assert await server.run(look_up("server.example.org")) == [server.address]
        assert await look_up("server.example.org") == [server.address]

    net.run(main())


def test_udp_and_tcp_to_an_ipv4_server_and_plain_ipv6() -> None:
    net, server, lan, phone = ipv6_only()
    far = net.host("far", addresses=("2001:db8:1::99",))
    neighbour = lan.host("neighbour")

    async def main() -> None:
        ear = await open_ear(server, local_addr=(server.address, 7))
        mouth = await open_ear(phone, local_addr=(phone.address, 5000))
        mouth.transport.sendto(b"hello", ("64:ff9b::cb00:710a", 7, 0, 0))
        await asyncio.sleep(1)
        ((_, data, source),) = ear.heard
        assert (data, source) == (b"hello", ("198.51.100.1", 5000))
        ear.transport.sendto(b"answer", source)
        await asyncio.sleep(1)
        assert [heard[1:] for heard in mouth.heard] == [(b"answer", ("64:ff9b::cb00:710a", 7, 0, 0))]

        await serve(server, 80)
        reader, writer = await connect(phone, "server.example.org", 80)
        writer.write(b"x" * 5000)
        assert await reader.readexactly(5000) == b"x" * 5000
        writer.close()

        for other in (far, neighbour):
            ear = await open_ear(other, local_addr=(other.address, 7))
            mouth.transport.sendto(b"native", (other.address, 7, 0, 0))
            await asyncio.sleep(1)
            assert [heard[1:] for heard in ear.heard] == [(b"native", (phone.address, 5000, 0, 0))]

    net.run(main())


def test_hairpinning_in_a_network_with_ipv6_only() -> None:
    net = Internet()
    lan = net.network([NatConfig()], nat64=WELL_KNOWN_PREFIX)
    server, one, other = net.host("server"), lan.host("one"), lan.host("other")

    async def main() -> None:
        await open_ear(server, local_addr=(server.address, 7))
        first = await open_ear(one, local_addr=(one.address, 5000))
        second = await open_ear(other, local_addr=(other.address, 6000))
        prefix = lan.nat64_prefix
        assert prefix is not None
        first.transport.sendto(b"open", (prefix.embed(server.address), 7, 0, 0))
        await asyncio.sleep(1)
        (mapping,) = lan.nat.mappings(net.now)
        second.transport.sendto(b"neighbour", (prefix.embed(mapping.external.host), mapping.external.port, 0, 0))
        await asyncio.sleep(1)
        assert [heard[1:] for heard in first.heard] == [
            (b"neighbour", (prefix.embed(mapping.external.host), 6000, 0, 0))
        ]

    net.run(main())


def test_stock_aioice_reaches_an_ipv6_peer_from_behind_a_nat64(tmp_path: Path) -> None:
    net, server, _, phone = ipv6_only(capture=tmp_path / "run.pcapng")
    peer = net.host("peer", nat="port-restricted", ipv6=True)

    async def main() -> tuple[str, str]:
        await server.run(serve_stun(server.address))
        one, other = await connect_aioice(phone, peer)
        await one.send(b"hello")
        assert await other.recv() == b"hello"
        pair = one._nominated[1]
        await one.close()
        await other.close()
        return pair.local_candidate.type, pair.remote_candidate.host

    assert net.run(main()) == ("host", peer.addresses[1])


@pytest.mark.parametrize("name", ["server.example.org", "203.0.113.10"])
def test_our_own_ice_finds_servers_that_have_ipv4_only(name: str) -> None:
    """DNS64 makes addresses for names; for a literal the prefix is asked for (RFC 7050)."""
    net, server, _, phone = ipv6_only()

    async def service() -> None:
        turn = TurnServerConfig(users={"user": "password"}, relay_ipv4=server.address)
        async with serve_turn(ServerConfig(turn=turn), hosts=[server.address], ports=(3478,)):
            await asyncio.Event().wait()

    async def gather() -> set[tuple[str, str]]:
        url = IceServer(urls=f"turn:{name}", username="user", credential="password")
        connection = IceConnection(True, ice_servers=[url], resolver=Resolver(system_only=True))
        found = {(str(candidate.type), candidate.address) async for candidate in connection.candidates()}
        await connection.close()
        return found

    async def main() -> set[tuple[str, str]]:
        server.run(service())
        await asyncio.sleep(0.1)
        return await phone.run(gather())

    assert net.run(main()) == {("host", phone.address), ("srflx", "198.51.100.1"), ("relay", server.address)}


@pytest.mark.interop("tshark")
def test_a_capture_shows_both_families(tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "run.pcapng"
    net, server, _, phone = ipv6_only(capture=path)

    async def main() -> None:
        await open_ear(server, local_addr=(server.address, 7))
        mouth = await open_ear(phone, local_addr=(phone.address, 5000))
        mouth.transport.sendto(b"hello", ("64:ff9b::cb00:710a", 7, 0, 0))
        await asyncio.sleep(1)

    net.run(main())
    fields = [f"-e{name}" for name in ("ip.dst", "ipv6.dst", "udp.checksum.status")]
    command = [str(require_program("tshark")), "-r", str(path), "-o", "udp.check_checksum:TRUE", "-T", "fields"]
    done = subprocess.run([*command, *fields], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["\t64:ff9b::cb00:710a\t1", "203.0.113.10\t\t1"]
