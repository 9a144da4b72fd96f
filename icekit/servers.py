"""STUN and TURN servers: their URIs, lists of them, and time-limited credentials."""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from icekit.errors import ConfigError, MissingCredentials, UriError
from icekit.net import Transport, canonical_host


class Scheme(StrEnum):
    """The schemes of RFC 7064 and RFC 7065."""

    STUN = "stun"
    STUNS = "stuns"
    TURN = "turn"
    TURNS = "turns"


@dataclass(frozen=True, slots=True)
class ServerUri:
    """A ``stun:``, ``stuns:``, ``turn:`` or ``turns:`` URI (RFC 7064 §3.1, RFC 7065 §3.1); ``parse`` checks it.

    ``host`` is a name in lower case or an IP literal without brackets, ``port`` the explicit one, ``transport_token``
    what stands after ``?transport=`` (the grammar allows any token).
    """

    scheme: Scheme
    host: str
    port: int | None = None
    transport_token: str | None = None

    @classmethod
    def parse(cls, text: str) -> ServerUri:
        """Read a URI; UriError names the part, the column, what is allowed and, if it shows, what was meant."""
        try:
            return _read(text)
        except UriError as error:
            found = without_secrets(error.found)
            raise UriError(
                error.field, error.column, found, error.allowed, without_secrets(text), _guess(text)
            ) from None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        query = "" if self.transport_token is None else f"?transport={self.transport_token}"
        return f"{self.scheme}:{host}{port}{query}"

    @property
    def is_turn(self) -> bool:
        """Whether it names a relay."""
        return self.scheme in (Scheme.TURN, Scheme.TURNS)

    @property
    def secure(self) -> bool:
        """Whether TLS or DTLS is asked for."""
        return self.scheme in (Scheme.STUNS, Scheme.TURNS)

    @property
    def default_port(self) -> int:
        """3478, or 5349 with TLS or DTLS (RFC 8489 §18.6, RFC 7065 §3.2)."""
        return 5349 if self.secure else 3478

    @property
    def transport(self) -> Transport | None:
        """How the server is reached, ``None`` for a token that is neither ``udp`` nor ``tcp``.

        Without a token: UDP, or TLS over TCP when secure. RFC 5928 §3 leaves the choice to the application; this is
        what browsers do.
        """
        match self.transport_token:
            case None:
                return Transport.TLS if self.secure else Transport.UDP
            case "udp":
                return Transport.DTLS if self.secure else Transport.UDP
            case "tcp":
                return Transport.TLS if self.secure else Transport.TCP
            case _:
                return None

    def require_transport(self) -> Transport:
        """``transport``; ConfigError for a token that nothing here speaks."""
        if self.transport is None:
            meant = {"tls": f"turns:{_authority(self)}", "dtls": f"turns:{_authority(self)}?transport=udp"}
            token, text = self.transport_token or "", str(self)
            error = UriError("transport", len(text) - len(token) + 1, token, "udp or tcp", text, meant.get(token))
            raise ConfigError(f"{text!r}: {error}")
        return self.transport

    @property
    def is_literal(self) -> bool:
        """Whether the host is an IP address, so that nothing is resolved."""
        return is_literal(self.host)

    @property
    def is_dotless(self) -> bool:
        """Whether the host is a name without a dot, which resolves only with a search domain; not an error."""
        return not self.is_literal and "." not in self.host.rstrip(".") and not is_localhost(self.host)


def _authority(uri: ServerUri) -> str:
    return str(ServerUri(uri.scheme, uri.host, uri.port)).partition(":")[2]


_SCHEME = re.compile(r"(stuns?|turns?):", re.IGNORECASE | re.ASCII)
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
# The resolver of the system reads 0x7f000001 and 127.1 as IPv4 addresses; nobody means that.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def without_secrets(text: str) -> str:
    """The URI as it may be shown: user information and foreign parameters can hold a password."""
    text = re.sub(r"\A(\s*[A-Za-z]{3,6}:/{0,2})?.*(?:@|%40)", r"\1***@", text, count=1, flags=re.DOTALL)
    return re.sub(r"([?&;](?!transport=)[^=&;?]*=)[^&;]*", r"\1***", text, flags=re.IGNORECASE)


