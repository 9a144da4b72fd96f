"""``icekit gather`` as a person runs it, with our own server on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from icekit.aio.server import RunningServer
from icekit.candidate import Candidate
from icekit.cli import app
from icekit.cli.gather import _summary
from icekit.gathering_events import LocalAddressFailed, ServerFailed, gather_report
from icekit.net import SocketFailure
from icekit.server import TurnServerConfig
from tests.cli.serving import serving

PASSWORD = "do-not-print-me"
CREDENTIALS = ["--username", "alice", "--credential", PASSWORD]
LOCAL = ["--local-address", "127.0.0.1"]

runner = CliRunner()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(TurnServerConfig(users={"alice": PASSWORD}, relay_ipv4="127.0.0.1")) as running:
        yield running


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a UDP port that takes everything and answers nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"stun:127.0.0.1:{bound.getsockname()[1]}"


def test_the_text(server: RunningServer) -> None:
    stun, turn, tcp = server.urls()
    result = runner.invoke(app, ["gather", stun, turn, tcp, *CREDENTIALS, *LOCAL])
    assert (result.exit_code, result.stderr) == (0, "")
    text = re.sub(r" *\d+\.\d ms", "N ms", result.stdout)
    text = re.sub(r"(loopback +)127\.0\.0\.1:\d+ *", r"\g<1>127.0.0.1:PORT ", text)
    lines = text.splitlines()
    assert lines[0] == "N ms  host   loopback       127.0.0.1:PORT "
    assert sorted(lines[1:3]) == [
        f"N ms  relay  loopback       127.0.0.1:PORT from 127.0.0.1 by {tcp}",
        f"N ms  relay  loopback       127.0.0.1:PORT from 127.0.0.1 by {turn}",
    ]
    assert lines[3] == ""
    assert re.fullmatch(r"There is no NAT between 127\.0\.0\.1 and .*\.", lines[4])
    assert lines[5] == "3 candidates (1 host, 0 srflx, 2 relay); 3 of 3 servers work;N ms"
    assert len(lines) == 6
    assert PASSWORD not in result.stdout
    assert server.core.allocations == 0


def test_the_document(server: RunningServer) -> None:
    _, turn, _ = server.urls()
    result = runner.invoke(app, ["gather", "--json", turn, *CREDENTIALS, *LOCAL])
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert (document["schema"], document["complete"]) == ("icekit/gather/1", True)
    assert [item["type"] for item in document["candidates"]] == ["host", "relay"]
    for item in document["candidates"]:
        assert str(Candidate.parse(item["candidate"])) == item["candidate"]
        assert item["class"] == "loopback"
        assert 0 <= item["seconds"] <= document["duration"]
    [asked] = document["servers"]
    assert (asked["url"], asked["outcome"], asked["error"]) == (turn, "answered", None)
    assert asked["mapped_address"] == asked["base"] == document["candidates"][0]["base"]


def test_a_wrong_password_is_a_no(server: RunningServer) -> None:
    _, turn, _ = server.urls()
    result = runner.invoke(app, ["gather", turn, "--username", "alice", "--credential", "wrong", *LOCAL])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[2] == (
        f"{turn} failed from 127.0.0.1: 401 Unauthenticated: the user name or the password is wrong, or has expired."
    )
    assert result.stdout.splitlines()[3].startswith("1 candidate (1 host, 0 srflx, 0 relay); 0 of 1 server works; ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["turn:192.0.2.1"], "turn:192.0.2.1 needs a username and credential"),
        (["stun:192.0.2.1", "--local-address", "eth0"], "'eth0' is no IP address; name one of this host's own"),
        (["stun://192.0.2.1"], "column 6"),
    ],
)
def test_bad_usage_is_one_sentence(arguments: list[str], text: str) -> None:
    result = runner.invoke(app, ["gather", *arguments], env={"ICEKIT_USERNAME": None, "ICEKIT_CREDENTIAL": None})
    assert (result.exit_code, result.stdout) == (2, "")
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_address_of_another_host() -> None:
    result = runner.invoke(app, ["gather", "stun:127.0.0.1:9", "--local-address", "192.0.2.77"])
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "",
        "192.0.2.77 cannot be used: it is no address of this host.",
        "stun:127.0.0.1:9 failed from 192.0.2.77: the local address cannot be used.",
        result.stdout.splitlines()[-1],
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_ctrl_c_prints_what_is_known_and_releases(server: RunningServer, silent: str, option: list[str]) -> None:
    _, turn, _ = server.urls()
    command = [sys.executable, "-m", "icekit", "gather", turn, silent, *CREDENTIALS, *LOCAL, *option]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if option:
            # The document comes at the end; the allocation is what shows that there is something to interrupt.
            while not server.core.allocations:
                assert process.poll() is None
                os.sched_yield()
        else:
            assert process.stdout is not None
            first = [process.stdout.readline() for _ in range(2)]
            assert [line.split()[2] for line in first] == ["host", "relay"]
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, stderr
    if option:
        document = json.loads(stdout)
        assert document["complete"] is False
        assert document["candidates"][0]["type"] == "host"
    else:
        assert stdout.rstrip().endswith(", interrupted")
    assert server.core.allocations == 0


def test_a_port_range_is_used_and_said_when_it_is_exhausted(server: RunningServer) -> None:
    stun = server.urls()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = runner.invoke(app, ["gather", stun, *LOCAL, "--port-range", f"{port}-{port}"])
    assert result.exit_code == 1
    wanted = f"127.0.0.1 cannot be used: all UDP ports from {port} to {port} are in use; widen the port range"
    assert wanted in result.stdout
    result = runner.invoke(app, ["gather", "--json", stun, *LOCAL, "--port-range", "20000-20999"])
    assert result.exit_code == 0
    host, _, used = json.loads(result.stdout)["candidates"][0]["base"].rpartition(":")
    assert (host, 20000 <= int(used) <= 20999) == ("127.0.0.1", True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--port-range", "50000"], "--port-range wants FIRST-LAST"),
        (["--port-range", "60000-50000"], "port range 60000 to 50000: give the first and the last port"),
        (["--interface", "lo"], "the filters leave no local address; this host has"),
        (["--interface", "eth*", *LOCAL], "--interface chooses among all addresses"),
    ],
)
def test_options_that_make_no_sense(arguments: list[str], error: str) -> None:
    result = runner.invoke(app, ["gather", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert error in " ".join(result.stderr.split())


def test_one_sentence_for_each_failed_server() -> None:
    events = [
        LocalAddressFailed("10.0.0.1", SocketFailure.DENIED, 0.0),
        ServerFailed("stun:192.0.2.1", None, "10.0.0.2", "no answer", 5.0),
        ServerFailed("stun:192.0.2.1", None, "10.0.0.3", "no answer", 5.1),
        ServerFailed("turn:192.0.2.2", None, None, "\x1b[31m500", 5.25),
    ]
    assert _summary(gather_report(events), ["stun:192.0.2.1", "stun:192.0.2.3"]).splitlines() == [
        "",
        "10.0.0.1 cannot be used: the system does not allow a UDP socket there.",
        "stun:192.0.2.1 failed from 10.0.0.2, 10.0.0.3: no answer.",
        "turn:192.0.2.2 failed: \\x1b[31m500.",
        "stun:192.0.2.3 had not answered by then.",
        "0 candidates (0 host, 0 srflx, 0 relay); 0 of 3 servers work; 5250.0 ms, interrupted",
    ]
