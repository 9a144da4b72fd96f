"""Room tokens, beside PyJWT, which we did not write."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError, TokenError
from icekit.tokens import MAX_TOKEN, RoomGrant, check_token, make_token, read_token, require_secret

SECRET = "a secret for tests that has at least 32 bytes"
OTHER = "another secret for tests of at least 32 bytes"
NOW = 1_800_000_000.0
GRANT = RoomGrant(room="lobby", expires_at=NOW + 60)


def foreign(**claims: object) -> str:
    return jwt.encode({"room": "lobby", "exp": NOW + 60, **claims}, SECRET, algorithm="HS256")


def refused(token: str, *, secrets: tuple[str, ...] = (SECRET,), room: str = "lobby", now: float = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        check_token(token, secrets, room, now)
    assert token not in str(caught.value) or not token
    return str(caught.value)


def test_a_token_opens_its_room() -> None:
    assert check_token(make_token(SECRET, GRANT), [SECRET], "lobby", NOW) == GRANT


def test_pyjwt_reads_ours() -> None:
    grant = RoomGrant(room="lobby", expires_at=NOW + 60, name="Ana", not_before=NOW)
    claims = jwt.decode(
        make_token(SECRET, grant), SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )
    assert claims == {"room": "lobby", "exp": NOW + 60, "sub": "Ana", "nbf": NOW}


def test_we_read_those_of_pyjwt() -> None:
    token = foreign(sub="Ana", iss="back end", iat=1)
    assert check_token(token, [SECRET], "lobby", NOW) == RoomGrant(room="lobby", expires_at=NOW + 60, name="Ana")


WRONG = "this token does not open this room; ask whoever gave it to you for a new one"


def test_wrong_signature_and_other_room_look_the_same() -> None:
    assert refused(make_token(OTHER, GRANT)) == WRONG
    assert refused(make_token(SECRET, GRANT), room="other") == WRONG
    assert refused("") == "a token opens this room, and none was given; ask whoever runs the server for one"
    assert refused("x" * (MAX_TOKEN + 1)) == WRONG


def test_expired_is_told_only_to_whoever_had_the_right() -> None:
    old = RoomGrant(room="lobby", expires_at=NOW)
    assert refused(make_token(SECRET, old)) == "this token has expired; ask whoever gave it to you for a new one"
    check_token(make_token(SECRET, old), [SECRET], "lobby", NOW - 0.001)
    assert refused(make_token(OTHER, old)) == WRONG
    assert refused(make_token(SECRET, old), room="other") == WRONG


def test_not_before() -> None:
    token = make_token(SECRET, RoomGrant(room="lobby", expires_at=NOW + 60, not_before=NOW + 10))
    assert "not valid yet" in refused(token, now=NOW + 9.9)
    check_token(token, [SECRET], "lobby", NOW + 10)


def test_any_of_the_secrets_signs() -> None:
    for secret in (SECRET, OTHER):
        check_token(make_token(secret, GRANT), [OTHER, SECRET], "lobby", NOW)
    assert refused(make_token(SECRET, GRANT), secrets=()) == WRONG


def test_the_algorithm_is_ours_to_choose() -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"room": "lobby", "exp": NOW + 60}
    unsigned = f"{part({'alg': 'none'})}.{part(claims)}."
    assert refused(unsigned) == WRONG
    assert refused(jwt.encode(claims, SECRET * 2, algorithm="HS512"), secrets=(SECRET * 2,)) == WRONG
    critical = jwt.encode(claims, SECRET, algorithm="HS256", headers={"crit": ["b64"], "b64": True})
    assert refused(critical) == WRONG
    with pytest.raises(TokenError, match="crit"):
        read_token(critical)


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"room": 1}, "room"),
        ({"room": None}, "room"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"nbf": "now"}, "nbf"),
        ({"sub": 5}, "sub"),
    ],
)
def test_claims_that_cannot_be(claims: dict[str, object], word: str) -> None:
    body = json.dumps({"room": "lobby", "exp": NOW + 60, **claims}).encode()
    token = jwt.api_jws.encode(body, SECRET, algorithm="HS256")
    with pytest.raises(TokenError, match=f'"{word}"'):
        read_token(token)
    assert refused(token) == WRONG


@pytest.mark.parametrize("text", ["a", "a.b", "a.b.c.d", "é.é.é", "e30.e30.e30=", "W10.W10.", "..", "eA.eA.eA"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(TokenError):
        read_token(text)


def test_one_signature_has_one_text() -> None:
    token = make_token(SECRET, GRANT)
    # 32 bytes are 43 characters, of which the last has two bits that mean nothing.
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + last[last.index(token[-1]) ^ 1]
    assert base64.urlsafe_b64decode(twin.split(".")[2] + "=") == base64.urlsafe_b64decode(token.split(".")[2] + "=")
    assert refused(twin) == WRONG


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){2}", fullmatch=True))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(TokenError):
        check_token(text, [SECRET], "lobby", NOW)


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=1, max_value=127))
def test_one_changed_character_is_refused(position: int, change: int) -> None:
    token = make_token(SECRET, GRANT)
    position %= len(token)
    changed = token[:position] + chr(ord(token[position]) ^ change) + token[position + 1 :]
    refused(changed)


def test_a_short_secret_is_refused_and_not_shown() -> None:
    require_secret("x" * 32)
    with pytest.raises(ConfigError, match="31 bytes") as caught:
        make_token("s3cr" * 7 + "etx", GRANT)
    assert "s3cr" not in str(caught.value)
