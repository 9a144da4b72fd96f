"""What is told about configured servers, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from icekit.report import Finding, Severity, StageName, TurnReport, to_dict
from icekit.rules_configuration import list_findings, url_finding
from icekit.server_list import read_list
from tests.observations import (
    NOW,
    REFUSED,
    RELAY_OK,
    STUN,
    TURN,
    configured,
    dns,
    observed,
)
from tests.rule_cases import Case, FindingCase, check_case, check_finding_case

HOST_NAME = "turn.example.org"
TURN_A, TURN_B = f"turn:{HOST_NAME}", "turn:other.example"
FAILS, WORKS = replace(REFUSED, url=TURN_A), replace(RELAY_OK, url=TURN_B)

CASES = [
    Case(
        "ICE002",
        "aiortc would ask only the one that fails",
        observed(configured=configured(STUN, TURN_A, TURN_B), turn=(FAILS, WORKS)),
        observed(configured=configured(STUN, TURN_B, TURN_A), turn=(FAILS, WORKS)),
    ),
    Case(
        "ICE002",
        "the one that it asks was not tested",
        observed(configured=configured(STUN, TURN_A, TURN_B), turn=(FAILS, WORKS)),
        observed(configured=configured(STUN, TURN_A, TURN_B), turn=(WORKS,)),
    ),
    Case(
        "ICE002",
        "an address that aiortc cannot read",
        observed(configured=configured("stun:[2001:db8::1]", TURN)),
        observed(configured=configured("stun:192.0.2.1", TURN)),
    ),
    Case(
        "ICE001",
        "no turn URL",
        observed(turn=(), configured=configured(STUN)),
        observed(turn=(), configured=configured(STUN, TURN)),
    ),
    Case(
        "ICE015",
        "five servers",
        observed(configured=configured(TURN, "stun:a.example", "stun:b.example", "stun:c.example", "stun:d.example")),
        observed(configured=configured(TURN, "stun:a.example", "stun:b.example", "stun:c.example", "stun:c.example")),
    ),
    Case(
        "ICE016",
        "credentials that end in ten minutes",
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 600}:bob")),
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 86400}:bob")),
    ),
    Case(
        "ICE016",
        "expired ones are a stage code",
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 1}:bob")),
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) - 600}:bob")),
    ),
    Case(
        "ICE018",
        "no URL",
        observed(configured=configured("turn://turn.example.org")),
        observed(configured=configured("turn:turn.example.org")),
    ),
    Case(
        "ICE018",
        "a host without a dot that does not resolve",
        observed(configured=configured(TURN, "stun:stunserver"), dns=dns("stunserver", error="no such name")),
        observed(configured=configured(TURN, "stun:stunserver"), dns=dns("stunserver", "10.0.0.1")),
    ),
    Case(
        "ICE018",
        "a TURN server that did not resolve has its stage code",
        observed(configured=configured("turn:turnserver"), dns=dns("turnserver", error="no such name")),
        observed(
            configured=configured("turn:turnserver"),
            dns=dns("turnserver", error="no such name"),
            turn=(TurnReport("turn:turnserver", False, StageName.RESOLVE, "TURN-RESOLVE", "no such name"),),
        ),
    ),
    Case(
        "ICE021",
        "a STUN URL with a user name",
        observed(turn=(), configured=configured(STUN, username="bob")),
        observed(turn=(), configured=configured(STUN, username="bob") + configured(TURN)),
    ),
    Case(
        "ICE021",
        "a public STUN server as TURN",
        observed(configured=configured("turn:stun.l.google.com:19302")),
        observed(
            configured=configured("turn:stun.l.google.com:19302"),
            turn=(TurnReport("turn:stun.l.google.com:19302", False, StageName.CHALLENGE, "TURN-NOT-TURN"),),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: Case) -> None:
    check_case(case)


# --- a pasted list ---------------------------------------------------------------------------------------------------

USER = {"username": "bob", "credential": "hunter2"}
CLEAN: list[dict[str, Any]] = [
    {"urls": "stun:stun.example.org"},
    {"urls": [f"turn:{HOST_NAME}", f"turn:{HOST_NAME}?transport=tcp", f"turns:{HOST_NAME}:443"], **USER},
]


def lint(*entries: Any, now: float | None = NOW) -> list[Finding]:
    return list(list_findings(read_list([*entries]), now))


def named(name: str) -> list[Finding]:
    return lint(CLEAN[0], {**CLEAN[1], "username": name})


LIST_CASES = [
    FindingCase("ICE001", "only STUN", lint(CLEAN[0]), lint(*CLEAN)),
    FindingCase("ICE002", "two hosts", lint(*CLEAN, {"urls": "turn:other.example", **USER}), lint(*CLEAN)),
    FindingCase(
        "ICE002",
        "an address in brackets",
        lint(*CLEAN, {"urls": "stun:[2001:db8::1]"}),
        lint(*CLEAN, {"urls": "stun:192.0.2.1"}),
    ),
    FindingCase(
        "ICE002",
        "STUN over TLS alone",
        lint({"urls": "stuns:stun.example.org"}, CLEAN[1]),
        lint(*CLEAN, {"urls": "stuns:stun.example.org"}),
    ),
    FindingCase(
        "ICE002",
        "TURN over DTLS alone",
        lint(CLEAN[0], {"urls": "turns:turn.example.org?transport=udp", **USER}),
        lint(CLEAN[0], {"urls": "turns:turn.example.org?transport=tcp", **USER}),
    ),
    FindingCase("ICE015", "five URLs", lint(*CLEAN, {"urls": "stun:b.example"}), lint(*CLEAN)),
    FindingCase("ICE016", "ended", named(f"{int(NOW) - 1}:bob"), named(f"{int(NOW) + 90_000}:bob")),
    FindingCase("ICE016", "ends soon", named(f"{int(NOW) + 60}:bob"), named("bob")),
    FindingCase("ICE016", "milliseconds", named(f"{int(NOW) + 90_000}000:bob"), named(f"{int(NOW) + 90_000}:bob")),
    FindingCase("ICE018", "no URL", lint(CLEAN[0], {"urls": "turn//x", **USER}), lint(*CLEAN)),
    FindingCase("ICE021", "a known STUN server", lint({"urls": "turn:stun.l.google.com:19302", **USER}), lint(*CLEAN)),
    FindingCase("ICE028", "no credential", lint(CLEAN[0], {"urls": "turn:a.example"}), lint(*CLEAN)),
    FindingCase("ICE028", "url in place of urls", lint({"url": "stun:a.example"}, CLEAN[1]), lint(*CLEAN)),
    FindingCase(
        "ICE028", "a transport that nothing speaks", lint({"urls": "turn:a?transport=x", **USER}), lint(*CLEAN)
    ),
    FindingCase(
        "ICE028", "too long a user name", lint({**USER, "urls": TURN_A, "username": "u" * 510}), named("u" * 509)
    ),
]


@pytest.mark.parametrize("case", LIST_CASES, ids=str)
def test_trigger_and_near_miss_of_a_list(case: FindingCase) -> None:
    check_finding_case(case)


def test_a_modern_list_has_no_finding() -> None:
    assert lint(*CLEAN) == []
    assert lint(*CLEAN, now=None) == []


def test_without_a_clock_nothing_is_said_about_time() -> None:
    assert lint(CLEAN[0], {**CLEAN[1], "username": "1600000000:bob"}, now=None) == []


def test_how_long_ago_credentials_ended() -> None:
    (finding,) = named(f"{int(NOW) - 3 * 86400}:bob")
    assert finding.message == f"The credentials of {int(NOW) - 3 * 86400}:bob ended 3 days ago: a server refuses them."
    assert finding.severity is Severity.ERROR


def test_no_credential_is_ever_shown() -> None:
    entry = {"urls": ["turn:bob:hunter2@turn.example.org", "turn:turn.example.org", "turn:b?transport=x"], **USER}
    assert "hunter2" not in repr(lint(entry, {**entry, "url": "turn:c"}))


def test_bad_url_prints_the_corrected_one() -> None:
    finding = url_finding("turn://turn.example.org")
    assert finding is not None
    assert finding.fix == "Write turn:turn.example.org"
    assert url_finding("turn:turn.example.org") is None


def test_a_password_in_a_url_is_not_repeated() -> None:
    finding = url_finding("turn:bob:hunter2@turn.example.org")
    assert finding is not None
    assert "hunter2" not in str(to_dict(finding))
