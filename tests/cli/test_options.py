"""Shared options: from arguments, files and the environment to servers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icekit.cli.command import CommandGroup
from icekit.cli.options import (
    MAX_FILE,
    Credential,
    ServersFile,
    ServerUrls,
    Username,
    read_port_range,
    read_requirements,
    read_servers,
    read_value,
    require_writable,
)
from icekit.errors import ConfigError
from icekit.servers import DEFAULT_SERVERS, IceServer
from icekit.verdict import Requirement

PASSWORD = "do-not-print-me"


def test_turn_gets_the_credentials_and_stun_does_not() -> None:
    servers = read_servers(["stun:192.0.2.1", "turn:192.0.2.2?transport=tcp"], None, "bob", PASSWORD)
    assert servers == (
        IceServer(urls="stun:192.0.2.1"),
        IceServer(urls="turn:192.0.2.2?transport=tcp", username="bob", credential=PASSWORD),
    )


def test_a_file_keeps_its_own_credentials_and_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    entries = [
        {"urls": ["turn:192.0.2.2"], "username": "own", "credential": "own-password"},
        {"urls": "turn:192.0.2.3"},
        {"urls": "stun:192.0.2.4"},
    ]
    path.write_text(json.dumps({"iceServers": entries}), encoding="utf-8")
    servers = read_servers(["stun:192.0.2.1"], path, "bob", PASSWORD)
    assert [(str(server.urls[0]), server.username, server.credential) for server in servers] == [
        ("turn:192.0.2.2", "own", "own-password"),
        ("turn:192.0.2.3", "bob", PASSWORD),
        ("stun:192.0.2.4", None, None),
        ("stun:192.0.2.1", None, None),
    ]


@pytest.mark.parametrize("urls", [None, []])
def test_without_servers_the_public_list_is_used_and_named(
    urls: list[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_servers(urls, None, None, None) == DEFAULT_SERVERS
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("No server given, so public STUN servers are asked: stun:stun.l.google.com:19302")


def test_a_file_without_a_server_does_not_lead_to_public_ones(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    path.write_text("[]")
    with pytest.raises(ConfigError, match="names no server"):
        read_servers(None, path, None, None)


def test_values_from_files(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b" with blank \r\n")
    assert read_value("--credential", f"@{path}") == " with blank "
    assert read_value("--credential", "plain@text") == "plain@text"
    assert read_value("--credential", None) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "--credential: {path}: No such file or directory"),
        (b"", "--credential: the file {path} is empty"),
        (b"\n", "--credential: the file {path} is empty"),
        (b"\xff", "--credential: {path} is not UTF-8 text"),
        (b"x" * (MAX_FILE + 1), "--credential: {path} has more than 1000000 bytes"),
    ],
)
def test_a_file_that_is_of_no_use(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_value("--credential", f"@{path}")
    assert str(caught.value) == text.format(path=path)


@pytest.mark.parametrize(
    ("urls", "username", "words"),
    [
        (["turn://turn.example.org"], "bob", ["column 6", "write turn:turn.example.org"]),
        (["stun:192.0.2.2", "stun:192.0.2.1:99999"], None, ["'stun:192.0.2.1:99999'", "column 16", "port"]),
        (["turn:192.0.2.2"], None, ["turn:192.0.2.2 needs a username and credential"]),
        (["turn:192.0.2.2?transport=sctp"], "bob", ["column 26", "'sctp'", "allowed: udp or tcp"]),
    ],
)
def test_bad_servers_end_in_one_sentence_with_the_fix(urls: list[str], username: str | None, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_servers(urls, None, username, PASSWORD if username else None)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_password_alone_is_named() -> None:
    with pytest.raises(ConfigError, match=r"turn:192\.0\.2\.2 needs a credential; give credential beside its URL"):
        read_servers(["turn:192.0.2.2"], None, "bob", None)


def test_a_secret_in_a_url_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        read_servers([f"turn:bob:{PASSWORD}@turn.example.org"], None, "bob", PASSWORD)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_annotations_make_a_command() -> None:
    import typer

    app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, pretty_exceptions_enable=False)
    seen: list[tuple[IceServer, ...]] = []

    @app.callback()
    def options() -> None:
        pass

    @app.command()
    def command(
        urls: ServerUrls = None, servers: ServersFile = None, username: Username = None, credential: Credential = None
    ) -> None:
        seen.append(read_servers(urls, servers, username, credential))

    runner = CliRunner()
    environment = {"ICEKIT_USERNAME": "eve", "ICEKIT_CREDENTIAL": PASSWORD}
    assert runner.invoke(app, ["command", "turn:192.0.2.2"], env=environment).exit_code == 0
    assert runner.invoke(app, ["command", "turn:192.0.2.2", "--username", "bob"], env=environment).exit_code == 0
    assert [(server.username, server.credential) for [server] in seen] == [("eve", PASSWORD), ("bob", PASSWORD)]
    refused = runner.invoke(app, ["command", "turn:192.0.2.2"], env=dict.fromkeys(environment))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("icekit: turn:192.0.2.2 needs a username and credential; give ")
    helped = runner.invoke(app, ["command", "--help"], env=environment)
    assert PASSWORD not in helped.stdout


def test_requirements_are_read() -> None:
    assert read_requirements(None) == ()
    assert read_requirements(["udp", "relay"]) == (Requirement.UDP, Requirement.RELAY)
    with pytest.raises(ConfigError, match="--require: 'tcp' is not known; write relay, direct, udp or ipv6"):
        read_requirements(["udp", "tcp"])


def test_a_range_of_ports() -> None:
    assert read_port_range("50000-50010", "--ports") == (50000, 50010)
    for text in ("", "50000", "-", "1-", "-1", "a-b", "1-2-3", "123456-123457", "\u0661-\u0662"):
        with pytest.raises(ConfigError, match="--ports wants FIRST-LAST, such as 49152-65535"):
            read_port_range(text, "--ports")


def test_a_file_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_writable("--out", tmp_path / "new")
    for path in (tmp_path, tmp_path / "none" / "new"):
        with pytest.raises(ConfigError, match="cannot be written; name a file in a folder that exists"):
            require_writable("--out", path)
    # These tests may run as root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="new cannot be written: permission denied; name a file that you"):
        require_writable("--out", tmp_path / "new")
