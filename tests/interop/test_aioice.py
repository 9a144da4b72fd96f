"""``IceConnection`` with stock aioice: both roles, with and without trickle, direct and by relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioice
import pytest

from icekit.aio.connection import IceConnection
from icekit.aio.dns import Resolver
from icekit.aio.gatherer import local_addresses
from icekit.aio.server import RunningServer, serve
from icekit.ice_events import IceState
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.sim import Internet, Link
from tests.interop.coturn import Coturn

pytestmark = pytest.mark.interop("turnserver")

SECONDS = 20
USER, PASSWORD = "alice", "secret"


@asynccontextmanager
async def closing(*connections: Any) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SECONDS):
            yield
    finally:
        await asyncio.gather(*(item.close() for item in connections))


def both(ours_controls: bool, ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[IceConnection, aioice.Connection]:
    return IceConnection(ours_controls, **ours), aioice.Connection(not ours_controls, **theirs)


def exchange_credentials(one: Any, other: Any) -> None:
    one.remote_username, one.remote_password = other.local_username, other.local_password
    other.remote_username, other.remote_password = one.local_username, one.local_password


async def connect_whole(ours: IceConnection, theirs: aioice.Connection) -> None:
    await asyncio.gather(ours.gather_candidates(), theirs.gather_candidates())
    exchange_credentials(ours, theirs)
    for source, target in ((ours, theirs), (theirs, ours)):
        for candidate in source.local_candidates:
            await target.add_remote_candidate(candidate)  # type: ignore[attr-defined]
        await target.add_remote_candidate(None)  # type: ignore[attr-defined]
    await asyncio.gather(ours.connect(), theirs.connect())


async def connect_trickling(ours: IceConnection, theirs: aioice.Connection) -> None:
    """aioice cannot tell candidates as it finds them, but takes them while it connects."""
    exchange_credentials(ours, theirs)
    connecting = [asyncio.create_task(ours.connect())]
    await theirs.gather_candidates()
    connecting.append(asyncio.create_task(theirs.connect()))
    for candidate in theirs.local_candidates:
        await ours.add_remote_candidate(candidate)
        await asyncio.sleep(0)
    await ours.add_remote_candidate(None)
    async for found in ours.candidates():
        await theirs.add_remote_candidate(aioice.Candidate.from_sdp(str(found).removeprefix("candidate:")))
    await theirs.add_remote_candidate(None)
    await asyncio.gather(*connecting)


async def echo(ours: IceConnection, theirs: aioice.Connection) -> None:
    for number in range(10):
        await ours.send(b"ping %d" % number)
        assert await theirs.recv() == b"ping %d" % number
        await theirs.send(b"pong %d" % number)
        assert await ours.recv() == b"pong %d" % number


WAYS = [connect_whole, connect_trickling]


@pytest.mark.parametrize("connect", WAYS)
@pytest.mark.parametrize("controls", [True, False])
async def test_direct(controls: bool, connect: Any) -> None:
    if not local_addresses():
        pytest.skip("aioice uses no loopback address, and this host has no other")
    ours, theirs = both(controls, {}, {})
    async with closing(ours, theirs):
        await connect(ours, theirs)
        await echo(ours, theirs)
        pair = await ours.settled()
        assert (str(pair.local.type), ours.state, ours.ice_controlling) == ("host", IceState.COMPLETED, controls)


@pytest.mark.parametrize("connect", WAYS)
@pytest.mark.parametrize("controls", [True, False])
async def test_two_components(controls: bool, connect: Any) -> None:
    if not local_addresses():
        pytest.skip("aioice uses no loopback address, and this host has no other")
    ours, theirs = both(controls, {"components": 2}, {"components": 2})
    async with closing(ours, theirs):
        await connect(ours, theirs)
        for source, target in ((ours, theirs), (theirs, ours)):
            for component in (1, 2):
                await source.sendto(b"to %d" % component, component)
                assert await target.recvfrom() == (b"to %d" % component, component)
        await ours.settled()
        assert {pair.component for pair in ours.stats() if pair.selected and pair.nominated} == {1, 2}


@pytest.mark.parametrize("connect", WAYS)
@pytest.mark.parametrize("controls", [True, False])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_by_relays_of_coturn(coturn: Coturn, transport: str, controls: bool, connect: Any) -> None:
    if not local_addresses():
        pytest.skip("aioice uses no loopback address, and this host has no other")
    server = IceServer(urls=coturn.turn_uri(transport), username=coturn.username, credential=coturn.password)
    relay = aioice.TransportPolicy.RELAY
    ours, theirs = both(
        controls,
        {"ice_servers": [server], "transport_policy": relay, "local_addresses": ["127.0.0.1"]},
        {
            "turn_server": tuple(coturn.address),
            "turn_username": coturn.username,
            "turn_password": coturn.password,
            "turn_transport": transport,
            "transport_policy": relay,
        },
    )
    async with closing(ours, theirs):
        await connect(ours, theirs)
        await echo(ours, theirs)
        pair = await ours.settled()
        assert (str(pair.local.type), str(pair.remote.type)) == ("relay", "relay")


async def test_who_has_gone_is_noticed() -> None:
    if not local_addresses():
        pytest.skip("aioice uses no loopback address, and this host has no other")
    ours, theirs = both(True, {}, {})
    async with closing(ours, theirs):
        await connect_whole(ours, theirs)
        await theirs.close()
        async for state in ours.states():
            if state is IceState.DISCONNECTED:
                break
        else:
            pytest.fail("its states have ended, and it was never disconnected")


# On simulated networks: both behind NATs, in virtual time.


async def side(own: Any, peer: Any, told: list[asyncio.Future[None]], index: int, trickle: bool) -> None:
    """One program: gather, tell the other one, connect. Candidates are 20 ms under way."""
    if trickle and isinstance(own, IceConnection):
        connecting = asyncio.create_task(own.connect())
        async for candidate in own.candidates():
            await asyncio.sleep(0.02)
            await peer.add_remote_candidate(aioice.Candidate.from_sdp(str(candidate).removeprefix("candidate:")))
        await peer.add_remote_candidate(None)
        await connecting
        return
    await own.gather_candidates()
    await asyncio.sleep(0.02)
    for candidate in own.local_candidates:
        await peer.add_remote_candidate(candidate)
    await peer.add_remote_candidate(None)
    told[index].set_result(None)
    if not trickle:
        await told[1 - index]
    await own.connect()


@pytest.mark.parametrize("trickle", [False, True])
@pytest.mark.parametrize("controls", [True, False])
@pytest.mark.parametrize(
    ("nat", "kinds"), [("port-restricted", {"host", "srflx", "prflx"}), ("symmetric", {"relay", "prflx"})]
)
def test_behind_nats(nat: str, kinds: set[str], controls: bool, trickle: bool) -> None:
    net = Internet(seed=5, link=Link(delay=0.02))
    server, hosts = net.host("server"), (net.host("alice", nat=nat), net.host("bob", nat=nat))
    address = (server.address, 3478)
    urls = [f"stun:{server.address}", f"turn:{server.address}"]
    servers = [IceServer(urls=urls, username=USER, credential=PASSWORD)]

    async def serving(started: asyncio.Future[RunningServer]) -> None:
        config = ServerConfig(turn=TurnServerConfig(users={USER: PASSWORD}, relay_ipv4=server.address))
        async with serve(config, hosts=[server.address], ports=(3478,)) as running:
            started.set_result(running)
            await asyncio.get_running_loop().create_future()

    async def make_ours() -> IceConnection:
        return IceConnection(controls, ice_servers=servers, resolver=Resolver(system_only=True))

    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        started: asyncio.Future[RunningServer] = loop.create_future()
        server.run(serving(started))
        await started
        ours = await hosts[0].run(make_ours())
        theirs = aioice.Connection(
            not controls, stun_server=address, turn_server=address, turn_username=USER, turn_password=PASSWORD
        )
        exchange_credentials(ours, theirs)
        told = [loop.create_future(), loop.create_future()]
        async with closing(ours, theirs):
            await asyncio.gather(
                hosts[0].run(side(ours, theirs, told, 0, trickle)), hosts[1].run(side(theirs, ours, told, 1, trickle))
            )
            seconds = net.now
            await echo(ours, theirs)
            return str((await ours.settled()).local.type), seconds

    kind, seconds = net.run(main())
    assert kind in kinds
    assert seconds < 1.5
