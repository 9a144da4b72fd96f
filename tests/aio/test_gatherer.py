"""Gathering on simulated networks, with exact times; on real sockets it is tested in tests/interop and tests/cli."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import aclosing, suppress

import pytest
import trustme

from icekit.aio.dns import Resolver
from icekit.aio.gatherer import gather, local_addresses, require_hosts, require_local_addresses, tell_literal
from icekit.aio.server import RunningServer, serve
from icekit.errors import ConfigError, InvalidState
from icekit.gathering_events import CandidateGathered, GatherEvent, GatheringComplete, ServerFailed
from icekit.gathering_plan import gather_servers
from icekit.network_config import NetworkConfig
from icekit.report import Interface
from icekit.resolution import Resolution
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer, ServerUri
from icekit.session import IceSession
from icekit.sim import Host, Internet, Link

USER, PASSWORD = "alice", "secret"
RTT = 0.05


def turn(url: str) -> IceServer:
    return IceServer(urls=url, username=USER, credential=PASSWORD)


def rows(events: Sequence[GatherEvent]) -> list[tuple[str, str, float]]:
    """Candidate type or class of the event, address or URL, milliseconds."""
    found = []
    for event in events:
        match event:
            case CandidateGathered(candidate=candidate):
                found.append((str(candidate.type), candidate.address, round(event.seconds * 1000, 3)))
            case ServerFailed(url=url):
                found.append(("failed", url, round(event.seconds * 1000, 3)))
            case GatheringComplete():
                found.append(("complete", "", round(event.seconds * 1000, 3)))
    return found


async def collect(servers: Sequence[IceServer], context: ssl.SSLContext | None = None) -> list[GatherEvent]:
    resolver = Resolver(system_only=True)
    async with aclosing(gather(servers, resolver=resolver, ssl_context=context)) as events:
        return [event async for event in events]


async def serve_on(host: Host, started: asyncio.Future[RunningServer], context: ssl.SSLContext | None = None) -> None:
    config = ServerConfig(turn=TurnServerConfig(users={USER: PASSWORD}, relay_ipv4=host.address))
    tls = 5349 if context else None
    async with serve(config, hosts=[host.address], ports=(3478,), tls_port=tls, ssl_context=context) as running:
        started.set_result(running)
        await asyncio.get_running_loop().create_future()


def world(nat: str | None = "port-restricted") -> tuple[Internet, Host, Host]:
    net = Internet(link=Link(delay=RTT / 2))
    server, client = net.host("server"), net.host("client", nat=nat)
    net.name("turn.example.org", server)
    return net, server, client


def run(net: Internet, server: Host, client: Host, servers: Sequence[IceServer]) -> tuple[list[GatherEvent], int]:
    """All events, and how many allocations are left afterwards."""

    async def main() -> tuple[list[GatherEvent], int]:
        started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
        server.run(serve_on(server, started))
        running = await started
        events = await client.run(collect(servers))
        return events, running.core.allocations

    return net.run(main())


def test_udp_and_tcp_with_exact_times() -> None:
    net, server, client = world()
    servers = [
        IceServer(urls=f"stun:{server.address}"),
        turn("turn:turn.example.org"),
        turn("turn:turn.example.org?transport=tcp"),
    ]
    events, left = run(net, server, client, servers)
    external = rows(events)[1][1]
    assert external not in (client.address, server.address)
    # One, two and three round trips. Requests begin at 0, 5 and 50 ms: over TCP when the connection is there.
    assert rows(events) == [
        ("host", client.address, 0),
        ("srflx", external, 50),
        ("relay", server.address, 105),
        ("relay", server.address, 150),
        ("complete", "", 150),
    ]
    assert left == 0


def test_without_a_nat_there_is_only_the_relay() -> None:
    net, server, client = world(nat=None)
    events, left = run(net, server, client, [turn("turn:turn.example.org")])
    assert [kind for kind, *_ in rows(events)] == ["host", "relay", "complete"]
    assert left == 0


def test_dead_servers_and_names_delay_nobody() -> None:
    net, server, client = world()
    silent = net.host("silent")
    silent.down()
    servers = [
        IceServer(urls=f"stun:{silent.address}"),
        turn(f"turn:{silent.address}?transport=tcp"),
        IceServer(urls="stun:nowhere.invalid"),
        IceServer(urls=f"stun:{server.address}:9"),
        turn("turn:turn.example.org"),
    ]
    events, left = run(net, server, client, servers)
    external = rows(events)[2][1]
    # The third request: 10 ms for the pace, then two round trips for the relay; a slot later, then one for the mapped
    # address. The dead ones end with the patience of 5 s.
    assert rows(events) == [
        ("host", client.address, 0),
        ("failed", "stun:nowhere.invalid", 0),
        ("srflx", external, 65),
        ("relay", server.address, 110),
        ("failed", f"stun:{silent.address}", 5000),
        ("failed", f"turn:{silent.address}?transport=tcp", 5000),
        ("failed", f"stun:{server.address}:9", 5005),
        ("complete", "", 5005),
    ]
    assert [event.error for event in events if isinstance(event, ServerFailed)] == [
        "the name nowhere.invalid does not resolve: no such name",
        "no answer to 4 transmissions in 5.0 s; it is down, or a firewall drops the packets",
        "cannot connect, timeout: no answer",
        "no answer to 4 transmissions in 5.0 s; it is down, or a firewall drops the packets",
    ]
    assert left == 0


def test_a_relay_over_tls() -> None:
    authority = trustme.CA()
    contexts = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("turn.example.org").configure_cert(contexts[0])
    authority.configure_trust(contexts[1])
    net, server, client = world()

    async def main() -> list[GatherEvent]:
        started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
        server.run(serve_on(server, started, contexts[0]))
        await started
        return await client.run(collect([turn("turns:turn.example.org")], contexts[1]))

    # TCP, TLS 1.3, challenge, allocation.
    assert rows(net.run(main())) == [
        ("host", client.address, 0),
        ("relay", server.address, 200),
        ("complete", "", 200),
    ]


def test_leaving_early_gives_the_relays_back() -> None:
    net, server, client = world()
    silent = net.host("silent")
    silent.down()

    async def until_relay() -> None:
        servers = [turn("turn:turn.example.org"), IceServer(urls=f"stun:{silent.address}")]
        async with aclosing(gather(servers, resolver=Resolver(system_only=True))) as events:
            async for event in events:
                if isinstance(event, CandidateGathered) and event.candidate.type == "relay":
                    assert running.core.allocations == 1
                    return

    running: RunningServer

    async def main() -> float:
        nonlocal running
        started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
        server.run(serve_on(server, started))
        running = await started
        await client.run(until_relay())
        return running.core.allocations

    assert net.run(main()) == 0
    # 5 ms for the pace (a literal is resolved first), 100 ms for the allocation, 50 ms for its release.
    assert round(net.now, 3) == 0.155


class SlowToStop(Resolver):
    """One name is never resolved, and giving up takes a second."""

    async def resolve(self, uri: ServerUri) -> Resolution:
        if uri.host != "slow.example.org":
            return await super().resolve(uri)
        never: asyncio.Future[Resolution] = asyncio.get_running_loop().create_future()
        try:
            return await never
        finally:
            await asyncio.sleep(1)


def test_leaving_twice_gives_the_relays_back_all_the_same() -> None:
    net, server, client = world()

    async def leave(running: RunningServer) -> None:
        relayed = asyncio.Event()

        async def take() -> None:
            servers = [turn("turn:turn.example.org"), IceServer(urls="stun:slow.example.org")]
            async with aclosing(gather(servers, resolver=SlowToStop(system_only=True))) as events:
                async for event in events:
                    if isinstance(event, CandidateGathered) and event.candidate.type == "relay":
                        relayed.set()

        task = asyncio.create_task(take())
        await relayed.wait()
        assert running.core.allocations == 1
        task.cancel()
        await asyncio.sleep(0.5)
        assert not task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def main() -> int:
        started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
        server.run(serve_on(server, started))
        running = await started
        await client.run(leave(running))
        return running.core.allocations

    assert net.run(main()) == 0


def test_no_network_and_bad_servers_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def first(servers: Sequence[IceServer]) -> None:
        async with aclosing(gather(servers)) as events:
            await anext(events)

    monkeypatch.setattr(
        "icekit.aio.gatherer.interfaces", lambda: (Interface("lo", "127.0.0.1", "loopback", "loopback"),)
    )
    with pytest.raises(ConfigError, match="this host has no address that others can reach"):
        asyncio.run(first([]))
    with pytest.raises(ConfigError, match="needs a username and credential"):
        asyncio.run(first([IceServer(urls="turn:192.0.2.1")]))


def test_which_local_addresses() -> None:
    found = [
        Interface("docker0", "172.17.0.1", "private", "bridge"),
        Interface("eth0", "169.254.1.1", "link-local", "ethernet"),
        Interface("eth0", "192.168.1.2", "private", "ethernet"),
        Interface("eth0", "2001:db8::2", "documentation", "ethernet"),
        Interface("eth0", "fe80::2%eth0", "link-local", "ethernet"),
        Interface("lo", "127.0.0.1", "loopback", "loopback"),
        Interface("odd0", "10.9.0.1", "private", None),
        Interface("tun0", "10.8.0.2", "private", "vpn"),
        Interface("wlan0", "192.168.2.2", "private", "wifi"),
        Interface("wwan0", "100.64.0.2", "cgnat", "cellular"),
    ]
    assert local_addresses(found) == (
        "192.168.1.2",
        "2001:db8::2",
        "192.168.2.2",
        "10.9.0.1",
        "100.64.0.2",
        "10.8.0.2",
    )


HOST = [
    Interface("docker0", "172.17.0.1", "private", "bridge"),
    Interface("eth0", "192.168.1.2", "private", "ethernet"),
    Interface("eth0", "fe80::2%eth0", "link-local", "ethernet"),
    Interface("lo", "127.0.0.1", "loopback", "loopback"),
    Interface("veth1a2b3c", "10.88.0.1", "private", "bridge"),
    Interface("virbr0", "192.168.122.1", "private", "bridge"),
    Interface("wlan0", "192.168.2.2", "private", "wifi"),
]


def test_one_address_is_no_list_of_addresses() -> None:
    with pytest.raises(ConfigError, match=r"local_addresses is a list; write \['127\.0\.0\.1'\]"):
        require_hosts("127.0.0.1", NetworkConfig(), (4, 6))


def test_filters_choose_among_what_others_can_reach() -> None:
    assert local_addresses(HOST, NetworkConfig()) == ("192.168.1.2", "192.168.2.2")
    assert local_addresses(HOST, NetworkConfig(interfaces=["wlan*", "docker0"])) == ("192.168.2.2",)
    assert local_addresses(HOST, NetworkConfig(addresses=["!192.168.2.0/24"])) == ("192.168.1.2",)


def test_filters_that_leave_nothing_say_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icekit.aio.gatherer.interfaces", lambda: HOST)
    with pytest.raises(ConfigError) as error:
        require_local_addresses(NetworkConfig(interfaces=["docker0"]), "name it")
    assert str(error.value) == (
        "the filters leave no local address; this host has docker0 172.17.0.1 (bridge), eth0 192.168.1.2, "
        "lo 127.0.0.1 (loopback), veth1a2b3c 10.88.0.1 (bridge), virbr0 192.168.122.1 (bridge), wlan0 192.168.2.2; "
        "to use one with a reason in brackets, name it"
    )


@pytest.mark.parametrize(
    ("url", "hosts", "told"),
    [
        ("turn:192.0.2.1", ["198.51.100.1"], True),
        ("stun:[2001:db8::1]", ["2001:db8::2"], True),
        ("turn:192.0.2.1", ["2001:db8::2", "198.51.100.1"], True),
        # Names are asked for, and whether there is a NAT64 is, too.
        ("turn:turn.example.org", ["198.51.100.1"], False),
        ("turn:192.0.2.1", ["2001:db8::2"], False),
    ],
)
def test_an_address_needs_no_answer(url: str, hosts: list[str], told: bool) -> None:
    (server,) = gather_servers([turn(url)])
    session = IceSession(True, hosts, [server], bytes)
    session.start(0.0)
    assert tell_literal(session, 0, server, 0.0) is told
    if told:
        with pytest.raises(InvalidState):
            session.server_unresolved(0, "it is resolved", 0.0)
    else:
        session.server_unresolved(0, "it is not", 0.0)
