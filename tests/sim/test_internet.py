from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest

from icekit.aio.server import serve
from icekit.server import ServerConfig, TurnServerConfig
from icekit.sim import Internet, Link
from tests.sim.sockets import open_ear, two_hosts
from tests.sim.stun_peer import connect_aioice, serve_stun


def test_ipv6_names_and_loopback() -> None:
    net = Internet()
    a, b = net.host("a", ipv6=True), net.host("b", nat="port-restricted", ipv6=True)
    net.name("a.example.org", a)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo("A.example.org.", 7, type=socket.SOCK_DGRAM)
        assert [info[4] for info in infos] == [(a.addresses[0], 7), (a.addresses[1], 7, 0, 0)]
        assert await loop.run_in_executor(None, socket.gethostbyname, "a.example.org") == a.addresses[0]
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("nowhere.example.org", 7)
        ear = await open_ear(a, local_addr=("a.example.org", 7), family=socket.AF_INET6)
        mouth = await open_ear(b, local_addr=(b.addresses[1], 5000))
        assert mouth.transport.get_extra_info("sockname") == (b.addresses[1], 5000, 0, 0)
        mouth.transport.sendto(b"x", (a.addresses[1], 7, 0, 0))
        await asyncio.sleep(0.1)
        # No translation for IPv6, only the filter.
        assert ear.heard == [(0.0, b"x", (b.addresses[1], 5000, 0, 0))]
        inner = await open_ear(b, local_addr=("127.0.0.2", 7))
        local = await open_ear(b, local_addr=("127.0.0.1", 8))
        local.transport.sendto(b"y", ("127.0.0.2", 7))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [data for _, data, _ in inner.heard] == [b"y"]

    net.run(main())


def test_the_clock_and_the_nat_go_on_into_the_next_run() -> None:
    net, a, _ = two_hosts()

    async def main() -> float:
        await open_ear(a, local_addr=(a.address, 5000))
        await asyncio.sleep(2)
        return asyncio.get_running_loop().time()

    assert [net.run(main()), net.run(main())] == [2.0, 4.0]


def handshake(seed: int, nats: tuple[str, str], *, link: Link) -> tuple[Internet, float, str]:
    """Stock aioice through two NATs: the world, the virtual time it took, and the kind of the selected candidate."""
    net = Internet(seed=seed, link=link, timeline=True)
    server = net.host("stun")
    alice, bob = (net.host(name, nat=nat) for name, nat in zip(("alice", "bob"), nats, strict=True))

    async def main() -> tuple[float, str]:
        await server.run(serve_stun(server.address))
        one, other = await connect_aioice(alice, bob, stun_server=(server.address, 3478))
        took = net.now
        for _ in range(20):
            await one.send(b"through both")
        assert await other.recv() == b"through both"
        # Consent freshness (RFC 7675) in virtual time.
        await asyncio.sleep(60)
        assert one._nominated
        kind = one._nominated[1].remote_candidate.type
        await one.close()
        await other.close()
        return took, kind

    return net, *net.run(main())


def test_stock_aioice_connects_behind_two_port_restricted_nats() -> None:
    net, took, kind = handshake(7, ("port-restricted", "port-restricted"), link=Link(delay=0.02))
    assert kind == "srflx"
    # One RTT to the server, one pacing interval of aioice, one RTT to the peer.
    assert took == pytest.approx(0.04 + 0.02 + 0.04)
    assert net.now > 60


def test_equal_seeds_give_equal_timelines() -> None:
    link = Link(delay=0.02, jitter=0.01, loss=0.1, duplicate=0.05, reorder=0.05)
    texts = [str(handshake(seed, ("full-cone", "restricted"), link=link)[0].timeline) for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]
    assert "0.000000 sent     192.168.1.1:" in texts[0]
    assert "STUN Binding request" in texts[0]


def test_two_symmetric_nats_do_not_connect_without_a_relay() -> None:
    with pytest.raises(ConnectionError, match="ICE negotiation failed"):
        handshake(1, ("symmetric", "symmetric"), link=Link(delay=0.02))


def test_chance_is_drawn_from_the_seed_only_while_it_runs() -> None:
    real = os.urandom
    random.seed(5)
    first = random.random()

    async def main() -> tuple[bytes, float]:
        return os.urandom(16), random.random()

    random.seed(5)
    drawn = [Internet(seed).run(main()) for seed in (1, 1, 2)]
    assert random.random() == first
    assert os.urandom is real
    assert drawn[0] == drawn[1]
    assert {drawn[0][0], drawn[2][0]} == {value for value, _ in drawn}
    assert drawn[0] != drawn[2]


def aioice_over_turn(nats: tuple[str, str], transport: str, *, seed: int = 3) -> tuple[tuple[str, str], str]:
    """Stock aioice through icekit's own TURN server: the kinds of the selected pair, and the timeline."""
    net = Internet(seed, link=Link(delay=0.02, jitter=0.005, loss=0.02), timeline=True)
    server = net.host("turn")
    alice, bob = (net.host(name, nat=nat) for name, nat in zip(("alice", "bob"), nats, strict=True))
    turn = TurnServerConfig(users={"user": "password"}, relay_ipv4=server.address)
    address = (server.address, 443 if transport == "tcp" else 3478)

    async def service() -> None:
        async with serve(ServerConfig(turn=turn), hosts=[server.address], ports=(3478, 443)):
            await asyncio.Event().wait()

    async def main() -> tuple[str, str]:
        server.run(service())
        await asyncio.sleep(0.1)
        one, other = await connect_aioice(
            alice, bob, turn_server=address, turn_username="user", turn_password="password", turn_transport=transport
        )
        for _ in range(10):
            await one.send(b"relayed")
        assert await other.recv() == b"relayed"
        pair = one._nominated[1]
        await one.close()
        await other.close()
        return pair.local_candidate.type, pair.remote_candidate.type

    return net.run(main()), str(net.timeline)


@pytest.mark.parametrize(
    ("nats", "transport"),
    [
        (("symmetric", "symmetric"), "udp"),
        (("symmetric", "udp-blocked"), "tcp"),
        (("tcp-443-only", "tcp-443-only"), "tcp"),
    ],
)
def test_stock_aioice_is_relayed_where_nothing_else_passes(nats: tuple[str, str], transport: str) -> None:
    kinds, timeline = aioice_over_turn(nats, transport)
    assert kinds == ("relay", "relay")
    assert aioice_over_turn(nats, transport) == (kinds, timeline)
