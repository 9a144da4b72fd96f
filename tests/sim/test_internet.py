from __future__ import annotations

import asyncio
import socket

import pytest

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
        one, other = await connect_aioice(alice, bob, (server.address, 3478))
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
