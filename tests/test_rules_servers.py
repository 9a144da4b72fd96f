"""What is told about answers of servers, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from icekit.findings import diagnose
from icekit.report import NatReport, ServerReport, StageName, StageResult, TurnReport
from tests.observations import (
    ANSWER,
    RELAY_OK,
    RELAY_TCP_OK,
    SILENT,
    STUN,
    TURN,
    TURN_TCP,
    TURNS,
    dns,
    observed,
    server,
)
from tests.rule_cases import Case, check_case

TLS_URL = "stuns:stun.example.org"


def stuns(error: str, **changes: Any) -> tuple[ServerReport, ...]:
    values: dict[str, Any] = {"reachable": False, "rtt": None, "error": error} | changes
    return (ANSWER, server(TLS_URL, "192.0.2.9:5349", "tls", **values))


CASES = [
    Case(
        "ICE008",
        "another address of the server answers",
        observed(servers=(ANSWER, server(STUN, "[2001:db8::1]:3478", reachable=False, error="timeout"))),
        observed(servers=(SILENT, server(STUN, "[2001:db8::1]:3478", reachable=False, error="timeout"))),
    ),
    Case(
        "ICE008",
        "another server of the kind answers",
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", reachable=False))),
        observed(servers=(ANSWER, server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False))),
    ),
    Case(
        "ICE008",
        "an attempt on another port is no failed entry",
        observed(servers=(ANSWER, server("stun:192.0.2.7:3478", "192.0.2.7:3478", reachable=False))),
        observed(servers=(ANSWER, server("stun:192.0.2.7:3478", "192.0.2.7:443", "tcp", reachable=False))),
    ),
    Case(
        "ICE010", "wrong name", observed(servers=stuns("tls-name: for other.org")), observed(servers=stuns("timeout"))
    ),
    Case("ICE010", "expired", observed(servers=stuns("tls-expired")), observed(servers=stuns("", reachable=True))),
    Case(
        "ICE023",
        "plain text on the TLS port",
        observed(servers=stuns("not-tls")),
        observed(servers=stuns("tls-expired")),
    ),
    Case(
        "ICE024",
        "the only relay is over TCP",
        observed(turn=(RELAY_TCP_OK,)),
        observed(turn=(RELAY_TCP_OK, RELAY_OK)),
    ),
    Case(
        "ICE011",
        "0.0.0.0",
        observed(dns=dns("stun.example.org", "0.0.0.0")),
        observed(dns=dns("localhost", "127.0.0.1")),
    ),
    Case(
        "ICE011",
        "a literal is never a sinkhole",
        observed(dns=dns("stun.example.org", "192.0.2.1")),
        observed(dns=dns("192.0.2.1", "192.0.2.1")),
    ),
    Case(
        "ICE011",
        "a private address is a server in the own network",
        observed(dns=dns("stun.example.org", "::1")),
        observed(dns=dns("stun.example.org", "10.0.0.1")),
    ),
    Case(
        "ICE011",
        "a laboratory's STUN server answers on a documentation address",
        observed(dns=dns("stun.example.org", "192.0.2.7"), servers=(server("stun:192.0.2.8", "192.0.2.8:3478"),)),
        observed(
            dns=dns("stun.example.org", "192.0.2.7"),
            servers=(replace(ANSWER, address="192.0.2.7:3478", mapped_address="198.51.100.2:40112"),),
        ),
    ),
    Case(
        "ICE012",
        "one server costs more than a second",
        observed(servers=(replace(ANSWER, seconds=0.02), server("stun:192.0.2.7", "192.0.2.7:3478", seconds=4.9))),
        observed(servers=(replace(ANSWER, seconds=2.0), server("stun:192.0.2.7", "192.0.2.7:3478", seconds=4.9))),
    ),
    Case(
        "ICE012",
        "slow DNS",
        observed(dns=dns("stun.example.org", "8.8.8.8", seconds=1.0)),
        observed(dns=dns("stun.example.org", "8.8.8.8", seconds=0.99)),
    ),
    Case(
        "ICE012",
        "a relay that is slow to set up",
        observed(
            turn=(
                RELAY_OK,
                replace(RELAY_TCP_OK, stages=(StageResult(StageName.CONNECT, True, 1.5),)),
            )
        ),
        observed(turn=(RELAY_OK, replace(RELAY_TCP_OK, stages=(StageResult(StageName.ECHO, True, 1.5),)))),
    ),
    Case(
        "ICE013",
        "every path is slow",
        observed(servers=(replace(ANSWER, rtt=0.41),), turn=(replace(RELAY_OK, rtt=0.9),)),
        observed(servers=(replace(ANSWER, rtt=0.4),), turn=(replace(RELAY_OK, rtt=0.4),)),
    ),
    Case(
        "ICE013",
        "the relay is slow",
        observed(turn=(replace(RELAY_OK, rtt=0.41),)),
        observed(turn=(replace(RELAY_OK, rtt=0.41), replace(RELAY_TCP_OK, rtt=0.1))),
    ),
    Case(
        "ICE016",
        "a lifetime of less than 300 s",
        observed(turn=(replace(RELAY_OK, lifetime=299),)),
        observed(turn=(replace(RELAY_OK, lifetime=300),)),
    ),
    Case(
        "ICE008",
        "a TURN server with a stage code needs no second finding",
        observed(
            servers=(server(TURN, "203.0.113.10:3478"), server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False))
        ),
        observed(
            servers=(server(TURN, "203.0.113.10:3478"), server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False)),
            turn=(RELAY_OK, TurnReport("turn:192.0.2.7", False, StageName.CHALLENGE, "TURN-NO-ANSWER")),
        ),
    ),
    Case(
        "ICE008",
        "where UDP is blocked the verdict speaks",
        observed(
            servers=(
                server(TURN_TCP, "203.0.113.10:3478", "tcp"),
                server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False),
            )
        ),
        observed(
            NatReport(udp=False),
            turn=(RELAY_TCP_OK,),
            servers=(
                server(TURN_TCP, "203.0.113.10:3478", "tcp"),
                server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False),
            ),
        ),
    ),
    Case(
        "ICE011",
        "a TURN server that did not resolve has its stage code",
        observed(dns=dns("turn.example.org", "0.0.0.0")),
        observed(
            dns=dns("turn.example.org", "0.0.0.0"),
            turn=(RELAY_OK, TurnReport(TURNS, False, StageName.RESOLVE, "TURN-RESOLVE", "sinkhole")),
        ),
    ),
    Case(
        "ICE012",
        "where UDP is blocked every UDP entry is slow",
        observed(servers=(replace(ANSWER, seconds=0.02), server("stun:192.0.2.7", "192.0.2.7:3478", seconds=4.9))),
        observed(
            NatReport(udp=False),
            turn=(RELAY_TCP_OK,),
            servers=(server(TURN_TCP, "203.0.113.10:3478", "tcp", seconds=0.02), replace(SILENT, seconds=4.9)),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: Case) -> None:
    check_case(case)


def test_slow_name_servers_are_one_finding_and_not_the_entry_s_fault() -> None:
    slow = replace(RELAY_TCP_OK, url=TURNS, stages=(StageResult(StageName.RESOLVE, True, 5.0),))
    questions = (*dns("turn.example.org", seconds=5.0), *dns("stun.example.org", seconds=2.5))
    (finding,) = diagnose(observed(dns=questions, turn=(RELAY_OK, slow))).findings
    assert (finding.code, finding.message) == ("ICE012", "2 DNS questions cost up to 5.0 s each.")
    assert finding.fix == "Check this host's DNS servers, or write the server's address."
    assert finding.evidence == ("A turn.example.org: 5.0 s", "A stun.example.org: 2.5 s")
