"""What ``icekit explain`` says of one candidate, part by part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from icekit.candidate import Candidate, CandidateType, InterfaceKind, TcpType, is_end_of_candidates
from icekit.errors import CandidateError, DecodeError
from icekit.explanation import Explanation, Fact, Kind
from icekit.net import AddressClass, scope_of
from icekit.priority import explain_priority
from icekit.rules_candidates import candidate_findings

END = Explanation(
    Kind.END_OF_CANDIDATES,
    "The end of candidates: no more will follow.",
    (
        Fact(
            "meaning", "end-of-candidates", "a call may fail from now on if no pair of candidates works (RFC 8838 §14)"
        ),
    ),
)


def explain_candidate_json(value: dict[str, Any]) -> Explanation:
    """``RTCIceCandidateInit``: the line, and the section that it belongs to."""
    from icekit.sdp import CandidateInit  # a line does without it

    line = value["candidate"]
    try:
        init = CandidateInit.from_dict({**value, "candidate": None})
    except DecodeError as error:
        return Explanation(Kind.CANDIDATE, "Browser JSON of a candidate, with a mistake.", problem=str(error))
    if line is not None and not isinstance(line, str):
        problem = "candidate JSON, candidate: allowed: a string or null"
        return Explanation(Kind.CANDIDATE, "Browser JSON of a candidate, with a mistake.", problem=problem)
    explanation = END if line is None or is_end_of_candidates(line) else explain_line(line)
    facts = list(explanation.facts)
    if init.sdp_mid is not None:
        facts.append(Fact("sdpMid", init.sdp_mid, "the media section that it belongs to"))
    if init.sdp_mline_index is not None:
        facts.append(Fact("sdpMLineIndex", str(init.sdp_mline_index), "the number of that section, from 0"))
    if init.username_fragment is not None:
        facts.append(Fact("usernameFragment", init.username_fragment, "the ICE session that it belongs to"))
    return replace(explanation, facts=tuple(facts))


def explain_line(line: str) -> Explanation:
    """One candidate line."""
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


# --- the parts of a line ---------------------------------------------------------------------------------------------

_TYPES: dict[str, str] = {
    CandidateType.HOST: "a host candidate: an address of the device itself",
    CandidateType.SERVER_REFLEXIVE: (
        "a server-reflexive candidate: the address from which a STUN server saw the device, the outside of its NAT"
    ),
    CandidateType.PEER_REFLEXIVE: "a peer-reflexive candidate: the address from which the other side saw the device",
    CandidateType.RELAYED: "a relay candidate: an address on a TURN server, which forwards to the device",
}

CLASSES: dict[AddressClass, str] = {
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
    meaning = CLASSES[address_class]
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
