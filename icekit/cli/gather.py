"""``icekit gather``: the candidates of this host, as they come."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from icekit.cli.command import run
from icekit.cli.options import (
    Credential,
    JsonOutput,
    ServersFile,
    ServerUrls,
    Username,
    read_port_range,
    read_servers,
)
from icekit.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from icekit.gathering_events import AskedServer, CandidateGathered, GatherEvent, GatherReport
    from icekit.network_config import NetworkConfig
    from icekit.servers import IceServer

LocalAddresses = Annotated[
    list[str] | None,
    typer.Option(
        "--local-address",
        metavar="ADDRESS",
        help="Gather from this address of this host only; may be given more than once.",
    ),
]

Interfaces = Annotated[
    list[str] | None,
    typer.Option(
        "--interface",
        metavar="NAME",
        help="Gather from interfaces of this name, such as wlan0, eth* or !tun*; may be given more than once.",
    ),
]
PortRange = Annotated[
    str | None,
    typer.Option(
        "--port-range",
        metavar="FIRST-LAST",
        help="Use only these local UDP ports: shows whether a firewall lets this range pass.",
    ),
]


def gather(
    urls: ServerUrls = None,
    servers: ServersFile = None,
    username: Username = None,
    credential: Credential = None,
    local_address: LocalAddresses = None,
    interface: Interfaces = None,
    port_range: PortRange = None,
    json: JsonOutput = False,
) -> None:
    """List the candidates that this host would offer, as they come: from all servers, on all interfaces.

    Exit code 1: no server works. A TURN server works when it relays: one that refuses the credentials does not,
    whatever address it tells. To demand a relay: icekit probe --require relay, or icekit turn.
    """
    # --help does without them.
    from icekit.cli.render import print_json
    from icekit.errors import ConfigError
    from icekit.gathering_events import CandidateGathered, gather_report
    from icekit.network_config import NetworkConfig

    if interface and local_address:
        raise ConfigError("--interface chooses among all addresses, --local-address names them; give one of both")
    ports = None if port_range is None else read_port_range(port_range, "--port-range")
    network = NetworkConfig(interfaces=interface or (), port_range=ports)
    asked = read_servers(urls, servers, username, credential)
    events: list[GatherEvent] = []

    def take(event: GatherEvent) -> None:
        events.append(event)
        if isinstance(event, CandidateGathered) and not json:
            typer.echo(_line(event))

    def finish() -> None:
        report = gather_report(events)
        if json:
            print_json(report)
        else:
            typer.echo(_summary(report, [str(url) for server in asked for url in server.urls]))

    run(_gather(asked, local_address, network, take), finish)
    finish()
    if not gather_report(events).successful:
        raise typer.Exit(1)


async def _gather(
    servers: Sequence[IceServer],
    local_addresses: Sequence[str] | None,
    network: NetworkConfig,
    take: Callable[[GatherEvent], None],
) -> None:
    from contextlib import aclosing

    from icekit.aio.gatherer import gather as gather_events

    async with aclosing(gather_events(servers, local_addresses=local_addresses, network=network)) as events:
        async for event in events:
            take(event)


def _line(event: CandidateGathered) -> str:
    candidate = event.candidate
    address = f"[{candidate.address}]" if ":" in candidate.address else candidate.address
    source = "" if event.url is None else f"from {event.base.host} by {event.url}"
    where = f"{address}:{candidate.port}"
    kind = candidate.address_class.value
    return f"{_milliseconds(event.seconds):>9}  {candidate.type:<5}  {kind:<13}  {where:<21}  {source}".rstrip()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _summary(report: GatherReport, asked: Sequence[str] = ()) -> str:
    from icekit.gathering_events import ServerOutcome

    lines = [""]
    for item in report.unusable_addresses:
        lines.append(f"{item.address} cannot be used: {item.error}.")
    seen_as_is: dict[str, list[str]] = {}
    failed: dict[tuple[str, str], list[AskedServer]] = {}
    for server in report.servers:
        if server.outcome is ServerOutcome.FAILED:
            failed.setdefault((server.url, server.error or ""), []).append(server)
        elif server.mapped_address == server.base and server.base is not None:
            host = server.base.rpartition(":")[0]
            seen_as_is.setdefault(host, []).append(server.url)
    lines += [f"There is no NAT between {host} and {', '.join(urls)}." for host, urls in seen_as_is.items()]
    for (url, error), legs in failed.items():
        hosts = ", ".join(leg.base for leg in legs if leg.base is not None)
        lines.append(printable(f"{url} failed{f' from {hosts}' if hosts else ''}: {error}."))
    counts = Counter(candidate.type for candidate in report.candidates)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("host", "srflx", "relay"))
    told = {server.url for server in report.servers}
    lines += [f"{url} had not answered by then." for url in dict.fromkeys(asked) if url not in told]
    total = len(told.union(asked))
    good = len({server.url for server in report.servers if server.outcome is ServerOutcome.ANSWERED})
    end = "" if report.complete else ", interrupted"
    lines.append(
        f"{_count(len(report.candidates), 'candidate')} ({kinds}); "
        f"{good} of {_count(total, 'server')} {'works' if total == 1 else 'work'}; "
        f"{_milliseconds(report.duration)}{end}"
    )
    return "\n".join(lines)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
