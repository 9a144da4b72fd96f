"""``IceConnection`` on loopback, and on simulated networks with exact times."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aioice
import pytest

from icekit import attributes as attr
from icekit.aio.connection import IceConnection
from icekit.aio.dns import Resolver
from icekit.aio.server import RunningServer, serve
from icekit.candidate import Candidate
from icekit.errors import ConfigError, IceFailed, InvalidState
from icekit.gathering_events import ServerAnswered, ServerFailed
from icekit.ice import IceConfig
from icekit.ice_events import IceState, StateChanged
from icekit.net import Address
from icekit.pacing import Floor
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.sim import Host, Internet, Link
from icekit.stun import decode, is_stun, short_term_key, success

USER, PASSWORD = "alice", "secret"
HOST_LINE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def local(controlling: bool, **keywords: Any) -> IceConnection:
    return IceConnection(controlling, local_addresses=["127.0.0.1"], **keywords)


@asynccontextmanager
async def two(**keywords: Any) -> AsyncIterator[tuple[IceConnection, IceConnection]]:
    pair = local(True, **keywords), local(False, **keywords)
    try:
        yield pair
    finally:
        await asyncio.gather(*(item.close() for item in pair))


def exchange_credentials(one: Any, other: Any) -> None:
    one.remote_username, one.remote_password = other.local_username, other.local_password
    other.remote_username, other.remote_password = one.local_username, one.local_password


async def exchange(one: Any, other: Any) -> None:
    """Without trickle, as programs for aioice do it."""
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    exchange_credentials(one, other)
    for source, target in ((one, other), (other, one)):
        for candidate in source.local_candidates:
            await target.add_remote_candidate(candidate)
        await target.add_remote_candidate(None)


async def echo(one: Any, other: Any) -> None:
    for source, target in ((one, other), (other, one)):
        await source.send(b"ping")
        assert await target.recv() == b"ping"


# On loopback.


@pytest.mark.parametrize(("policy", "found"), [("ALL", ["host"]), ("RELAY", [])])
async def test_host_candidates_wait_for_no_server(policy: str, found: list[str]) -> None:
    silent = IceServer(urls=["stun:127.0.0.1:9", "turn:127.0.0.1:9"], username=USER, credential=PASSWORD)
    connection = local(True, ice_servers=[silent], transport_policy=aioice.TransportPolicy[policy])
    try:
        async with asyncio.timeout(5):
            await connection.gather_hosts()
        assert [str(candidate.type) for candidate in connection.gathered] == found
        assert not connection.gathering_complete
    finally:
        await connection.close()


async def test_checks_begin_before_connect_is_called() -> None:
    async with two() as (one, other):
        await asyncio.gather(one.gather_hosts(), other.gather_hosts())
        exchange_credentials(one, other)
        for source, target in ((one, other), (other, one)):
            for candidate in source.local_candidates:
                await target.add_remote_candidate(candidate)
            target.begin_checks()
        async with asyncio.timeout(5):
            await asyncio.gather(one.settled(), other.settled())
            await asyncio.gather(one.connect(), other.connect())
        await echo(one, other)


async def test_the_program_of_aioice() -> None:
    async with two() as (one, other):
        await exchange(one, other)
        await asyncio.gather(one.connect(), other.connect())
        await echo(one, other)
        pairs = await asyncio.gather(one.settled(), other.settled())
        assert (pairs[0].base, pairs[0].address) == (pairs[1].address, pairs[1].base)
        assert one.selected_pair == pairs[0]
        assert isinstance(pairs[0].local, Candidate)
        assert isinstance(pairs[0].remote, Candidate)
        assert one.state is other.state is IceState.COMPLETED
        assert (one.ice_controlling, other.ice_controlling) == (True, False)
        (line,) = one.local_candidates
        assert isinstance(line, aioice.Candidate)
        assert (line.host, line.port, line.type) == (*pairs[0].base, "host")
        assert [(item.host, item.port) for item in other.remote_candidates] == [tuple(pairs[0].base)]
        assert one.get_default_candidate(1) == line or one.get_default_candidate(1).to_sdp() == line.to_sdp()
        assert one.get_default_candidate(2) is None


async def test_connect_before_any_candidate_and_trickle_both_ways() -> None:
    async with two() as (one, other):
        exchange_credentials(one, other)
        connecting = [asyncio.create_task(item.connect()) for item in (one, other)]
        trickled = 0
        for source, target in ((one, other), (other, one)):
            async for candidate in source.candidates():
                await target.add_remote_candidate(candidate)
                trickled += 1
            await target.add_remote_candidate(None)
        await asyncio.gather(*connecting)
        assert trickled == 2
        await echo(one, other)


async def test_candidates_may_be_read_twice_and_after_the_end() -> None:
    async with two() as (one, _):
        lists = [[item async for item in one.candidates()] for _ in range(2)]
        assert lists[0] == lists[1] == list(one.gathered)
        assert len(lists[0]) == 1
        assert one.gathering_complete


async def test_not_connected_is_a_connection_error() -> None:
    async with two() as (one, other):
        with pytest.raises(ConnectionError, match="Remote username or password is missing"):
            await one.connect()
        with pytest.raises(ConnectionError, match="Cannot send data, not connected"):
            await one.send(b"early")
        with pytest.raises(ConnectionError, match="Cannot receive data, not connected"):
            await one.recv()
        with pytest.raises(ConnectionError, match="no component 2"):
            await one.sendto(b"", 2)
        with pytest.raises(InvalidState, match=r"restart\(\) is for a connection that gathers"):
            one.restart()
        assert one.selected_pair is None
        assert one.stats() == ()
        assert one.state is IceState.NEW
        await exchange(one, other)
        await asyncio.gather(one.connect(), other.connect())
        await echo(one, other)


async def test_several_may_wait_for_the_same() -> None:
    async with two() as (one, other):
        exchange_credentials(one, other)
        readers = []
        waiting = [asyncio.create_task(item.connect()) for item in (one, one, other)]
        waiting += [asyncio.create_task(item.settled()) for item in (one, one, other)]
        await exchange(one, other)
        await asyncio.gather(*waiting)
        readers = [asyncio.create_task(other.recvfrom()) for _ in range(3)]
        for number in range(3):
            await one.sendto(bytes([number]), 1)
        assert sorted(await asyncio.gather(*readers)) == [(b"\0", 1), (b"\1", 1), (b"\2", 1)]


async def test_close_ends_whatever_waits() -> None:
    one, other = local(True), local(False)
    await exchange(one, other)
    await other.close()
    connecting = asyncio.create_task(one.connect())
    settling = asyncio.create_task(one.settled())
    event = asyncio.create_task(one.get_event())
    states: list[IceState] = []

    async def follow() -> None:
        states.extend([state async for state in one.states()])

    following = asyncio.create_task(follow())
    async for state in one.states():
        if state is IceState.CHECKING:
            break
    await asyncio.gather(one.close(), one.close())
    for task in (connecting, settling):
        with pytest.raises(ConnectionError, match="the connection is closed"):
            await task
    assert isinstance(await event, aioice.ConnectionClosed)
    assert await one.get_event() is None
    await following
    assert states == [IceState.CHECKING, IceState.CLOSED]
    assert one.local_candidates == []
    await one.close()
    for use in (one.connect, one.gather_candidates, one.recv, one.settled):
        with pytest.raises(ConnectionError, match="the connection is closed"):
            await use()
    with pytest.raises(InvalidState):
        one.restart()


async def test_close_ends_recv_and_what_was_received_stays() -> None:
    async with two() as (one, other):
        await exchange(one, other)
        await asyncio.gather(one.connect(), other.connect())
        reading = asyncio.create_task(one.recv())
        await asyncio.sleep(0)
        await one.close()
        with pytest.raises(ConnectionError, match="the connection is closed"):
            await reading


async def test_who_is_closed_leaves_nothing_to_the_garbage_collector() -> None:
    """With 1,000 agents in the process it stops everything for tens of milliseconds, to find a few that are gone."""

    async def came_and_went() -> list[weakref.ref[Any]]:
        async with two() as pair:
            await exchange(*pair)
            await asyncio.gather(*(item.connect() for item in pair))
            await echo(*pair)
            inside = [part for item in pair for part in (item, item._driver, item._session, item._agent)]
        return [weakref.ref(part) for part in inside]

    gc.disable()
    try:
        gone = await came_and_went()
        assert [part() for part in gone] == [None] * 8
    finally:
        gc.enable()


async def test_what_never_began_is_closed_at_once() -> None:
    one = local(True)
    await one.close()
    assert one.state is IceState.CLOSED
    # What still comes from signaling finds nobody.
    await one.add_remote_candidate(Candidate.parse(HOST_LINE))
    await one.add_remote_candidate(None)
    assert one.remote_candidates == []


async def test_what_a_peer_writes_cannot_hurt() -> None:
    async with two() as (one, other):
        broken = Candidate.parse(HOST_LINE)
        for fault in (
            {"port": 99999},
            {"host": "nowhere"},
            {"component": 0},
            {"type": "odd"},
            {"host": "evil.example"},
        ):
            candidate = aioice.Candidate.from_sdp(HOST_LINE.removeprefix("candidate:"))
            for name, value in fault.items():
                setattr(candidate, name, value)
            await one.add_remote_candidate(candidate)
        assert one.remote_candidates == []
        for number in range(200):
            await one.add_remote_candidate(Candidate.parse(HOST_LINE.replace("192.0.2.1", f"peer{number}.local")))
        assert len(one.remote_candidates) <= 16
        await one.add_remote_candidate(broken)
        await exchange(one, other)
        with pytest.raises(ValueError, match="after end-of-candidates"):
            await one.add_remote_candidate(broken)
        # Neither the names, which nobody knows, nor an address where nobody lives delays the connection.
        async with asyncio.timeout(1):
            await asyncio.gather(one.connect(), other.connect())


def test_what_cannot_be_asked_for() -> None:
    for components in (0, 9):
        with pytest.raises(ConfigError, match="has 1 to 8 components"):
            local(True, components=components)
    with pytest.raises(ConfigError, match="local_username wants 4 to 32"):
        local(True, local_username="x", local_password="y" * 22)
    with pytest.raises(ConfigError, match="local_password wants 22 to 256") as error:
        local(True, local_password="secret and short")
    assert "secret and short" not in str(error.value)
    with pytest.raises(ConfigError, match="there is no local address of IPv6 to connect from"):
        local(True, use_ipv4=False)
    with pytest.raises(ConfigError, match="is no IP address"):
        IceConnection(True, local_addresses=["localhost"])
    with pytest.raises(ConfigError, match="needs a username and credential"):
        local(True, turn_server=("192.0.2.1", 3478))
    with pytest.raises(ConfigError, match="transport: found 'sctp', allowed: udp or tcp"):
        local(True, turn_server=("192.0.2.1", 3478), turn_username="a", turn_password="b", turn_transport="sctp")


def test_keywords_of_aioice() -> None:
    """The same names in the same order, with the same defaults."""
    import inspect

    theirs = inspect.signature(aioice.Connection.__init__).parameters
    ours = inspect.signature(IceConnection.__init__).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    defaults = {name: item.default for name, item in theirs.items() if name != "transport_policy"}
    assert {name: ours[name].default for name in defaults} == defaults
    public = {name for name in vars(aioice.Connection) if not name.startswith("_")}
    # What aioice shows of its inside, and what only peers without ICE need.
    inside = {name for name in public if name.startswith(("build_", "check_", "query_", "request_", "respond_"))}
    inside |= {"sort_check_list", "switch_role", "data_received", "protocol_lost", "get_component_candidates"}
    assert public - inside - set(dir(IceConnection)) == {"set_selected_pair"}


async def test_credentials_may_be_given() -> None:
    one = local(True, local_username="abcd", local_password="p" * 22)
    assert (one.local_username, one.local_password) == ("abcd", "p" * 22)
    half = local(True, local_username="abcd")
    assert half.local_username == "abcd"
    assert len(half.local_password) == 24
    await asyncio.gather(one.close(), half.close())


# On simulated networks.


def turn(server: Host) -> IceServer:
    return IceServer(urls=f"turn:{server.address}", username=USER, credential=PASSWORD)


class World:
    """Two hosts that are ``direct`` seconds apart and each ``direct`` from the server, there and back."""

    def __init__(self, nat: str | None = None, *, rtt: float = 0.04, servers: str = "") -> None:
        self.net = Internet(seed=3, link=Link(delay=rtt / 2))
        self.server = self.net.host("server")
        self.dead = self.net.host("dead")
        self.dead.down()
        self.hosts = self.net.host("alice", nat=nat), self.net.host("bob", nat=nat)
        kinds = {
            "stun": [IceServer(urls=f"stun:{self.server.address}")],
            "turn": [turn(self.server)],
            "dead": [IceServer(urls=f"stun:{self.dead.address}"), turn(self.dead)],
        }
        self.servers = [item for kind in servers.split() for item in kinds[kind]]
        self.running: RunningServer | None = None

    def run(self, test: Callable[[IceConnection, IceConnection], Awaitable[None]], **keywords: Any) -> None:
        async def serving(started: asyncio.Event) -> None:
            config = ServerConfig(turn=TurnServerConfig(users={USER: PASSWORD}, relay_ipv4=self.server.address))
            async with serve(config, hosts=[self.server.address], ports=(3478,)) as self.running:
                started.set()
                await asyncio.get_running_loop().create_future()

        async def main() -> None:
            started = asyncio.Event()
            self.server.run(serving(started))
            await started.wait()
            pair = [
                await host.run(self.make(controlling, keywords))
                for host, controlling in zip(self.hosts, (True, False), strict=True)
            ]
            try:
                async with asyncio.timeout(600):
                    await test(pair[0], pair[1])
            finally:
                await asyncio.gather(*(item.close() for item in pair))
            assert self.running is not None
            assert self.running.core.allocations == 0

        self.net.run(main())

    async def make(self, controlling: bool, keywords: dict[str, Any]) -> IceConnection:
        return IceConnection(
            controlling,
            ice_servers=self.servers,
            floor=Floor(),
            pacing=0.005,
            resolver=Resolver(system_only=True),
            **keywords,
        )

    def on(self, index: int, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.hosts[index].run(work)

    async def trickle(self, one: IceConnection, other: IceConnection, delay: float) -> list[asyncio.Task[Any]]:
        """Exchange credentials and candidates, each ``delay`` seconds under way."""
        exchange_credentials(one, other)

        async def send(source: IceConnection, target: IceConnection) -> None:
            loop = asyncio.get_running_loop()
            arrivals = []

            async def arrive(candidate: Candidate | None) -> None:
                await asyncio.sleep(delay)
                await target.add_remote_candidate(candidate)

            async for candidate in source.candidates():
                arrivals.append(loop.create_task(arrive(candidate)))
            await asyncio.gather(*arrivals)
            await arrive(None)

        return [self.on(0, send(one, other)), self.on(1, send(other, one))]


def ms() -> float:
    return round(asyncio.get_running_loop().time() * 1000, 1)


def test_hosts_connect_in_signaling_and_one_round_trip() -> None:
    world = World()

    async def test(one: IceConnection, other: IceConnection) -> None:
        tricklers = await world.trickle(one, other, 0.03)
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        # 30 ms until the candidates are there, 40 ms for check and answer.
        assert ms() == pytest.approx(70, abs=1)
        await asyncio.gather(*tricklers)
        await echo(one, other)

    world.run(test)


@pytest.mark.parametrize("kind", ["", "dead"])
def test_dead_servers_cost_next_to_nothing(kind: str) -> None:
    world = World("port-restricted", servers=f"{kind} stun")
    times = []

    async def test(one: IceConnection, other: IceConnection) -> None:
        await world.trickle(one, other, 0.03)
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        times.append(ms())
        pairs = await asyncio.gather(one.settled(), other.settled())
        assert [str(pair.local.type) for pair in pairs] == ["srflx", "srflx"] or "prflx" in [
            str(pair.local.type) for pair in pairs
        ]
        assert (pairs[0].local.address, pairs[0].local.port) == tuple(pairs[1].address)
        if kind:
            assert any(isinstance(event, ServerFailed | ServerAnswered) for event in one.found)

    world.run(test)
    # Gathering 40, signaling 30, one round trip 40; two requests to the dead take two slots of 5 ms.
    assert 110 <= times[0] <= 130 + (10 if kind else 0)


def test_relay_only_by_our_own_server() -> None:
    world = World("symmetric", servers="stun turn")

    async def test(one: IceConnection, other: IceConnection) -> None:
        await world.trickle(one, other, 0.03)
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        pairs = await asyncio.gather(one.settled(), other.settled())
        assert [str(pair.local.type) for pair in pairs] == ["relay", "relay"]
        assert {str(item.type) for item in (*one.gathered, *other.gathered)} == {"relay"}
        # Neither the candidates nor the pairs tell the address behind the relay.
        assert {item.related_address for item in (*one.gathered, *other.gathered)} == {"0.0.0.0"}
        assert all(str(pair.local.type) == "relay" for item in (one, other) for pair in item.stats())
        await echo(one, other)

    world.run(test, transport_policy=aioice.TransportPolicy.RELAY)


def test_symmetric_nats_use_a_relay_and_give_it_back() -> None:
    world = World("symmetric", servers="turn")

    async def test(one: IceConnection, other: IceConnection) -> None:
        await world.trickle(one, other, 0.03)
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        pairs = await asyncio.gather(one.settled(), other.settled())
        assert "relay" in {str(kind) for pair in pairs for kind in (pair.local.type, pair.remote.type)}
        assert not any(isinstance(item, ServerFailed) for item in one.found)
        assert (pairs[0].base, pairs[0].address) != (pairs[1].base, pairs[1].address)
        await echo(one, other)

    world.run(test)


def test_a_minute_before_the_answer() -> None:
    """NATs forget a mapping after 30 s; the binding is kept while nobody knows whether it is needed."""
    world = World("port-restricted", servers="stun")
    for host in world.hosts:
        assert host.interfaces[0].network is not None

    async def test(one: IceConnection, other: IceConnection) -> None:
        await asyncio.gather(world.on(0, one.gather_candidates()), world.on(1, other.gather_candidates()))
        await asyncio.sleep(60)
        began = ms()
        await world.trickle(one, other, 0)
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        assert ms() - began <= 100
        pairs = await asyncio.gather(one.settled(), other.settled())
        assert {str(pair.remote.type) for pair in pairs} <= {"srflx", "prflx"}

    world.run(test)


def test_the_description_waits_for_no_straggler() -> None:
    """All answered at 40 ms; 300 ms after the last candidate; 2 s when there is none."""
    times = {}
    for servers in ("stun", "stun dead", "dead"):
        policy = aioice.TransportPolicy.RELAY if servers == "dead" else aioice.TransportPolicy.ALL
        world = World("port-restricted", servers=servers)

        async def test(one: IceConnection, other: IceConnection, servers: str = servers, world: World = world) -> None:
            await world.on(0, one.gather_candidates())
            times[servers] = ms()
            if servers != "stun":
                assert not one.gathering_complete
                found = [item async for item in one.candidates()]
                assert len(found) == len(one.local_candidates)
                assert ms() > 4000
                assert ServerFailed in {type(item) for item in one.found}

        world.run(test, transport_policy=policy)
    assert times == {"stun": 40, "stun dead": 340, "dead": 2000}


def test_a_path_that_never_was_says_what_became_of_the_checks() -> None:
    world = World()

    async def test(one: IceConnection, other: IceConnection) -> None:
        await world.trickle(one, other, 0)
        world.hosts[1].down()
        with pytest.raises(IceFailed) as caught:
            await world.on(0, one.connect())
        [finding] = caught.value.findings
        assert finding.code == "CALL-PATH"
        assert finding.evidence[0].endswith(" checks sent on 1 pair, 0 answered, 0 received from the peer")

    world.run(test)


def test_silence_disconnects_then_fails_and_a_restart_recovers() -> None:
    world = World()
    history: list[tuple[float, IceState]] = []

    async def follow(connection: IceConnection, began: float) -> None:
        async for state in connection.states():
            history.append((round(asyncio.get_running_loop().time() - began, 1), state))

    async def test(one: IceConnection, other: IceConnection) -> None:
        await world.trickle(one, other, 0)
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        await asyncio.gather(one.settled(), other.settled())
        began = asyncio.get_running_loop().time()
        event, reading = asyncio.create_task(one.get_event()), asyncio.create_task(one.recv())
        following = asyncio.create_task(follow(one, began))
        world.hosts[1].down()
        assert isinstance(await event, aioice.ConnectionClosed)
        assert one.state is IceState.FAILED
        with pytest.raises(ConnectionError, match="the peer has fallen silent"):
            await reading
        with pytest.raises(IceFailed):
            await one.send(b"nobody is there")
        with pytest.raises(IceFailed) as caught:
            await one.connect()
        assert [finding.code for finding in caught.value.findings] == ["CALL-LOST"]
        assert await one.get_event() is None
        names = [state for _, state in history]
        assert names == [IceState.COMPLETED, IceState.DISCONNECTED, IceState.FAILED]
        assert 5 <= history[1][0] <= 11
        assert 25 <= history[2][0] <= 36
        world.hosts[1].up()
        for index, item in enumerate((one, other)):
            with world.hosts[index]:
                item.restart()
        assert one.state is IceState.NEW
        await world.trickle(one, other, 0.03)
        began = ms()
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        # Candidates after 30 ms, then a round trip; at most a second one.
        assert ms() - began <= 30 + 80 + 15
        await asyncio.gather(one.settled(), other.settled())
        await echo(one, other)
        await one.close()
        await following

    world.run(test)


def test_a_restart_keeps_the_old_pair_until_there_is_a_new_one() -> None:
    world = World("port-restricted", servers="stun")

    async def test(one: IceConnection, other: IceConnection) -> None:
        await world.trickle(one, other, 0.03)
        await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        old = await one.settled()
        await other.settled()
        names = one.local_username, other.local_username
        for index, item in enumerate((one, other)):
            with world.hosts[index]:
                item.restart()
        assert {one.local_username, other.local_username}.isdisjoint(names)
        assert one.remote_username is None
        assert one.selected_pair is not None
        assert one.selected_pair.base == old.base
        await echo(one, other)
        await world.trickle(one, other, 0.03)
        connecting = [world.on(0, one.connect()), world.on(1, other.connect())]
        while not all(task.done() for task in connecting):
            await echo(one, other)
        await asyncio.gather(*connecting)
        new = await one.settled()
        assert new.base != old.base
        await other.settled()
        await echo(one, other)
        assert one.state is other.state is IceState.COMPLETED

    world.run(test)


async def test_what_was_gathered_before_a_restart_is_not_told_after_it() -> None:
    async with two() as (one, _):
        gathering = one.candidates()
        first = await anext(gathering)
        # The end of the first gathering is on its way, and not told yet.
        one.restart()
        assert one.gathered == ()
        assert not one.gathering_complete
        assert [item async for item in gathering] == []
        (second,) = [item async for item in one.candidates()]
        assert second.port != first.port
        assert one.gathering_complete


def test_nobody_there() -> None:
    """Failure is told when the patience is over (RFC 8863), not before, and not never."""
    world = World()

    async def test(one: IceConnection, other: IceConnection) -> None:
        exchange_credentials(one, other)
        await one.add_remote_candidate(Candidate.parse(HOST_LINE))
        await one.add_remote_candidate(None)
        with pytest.raises(ConnectionError, match="no candidate pair works"):
            await world.on(0, one.connect())
        assert ms() == 39500

    world.run(test)


def test_the_patience_of_who_is_called_begins_with_connect() -> None:
    """RFC 8863 §4: when the peer has our credentials, too. A person may carry them there."""
    world = World("port-restricted", servers="stun")

    async def test(one: IceConnection, other: IceConnection) -> None:
        await world.on(0, one.gather_candidates())
        other.remote_username, other.remote_password = one.local_username, one.local_password
        for candidate in one.gathered:
            await other.add_remote_candidate(candidate)
        await world.on(1, other.gather_candidates())
        await asyncio.sleep(100)
        assert other.state is IceState.CHECKING
        one.remote_username, one.remote_password = other.local_username, other.local_password
        for candidate in other.gathered:
            await one.add_remote_candidate(candidate)
        async with asyncio.timeout(1):
            await asyncio.gather(world.on(0, one.connect()), world.on(1, other.connect()))
        await echo(one, other)

    world.run(test)


def test_who_is_called_fails_only_after_the_patience_of_connect() -> None:
    world = World()

    async def test(one: IceConnection, other: IceConnection) -> None:
        exchange_credentials(one, other)
        await world.on(0, one.gather_candidates())
        await asyncio.sleep(100 - ms() / 1000)
        with pytest.raises(ConnectionError, match="no candidate pair works"):
            await world.on(0, one.connect())
        assert ms() == 139500

    world.run(test)


async def test_a_password_of_the_peer_that_cannot_be_used_does_not_stop_the_gathering() -> None:
    async with two() as (one, _):
        one.remote_username, one.remote_password = "peer", "a line of the description\n"
        async with asyncio.timeout(10):
            await one.gather_candidates()
        assert one.gathered
        with pytest.raises(ConnectionError, match="has a tab or a line end"):
            await one.connect()
        one.remote_password = "wrong-password"
        with pytest.raises(ConnectionError, match="the peer's password wants 22 to 256 letters"):
            await one.connect()


def test_of_candidates_that_come_together_the_best_one_is_checked_first() -> None:
    world = World()

    async def test(one: IceConnection, other: IceConnection) -> None:
        exchange_credentials(one, other)

        async def told() -> None:
            for number in (1, 3, 2):
                line = f"candidate:{number} 1 udp {number} 203.0.113.{number} 9 typ srflx raddr 0.0.0.0 rport 0"
                await one.add_remote_candidate(Candidate.parse(line))

        await world.on(0, one.gather_candidates())
        await asyncio.sleep(0.1)
        await world.on(0, told())
        await asyncio.sleep(0.001)
        assert [pair.remote.address for pair in one.stats() if pair.checks_sent] == ["203.0.113.3"]

    world.run(test)


def test_patience_is_configurable() -> None:
    world = World()

    async def test(one: IceConnection, other: IceConnection) -> None:
        exchange_credentials(one, other)
        with pytest.raises(ConnectionError):
            await world.on(0, one.connect())
        assert ms() == 2000

    world.run(test, config=IceConfig(patience=2.0))


async def test_a_candidate_without_a_route_costs_one_check() -> None:
    async with two() as (one, other):
        # Loopback reaches nothing but this host; the system says so before the check has left.
        nowhere = Candidate.parse("candidate:9 1 udp 2130706431 203.0.113.9 9 typ host")
        await one.add_remote_candidate(nowhere)
        await exchange(one, other)
        async with asyncio.timeout(10):
            await asyncio.gather(one.connect(), other.connect())
            await one.settled()
        states = {pair.remote.address: (pair.state, pair.checks_sent) for pair in one.stats()}
        assert states["203.0.113.9"] == ("failed", 1)


async def test_two_components() -> None:
    async with two(components=2) as (one, other):
        await exchange(one, other)
        async with asyncio.timeout(10):
            await asyncio.gather(one.connect(), other.connect())
            await asyncio.gather(one.settled(), other.settled())
        assert sorted(candidate.component for candidate in one.gathered) == [1, 2]
        for source, target in ((one, other), (other, one)):
            await source.sendto(b"media", 1)
            await source.sendto(b"control", 2)
            assert sorted([await target.recvfrom(), await target.recvfrom()]) == [(b"control", 2), (b"media", 1)]
        assert {(pair.component, pair.nominated) for pair in one.stats() if pair.selected} == {(1, True), (2, True)}
        with pytest.raises(ConnectionError, match="no component 3"):
            await one.sendto(b"", 3)


@pytest.mark.parametrize("controls", [True, False])
async def test_components_that_the_peer_does_not_have_are_not_used(controls: bool) -> None:
    one, other = local(controls, components=2), local(not controls)
    try:
        await exchange(one, other)
        async with asyncio.timeout(10):
            await asyncio.gather(one.connect(), other.connect())
            await one.settled()
        await echo(one, other)
        assert one.state is IceState.COMPLETED
    finally:
        await asyncio.gather(one.close(), other.close())


def test_a_silent_relay_over_tcp_does_not_let_a_peer_with_more_components_fail() -> None:
    """It waits for our last candidate, which tells that it need not wait for the second component."""
    world = World()

    async def test(one: IceConnection, _: IceConnection) -> None:
        servers = [IceServer(urls=f"turn:{world.dead.address}?transport=tcp", username=USER, credential=PASSWORD)]

        async def make() -> IceConnection:
            return IceConnection(False, ice_servers=servers, floor=Floor())

        muxed = await world.on(1, make())
        trickling = await world.trickle(one, muxed, 0.03)
        try:
            await asyncio.gather(*trickling, world.on(0, one.connect()), world.on(1, muxed.connect()))
            assert ms() // 100 == 360
        finally:
            await muxed.close()

    world.run(test, components=2)


async def test_everything_that_happens_has_its_time() -> None:
    async with two() as (one, other):
        began = asyncio.get_running_loop().time()
        await exchange(one, other)
        await asyncio.gather(one.connect(), other.connect())
        reader = one.events()
        seen = []
        async for when, event in reader:
            seen.append((when, event))
            if isinstance(event, StateChanged) and event.state is IceState.COMPLETED:
                break
        assert [type(event).__name__ for _, event in seen][:3] == [
            "CandidateGathered",
            "GatheringComplete",
            "StateChanged",
        ]
        times = [when for when, _ in seen]
        assert times == sorted(times)
        assert began <= times[0]
        # Who comes later hears the same, and the end is the end.
        await one.close()
        again = [item async for item in one.events()]
        assert again[: len(seen)] == seen
        assert isinstance(again[-1][1], StateChanged)
        assert again[-1][1].state is IceState.CLOSED
        assert list(one.history) == again


class LitePeer(asyncio.DatagramProtocol):
    """ICE lite (RFC 8445 §2.5): answers checks, sends none, and echoes data on what was nominated."""

    def __init__(self) -> None:
        self.ufrag, self.password = "lite", "p" * 22
        self.nominated: list[Address] = []
        self.roles: set[str] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = Address(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not is_stun(data):
            self.transport.sendto(data, addr)
            return
        message = decode(data)
        key = short_term_key(self.password)
        assert message.verify(key)
        self.roles |= {name for name in ("ICE_CONTROLLING", "ICE_CONTROLLED") if message.has(getattr(attr, name))}
        if message.get(attr.USE_CANDIDATE):
            self.nominated.append(Address(*addr))
        answer = success(message, attr.XOR_MAPPED_ADDRESS(Address(*addr)))
        self.transport.sendto(answer.encode(key, fingerprint=True), addr)


@pytest.mark.parametrize("controls", [True, False])
async def test_a_lite_peer(controls: bool) -> None:
    _, peer = await asyncio.get_running_loop().create_datagram_endpoint(LitePeer, local_addr=("127.0.0.1", 0))
    connection = local(controls)
    try:
        connection.remote_username, connection.remote_password = peer.ufrag, peer.password
        connection.remote_is_lite = True
        await connection.add_remote_candidate(
            Candidate.parse(f"candidate:1 1 udp 2130706431 127.0.0.1 {peer.address.port} typ host")
        )
        await connection.add_remote_candidate(None)
        async with asyncio.timeout(10):
            await connection.connect()
            pair = await connection.settled()
            await connection.send(b"to a lite peer")
            assert await connection.recv() == b"to a lite peer"
        # RFC 8445 §6.1.1: the full agent controls, whatever the caller said.
        assert connection.ice_controlling
        assert peer.roles == {"ICE_CONTROLLING"}
        assert set(peer.nominated) == {pair.base}
    finally:
        await connection.close()
        peer.transport.close()
