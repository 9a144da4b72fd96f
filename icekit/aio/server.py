"""The STUN and TURN server on real sockets: ``async with serve(config, hosts=[…]) as server``."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from icekit.admission import Counters
from icekit.aio.driver import Driver
from icekit.errors import ConfigError
from icekit.net import Address, AddressClass, Transport, canonical_host, classify_host
from icekit.server import Server, ServerConfig, ServerEvent

# How often the free ports that the system gave for the first host are tried on the other hosts.
_PORT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What ``serve`` opened, in the order of hosts and ports; the first of each is the primary."""

    udp: tuple[Address, ...]
    tcp: tuple[Address, ...]
    tls: tuple[Address, ...]
    core: Server = field(repr=False)

    @property
    def counters(self) -> Counters:
        """What became of every packet."""
        return self.core.counters

    def urls(self) -> tuple[str, ...]:
        """The URLs to give to a client (RFC 7064, 7065), of the first address of each family."""
        found: list[str] = []
        for addresses, scheme, transport in (
            (self.udp, "stun", ""),
            (self.udp, "turn", "?transport=udp"),
            (self.tcp, "turn", "?transport=tcp"),
            (self.tls, "turns", "?transport=tcp"),
        ):
            if scheme != "stun" and self.core.config.turn is None:
                continue
            families: set[int] = set()
            for address in addresses:
                if address.family not in families:
                    families.add(address.family)
                    found.append(f"{scheme}:{address}{transport}")
        return tuple(found)


@asynccontextmanager
async def serve(
    config: ServerConfig,
    *,
    hosts: Iterable[str],
    ports: tuple[int, ...] = (3478, 3479),
    tcp: bool = True,
    tls_port: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    on_event: Callable[[ServerEvent], None] | None = None,
) -> AsyncIterator[RunningServer]:
    """Listen on every host and port until the block ends; then every allocation and connection is closed.

    ``ports``: RFC 5780 needs two of them, and two hosts; a port of 0 is any free one, the same on every host.
    ``tls_port`` needs ``ssl_context``. A TURN configuration without relay hosts cannot be: give ``relay_ipv4`` or
    ``relay_ipv6`` in it. ConfigError when a port is taken or a host is not of this machine.
    """
    literals = [_literal(host) for host in hosts]
    if not literals or not ports:
        raise ConfigError("a server needs at least one host and one port to listen on")
    if tls_port is not None and ssl_context is None:
        raise ConfigError("TLS needs a certificate: give ssl_context with tls_port")
    for attempt in range(_PORT_ATTEMPTS):
        try:
            driver, running = await _open(config, literals, ports, tcp, tls_port, ssl_context)
            break
        except ConfigError:
            # A free port of one host and protocol may be taken on the next; a given port stays taken.
            if 0 not in ports or attempt == _PORT_ATTEMPTS - 1:
                raise
    reader = asyncio.create_task(_read(driver, on_event), name="icekit-serve")
    try:
        yield running
    finally:
        await driver.close()
        await reader


async def _open(
    config: ServerConfig,
    hosts: list[str],
    ports: tuple[int, ...],
    tcp: bool,
    tls_port: int | None,
    ssl_context: ssl.SSLContext | None,
) -> tuple[Driver[ServerEvent], RunningServer]:
    """Open everything, or nothing and ConfigError."""
    now = asyncio.get_running_loop().time()
    core = Server(config, token_bytes=os.urandom, unix_offset=time.time() - now)
    driver: Driver[ServerEvent] = Driver(core)
    udp: list[Address] = []
    tls: list[Address] = []
    try:
        numbers = []
        for port in ports:
            number = port
            for host in hosts:
                number = (await driver.bind(Address(host, number))).port
            numbers.append(number)
        udp = [Address(host, number) for host in hosts for number in numbers]
        for local in udp:
            core.add_local_address(local)
            if tcp:
                await driver.listen(local, Transport.TCP)
                core.add_local_address(local, Transport.TCP)
        if tls_port is not None:
            for host in hosts:
                # With port 0 the first host chooses for all.
                local = Address(host, tls[0].port if tls else tls_port)
                tls.append(await driver.listen(local, Transport.TLS, ssl_context))
                core.add_local_address(tls[-1], Transport.TLS)
    except BaseException:
        await driver.close()
        raise
    return driver, RunningServer(tuple(udp), tuple(udp) if tcp else (), tuple(tls), core)


async def _read(driver: Driver[ServerEvent], on_event: Callable[[ServerEvent], None] | None) -> None:
    async for event in driver.events():
        if on_event is not None:
            on_event(event)


def _literal(host: str) -> str:
    try:
        literal = canonical_host(host)
    except ValueError:
        raise ConfigError(f"{host!r} is not an IP address; a server listens on addresses, not names") from None
    if classify_host(literal) is AddressClass.UNSPECIFIED:
        # The answer must come from the address that was asked, and be told in RESPONSE-ORIGIN.
        raise ConfigError(f"{host} means every address; name the addresses of this machine to listen on one by one")
    return literal
