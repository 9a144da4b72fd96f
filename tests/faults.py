"""The faults that are injected, and the code that each has to have as its first finding: in the simulator and in the
laboratory alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from icekit.candidate import Candidate
from icekit.explain import explain
from icekit.report import Finding
from tests.descriptions import sdp, section


class Fault(StrEnum):
    """What is broken."""

    DNS = "the name of the server does not exist"
    UDP_DROPPED = "a firewall drops UDP"
    UNAUTHORIZED = "the password is wrong"
    FORBIDDEN = "the server may not relay to the peer"
    PRIVATE_RELAY = "the relayed address is private"
    RELAY_PORTS = "the relay ports are closed"
    SYMMETRIC = "both NATs are symmetric, and there is no relay"
    ICE_PASSWORD = "the ice-pwd is wrong"
    NO_END = "the end of candidates is missing"
    TCP_ONLY = "there are only TCP candidates"
    MDNS_ONLY = "there are only .local names"
    EXPIRED = "the credentials have expired"
    MTU = "the path takes no packet of 1,200 bytes"
    FINGERPRINT = "the DTLS fingerprint is wrong"
    RTT = "a round trip takes more than a second"
    ALG = "a gateway rewrites addresses"


# What ``icekit`` says first, and a word of it that no other cause of the same code has.
FIRST: Final[dict[Fault, tuple[str, str]]] = {
    Fault.DNS: ("TURN-RESOLVE", "does not exist"),
    Fault.UDP_DROPPED: ("TURN-NO-ANSWER", "over UDP"),
    Fault.UNAUTHORIZED: ("TURN-401", "wrong password"),
    Fault.FORBIDDEN: ("TURN-403", "forbids"),
    Fault.PRIVATE_RELAY: ("TURN-RELAY-PRIVATE", "not reachable"),
    Fault.RELAY_PORTS: ("TURN-ECHO-OUT", "lost in both directions"),
    Fault.SYMMETRIC: ("CALL-PATH", "NATs or firewalls"),
    Fault.ICE_PASSWORD: ("CALL-PASSWORD", "ice-pwd"),
    Fault.NO_END: ("ICE009", "end-of-candidates"),
    Fault.TCP_ONLY: ("ICE009", "only TCP"),
    Fault.MDNS_ONLY: ("ICE009", "only .local"),
    Fault.EXPIRED: ("TURN-401", "have expired"),
    Fault.MTU: ("ICE029", "1200 bytes"),
    Fault.FINGERPRINT: ("CALL-FINGERPRINT", "certificate"),
    Fault.RTT: ("ICE013", "ms"),
    Fault.ALG: ("ICE020", "rewrites"),
}

# What is changed in the answer that the other side hears: a pattern, and what stands there instead.
OTHER_FINGERPRINT: Final = (r"(a=fingerprint:\S+) \S\S:", r"\1 00:")
OTHER_PASSWORD: Final = ("a=ice-pwd:....", "a=ice-pwd:XXXX")


def check_first(fault: Fault, findings: Sequence[tuple[str, str]]) -> None:
    """Codes and messages: the first is the fault's."""
    code, word = FIRST[fault]
    assert findings, fault
    assert findings[0][0] == code, findings
    assert word in findings[0][1], findings


def said(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.message) for finding in findings]


def broken_description(fault: Fault, candidates: Sequence[Candidate]) -> list[tuple[str, str]]:
    """What ``icekit explain`` says of the offer of a host with these candidates, broken on its way."""
    lines = [str(candidate) for candidate in candidates]
    match fault:
        case Fault.TCP_ONLY:
            lines = [line for line in lines if " tcp " in line]
        case Fault.MDNS_ONLY:
            # As a browser does that may not tell addresses, and has no server.
            name = "2f9e0e7c-6b5e-4d3c-9d8e-0a1b2c3d4e5f.local"
            hosts = [item for item in candidates if item.type == "host" and item.transport == "udp"]
            lines = [str(replace(item, address=name)) for item in hosts]
    assert lines, fault
    whole = fault is not Fault.NO_END
    options = "trickle" if whole else ""
    offer = sdp(section(*(f"a={line}" for line in lines), ends=whole, options=options))
    return said(explain(offer).findings)
