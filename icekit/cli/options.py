"""Options that several commands share, and how they become servers. Secrets are never repeated in a message."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icekit.cli.completion import requirements
from icekit.errors import ConfigError, UriError

if TYPE_CHECKING:
    from icekit.servers import IceServer
    from icekit.verdict import Requirement

MAX_FILE = 1_000_000
"""Longest file that an option may name, in bytes."""

ServerUrls = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="URL…",
        help="Servers: stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp], turns:… (or in ICEKIT_URLS)",
    ),
]
ServerUrl = Annotated[str, typer.Argument(metavar="URL", help="Server: turn:HOST[:PORT][?transport=udp|tcp], turns:…")]
ServersFile = Annotated[
    Path | None,
    typer.Option("--servers", metavar="FILE", help="A JSON file with servers, in the shape of a browser's iceServers."),
]
Username = Annotated[
    str | None,
    typer.Option("--username", metavar="NAME", envvar="ICEKIT_USERNAME", help="User name for TURN; @FILE reads it."),
]
Credential = Annotated[
    str | None,
    typer.Option(
        "--credential",
        metavar="PASSWORD",
        envvar="ICEKIT_CREDENTIAL",
        help="Password for TURN; @FILE reads it, which keeps it out of the process list.",
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="relay|direct|udp|ipv6",
        help="Exit with 1 when this does not work; may be given several times.",
        autocompletion=requirements,
    ),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def read_value(option: str, value: str | None) -> str | None:
    """The value of an option; ``@FILE`` stands for the text of that file without its last line end."""
    if value is None or not value.startswith("@"):
        return value
    text = read_file(option, Path(value[1:])).removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"{option}: the file {value[1:]} is empty")
    return text


def read_file(option: str, path: Path) -> str:
    """The text of a file that an option names; ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{option}: {path}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"{option}: {path} has more than {MAX_FILE} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{option}: {path} is not UTF-8 text") from None


def require_writable(option: str, path: Path) -> None:
    """ConfigError where no file of that name can be written; before anything is done for it."""
    # os.path answers False where Path would raise: in a folder that may not be looked into.
    if os.path.isdir(path) or not os.path.isdir(path.parent):  # noqa: PTH112
        raise ConfigError(f"{option}: {path} cannot be written; name a file in a folder that exists")
    if not os.access(path if os.path.exists(path) else path.parent, os.W_OK):  # noqa: PTH110
        raise ConfigError(f"{option}: {path} cannot be written: permission denied; name a file that you may write")


def read_servers(
    urls: Sequence[str] | None, file: Path | None, username: str | None, credential: str | None
) -> tuple[IceServer, ...]:
    """The servers that the options of a command name, else those of ``ICEKIT_URLS``, which has spaces between them.

    The public list (and a note on stderr) where there is none.

    User name and credential go to every TURN server that has none of its own. ConfigError for a bad URL, a bad file,
    and a TURN server without both.
    """
    from icekit.servers import DEFAULT_SERVERS  # --help does without it

    username, credential = read_value("--username", username), read_value("--credential", credential)
    if not urls and file is None:
        urls = os.environ.get("ICEKIT_URLS", "").split()
    servers = () if file is None else _parse_file(file)
    servers = tuple(_with_credentials(server, username, credential) for server in servers)
    servers += tuple(read_server(url, username, credential) for url in urls or ())
    if not servers and file is not None:
        raise ConfigError(f"--servers: {file} names no server; add one, or leave --servers out for public STUN servers")
    if not servers:
        typer.echo(
            "No server given, so public STUN servers are asked: "
            f"{', '.join(str(url) for server in DEFAULT_SERVERS for url in server.urls)}.\n"
            "Name your own STUN and TURN servers to test them.",
            err=True,
        )
        return DEFAULT_SERVERS
    for server in servers:
        if any(url.is_turn for url in server.urls):
            server.require_credentials()
    return servers


def _parse_file(file: Path) -> tuple[IceServer, ...]:
    from icekit.servers import parse_servers

    text = read_file("--servers", file)
    try:
        return parse_servers(text)
    except ConfigError as error:
        raise ConfigError(f"--servers: {file}: {error}") from None


def read_server(url: str, username: str | None, credential: str | None) -> IceServer:
    """One URL of the command line; only TURN gets user name and credential."""
    from icekit.servers import IceServer, ServerUri

    try:
        uri = ServerUri.parse(url)
    except UriError as error:
        raise ConfigError(f"{error.text[:200]!r}: {error}") from None
    uri.require_transport()
    return IceServer(urls=uri, username=username, credential=credential) if uri.is_turn else IceServer(urls=uri)


def _with_credentials(server: IceServer, username: str | None, credential: str | None) -> IceServer:
    from icekit.servers import IceServer

    if not any(url.is_turn for url in server.urls):
        return server
    return IceServer(
        urls=server.urls,
        username=username if server.username is None else server.username,
        credential=credential if server.credential is None else server.credential,
    )


def read_requirements(words: Sequence[str] | None) -> tuple[Requirement, ...]:
    """What ``--require`` asks for; ConfigError for a word that it does not know."""
    from icekit.verdict import Requirement  # --help does without it

    known = {item.value: item for item in Requirement}
    *others, last = known
    for word in words or ():
        if word not in known:
            raise ConfigError(f"--require: {word!r} is not known; write {', '.join(others)} or {last}")
    return tuple(known[word] for word in words or ())


def read_port_range(text: str, option: str) -> tuple[int, int]:
    """The first and last port of ``FIRST-LAST``; ConfigError if it is none. Whether they fit is for their user."""
    first, dash, last = text.partition("-")
    if not (dash and all(part.isascii() and part.isdigit() and len(part) <= 5 for part in (first, last))):
        raise ConfigError(f"{option} wants FIRST-LAST, such as 49152-65535, not {text!r}")
    return int(first), int(last)
