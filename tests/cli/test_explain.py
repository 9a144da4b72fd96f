"""``icekit explain``: where the text comes from, what is printed where, and the exit code."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icekit.cli import app
from icekit.net import Datagram
from icekit.pasted import MAX_TEXT
from icekit.sim.capture import packet_bytes
from tests.test_conversations import ONE, OTHER, check
from tests.test_pcap import pcap

HOST = "candidate:1 1 udp 2130706431 192.168.1.9 54321 typ host"

TESTS = Path(__file__).resolve().parents[1]

runner = CliRunner()


def test_a_candidate_as_text() -> None:
    result = runner.invoke(app, ["explain", HOST], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout == (
        """\
A host candidate: an address of the device itself.

  type        host
  address     192.168.1.9  private: only devices in the same network reach it
  port        54321
  transport   udp
  component   1            RTP, and everything else where it is multiplexed
  priority    2130706431   type preference 126, local preference 65535,
                           component 1: as RFC 8445 with one address (aioice,
                           pion, werift) computes it
  foundation  1            candidates with the same one are tested together
"""
    )


def test_a_page_of_the_table() -> None:
    result = runner.invoke(app, ["explain", "ice003"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert result.stdout == (
        """\
ICE003: mapping-unproven

  severity  warning
  believed  Different ports mean a symmetric NAT.
  true      Different sockets always get different ports. Only one socket that
            asks two server addresses tells.
  fix       Name a second STUN server on another IP address.
  seen in   https://github.com/n0-computer/iroh/issues/3226
  seen in   https://github.com/ccding/go-stun/issues/6
"""
    )


def test_a_mistake_has_a_caret_under_it() -> None:
    result = runner.invoke(app, ["explain", HOST.replace("54321", "99999")], env={"COLUMNS": "40"})
    assert result.exit_code == 1
    # A line with a caret is not wrapped, however narrow the terminal.
    assert result.stdout.splitlines()[-2:] == [HOST.replace("54321", "99999"), f"{' ' * HOST.index('54321')}^"]


def test_quotes_are_not_needed() -> None:
    assert runner.invoke(app, ["explain", *HOST.split()]).stdout == runner.invoke(app, ["explain", HOST]).stdout


def test_a_file_and_stdin(tmp_path: Path) -> None:
    path = tmp_path / "candidate.txt"
    path.write_text(HOST + "\n", encoding="utf-8")
    expected = runner.invoke(app, ["explain", HOST]).stdout
    assert runner.invoke(app, ["explain", str(path)]).stdout == expected
    assert runner.invoke(app, ["explain", "-"], input=HOST).stdout == expected
    assert runner.invoke(app, ["explain"], input=HOST).stdout == expected


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_an_empty_stdin_is_no_end_of_candidates(arguments: list[str]) -> None:
    result = runner.invoke(app, ["explain", *arguments], input=" \n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nothing to explain: stdin is empty" in result.stderr
    assert runner.invoke(app, ["explain", ""]).stdout.startswith("The end of candidates")


@pytest.mark.parametrize("name", ["servers.json", "./logs/call-1.log"])
def test_a_file_that_is_not_there(name: str) -> None:
    result = runner.invoke(app, ["explain", name])
    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, "No known pattern.")
    assert result.stderr == f"icekit: there is no file {name}, so this is about the text itself\n"
    assert runner.invoke(app, ["explain", "hello"]).stderr == ""


def test_two_files_are_read_together(tmp_path: Path) -> None:
    media = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-ufrag:abcd\r\na=ice-pwd:" + "p" * 22 + "\r\n"
    offer, answer = tmp_path / "offer.sdp", tmp_path / "answer.sdp"
    for path, setup in ((offer, "actpass"), (answer, "active")):
        path.write_text(f"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{media}a=setup:{setup}\r\n")
    both = runner.invoke(app, ["explain", str(offer), str(answer), "--json"])
    assert (both.exit_code, json.loads(both.stdout)["kind"]) == (0, "exchange")
    missing = runner.invoke(app, ["explain", str(offer), "missing.sdp"])
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr == "icekit: missing.sdp: No such file or directory\n"


def test_a_file_that_nobody_knows_is_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk\n")
    unknown = runner.invoke(app, ["explain", str(tmp_path / "notes.txt")])
    assert (unknown.exit_code, unknown.stderr) == (1, "")
    folder = runner.invoke(app, ["explain", str(tmp_path)])
    assert (folder.exit_code, folder.stderr) == (1, f"icekit: {tmp_path} is a folder; name a file in it\n")


def test_a_text_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"x" * (MAX_TEXT + 10))
    result = runner.invoke(app, ["explain", str(path)])
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        1,
        f"The text has {MAX_TEXT + 10} characters; at most {MAX_TEXT} are read.",
    )


@pytest.mark.parametrize("text", ["hello", "x" * 5000, "a\0b", "\udcff"])
def test_unknown_text_is_a_no(text: str) -> None:
    result = runner.invoke(app, ["explain", text])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "No known pattern."


def test_the_document_of_json() -> None:
    result = runner.invoke(app, ["explain", "--json", HOST])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == "icekit/explain/1"
    assert document["kind"] == "candidate"
    assert document["canonical"] == HOST
    refused = runner.invoke(app, ["explain", "--json", "turn://turn.example.org"])
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["findings"][0]["code"] == "ICE018"


def test_a_terminal_without_input_is_asked_for_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icekit.cli.explain.sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    from icekit.cli.explain import _read
    from icekit.errors import ConfigError

    with pytest.raises(ConfigError, match="nothing to explain; give a text, a file, or -"):
        _read(None)


def test_escapes_of_a_terminal_are_shown_not_obeyed() -> None:
    result = runner.invoke(app, ["explain", json.dumps({"candidate": HOST, "sdpMid": "\x1b[31mred\u202e"})])
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "\\x1b[31mred\\u202e" in result.stdout


def test_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "icekit", "explain", HOST]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("A host candidate: an address of the device itself.\n")
    assert "\x1b" not in done.stdout


def test_a_capture_and_a_compressed_dump_are_files(tmp_path: Path) -> None:
    capture = tmp_path / "call.pcap"
    capture.write_bytes(pcap(packet_bytes(Datagram(ONE, OTHER, check(1)))))
    result = runner.invoke(app, ["explain", str(capture)])
    assert result.exit_code == 0
    assert result.stdout.startswith("A capture of 1 conversation: 1 check, nothing came back.")
    dump = tmp_path / "webrtc_internals_dump.gz"
    dump.write_bytes(gzip.compress((TESTS / "webrtc_internals.json").read_bytes()))
    result = runner.invoke(app, ["explain", str(dump)])
    assert result.stdout.startswith("Statistics of a browser: 2 of 2 connections came up.")
    dump.write_bytes(b"\x1f\x8b and no more")
    result = runner.invoke(app, ["explain", str(dump)])
    assert (result.exit_code, "compressed with gzip and damaged" in result.stderr) == (2, True)
