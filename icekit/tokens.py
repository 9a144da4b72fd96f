"""Room tokens: who may enter a room of the signaling server, until when, and under which name.

A token is a JSON Web Token (RFC 7519) signed with HMAC SHA-256 (HS256 of RFC 7518 §3.2), so a back end makes one with
any JWT library. Claims: ``room`` and ``exp`` (seconds since 1970) are required; ``sub`` fixes the name of its holder;
``nbf`` is obeyed; what else is there is ignored. Time is an argument: seconds since 1970.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from icekit.errors import ConfigError, TokenError

MAX_TOKEN = 2048
"""Longest token that is looked at, in characters."""

MIN_SECRET = 32
"""Shortest secret, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomGrant:
    """What a token allows: to enter ``room`` until ``expires_at`` (seconds since 1970), as ``name`` if it has one."""

    room: str
    expires_at: float
    name: str | None = None
    not_before: float | None = None


def require_secret(secret: str) -> bytes:
    """The secret as a key; ConfigError if it is too short."""
    key = secret.encode()
    # RFC 7518 §3.2: a key for HS256 must have at least the 256 bits of the hash.
    if len(key) < MIN_SECRET:
        raise ConfigError(
            f"the secret for room tokens has {len(key)} bytes, fewer than {MIN_SECRET};"
            " make one with: openssl rand -base64 32"
        )
    return key


def make_token(secret: str, grant: RoomGrant) -> str:
    """A token for one room."""
    claims: dict[str, str | int] = {"room": grant.room, "exp": int(grant.expires_at)}
    if grant.name is not None:
        claims["sub"] = grant.name
    if grant.not_before is not None:
        claims["nbf"] = int(grant.not_before)
    signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
    return f"{signed}.{_to_base64(_sign(require_secret(secret), signed))}"


def read_token(token: str) -> RoomGrant:
    """What a token says, **without** checking who signed it; TokenError if it is none. For people, not for a server."""
    return _grant(token)[0]


def check_token(token: str, secrets: Sequence[str], room: str, now: float) -> RoomGrant:
    """What the token allows in this room now; TokenError otherwise.

    The text does not tell a wrong signature from another room. ``secrets``: any of them may have signed it, so that one
    can be replaced while tokens of the other are still around.
    """
    if not token:
        raise TokenError("a token opens this room, and none was given; ask whoever runs the server for one")
    wrong = TokenError("this token does not open this room; ask whoever gave it to you for a new one")
    try:
        grant, signed, signature = _grant(token)
    except TokenError:
        raise wrong from None
    # All are tried, so that the time does not tell which one fits.
    matches = [hmac.compare_digest(_sign(require_secret(secret), signed), signature) for secret in secrets]
    if not any(matches) or grant.room != room:
        raise wrong
    # RFC 7519 §4.1.4: on or after the time of "exp", a token must not be accepted.
    if now >= grant.expires_at:
        raise TokenError("this token has expired; ask whoever gave it to you for a new one")
    # RFC 7519 §4.1.5: nor before the time of "nbf".
    if grant.not_before is not None and now < grant.not_before:
        raise TokenError("this token is not valid yet; try again later, or check the clock of whoever made it")
    return grant


def _grant(token: str) -> tuple[RoomGrant, str, bytes]:
    """The claims, the text that is signed and the signature."""
    if len(token) > MAX_TOKEN:
        raise TokenError(f"a token has at most {MAX_TOKEN} characters")
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenError("a token has three parts with dots between them")
    header, claims, signature = _decode("header", parts[0]), _decode("claims", parts[1]), _from_base64(parts[2])
    # RFC 8725 §3.1: the algorithm is ours to choose, never the token's ("none").
    if header.get("alg") != "HS256":
        raise TokenError('the "alg" of a token must be HS256')
    # RFC 7515 §4.1.11: extensions that must be understood and are not make it invalid.
    if "crit" in header:
        raise TokenError('a token with "crit" asks for an extension that is not known here')
    room, name = claims.get("room"), claims.get("sub")
    expires_at, not_before = claims.get("exp"), claims.get("nbf")
    if not isinstance(room, str):
        raise TokenError('the claim "room" must be a text')
    if name is not None and not isinstance(name, str):
        raise TokenError('the claim "sub" must be a text')
    if not _is_time(expires_at):
        raise TokenError('the claim "exp" must be a number of seconds since 1970')
    if not_before is not None and not _is_time(not_before):
        raise TokenError('the claim "nbf" must be a number of seconds since 1970')
    grant = RoomGrant(room=room, expires_at=expires_at, name=name, not_before=not_before)
    return grant, f"{parts[0]}.{parts[1]}", signature


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12


def _sign(key: bytes, signed: str) -> bytes:
    return hmac.new(key, signed.encode(), hashlib.sha256).digest()


def _encode(fields: dict[str, str] | dict[str, str | int]) -> str:
    return _to_base64(json.dumps(fields, separators=(",", ":")).encode())


def _decode(part: str, text: str) -> dict[str, object]:
    try:
        fields = json.loads(_from_base64(text))
    except (ValueError, RecursionError):
        raise TokenError(f"the {part} of a token must be JSON in base64url") from None
    if not isinstance(fields, dict):
        raise TokenError(f"the {part} of a token must be a JSON object")
    return fields


def _to_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    # RFC 7515 §2: base64url, and no padding.
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise TokenError("a part of a token must be base64url without padding") from None
    # One text for one signature: bits that decode to nothing must be zero.
    if _to_base64(data) != text:
        raise TokenError("a part of a token must be base64url without padding")
    return data
