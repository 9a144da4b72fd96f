"""An ``iceServers`` list as people paste it, and what icekit, aiortc and Chromium each make of its URLs.

``read_list`` forgives what a list is written with by mistake, and says so. ``uses`` knows three readers: icekit, which
asks every server; aiortc on its own ICE, which takes the first of each sort (tests hold this to the aiortc that is
installed); and Chromium, for which one bad entry is the end of the whole list (tests ask the browser).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from icekit.errors import UriError
from icekit.net import Transport
from icekit.servers import ServerUri, without_secrets

MAX_ENTRIES: Final = 200
"""Most URLs of one list that are looked at."""

# In bytes. RFC 8489 §14.3 allows one less.
_CHROMIUM_MAX_USERNAME: Final = 509


@dataclass(frozen=True, slots=True)
class ListedServer:
    """One URL of a list, where it stands, and whether a user name and a credential go with it. Never the credential.

    ``text`` is what was written; ``url`` is the same without what could be a secret, to be shown. ``uri`` is ``None``
    for a text that is no URL. ``misnamed``: it stood under ``url`` and not ``urls``.
    """

    text: str = field(repr=False)
    where: str = ""
    username: str | None = None
    has_credential: bool = False
    misnamed: bool = False

    @property
    def uri(self) -> ServerUri | None:
        """The URI, ``None`` if it is none."""
        try:
            return ServerUri.parse(self.text)
        except UriError:
            return None

    @property
    def url(self) -> str:
        """The text as it may be shown."""
        return without_secrets(self.text) if self.uri is None else self.text


@dataclass(frozen=True, slots=True)
class EntryProblem:
    """What is wrong with an entry, beyond its URL; ``fix`` is what to write. ``fatal``: a browser refuses the list."""

    where: str
    problem: str
    fix: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class ServerList:
    """What was read of a list."""

    servers: tuple[ListedServer, ...] = ()
    problems: tuple[EntryProblem, ...] = ()


class Use(StrEnum):
    """What a reader makes of a URL: ``REFUSED`` takes the whole list with it."""

    USED = "used"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What one reader makes of one URL, and why."""

    use: Use
    why: str = ""


@dataclass(frozen=True, slots=True)
class ServerUse:
    """What each reader makes of one URL of a list."""

    server: ListedServer
    icekit: Treatment
    aiortc: Treatment
    chromium: Treatment

    @property
    def url(self) -> str:
        """The URL as it may be shown."""
        return self.server.url

    @property
    def uri(self) -> ServerUri | None:
        """The URI, ``None`` if it is none."""
        return self.server.uri

    @property
    def is_turn(self) -> bool:
        """Whether it is the URL of a relay."""
        uri = self.server.uri
        return uri is not None and uri.is_turn


_WRITE_LIST: Final = 'write a list: "iceServers": [{"urls": …}]'


def read_list(data: Any) -> ServerList:
    """Read a server list of any of these forms; what is wrong is told, never raised."""
    problems: list[EntryProblem] = []
    entries, where = data, "iceServers"
    if isinstance(data, dict) and not {"urls", "url"} & data.keys():
        name = "iceServers" if "iceServers" in data else "ice_servers"
        entries = data.get(name)
        if name == "ice_servers":
            problems.append(EntryProblem(name, "a browser does not know this name", 'write "iceServers"', False))
    if isinstance(entries, dict):
        if entries is not data:
            problems.append(EntryProblem(where, "an object stands where a list belongs", _WRITE_LIST))
        entries = [entries]
    if not isinstance(entries, list):
        problems.append(EntryProblem(where, "no list of servers", _WRITE_LIST))
        entries = []
    servers: list[ListedServer] = []
    for index, entry in enumerate(entries):
        if len(servers) >= MAX_ENTRIES:
            fix = "write fewer; browsers slow down from five"
            problems.append(EntryProblem(where, f"only its first {MAX_ENTRIES} URLs are looked at", fix, False))
            break
        servers += _read_entry(entry, f"{where}[{index}]", problems)
    return ServerList(tuple(servers[:MAX_ENTRIES]), tuple(problems))


