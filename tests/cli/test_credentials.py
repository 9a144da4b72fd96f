"""``icekit credentials``: made as the REST scheme says, read back, and the secret nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from icekit.cli import app
from icekit.tokens import check_token

NOW = 1_750_000_000
SECRET = "north-pole-secret"

runner = CliRunner()


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.5)


def invoke(*arguments: str, **environment: str) -> Any:
    return runner.invoke(
        app, ["credentials", *arguments], env={"ICEKIT_SECRET": None, "ICEKIT_ROOM_SECRET": None, **environment}
    )


def expected_password(username: str) -> str:
    return base64.b64encode(hmac.new(SECRET.encode(), username.encode(), hashlib.sha1).digest()).decode()


def test_credentials_are_made() -> None:
    result = invoke("make", "bob", "--secret", SECRET, "--ttl", "3600")
    username = f"{NOW + 3600}:bob"
    assert result.exit_code == 0
    assert result.stdout == (
        f"username    {username}\ncredential  {expected_password(username)}\nexpires     2025-06-15 16:06:40 UTC\n"
    )


def test_make_json_with_the_secret_from_a_file_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n", encoding="utf-8")
    username = f"{NOW + 86400}:icekit"
    expected = {
        "schema": "icekit/credentials/1",
        "username": username,
        "credential": expected_password(username),
        "expires_at": NOW + 86400,
        "ttl": 86400,
    }
    assert json.loads(invoke("make", "--json", "--secret", f"@{path}").stdout) == expected
    assert json.loads(invoke("make", "--json", ICEKIT_SECRET=SECRET).stdout) == expected
    assert json.loads(invoke("make", "--json", ICEKIT_SECRET=f"@{path}").stdout) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["make"], "icekit: the shared secret is missing; give --secret @FILE, or set ICEKIT_SECRET\n"),
        (
            ["make", "--secret", "@/nowhere/secret"],
            "icekit: --secret: /nowhere/secret: No such file or directory\n",
        ),
        (["make", "--secret", ""], "icekit: the shared secret is empty; give the server's static-auth-secret\n"),
    ],
)
def test_a_missing_secret_is_one_sentence(arguments: list[str], sentence: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", sentence)


def test_the_secret_is_nowhere() -> None:
    for arguments in (["make", "--secret", SECRET], ["make", "--ttl", "x", "--secret", SECRET], ["make", "--help"]):
        result = invoke(*arguments, ICEKIT_SECRET=SECRET)
        assert SECRET not in result.stdout + result.stderr


@pytest.mark.parametrize("ttl", ["0", "-5", "1e3", "999999999999"])
def test_a_bad_time_to_live_is_a_usage_error(ttl: str) -> None:
    assert invoke("make", "--secret", SECRET, "--ttl", ttl).exit_code == 2


@pytest.mark.parametrize(
    ("username", "text", "exits"),
    [
        (f"{NOW + 7200}:bob", "user     bob\nexpires  2025-06-15 17:06:40 UTC (2 hours left)\n", 0),
        (f"{NOW + 90}:bob", "user     bob\nexpires  2025-06-15 15:08:10 UTC (90 s left)\n", 0),
        (f"{NOW}:bob", "user     bob\nexpires  2025-06-15 15:06:40 UTC (ended 0 s ago)\n", 1),
        (f"{NOW - 864000}:bob", "user     bob\nexpires  2025-06-05 15:06:40 UTC (ended 10 days ago)\n", 1),
        (
            f"{NOW + 7200}000:bob",
            (
                "user     bob\nexpires  2025-06-15 17:06:40 UTC (2 hours left)\n"
                "wrong    the time is in milliseconds; servers want seconds\n"
            ),
            1,
        ),
        ("bob", "user     bob\nexpires  never: there is no time in this name\n", 1),
        ("b\x1bob", "user     b�ob\nexpires  never: there is no time in this name\n", 1),
    ],
)
def test_decode(username: str, text: str, exits: int) -> None:
    result = invoke("decode", username)
    assert (result.stdout, result.exit_code) == (text, exits)


def test_decode_json() -> None:
    result = invoke("decode", "--json", f"{NOW + 7200}:bob")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "schema": "icekit/credentials/1",
        "username": f"{NOW + 7200}:bob",
        "user": "bob",
        "expires_at": NOW + 7200,
        "seconds_left": 7200,
        "milliseconds": False,
        "valid": True,
    }


ROOM_SECRET = "a secret for tests that has at least 32 bytes"


def test_a_token_opens_its_room() -> None:
    result = invoke("token", "lobby", "--name", "Ana", "--ttl", "60", "--secret", ROOM_SECRET)
    assert (result.exit_code, result.stderr) == (0, "It opens the room lobby until 2025-06-15 15:07:40 UTC.\n")
    token = result.stdout.strip()
    assert check_token(token, [ROOM_SECRET], "lobby", NOW).name == "Ana"
    read = invoke("decode", token)
    assert (read.exit_code, read.stdout.splitlines()) == (
        0,
        [
            "room     lobby",
            "name     Ana",
            "expires  2025-06-15 15:07:40 UTC (59 s left)",
            "The signature was not checked: that takes the secret.",
        ],
    )


def test_token_json(monkeypatch: pytest.MonkeyPatch) -> None:
    made = json.loads(invoke("token", "lobby", "--json", "--ttl", "60", ICEKIT_ROOM_SECRET=ROOM_SECRET).stdout)
    token = made.pop("token")
    assert made == {"schema": "icekit/credentials/1", "room": "lobby", "name": None, "expires_at": NOW + 60, "ttl": 60}
    expected = {
        "schema": "icekit/credentials/1",
        "room": "lobby",
        "name": None,
        "expires_at": NOW + 60,
        "seconds_left": 59,
        "valid": True,
    }
    assert json.loads(invoke("decode", "--json", token).stdout) == expected
    monkeypatch.setattr(time, "time", lambda: NOW + 61.0)
    late = invoke("decode", token)
    assert (late.exit_code, "ended 1 s ago" in late.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lobby",), "the shared secret is missing; give --secret @FILE, or set ICEKIT_ROOM_SECRET"),
        (("a/b", "--secret", ROOM_SECRET), "a room has 1 to 64"),
        (("lobby", "--secret", ROOM_SECRET, "--name", " "), "a name has 1 to 64"),
        (("lobby", "--secret", "short"), "openssl rand"),
    ],
)
def test_a_token_that_cannot_be(arguments: tuple[str, ...], message: str) -> None:
    result = invoke("token", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_what_only_looks_like_a_token() -> None:
    result = invoke("decode", "eyJ.x.y")
    assert (result.exit_code, result.stderr) == (3, "icekit: the header of a token must be JSON in base64url\n")
