"""What is told about gathered candidates, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icekit.report import StageName, TurnReport
from tests.observations import (
    RELAY_OK,
    TURN,
    observed,
    relay_line,
    srflx,
)
from tests.rule_cases import Case, check_case

CASES = [
    Case(
        "ICE006",
        "a private relayed address from a public server",
        observed(turn=(replace(RELAY_OK, server_address="203.0.113.10:3478"),), candidates=(relay_line("10.0.0.5"),)),
        observed(turn=(replace(RELAY_OK, server_address="10.0.0.1:3478"),), candidates=(relay_line("10.0.0.5"),)),
    ),
    Case(
        "ICE006",
        "a loopback server may relay on loopback",
        observed(turn=(replace(RELAY_OK, server_address="192.168.1.9:3478"),), candidates=(relay_line("127.0.0.1"),)),
        observed(turn=(replace(RELAY_OK, server_address="127.0.0.1:3478"),), candidates=(relay_line("127.0.0.1"),)),
    ),
    Case(
        "ICE006",
        "what a stage code says is not said again",
        observed(turn=(replace(RELAY_OK, server_address="203.0.113.10:3478"),), candidates=(relay_line("10.0.0.5"),)),
        observed(
            turn=(
                TurnReport(
                    TURN,
                    False,
                    StageName.RELAY_ADDRESS,
                    "TURN-RELAY-PRIVATE",
                    relayed_address="10.0.0.5:50012",
                    server_address="203.0.113.10:3478",
                ),
            ),
            candidates=(relay_line("10.0.0.5"),),
        ),
    ),
    Case(
        "ICE019",
        "srflx equal to its related address",
        observed(candidates=(srflx("198.51.100.2", "198.51.100.2"),)),
        observed(candidates=(srflx("198.51.100.2", "192.168.1.2"),)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: Case) -> None:
    check_case(case)
