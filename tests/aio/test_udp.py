"""A socket of the driver, on the loopback, with an owner that only writes down what it is told."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from icekit.aio.udp import UdpSocket, socket_address
from icekit.net import Address


class Owner:
    """Keeps what it hears; ``told`` is set with each."""

    def __init__(self) -> None:
        self.opened: list[Address] = []
        self.received: list[tuple[Address, Address, bytes]] = []
        self.failed: list[int | None] = []
        self.closed: list[Address] = []
        self.told = asyncio.Event()

    def udp_opened(self, udp: UdpSocket) -> None:
        self.opened.append(udp.local)

    def udp_received(self, source: Address, local: Address, data: bytes) -> None:
        self.received.append((source, local, data))
        self.told.set()

    def udp_failed(self, udp: UdpSocket, error: OSError) -> None:
        self.failed.append(error.errno)
        self.told.set()

    def udp_closed(self, udp: UdpSocket) -> None:
        self.closed.append(udp.local)
        self.told.set()

    async def hear(self) -> None:
        async with asyncio.timeout(10):
            await self.told.wait()
        self.told.clear()


@asynccontextmanager
async def socket_of(owner: Owner, remote: Address | None = None) -> AsyncIterator[UdpSocket]:
    """One on the loopback; at the end it is closed, and the owner has heard of it."""
    udp = UdpSocket(owner, 1, connected=remote is not None)
    await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: udp, local_addr=("127.0.0.1", 0), remote_addr=remote
    )
    try:
        yield udp
    finally:
        udp.close()
        while not owner.closed:
            await owner.hear()
        assert owner.closed == [udp.local]


async def test_an_owner_can_send_when_it_hears_that_the_socket_is_open() -> None:
    class Greeter(Owner):
        def udp_opened(self, udp: UdpSocket) -> None:
            super().udp_opened(udp)
            assert udp.send(b"hello", peer.local)

    hearing = Owner()
    async with socket_of(hearing) as peer, socket_of(Greeter()) as udp:
        await hearing.hear()
        assert hearing.received == [(udp.local, peer.local, b"hello")]


async def test_the_owner_is_told_before_who_waits_for_the_socket() -> None:
    owner = Owner()
    async with socket_of(owner) as udp:
        assert owner.opened == [udp.local]
        assert udp.local.port


async def test_a_closed_port_of_the_one_peer() -> None:
    owner = Owner()
    async with socket_of(Owner()) as gone:
        address = gone.local
    async with socket_of(owner, address) as udp:
        assert udp.send(b"anybody?", Address("192.0.2.1", 9)), "the peer of a connected socket is fixed"
        await owner.hear()
        assert owner.failed == [errno.ECONNREFUSED]


async def test_no_route_is_told_by_send() -> None:
    async with socket_of(Owner()) as udp:
        # The loopback cannot be the source of what leaves the machine.
        assert not udp.send(b"x", Address("192.0.2.1", 9))
        assert udp.send(b"x", udp.local)


async def test_what_the_system_does_not_take_is_dropped() -> None:
    owner = Owner()
    async with socket_of(owner) as udp:
        udp.pause_writing()
        assert udp.send(b"lost", udp.local)
        udp.resume_writing()
        assert udp.send(b"arrives", udp.local)
        await owner.hear()
        assert [data for _, _, data in owner.received] == [b"arrives"]


async def test_after_close_nothing_is_sent() -> None:
    owner, hearing = Owner(), Owner()
    async with socket_of(hearing) as peer:
        async with socket_of(owner) as udp:
            udp.close()
            assert udp.send(b"late", peer.local)
        assert hearing.received == []


@pytest.mark.parametrize("name", [("192.0.2.1", 5), ("2001:db8::1", 5, 0, 0)])
def test_names_of_both_families(name: tuple[Any, ...]) -> None:
    assert socket_address(name) == Address(name[0], 5)
