"""Observations of a healthy network, to be changed in one place by a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from icekit.probe_observations import ConfiguredServer, Observations
from icekit.report import Behavior, DnsReport, Interface, NatReport, NatReports, ServerReport, StageName, TurnReport

EI, AD, APD = Behavior.ENDPOINT_INDEPENDENT, Behavior.ADDRESS_DEPENDENT, Behavior.ADDRESS_AND_PORT_DEPENDENT
HOST = Interface("eth0", "192.168.1.2", "private", "ethernet")
STUN, TURN, TURN_TCP = "stun:203.0.113.10", "turn:203.0.113.10?transport=udp", "turn:203.0.113.10?transport=tcp"
TURNS = "turns:turn.example.org:5349"
RELAY_OK = TurnReport(TURN, True, lifetime=600, relayed_address="203.0.113.10:50012", rtt=0.04)
RELAY_TCP_OK = replace(RELAY_OK, url=TURN_TCP)
ANSWER = ServerReport(STUN, "203.0.113.10:3478", "udp", True, 0.02, "198.51.100.2:40112")
SILENT = ServerReport(STUN, "203.0.113.10:3478", "udp", False, error="timeout")
NAT = NatReport(mapping=EI, filtering=APD, behind_nat=True, udp=True, mapped_addresses=("198.51.100.2:40112",))
REFUSED = TurnReport(TURN, False, StageName.ALLOCATE, "TURN-401", "wrong")


def configured(*urls: str, username: str | None = None) -> tuple[ConfiguredServer, ...]:
    return tuple(ConfiguredServer(url, username) for url in urls)


def observed(nat: NatReport | None = NAT, **changes: Any) -> Observations:
    values: dict[str, Any] = {
        "interfaces": (HOST,),
        "nat": NatReports(ipv4=nat),
        "servers": (ANSWER,),
        "turn": (RELAY_OK,),
        "configured": configured(STUN, TURN),
    }
    return Observations(**(values | changes))


HEALTHY = observed()


def server(url: str, address: str, transport: str = "udp", **changes: Any) -> ServerReport:
    return ServerReport(url, address, transport, **{"reachable": True, "rtt": 0.02, **changes})


def dns(name: str, *answers: str, **changes: Any) -> tuple[DnsReport, ...]:
    return (DnsReport(name, "A", answers, **{"seconds": 0.01, **changes}),)


def srflx(address: str, related: str) -> str:
    return f"candidate:1 1 udp 1694498815 {address} 40112 typ srflx raddr {related} rport 40112"


def relay_line(address: str) -> str:
    return f"candidate:2 1 udp 16777215 {address} 50012 typ relay raddr 198.51.100.2 rport 40112"


NOW = 1_700_000_000.0
