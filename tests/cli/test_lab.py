"""``icekit lab``: exit codes, what it says, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from icekit.cli import app
from icekit.cli.lab import read_seconds, read_share
from icekit.errors import ConfigError
from icekit.lab import remove_all
from icekit.lab.tun_lab import nat_names
from tests.requirements import require_linux

REPOSITORY = Path(__file__).parent.parent.parent
LAB = [sys.executable, "-m", "icekit", "lab"]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LAB, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=90)


def start(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*LAB, *arguments], cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def left_of(pid: int) -> list[str]:
    return [path.name for folder in ("/run/netns", "/etc/netns") for path in Path(folder).glob(f"icekit-{pid}-*")]


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize(
    ("text", "seconds"), [("25ms", 0.025), ("0.1s", 0.1), ("2 s", 2.0), ("0ms", 0.0), ("0", 0.0), ("0.0", 0.0)]
)
def test_times(text: str, seconds: float) -> None:
    assert read_seconds("--delay", text) == seconds


@pytest.mark.parametrize("text", ["25", "0.1"])
def test_a_time_without_a_unit(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--delay: '{text}' has no unit; write {text}ms or {text}s$"):
        read_seconds("--delay", text)


@pytest.mark.parametrize("text", ["", "-1ms", "1m", "ms"])
def test_no_times(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--delay: .* is no time; write 25ms or 0\.1s$"):
        read_seconds("--delay", text)


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("100%", 1.0), ("0", 0.0)])
def test_shares(text: str, share: float) -> None:
    assert read_share("--loss", text) == share


@pytest.mark.parametrize("text", ["5", "101%", "", "-1%", "%"])
def test_no_shares(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--loss: .* is no share of the packets; write 5% or 0\.05$"):
        read_share("--loss", text)


def test_the_list() -> None:
    listed = CliRunner().invoke(app, ["lab", "list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(nat_names())
    assert list(json.loads(CliRunner().invoke(app, ["lab", "list", "--json"]).stdout)["nats"]) == list(nat_names())


@pytest.mark.parametrize(
    "arguments", [["run", "--nat", "symmetric", "--", "true"], ["up", "open"], ["down"], ["down", "--all"]]
)
def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    require_linux()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(app, ["lab", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == 'icekit: making network namespaces needs root: run it with sudo "$(command -v icekit)" …\n'


def test_elsewhere_than_on_linux_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    done = CliRunner().invoke(app, ["lab", "run", "--nat", "open", "true"])
    assert (done.exit_code, done.stderr) == (2, "icekit: network namespaces need Linux, this is darwin\n")


def test_a_nat_that_is_none() -> None:
    done = CliRunner().invoke(app, ["lab", "run", "--nat", "symetric", "true"])
    assert done.exit_code == 2
    assert done.stderr.startswith("icekit: 'symetric' is no NAT; did you mean symmetric?")


@pytest.mark.netns
def test_a_program_that_is_not_there() -> None:
    done = lab("run", "--nat", "open", "--", "no-such-program")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "icekit: there is no program no-such-program; write its path, or install it\n",
    )


@pytest.mark.netns
def test_a_probe_needs_no_arguments_inside() -> None:
    command = [sys.executable, "-m", "icekit", "probe", "--json"]
    done = lab("run", "--nat", "symmetric", "--delay", "20ms", "--seed", "1", "--", *command)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["verdict"]["code"], report["nat"]["ipv4"]["mapping"]) == (
        "RELAY-ONLY",
        "address-and-port-dependent",
    )
    assert [item["ok"] for item in report["turn"]] == [True, True, True]
    assert all(item["rtt"] >= 0.04 for item in report["servers"] if item["rtt"] is not None)


@pytest.mark.netns
@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_commands_own(script: str, code: int) -> None:
    process = start("run", "--nat", "open", "--", "sh", "-c", script)
    with process:
        assert (process.wait(60), left_of(process.pid)) == (code, [])


@pytest.mark.netns
def test_ctrl_c_is_for_the_command() -> None:
    script = "trap 'echo stopped; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    with start("run", "--nat", "cgnat", "--", "sh", "-c", script) as process:
        assert read_line(process) == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert (read_line(process), process.wait(60), left_of(process.pid)) == ("stopped\n", 5, [])


@pytest.mark.netns
@pytest.mark.parametrize("arguments", [("run", "--nat", "cgnat", "--", "sh", "-c", "echo ready; sleep 600")])
def test_termination_ends_the_command(arguments: tuple[str, ...]) -> None:
    with start(*arguments) as process:
        assert read_line(process) == "ready\n"
        process.terminate()
        assert (process.wait(60), left_of(process.pid)) == (143, [])


def up(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = start("up", *arguments, "--json")
    return process, json.loads(read_line(process))


@pytest.mark.netns
def test_ctrl_c_ends_what_stays_up() -> None:
    process, ready = up("symmetric", "port-restricted")
    with process:
        assert [item["nat"] for item in ready["clients"]] == ["symmetric", "port-restricted"]
        assert {item["namespace"] for item in ready["clients"]} < set(left_of(process.pid))
        inside = ["ip", "netns", "exec", ready["clients"][1]["namespace"]]
        answer = subprocess.run(
            [*inside, sys.executable, "-m", "icekit", "turn", "turn:203.0.113.10?transport=udp"],
            cwd=REPOSITORY,
            env=os.environ | {"ICEKIT_USERNAME": ready["username"], "ICEKIT_CREDENTIAL": ready["credential"]},
            check=False,
            capture_output=True,
        )
        assert answer.returncode == 0
        process.send_signal(signal.SIGINT)
        assert (process.wait(60), left_of(process.pid)) == (0, [])


@pytest.mark.netns
def test_down_ends_it() -> None:
    process, _ = up("open")
    with process:
        # Others may keep laboratories on this machine.
        done = lab("down", str(process.pid), "--json")
        assert json.loads(done.stdout) == {"schema": "icekit/lab-down/1", "stopped": [process.pid], "removed": []}
        assert (process.wait(60), left_of(process.pid)) == (0, [])


@pytest.mark.netns
def test_detached_it_is_there_when_the_command_returns() -> None:
    done = lab("up", "kernel:masquerade", "--detach")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("kernel:masquerade  192.168.77.2     ip netns exec icekit-")
    pid = int(lines[0].split("icekit-")[1].split("-")[0])
    assert lines[-1] == f"Ready. Ctrl-C ends it, or icekit lab down {pid} in another terminal."
    assert len(left_of(pid)) > 0
    assert lab("down", str(pid)).stdout == f"ended     the laboratory of process {pid}\n"
    assert left_of(pid) == []


@pytest.mark.netns
def test_what_a_crash_left_is_removed() -> None:
    process, _ = up("kernel:masquerade+cgnat", "firewall")
    with process:
        process.kill()
    assert left_of(process.pid) != []
    # The number is that of a process that is gone, so no laboratory that lives is ended.
    done = lab("down", str(process.pid), "--all", "--json")
    assert {name for name in json.loads(done.stdout)["removed"] if name.startswith(f"icekit-{process.pid}-")} != set()
    assert left_of(process.pid) == []
    assert not any(name.startswith(f"icekit-{process.pid}-") for name in remove_all())
