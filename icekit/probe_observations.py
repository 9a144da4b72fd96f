"""What a probe saw, before any conclusion: ``Observations``, and what can be read off them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from icekit.errors import ConfigError, UriError
from icekit.net import Address, AddressClass, Transport
from icekit.report import (
    DnsReport,
    Interface,
    NatReport,
    NatReports,
    PortmapReport,
    ProbeReport,
    ServerReport,
    TurnReport,
)
from icekit.servers import ServerUri

# A consent check of aioice is lost after 500 ms; beyond 400 ms a little jitter is enough.
SLOW_RTT = 0.4


@dataclass(frozen=True, slots=True)
class ConfiguredServer:
    """A server URL as it was configured, and the user name that goes with it. Never the credential."""

    url: str
    username: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What a probe saw: a ``ProbeReport`` without its conclusions, and what else the rules need.

    ``configured`` are the servers that the caller named (or the default list), ``local`` a run on the embedded servers
    over loopback, ``unix_time`` when it ran (seconds since 1970; ``None``: credentials are not judged by time).
    """

    duration: float = 0.0
    interfaces: tuple[Interface, ...] = ()
    nat: NatReports = field(default_factory=NatReports)
    servers: tuple[ServerReport, ...] = ()
    dns: tuple[DnsReport, ...] = ()
    portmap: PortmapReport | None = None
    turn: tuple[TurnReport, ...] = ()
    candidates: tuple[str, ...] = ()
    configured: tuple[ConfiguredServer, ...] = ()
    local: bool = False
    unix_time: float | None = None


def parse_url(url: str) -> ServerUri | None:
    """The URI, or ``None`` if it is none."""
    try:
        return ServerUri.parse(url)
    except UriError:
        return None


def url_transport(url: str) -> Transport | None:
    """How the server of a URL is reached, ``None`` if the URL does not tell."""
    uri = parse_url(url)
    return None if uri is None else uri.transport


def host_of(address: str | None) -> str | None:
    """The host of an address as a report writes it, ``None`` if it is none."""
    try:
        return None if address is None else Address.parse(address).host
    except ConfigError:
        return None


def families(nat: NatReports) -> Iterator[tuple[str, NatReport]]:
    """The families that this host has, with their names for people."""
    if nat.ipv4 is not None:
        yield "IPv4", nat.ipv4
    if nat.ipv6 is not None:
        yield "IPv6", nat.ipv6


def relays_over(turn: tuple[TurnReport, ...], *transports: Transport) -> bool:
    """Whether a relay works over one of these transports; without one, over any."""
    return any(report.ok and (not transports or url_transport(report.url) in transports) for report in turn)


def relay_works(turn: tuple[TurnReport, ...]) -> bool | None:
    """Whether a relay works; ``None`` when none does so far and a test was interrupted."""
    if relays_over(turn):
        return True
    return None if any(not report.ok and report.failed_stage is None for report in turn) else False


def udp_works(observed: Observations | ProbeReport) -> bool | None:
    """Whether UDP passes in any family; a relay that works over UDP proves it too."""
    verdicts = [nat.udp for _, nat in families(observed.nat)]
    if True in verdicts or relays_over(observed.turn, Transport.UDP, Transport.DTLS):
        return True
    return False if False in verdicts else None


def queries_by_name(queries: Iterable[DnsReport]) -> Iterator[tuple[str, list[DnsReport]]]:
    """The queries of each name, whether or not it was written with its last dot."""
    names: dict[str, list[DnsReport]] = {}
    for query in queries:
        names.setdefault(query.name.removesuffix("."), []).append(query)
    yield from names.items()


def failed_hosts(observed: Observations) -> set[str]:
    """The hosts whose name resolution already has a stage code."""
    failed = [parse_url(report.url) for report in observed.turn if report.code == "TURN-RESOLVE"]
    return {uri.host for uri in failed if uri is not None}


def has_turn(observed: Observations) -> bool:
    """Whether a relay was configured, or at least tested."""
    uris = (parse_url(server.url) for server in observed.configured)
    return bool(observed.turn) or any(uri is not None and uri.is_turn for uri in uris)


def slow_rtt(observed: Observations) -> float | None:
    """The round trip (seconds) that even the fastest path takes, if it is above ``SLOW_RTT``."""
    times = [server.rtt for server in observed.servers] + [report.rtt for report in observed.turn]
    fastest = min((rtt for rtt in times if rtt is not None), default=0.0)
    return fastest if fastest > SLOW_RTT else None


_NO_NETWORK = (AddressClass.LOOPBACK, AddressClass.LINK_LOCAL)


def is_offline(observed: Observations) -> bool:
    """Whether no address of this host leads anywhere, and no server was reached all the same."""
    reached = any(server.reachable for server in observed.servers)
    return not reached and all(item.address_class in _NO_NETWORK for item in observed.interfaces)
