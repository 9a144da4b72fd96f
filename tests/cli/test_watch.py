"""``icekit watch`` as an operator runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from icekit.allocation import TurnServerConfig
from icekit.cli.watch import Nagios, nagios, status_line
from tests.cli.serving import serving
from tests.watch.test_metrics import ANSWER, BAD, GOOD

DAY = 86_400.0
TURN = TurnServerConfig(users={"alice": "correct horse"}, relay_ipv4="127.0.0.1", allow_peers=("127.0.0.0/8",))


def fleet(tmp_path: Path, url: str, credential: str = "correct horse") -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(
        f'interval = 1\n[[server]]\nname = "local"\nurl = "{url}"\nusername = "alice"\ncredential = "{credential}"\n'
    )
    return path


def icekit(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "icekit", "watch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_once_prints_a_line_and_exits_as_nagios_wants(tmp_path: Path) -> None:
    with serving(TURN) as server:
        url = f"turn:{server.udp[0]}"
        good = icekit(fleet(tmp_path, url), "--once")
        assert (good.returncode, good.stderr) == (0, "")
        assert good.stdout.startswith("ICEKIT OK - 1 of 1 servers work | 'local'=0.")
        bad = icekit(fleet(tmp_path, url, "wrong one"), "--once")
        assert bad.returncode == 2
        assert "ICEKIT CRITICAL - 0 of 1 servers work; local TURN-401 (wrong) | 'local'=" in bad.stdout
        document = json.loads(icekit(tmp_path / "fleet.toml", "--once", "--json").stdout)
        assert (document["schema"], document["state"]) == ("icekit/watch/1", "CRITICAL")
        assert document["results"][0]["turn"]["code"] == "TURN-401"
        metrics = icekit(fleet(tmp_path, url), "--once", "--openmetrics").stdout
        assert f'icekit_up{{name="local",url="{url}"}} 1.0' in metrics
    for text in (good, bad):
        assert "correct horse" not in text.stdout
        assert "wrong one" not in text.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "icekit: none.toml: No such file or directory"),
        (["none.toml", "--openmetrics"], "icekit: --openmetrics prints one set of metrics: it needs --once"),
    ],
)
def test_usage(arguments: list[str], message: str) -> None:
    done = icekit(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stdout == ""


def test_a_mistake_in_the_file_is_no_server_that_is_down(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text("[[server]]\n")
    done = icekit(str(path), "--once")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == f'ICEKIT UNKNOWN - {path}: server[0].url: is missing; write url = "turn:turn.example.org"\n'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_for_ever_with_metrics_over_http_until_it_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    with serving(TURN) as server:
        path = fleet(tmp_path, f"turn:{server.udp[0]}")
        command = [sys.executable, "-m", "icekit", "watch", str(path), "--listen", "127.0.0.1:0", "--json"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            line = process.stderr.readline()
            assert line.startswith("metrics at http://127.0.0.1:")
            results = [json.loads(process.stdout.readline()) for _ in range(2)]
            with urllib.request.urlopen(line.split()[-1], timeout=10) as answer:
                families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
    assert [result["code"] for result in results] == ["OK", "OK"]
    assert families["icekit_up"].samples[0].value == 1.0
    assert process.returncode == 130
    assert "Traceback" not in err


def test_where_the_metrics_cannot_be(tmp_path: Path) -> None:
    path = fleet(tmp_path, "stun:127.0.0.1:9")
    done = icekit(str(path), "--listen", "9470")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "icekit: --listen: '9470' is no HOST:PORT; write an address such as 127.0.0.1:9470\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = icekit(str(path), "--listen", where)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"icekit: --listen {where}: address already in use; choose another address or port\n"


def test_the_state_is_that_of_the_worst_server() -> None:
    assert nagios(GOOD, 14 * DAY) is Nagios.OK
    assert nagios(BAD, 14 * DAY) is Nagios.CRITICAL
    line = status_line([GOOD, ANSWER, BAD], DAY)
    assert line == (
        "ICEKIT CRITICAL - 2 of 3 servers work; frankfurt TURN-401 (expired) | "
        "'frankfurt'=0.100s 'stun'=0.020s 'frankfurt'=0.500s"
    )


def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    from dataclasses import replace

    soon = replace(GOOD, certificate_expires=GOOD.at + 3 * DAY)
    assert nagios(soon, 14 * DAY) is Nagios.WARNING
    assert nagios(soon, 2 * DAY) is Nagios.OK
    assert "frankfurt its certificate ends in 3 days" in status_line([soon], 14 * DAY)
