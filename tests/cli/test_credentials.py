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

NOW = 1_750_000_000
SECRET = "north-pole-secret"

runner = CliRunner()


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.5)


def invoke(*arguments: str, **environment: str) -> Any:
    return runner.invoke(app, ["credentials", *arguments], env={"ICEKIT_SECRET": None, **environment})


def expected_password(username: str) -> str:
    return base64.b64encode(hmac.new(SECRET.encode(), username.encode(), hashlib.sha1).digest()).decode()


def test_make() -> None:
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
