"""Rules about the servers that were configured, before anything is sent to them."""

from __future__ import annotations

from collections.abc import Iterator

from icekit.catalogue import CODES, new_finding
from icekit.errors import UriError
from icekit.outlook import ConfiguredServer, Observations, failed_hosts, has_turn, parse_url, queries_by_name
from icekit.report import Finding
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
