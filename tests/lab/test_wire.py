"""The wire between devices, with sockets in their place."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from icekit.lab.gateway import Gateway
from icekit.lab.ip import parse
from icekit.lab.tun import Tun
from icekit.lab.wire import KernelRouter, Site, Wire
from icekit.nat_presets import preset
from icekit.net import Address
from icekit.sim.link import Channel, Link
from tests.lab.packets import udp

SERVER = Address("203.0.113.10", 3478)
INSIDE = [Address(f"192.168.{77 + number}.2", 5000) for number in range(2)]
OUTSIDE = [Address(f"198.51.100.{2 + number}", 5000) for number in range(2)]


class Device:
    """A device and the host that it belongs to: packets, in order."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.setblocking(False)
        self.far.settimeout(5)

    def fileno(self) -> int:
        return self.near.fileno()

    def read(self) -> bytearray | None:
        try:
            data = self.near.recv(65_535)
        except BlockingIOError:
            return None
        if not data:
            raise OSError("the device is gone")
        return bytearray(data)

    def write(self, data: bytearray) -> None:
        self.near.send(data)

    def send(self, source: Address, destination: Address, payload: bytes = b"x") -> None:
        self.far.send(udp(source, destination, payload))

    def receive(self) -> tuple[Address, Address, bytes]:
        packet = parse(bytearray(self.far.recv(65_535)))
        assert packet is not None
        return packet.source, packet.destination, packet.payload

    def close(self) -> None:
        self.near.close()
        self.far.close()


@contextmanager
def devices(count: int) -> Iterator[list[Device]]:
    made = [Device() for _ in range(count)]
    yield made
    for device in made:
        device.close()


def channel(link: Link) -> Channel:
    return Channel(link, random.Random(1))


def direct() -> tuple[Channel, Channel]:
    return channel(Link()), channel(Link())


def site(client: Device, number: int, *stages: Gateway | KernelRouter, link: Link | None = None) -> Site:
    link = link or Link()
    return Site(cast(Tun, client), stages, channel(link), channel(link))


def gateway(name: str, number: int) -> Gateway:
    (config,) = preset(name).chain
    return Gateway(config, (OUTSIDE[number].host,), f"192.168.{77 + number}.1", token_bytes=bytes)


def test_two_clients_and_a_server() -> None:
    with devices(3) as (server, *clients):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        for number, client in enumerate(clients):
            wire.add_site(site(client, number, gateway("port-restricted", number)), [OUTSIDE[number].host])
        with wire:
            for number, client in enumerate(clients):
                client.send(INSIDE[number], SERVER, b"ask")
                assert server.receive() == (OUTSIDE[number], SERVER, b"ask")
                server.send(SERVER, OUTSIDE[number], b"answer")
                assert client.receive() == (SERVER, INSIDE[number], b"answer")
            # Filtered on the way in, until the other has sent, too.
            clients[0].send(INSIDE[0], OUTSIDE[1], b"early")
            clients[1].send(INSIDE[1], OUTSIDE[0], b"hello")
            assert clients[0].receive() == (OUTSIDE[1], INSIDE[0], b"hello")
            clients[0].send(INSIDE[0], OUTSIDE[1], b"again")
            assert clients[1].receive()[2] in (b"early", b"again")


def test_the_kernel_is_between_two_devices() -> None:
    with devices(4) as (server, client, inside, outside):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        router = KernelRouter(cast(Tun, inside), cast(Tun, outside))
        wire.add_site(site(client, 0, router, gateway("symmetric", 0)), [OUTSIDE[0].host])
        with wire:
            client.send(INSIDE[0], SERVER)
            assert inside.receive()[:2] == (INSIDE[0], SERVER)
            middle = Address("100.64.0.2", 7)
            outside.send(middle, SERVER)
            mapped, *_ = server.receive()
            assert mapped.host == OUTSIDE[0].host
            server.send(SERVER, mapped)
            assert outside.receive()[:2] == (SERVER, middle)
            inside.send(SERVER, INSIDE[0])
            assert client.receive()[:2] == (SERVER, INSIDE[0])


