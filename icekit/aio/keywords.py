"""What the keywords of ``aioice.Connection`` mean: one STUN server, one TURN server, local credentials."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable

from icekit.errors import ConfigError
from icekit.servers import IceServer, ServerUri

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
    """The two servers; UriError (a ConfigError) for a host or port that is none."""
    found = []
    if stun_server is not None:
        found.append(IceServer(urls=ServerUri.parse(f"stun:{_authority(stun_server)}")))
    if turn_server is not None:
        scheme = "turns" if turn_ssl else "turn"
        uri = ServerUri.parse(f"{scheme}:{_authority(turn_server)}?transport={turn_transport}")
        found.append(IceServer(urls=uri, username=turn_username, credential=turn_password))
    return tuple(found)


def _authority(server: tuple[str, int]) -> str:
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