def _read_entry(entry: Any, where: str, problems: list[EntryProblem]) -> Iterator[ListedServer]:
    if isinstance(entry, str):
        problems.append(EntryProblem(where, "a URL stands where an object belongs", 'write {"urls": "…"}'))
        entry = {"urls": entry}
    if not isinstance(entry, dict):
        problems.append(EntryProblem(where, "no server", 'write {"urls": "…"}'))
        return
    given = entry.get("urls")
    if given is None and "url" in entry:
        given = entry["url"]
        problems.append(
            EntryProblem(f"{where}.url", "a browser ignores this name, and the server with it", 'write "urls"')
        )
    for wrong, right in (("password", "credential"), ("user", "username")):
        if wrong in entry and right not in entry:
            problems.append(EntryProblem(f"{where}.{wrong}", "no such member", f'write "{right}"', False))
    if entry.get("credentialType", "password") != "password":
        problems.append(EntryProblem(f"{where}.credentialType", 'only "password" exists', "leave it out", False))
    username, credential = entry.get("username"), entry.get("credential")
    urls = given if isinstance(given, list) else [given]
    if not urls or given is None:
        problems.append(EntryProblem(f"{where}.urls", "no URL", 'write "urls": "stun:HOST"'))
        return
    for index, url in enumerate(urls):
        place = f"{where}.urls[{index}]" if isinstance(given, list) else f"{where}.urls"
        if not isinstance(url, str):
            problems.append(EntryProblem(place, "no text", 'write "stun:HOST"'))
            continue
        user = username if isinstance(username, str) else None
        has_credential = isinstance(credential, str) and bool(credential)
        yield ListedServer(url, place, user, has_credential, misnamed="urls" not in entry)


def uses(servers: Sequence[ListedServer]) -> tuple[ServerUse, ...]:
    """What icekit, aiortc and Chromium make of the URLs of one list."""
    taken: set[bool] = set()
    return tuple(ServerUse(server, _icekit(server), _aiortc(server, taken), _chromium(server)) for server in servers)


def _icekit(server: ListedServer) -> Treatment:
    uri = server.uri
    if uri is None:
        return Treatment(Use.REFUSED, "no URL")
    if uri.transport is None:
        return Treatment(Use.REFUSED, f"no such transport: {uri.transport_token}")
    if uri.is_turn:
        return Treatment(Use.USED) if _has_user(server) else Treatment(Use.REFUSED, "needs username and credential")
    if uri.transport is not Transport.UDP:
        return Treatment(Use.IGNORED, "an address seen over TLS is of no use for UDP")
    return Treatment(Use.USED)


def _has_user(server: ListedServer) -> bool:
    return bool(server.username) and server.has_credential


def _aiortc(server: ListedServer, taken: set[bool]) -> Treatment:
    """``taken`` tells whether aiortc has a STUN (False) and a TURN URL (True) already; it takes no second one."""
    scheme, _, rest = server.text.partition(":")
    authority, question, query = rest.partition("?")
    host, colon, port = authority.partition(":")
    if scheme not in ("stun", "stuns", "turn", "turns"):
        return Treatment(Use.REFUSED, "no URL for it")
    if host.startswith("["):
        return Treatment(Use.REFUSED, "it cannot read IPv6 addresses")
    if not host or (colon and not _digits(port)) or (question and not query.startswith("transport=")):
        return Treatment(Use.REFUSED, "no URL for it")
    is_turn = scheme.startswith("turn")
    if not is_turn and question:
        return Treatment(Use.REFUSED, "stun: with a transport")
    if scheme == "stuns":
        return Treatment(Use.IGNORED, "it has no STUN over TLS")
    transport = query.removeprefix("transport=") or ("tcp" if scheme == "turns" else "udp")
    if is_turn in taken:
        return Treatment(Use.IGNORED, f"only the first {'TURN' if is_turn else 'STUN'} URL is used")
    if is_turn and transport not in (("tcp",) if scheme == "turns" else ("udp", "tcp")):
        return Treatment(Use.IGNORED, f"{scheme}: with transport {transport[:20]}")
    taken.add(is_turn)
    if host.startswith("//"):
        return Treatment(Use.USED, f"takes {host[:60]} for the host's name")
    return Treatment(Use.USED)


_digits = re.compile(r"\d+").fullmatch


def _chromium(server: ListedServer) -> Treatment:
    uri = server.uri
    if server.misnamed:
        return Treatment(Use.IGNORED, "url in place of urls")
    if uri is None or uri.transport is None:
        return Treatment(Use.REFUSED, "SyntaxError")
    if not uri.is_turn:
        return Treatment(Use.USED, "asked over plain UDP") if uri.secure else Treatment(Use.USED)
    if not _has_user(server):
        return Treatment(Use.REFUSED, "InvalidAccessError: needs username and credential")
    if len((server.username or "").encode()) > _CHROMIUM_MAX_USERNAME:
        return Treatment(Use.REFUSED, "InvalidAccessError: the username is too long")
    return Treatment(Use.USED, "over TCP, not UDP") if uri.transport is Transport.DTLS else Treatment(Use.USED)
