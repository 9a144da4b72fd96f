"""The simulator: packets through one NAT, and whole handshakes through two.

Nobody else has a NAT in Python to measure beside: the floor is what every one must do, a key looked up in a table and a
datagram made with another address. A simulated handshake stands beside the same one of stock aioice on real sockets of
this host, without NAT; its waiting is left out, as CPU time counts.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import aioice
import pytest

from benchmarks.micro.conftest import Beside
from icekit.aio.connection import IceConnection
from icekit.nat import Nat
from icekit.nat_presets import preset
from icekit.net import Address, Datagram
from icekit.pacing import Floor
from icekit.servers import IceServer
from icekit.sim import Host, Internet, Link
from tests.sim.stun_peer import connect_aioice, serve_stun

HANDSHAKES = 5


@pytest.mark.parametrize("name", ["full-cone", "symmetric"])
def test_packets_through_a_nat(beside: Beside, name: str) -> None:
    nat = Nat(preset(name).chain[0], ("198.51.100.1",), token_bytes=Random(1).randbytes)
    inside = [Address("192.168.1.2", port) for port in range(5000, 5100)]
    sent = [Datagram(source, Address("203.0.113.5", 3478 + port), bytes(100)) for source in inside for port in range(5)]
    outer = {(item.source, item.destination): Address("198.51.100.1", 1024 + n) for n, item in enumerate(sent)}
    inner = {(address, key[1]): key[0] for key, address in outer.items()}

    def ours() -> None:
        for datagram in sent:
            translated = nat.outbound(datagram, 1.0)
            assert translated is not None
            assert nat.inbound(Datagram(translated.destination, translated.source, b""), 1.0) is not None

    def theirs() -> None:
        for datagram in sent:
            source = outer[datagram.source, datagram.destination]
            translated = Datagram(source, datagram.destination, datagram.data)
            answer = Datagram(translated.destination, translated.source, b"")
            Datagram(answer.source, inner[answer.destination, answer.source], answer.data)

    beside(ours, theirs, units=2 * len(sent), rival="dict", unit="packet")


def simulated(connect: Any, count: int) -> None:
    """Each handshake has its own Internet: a STUN server, two hosts behind port-restricted NATs, 20 ms one way."""
    for seed in range(count):
        net = Internet(seed, link=Link(delay=0.02))
        server = net.host("stun")
        alice, bob = net.host("alice", nat="port-restricted"), net.host("bob", nat="port-restricted")

        async def handshake(net: Internet = net, server: Host = server, alice: Host = alice, bob: Host = bob) -> None:
            await server.run(serve_stun(server.address))
            for connection in await connect(alice, bob, server.address):
                await connection.close()

        net.run(handshake())


async def with_aioice(alice: Host, bob: Host, server: str) -> tuple[Any, ...]:
    return await connect_aioice(alice, bob, stun_server=(server, 3478))


async def with_icekit(alice: Host, bob: Host, server: str) -> tuple[Any, ...]:
    async def gather(controlling: bool) -> IceConnection:
        servers = [IceServer(urls=f"stun:{server}")]
        connection = IceConnection(controlling, ice_servers=servers, floor=Floor())
        await connection.gather_candidates()
        return connection

    one, other = await asyncio.gather(alice.run(gather(True)), bob.run(gather(False)))
    for local, remote in ((one, other), (other, one)):
        for candidate in local.gathered:
            await remote.add_remote_candidate(candidate)
        await remote.add_remote_candidate(None)
        remote.remote_username, remote.remote_password = local.local_username, local.local_password
    await asyncio.gather(alice.run(one.connect()), bob.run(other.connect()))
    return one, other


def real(count: int) -> None:
    async def handshake() -> None:
        one, other = aioice.Connection(True, use_ipv6=False), aioice.Connection(False, use_ipv6=False)
        await asyncio.gather(one.gather_candidates(), other.gather_candidates())
        for source, sink in ((one, other), (other, one)):
            sink.remote_username, sink.remote_password = source.local_username, source.local_password
            for candidate in source.local_candidates:
                await sink.add_remote_candidate(candidate)
            await sink.add_remote_candidate(None)
        await asyncio.gather(one.connect(), other.connect())
        for connection in (one, other):
            await connection.close()

    for _ in range(count):
        asyncio.run(handshake())


def test_simulated_handshakes_of_aioice(beside: Beside) -> None:
    beside(
        lambda: simulated(with_aioice, HANDSHAKES),
        lambda: real(HANDSHAKES),
        units=HANDSHAKES,
        rival="real sockets",
        unit="session",
        rounds=10,
    )


def test_simulated_handshakes_of_icekit(beside: Beside) -> None:
    beside(
        lambda: simulated(with_icekit, HANDSHAKES),
        lambda: simulated(with_aioice, HANDSHAKES),
        units=HANDSHAKES,
        rival="aioice, simulated",
        unit="session",
        rounds=10,
    )
