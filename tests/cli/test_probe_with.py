"""``icekit probe --with URL``: two processes, the page in every form, and what cannot be asked."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icekit.cli import app
from icekit.cli.output import Form, Output
from icekit.cli.probe_with import print_two_sided
from icekit.report import ProbeReport, Severity, Verdict, VerdictCode, from_dict
from icekit.signaling.server import serve
from icekit.two_sided import CheckedPair, EndChecks, TwoSidedReport, merge

ROOT = Path(__file__).parents[2]
runner = CliRunner()

A_HOST = "candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host"
B_SRFLX = "candidate:2 1 udp 1694498815 198.51.100.2 6001 typ srflx raddr 192.168.2.2 rport 5001"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "icekit", "probe", "--local", *arguments,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


async def test_two_processes_come_to_the_same() -> None:
    async with serve(port=0) as running:
        url = running.url("lobby")
        ends = [await start("--with", url, "--json"), await start("--with", url, "--json")]
        try:
            async with asyncio.timeout(50):
                said = await asyncio.gather(*(end.communicate() for end in ends))
        finally:
            for end in ends:
                if end.returncode is None:
                    end.kill()
                    await end.wait()
    assert [end.returncode for end in ends] == [0, 0], said
    one, other = (json.loads(out) for out, _ in said)
    assert one["schema"] == "icekit/probe-with/1"
    assert {one.pop("this_side"), other.pop("this_side")} == {"A", "B"}
    assert one == other
    assert (one["path"], one["findings"]) == ("direct", [])
    assert any(path["selected"] for path in one["pairs"])
    assert [error for _, error in said] == [b"", b""]


def report() -> TwoSidedReport:
    probe = ProbeReport(0.5, Verdict(VerdictCode.OK, Severity.OK, "fine\x1b[2J"))
    pair = CheckedPair(local=A_HOST, remote=B_SRFLX, state="failed", checks_sent=6)
    return merge("B", probe, probe, EndChecks(candidates=(A_HOST,), pairs=(pair,)), EndChecks(candidates=(B_SRFLX,)))


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("redact", [False, True])
def test_the_page(form: Form, redact: bool, capsys: pytest.CaptureFixture[str]) -> None:
    print_two_sided(report(), Output(form, redact), ())
    said = capsys.readouterr().out
    words = " ".join(said.replace("&#x27;", "'").replace("\\'", "'").split())
    assert "A sent 6 checks to B's srflx" in words
    assert "B saw none" in words
    assert ("198.51.100.2" in said) is not redact
    assert "\x1b[2J" not in said
    if form is Form.JSON:
        read = from_dict(TwoSidedReport, json.loads(said))
        assert (read.path, read.this_side) == (report().path, "B")
    else:
        assert "This end is B, the other one is A" in words


def test_nobody_comes(tmp_path: Path) -> None:
    done = runner.invoke(app, ["probe", "--local", "--with", f"unix:{tmp_path}/room", "--wait", "0.2"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "icekit: the other end did not come within 0.2 s" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--with", "tcp://127.0.0.1:1", "--require", "relay"),
        ("--with", "tcp://127.0.0.1:1", "--wait", "0"),
        ("--with", "carrier-pigeon:coop"),
        ("--wait", "5"),
    ],
)
def test_what_cannot_be_asked(arguments: tuple[str, ...]) -> None:
    done = runner.invoke(app, ["probe", "--local", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("icekit: ")


@pytest.mark.parametrize("url", ["memory:room", "http://127.0.0.1:1/whip/room", "HTTPS://call.example.org/room-17"])
def test_where_two_ends_do_not_meet(url: str) -> None:
    done = runner.invoke(app, ["probe", "--local", "--with", url])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "write ws://HOST:PORT/ROOM or tcp://HOST:PORT" in done.stderr
