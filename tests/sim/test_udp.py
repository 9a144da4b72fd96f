from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import ifaddr
import pytest

from icekit.errors import ConfigError
from icekit.nat import NatConfig
from icekit.report import Behavior
from icekit.sim import Bursts, Host, Internet, Link, current_host
from tests.sim.stun_peer import connect_aioice, serve_stun


class Ear(asyncio.DatagramProtocol):
    """Keeps what it hears, with the time."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, bytes, Any]] = []
        self.errors: list[type[Exception]] = []
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append((self.loop.time(), data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(type(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


async def open_ear(host: Host, **arguments: Any) -> Ear:
    async def bind() -> Ear:
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Ear, **arguments)
        assert isinstance(protocol, Ear)
        return protocol

    return await host.run(bind())


def two_hosts(link: Link | None = None, **arguments: Any) -> tuple[Internet, Host, Host]:
    net = Internet(link=link, **arguments)
    return net, net.host("a"), net.host("b")


def send_many(link: Link, count: int, *, seed: int = 1, size: int = 10, interval: float = 0.001) -> list[Any]:
    """What arrives of ``count`` numbered datagrams that leave one every ``interval`` seconds."""
    net, a, b = two_hosts(link, seed=seed)

    async def main() -> list[Any]:
        ear = await open_ear(b, local_addr=(b.address, 7))
        mouth = await open_ear(a, local_addr=(a.address, 0))
        for number in range(count):
            mouth.transport.sendto(number.to_bytes(4, "big") + bytes(size - 4), (b.address, 7))
            await asyncio.sleep(interval)
        await asyncio.sleep(10)
        return [(time, int.from_bytes(data[:4], "big")) for time, data, _ in ear.heard]

    return net.run(main())


def test_a_datagram_takes_the_delay_of_the_link() -> None:
    net, a, b = two_hosts(Link(delay=0.025))

    async def main() -> None:
        ear = await open_ear(b, local_addr=(b.address, 7))
        mouth = await open_ear(a, local_addr=(a.address, 5000))
        assert mouth.transport.get_extra_info("sockname") == (a.address, 5000)
        mouth.transport.sendto(b"hello", (b.address, 7))
        await asyncio.sleep(1)
        assert ear.heard == [(0.025, b"hello", (a.address, 5000))]

    net.run(main())
    assert net.now == 1.0


def test_access_links_add_up_and_a_path_has_its_own() -> None:
    net = Internet(link=Link(delay=0.1))
    a = net.host("a", link=Link(delay=0.01), uplink=Link(delay=0.002))
    lan = net.network("full-cone", name="home", link=Link(delay=0.02))
    b = lan.host("b", link=Link(delay=0.001))
    server = net.host("server")
    net.root.path(a, lan, Link(delay=0.5))

    async def main() -> None:
        ear = await open_ear(server, local_addr=(server.address, 7))
        mouth_a = await open_ear(a, local_addr=(a.address, 0))
        mouth_b = await open_ear(b, local_addr=(b.address, 0))
        mouth_a.transport.sendto(b"a", (server.address, 7))
        mouth_b.transport.sendto(b"b", (server.address, 7))
        await asyncio.sleep(1)
        times = {data: time for time, data, _ in ear.heard}
        assert times == {b"a": pytest.approx(0.102), b"b": pytest.approx(0.121)}
        mapped = next(address for _, data, address in ear.heard if data == b"b")
        began = net.now
        mouth_a.transport.sendto(b"direct", mapped)
        await asyncio.sleep(1)
        assert [time - began for time, _, _ in mouth_b.heard] == [pytest.approx(0.002 + 0.5 + 0.02 + 0.001)]

    net.run(main())


def test_loss_of_a_seed_is_exact_and_near_its_probability() -> None:
    heard = send_many(Link(loss=0.05), 10_000)
    assert heard == send_many(Link(loss=0.05), 10_000)
    assert heard != send_many(Link(loss=0.05), 10_000, seed=2)
    # Four standard deviations: sqrt(10000 · 0.05 · 0.95) = 21.8.
    assert abs(10_000 - len(heard) - 500) < 88


def test_bursts_lose_in_a_row() -> None:
    heard = {number for _, number in send_many(Link(bursts=Bursts(enter=0.01, leave=0.25)), 20_000)}
    lost = [number for number in range(20_000) if number not in heard]
    runs = sum(number - 1 in heard or number == 0 for number in lost)
    # Gilbert: the share of bad is enter / (enter + leave), a burst lasts 1 / leave packets.
    assert len(lost) / 20_000 == pytest.approx(0.01 / 0.26, rel=0.2)
    assert len(lost) / runs == pytest.approx(4, rel=0.15)


def test_jitter_keeps_the_order_and_reordering_does_not() -> None:
    jittered = send_many(Link(delay=0.02, jitter=0.05), 500)
    assert [number for _, number in jittered] == list(range(500))
    assert all(0.02 <= time - number * 0.001 <= 0.07 + 1e-9 for time, number in jittered)
    assert len({round(time - number * 0.001, 6) for time, number in jittered}) > 100
    swapped = [number for _, number in send_many(Link(delay=0.02, reorder=0.1), 500)]
    assert sorted(swapped) == list(range(500)) != swapped


def test_duplicates_arrive_twice() -> None:
    assert [number for _, number in send_many(Link(duplicate=1.0), 3)] == [0, 0, 1, 1, 2, 2]


def test_what_is_larger_than_the_mtu_is_lost() -> None:
    assert len(send_many(Link(mtu=1500), 1, size=1472)) == 1
    assert len(send_many(Link(mtu=1500), 1, size=1473)) == 0


def test_a_rate_spreads_packets_and_a_full_queue_loses() -> None:
    # 100 bytes of UDP and IP at 8000 bit/s: 0.1 s each.
    heard = send_many(Link(rate=8000, queue=250), 10, size=72, interval=0.0)
    assert [number for _, number in heard] == [0, 1, 2]
    assert [time for time, _ in heard] == pytest.approx([0.1, 0.2, 0.3])


def test_lossless_packets_are_never_lost() -> None:
    def is_even(data: bytes) -> bool:
        return data[3] % 2 == 0

    assert [number for _, number in send_many(Link(loss=1.0, lossless=is_even), 6)] == [0, 2, 4]


def test_a_port_is_bound_once_and_given_back() -> None:
    net, a, _ = two_hosts()

    async def main() -> None:
        first = await open_ear(a, local_addr=(a.address, 5000))
        for taken in (a.address, "0.0.0.0"):
            with pytest.raises(OSError, match="5000") as caught:
                await open_ear(a, local_addr=(taken, 5000))
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match="on a") as caught:
            await open_ear(a, local_addr=("203.0.113.99", 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL
        first.transport.close()
        assert first.transport.is_closing()
        first.transport.sendto(b"ignored", (a.address, 9))
        await open_ear(a, local_addr=(a.address, 5000))
        assert first.lost == [None]
        ports = {(await open_ear(a, local_addr=(a.address, 0))).transport.get_extra_info("sockname") for _ in "abc"}
        assert len(ports) == 3

    net.run(main())


def test_a_wildcard_socket_answers_from_the_address_that_reaches_the_peer() -> None:
    net = Internet()
    lan = net.network("full-cone")
    host = net.host("router")
    lan.attach(host, addresses=["192.168.1.200"])
    inside, outside = lan.host("inside"), net.host("outside", ipv6=True)

    async def main() -> None:
        ear = await open_ear(host, local_addr=("0.0.0.0", 7))
        assert ear.transport.get_extra_info("sockname") == ("0.0.0.0", 7)
        for peer, seen in ((inside, "192.168.1.200"), (outside, host.address)):
            other = await open_ear(peer, local_addr=(peer.address, 9))
            ear.transport.sendto(b"x", (peer.address, 9))
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            assert [address for _, _, address in other.heard] == [(seen, 7)]
        ear.transport.sendto(b"x", (outside.addresses[1], 9))
        assert ear.errors == [OSError]

    net.run(main())


def test_connected_sockets_hear_one_peer_and_port_unreachable() -> None:
    net, a, b = two_hosts(Link(delay=0.01))
    home = net.host("home", nat="port-restricted")

    async def main() -> None:
        for host in (a, home):
            connected = await open_ear(host, remote_addr=(b.address, 7))
            assert connected.transport.get_extra_info("peername") == (b.address, 7)
            assert connected.transport.get_extra_info("sockname")[0] == host.address
            free = await open_ear(host, local_addr=(host.address, 0))
            connected.transport.sendto(b"nobody there")
            free.transport.sendto(b"nobody there", (b.address, 7))
            await asyncio.sleep(1)
            assert connected.errors == [ConnectionRefusedError]
            assert free.errors == []
        stranger = await open_ear(b, local_addr=(b.address, 8))
        connected = await open_ear(a, local_addr=(a.address, 5000), remote_addr=(b.address, 7))
        friend = await open_ear(b, local_addr=(b.address, 7))
        for ear in (stranger, friend):
            ear.transport.sendto(ear.transport.get_extra_info("sockname")[1].to_bytes(1, "big"), (a.address, 5000))
        await asyncio.sleep(1)
        assert [data for _, data, _ in connected.heard] == [b"\x07"]
        with pytest.raises(ValueError, match="Invalid address"):
            connected.transport.sendto(b"x", (b.address, 8))

    net.run(main())


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


def test_hosts_in_one_network_talk_without_the_nat() -> None:
    net = Internet(link=Link(delay=0.1))
    lan = net.network("symmetric")
    one, other = lan.host(), lan.host()

    async def main() -> None:
        ear = await open_ear(other, local_addr=(other.address, 7))
        mouth = await open_ear(one, local_addr=(one.address, 5000))
        mouth.transport.sendto(b"x", (other.address, 7))
        await asyncio.sleep(0.01)
        assert ear.heard == [(0.0, b"x", (one.address, 5000))]

    net.run(main())


def test_two_homes_behind_one_carrier_meet_by_hairpinning() -> None:
    net = Internet()
    carrier = net.network(NatConfig(filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT), name="carrier")
    homes = [net.network("full-cone", outside=carrier) for _ in "ab"]
    one, other = (home.host() for home in homes)
    server = net.host("server")

    async def main() -> None:
        ear = await open_ear(server, local_addr=(server.address, 7))
        listener = await open_ear(other, local_addr=(other.address, 5000))
        listener.transport.sendto(b"who am i", (server.address, 7))
        await asyncio.sleep(0.01)
        (_, _, mapped) = ear.heard[0]
        assert mapped[0] == carrier.nat.external_hosts[0]
        mouth = await open_ear(one, local_addr=(one.address, 5000))
        mouth.transport.sendto(b"x", mapped)
        await asyncio.sleep(0.01)
        assert [(data, address[0]) for _, data, address in listener.heard] == [(b"x", mapped[0])]

    net.run(main())


def test_kill_down_reboot_and_a_lost_address() -> None:
    net = Internet()
    server = net.host("server")
    lan = net.network("port-restricted")
    home = lan.host("home")

    async def echo() -> None:
        class Echo(Ear):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.transport.sendto(data, addr)

        await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(server.address, 7))
        await asyncio.Event().wait()

    async def main() -> list[bool]:
        server.run(echo())
        await asyncio.sleep(0.5)
        ear = await open_ear(home, local_addr=(home.address, 5000), remote_addr=(server.address, 7))
        answers = []
        for second in range(1, 10):
            await asyncio.sleep(second - net.now)
            before = len(ear.heard)
            ear.transport.sendto(b"x")
            await asyncio.sleep(0.1)
            answers.append(len(ear.heard) > before)
        assert ear.errors == [ConnectionRefusedError]
        return answers

    net.at(1.5, server.down)
    net.at(2.5, server.up)
    net.at(3.5, net.root.down)
    net.at(4.5, net.root.up)
    net.at(5.5, lan.nat.reboot)
    net.at(6.5, lambda: lan.detach(home, home.address))
    net.at(7.5, lambda: lan.attach(home, addresses=["192.168.1.1"]))
    net.at(8.5, server.kill)
    assert net.run(main()) == [True, False, True, False, True, True, False, True, False]


def test_programs_see_the_addresses_of_their_host() -> None:
    net = Internet()
    host = net.host("a", ipv6=True)
    net.network(None, name="docker0").attach(host, addresses=["172.17.0.1"])
    real = ifaddr.get_adapters

    async def main() -> None:
        with host:
            adapters = ifaddr.get_adapters()
            assert current_host() is host
        assert [(adapter.name, [ip.ip for ip in adapter.ips]) for adapter in adapters] == [
            ("eth0", [host.addresses[0], (host.addresses[1], 0, 0)]),
            ("eth1", ["172.17.0.1"]),
        ]
        with pytest.raises(ConfigError, match="runs on no simulated host"):
            await asyncio.get_running_loop().create_datagram_endpoint(Ear, local_addr=("0.0.0.0", 0))

    net.run(main())
    assert ifaddr.get_adapters is real


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
