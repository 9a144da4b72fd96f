"""What the keywords of ``aioice.Connection`` mean: one STUN server, one TURN server, a policy, local credentials."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING

from icekit.errors import ConfigError
from icekit.servers import IceServer, ServerUri

if TYPE_CHECKING:
    import aioice

# RFC 8445 §5.3: at least 24 and 128 random bits; these are 48 and 144, in 8 and 24 characters.
_UFRAG_BYTES, _PASSWORD_BYTES = 6, 18


def servers_of(
    stun_server: tuple[str, int] | None,
    turn_server: tuple[str, int] | None,
    turn_username: str | None,
    turn_password: str | None,
    turn_ssl: bool,
    turn_transport: str,
) -> tuple[IceServer, ...]:
    """The two servers; UriError (a ValueError) for a host or port that is none, TypeError for what is no pair."""
    found = []
    if stun_server is not None:
        found.append(IceServer(urls=ServerUri.parse(f"stun:{_authority('stun_server', stun_server)}")))
    if turn_server is not None:
        scheme = "turns" if turn_ssl else "turn"
        uri = ServerUri.parse(f"{scheme}:{_authority('turn_server', turn_server)}?transport={turn_transport}")
        found.append(IceServer(urls=uri, username=turn_username, credential=turn_password))
    return tuple(found)


def _authority(keyword: str, server: tuple[str, int]) -> str:
    match server:
        case (str(host), int(port)):
            pass
        case _:
            raise TypeError(f"{keyword} is a host and a port, such as ('turn.example.org', 3478)")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_relay_only(policy: aioice.TransportPolicy | None) -> bool:
    """Whether relays alone are wanted; TypeError for what is no ``aioice.TransportPolicy``."""
    name = "ALL" if policy is None else getattr(policy, "name", None)
    if name not in ("ALL", "RELAY"):
        raise TypeError(f"transport_policy is aioice.TransportPolicy.ALL or RELAY, not {type(policy).__name__}")
    return name == "RELAY"


def credentials(
    username: str | None, password: str | None, token_bytes: Callable[[int], bytes]
) -> tuple[str, str] | None:
    """Both when one is given; the other one is then random. ConfigError for what RFC 8839 §5.4 does not allow."""
    if username is None and password is None:
        return None
    if username is None:
        username = b64encode(token_bytes(_UFRAG_BYTES)).decode()
    if password is None:
        password = b64encode(token_bytes(_PASSWORD_BYTES)).decode()
    # RFC 8839 §5.4: 256 characters of a name must be accepted, and no more than 32 be sent.
    for name, text, shortest, longest in (("local_username", username, 4, 32), ("local_password", password, 22, 256)):
        if not re.fullmatch(f"[A-Za-z0-9+/]{{{shortest},{longest}}}", text):
            # The password is a secret and is not shown.
            raise ConfigError(f"{name} wants {shortest} to {longest} letters, digits, + or /")
    return username, password
