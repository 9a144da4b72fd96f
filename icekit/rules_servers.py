"""Rules about how servers answered: names, times, certificates, lifetimes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from icekit.catalogue import new_finding, stage_text
from icekit.net import StreamFailure, Transport
from icekit.probe_observations import (
    SLOW_RTT,
    Observations,
    failed_hosts,
    host_of,
    parse_url,
    queries_by_name,
    slow_rtt,
    udp_works,
    url_transport,
)
from icekit.report import Finding, ServerReport, StageName, TurnReport
from icekit.resolution import is_sinkhole
from icekit.servers import ServerUri, is_literal

# An entry that takes a second, and three times as long as the fastest of its sort, is what people wait for.
SLOW_SECONDS, SLOW_RATIO = 1.0, 3.0
MAX_EVIDENCE = 8
SHORT_LIFETIME = 300

_TLS_CAUSES = (StreamFailure.TLS_NAME, StreamFailure.TLS_EXPIRED, StreamFailure.TLS_ISSUER, StreamFailure.TLS_OTHER)


def sinkhole(observed: Observations) -> Iterator[Finding]:
    """ICE011: a name that leads nowhere."""
    failed = failed_hosts(observed)
    # Documentation ranges are the public addresses of laboratories: who speaks STUN there is no sinkhole.
    alive = {host_of(server.address) for server in observed.servers if server.mapped_address is not None}
    alive |= {host_of(report.server_address) for report in observed.turn if report.ok}
    for name, queries in queries_by_name(observed.dns):
        answers = dict.fromkeys(answer for query in queries for answer in query.answers if is_literal(answer))
        sunk = [answer for answer in answers if is_sinkhole(name, answer) and answer not in alive]
        if sunk and name not in failed:
            yield new_finding("ICE011", f"{name} resolves to {sunk[0]}, which leads nowhere.", *sunk)


def _failed_urls(observed: Observations) -> set[str]:
    return {report.url for report in observed.turn if not report.ok}


def _own(observed: Observations) -> list[ServerReport]:
    """Entries as configured: not the extra attempts on other ports and transports, nor what has a stage code."""
    failed = _failed_urls(observed)
    own = []
    for server in observed.servers:
        uri = parse_url(server.url)
        port = server.address.rpartition(":")[2] if server.address else None
        as_written = uri is not None and (uri.port is None or port in (None, str(uri.port)))
        if as_written and server.transport == url_transport(server.url) and server.url not in failed:
            own.append(server)
    return own


def _cause(server: ServerReport) -> str:
    return (server.error or "no answer").partition(":")[0]


def one_path_error(observed: Observations) -> Iterator[Finding]:
    """ICE008: a server of that kind, or another of its addresses, works."""
    if udp_works(observed) is False:
        return
    slow = {url for url, _ in _slow_servers(observed)}
    own = _own(observed)
    for url in dict.fromkeys(server.url for server in own if server.reachable is False and server.url not in slow):
        uri = parse_url(url)
        family = [server for server in own if server.reachable and _same_kind(uri, parse_url(server.url))]
        if not family:
            continue
        bad = [server for server in own if server.url == url and server.reachable is False]
        if all(_cause(server) in (*_TLS_CAUSES, StreamFailure.NOT_TLS) for server in bad):
            continue
        good = next((server for server in family if server.url == url), family[0])
        where = ", ".join(server.address or "its name" for server in bad)
        message = (
            f"{url} does not answer at {where}, but {good.url} does at {good.address}: this error does not matter."
        )
        yield new_finding("ICE008", message, *(f"{server.address}: {server.error or 'no answer'}" for server in bad))


def _same_kind(one: ServerUri | None, other: ServerUri | None) -> bool:
    return one is not None and other is not None and one.is_turn == other.is_turn


def _slow_servers(observed: Observations) -> Iterator[tuple[str, ServerReport]]:
    if udp_works(observed) is False:
        return
    own = [server for server in _own(observed) if server.seconds is not None]
    fastest = min((server.seconds or 0.0 for server in own), default=0.0)
    for server in own:
        if (server.seconds or 0.0) >= max(SLOW_SECONDS, SLOW_RATIO * fastest) and len(own) > 1:
            yield server.url, server


def slow_entry(observed: Observations) -> Iterator[Finding]:
    """ICE012: one entry fills the whole wait."""
    questions = [query for query in observed.dns if (query.seconds or 0.0) >= SLOW_SECONDS]
    if questions:
        slowest = max(questions, key=lambda query: query.seconds or 0.0)
        message = f"The {slowest.type} question for {slowest.name} cost {slowest.seconds:.1f} s."
        if len(questions) > 1:
            message = f"{len(questions)} DNS questions cost up to {slowest.seconds:.1f} s each."
        evidence = [f"{query.type} {query.name}: {query.seconds:.1f} s" for query in questions[:MAX_EVIDENCE]]
        fix = "Check this host's DNS servers, or write the server's address."
        yield new_finding("ICE012", message, *evidence, fix=fix)
    for url, server in _slow_servers(observed):
        on = f" on {server.interface}" if server.interface else ""
        message = f"{url}{on} cost {server.seconds:.1f} s, while others are done sooner."
        yield new_finding(
            "ICE012", message, f"{server.address} over {server.transport}: {server.error or 'answered late'}"
        )
    # What the name cost is told above already, and is not the fault of the entry.
    stages = _SETUP[1:] if questions else _SETUP
    setups = [(report, _seconds(report, stages)) for report in observed.turn if report.ok]
    fastest = min((seconds for _, seconds in setups), default=0.0)
    for report, seconds in setups:
        if seconds >= max(SLOW_SECONDS, SLOW_RATIO * fastest) and len(setups) > 1:
            message = f"{report.url} needs {seconds:.1f} s until it gives a relay; another entry needs {fastest:.1f} s."
            yield new_finding("ICE012", message)


_SETUP = (StageName.RESOLVE, StageName.CONNECT, StageName.TLS, StageName.CHALLENGE, StageName.ALLOCATE)


def _seconds(report: TurnReport, stages: Collection[StageName]) -> float:
    return sum(stage.seconds for stage in report.stages if stage.name in stages)


def consent_rtt(observed: Observations) -> Iterator[Finding]:
    """ICE013: answers that come later than aioice's consent checks wait."""
    if rtt := slow_rtt(observed):
        yield new_finding("ICE013", f"Even the fastest answer takes {rtt * 1000:.0f} ms; aioice drops calls at 500 ms.")
        return
    relayed = [(report.rtt, report.url) for report in observed.turn if report.ok and report.rtt is not None]
    rtt, url = min(relayed, default=(0.0, ""))
    if rtt > SLOW_RTT:
        yield new_finding(
            "ICE013", f"A round trip through {url} takes {rtt * 1000:.0f} ms; aioice drops calls at 500 ms."
        )


