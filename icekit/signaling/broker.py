"""The URL of a room on a broker: ``scheme://user:password@host:port/ROOM?option=value``."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from icekit.errors import ConfigError

# X509_V_ERR_HOSTNAME_MISMATCH, …_EMAIL_…, …_IP_ADDRESS_… of OpenSSL.
_NAME_ERRORS = (62, 63, 64)

_is_room = re.compile(r"[A-Za-z0-9_~-]+(?:[./][A-Za-z0-9_~-]+)*").fullmatch

CONNECT_TIMEOUT = 10.0
"""How long a client library may take to connect, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """What the URL says. ``path`` is the path without its first slash, ``token`` what a server asks for."""

    scheme: str
    host: str
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str, *, options: tuple[str, ...] = ()) -> BrokerUrl:
        """ConfigError names the part that is wrong; other ``options`` than these are."""
        scheme = url.partition(":")[0].lower()
        try:
            # The authority is read as that of http: not every scheme is known to have one.
            parts = urlsplit("http:" + url.partition(":")[2])
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"{scheme} URL: {error}") from None
        if not host:
            raise ConfigError(f"{scheme} URL, host: found nothing, allowed: {scheme}://host/ROOM")
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = sorted(given.keys() - set(options))
        if unknown:
            allowed = ", ".join(options) or "none"
            raise ConfigError(f"{scheme} URL, option: found {unknown[0][:40]!r}, allowed: {allowed}")
        return cls(
            scheme=scheme,
            host=host,
            port=port,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            path=unquote(parts.path.removeprefix("/")),
            options=given,
        )

    def room(self, name: str | None = None) -> str:
        """``name``, or else the path, if it can be a room on every broker; wildcards would hear other rooms."""
        found = self.path if name is None else name
        if not _is_room(found) or len(found) > 200:
            raise ConfigError(
                f"{self.scheme} URL, room: found {found[:60]!r}, allowed: up to 200 letters, digits, - _ ~, and . or / "
                "between them"
            )
        return found

    def tls(self, *schemes: str) -> ssl.SSLContext | None:
        """A context that checks certificates, if the scheme is one of ``schemes``."""
        return ssl.create_default_context() if self.scheme in schemes else None


def certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The bad certificate behind a client library's ``error``, if that is what it is."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLCertVerificationError):
        found = found.__cause__ or found.__context__
    return found


def reason(error: OSError) -> str:
    """Why there is no connection, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = (
            "connect by a name or address that it was issued for"
            if error.verify_code in _NAME_ERRORS
            else "if it is right, name a file with the certificate of its authority in SSL_CERT_FILE"
        )
        return f"the certificate of the server is not accepted ({error.verify_message.rstrip('.')}): {fix}"
    # Of several addresses asyncio makes one error, and client libraries wrap it: the text has the number then. A broker
    # that is there and refuses has words of its own.
    numbers = {error.errno, *(int(number) for number in re.findall(r"\[Errno (\d{1,9})\]", str(error)))}
    if errno.ECONNREFUSED in numbers:
        return "nothing listens there; start the server, or correct host and port"
    if numbers & {errno.ENETUNREACH, errno.EHOSTUNREACH}:
        return "there is no route to it; check this host's network, and whether the address is right"
    # A port without TLS cuts the connection, or answers in its own words; one with TLS may cut it, too.
    if isinstance(error, ssl.SSLError):
        return f"TLS fails ({error.strerror or error}); if that port has none, write the scheme without (ws: for wss:)"
    if isinstance(error, ConnectionResetError):
        return "the server cut the connection; see whether its port speaks TLS, and the scheme says so (wss: or ws:)"
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return f"nobody could be asked for the name of the host ({error.strerror}); check this host's network and DNS"
    if isinstance(error, socket.gaierror):
        return f"the name of the host is not found ({error.strerror}); check its spelling"
    if isinstance(error, TimeoutError):
        return "no answer in time; check host and port, and firewalls between here and there"
    return error.strerror or str(error) or type(error).__name__
