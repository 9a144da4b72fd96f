"""``icekit load`` as a person runs it: the question, the refusal, text, JSON, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icekit.aio.server import RunningServer
from icekit.cli import app
from icekit.server import TurnServerConfig
from tests.cli.serving import serving

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "do-not-print-me"
CREDENTIALS = ["--username", "alice", "--credential", PASSWORD]
# A busy machine is no defect of the server, and none of the command.
PATIENT = ["--max-latency", "30000", "--max-loss", "100"]
LITTLE = ["--allocations", "3", "--rate", "10", "--duration", "0.5", *PATIENT]

runner = CliRunner()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    turn = TurnServerConfig(
        users={"alice": PASSWORD}, relay_ipv4="127.0.0.1", allow_peers=("127.0.0.0/8",), max_allocations_per_user=5
    )
    with serving(turn) as running:
        yield running


def url_of(server: RunningServer, transport: str = "udp") -> str:
    return next(url for url in server.urls() if url.startswith("turn:") and url.endswith(transport))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_text_of_a_server_that_holds(server: RunningServer, transport: str) -> None:
    url = url_of(server, transport)
    result = runner.invoke(app, ["load", url, *CREDENTIALS, "--yes", *LITTLE])
    assert (result.exit_code, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    assert text.startswith(f"OK {url}: 3 allocations with 10 packets/s of 200 bytes each hold:")
    assert re.search(r"opened 3, in [\d.]+ ms .* released 3", text)
    assert text.endswith(f"over {transport.upper()}; the peer is a UDP socket of this machine for each")
    assert PASSWORD not in result.stdout
    assert server.core.allocations == 0


def test_the_document_of_json(server: RunningServer) -> None:
    result = runner.invoke(app, ["load", url_of(server), *CREDENTIALS, "--yes", "--json", *LITTLE])
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert list(document) == [
        *("schema", "url", "server", "transport", "peer", "plan", "verdict", "held", "limit", "steps", "setup"),
        *("opened", "released", "lost", "unconfirmed", "findings"),
    ]
    assert (document["schema"], document["verdict"]["code"], document["held"]) == ("icekit/load/1", "OK", 3)
    (step,) = document["steps"]
    assert step["sent"] == 15
    assert list(step["latency"]) == ["p50", "p90", "p99", "max"]
    assert (document["opened"], document["released"], document["unconfirmed"]) == (3, 3, 0)
    assert PASSWORD not in result.stdout


def test_a_ramp_ends_where_the_server_refuses(server: RunningServer) -> None:
    arguments = ["--ramp", "--allocations", "2", "--rate", "10", "--duration", "0.3", *PATIENT]
    result = runner.invoke(app, ["load", url_of(server), *CREDENTIALS, "--yes", *arguments])
    text = " ".join(result.stdout.split())
    assert (result.exit_code, result.stderr) == (0, "")
    assert "with 5 allocations open the server refused another one (486 Allocation Quota Reached)" in text
    assert "all 5 allocations are released" in text
    assert "TURN-486" in text
    assert server.core.allocations == 0


def test_less_than_was_asked_for_is_no(server: RunningServer) -> None:
    result = runner.invoke(
        app, ["load", url_of(server), *CREDENTIALS, "--yes", "--duration", "0.3", "--json", *PATIENT]
    )
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"]["code"], document["limit"]["code"]) == (1, "REFUSED", 486)
    assert [finding["code"] for finding in document["findings"]] == ["TURN-486"]


@pytest.mark.parametrize("host", ["203.0.113.10", "198.51.100.1", "9.9.9.9", "[2001:db8::1]"])
def test_a_public_address_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(remote: object) -> str:
        return "192.0.2.1"

    monkeypatch.setattr("icekit.bench.load.source_address", here)
    result = runner.invoke(app, ["load", f"turn:{host}", *CREDENTIALS, "--yes", *LITTLE])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "public address" in result.stderr
    assert "--i-own-this-server" in result.stderr


def test_who_owns_it_is_asked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(remote: object) -> str:
        return "192.0.2.1"

    monkeypatch.setattr("icekit.bench.load.source_address", here)
    result = runner.invoke(app, ["load", "turn:203.0.113.10", *CREDENTIALS, "--i-own-this-server", *LITTLE])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "add --yes" in result.stderr


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_a_person_is_asked(server: RunningServer, answer: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icekit.cli.load.has_terminal", lambda: True)
    result = runner.invoke(app, ["load", url_of(server), *CREDENTIALS, *LITTLE], input=answer)
    assert result.exit_code == code
    said = " ".join(result.stderr.split())
    assert "3 allocations, 10 packets/s of 200 bytes each (48 kbit/s each way), for 0.5 s" in said
    assert "Begin? [y/N]" in said
    assert bool(result.stdout) is (code == 0)
    assert "not begun" in said or code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stun:127.0.0.1"], "STUN server, which has no allocations"),
        (["turn:127.0.0.1"], "--username and --credential"),
        (["turn:127.0.0.1", *CREDENTIALS, "--size", "5000"], "size: found 5000, allowed: 30 to 1200"),
        (["turn:127.0.0.1", *CREDENTIALS, "--allocations", "0"], "allocations: found 0, allowed: 1 to 4000"),
        (["turn:127.0.0.1", *CREDENTIALS, "--max-loss", "101"], "max-loss"),
        (["turn:127.0.0.1", *CREDENTIALS], "add --yes"),
        (["turn:127.0.0.1", "--username", "a\x00b", "--credential", "x", "--yes"], "name"),
    ],
)
def test_usage_errors_exit_2_with_a_sentence(arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ICEKIT_USERNAME", "ICEKIT_CREDENTIAL"):
        monkeypatch.delenv(name, raising=False)
    result = runner.invoke(app, ["load", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert PASSWORD not in result.stderr


def test_a_name_that_does_not_exist_is_no_path() -> None:
    result = runner.invoke(app, ["load", "turn:nobody.invalid", *CREDENTIALS, "--yes"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be resolved" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_gives_everything_back(server: RunningServer, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "icekit", "load", url_of(server), *CREDENTIALS, "--yes", "--json", *PATIENT]
    process = subprocess.Popen(
        [*command, "--allocations", "4", "--duration", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        # As soon as there is traffic to a peer.
        relayed = server.counters.relayed_to_peer
        while server.counters.relayed_to_peer < relayed + 20:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=40)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, stderr
    assert "interrupted; this is what was known by then" in stderr
    document = json.loads(stdout)
    assert (document["verdict"]["code"], document["opened"], document["released"]) == ("INTERRUPTED", 4, 4)
    assert server.core.allocations == 0
