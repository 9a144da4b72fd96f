"""Candidate lines, and the parts of what ``icekit explain`` says of one."""

from __future__ import annotations

from icekit.explanation import Explanation

HOST = "candidate:1 1 udp 2130706431 192.168.1.9 54321 typ host"
SRFLX = (
    "candidate:842163049 1 udp 1677729535 8.8.4.4 46154 typ srflx raddr 10.0.0.2 rport 46154 "
    "generation 0 ufrag abcd network-cost 10"
)
RELAY = "candidate:3 1 udp 16777215 10.0.0.9 50000 typ relay raddr 203.0.113.5 rport 40000"
MDNS = "candidate:1 1 udp 2113937151 2f9e0e7c-6b5e-4d3c-9d8e-0a1b2c3d4e5f.local 54321 typ host"


def facts(explanation: Explanation) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.meaning) for fact in explanation.facts}
