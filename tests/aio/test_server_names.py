"""Where the servers of a connection are, when a restart finds another network or another name server."""

from __future__ import annotations

import asyncio

from icekit.aio.connection import IceConnection
from icekit.aio.dns import Resolver
from icekit.aio.server import serve
from icekit.candidate import CandidateType
from icekit.gathering_events import ServerFailed
from icekit.pacing import Floor
from icekit.server import ServerConfig
from icekit.servers import IceServer
from icekit.sim import Host, Internet, Link

NAME = "stun.example.org"


def types(connection: IceConnection) -> list[str]:
    return [str(candidate.type) for candidate in connection.gathered]


async def gathered(connection: IceConnection) -> None:
    async with asyncio.timeout(30):
        async for _ in connection.gathering():
            pass
    assert connection.gathering_complete


async def connection_of(url: str) -> IceConnection:
    return IceConnection(True, ice_servers=[IceServer(urls=url)], floor=Floor(), resolver=Resolver(system_only=True))


async def serving(server: Host, started: asyncio.Event) -> None:
    async with serve(ServerConfig(), hosts=[server.address], ports=(3478,)):
        started.set()
        await asyncio.get_running_loop().create_future()


def test_a_name_that_did_not_resolve_is_asked_for_again_after_a_restart() -> None:
    """Who restarts because the network is back must not be told what DNS said without it."""
    net = Internet(seed=1, link=Link(delay=0.01))
    host = net.host("alice", nat="port-restricted")

    async def main() -> None:
        connection = await host.run(connection_of(f"stun:{NAME}"))
        await host.run(gathered(connection))
        assert types(connection) == ["host"]
        assert [event.error for event in connection.found if isinstance(event, ServerFailed)] == [
            f"the name {NAME} does not resolve: no such name"
        ]
        server, started = net.host("server"), asyncio.Event()
        net.name(NAME, server)
        server.run(serving(server, started))
        await started.wait()
        with host:
            connection.restart()
        await host.run(gathered(connection))
        assert types(connection) == [CandidateType.HOST, CandidateType.SERVER_REFLEXIVE]
        await host.run(connection.close())

    net.run(main())


def test_a_name_that_resolved_is_not_waited_for_again() -> None:
    net = Internet(seed=1, link=Link(delay=0.01))
    host, server = net.host("alice", nat="port-restricted"), net.host("server")
    net.name(NAME, server)

    async def main() -> None:
        started = asyncio.Event()
        server.run(serving(server, started))
        await started.wait()
        connection = await host.run(connection_of(f"stun:{NAME}"))
        await host.run(gathered(connection))
        with host:
            connection.restart()
            # Nobody is asked for the name: the server is known at once.
            assert list(connection._session.unresolved) == []
        await host.run(gathered(connection))
        assert types(connection) == [CandidateType.HOST, CandidateType.SERVER_REFLEXIVE]
        await host.run(connection.close())

    net.run(main())


def test_restarts_and_the_end_while_a_name_is_asked_for() -> None:
    net = Internet(seed=1)
    host = net.host("alice")

    class Slow(Resolver):
        asked = 0

        async def resolve(self, uri: object) -> object:  # type: ignore[override]
            self.asked += 1
            await asyncio.sleep(1.0)
            return await super().resolve(uri)  # type: ignore[arg-type]

    async def main() -> None:
        resolver = Slow(system_only=True)

        async def make() -> IceConnection:
            return IceConnection(True, ice_servers=[IceServer(urls=f"stun:{NAME}")], floor=Floor(), resolver=resolver)

        connection = await host.run(make())
        with host:
            for _ in range(3):
                connection._start()
                await asyncio.sleep(0.5)
                connection.restart()
        await host.run(gathered(connection))
        assert [type(event) for event in connection.found if isinstance(event, ServerFailed)] == [ServerFailed]
        assert resolver.asked == 4
        with host:
            connection.restart()
            await asyncio.sleep(0.5)
        await host.run(connection.close())
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if task.get_name().startswith("icekit-resolve")]

    net.run(main())
