"""``icekit probe`` as a person runs it: the JSON contract, the exit codes, and what Ctrl-C leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from icekit.cli import app
from icekit.report import ProbeReport, from_dict

runner = CliRunner()

# DESIGN: fields may be added, not renamed.
CONTRACT = {
    "": "schema duration verdict findings interfaces nat servers dns portmap turn candidates outlook",
    "verdict": "code severity summary",
    "interfaces": "name address class kind",
    "nat.ipv4": "mapping filtering hairpinning port_assignment address_pooling behind_nat udp parity alg cgnat nats "
    "binding_lifetime mapped_addresses reason tests",
    "nat.ipv4.tests": "name sent answered seconds",
    "servers": "url address transport reachable rtt mapped_address behavior_discovery error",
    "turn": "url ok failed_stage code cause lifetime relayed_address rtt stages",
    "turn.stages": "name ok seconds detail",
}


@pytest.fixture(scope="module")
def local() -> dict[str, Any]:
    done = runner.invoke(app, ["probe", "--local", "--json"])
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("path", CONTRACT)
def test_the_json_has_every_field_of_the_contract(local: dict[str, Any], path: str) -> None:
    place: Any = local
    for name in filter(None, path.split(".")):
        place = place[0][name] if isinstance(place, list) else place[name]
    for item in place if isinstance(place, list) else [place]:
        assert CONTRACT[path].split() == [name for name in item if name in CONTRACT[path].split()]


def test_the_embedded_servers_pass_everything(local: dict[str, Any]) -> None:
    assert local["schema"] == "icekit/probe/1"
    assert local["verdict"]["code"] == "OK"
    assert local["findings"] == []
    assert [turn["ok"] for turn in local["turn"]] == [True, True]
    assert {server["reachable"] for server in local["servers"]} == {True}
    nat = local["nat"]["ipv4"]
    assert (nat["udp"], nat["behind_nat"], nat["filtering"]) == (True, False, "endpoint-independent")
    assert (nat["mapping"], nat["reason"]["mapping"]) == (None, "no NAT")
    assert [line.split()[7] for line in local["candidates"]] == ["host", "relay", "relay"]


def test_what_is_printed_can_be_read_back(local: dict[str, Any]) -> None:
    report = from_dict(ProbeReport, local)
    assert str(report.verdict.code) == "OK"


def test_the_text_begins_with_the_verdict_and_names_no_password() -> None:
    done = runner.invoke(app, ["probe", "--local"])
    assert done.exit_code == 0
    assert done.stdout.startswith("OK  The embedded STUN and TURN servers on 127.0.0.1")
    assert "password" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--local", "stun:192.0.2.1"], "--local probes its own servers"),
        (["--local", "--portmap"], "--local sends nothing to the network"),
        (["turn://relay.example.org"], "column 6, host: found '//'"),
        (["turn:relay.example.org"], "needs a username and credential"),
        (["--servers", "/no/such/file"], "/no/such/file: No such file"),
        (["--require", "speed", "--local"], "speed"),
        (["--local", "--lifetime-wait", "4"], "4"),
        (["--local", "--lifetime-wait", "nan"], "nan"),
    ],
)
def test_what_cannot_be_asked_is_exit_code_2(arguments: list[str], sentence: str) -> None:
    done = runner.invoke(app, ["probe", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("urls", "said"),
    [(["stun:127.0.0.1:9", "stun:localhost:9"], True), (["stun:127.0.0.1:9", "stun:192.0.2.1"], False)],
)
def test_servers_of_this_machine_tell_nothing_about_its_network(urls: list[str], said: bool) -> None:
    # Another mistake ends the command before it asks anybody.
    stderr = runner.invoke(app, ["probe", *urls, "--wait", "1"]).stderr
    assert ("the report says nothing about the network" in stderr) is said
    assert "--wait is for the other end" in stderr


def test_a_requirement_that_is_missing_is_exit_code_1() -> None:
    assert runner.invoke(app, ["probe", "--local", "--require", "relay", "--require", "udp"]).exit_code == 0
    assert runner.invoke(app, ["probe", "--local", "--require", "ipv6"]).exit_code == 1


def test_a_closed_port_is_an_answer_and_not_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    done = runner.invoke(app, ["probe", "--json", f"stun:127.0.0.1:{port}"])
    document = json.loads(done.stdout)
    assert done.exit_code == 1
    assert document["verdict"]["code"] == "UNKNOWN"
    assert document["nat"]["ipv4"]["udp"] is None
    server = document["servers"][0]
    assert (server["reachable"], server["error"].split(":")[0]) == (False, "refused")


def test_ctrl_c_prints_what_is_known() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(30)
        url = f"stun:127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "icekit", "probe", "--json", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
            silent.recv(2048)
            # The handler of asyncio is there before the first packet leaves.
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in err
    assert json.loads(out)["schema"] == "icekit/probe/1"
    assert time.monotonic() - began < 20
