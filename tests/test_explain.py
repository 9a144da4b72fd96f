"""What a pasted text is taken for, and what is said about it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icekit.catalogue import CODES
from icekit.explain import UNDERSTOOD, explain
from icekit.explanation import Kind
from icekit.findings import diagnose
from icekit.pasted import MAX_TEXT
from icekit.redaction import Redactor
from icekit.report import VerdictCode, to_dict
from icekit.stage_texts import CAUSES
from icekit.verdict import VERDICTS
from tests.cli.reports import REPORT
from tests.descriptions import ANSWER, OFFER
from tests.explained import HOST, RELAY, SRFLX, facts
from tests.observations import HEALTHY


@pytest.mark.parametrize(
    "text",
    [
        HOST,
        HOST.removeprefix("candidate:"),
        f"a={HOST}",
        f"  a={HOST}\r\n",
        json.dumps(HOST),
        json.dumps({"candidate": HOST}),
        json.dumps({"candidate": HOST, "sdpMid": None, "foundation": "1"}),
        f"\ufeff{HOST}",
    ],
)
def test_every_form_of_a_candidate(text: str) -> None:
    explanation = explain(text)
    assert explanation.kind is Kind.CANDIDATE
    assert explanation.summary == "A host candidate: an address of the device itself."
    assert explanation.canonical == HOST
    assert explanation.understood
    assert explanation.forgiven == ()
    assert facts(explanation) == {
        "type": ("host", ""),
        "address": ("192.168.1.9", "private: only devices in the same network reach it"),
        "port": ("54321", ""),
        "transport": ("udp", ""),
        "component": ("1", "RTP, and everything else where it is multiplexed"),
        "priority": (
            "2130706431",
            (
                "type preference 126, local preference 65535, component 1: "
                "as RFC 8445 with one address (aioice, pion, werift) computes it"
            ),
        ),
        "foundation": ("1", "candidates with the same one are tested together"),
    }


@pytest.mark.parametrize(
    "text", ["", "null", '""', "a=end-of-candidates", "end-of-candidates", '{"candidate": ""}', '{"candidate": null}']
)
def test_end_of_candidates(text: str) -> None:
    explanation = explain(text)
    assert explanation.kind is Kind.END_OF_CANDIDATES
    assert explanation.understood


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_a_page(code: str) -> None:
    explanation = explain(f" {code.lower()}\n")
    assert explanation.kind is Kind.FINDING
    assert explanation.summary == f"{code}: {CODES[code].name}"
    assert {"severity", "true", "fix"} <= facts(explanation).keys()
    assert "{" not in "".join(fact.meaning + fact.value for fact in explanation.facts)


def test_a_code_of_a_stage_has_its_causes() -> None:
    (causes,) = explain("TURN-401").tables
    assert [row[0] for row in causes.rows] == [cause for code, cause in CAUSES if code == "TURN-401"]
    assert "{" not in "".join("".join(row) for row in causes.rows)
    assert explain("ICE009").tables == ()


@pytest.mark.parametrize("text", ["ICE999", "TURN-7", "TURN-299"])
def test_a_code_that_does_not_exist(text: str) -> None:
    explanation = explain(text)
    assert explanation.summary == f"There is no finding {text}."
    assert not explanation.understood


def test_a_server_url() -> None:
    explanation = explain("turns:turn.example.org")
    assert explanation.kind is Kind.SERVER
    assert explanation.understood
    assert facts(explanation)["port"] == ("5349", "the default, because none is written")
    assert facts(explanation)["transport"][0] == "tls"


def test_a_bad_server_url_is_a_finding() -> None:
    explanation = explain("turn://turn.example.org")
    assert not explanation.understood
    assert [finding.code for finding in explanation.findings] == ["ICE018"]


def test_a_transport_that_nothing_speaks() -> None:
    assert explain("turn:turn.example.org?transport=sctp").problem == "the transport sctp is not known"


@pytest.mark.parametrize("text", ["hello", "stun", "{", '{"a": 1}', "[1]", f"{HOST}\nhello", "1.2.3.4:5", "typ host"])
def test_what_is_not_known_is_not_guessed(text: str) -> None:
    explanation = explain(text)
    assert explanation.kind is Kind.UNKNOWN
    assert explanation.problem == "no known pattern"
    assert tuple(fact.value for fact in explanation.facts) == UNDERSTOOD


@pytest.mark.parametrize("code", VerdictCode)
def test_the_word_on_top_of_a_report(code: VerdictCode) -> None:
    meaning, what = VERDICTS[code]
    for text in (code, code.lower(), f" {code}\n"):
        explanation = explain(text)
        assert explanation.summary == f"{code}: {meaning}"
        assert facts(explanation)["what to do"][0] == what
    page = (Path(__file__).parents[1] / "docs" / "probe.md").read_text(encoding="utf-8")
    assert f"| `{code}` | {meaning} | {what} |" in page


def test_a_text_beyond_the_bound() -> None:
    assert explain("x" * (MAX_TEXT + 1)).kind is Kind.UNKNOWN


def test_json_contract() -> None:
    written = to_dict(explain(HOST))
    assert list(written) == [
        *("schema", "kind", "summary", "facts", "forgiven", "canonical", "problem", "pointer", "findings", "tables"),
    ]
    assert written["schema"] == "icekit/explain/1"
    assert written["facts"][0] == {"name": "type", "value": "host", "meaning": ""}
    assert type(written["facts"][0]["value"]) is str


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"a={HOST}\na={SRFLX}", Kind.CANDIDATES),
        (OFFER, Kind.DESCRIPTION),
        (OFFER + ANSWER, Kind.EXCHANGE),
        ("[{urls: 'stun:stun.example.org'}]", Kind.SERVER_LIST),
        (json.dumps(to_dict(diagnose(HEALTHY))), Kind.REPORT),
        ("aioice==0.9.0", Kind.LIBRARIES),
    ],
)
def test_every_sort_reaches_whoever_knows_it(text: str, kind: Kind) -> None:
    explanation = explain(text)
    assert explanation.kind is kind
    assert explanation.understood


def test_broken_versions_are_found() -> None:
    old, new = explain("aioice==0.9.0\naiortc<1.16"), explain("aioice==0.13.0")
    assert [finding.code for finding in old.findings] == ["ICE017", "ICE017"]
    assert facts(old) == {"aioice": ("0.9.0", ""), "aiortc": ("below 1.16", "")}
    assert new.findings == ()


def test_the_time_tells_whether_credentials_have_ended() -> None:
    entry = {"urls": "turn:turn.example.org", "username": "1600000000:bob", "credential": "x"}
    text = json.dumps([entry])
    assert explain(text).findings == ()
    assert [finding.code for finding in explain(text, unix_time=1_600_000_001).findings] == ["ICE016"]


pieces = st.sampled_from(
    [
        HOST,
        SRFLX,
        RELAY,
        OFFER,
        ANSWER,
        '[{"urls":',
        "candidate:",
        "a=",
        "typ",
        "ICE003",
        "turn:",
        '{"candidate":',
        "}",
        "\n",
        '"',
    ]
)
pasted = st.text(max_size=40) | st.lists(pieces | st.text(max_size=5), max_size=6).map("".join)


@settings(max_examples=300, deadline=None)
@given(pasted)
@example('{"candidate": {"candidate": 1}}')
@example("[" * 2000)
@example('{"candidate":' * 3000)
@example('"' + "9" * 5000 + '"')
def test_any_text_has_an_answer(text: str) -> None:
    explanation = explain(text)
    assert explanation.summary
    assert (explanation.problem is None) == explanation.understood
    json.dumps(to_dict(explanation))
    if explanation.canonical is not None and explanation.kind is Kind.CANDIDATE:
        assert explain(explanation.canonical).understood


# A candidate that equals its related address, an exchange, and a report with findings.
FABRICATED = "candidate:842163049 1 udp 1677729535 192.168.1.2 56132 typ srflx raddr 192.168.1.2 rport 56132"


@pytest.mark.parametrize(
    "original", [FABRICATED, HOST, RELAY, SRFLX, OFFER, OFFER + ANSWER, json.dumps(to_dict(REPORT))]
)
def test_a_redacted_text_is_judged_like_the_original(original: str) -> None:
    redactor = Redactor()
    is_report = original.startswith("{")
    hidden = json.dumps(redactor.document(json.loads(original))) if is_report else redactor.hide(original)
    plain, redacted = explain(original), explain(hidden)
    assert [(found.code, found.severity) for found in redacted.findings] == [
        (found.code, found.severity) for found in plain.findings
    ]
    assert redacted.kind is plain.kind
    shown = json.dumps(to_dict(redacted))
    for address in re.findall(r"(?:192\.168|10\.0|8\.8|198\.51)\.[0-9.]+", original):
        assert address not in shown
    # Nor is any address there that only stands for a token.
    assert not re.search(r"\b(?:10\.0|192\.88)\.[0-9]+\.[0-9]+", shown)
