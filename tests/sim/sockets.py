"""Sockets of test programs on simulated hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from icekit.sim import Host, Internet, Link


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


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(host: Host, port: int, handler: Handler = echo, **options: object) -> asyncio.Server:
    async def start() -> asyncio.Server:
        return await asyncio.start_server(handler, host.address, port, **options)  # type: ignore[arg-type]

    return await host.run(start())


async def connect(host: Host, *address: object, **options: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await host.run(asyncio.open_connection(*address, **options))  # type: ignore[arg-type]