def test_hairpinning_does_not_leave() -> None:
    with devices(2) as (server, client):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        wire.add_site(site(client, 0, gateway("full-cone", 0), link=Link(loss=1.0)), [OUTSIDE[0].host])
        with wire:
            client.send(INSIDE[0], OUTSIDE[0])
            assert client.receive()[:2] == (OUTSIDE[0], INSIDE[0])


def test_delay_each_way_in_order() -> None:
    with devices(2) as (server, client):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        wire.add_site(site(client, 0, link=Link(delay=0.03, jitter=0.02)), [OUTSIDE[0].host])
        with wire:
            started = time.monotonic()
            for number in range(20):
                client.send(OUTSIDE[0], SERVER, b"%d" % number)
            assert [server.receive()[2] for _ in range(20)] == [b"%d" % number for number in range(20)]
            assert time.monotonic() - started >= 0.03
            server.send(SERVER, OUTSIDE[0])
            client.receive()
            assert time.monotonic() - started >= 0.06


@pytest.mark.parametrize("seed", [1, 2])
def test_loss_is_drawn_from_the_channel(seed: int) -> None:
    expected = [number for number in range(200) if survives(seed, number)]
    with devices(2) as (server, client):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        up = Channel(Link(loss=0.3), random.Random(seed))
        wire.add_site(Site(cast(Tun, client), (), up, channel(Link())), [OUTSIDE[0].host])
        with wire:
            for number in range(200):
                client.send(OUTSIDE[0], SERVER, b"%d" % number)
            assert [int(server.receive()[2]) for _ in expected] == expected
    assert 120 < len(expected) < 160
    assert up.lost == 200 - len(expected)


def survives(seed: int, number: int) -> bool:
    dice = random.Random(seed)
    return [dice.random() >= 0.3 for _ in range(number + 1)][-1]


def test_nobody_has_that_address() -> None:
    with devices(2) as (server, client):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        wire.add_site(site(client, 0), [OUTSIDE[0].host])
        with wire:
            client.send(OUTSIDE[0], Address("192.0.2.1", 1))
            client.far.send(b"no packet")
            client.send(OUTSIDE[0], SERVER, b"next")
            assert server.receive()[2] == b"next"


def test_a_device_that_goes_takes_nothing_with_it() -> None:
    with devices(3) as (server, client, other):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        wire.add_site(site(client, 0), [OUTSIDE[0].host])
        wire.add_site(site(other, 1), [OUTSIDE[1].host])
        with wire:
            client.far.close()
            other.send(OUTSIDE[1], SERVER, b"still there")
            assert server.receive()[2] == b"still there"


def test_the_link_of_the_server_takes_its_time() -> None:
    slow = Link(delay=0.03)
    with devices(2) as (server, client):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], channel(slow), channel(slow))
        wire.add_site(site(client, 0), [OUTSIDE[0].host])
        with wire:
            started = time.monotonic()
            client.send(OUTSIDE[0], SERVER)
            server.receive()
            assert time.monotonic() - started >= 0.03
            server.send(SERVER, OUTSIDE[0])
            client.receive()
            assert time.monotonic() - started >= 0.06


def test_who_sees_packets_may_keep_them() -> None:
    seen: list[float] = []

    def see(data: bytearray, now: float) -> bool:
        seen.append(now)
        return data[-1:] != b"!"

    with devices(2) as (server, client):
        wire = Wire()
        wire.add_server(cast(Tun, server), [SERVER.host], *direct())
        watched = Site(cast(Tun, client), (), channel(Link()), channel(Link()), see)
        wire.add_site(watched, [OUTSIDE[0].host])
        started = time.monotonic()
        with wire:
            for payload in (b"stop!", b"go"):
                client.send(OUTSIDE[0], SERVER, payload)
            assert server.receive()[2] == b"go"
            server.send(SERVER, OUTSIDE[0], b"back")
            assert client.receive()[2] == b"back"
    assert len(seen) == 2
    assert started <= seen[0] <= seen[1] <= time.monotonic()
