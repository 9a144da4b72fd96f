"""The fleet file: what it may say, and what a mistake is answered with. Secrets are in no message and no repr."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError
from icekit.servers import decode_username, make_credentials
from icekit.watch.fleet_file import FleetConfig, read_fleet

GOOD = """
interval = 30
max_allocations = 4

[[server]]
url = "turn:turn.example.org?transport=udp"
name = "frankfurt"
username = "alice"
credential = "correct horse"

[[server]]
url = "turns:turn.example.org:443?transport=tcp"
secret_env = "TURN_SECRET"

[[server]]
url = "turn:203.0.113.10"
username = "bob"
credential_file = "password.txt"

[[server]]
url = "stun:stun.example.org"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_fleet(tmp_path: Path) -> None:
    (tmp_path / "password.txt").write_text("from a file\n")
    fleet = read_fleet(written(tmp_path, GOOD), {"TURN_SECRET": "shared"})
    assert (fleet.interval, fleet.timeout, fleet.concurrency, fleet.max_allocations) == (30, 30.0, 8, 4)
    first, second, third, last = fleet.servers
    assert (first.name, str(first.uri)) == ("frankfurt", "turn:turn.example.org?transport=udp")
    assert first.credentials(0.0) == ("alice", "correct horse")
    username, credential = second.credentials(1_700_000_000.0)
    assert decode_username(username).expires_at == 1_700_003_600
    assert (username, credential) == make_credentials("shared", "icekit-watch", 1_700_003_600)
    assert third.credentials(0.0) == ("bob", "from a file")
    assert last.name == "stun:stun.example.org"
    for secret in ("correct horse", "shared", "from a file"):
        assert secret not in repr(fleet)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r'no server; write \[\[server\]\] and below it url = "turn:turn.example.org"'),
        ("[[server]]\n", r"server\[0\].url: is missing"),
        ("[[server]]\nurl = 3\n", r"server\[0\].url: write a text in double quotes"),
        ('[[server]]\nurl = "turn://x"\n', r"server\[0\].url: "),
        ('[[server]]\nurl = "turn:x.org"\n', r"server\[0\]: turn:x.org needs username and credential, or secret"),
        ('[[server]]\nurl = "stun:x.org"\nport = 3\n', r"server\[0\].port: is not known; write one of credential, "),
        ('speed = 3\n[[server]]\nurl = "stun:x.org"\n', r": speed: is not known; write one of concurrency, interval"),
        ('interval = 0\n[[server]]\nurl = "stun:x.org"\n', r"interval: write a whole number from 1 to 86400"),
        ('timeout = true\n[[server]]\nurl = "stun:x.org"\n', r"timeout: write a whole number from 1 to 300"),
        ('max_allocations = 1\n[[server]]\nurl = "stun:x.org"\n', r"max_allocations: write a whole number from 2 "),
        ('[[server]]\nurl = "stun:x.org"\n' * 2, r"two servers are called 'stun:x.org'"),
        (
            '[[server]]\nurl = "turn:x.org"\nsecret = "a"\nsecret_env = "B"\n',
            r"server\[0\]: secret and secret_env name one secret twice",
        ),
        (
            '[[server]]\nurl = "turn:x.org"\nsecret = "a"\ncredential = "b"\nusername = "c"\n',
            r"server\[0\]: credential and secret are two ways to the same",
        ),
        (
            '[[server]]\nurl = "turn:x.org"\nsecret_env = "NOT"\n',
            r"server\[0\].secret_env: the variable NOT is not set",
        ),
        ('[[server]]\nurl = "turn:x.org"\nsecret_env = "EMPTY"\n', r"server\[0\].secret_env: is empty"),
        ('[[server]]\nurl = "turn:x.org"\nsecret_file = "no"\n', r"secret_file: .*no: No such file or directory"),
        ("[[server]\n", r"fleet.toml: "),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as failure:
        read_fleet(written(tmp_path, text), {"EMPTY": ""})
    assert str(failure.value).startswith(str(tmp_path / "fleet.toml"))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: No such file or directory"):
        read_fleet(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary.toml: "):
        read_fleet(tmp_path / "binary.toml")


@given(st.text())
def test_any_text_is_a_fleet_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, "utf-8", newline="")
    try:
        fleet = read_fleet(path, {})
    except ConfigError:
        return
    assert isinstance(fleet, FleetConfig)
