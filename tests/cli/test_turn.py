"""``icekit turn`` as a person runs it: text, JSON, exit codes, and what is never printed."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from icekit.aio.server import RunningServer
from icekit.cli import app
from icekit.server import TurnServerConfig
from tests.cli.serving import serving

PASSWORD = "do-not-print-me"
CREDENTIALS = ["--username", "alice", "--credential", PASSWORD]

runner = CliRunner()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(
        TurnServerConfig(users={"alice": PASSWORD}, relay_ipv4="127.0.0.1", allow_peers=("127.0.0.0/8",))
    ) as running:
        yield running


@pytest.fixture
def closed() -> str:
    """A URL of a TCP port where nothing listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return f"turn:127.0.0.1:{holder.getsockname()[1]}?transport=tcp"


def url_of(server: RunningServer, transport: str) -> str:
    return next(url for url in server.urls() if url.startswith("turn:") and url.endswith(transport))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_text_of_a_good_server(server: RunningServer, transport: str) -> None:
    url = url_of(server, transport)
    result = runner.invoke(app, ["turn", url, *CREDENTIALS])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert re.fullmatch(rf"OK  {re.escape(url)} relays as 127\.0\.0\.1:\d+, [\d.]+ ms through it and back", lines[0])
    names = re.findall(r"^ +✓ +([a-z-]+) +\d+\.\d+ s", result.stdout, re.MULTILINE)
    connect = ["connect"] if transport == "tcp" else []
    assert names == [
        *("resolve", *connect, "challenge", "allocate", "relay-address", "permission", "channel", "echo"),
        *("refresh", "release"),
    ]
    assert PASSWORD not in result.stdout
    assert server.core.allocations == 0


def test_the_text_of_a_failure(server: RunningServer) -> None:
    url = url_of(server, "udp")
    result = runner.invoke(app, ["turn", url, "--username", "alice", "--credential", "guess-42"])
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith(f"TURN-401  {url} fails at allocate (wrong user name or password)\n")
    assert "icekit credentials make" in " ".join(result.stdout.split())
    assert re.search(r"– +echo +not tested", result.stdout)
    assert "guess-42" not in result.stdout


def test_json_is_one_element_of_the_probe(server: RunningServer) -> None:
    url = url_of(server, "udp")
    result = runner.invoke(app, ["turn", url, *CREDENTIALS, "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert list(document)[:10] == [
        *("schema", "url", "ok", "failed_stage", "code", "cause", "lifetime", "relayed_address", "rtt", "stages"),
    ]
    assert (document["schema"], document["url"], document["ok"]) == ("icekit/turn/1", url, True)
    assert (document["lifetime"], document["code"], document["findings"]) == (600, None, [])
    assert all(list(stage) == ["name", "ok", "seconds", "detail"] for stage in document["stages"])


@pytest.mark.parametrize(("username", "credential"), [("", PASSWORD), ("alice", "")])
def test_an_empty_credential_is_said_to_be_empty(server: RunningServer, username: str, credential: str) -> None:
    url = url_of(server, "udp")
    result = runner.invoke(app, ["turn", url, "--username", username, "--credential", credential, "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["code"], document["cause"]) == (1, "TURN-401", "empty")


def test_a_closed_port(closed: str) -> None:
    result = runner.invoke(app, ["turn", closed, *CREDENTIALS, "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["code"], document["cause"]) == (1, "TURN-CONNECT", "refused")
    (finding,) = document["findings"]
    assert finding["code"] == "TURN-CONNECT"
    assert "is closed" in finding["message"]


def test_a_name_that_does_not_exist() -> None:
    result = runner.invoke(app, ["turn", "turn:nobody.invalid", *CREDENTIALS, "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["failed_stage"], document["code"]) == (1, "resolve", "TURN-RESOLVE")
    assert [stage["name"] for stage in document["stages"]] == ["resolve"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stun:127.0.0.1"], "icekit probe stun:127.0.0.1 tests it"),
        (["turn:127.0.0.1"], "--username and --credential"),
        (["turn:127.0.0.1", "--username", "alice"], "--credential"),
        (["turn:127.0.0.1:99999", *CREDENTIALS], "port"),
        (["turn:127.0.0.1?transport=xyz", *CREDENTIALS], "xyz"),
        (["turn:127.0.0.1", "--username", "a\x00b", "--credential", "x"], "name"),
    ],
)
def test_usage_errors_exit_2_with_a_sentence(arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ICEKIT_USERNAME", "ICEKIT_CREDENTIAL"):
        monkeypatch.delenv(name, raising=False)
    result = runner.invoke(app, ["turn", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert PASSWORD not in result.stderr


def test_credentials_come_from_the_environment(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICEKIT_USERNAME", "alice")
    monkeypatch.setenv("ICEKIT_CREDENTIAL", PASSWORD)
    assert runner.invoke(app, ["turn", url_of(server, "udp")]).exit_code == 0
