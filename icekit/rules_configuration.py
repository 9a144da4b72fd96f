"""Rules about the servers that were configured, and about a list of them that somebody pasted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from icekit.catalogue import CODES, new_finding
from icekit.errors import UriError
from icekit.probe_observations import ConfiguredServer, Observations, failed_hosts, has_turn, parse_url, queries_by_name
from icekit.report import Finding, Severity
from icekit.server_list import ListedServer, ServerList, ServerUse, Use, uses
from icekit.servers import ServerUri, decode_username

MAX_SERVERS = 4
# Credentials should outlive the call that they start; an hour is what one may expect of a call.
SHORT_CREDENTIALS = 3600
# Public servers that people take for TURN, because their names stand in every tutorial.
_STUN_ONLY = ("stun.l.google.com", "stun.cloudflare.com", "stun.services.mozilla.com", "stun.nextcloud.com")


def url_finding(text: str) -> Finding | None:
    """ICE018 for a text that is no STUN or TURN URL."""
    try:
        ServerUri.parse(text)
    except UriError as error:
        fix = CODES["ICE018"].fix if error.corrected is None else f"Write {error.corrected}"
        place = f"column {error.column}, {error.field}: found {error.found[:60]!r}, allowed: {error.allowed}"
        return new_finding("ICE018", f"{error.text[:100]!r} is no server URL.", place, fix=fix)
    return None


def bad_url(observed: Observations) -> Iterator[Finding]:
    """ICE018: a text that is no URL, or a name without a dot that does not resolve."""
    for server in observed.configured:
        if (finding := url_finding(server.url)) is not None:
            yield finding
    failed = failed_hosts(observed)
    unresolved = [
        name for name, queries in queries_by_name(observed.dns) if not any(query.answers for query in queries)
    ]
    for uri in _configured_uris(observed):
        if uri.is_dotless and uri.host in unresolved and uri.host not in failed:
            message = f"{uri}: the host name {uri.host!r} has no dot, and it cannot be resolved."
            yield new_finding("ICE018", message, fix="Write the full name of the server, such as turn.example.org.")


def _configured_uris(observed: Observations) -> Iterator[ServerUri]:
    for server in observed.configured:
        if (uri := parse_url(server.url)) is not None:
            yield uri


def no_turn(observed: Observations) -> Iterator[Finding]:
    """ICE001: no TURN server is configured."""
    if not has_turn(observed) and not list(_stun_with_user(observed)):
        text = "No TURN server is configured: calls fail wherever there is no direct path."
        yield new_finding("ICE001", text, *(server.url for server in observed.configured))


def _stun_with_user(observed: Observations) -> Iterator[ConfiguredServer]:
    for server in observed.configured:
        uri = parse_url(server.url)
        if uri is not None and not uri.is_turn and server.username:
            yield server


def stun_used_as_turn(observed: Observations) -> Iterator[Finding]:
    """ICE021: a STUN server is given a user name, or is written as a TURN server."""
    if not has_turn(observed):
        for server in _stun_with_user(observed):
            message = f"{server.url} is given a user name, but a stun: URL never relays."
            yield new_finding("ICE021", message, fix="Write it as turn: if it is a TURN server, else add one that is.")
    tested = {report.url for report in observed.turn}
    for uri in _configured_uris(observed):
        known = any(uri.host == host or uri.host.endswith(f".{host}") for host in _known_stun_hosts())
        if uri.is_turn and known and str(uri) not in tested:
            yield new_finding("ICE021", f"{uri}: {uri.host} is a public STUN server; it relays nothing.")


def _known_stun_hosts() -> Iterator[str]:
    yield from _STUN_ONLY
    yield from (f"stun{number}.l.google.com" for number in range(1, 5))


def too_many_servers(observed: Observations) -> Iterator[Finding]:
    """ICE015: more URLs than browsers like."""
    urls = list(dict.fromkeys(server.url for server in observed.configured))
    if len(urls) > MAX_SERVERS:
        yield new_finding(
            "ICE015", f"{len(urls)} server URLs are configured; more than four slow some browsers.", *urls
        )


def short_credentials(observed: Observations) -> Iterator[Finding]:
    """ICE016: credentials that work, and end soon. Expired ones are the stage code TURN-401."""
    if observed.unix_time is None:
        return
    for username in dict.fromkeys(server.username for server in observed.configured if server.username):
        expires_at = decode_username(username).expires_at
        left = None if expires_at is None else expires_at - observed.unix_time
        if left is not None and 0 < left < SHORT_CREDENTIALS:
            message = (
                f"The credentials of {username} end in {left / 60:.0f} minutes; a longer call loses its relay then."
            )
            yield new_finding("ICE016", message, fix="Make credentials that last longer than a call, such as a day.")


# --- what aiortc makes of it -----------------------------------------------------------------------------------------


def server_ignored(observed: Observations) -> Iterator[Finding]:
    """ICE002: with these servers aiortc by itself would fail where icekit does not."""
    used = uses([ListedServer(server.url, "", server.username, True) for server in observed.configured])
    yield from _lost_by_aiortc(used)
    works = {report.url for report in observed.turn if report.ok}
    taken = [item for item in used if item.aiortc.use is Use.USED and item.is_turn]
    ignored = [item for item in used if item.aiortc.use is Use.IGNORED and item.is_turn and str(item.uri) in works]
    tested = {report.url for report in observed.turn}
    if ignored and taken and all(str(item.uri) in tested - works for item in taken):
        message = (
            f"aiortc by itself would ask only {taken[0].url}, which fails, and never {ignored[0].url}, which works."
        )
        yield new_finding("ICE002", message, *_ignored_lines(used))


def _lost_by_aiortc(used: Sequence[ServerUse]) -> Iterator[Finding]:
    """A list that aiortc refuses, or that leaves it without a sort of server that is in the list."""
    refused = [item for item in used if item.uri is not None and item.aiortc.use is Use.REFUSED]
    if refused:
        item = refused[0]
        message = f"aiortc by itself refuses the whole list because of {item.url}: {item.aiortc.why}."
        fix = "Leave that URL out, or write a name for the address, or use icekit.call."
        yield new_finding("ICE002", message, *(f"{item.url}: {item.aiortc.why}" for item in refused[1:]), fix=fix)
        return
    for is_turn, name in ((True, "TURN"), (False, "STUN")):
        listed = [item for item in used if item.uri is not None and item.is_turn is is_turn]
        if listed and all(item.aiortc.use is Use.IGNORED for item in listed):
            message = f"aiortc by itself would use no {name} server of this list: {listed[0].aiortc.why}."
            yield new_finding("ICE002", message, *_ignored_lines(listed))


def _ignored_lines(used: Sequence[ServerUse]) -> list[str]:
    return [f"{item.url}: {item.aiortc.why}" for item in used if item.aiortc.use is Use.IGNORED]


# --- a pasted list ---------------------------------------------------------------------------------------------------


def list_findings(servers: ServerList, unix_time: float | None = None) -> Iterator[Finding]:
    """What is wrong with an ``iceServers`` list; ``unix_time`` tells whether credentials have ended."""
    for problem in servers.problems:
        severity = None if problem.fatal else Severity.WARNING
        message = f"{problem.where}: {problem.problem}."
        yield new_finding("ICE028", message, fix=f"{problem.fix[0].upper()}{problem.fix[1:]}.", severity=severity)
    used = uses(servers.servers)
    for item in used:
        if item.uri is not None and item.icekit.use is Use.REFUSED:
            message = f"{item.server.where}: {item.url}: {item.icekit.why}; browsers and icekit refuse the whole list."
            fix = "Give username and credential beside urls." if item.is_turn and item.uri.transport else None
            yield new_finding("ICE028", message, fix=fix)
        elif item.chromium.use is Use.REFUSED and item.uri is not None:
            message = f"{item.server.where}: {item.url}: a browser refuses the whole list ({item.chromium.why})."
            yield new_finding("ICE028", message)
    configured = tuple(ConfiguredServer(item.url, item.server.username) for item in used)
    observed = Observations(configured=configured, unix_time=unix_time)
    for rule in (bad_url, stun_used_as_turn, no_turn, short_credentials, ended_credentials, too_many_servers):
        yield from rule(observed)
    yield from _lost_by_aiortc(used)
    yield from _hosts_ignored(used)


def ended_credentials(observed: Observations) -> Iterator[Finding]:
    """ICE016 for a list that is not tested; a tested server says TURN-401 itself."""
    for username in dict.fromkeys(server.username for server in observed.configured if server.username):
        name = decode_username(username)
        if name.milliseconds:
            message = f"The time in the user name {username} is in milliseconds; servers read seconds."
            fix = "Make the user name with Unix time in seconds."
            yield new_finding("ICE016", message, fix=fix, severity=Severity.ERROR)
        elif name.expires_at is not None and observed.unix_time is not None and name.expires_at <= observed.unix_time:
            ago = observed.unix_time - name.expires_at
            message = f"The credentials of {username} ended {_ago(ago)} ago: a server refuses them."
            yield new_finding("ICE016", message, fix="Get fresh credentials.", severity=Severity.ERROR)


def _ago(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


def _hosts_ignored(used: Sequence[ServerUse]) -> Iterator[Finding]:
    """TURN servers on other hosts than the one that aiortc takes: whoever lists two wants both."""
    turn = [item for item in used if item.is_turn]
    taken = {item.uri.host for item in turn if item.uri is not None and item.aiortc.use is Use.USED}
    others = [item for item in turn if item.uri is not None and taken and item.uri.host not in taken]
    if others:
        host = min(taken)
        message = f"aiortc by itself would use the TURN server {host} alone, and never try {others[0].url}."
        yield new_finding("ICE002", message, *_ignored_lines(others))
