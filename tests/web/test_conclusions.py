from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from icekit.catalogue import CODES
from icekit.outlook import PEERS
from icekit.report import PathKind, Severity, VerdictCode
from icekit.web.conclusions import ASKED, NATS, RELAYS, SCHEMA, UDP, catalogue


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    # As a browser reads it.
    read: dict[str, Any] = json.loads(json.dumps(catalogue()))
    return read


def conclusion(found: dict[str, Any], case: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    conclusions = found["conclusions"]
    verdict, outlook = conclusions["by"][case]
    return conclusions["verdicts"][verdict], {item["peer"]: item for item in conclusions["outlooks"][outlook]}


def test_every_code_has_its_texts(found: dict[str, Any]) -> None:
    assert found["schema"] == SCHEMA
    assert found["codes"].keys() == CODES.keys()
    assert found["codes"]["ICE001"]["fix"] == CODES["ICE001"].fix
    assert all(row["severity"] in set(Severity) for row in found["codes"].values())


def test_stages_have_their_texts_by_cause(found: dict[str, Any]) -> None:
    stages = found["stages"]
    assert {code for code in CODES if code.startswith("TURN-")} <= stages.keys()
    assert "expired" in stages["TURN-401/expired"]["message"]
    assert "{number}" in stages["TURN-NUMBER"]["message"]
    assert stages["UNKNOWN"]["message"]


def test_every_case_is_judged(found: dict[str, Any]) -> None:
    for case in product(UDP, NATS, RELAYS, ASKED):
        verdict, outlook = conclusion(found, " ".join(case))
        assert verdict["code"] in set(VerdictCode)
        assert tuple(outlook) == PEERS
        assert {item["path"] for item in outlook.values()} <= set(PathKind)


@pytest.mark.parametrize(
    ("case", "code", "home", "strict"),
    [
        ("yes endpoint-independent udp many", VerdictCode.OK, "direct", "maybe"),
        ("yes none udp many", VerdictCode.OK, "direct", "maybe"),
        ("yes endpoint-independent unset many", VerdictCode.DIRECT_ONLY, "direct", "maybe"),
        ("yes dependent udp many", VerdictCode.RELAY_ONLY, "relay", "relay"),
        ("yes dependent unset many", VerdictCode.DIRECT_ONLY, "none", "none"),
        ("no unknown tls many", VerdictCode.UDP_BLOCKED, "relay", "relay"),
        ("no unknown broken many", VerdictCode.BLOCKED, "none", "none"),
        ("unknown unknown unset offline", VerdictCode.BLOCKED, "none", "none"),
        ("unknown unknown unset one", VerdictCode.UNKNOWN, "maybe", "maybe"),
    ],
)
def test_what_a_browser_may_conclude(found: dict[str, Any], case: str, code: str, home: str, strict: str) -> None:
    verdict, outlook = conclusion(found, case)
    assert verdict["code"] == code
    assert outlook["endpoint-independent"]["path"] == home
    assert outlook["address-and-port-dependent"]["path"] == strict


def test_the_words_are_for_a_browser(found: dict[str, Any]) -> None:
    verdict, _ = conclusion(found, "yes unknown unset one")
    assert "two STUN servers of different operators must answer" in verdict["summary"]
    verdict, _ = conclusion(found, "unknown unknown unset unresolved")
    assert "name" in verdict["summary"]
