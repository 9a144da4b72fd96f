"""What ``icekit watch`` reads: a TOML file of servers, with credentials from it, the environment or other files."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icekit.errors import ConfigError, UriError
from icekit.servers import ServerUri, make_credentials

# A check of a relay makes a second allocation where its peer cannot be reached in another way.
ALLOCATIONS_PER_CHECK = 2
# Credentials made from a shared secret outlive the check that they are made for.
_CREDENTIAL_LIFETIME = 3600
_USER = "icekit-watch"
MAX_SERVERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedServer:
    """One URL. ``secret`` is a shared one (``static-auth-secret``); times are in seconds."""

    uri: ServerUri
    name: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)

    def credentials(self, unix_time: float) -> tuple[str, str]:
        """User name and credential for a check that begins now; a TURN server has them."""
        if self.secret is not None:
            return make_credentials(self.secret, self.username or _USER, int(unix_time) + _CREDENTIAL_LIFETIME)
        assert self.username is not None
        assert self.credential is not None
        return self.username, self.credential


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    """Servers and how they are checked.

    ``interval``: seconds between two checks of one server; ``timeout``: after which a check is given up;
    ``concurrency``: checks at a time; ``max_allocations``: relays at a time, over all servers.
    """

    servers: tuple[WatchedServer, ...]
    interval: float = 60.0
    timeout: float = 30.0
    concurrency: int = 8
    max_allocations: int = 8


_NUMBERS: dict[str, tuple[int, int]] = {
    "interval": (1, 86_400),
    "timeout": (1, 300),
    "concurrency": (1, 1000),
    "max_allocations": (ALLOCATIONS_PER_CHECK, 1000),
}
_TOP = {*_NUMBERS, "server"}
_SERVER = {"url", "name", "username"}
_SECRETS = ("credential", "secret")


def read_fleet(path: Path, environment: Mapping[str, str] = os.environ) -> FleetConfig:
    """Read a fleet file; ConfigError says in which file, where, what is wrong and how to write it."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        return _fleet(data, path.parent, environment)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _fleet(data: dict[str, Any], folder: Path, environment: Mapping[str, str]) -> FleetConfig:
    _refuse_unknown(data, _TOP, "")
    tables = data.get("server")
    if not isinstance(tables, list) or not tables or not all(isinstance(item, dict) for item in tables):
        raise ConfigError('no server; write [[server]] and below it url = "turn:turn.example.org"')
    if len(tables) > MAX_SERVERS:
        raise ConfigError(f"{len(tables)} servers; one process watches {MAX_SERVERS} at most")
    servers = tuple(_server(table, f"server[{index}]", folder, environment) for index, table in enumerate(tables))
    names = [server.name for server in servers]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f'two servers are called {name!r}; give each a name = "…" of its own')
    return FleetConfig(
        servers=servers,
        **{key: _number(data, key, least, most) for key, (least, most) in _NUMBERS.items() if key in data},
    )


def _server(table: dict[str, Any], where: str, folder: Path, environment: Mapping[str, str]) -> WatchedServer:
    sources = {f"{name}{source}" for name in _SECRETS for source in ("", "_env", "_file")}
    _refuse_unknown(table, _SERVER | sources, f"{where}.")
    url = _text(table, "url", where)
    if url is None:
        raise ConfigError(f'{where}.url: is missing; write url = "turn:turn.example.org"')
    try:
        uri = ServerUri.parse(url)
    except UriError as error:
        raise ConfigError(f"{where}.url: {error}") from None
    uri.require_transport()
    username = _text(table, "username", where)
    credential, secret = (_secret(table, name, where, folder, environment) for name in _SECRETS)
    if credential is not None and secret is not None:
        raise ConfigError(f"{where}: credential and secret are two ways to the same; give one of them")
    if uri.is_turn and secret is None and (username is None or credential is None):
        raise ConfigError(f"{where}: {uri} needs username and credential, or secret (the server's static-auth-secret)")
    return WatchedServer(
        uri=uri, name=_text(table, "name", where) or str(uri), username=username, credential=credential, secret=secret
    )


def _secret(table: dict[str, Any], name: str, where: str, folder: Path, environment: Mapping[str, str]) -> str | None:
    """From the file itself, a variable of the environment, or a file of its own (relative to the fleet file)."""
    given = [key for key in (name, f"{name}_env", f"{name}_file") if key in table]
    if not given:
        return None
    if len(given) > 1:
        raise ConfigError(f"{where}: {given[0]} and {given[1]} name one secret twice; give one of them")
    [key] = given
    value = _text(table, key, where) or ""
    if key.endswith("_env"):
        if value not in environment:
            raise ConfigError(f"{where}.{key}: the variable {value} is not set")
        value = environment[value]
    elif key.endswith("_file"):
        try:
            value = (folder / value).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            raise ConfigError(f"{where}.{key}: {folder / value}: {reason}") from None
    if not value:
        raise ConfigError(f"{where}.{key}: is empty")
    return value


def _text(table: dict[str, Any], key: str, where: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{where}.{key}: write a text in double quotes")
    return value


def _number(data: dict[str, Any], key: str, least: int, most: int) -> int:
    value = data[key]
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{key}: write a whole number from {least} to {most}")
    return value


def _refuse_unknown(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}{key}: is not known; write one of {', '.join(sorted(known))}")
