"""The forms of a report, and what is hidden in them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from icekit.cli.output import Form, Output, print_probe, print_turn, read_output
from icekit.errors import ConfigError
from icekit.redaction import read_tokens
from icekit.report import Finding, ProbeReport, Severity, from_dict
from icekit.rules_stages import turn_findings
from icekit.servers import IceServer
from tests.cli.reports import BAD, REPORT
from tests.observations import TURN

PASSWORD = "correct horse battery"
SERVER = IceServer(urls="turn:203.0.113.10", username="alice", credential=PASSWORD)
LEAKY = replace(REPORT, findings=(Finding("ICE001", Severity.WARNING, f"alice has {PASSWORD}", "fix"),))


def test_what_the_options_ask_for() -> None:
    assert read_output() == Output(Form.TEXT, False)
    assert read_output(json=True) == Output(Form.JSON, False)
    assert read_output(markdown=True) == Output(Form.MARKDOWN, True)
    assert read_output(html=True) == Output(Form.HTML, True)
    assert read_output(html=True, redact=False) == Output(Form.HTML, False)
    assert read_output(redact=True) == Output(Form.TEXT, True)
    with pytest.raises(ConfigError, match="--json and --html are two forms of one report"):
        read_output(json=True, html=True)


@pytest.mark.parametrize("form", Form)
def test_a_redacted_report_in_every_form(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    print_probe(LEAKY, Output(form, True), [SERVER])
    text = capsys.readouterr().out
    for secret in ("203.0.113.10", "192.168.1.2", "198.51.100.2", "stun.example.org", "alice", PASSWORD):
        assert secret not in text
    for token in ("documentation4-", "private4-A", "name-A", "user-A", "secret-A"):
        assert token in text


def test_an_open_report_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    print_probe(REPORT, Output(Form.JSON, False), [SERVER])
    assert from_dict(ProbeReport, json.loads(capsys.readouterr().out)) == REPORT


def test_a_redacted_report_can_be_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    print_probe(REPORT, Output(Form.JSON, True), [SERVER])
    text, redactor = read_tokens(capsys.readouterr().out)
    report = from_dict(ProbeReport, json.loads(text))
    assert report.verdict == REPORT.verdict
    assert [finding.code for finding in report.findings] == [finding.code for finding in REPORT.findings]
    assert redactor.hide(report.servers[0].url) == "stun:documentation4-A"


@pytest.mark.parametrize("form", [Form.TEXT, Form.JSON, Form.MARKDOWN])
def test_a_turn_report_in_every_form(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    print_turn(BAD, turn_findings(BAD), Output(form, True), SERVER)
    text = capsys.readouterr().out
    assert "203.0.113.10" not in text
    assert "turn:documentation4-A?transport=tcp" in text
    assert TURN.startswith("turn:203.0.113.10")
