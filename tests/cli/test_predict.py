"""``icekit predict``: what it reads, what it prints, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icekit.cli import app
from icekit.report import (
    Behavior,
    NatReport,
    NatReports,
    ProbeReport,
    ServerReport,
    Severity,
    TurnReport,
    Verdict,
    VerdictCode,
    to_dict,
)
from tests.pages import ROOT, blocks

runner = CliRunner()
TWO_REPORTS = "tests/cli/test_predict.py::test_two_reports"

SDP = """\
v=0
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=candidate:1 1 udp 2130706431 192.168.1.9 5000 typ host
a=candidate:2 1 udp 1694498815 198.51.100.7 6000 typ srflx raddr 192.168.1.9 rport 5000
"""


def report_of(mapping: Behavior, *, relay: bool = False) -> str:
    address = "203.0.113.10:3478"
    report = ProbeReport(
        0.4,
        Verdict(VerdictCode.OK, Severity.OK, "fine"),
        nat=NatReports(NatReport(mapping, Behavior.ADDRESS_AND_PORT_DEPENDENT, udp=True, behind_nat=True)),
        servers=(ServerReport("stun:a", address, "udp", True, 0.04),),
        turn=(TurnReport("turn:a?transport=udp", True, server_address=address),) if relay else (),
    )
    return json.dumps(to_dict(report))


@pytest.fixture
def home(tmp_path: Path) -> str:
    path = tmp_path / "home.json"
    path.write_text(report_of(Behavior.ENDPOINT_INDEPENDENT), encoding="utf-8")
    return str(path)


@pytest.fixture
def office(tmp_path: Path) -> str:
    path = tmp_path / "office.json"
    path.write_text(report_of(Behavior.ADDRESS_AND_PORT_DEPENDENT, relay=True), encoding="utf-8")
    return str(path)


def test_two_reports(home: str, office: str) -> None:
    # As the page shows it, which calls the two reports alice.json and bob.json.
    page = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")
    assert "icekit predict alice.json bob.json --signaling-rtt 60\n" in page
    told = [block.text for block in blocks(ROOT / "docs" / "predict.md") if block.argument == TWO_REPORTS][1]
    result = runner.invoke(app, ["predict", home, office, "--signaling-rtt", "60"], env={"COLUMNS": "300"})
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.replace(home, "alice.json").replace(office, "bob.json") == told


def test_no_path_is_a_no() -> None:
    result = runner.invoke(app, ["predict", "symmetric", "symmetric"], env={"COLUMNS": "80"})
    assert result.exit_code == 1
    assert result.stdout == (
        """\
none: Both NATs use another port for each peer, and no relay works.

A           symmetric
B           symmetric
would help  Give A a TURN server. The path is then relay.
"""
    )


def test_maybe_is_no_failure(tmp_path: Path) -> None:
    offer = tmp_path / "offer.sdp"
    offer.write_text(SDP, encoding="utf-8")
    result = runner.invoke(app, ["predict", str(offer), "port-restricted"], env={"COLUMNS": "300"})
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == (
        "maybe: It depends on what was not measured, the mapping of the NAT of A: a direct path or no path."
    )


def test_the_document_of_json(home: str) -> None:
    result = runner.invoke(app, ["predict", "--json", "open", home])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == "icekit/predict/1"
    assert (document["path"], document["local"], document["remote"]) == ("direct", "host", "srflx")
    assert document["setup"] is None
    assert document["reason"]["setup"] == "the two sides measured no server in common"
    refused = runner.invoke(app, ["predict", "--json", "blocked", home])
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["path"] == "none"


def test_the_matrix() -> None:
    result = runner.invoke(app, ["predict", "--matrix"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == [str(number) for number in range(1, 13)]
    assert lines[1].split() == ["open", "1", *"DDDDDDDDDRR-"]
    assert lines[5].split() == ["symmetric", "5", *"DDDRRRRRRRR-"]
    assert lines[12].split() == ["blocked", "12", *"------------"]
    assert lines[14:] == [
        "D  direct, without any TURN server",
        "R  only through a TURN server (here both ends have one over UDP, and over TLS on",
        "port 443)",
        "-  not even then",
    ]
    cells = json.loads(runner.invoke(app, ["predict", "--matrix", "--json"]).stdout)["cells"]
    assert cells[4] == {"a": "open", "b": "symmetric", "without_turn": "direct", "with_turn": "direct"}
    assert len(cells) == 144


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give two ends, A and B: a report of icekit probe --json, an SDP file or a preset each"),
        (["open"], "give two ends, A and B: a report of icekit probe --json, an SDP file or a preset each"),
        (["open", "nat.json"], "nat.json: there is no such file, and no such preset; there are: open, full-cone"),
        (["open", "symetric"], "symetric: there is no such file, and no such preset; did you mean symmetric?"),
        (["open", "x" * 5000], "there is no such file, and no such preset"),
        (["open", "/"], "predict: /: Is a directory"),
        (["--matrix", "open"], "--matrix is about the presets alone; leave out A, B and --signaling-rtt"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["predict", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"hello", "neither a report of icekit probe --json nor an SDP with a media section"),
        (b"{}", "report.schema: found null, expected 'icekit/probe/1'"),
        (b'{"a": ', "this is no JSON (Expecting value: line 1 column 7 (char 6)); give all that"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_wrong_files_are_one_sentence(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    result = runner.invoke(app, ["predict", str(path), "open"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(path) in result.stderr
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_name_cannot_steer_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "\x1b[31mred").write_text(SDP, encoding="utf-8")
    result = runner.invoke(app, ["predict", "\x1b[31mred", "open"])
    assert "\x1b" not in result.stdout
    assert "'\\x1b[31mred'" in result.stdout
