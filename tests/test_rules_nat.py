"""What is told about NATs, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from icekit.report import Pooling
from tests.observations import (
    ANSWER,
    EI,
    NAT,
    STUN,
    observed,
    server,
)
from tests.rule_cases import Case, check_case

CASES = [
    Case(
        "ICE003",
        "one server address",
        observed(replace(NAT, mapping=None, reason={"mapping": "only one server address answered"})),
        observed(replace(NAT, mapping=None, behind_nat=False, reason={"mapping": "no NAT"})),
    ),
    Case(
        "ICE003",
        "nothing known about a network that blocks UDP is no unproven mapping",
        observed(replace(NAT, mapping=None, behind_nat=None)),
        observed(replace(NAT, mapping=None, behind_nat=None, udp=False)),
    ),
    Case(
        "ICE004",
        "no OTHER-ADDRESS",
        observed(replace(NAT, filtering=None, reason={"filtering": "server 203.0.113.10 has no OTHER-ADDRESS"})),
        observed(replace(NAT, filtering=None, udp=False)),
    ),
    Case(
        "ICE007",
        "a public server saw a private address",
        observed(servers=(replace(ANSWER, mapped_address="100.64.3.4:40112"),)),
        observed(servers=(server(STUN, "10.0.0.1:3478", mapped_address="10.0.0.2:40112"),)),
    ),
    Case(
        "ICE007",
        "two servers disagree",
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.77:40112"))),
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.2:50000"))),
    ),
    Case(
        "ICE007",
        "a pool of addresses explains a disagreement",
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.77:40112"))),
        observed(
            replace(NAT, address_pooling=Pooling.ARBITRARY),
            servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.77:40112")),
        ),
    ),
    Case(
        "ICE007",
        "a carrier's NAT",
        observed(replace(NAT, cgnat=True)),
        observed(replace(NAT, cgnat=False)),
    ),
    Case(
        "ICE022",
        "the server saw the host's own address",
        observed(replace(NAT, mapping=None, behind_nat=False, filtering=EI)),
        observed(replace(NAT, behind_nat=None)),
    ),
    Case("ICE020", "rewritten", observed(replace(NAT, alg=True)), observed(replace(NAT, alg=False))),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: Case) -> None:
    check_case(case)
