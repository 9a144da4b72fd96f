"""The rules: small pure functions from what was observed to findings, and ``diagnose``, which runs them all.

The codes, their severities and their texts are the table in ``icekit.catalogue``. A TURN stage that failed has exactly
one finding, with its ``TURN-`` code; no ``ICE`` rule says the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

from icekit.candidate import Candidate, CandidateType
from icekit.catalogue import CODES, describe, stage_text
from icekit.errors import CandidateError, UriError
from icekit.net import AddressClass, StreamFailure, Transport, classify_host, scope_of
from icekit.outlook import (
    SLOW_RTT,
    ConfiguredServer,
    Observations,
    families,
    has_turn,
    host_of,
    outlook,
    parse_url,
    slow_rtt,
    udp_works,
    url_transport,
    verdict,
)
from icekit.report import DnsReport, Finding, Pooling, ProbeReport, ServerReport, Severity, StageName, TurnReport
from icekit.resolution import is_sinkhole
from icekit.servers import ServerUri, decode_username, is_literal

# An entry that takes a second, and three times as long as the fastest of its sort, is what people wait for.
SLOW_SECONDS, SLOW_RATIO = 1.0, 3.0
MAX_SERVERS = 4
MAX_EVIDENCE = 8
SHORT_LIFETIME = 300
# Credentials should outlive the call that they start; an hour is what one may expect of a call.
SHORT_CREDENTIALS = 3600
# Public servers that people take for TURN, because their names stand in every tutorial.
_STUN_ONLY = ("stun.l.google.com", "stun.cloudflare.com", "stun.services.mozilla.com", "stun.nextcloud.com")

_TLS_CAUSES = (StreamFailure.TLS_NAME, StreamFailure.TLS_EXPIRED, StreamFailure.TLS_ISSUER, StreamFailure.TLS_OTHER)
_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2, Severity.OK: 3}

Rule = Callable[[Observations], Iterator[Finding]]


def diagnose(observed: Observations) -> ProbeReport:
    """What was observed, with findings (the worst first), outlook and verdict."""
    rules: Iterable[Rule] = (_stages,) if observed.local else RULES
    found = dict.fromkeys(chain.from_iterable(rule(observed) for rule in rules))
    paths = outlook(observed)
    return ProbeReport(
        duration=observed.duration,
        verdict=verdict(observed, paths),
        findings=tuple(sorted(found, key=lambda finding: _RANK[finding.severity])),
        interfaces=observed.interfaces,
        nat=observed.nat,
        servers=observed.servers,
        dns=observed.dns,
        portmap=observed.portmap,
        turn=observed.turn,
        candidates=observed.candidates,
        outlook=paths,
    )


def _finding(
    code: str, message: str, *evidence: str, fix: str | None = None, severity: Severity | None = None
) -> Finding:
    row = CODES[code]
    return Finding(code, severity or row.severity, message, row.fix if fix is None else fix, evidence)


# --- TURN stages -----------------------------------------------------------------------------------------------------


def turn_findings(report: TurnReport, siblings: Collection[TurnReport] = ()) -> tuple[Finding, ...]:
    """The finding of the stage that failed, and of what was found on the way.

    A failure is only a warning when one of ``siblings`` works: then a call does not fail for it.
    """
    found = []
    working = [sibling.url for sibling in siblings if sibling.ok and sibling is not report]
    if not report.ok and report.code is not None:
        finding = _stage_finding(report, report.code, report.cause)
        if working and finding.severity is Severity.ERROR:
            evidence = (*finding.evidence, f"works: {', '.join(working)}")
            finding = Finding(finding.code, Severity.WARNING, finding.message, finding.fix, evidence)
        found.append(finding)
    found += [_stage_finding(report, code, None) for code in report.warnings]
    return tuple(found)


def _stage_finding(report: TurnReport, code: str, cause: str | None) -> Finding:
    uri = parse_url(report.url)
    transport = None if uri is None else uri.transport
    names = {
        "host": report.url if uri is None else uri.host,
        "port": "" if uri is None else str(uri.port or uri.default_port),
        "transport": "UDP" if transport is None else transport.upper(),
    }
    text = stage_text(code, cause)
    row = describe(code)
    evidence = [f"{stage.name}: {stage.detail or 'failed'}" for stage in report.stages if not stage.ok]
    if report.not_tested:
        evidence.append(f"not tested: {', '.join(report.not_tested)}")
    message = f"{report.url}: {text.message.format_map(names)}."
    severity = Severity.ERROR if row is None else row.severity
    return Finding(code, severity, message, text.fix.format_map(names), tuple(evidence))


def _stages(observed: Observations) -> Iterator[Finding]:
    for report in observed.turn:
        yield from turn_findings(report, observed.turn)


def _failed_urls(observed: Observations) -> set[str]:
    return {report.url for report in observed.turn if not report.ok}


# --- configuration ---------------------------------------------------------------------------------------------------


def url_finding(text: str) -> Finding | None:
    """ICE018 for a text that is no STUN or TURN URL."""
    try:
        ServerUri.parse(text)
    except UriError as error:
        fix = CODES["ICE018"].fix if error.corrected is None else f"Write {error.corrected}"
        place = f"column {error.column}, {error.field}: found {error.found[:60]!r}, allowed: {error.allowed}"
        return _finding("ICE018", f"{error.text[:100]!r} is no server URL.", place, fix=fix)
    return None


def _bad_url(observed: Observations) -> Iterator[Finding]:
    for server in observed.configured:
        if (finding := url_finding(server.url)) is not None:
            yield finding
    failed = _failed_hosts(observed)
    unresolved = [name for name, queries in _by_name(observed.dns) if not any(query.answers for query in queries)]
    for uri in _configured_uris(observed):
        if uri.is_dotless and uri.host in unresolved and uri.host not in failed:
            message = f"{uri}: the host name {uri.host!r} has no dot, and it cannot be resolved."
            yield _finding("ICE018", message, fix="Write the full name of the server, such as turn.example.org.")


def _configured_uris(observed: Observations) -> Iterator[ServerUri]:
    for server in observed.configured:
        if (uri := parse_url(server.url)) is not None:
            yield uri


def _by_name(queries: Iterable[DnsReport]) -> Iterator[tuple[str, list[DnsReport]]]:
    names: dict[str, list[DnsReport]] = {}
    for query in queries:
        names.setdefault(query.name.removesuffix("."), []).append(query)
    yield from names.items()


def _failed_hosts(observed: Observations) -> set[str]:
    """The hosts whose name resolution already has a stage code."""
    failed = [parse_url(report.url) for report in observed.turn if report.code == "TURN-RESOLVE"]
    return {uri.host for uri in failed if uri is not None}


def _no_turn(observed: Observations) -> Iterator[Finding]:
    if not has_turn(observed) and not list(_stun_with_user(observed)):
        text = "No TURN server is configured: calls fail wherever there is no direct path."
        yield _finding("ICE001", text, *(server.url for server in observed.configured))


def _stun_with_user(observed: Observations) -> Iterator[ConfiguredServer]:
    for server in observed.configured:
        uri = parse_url(server.url)
        if uri is not None and not uri.is_turn and server.username:
            yield server


def _stun_used_as_turn(observed: Observations) -> Iterator[Finding]:
    if not has_turn(observed):
        for server in _stun_with_user(observed):
            message = f"{server.url} is given a user name, but a stun: URL never relays."
            yield _finding("ICE021", message, fix="Write it as turn: if it is a TURN server, else add one that is.")
    tested = {report.url for report in observed.turn}
    for uri in _configured_uris(observed):
        known = any(uri.host == host or uri.host.endswith(f".{host}") for host in _known_stun_hosts())
        if uri.is_turn and known and str(uri) not in tested:
            yield _finding("ICE021", f"{uri}: {uri.host} is a public STUN server; it relays nothing.")


def _known_stun_hosts() -> Iterator[str]:
    yield from _STUN_ONLY
    yield from (f"stun{number}.l.google.com" for number in range(1, 5))


def _too_many_servers(observed: Observations) -> Iterator[Finding]:
    urls = list(dict.fromkeys(server.url for server in observed.configured))
    if len(urls) > MAX_SERVERS:
        yield _finding("ICE015", f"{len(urls)} server URLs are configured; more than four slow some browsers.", *urls)


def _short_lifetime(observed: Observations) -> Iterator[Finding]:
    for report in observed.turn:
        if report.lifetime is not None and report.lifetime < SHORT_LIFETIME:
            message = f"{report.url} gives allocations only {report.lifetime} s; a missed refresh ends the call."
            yield _finding("ICE016", message, fix="Raise the allocation lifetime on the server (600 s is usual).")
    # Expired credentials are the stage code TURN-401; here are those that still work.
    if observed.unix_time is None:
        return
    for username in dict.fromkeys(server.username for server in observed.configured if server.username):
        expires_at = decode_username(username).expires_at
        left = None if expires_at is None else expires_at - observed.unix_time
        if left is not None and 0 < left < SHORT_CREDENTIALS:
            message = (
                f"The credentials of {username} end in {left / 60:.0f} minutes; a longer call loses its relay then."
            )
            yield _finding("ICE016", message, fix="Make credentials that last longer than a call, such as a day.")


# --- NAT behaviour ---------------------------------------------------------------------------------------------------


def _mapping_unproven(observed: Observations) -> Iterator[Finding]:
    for family, nat in families(observed.nat):
        if nat.udp and nat.behind_nat is not False and nat.mapping is None:
            reason = nat.reason.get("mapping", "not measured")
            message = f"Whether the {family} NAT keeps one port for all peers is not known: {reason.rstrip('.')}."
            yield _finding("ICE003", message, *nat.mapped_addresses)


def _filtering_untestable(observed: Observations) -> Iterator[Finding]:
    for family, nat in families(observed.nat):
        if nat.udp and nat.filtering is None:
            reason = nat.reason.get("filtering", "not measured")
            message = f"Which {family} packets are let in from outside is not known: {reason.rstrip('.')}."
            yield _finding("ICE004", message)


def _srflx_not_public(observed: Observations) -> Iterator[Finding]:
    answered = [
        (server, mapped, host_of(server.address) or "")
        for server in observed.servers
        if server.transport == Transport.UDP and (mapped := host_of(server.mapped_address)) is not None
    ]
    # A server in the same site sees the private address, and rightly so.
    for server, mapped, host in answered:
        if classify_host(mapped) in (AddressClass.PRIVATE, AddressClass.CGNAT) and scope_of(mapped) < scope_of(host):
            message = f"{server.url} saw this host as {mapped}, which is no public address."
            yield _finding("ICE007", message, f"{server.address} saw {server.mapped_address}")
            return
    for family, nat in families(observed.nat):
        if nat.cgnat:
            message = f"This {family} network is behind a carrier's NAT: opening ports on the router cannot help."
            yield _finding("ICE007", message, *nat.mapped_addresses, fix="Use TURN, or ask for a public address.")
            return
    arbitrary = any(nat.address_pooling is Pooling.ARBITRARY for _, nat in families(observed.nat))
    groups: dict[tuple[str | None, bool, int], dict[str, str]] = {}
    for server, mapped, host in answered:
        key = (server.interface, ":" in mapped, scope_of(host))
        groups.setdefault(key, {}).setdefault(mapped, f"{server.url} saw {mapped}")
    for seen in groups.values():
        if len(seen) > 1 and not arbitrary:
            message = f"The servers disagree about this host's address: {' and '.join(seen)}."
            fix = "Trust the server on the public Internet; one behind a load balancer sees the balancer."
            yield _finding("ICE007", message, *seen.values(), fix=fix)


def _no_nat(observed: Observations) -> Iterator[Finding]:
    for family, nat in families(observed.nat):
        if nat.behind_nat is False and nat.udp:
            yield _finding("ICE022", f"This host has no {family} NAT.", *nat.mapped_addresses)


def _alg_rewrite(observed: Observations) -> Iterator[Finding]:
    for family, nat in families(observed.nat):
        if nat.alg:
            yield _finding("ICE020", f"A gateway rewrites addresses inside {family} STUN messages.")


# --- servers ---------------------------------------------------------------------------------------------------------


def _sinkhole(observed: Observations) -> Iterator[Finding]:
    failed = _failed_hosts(observed)
    # Documentation ranges are the public addresses of laboratories: who speaks STUN there is no sinkhole.
    alive = {host_of(server.address) for server in observed.servers if server.mapped_address is not None}
    alive |= {host_of(report.server_address) for report in observed.turn if report.ok}
    for name, queries in _by_name(observed.dns):
        answers = dict.fromkeys(answer for query in queries for answer in query.answers if is_literal(answer))
        sunk = [answer for answer in answers if is_sinkhole(name, answer) and answer not in alive]
        if sunk and name not in failed:
            yield _finding("ICE011", f"{name} resolves to {sunk[0]}, which leads nowhere.", *sunk)


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


def _one_path_error(observed: Observations) -> Iterator[Finding]:
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
        yield _finding("ICE008", message, *(f"{server.address}: {server.error or 'no answer'}" for server in bad))


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


def _slow_entry(observed: Observations) -> Iterator[Finding]:
    questions = [query for query in observed.dns if (query.seconds or 0.0) >= SLOW_SECONDS]
    if questions:
        slowest = max(questions, key=lambda query: query.seconds or 0.0)
        message = f"The {slowest.type} question for {slowest.name} cost {slowest.seconds:.1f} s."
        if len(questions) > 1:
            message = f"{len(questions)} DNS questions cost up to {slowest.seconds:.1f} s each."
        evidence = [f"{query.type} {query.name}: {query.seconds:.1f} s" for query in questions[:MAX_EVIDENCE]]
        fix = "Check this host's DNS servers, or write the server's address."
        yield _finding("ICE012", message, *evidence, fix=fix)
    for url, server in _slow_servers(observed):
        on = f" on {server.interface}" if server.interface else ""
        message = f"{url}{on} cost {server.seconds:.1f} s, while others are done sooner."
        yield _finding(
            "ICE012", message, f"{server.address} over {server.transport}: {server.error or 'answered late'}"
        )
    # What the name cost is told above already, and is not the fault of the entry.
    stages = _SETUP[1:] if questions else _SETUP
    setups = [(report, _seconds(report, stages)) for report in observed.turn if report.ok]
    fastest = min((seconds for _, seconds in setups), default=0.0)
    for report, seconds in setups:
        if seconds >= max(SLOW_SECONDS, SLOW_RATIO * fastest) and len(setups) > 1:
            message = f"{report.url} needs {seconds:.1f} s until it gives a relay; another entry needs {fastest:.1f} s."
            yield _finding("ICE012", message)


_SETUP = (StageName.RESOLVE, StageName.CONNECT, StageName.TLS, StageName.CHALLENGE, StageName.ALLOCATE)


def _seconds(report: TurnReport, stages: Collection[StageName]) -> float:
    return sum(stage.seconds for stage in report.stages if stage.name in stages)


def _consent_rtt(observed: Observations) -> Iterator[Finding]:
    if rtt := slow_rtt(observed):
        yield _finding("ICE013", f"Even the fastest answer takes {rtt * 1000:.0f} ms; aioice drops calls at 500 ms.")
        return
    relayed = [(report.rtt, report.url) for report in observed.turn if report.ok and report.rtt is not None]
    rtt, url = min(relayed, default=(0.0, ""))
    if rtt > SLOW_RTT:
        yield _finding("ICE013", f"A round trip through {url} takes {rtt * 1000:.0f} ms; aioice drops calls at 500 ms.")


def _tls(observed: Observations) -> Iterator[Finding]:
    for server in _own(observed):
        cause, uri = _cause(server), parse_url(server.url)
        if server.reachable is not False or uri is None:
            continue
        text = stage_text("TURN-TLS", cause)
        names = {"host": uri.host, "port": str(uri.port or uri.default_port)}
        message = f"{server.url}: {text.message.format_map(names)}."
        if cause in _TLS_CAUSES:
            yield _finding("ICE010", message, server.error or "", fix=text.fix.format_map(names))
        elif cause == StreamFailure.NOT_TLS:
            yield _finding("ICE023", message, server.error or "")


def _tcp_is_client_side_only(observed: Observations) -> Iterator[Finding]:
    working = [report for report in observed.turn if report.ok]
    streams = [report for report in working if url_transport(report.url) in (Transport.TCP, Transport.TLS)]
    if streams and len(streams) == len(working):
        message = "TCP or TLS is only the way to the TURN server; from there to the other side the relay uses UDP."
        yield _finding("ICE024", message, *(report.url for report in streams))


# --- candidates ------------------------------------------------------------------------------------------------------


def candidate_findings(candidate: Candidate) -> tuple[Finding, ...]:
    """What one line alone tells."""
    return tuple(_srflx_equals_related(candidate))


def _srflx_equals_related(candidate: Candidate) -> Iterator[Finding]:
    same = candidate.address == candidate.related_address and candidate.port == candidate.related_port
    if candidate.type == CandidateType.SERVER_REFLEXIVE and same:
        message = "The server-reflexive address equals its related address: no NAT, or a made-up line."
        yield _finding("ICE019", message, str(candidate))


def _candidates(observed: Observations) -> Iterator[Candidate]:
    for line in observed.candidates:
        try:
            yield Candidate.parse(line, strict=False)
        except CandidateError:
            continue


def _candidate_lines(observed: Observations) -> Iterator[Finding]:
    for candidate in _candidates(observed):
        yield from candidate_findings(candidate)


def _relay_unusable(observed: Observations) -> Iterator[Finding]:
    """A relayed address that reaches less far than every TURN server it can have come from."""
    coded = {host_of(report.relayed_address) for report in observed.turn if not report.ok}
    turn = [(report.url, report.server_address) for report in observed.turn]
    turn += [(server.url, server.address) for server in observed.servers]
    hosts = [
        host
        for url, address in turn
        if (uri := parse_url(url)) is not None and uri.is_turn and (host := host_of(address)) is not None
    ]
    narrowest = min((scope_of(host) for host in hosts), default=0)
    for candidate in _candidates(observed):
        relayed = candidate.type == CandidateType.RELAYED and candidate.address not in coded
        if relayed and scope_of(candidate.address) < narrowest:
            message = f"The relayed address {candidate.address} cannot be reached from where the TURN server is."
            fix = "Set external-ip on the server to its public address."
            yield _finding(
                "ICE006", message, str(candidate), f"TURN server: {', '.join(dict.fromkeys(hosts))}", fix=fix
            )


RULES: tuple[Rule, ...] = (
    _stages,
    _bad_url,
    _no_turn,
    _stun_used_as_turn,
    _relay_unusable,
    _tls,
    _sinkhole,
    _mapping_unproven,
    _filtering_untestable,
    _srflx_not_public,
    _alg_rewrite,
    _slow_entry,
    _consent_rtt,
    _short_lifetime,
    _one_path_error,
    _too_many_servers,
    _candidate_lines,
    _no_nat,
    _tcp_is_client_side_only,
)
