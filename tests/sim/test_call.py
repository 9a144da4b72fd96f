"""Calls on the simulated Internet: the same code, aiortc's data channels, NATs, and no real second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from icekit.aio.server import serve
from icekit.call import Call, CallConfig
from icekit.errors import CallFailed
from icekit.phases import Phase
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.signaling import connect
from icekit.sim import Host, Internet, Link
from tests.call.calls import until
from tests.call.rooms import Change, Through

SERVER = "203.0.113.10"
STUN = (IceServer(urls=f"stun:{SERVER}"),)
TURN = (*STUN, IceServer(urls=f"turn:{SERVER}", username="alice", credential="secret"))

Talk = Callable[[Call, Call, Host], Awaitable[Any]]


def simulated(
    nats: tuple[str, str],
    servers: tuple[IceServer, ...],
    talk: Talk,
    *,
    link: Link | None = None,
    change: Change | None = None,
    **settings: Any,
) -> Any:
    """Two calls, each on its host behind its NAT, in one room; what ``talk`` gives, which also gets the first host.

    ``change`` is what happens to the messages that the second one gets.
    """
    net = Internet(seed=3, link=link or Link(delay=0.02), limit=600)
    server = net.host("server", addresses=[SERVER])
    hosts = [net.host(name, nat=nat) for name, nat in zip(("alice", "bob"), nats, strict=True)]
    config = CallConfig(receive=(), **settings)

    async def run_server(ready: asyncio.Event) -> None:
        turn = TurnServerConfig(users={"alice": "secret"}, relay_ipv4=SERVER)
        async with serve(ServerConfig(turn=turn), hosts=[SERVER], ports=(3478,)):
            ready.set()
            await asyncio.Event().wait()

    async def enter(host: Host, call: Call) -> Call:
        return await host.run(call.__aenter__())

    async def main() -> Any:
        ready = asyncio.Event()
        service = server.run(run_server(ready))
        await ready.wait()
        async with connect("memory:room", name="alice") as one, connect("memory:room", name="bob") as other:
            heard = other if change is None else Through(other, change)
            calls = [Call(channel, ice_servers=servers, config=config) for channel in (one, heard)]
            await asyncio.gather(*(enter(host, call) for host, call in zip(hosts, calls, strict=True)))
            try:
                return await talk(calls[0], calls[1], hosts[0])
            finally:
                await asyncio.gather(*(host.run(call.hang_up()) for host, call in zip(hosts, calls, strict=True)))
                service.cancel()

    return net.run(main())


async def data(one: Call, other: Call, _: Host) -> list[tuple[str, str]]:
    for source, target in ((one, other), (other, one)):
        await source.opened()
        source.send("hello")
        assert await target.receive() == "hello"
    await asyncio.sleep(3)
    assert one.trace.is_complete
    assert [call.phase for call in (one, other)] == [Phase.CONNECTED] * 2
    pairs = [call.stats and call.stats.pair for call in (one, other)]
    return [(pair.local, pair.remote) for pair in pairs if pair is not None]


@pytest.mark.parametrize(
    ("nats", "relayed"),
    [(("open", "open"), False), (("port-restricted", "port-restricted"), False), (("symmetric", "symmetric"), True)],
)
def test_data_both_ways(nats: tuple[str, str], relayed: bool) -> None:
    pairs = simulated(nats, TURN, data)
    assert len(pairs) == 2
    assert all(("relay" in pair) is relayed for pair in pairs), pairs


def test_where_the_path_broke() -> None:
    """Two symmetric NATs without a relay: the agents' 39.5 s pass in no time."""

    async def fail(one: Call, other: Call, _: Host) -> list[CallFailed]:
        found = await asyncio.gather(one.connected(), other.connected(), return_exceptions=True)
        return [error for error in found if isinstance(error, CallFailed)]

    errors = simulated(("symmetric", "symmetric"), STUN, fail)
    assert len(errors) == 2
    for error in errors:
        (path, *_) = [finding for finding in error.findings if finding.code == "CALL-PATH"]
        assert any(line.startswith("of ") and "none reached" in line for line in path.evidence), path.evidence
        assert "this side and the other side have no relay candidate" in path.evidence


def test_a_path_that_is_lost_is_restored() -> None:
    """The network of one side is unplugged until its consent is gone; ICE is restarted and the channel goes on."""

    async def survive(one: Call, other: Call, host: Host) -> float:
        await asyncio.gather(one.opened(), other.opened())
        loop = asyncio.get_running_loop()
        host.down()
        await until(lambda: Phase.RESTORING in (one.phase, other.phase))
        lost = loop.time()
        await asyncio.sleep(3)
        host.up()
        await until(lambda: one.phase is other.phase is Phase.CONNECTED)
        one.send("still here")
        assert await other.receive() == "still here"
        return loop.time() - lost

    assert simulated(("port-restricted", "port-restricted"), TURN, survive) < 30
