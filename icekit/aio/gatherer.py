"""Gathering on real sockets: ``async for event in gather(servers)``."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any

from icekit.aio.dns import Resolver
from icekit.aio.driver import Driver
from icekit.aio.interfaces import interfaces
from icekit.errors import ConfigError
from icekit.gathering import Gatherer
from icekit.gathering_events import GatherEvent, GatheringComplete
from icekit.gathering_plan import GatherConfig, GatherServer, gather_servers
from icekit.net import AddressClass
from icekit.network_config import NetworkConfig
from icekit.report import Interface
from icekit.resolution import ServerEndpoint, resolve
from icekit.servers import IceServer
from icekit.session import IceSession

# What a peer elsewhere cannot reach, or what only containers of this host use.
_LEFT_OUT = (AddressClass.UNSPECIFIED, AddressClass.LOOPBACK, AddressClass.LINK_LOCAL, AddressClass.MULTICAST)
# Cheap and quick networks first; a VPN is a detour (RFC 8445 §5.1.2.2).
_ORDER = ("ethernet", "wifi", None, "cellular", "vpn")


def local_addresses(found: Sequence[Interface] | None = None, network: NetworkConfig | None = None) -> tuple[str, ...]:
    """The addresses of this host to gather from, most preferred first; by default of all its interfaces.

    Without loopback, link-local addresses and bridges (containers), which nobody elsewhere can reach, and without what
    the filters of ``network`` leave out. Blocks briefly.
    """
    usable = [
        item
        for item in (interfaces() if found is None else found)
        if _is_reachable(item) and (network is None or network.allows(item))
    ]
    return tuple(dict.fromkeys(item.address for item in sorted(usable, key=lambda item: _ORDER.index(item.kind))))


def _is_reachable(item: Interface) -> bool:
    return item.address_class not in _LEFT_OUT and item.kind in _ORDER


def require_local_addresses(network: NetworkConfig, way_out: str) -> tuple[str, ...]:
    """The same; ConfigError if there is none. ``way_out``: how to name an address that nobody elsewhere can reach."""
    found = interfaces()
    hosts = local_addresses(found, network)
    if hosts:
        return hosts
    if network.interfaces or network.addresses:
        here = ", ".join(
            f"{item.name} {item.address}{'' if _is_reachable(item) else ' (' + _why_not(item) + ')'}"
            for item in found
            if item.address_class != AddressClass.LINK_LOCAL
        )
        raise ConfigError(
            f"the filters leave no local address; this host has {here}; to use one with a reason in brackets, {way_out}"
        )
    raise ConfigError(f"this host has no address that others can reach; connect it to a network, or {way_out}")


def require_hosts(named: Sequence[str] | None, network: NetworkConfig, families: Collection[int]) -> list[str]:
    """The addresses of these families (4, 6) to connect from: of those named, or of this host. ConfigError if none."""
    way_out = 'name an address in local_addresses (["127.0.0.1"] reaches peers on this host)'
    if isinstance(named, str):
        raise ConfigError(f"local_addresses is a list; write [{named!r}]")
    hosts = require_local_addresses(network, way_out) if named is None else named
    fitting = [host for host in hosts if (6 if ":" in host else 4) in families]
    if not fitting:
        wanted = " or ".join(f"IPv{family}" for family in families)
        raise ConfigError(f"there is no local address of {wanted or 'any family'} to connect from; {way_out}")
    return fitting


def _why_not(item: Interface) -> str:
    return item.address_class if item.address_class in _LEFT_OUT else str(item.kind)


async def gather(
    servers: Sequence[IceServer],
    *,
    local_addresses: Sequence[str] | None = None,
    config: GatherConfig | None = None,
    network: NetworkConfig | None = None,
    resolver: Resolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
    token_bytes: Callable[[int], bytes] | None = None,
) -> AsyncGenerator[GatherEvent, None]:
    """Everything that gathering finds, as it is found; ends after ``GatheringComplete``.

    Names are resolved side by side, each server is asked as soon as its own name is known. When the iterator is closed
    all relays are given back: leave early only inside ``async with contextlib.aclosing(gather(…))``. ConfigError for
    servers without credentials, and where there is no local address.
    """
    wanted = gather_servers(servers)
    network = network or NetworkConfig()
    hosts = local_addresses
    if hosts is None:
        way_out = "name an address with --local-address (127.0.0.1 reaches servers on this host)"
        hosts = require_local_addresses(network, way_out)
    core = Gatherer(hosts, wanted, token_bytes or os.urandom, config=config, network=network)
    driver: Driver[GatherEvent] = Driver(core, ssl_context=ssl_context)
    resolver = resolver or Resolver()
    resolver.prepare(server.uri for server in wanted)
    core.start(driver.now())
    driver.wake()
    tasks = [
        asyncio.create_task(
            resolve_server(driver, core, resolver, place, server, hosts), name=f"icekit-resolve {server.uri}"
        )
        for place, server in enumerate(wanted)
    ]
    try:
        async with aclosing(driver.events()) as events:
            async for event in events:
                yield event
                if isinstance(event, GatheringComplete):
                    return
    finally:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            # Also for who is cancelled while the tasks end: relays and sockets must not stay.
            await driver.close()


async def resolve_server(
    driver: Driver[Any],
    core: Gatherer | IceSession,
    resolver: Resolver,
    place: int,
    server: GatherServer,
    hosts: Sequence[str],
) -> None:
    """Tell ``core`` where the server at ``place`` is for who has the addresses ``hosts``, or that its name is nothing.

    In a network with IPv6 alone a server with IPv4 alone is reached through a NAT64, if there is one. DNS does that for
    names (DNS64), and nobody for addresses.
    """
    resolution = await resolver.resolve(server.uri)
    endpoints = resolution.endpoints
    if endpoints and _cannot_reach(endpoints, hosts):
        from icekit.nat64 import reached_by_ipv6  # most networks have IPv4

        endpoints = reached_by_ipv6(endpoints, hosts, await resolver.nat64_prefixes())
    if endpoints:
        core.server_resolved(place, endpoints, driver.now())
    else:
        core.server_unresolved(
            place, f"the name {server.uri.host} does not resolve: {resolution.failure}", driver.now()
        )
    driver.hurry()


def tell_literal(core: IceSession, place: int, server: GatherServer, now: float) -> bool:
    """The same at once, for an address that needs no answer of anybody; False: ``resolve_server`` it."""
    endpoints = resolve(server.uri, {}, lambda bound: 0).endpoints if server.uri.is_literal else ()
    if not endpoints or _cannot_reach(endpoints, core.hosts):
        return False
    core.server_resolved(place, endpoints, now)
    return True


def _cannot_reach(endpoints: Sequence[ServerEndpoint], hosts: Sequence[str]) -> bool:
    """Whether this is a host of IPv6 alone, and those are of IPv4 alone."""
    return all(":" in host for host in hosts) and all(item.address.family == 4 for item in endpoints)
