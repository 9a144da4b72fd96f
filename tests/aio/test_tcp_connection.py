"""Connections over TCP (RFC 6544) in virtual time, and on real sockets of the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from icekit.aio import IceConnection
from icekit.aio.dns import Resolver
from icekit.candidate import CandidateType, TcpType
from icekit.errors import ConfigError, IceFailed
from icekit.framing import frame
from icekit.gathering_events import LocalAddressFailed
from icekit.ice_events import IceState, SelectedPair
from icekit.net import Address
from icekit.network_config import NetworkConfig
from icekit.pacing import Floor
from icekit.sim import Host, Internet, Link

TCP = NetworkConfig(tcp=True)
RTT = 0.04


@dataclass
class Side:
    """A connection, and the host that all its work is done on."""

    host: Host
    ice: IceConnection

    async def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await self.host.run(work)

    async def selected(self) -> SelectedPair:
        found = await self.do(self.ice.settled())
        assert isinstance(found, SelectedPair)
        return found


Sides = tuple[Side, Side]


async def introduce(sides: Sides) -> None:
    """Exchange credentials and all candidates."""
    await asyncio.gather(*(side.do(side.ice.gather_candidates()) for side in sides))
    for source, target in (sides, sides[::-1]):
        target.ice.remote_username, target.ice.remote_password = source.ice.local_username, source.ice.local_password
        for candidate in (*source.ice.gathered, None):
            await target.do(target.ice.add_remote_candidate(candidate))


async def connect(sides: Sides) -> None:
    await introduce(sides)
    await asyncio.gather(*(side.do(side.ice.connect()) for side in sides))


async def echo(sides: Sides, data: bytes = b"hello") -> None:
    for source, target in (sides, sides[::-1]):
        await source.do(source.ice.send(data))
        assert await target.do(target.ice.recv()) == data


def established(side: Side) -> dict[tuple[Address, Address], Any]:
    """Its TCP streams, without those to the private address of the peer, where nobody answers."""
    return {path: stream for path, stream in side.host.tcp.streams.items() if not path[1].host.startswith("192.168.")}


def run(
    test: Callable[[Sides], Awaitable[None]],
    nats: Sequence[str | None] = ("udp-blocked", None),
    *,
    networks: Sequence[NetworkConfig] = (TCP, TCP),
    controlling: int = 0,
) -> None:
    net = Internet(seed=5, link=Link(delay=RTT / 2))
    hosts = [net.host(name, nat=nat) for name, nat in zip(("alice", "bob"), nats, strict=True)]

    async def make(index: int) -> IceConnection:
        return IceConnection(
            index == controlling,
            network=networks[index],
            floor=Floor(),
            pacing=0.005,
            resolver=Resolver(system_only=True),
        )

    async def main() -> None:
        one, other = [Side(host, await host.run(make(index))) for index, host in enumerate(hosts)]
        try:
            async with asyncio.timeout(900):
                await test((one, other))
        finally:
            await asyncio.gather(*(side.do(side.ice.close()) for side in (one, other)))
        await asyncio.sleep(1)
        assert [host.tcp.streams for host in hosts] == [{}, {}]
        assert [host.tcp._servers for host in hosts] == [{}, {}]

    net.run(main())


@pytest.mark.parametrize("controlling", [0, 1])
def test_where_udp_is_blocked_tcp_connects(controlling: int) -> None:
    async def test(sides: Sides) -> None:
        await introduce(sides)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(side.do(side.ice.connect()) for side in sides))
        # The handshake of TCP and one check, and slots for the pairs over UDP, which rank higher.
        assert asyncio.get_running_loop().time() - began < 2 * RTT + 0.05
        await echo(sides)
        active, passive = await sides[0].selected(), await sides[1].selected()
        assert (active.local.tcptype, active.remote.tcptype) == (TcpType.ACTIVE, TcpType.PASSIVE)
        assert (passive.local.tcptype, passive.remote.tcptype) == (TcpType.PASSIVE, TcpType.ACTIVE)
        assert passive.remote.type is CandidateType.PEER_REFLEXIVE
        assert passive.remote.port == passive.address.port != 9
        # What the NAT made of the connection is known to both.
        assert (active.local.type, active.local.port) == (CandidateType.PEER_REFLEXIVE, passive.address.port)

    run(test, controlling=controlling)


def test_udp_is_used_where_it_works() -> None:
    async def test(sides: Sides) -> None:
        await connect(sides)
        await echo(sides)
        for side in sides:
            assert (await side.selected()).local.transport == "udp"

    run(test, (None, None))


def test_through_a_nat_to_a_listener() -> None:
    async def test(sides: Sides) -> None:
        await connect(sides)
        await echo(sides)
        pair = await sides[0].selected()
        assert (pair.local.transport, pair.local.type) == ("udp", CandidateType.PEER_REFLEXIVE)

    run(test, ("symmetric", None))


def test_without_the_keyword_there_is_no_tcp() -> None:
    async def test(sides: Sides) -> None:
        await introduce(sides)
        assert {item.transport for item in sides[1].ice.gathered} == {"udp"}
        assert {item.tcptype for item in sides[0].ice.gathered if item.transport == "tcp"} == {
            TcpType.ACTIVE,
            TcpType.PASSIVE,
        }
        with pytest.raises(IceFailed):
            await sides[0].do(sides[0].ice.connect())

    run(test, networks=(TCP, NetworkConfig()))


def test_data_of_any_length_arrives_whole_and_in_order() -> None:
    async def test(sides: Sides) -> None:
        await connect(sides)
        for length in (1, 1200, 16_384, 65_535):
            await echo(sides, bytes(range(256)) * (length // 256) + bytes(length % 256))

    run(test)


def test_a_connection_holds_for_ten_minutes() -> None:
    async def test(sides: Sides) -> None:
        await connect(sides)
        states = [side.ice.state for side in sides]
        await asyncio.sleep(600)
        await echo(sides)
        assert {side.ice.state for side in sides} == {IceState.COMPLETED}, states

    run(test)


@pytest.mark.parametrize("controlling", [0, 1])
@pytest.mark.parametrize("who", [0, 1])
def test_a_lost_connection_is_opened_again(controlling: int, who: int) -> None:
    """A middlebox resets it: the active side connects anew, and nobody has to restart."""

    async def test(sides: Sides) -> None:
        await connect(sides)
        await asyncio.gather(*(side.selected() for side in sides))
        before = (await sides[1].selected()).address
        (stream,) = established(sides[who]).values()
        await sides[who].do(aborted(stream))
        await asyncio.sleep(6 * RTT)
        await echo(sides)
        after = (await sides[1].selected()).address
        assert before != after
        assert {side.ice.state for side in sides} <= {IceState.CONNECTED, IceState.COMPLETED}
        await asyncio.sleep(60)
        await echo(sides)
        assert {side.ice.state for side in sides} == {IceState.COMPLETED}

    run(test, controlling=controlling)


async def aborted(stream: Any) -> None:
    stream.abort()


def test_a_peer_that_is_gone_is_disconnected_and_then_failed() -> None:
    async def test(sides: Sides) -> None:
        await connect(sides)
        await asyncio.gather(*(side.selected() for side in sides))
        sides[1].host.down()
        await asyncio.sleep(7)
        assert sides[0].ice.state is IceState.DISCONNECTED
        await asyncio.sleep(30)
        assert sides[0].ice.state is IceState.FAILED
        sides[1].host.up()
        # The end of a connection is repeated until the other side has it.
        await asyncio.sleep(30)

    run(test)


def test_a_restart_has_connections_of_its_own_and_keeps_the_listener() -> None:
    """With one port for each side: what a firewall lets pass is enough for any number of restarts."""

    async def test(sides: Sides) -> None:
        await connect(sides)
        listens = [item.port for item in sides[1].ice.gathered if item.tcptype is TcpType.PASSIVE]
        for _ in range(3):
            before = set(established(sides[1]))
            for side in sides:
                await side.do(restarted(side.ice))
            await connect(sides)
            await echo(sides)
            assert [item.port for item in sides[1].ice.gathered if item.tcptype is TcpType.PASSIVE] == listens
            assert set(established(sides[1])) > before
            await asyncio.sleep(10)
            assert len(established(sides[1])) == 1

    run(test, networks=(TCP, NetworkConfig(tcp=True, port_range=(50000, 50001))))


async def restarted(ice: IceConnection) -> None:
    ice.restart()


def test_strangers_at_the_listener_are_hung_up_on() -> None:
    async def test(sides: Sides) -> None:
        alice, bob = sides
        await introduce(sides)
        (listens,) = [item for item in bob.ice.gathered if item.tcptype is TcpType.PASSIVE]

        async def stranger(data: bytes) -> tuple[bytes, float]:
            began = asyncio.get_running_loop().time()
            reader, writer = await asyncio.open_connection(listens.address, listens.port)
            writer.write(data)
            try:
                heard = await reader.read()
            finally:
                writer.close()
            return heard, asyncio.get_running_loop().time() - began

        for data, least in ((frame(b"hello"), 0.0), (b"GET / HTTP/1.1\r\n\r\n", 0.0), (b"\x00", 5.0), (b"", 5.0)):
            heard, seconds = await alice.do(stranger(data))
            assert heard == b""
            assert least <= seconds < least + 1
        idle = [asyncio.ensure_future(alice.do(stranger(b"\x00"))) for _ in range(40)]
        await asyncio.gather(*(side.do(side.ice.connect()) for side in sides))
        await echo(sides)
        await asyncio.gather(*idle)

    run(test)


def test_a_range_without_a_free_port_is_told_at_once() -> None:
    network = NetworkConfig(port_range=(50000, 50000))

    async def test(sides: Sides) -> None:
        loop = asyncio.get_running_loop()

        async def take() -> Any:
            address = sides[0].host.address
            return await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(address, 50000))

        transport, _ = await sides[0].do(take())
        await introduce(sides)
        with pytest.raises(IceFailed, match="all UDP ports from 50000 to 50000 are in use; widen the port range"):
            await sides[0].do(sides[0].ice.connect())
        assert any(isinstance(event, LocalAddressFailed) for _, event in sides[0].ice.history)
        transport.close()

    run(test, (None, None), networks=(network, network))


def test_an_announced_address_connects_through_a_static_nat() -> None:
    """A full-cone NAT that keeps ports is what a cloud or a published port range is; nobody asks a server."""
    net = Internet(seed=5, link=Link(delay=RTT / 2))
    cloud = net.network("full-cone", name="cloud")
    hosts = [net.host("alice", nat="symmetric"), cloud.host("bob")]

    async def make(index: int) -> IceConnection:
        (public,) = cloud.nat.external_hosts
        network = NetworkConfig(announced=[public], port_range=(50000, 50009)) if index else None
        return IceConnection(index == 0, network=network, floor=Floor(), pacing=0.005)

    async def main() -> None:
        one, other = [Side(host, await host.run(make(index))) for index, host in enumerate(hosts)]
        await connect((one, other))
        await echo((one, other))
        assert (await one.selected()).remote.type is CandidateType.SERVER_REFLEXIVE
        await asyncio.gather(*(side.do(side.ice.close()) for side in (one, other)))

    with pytest.raises(ConfigError, match="is announced for"):
        IceConnection(True, local_addresses=["10.9.9.9"], network=NetworkConfig(announced=["203.0.113.7/10.9.9.8"]))
    net.run(main())


# On real sockets.


async def test_tcp_on_loopback() -> None:
    pair = [
        IceConnection(index == 0, local_addresses=["127.0.0.1"], network=NetworkConfig(tcp=True), floor=Floor())
        for index in range(2)
    ]
    one, other = pair
    try:
        async with asyncio.timeout(20):
            for source, target in ((one, other), (other, one)):
                target.remote_username, target.remote_password = source.local_username, source.local_password
                async for candidate in source.candidates():
                    if candidate.transport == "tcp":
                        await target.add_remote_candidate(candidate)
                await target.add_remote_candidate(None)
            await asyncio.gather(one.connect(), other.connect())
            selected = await asyncio.gather(one.settled(), other.settled())
            assert {item.local.tcptype for item in selected} == {TcpType.ACTIVE, TcpType.PASSIVE}
            for source, target in ((one, other), (other, one)):
                for data in (b"hello", bytes(20_000)):
                    await source.send(data)
                    assert await target.recv() == data
    finally:
        await asyncio.gather(*(item.close() for item in pair))