def certificates(observed: Observations) -> Iterator[Finding]:
    """ICE010 and ICE023: a certificate that does not hold, or no TLS at all, on a server that is no TURN server."""
    for server in _own(observed):
        cause, uri = _cause(server), parse_url(server.url)
        if server.reachable is not False or uri is None:
            continue
        text = stage_text("TURN-TLS", cause)
        names = {"host": uri.host, "port": str(uri.port or uri.default_port)}
        message = f"{server.url}: {text.message.format_map(names)}."
        if cause in _TLS_CAUSES:
            yield new_finding("ICE010", message, server.error or "", fix=text.fix.format_map(names))
        elif cause == StreamFailure.NOT_TLS:
            yield new_finding("ICE023", message, server.error or "")


def tcp_is_client_side_only(observed: Observations) -> Iterator[Finding]:
    """ICE024: all relays are reached over TCP or TLS."""
    working = [report for report in observed.turn if report.ok]
    streams = [report for report in working if url_transport(report.url) in (Transport.TCP, Transport.TLS)]
    if streams and len(streams) == len(working):
        message = "TCP or TLS is only the way to the TURN server; from there to the other side the relay uses UDP."
        yield new_finding("ICE024", message, *(report.url for report in streams))


def short_allocation(observed: Observations) -> Iterator[Finding]:
    """ICE016: an allocation that ends before a lost refresh can be repeated."""
    for report in observed.turn:
        if report.lifetime is not None and report.lifetime < SHORT_LIFETIME:
            message = f"{report.url} gives allocations only {report.lifetime} s; a missed refresh ends the call."
            yield new_finding("ICE016", message, fix="Raise the allocation lifetime on the server (600 s is usual).")