# A program has few, and asks for them with each connection.
@lru_cache(maxsize=256)
def _read(text: str) -> ServerUri:
    def wrong(part: str, column: int, found: str, allowed: str) -> UriError:
        return UriError(part, column + 1, found, allowed, "")

    head = _SCHEME.match(text)
    # Before any other check, so that no other sentence can quote a password.
    if "@" in text:
        start = 0 if head is None else head.end()
        raise wrong("user information", start, "***@", "no user name here; give username and credential beside the URI")
    if blank := _BLANK.search(text):
        raise wrong("blank", blank.start(), blank.group(), "no space or control character")
    if head is None:
        raise wrong("scheme", 0, text.partition(":")[0], "stun:, stuns:, turn: or turns: before the host")
    scheme = Scheme(head.group(1).lower())
    start = head.end()
    if text.startswith("//", start):
        raise wrong("host", start, "//", f"the host directly after {scheme}:")
    end = next((index for index in range(start, len(text)) if text[index] in "/?#"), len(text))
    host, port_start = _read_host(text, start, end, wrong)
    port = None
    if port_start is not None:
        port = _read_port(text[port_start:end])
        if port is None:
            raise wrong("port", port_start, text[port_start:end], "a number from 1 to 65535, or no colon")
    rest = text[end:]
    if not rest:
        return ServerUri(scheme, host, port)
    if rest[0] != "?":
        raise wrong("path" if rest[0] == "/" else "fragment", end, rest, "nothing after host and port")
    if scheme in (Scheme.STUN, Scheme.STUNS):
        raise wrong("query", end, rest, f"nothing after host and port of a {scheme}: URI")
    name, separator, token = rest[1:].partition("=")
    if name.lower() != "transport" or not separator:
        raise wrong("query", end, rest, "?transport=udp or ?transport=tcp")
    if not _TOKEN.fullmatch(token):
        raise wrong("transport", end + len("?transport="), token, "udp or tcp")
    return ServerUri(scheme, host, port, token.lower())


_Wrong = Callable[[str, int, str, str], UriError]


def _read_host(text: str, start: int, end: int, wrong: _Wrong) -> tuple[str, int | None]:
    """The host between ``start`` and ``end``, and where the port begins if there is a colon."""
    authority = text[start:end]
    if authority.startswith("["):
        literal, bracket, tail = authority[1:].partition("]")
        if not bracket:
            raise wrong("host", start, authority, "an IPv6 address between [ and ]")
        if not is_literal(literal) or ":" not in literal or "%" in literal:
            raise wrong("host", start + 1, literal, "an IPv6 address without a zone between the brackets")
        if tail and tail[0] != ":":
            raise wrong("port", start + len(literal) + 2, tail, "a colon and a number, or nothing, after the bracket")
        return canonical_host(literal), start + len(literal) + 3 if tail else None
    if authority.count(":") > 1 and is_literal(authority):
        raise wrong("host", start, authority, "an IPv6 address in brackets, [2001:db8::1]")
    host, colon, _ = authority.partition(":")
    if not host:
        raise wrong("host", start, "", "a host name or an IP address")
    if bad := _NOT_IN_NAME.search(host):
        raise wrong("host", start + bad.start(), bad.group(), "letters, digits, hyphen and dot")
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]) and not is_literal(host):
        raise wrong("host", start, host, "four numbers from 0 to 255, or a name whose last part is not a number")
    # RFC 1035 §2.3.4: a label has 1 to 63 octets, a name at most 255 on the wire, 253 as text.
    if not all(1 <= len(label) <= 63 for label in labels) or len(host) > 253:
        raise wrong("host", start, host, "a name of at most 253 characters, 1 to 63 between two dots")
    return host.lower(), start + len(host) + 1 if colon else None


def _read_port(text: str) -> int | None:
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdigit()) or not 1 <= len(digits) <= 5 or int(digits) > 65535:
        return None
    return int(digits)


