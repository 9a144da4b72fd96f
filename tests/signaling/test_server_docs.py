"""``docs/signaling-server.md``: its commands run, and its bounds and codes are those of the program."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import trustme
from click.testing import Result
from typer.testing import CliRunner

from icekit.cli import app
from icekit.signaling.room_terms import FaultCode, RoomsConfig
from icekit.signaling.server import SignalingServerConfig
from tests.requirements import require_program

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "signaling-server.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ +((?:icekit|openssl|curl) (?:.*\\\n)*.*)", TEXT, re.MULTILINE)


def command(start: str, **places: str) -> list[str]:
    """The words of the one command of the page that begins so, with other places in it."""
    (found,) = {entry.replace("\\\n", " ") for entry in COMMANDS if entry.startswith(start)}
    for place, instead in places.items():
        assert place in found, place
        found = found.replace(place, instead)
    return shlex.split(found.partition(" > ")[0])


def run(words: list[str]) -> Result:
    """A command of icekit, in this process."""
    assert words[0] == "icekit"
    return CliRunner().invoke(app, words[1:])


def start(words: list[str]) -> subprocess.Popen[str]:
    assert words[0] == "icekit"
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def served(process: subprocess.Popen[str]) -> str:
    """The place where a server says that it is."""
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"wss?://(\S+)/", line)
        if found is not None:
            return found[1]
    raise AssertionError(process.communicate()[1])


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=50)
    assert process.returncode == 0, err


def test_there_is_no_other_command() -> None:
    starts = ("icekit serve --signaling-only", "icekit credentials token", "icekit credentials decode", "openssl rand")
    assert [entry for entry in COMMANDS if not entry.startswith((*starts, "curl http"))] == []
    assert len(COMMANDS) == 9


def test_on_one_machine_and_watching_it() -> None:
    # The bare command would take port 8080, which may be somebody's.
    assert "icekit serve --signaling-only" in COMMANDS
    process = start(["icekit", "serve", "--signaling-only", "--http-port", "0", "--host", "127.0.0.1"])
    try:
        place = served(process)
        for entry in COMMANDS:
            if entry.startswith("curl "):
                url = entry.removeprefix("curl ").replace("127.0.0.1:8080", place)
                with urllib.request.urlopen(url, timeout=30) as answer:
                    text = answer.read().decode()
                if url.endswith("/metrics"):
                    for name in re.findall(r"`(icekit_signaling_\w+)", TEXT):
                        assert f"\n{name}" in text
                else:
                    assert json.loads(text)["status"] == "ok"
        stop(process)
    finally:
        process.kill()
        process.communicate()


def test_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    issued = trustme.CA().issue_cert("127.0.0.1")
    Path("fullchain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    Path("privkey.pem").write_bytes(issued.private_key_pem.bytes())
    words = command("openssl rand")
    words[0] = str(require_program("openssl"))
    Path("room-secret").write_bytes(subprocess.run(words, capture_output=True, timeout=30, check=True).stdout)
    made = run(command("icekit credentials token"))
    assert made.exit_code == 0, made.stderr
    assert run(command("icekit credentials decode", TOKEN=made.stdout.strip())).stdout.startswith("room     lobby\n")
    process = start(command("icekit serve --signaling-only --host", **{"192.0.2.10": "127.0.0.1", " 443 ": " 0 "}))
    try:
        assert served(process).startswith("127.0.0.1:")
        stop(process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("port", ["8080", "8081"])
def test_several_servers(port: str) -> None:
    # Port 9 of this machine is no Redis; a real one is in tests/interop/test_cluster.py.
    done = run(command(f"icekit serve --signaling-only --http-port {port}", **{"6379": "9", port: "0"}))
    assert done.exit_code == 3
    assert done.stderr.startswith("icekit: redis://127.0.0.1:9: no connection to the broker: ")


def test_codes_and_bounds() -> None:
    table = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    assert sorted(code for cell in table for code in re.findall(r"`(.*?)`", cell)) == sorted(FaultCode)
    rooms, server = RoomsConfig(), SignalingServerConfig()
    for bound in (
        f"| {rooms.max_rooms:,}; {rooms.max_members} (`--room-size`) |",
        f"| {server.max_connections:,} |",
        f"| {server.open_seconds:.0f} s |",
        f"| {rooms.max_message >> 20} MB |",
        f"| {rooms.message_rate:.0f} and {int(rooms.byte_rate) >> 20} MB in a second for long,",
        f" {rooms.message_burst:,} and {rooms.byte_burst >> 20} MB at once |",
        f"| {rooms.max_queued >> 20} MB or {rooms.max_queued_lines:,} messages; {rooms.max_queued_total >> 20} MB |",
        f"| {server.ping_seconds:.0f} s, then {server.ping_seconds:.0f} s for an answer |",
        f"keeps its place for {rooms.resume_seconds:.0f} seconds",
    ):
        assert bound in TEXT, bound
