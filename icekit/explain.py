"""What a pasted text is, and what it means: one candidate, a server URL, or the page of a finding code.

``explain`` recognises the text and hands it to the rules; what it does not know it says so, and never guesses.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from icekit.candidate import Candidate, CandidateType, InterfaceKind, TcpType, is_end_of_candidates
from icekit.catalogue import Code, describe
from icekit.errors import CandidateError, DecodeError
from icekit.net import AddressClass, Transport, scope_of
from icekit.priority import explain_priority
from icekit.report import Finding
from icekit.rules_candidates import candidate_findings
from icekit.rules_configuration import url_finding
from icekit.sdp import CandidateInit
from icekit.servers import ServerUri

MAX_TEXT = 1_000_000
"""Longest text that is looked at, in characters."""


class Kind(StrEnum):
    """What the text was taken for."""

    CANDIDATE = "candidate"
    END_OF_CANDIDATES = "end-of-candidates"
    FINDING = "finding"
    SERVER = "server"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fact:
    """One part of the text: its name, what stands there, and what that means."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a text is: a sentence, its parts, and the rules it breaks.

    ``problem`` says why it cannot be used (``None``: it can), ``pointer`` are the line and a caret under the place.
    ``forgiven`` are the broken rules that most readers let pass; ``canonical`` is how it should be written.
    """

    kind: Kind
    summary: str
    facts: tuple[Fact, ...] = ()
    forgiven: tuple[str, ...] = ()
    canonical: str | None = None
    problem: str | None = None
    pointer: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    _schema: ClassVar = "icekit/explain/1"

    @property
    def understood(self) -> bool:
        """Whether the text is known and of use."""
        return self.kind is not Kind.UNKNOWN and self.problem is None


UNDERSTOOD = (
    "one candidate line (bare, candidate:…, a=candidate:…, or browser JSON)",
    "the end of candidates",
    "a stun: or turn: URL",
    "a finding code such as ICE003 or TURN-401",
)

_CODE = re.compile(r"(ICE[0-9]+|(?:TURN|CALL)-[A-Z0-9-]+)", re.IGNORECASE | re.ASCII)
_SERVER = re.compile(r"(stun|turn)s?:[^\s]*", re.IGNORECASE | re.ASCII)
_CANDIDATE = re.compile(r"\s*(a=)?candidate:|[^\s]+(\s+[^\s]+){3,}\s+typ(\s|$)", re.IGNORECASE)


def explain(text: str) -> Explanation:
    """What ``text`` is and means. Any text has an answer."""
    if len(text) > MAX_TEXT:
        return _unknown(f"The text has {len(text)} characters; at most {MAX_TEXT} are read.")
    text = text.strip().removeprefix("\ufeff").strip()
    if text.startswith(('"', "{")) or text == "null":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return _unknown(f"It begins like JSON, but is none: {str(error)[:100]}.")
        if isinstance(value, dict):
            return _explain_json(value)
        text = value.strip() if isinstance(value, str) else ""
    if is_end_of_candidates(text):
        return _END
    if _CODE.fullmatch(text):
        row = describe(text)
        return _unknown(f"There is no finding {text[:40].upper()}.") if row is None else _explain_code(row)
    if _SERVER.fullmatch(text):
        return _explain_server(text)
    if "\n" not in text and _CANDIDATE.match(text):
        return _explain_line(text)
    return _unknown("No known pattern.")


_END = Explanation(
    Kind.END_OF_CANDIDATES,
    "The end of candidates: no more will follow.",
    (
        Fact(
            "meaning", "end-of-candidates", "a call may fail from now on if no pair of candidates works (RFC 8838 §13)"
        ),
    ),
)


def _unknown(why: str) -> Explanation:
    return Explanation(
        Kind.UNKNOWN, why, tuple(Fact("understood", item) for item in UNDERSTOOD), problem="no known pattern"
    )


def _explain_code(row: Code) -> Explanation:
    facts = [Fact("severity", row.severity)]
    if row.believed:
        facts.append(Fact("believed", row.believed))
    # On a page the names in a text stand for any server.
    names = {"host": "HOST", "port": "PORT", "transport": "UDP or TCP"}
    facts += [Fact("true", row.meaning.format_map(names)), Fact("fix", row.fix.format_map(names))]
    return Explanation(Kind.FINDING, f"{row.code}: {row.name}", tuple(facts))


def _explain_server(text: str) -> Explanation:
    finding = url_finding(text)
    if finding is not None:
        return Explanation(Kind.SERVER, finding.message, problem="Nothing can use it.", findings=(finding,))
    uri = ServerUri.parse(text)
    job = "a TURN server, which relays" if uri.is_turn else "a STUN server, which tells a host its public address"
    port = uri.port or uri.default_port
    facts = [
        Fact("host", uri.host, "" if uri.is_literal else "a name, which DNS resolves"),
        Fact("port", str(port), "" if uri.port else "the default, because none is written"),
    ]
    transport = uri.transport
    if transport is None:
        problem = f"the transport {uri.transport_token} is not known"
        return Explanation(Kind.SERVER, f"The URL of {job}.", tuple(facts), problem=problem)
    facts.append(Fact("transport", transport, _TO_SERVER[transport]))
    return Explanation(Kind.SERVER, f"The URL of {job}.", tuple(facts), canonical=str(uri))


_TO_SERVER = {
    Transport.UDP: "the fastest, and what strict networks block",
    Transport.TCP: "to the server only; from there to the other side the relay uses UDP",
    Transport.TLS: "passes most firewalls on port 443; from the server to the other side the relay uses UDP",
    Transport.DTLS: "encrypted UDP to the server",
}


def _explain_json(value: dict[str, Any]) -> Explanation:
    if "candidate" not in value:
        return _unknown("It is a JSON object without the key candidate.")
    line = value["candidate"]
    try:
        init = CandidateInit.from_dict({**value, "candidate": None})
    except DecodeError as error:
        return Explanation(Kind.CANDIDATE, "Browser JSON of a candidate, with a mistake.", problem=str(error))
    if line is not None and not isinstance(line, str):
        problem = "candidate JSON, candidate: allowed: a string or null"
        return Explanation(Kind.CANDIDATE, "Browser JSON of a candidate, with a mistake.", problem=problem)
    explanation = _END if line is None or is_end_of_candidates(line) else _explain_line(line)
    facts = list(explanation.facts)
    if init.sdp_mid is not None:
        facts.append(Fact("sdpMid", init.sdp_mid, "the media section that it belongs to"))
    if init.sdp_mline_index is not None:
        facts.append(Fact("sdpMLineIndex", str(init.sdp_mline_index), "the number of that section, from 0"))
    if init.username_fragment is not None:
        facts.append(Fact("usernameFragment", init.username_fragment, "the ICE session that it belongs to"))
    return Explanation(
        explanation.kind,
        explanation.summary,
        tuple(facts),
        explanation.forgiven,
        explanation.canonical,
        explanation.problem,
        explanation.pointer,
        explanation.findings,
    )


def _explain_line(line: str) -> Explanation:
    try:
        candidate = Candidate.parse(line)
    except CandidateError as strict_error:
        try:
            candidate = Candidate.parse(line, strict=False)
        except CandidateError as error:
            # The strict reader stops at what does not matter; the other one at what makes the line useless.
            problem, pointer = str(error), _pointer(line, error.column)
            return Explanation(
                Kind.CANDIDATE, "A candidate line that cannot be read.", problem=problem, pointer=pointer
            )
        forgiven = candidate.forgiven or (str(strict_error),)
    else:
        forgiven = ()
    kind = _TYPES.get(candidate.type, f"a candidate of the unknown type {candidate.type}")
    return Explanation(
        Kind.CANDIDATE,
        f"{kind[0].upper()}{kind[1:]}.",
        tuple(_facts(candidate)),
        forgiven,
        str(candidate),
        findings=candidate_findings(candidate),
    )


def _pointer(line: str, column: int) -> tuple[str, str]:
    """The line, cut to the neighbourhood of ``column`` (from 1), and a caret under it."""
    start = max(0, min(column - 41, len(line) - 76))
    piece = "".join(character if character.isprintable() else "�" for character in line[start : start + 76])
    lead = "…" if start else ""
    return f"{lead}{piece}", f"{' ' * (len(lead) + column - 1 - start)}^"


_TYPES: dict[str, str] = {
    CandidateType.HOST: "a host candidate: an address of the device itself",
    CandidateType.SERVER_REFLEXIVE: (
        "a server-reflexive candidate: the address from which a STUN server saw the device, the outside of its NAT"
    ),
    CandidateType.PEER_REFLEXIVE: "a peer-reflexive candidate: the address from which the other side saw the device",
    CandidateType.RELAYED: "a relay candidate: an address on a TURN server, which forwards to the device",
}

_CLASSES: dict[AddressClass, str] = {
    AddressClass.UNSPECIFIED: "no address at all: nobody can send to it",
    AddressClass.LOOPBACK: "loopback: only programs on the same machine reach it",
    AddressClass.LINK_LOCAL: "link-local: only devices on the same cable or Wi-Fi reach it",
    AddressClass.PRIVATE: "private: only devices in the same network reach it",
    AddressClass.CGNAT: "carrier-grade NAT: only customers of the same carrier reach it, and often not even they",
    AddressClass.ULA: "unique local IPv6: only devices in the same organisation reach it",
    AddressClass.MULTICAST: "multicast: no candidate can have it",
    AddressClass.RESERVED: "reserved: nobody has it",
    AddressClass.DOCUMENTATION: "documentation: an example, not an address on the Internet",
    AddressClass.BENCHMARK: "benchmark range: only in test laboratories",
    AddressClass.NAT64: "NAT64: an IPv4 address as an IPv6-only network sees it",
    AddressClass.TUNNEL: "6to4 or Teredo tunnel: slow, and often broken",
    AddressClass.MDNS: "an mDNS name in place of a private address: only devices in the same network can resolve it",
    AddressClass.NAME: "a name: few stacks resolve it",
    AddressClass.GLOBAL: "public: reachable from the Internet if firewall and NAT let it in",
}

_TCP_TYPES = {
    TcpType.ACTIVE: "it connects to the other side and takes no connections",
    TcpType.PASSIVE: "it waits for the other side's connection",
    TcpType.SIMULTANEOUS_OPEN: "both sides connect at once, which few stacks do",
}

_KINDS = {
    InterfaceKind.ETHERNET: "cable",
    InterfaceKind.WIFI: "Wi-Fi",
    InterfaceKind.CELLULAR: "mobile network",
    InterfaceKind.VPN: "VPN",
}

_EXTENSIONS = {
    "generation": "how often ICE was restarted",
    "ufrag": "the ICE session that it belongs to",
    "network-id": "the number of the interface in the browser",
    "network-cost": "how much the browser avoids the interface, 0 to 999",
}


def _facts(candidate: Candidate) -> list[Fact]:
    address_class = candidate.address_class
    meaning = _CLASSES[address_class]
    if candidate.type == CandidateType.RELAYED and scope_of(candidate.address) < 3:
        meaning += "; a relay there is of use only inside"
    facts = [
        Fact("type", candidate.type),
        Fact("address", candidate.address, meaning),
        Fact("port", str(candidate.port), _port(candidate)),
        Fact("transport", candidate.transport, _transport(candidate)),
    ]
    if candidate.related_address is not None:
        related = candidate.related_address
        if candidate.related_port is not None:
            related += f" port {candidate.related_port}"
        facts.append(Fact("related address", related, _related(candidate)))
    facts += [
        Fact("component", str(candidate.component), _COMPONENTS.get(candidate.component, "")),
        Fact("priority", str(candidate.priority), explain_priority(candidate).sentence),
        Fact("foundation", candidate.foundation, "candidates with the same one are tested together"),
    ]
    if (kind := candidate.interface_kind) is not None:
        facts.append(Fact("interface", kind, _KINDS[kind]))
    facts += [Fact(name, value, _EXTENSIONS.get(name, "an extension")) for name, value in candidate.extensions]
    return facts


_COMPONENTS = {1: "RTP, and everything else where it is multiplexed", 2: "RTCP, which modern calls do not need"}


def _port(candidate: Candidate) -> str:
    if candidate.port == 9 and candidate.tcptype is TcpType.ACTIVE:
        return "a placeholder: an active TCP candidate has no port of its own"
    return "" if candidate.port else "nobody can send to port 0"


def _transport(candidate: Candidate) -> str:
    if candidate.tcptype is not None:
        return f"{candidate.tcptype}: {_TCP_TYPES[candidate.tcptype]}"
    return "" if candidate.transport.lower() in ("udp", "tcp") else "not known here"


def _related(candidate: Candidate) -> str:
    if candidate.related_address in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "hidden by the browser"
    if candidate.type == CandidateType.RELAYED:
        return "how the TURN server saw the device"
    return "the device's own address behind the NAT"