@lru_cache(maxsize=1024)
def is_literal(host: str) -> bool:
    """Whether a host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_localhost(name: str) -> bool:
    """Whether a name is the loopback address by RFC 6761 §6.3."""
    name = name.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def _guess(text: str) -> str | None:
    """The URI that was probably meant. Reads loosely what people type, and keeps only what ``_read`` accepts."""
    # Only here and not on top: ``import icekit`` is to be quick.
    from difflib import get_close_matches
    from urllib.parse import unquote

    if len(text) > 400:
        return None
    rest = unquote(text).strip().strip("\"'<>`,;").strip()
    rest = re.sub(r"\s*([:/?=&])\s*", r"\1", rest)
    scheme = ""
    if head := re.match(r"([A-Za-z]+)(:/*|/+)", rest):
        near = get_close_matches(head.group(1).lower(), list(Scheme), n=1, cutoff=0.7)
        scheme = near[0] if near else ""
        if scheme or "//" in head.group(2):
            rest = rest[head.end() :]
    rest = rest.rpartition("@")[2]
    token = ""
    if found := re.search(r"(?:transport\W{1,3}|\W)(udp|tcp|tls|dtls)\b(?!\.)", rest, re.IGNORECASE):
        token = found.group(1).lower()
        rest = rest[: found.start()]
    rest = re.split(r"[/?#&,;]", rest, maxsplit=1)[0].rstrip(":")
    host, port = _split_loosely(rest)
    if not scheme:
        scheme = "stun" if host.startswith("stun") else "turn" if token or host.startswith("turn") else ""
    if token in ("tls", "dtls") and scheme in ("stun", "turn"):
        scheme += "s"
    query = {"udp": "?transport=udp", "tcp": "?transport=tcp", "dtls": "?transport=udp"}.get(token, "")
    if scheme in ("stun", "stuns"):
        query = ""
    try:
        return str(_read(f"{scheme}:{host}{port and ':'}{port}{query}"))
    except UriError:
        return None


def _split_loosely(rest: str) -> tuple[str, str]:
    """Host (an IPv6 address in brackets, a name in its ASCII form) and port text."""
    if match := re.fullmatch(r"\[([^\]]*)\](?::?([0-9]+))?", rest):
        return f"[{match.group(1)}]", match.group(2) or ""
    rest = rest.lstrip("[")
    host, _, port = rest.rpartition(":")
    # 2001:db8::1:3478 is an IPv6 address and was hardly meant as one.
    if host.count(":") > 1 and is_literal(host) and port in ("3478", "5349", "443", "80", "19302"):
        return f"[{host}]", port
    if rest.count(":") > 1 and is_literal(rest):
        return f"[{rest}]", ""
    host, _, port = rest.partition(":")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return "", ""
    return host, port


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class IceServer:
    """One entry of an ``iceServers`` list (W3C WebRTC §4.2.4): URLs that share a user name and a credential.

    ``IceServer(urls="turn:turn.example.org", username="bob", credential="…")``; ``urls`` may be one or many, texts or
    ``ServerUri``. UriError for a text that is none, TypeError for what is no text. The credential is in no text form of
    the object.
    """

    urls: tuple[ServerUri, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    def __init__(
        self,
        *,
        urls: str | ServerUri | Iterable[str | ServerUri],
        username: str | None = None,
        credential: str | None = None,
    ) -> None:
        given = (urls,) if isinstance(urls, (str, ServerUri)) else tuple(urls)
        for name, value in (("username", username), ("credential", credential)):
            if value is not None and not isinstance(value, str):
                # A credential is a secret and is not shown.
                raise TypeError(f"{name} is a text, not {type(value).__name__}")
        for url in given:
            if not isinstance(url, (str, ServerUri)):
                raise TypeError(f"a URL is a text or a ServerUri, not {type(url).__name__}")
        parsed = tuple(ServerUri.parse(url) if isinstance(url, str) else url for url in given)
        object.__setattr__(self, "urls", parsed)
        object.__setattr__(self, "username", username)
        object.__setattr__(self, "credential", credential)

    @classmethod
    def from_json(cls, data: Any, where: str = "iceServers[0]") -> IceServer:
        """Read one ``RTCIceServer`` object; ConfigError names the place and the fix. Unknown members are ignored."""
        if not isinstance(data, dict):
            raise ConfigError(f'{where}: found {_kind(data)}; write an object, {{"urls": "stun:host"}}')
        for wrong, right in (("url", "urls"), ("password", "credential"), ("user", "username")):
            if wrong in data and right not in data:
                raise ConfigError(f'{where}.{wrong}: no such member; rename it to "{right}"')
        if data.get("credentialType", "password") != "password":
            raise ConfigError(f'{where}.credentialType: only "password" is supported; leave it out')
        texts: dict[str, str | None] = {}
        for name in ("username", "credential"):
            value = data.get(name)
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{where}.{name}: found {_kind(value)}; write it as text in double quotes")
            texts[name] = value
        return cls(urls=_read_urls(data.get("urls"), f"{where}.urls"), **texts)

    def require_credentials(self) -> tuple[str, str]:
        """User name and credential, for whoever is about to allocate; MissingCredentials if one is."""
        if self.username is not None and self.credential is not None:
            return self.username, self.credential
        missing = tuple(name for name in ("username", "credential") if getattr(self, name) is None)
        url = next((url for url in self.urls if url.is_turn), self.urls[0] if self.urls else "the server")
        raise MissingCredentials(str(url), missing)


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _read_urls(value: Any, where: str) -> tuple[ServerUri, ...]:
    items = [(where, value)]
    if isinstance(value, list):
        items = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
    if not items or value is None:
        raise ConfigError(f'{where}: no URL; write "urls": "stun:host" or "urls": ["turn:host", …]')
    urls = []
    for place, item in items:
        if not isinstance(item, str):
            raise ConfigError(f"{place}: found {_kind(item)}; write a URL in double quotes")
        try:
            urls.append(ServerUri.parse(item))
        except UriError as error:
            raise ConfigError(f"{place}: {error}") from error
    return tuple(urls)


def parse_servers(text: str) -> tuple[IceServer, ...]:
    """Read a JSON server list: a list of ``RTCIceServer``, or an object with ``iceServers``.

    ConfigError names the place, ``iceServers[1].urls[0]``, and the fix.
    """
    # See ``_guess``.
    import json

    try:
        data = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"server list, {place}: {error.msg}; names and texts stand in double quotes") from None
    except (RecursionError, ValueError):
        raise ConfigError("server list: this is no list of servers") from None
    if isinstance(data, dict):
        if "iceServers" not in data:
            raise ConfigError('server list: no "iceServers"; write {"iceServers": [{"urls": "stun:host"}]}')
        data = data["iceServers"]
    if not isinstance(data, list):
        raise ConfigError(f'iceServers: found {_kind(data)}; write a list, [{{"urls": "stun:host"}}]')
    return tuple(IceServer.from_json(item, f"iceServers[{index}]") for index, item in enumerate(data))


# Public STUN servers of different operators, for when nobody names one; every command that falls back on this list
# says so. Two addresses are what a comparison of mappings needs, the others stand in for one that is down.
DEFAULT_SERVERS: tuple[IceServer, ...] = tuple(
    IceServer(urls=url)
    for url in (
        "stun:stun.l.google.com:19302",
        "stun:stun.cloudflare.com:3478",
        "stun:stun.nextcloud.com:3478",
        "stun:stun.sipgate.net:3478",
    )
)


def make_credentials(secret: str, user: str, expires_at: int) -> tuple[str, str]:
    """User name and credential for a server with a shared secret, valid until ``expires_at`` (Unix seconds).

    The REST scheme of draft-uberti-behave-turn-rest §2.2, coturn's ``use-auth-secret``: ``<unix>:<user>`` and the
    base64 of its HMAC-SHA1. ConfigError for an empty secret.
    """
    # Loads OpenSSL; see ``_guess``.
    import hmac

    if not secret:
        raise ConfigError("the shared secret is empty; give the server's static-auth-secret")
    username = f"{expires_at}:{user}" if user else str(expires_at)
    digest = hmac.digest(secret.encode(), username.encode(), "sha1")
    return username, binascii.b2a_base64(digest, newline=False).decode()


@dataclass(frozen=True, slots=True)
class TimeLimitedUsername:
    """``expires_at`` in Unix seconds, ``None`` if the name has no time in it; ``milliseconds``: it was written in ms,
    which a server reads as a date in the far future or refuses."""

    expires_at: int | None
    user: str
    milliseconds: bool = False


def decode_username(text: str) -> TimeLimitedUsername:
    """Read ``<unix>:<user>``, ``<user>:<unix>`` (coturn takes both) or ``<unix>``; any other text is a plain user."""
    first, colon, rest = text.partition(":")
    # A bare number of fewer than ten digits is an extension and not a time, which has ten since 2001.
    for stamp, user, least in ((first, rest, 10), (rest, first, 10), (first, rest, 1 if colon else 10)):
        if stamp.isascii() and stamp.isdigit() and least <= len(stamp) <= 13:
            # From 10^11 on (the year 5138) it can only be milliseconds.
            milliseconds = len(stamp) > 11
            return TimeLimitedUsername(int(stamp) // (1000 if milliseconds else 1), user, milliseconds)
    return TimeLimitedUsername(None, text)
