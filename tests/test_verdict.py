"""The verdict, what was required, and the exit code, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from icekit.findings import diagnose
from icekit.probe_observations import Observations
from icekit.report import (
    Interface,
    NatReport,
    NatReports,
    NatTest,
    ServerReport,
    StageName,
    TurnReport,
    VerdictCode,
)
from icekit.verdict import Requirement, exit_code, missing
from tests.observations import (
    ANSWER,
    APD,
    EI,
    HEALTHY,
    NAT,
    REFUSED,
    RELAY_OK,
    RELAY_TCP_OK,
    SILENT,
    STUN,
    TURNS,
    configured,
    dns,
    observed,
    server,
)

INTERRUPTED = TurnReport(RELAY_OK.url, False)

SYMMETRIC = replace(NAT, mapping=APD)
UNPROVEN = replace(NAT, mapping=None, reason={"mapping": "only one server address answered"})
BLOCKED = NatReport(udp=False)
LOSSY = replace(NAT, tests=(NatTest("mapping", 1, 1, 0.02), NatTest("port", 12, 8, 0.2)))
ALMOST_LOSSY = replace(NAT, tests=(NatTest("port", 11, 8, 0.2),))
# A silent alternate address is a dead server, not loss.
SILENT_ALTERNATE = replace(NAT, tests=(NatTest("mapping", 7, 1, 0.6), NatTest("port", 8, 8, 0.02)))

VERDICTS: list[tuple[str, Observations, str, str, int]] = [
    ("all is well", HEALTHY, "OK", "Calls work: direct to most peers, and a relay is there for the others.", 0),
    (
        "no NAT",
        observed(replace(NAT, mapping=None, behind_nat=False)),
        "OK",
        "Calls work: direct to most peers, and a relay is there for the others.",
        0,
    ),
    (
        "no TURN configured",
        observed(turn=(), configured=configured(STUN)),
        "DIRECT-ONLY",
        "Direct calls work to most peers; the others fail, because no TURN server is configured.",
        0,
    ),
    (
        "TURN refused",
        observed(turn=(REFUSED,)),
        "DIRECT-ONLY",
        "Direct calls work to most peers; the others fail, because no TURN server works.",
        0,
    ),
    (
        "symmetric",
        observed(SYMMETRIC),
        "RELAY-ONLY",
        "Calls work through the relay over UDP; direct ones fail to most peers, because the NAT here is symmetric.",
        0,
    ),
    (
        "symmetric without a relay",
        observed(SYMMETRIC, turn=(REFUSED,)),
        "DIRECT-ONLY",
        "Most calls will fail: the NAT here is symmetric, and no TURN server works.",
        0,
    ),
    (
        "mapping not proven, relay",
        observed(UNPROVEN),
        "RELAY-ONLY",
        (
            "Calls work through the relay over UDP; whether they can go direct is not known: "
            "only one server address answered."
        ),
        0,
    ),
    (
        "mapping not proven, no relay",
        observed(UNPROVEN, turn=(), configured=configured(STUN)),
        "UNKNOWN",
        (
            "UDP works, but whether direct calls do is not known: only one server address answered; "
            "no TURN server is configured."
        ),
        1,
    ),
    (
        "UDP blocked",
        observed(BLOCKED, servers=(SILENT,), turn=(RELAY_TCP_OK,)),
        "UDP-BLOCKED",
        "UDP is blocked here, but calls work through the relay over TCP.",
        0,
    ),
    (
        "UDP blocked, TLS",
        observed(BLOCKED, servers=(SILENT,), turn=(REFUSED, replace(RELAY_OK, url=TURNS))),
        "UDP-BLOCKED",
        "UDP is blocked here, but calls work through the relay over TLS.",
        0,
    ),
    (
        "nothing works",
        observed(BLOCKED, servers=(SILENT,), turn=(REFUSED,)),
        "BLOCKED",
        "Calls cannot work from here: UDP is blocked, and no TURN server works.",
        1,
    ),
    (
        "no interface",
        Observations(),
        "BLOCKED",
        "Calls cannot work from here: this host has no network address; connect it to a network.",
        1,
    ),
    (
        "Ctrl-C, UDP blocked",
        observed(BLOCKED, servers=(SILENT,), turn=(REFUSED, INTERRUPTED)),
        "UNKNOWN",
        "Not enough could be measured: UDP is blocked here, and the test of the relay was interrupted.",
        1,
    ),
    (
        "Ctrl-C, symmetric",
        observed(replace(NAT, mapping=APD), turn=(INTERRUPTED,)),
        "UNKNOWN",
        "Not enough could be measured: the NAT here is symmetric, and the test of the relay was interrupted.",
        1,
    ),
    (
        "Ctrl-C, direct calls work",
        observed(turn=(INTERRUPTED,)),
        "DIRECT-ONLY",
        (
            "Direct calls work to most peers; whether the others do is not known, "
            "because the test of the relay was interrupted."
        ),
        0,
    ),
    (
        "only addresses that lead nowhere",
        Observations(
            interfaces=(Interface("lo", "127.0.0.1", "loopback"), Interface("eth0", "fe80::1%eth0", "link-local")),
            servers=(replace(SILENT, error="unreachable: no route to the server"),),
        ),
        "BLOCKED",
        "Calls cannot work from here: this host has no network address; connect it to a network.",
        1,
    ),
    (
        "no route",
        observed(None, servers=(replace(SILENT, error="unreachable: no route to the server"),), turn=()),
        "UNKNOWN",
        "Not enough could be measured: there is no route from here to any of the servers; check this host's network.",
        1,
    ),
    (
        "UDP not measured, relay over TCP",
        observed(NatReport(), servers=(), turn=(RELAY_TCP_OK,)),
        "RELAY-ONLY",
        "Calls work through the relay over TCP; whether UDP passes here could not be measured.",
        0,
    ),
    (
        "one silent server",
        observed(NatReport(), servers=(SILENT,), turn=(), configured=configured(STUN)),
        "UNKNOWN",
        (
            "Not enough could be measured: the only server did not answer; "
            "name a second one to tell its fault from the network's."
        ),
        1,
    ),
    (
        "one server, tried on two ports, refuses",
        observed(
            NatReport(),
            servers=tuple(
                replace(SILENT, address=f"203.0.113.10:{port}", error="refused: nothing listens on that port (ICMP)")
                for port in (3478, 443)
            ),
            turn=(),
            configured=configured(STUN),
        ),
        "UNKNOWN",
        (
            "Not enough could be measured: the only server has nothing that listens on its port; "
            "check the port in the URL, or start the server."
        ),
        1,
    ),
    (
        "two silent servers, whose transmissions were too few",
        observed(
            NatReport(),
            servers=(SILENT, replace(SILENT, address="203.0.113.11:3478")),
            turn=(),
            configured=configured(STUN),
        ),
        "UNKNOWN",
        (
            "Not enough could be measured: no server answered; "
            "check their URLs, and ask public servers: icekit probe without a URL."
        ),
        1,
    ),
    (
        "no name resolves",
        observed(
            NatReport(),
            servers=(ServerReport("stun:stun.example.org", None, "udp", None),),
            dns=dns("stun.example.org", error="timed out"),
            turn=(),
        ),
        "UNKNOWN",
        (
            "Not enough could be measured: no server name could be resolved; "
            "check the names, and this host's network and DNS."
        ),
        1,
    ),
    (
        "slow",
        observed(servers=(replace(ANSWER, rtt=0.65),), turn=(replace(RELAY_OK, rtt=0.7),)),
        "DEGRADED",
        "Calls work, direct and by relay, but answers take 650 ms, which people hear as delay.",
        0,
    ),
    (
        "loss",
        observed(LOSSY),
        "DEGRADED",
        "Calls work, direct and by relay, but 4 of 12 packets were lost.",
        0,
    ),
    (
        "a little loss",
        observed(ALMOST_LOSSY),
        "OK",
        "Calls work: direct to most peers, and a relay is there for the others.",
        0,
    ),
    (
        "a dead alternate address",
        observed(SILENT_ALTERNATE),
        "OK",
        "Calls work: direct to most peers, and a relay is there for the others.",
        0,
    ),
    (
        "requests repeated because the answer takes longer",
        observed(LOSSY, servers=(replace(ANSWER, rtt=0.2),)),
        "OK",
        "Calls work: direct to most peers, and a relay is there for the others.",
        0,
    ),
]


@pytest.mark.parametrize(("observations", "code", "summary", "exits"), [row[1:] for row in VERDICTS], ids=lambda v: "")
def test_verdict(observations: Observations, code: str, summary: str, exits: int) -> None:
    report = diagnose(observations)
    assert (report.verdict.code.value, report.verdict.summary) == (code, summary)
    assert exit_code(report) == exits


def test_every_verdict_is_reached() -> None:
    assert {row[2] for row in VERDICTS} == set(VerdictCode)


LOOPBACK = "stun:127.0.0.1:3478"
LOCAL = Observations(
    local=True,
    nat=NatReports(
        ipv4=NatReport(udp=True, behind_nat=False, filtering=EI, tests=(NatTest("mapping-1", 1, 1, 0.001),))
    ),
    servers=(
        server(LOOPBACK, "127.0.0.1:3478"),
        server("stun:127.0.0.2:3478", "127.0.0.2:3478"),
    ),
    turn=(replace(RELAY_OK, url="turn:127.0.0.1:3478"),),
    configured=configured(LOOPBACK, "turn:127.0.0.1:3478"),
)


def test_a_local_run_judges_only_the_embedded_servers() -> None:
    report = diagnose(LOCAL)
    assert report.verdict.code is VerdictCode.OK
    assert report.verdict.summary == (
        "The embedded STUN and TURN servers on 127.0.0.1 and 127.0.0.2 passed every test; "
        "this says nothing about your Internet connection."
    )
    assert report.findings == ()
    assert report.outlook == ()
    assert exit_code(report) == 0


@pytest.mark.parametrize(
    ("change", "summary"),
    [
        (
            {"servers": (server(LOOPBACK, "127.0.0.1:3478", reachable=False),)},
            "The embedded servers on 127.0.0.1 failed: stun:127.0.0.1:3478 over udp.",
        ),
        (
            {"turn": (TurnReport("turn:127.0.0.1:3478", False, StageName.ECHO, "TURN-ECHO-OUT"),)},
            "The embedded servers on 127.0.0.1 and 127.0.0.2 failed: turn:127.0.0.1:3478 at echo.",
        ),
        (
            {"nat": NatReports(ipv4=NatReport(udp=True, tests=(NatTest("filtering-port", 4, 0, 0.4),)))},
            "The embedded servers on 127.0.0.1 and 127.0.0.2 failed: the IPv4 test filtering-port.",
        ),
        ({"turn": ()}, "The embedded servers were not measured."),
        (
            {"servers": (server(LOOPBACK, "127.0.0.1:3478", reachable=False, error="unreachable: no route"),)},
            "This host does not reach its own servers: its loopback interface is down (Linux: ip link set lo up).",
        ),
    ],
)
def test_a_local_run_with_a_failure(change: dict[str, Any], summary: str) -> None:
    report = diagnose(replace(LOCAL, **change))
    assert report.verdict.summary == summary
    assert exit_code(report) == 1


# --- requirements ----------------------------------------------------------------------------------------------------

SIX = server("stun:[2001:db8::1]", "[2001:db8::1]:3478")


@pytest.mark.parametrize(
    ("requirement", "met", "not_met"),
    [
        (Requirement.RELAY, HEALTHY, observed(turn=(REFUSED,))),
        (Requirement.DIRECT, HEALTHY, observed(SYMMETRIC)),
        (Requirement.UDP, HEALTHY, observed(BLOCKED, turn=(RELAY_TCP_OK,))),
        (Requirement.IPV6, observed(servers=(ANSWER, SIX)), observed(servers=(ANSWER, replace(SIX, reachable=False)))),
    ],
)
def test_what_is_required_and_missing_exits_1(
    requirement: Requirement, met: Observations, not_met: Observations
) -> None:
    assert missing(diagnose(met), [requirement]) == ()
    assert exit_code(diagnose(met), [requirement]) == 0
    assert missing(diagnose(not_met), list(Requirement)).count(requirement) == 1
    assert exit_code(diagnose(not_met), [requirement]) == 1
    assert exit_code(diagnose(not_met)) == 0
