"""A probe report with a bit of everything, for the tests of its writers."""

from __future__ import annotations

from dataclasses import replace

from icekit.findings import diagnose
from icekit.report import PortAssignment, StageName, StageResult, TurnReport
from tests.observations import (
    ANSWER,
    NAT,
    RELAY_OK,
    STUN,
    TURN,
    TURN_TCP,
    configured,
    dns,
    observed,
    server,
    srflx,
)

GOOD = replace(
    RELAY_OK,
    stages=(
        StageResult(StageName.RESOLVE, True, 0.001, "203.0.113.10"),
        StageResult(StageName.CHALLENGE, True, 0.021, "realm example.org"),
        StageResult(StageName.ALLOCATE, True, 0.022, "lifetime 600 s"),
    ),
)
BAD = TurnReport(
    TURN_TCP,
    False,
    StageName.ALLOCATE,
    "TURN-401",
    "expired",
    stages=(
        StageResult(StageName.RESOLVE, True, 0.001, "203.0.113.10"),
        StageResult(StageName.ALLOCATE, False, 0.02, "401 Unauthorized"),
    ),
    not_tested=(StageName.PERMISSION, StageName.ECHO),
)
OTHER = "stun:stun.example.org:19302"
REPORT = diagnose(
    observed(
        replace(NAT, hairpinning=False, port_assignment=PortAssignment.SEQUENTIAL, port_step=2, alg=False),
        turn=(GOOD, BAD),
        servers=(ANSWER, server(OTHER, "[2001:4860:4864:5:8000::1]:19302", reachable=False, rtt=None, error="timeout")),
        dns=dns("stun.example.org", "8.8.8.8"),
        candidates=("candidate:1 1 udp 2130706431 192.168.1.2 40112 typ host", srflx("198.51.100.2", "192.168.1.2")),
        duration=0.41,
        configured=configured(STUN, OTHER, TURN, TURN_TCP),
    )
)
