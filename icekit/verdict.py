"""The one plain sentence on top of a probe report, and the exit code that comes of it.

Only what was measured is judged: what is not known makes ``UNKNOWN``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from icekit.net import Transport
from icekit.outlook import RELAY_WORDS, judged_family, own_mapping
from icekit.probe_observations import (
    Observations,
    families,
    has_turn,
    host_of,
    is_offline,
    relay_works,
    relays_over,
    slow_rtt,
    udp_works,
    url_transport,
)
from icekit.report import Behavior, Outlook, PathKind, ProbeReport, Severity, Verdict, VerdictCode

# The port test sends to a server that has just answered, every 100 ms until it answers again: with a round trip well
# below that, every further transmission is a loss. At 5 % each way four are lost once in sixty runs.
LOSS_TEST, LOSS_RTT, LOSS_COUNT, LOSS_SHARE = "port", 0.08, 4, 0.25


def verdict(observed: Observations, paths: tuple[Outlook, ...]) -> Verdict:
    """The one plain sentence, from the observations and their outlook."""
    if observed.local:
        return _local_verdict(observed)
    relay, udp = relays_over(observed.turn), udp_works(observed)
    home = next(item.path for item in paths if item.peer == "endpoint-independent")
    interrupted = relay_works(observed.turn) is None
    match udp, relay:
        case False, False if interrupted:
            text = f"Not enough could be measured: UDP is blocked here, and {_no_relay(observed)}."
            return _warning(VerdictCode.UNKNOWN, text)
        case False, True:
            return _warning(VerdictCode.UDP_BLOCKED, f"UDP is blocked here, but calls work through {_relay(observed)}.")
        case False, False:
            return _error(
                VerdictCode.BLOCKED, f"Calls cannot work from here: UDP is blocked, and {_no_relay(observed)}."
            )
        case None, False:
            return _unknown(observed)
        case None, True:
            text = f"Calls work through {_relay(observed)}; whether UDP passes here could not be measured."
            return _warning(VerdictCode.RELAY_ONLY, text)
    if interrupted and own_mapping(judged_family(observed.nat)[1]) not in (None, Behavior.ENDPOINT_INDEPENDENT):
        text = f"Not enough could be measured: the NAT here is symmetric, and {_no_relay(observed)}."
        return _warning(VerdictCode.UNKNOWN, text)
    if home is PathKind.MAYBE and relay:
        text = f"Calls work through {_relay(observed)}; whether they can go direct is not known: {_gap(observed)}."
        return _warning(VerdictCode.RELAY_ONLY, text)
    if home is PathKind.MAYBE:
        text = f"UDP works, but whether direct calls do is not known: {_gap(observed)}; {_no_relay(observed)}."
        return _warning(VerdictCode.UNKNOWN, text)
    if home is not PathKind.DIRECT and relay:
        text = (
            f"Calls work through {_relay(observed)}; direct ones fail to most peers, because the NAT here is symmetric."
        )
        return _warning(VerdictCode.RELAY_ONLY, text)
    if home is not PathKind.DIRECT:
        text = f"Most calls will fail: the NAT here is symmetric, and {_no_relay(observed)}."
        return _error(VerdictCode.DIRECT_ONLY, text)
    if interrupted:
        text = f"Direct calls work to most peers; whether the others do is not known, because {_no_relay(observed)}."
        return _warning(VerdictCode.DIRECT_ONLY, text)
    if not relay:
        text = f"Direct calls work to most peers; the others fail, because {_no_relay(observed)}."
        return _warning(VerdictCode.DIRECT_ONLY, text)
    if trouble := _trouble(observed):
        return _warning(VerdictCode.DEGRADED, f"Calls work, direct and by relay, but {trouble}.")
    return Verdict(
        VerdictCode.OK, Severity.OK, "Calls work: direct to most peers, and a relay is there for the others."
    )


def _warning(code: VerdictCode, summary: str) -> Verdict:
    return Verdict(code, Severity.WARNING, summary)


def _error(code: VerdictCode, summary: str) -> Verdict:
    return Verdict(code, Severity.ERROR, summary)


_TRANSPORT_NAMES = {
    Transport.UDP: "the relay over UDP",
    Transport.DTLS: "the relay over DTLS",
    Transport.TCP: "the relay over TCP",
    Transport.TLS: "the relay over TLS",
    None: "the relay",
}


def _relay(observed: Observations) -> str:
    working = next(report for report in observed.turn if report.ok)
    return _TRANSPORT_NAMES[url_transport(working.url)]


def _no_relay(observed: Observations) -> str:
    if relay_works(observed.turn) is None:
        return RELAY_WORDS[None]
    return "no TURN server works" if has_turn(observed) else "no TURN server is configured"


def _gap(observed: Observations) -> str:
    """What is missing for the mapping, in the words of the probe if it said why."""
    _, nat = judged_family(observed.nat)
    return nat.reason.get("mapping", "the mapping of the NAT was not measured").rstrip(".")


def _unknown(observed: Observations) -> Verdict:
    """Nothing tells whether UDP passes, and no relay works."""
    reached = any(server.reachable for server in observed.servers)
    if is_offline(observed):
        text = "Calls cannot work from here: this host has no network address; connect it to a network."
        return _error(VerdictCode.BLOCKED, text)
    if reached:
        why = f"whether UDP passes could not be measured, and {_no_relay(observed)}"
    elif observed.dns and not any(query.answers for query in observed.dns):
        why = "no server name could be resolved; check the names, and this host's network and DNS"
    elif not observed.servers:
        why = "no server was asked"
    elif all((server.error or "").startswith("unreachable") for server in observed.servers):
        why = "there is no route from here to any of the servers; check this host's network"
    elif len({host_of(server.address) for server in observed.servers if server.address}) > 1:
        why = "no server answered; check their URLs, and ask public servers: icekit probe without a URL"
    elif all((server.error or "").startswith("refused") for server in observed.servers):
        why = "the only server has nothing that listens on its port; check the port in the URL, or start the server"
    else:
        why = "the only server did not answer; name a second one to tell its fault from the network's"
    return _warning(VerdictCode.UNKNOWN, f"Not enough could be measured: {why}.")


def _trouble(observed: Observations) -> str:
    """The named loss or delay of a network where calls work, or nothing."""
    if rtt := slow_rtt(observed):
        return f"answers take {rtt * 1000:.0f} ms, which people hear as delay"
    measured = [report for report in observed.turn if report.ok and report.packet_passed is not None]
    if measured and all(report.packet_lost is not None for report in measured):
        passed = max(report.packet_passed or 0 for report in measured)
        return f"packets of more than some {passed} bytes are lost, which freezes pictures"
    fastest = min((server.rtt for server in observed.servers if server.rtt and server.transport == "udp"), default=1.0)
    tests = [test for _, nat in families(observed.nat) for test in nat.tests if test.name == LOSS_TEST]
    sent, lost = sum(test.sent for test in tests), sum(test.sent - test.answered for test in tests)
    if fastest <= LOSS_RTT and lost >= max(LOSS_COUNT, LOSS_SHARE * sent):
        return f"{lost} of {sent} packets were lost"
    return ""


def _local_verdict(observed: Observations) -> Verdict:
    """DESIGN §7: a run on the embedded servers judges only them."""
    servers = [server for server in observed.servers if server.transport == url_transport(server.url)]
    hosts = sorted({host for server in servers if (host := host_of(server.address))})
    where = f" on {' and '.join(hosts)}" if hosts else ""
    failed = [f"{server.url} over {server.transport}" for server in servers if not server.reachable]
    failed += [f"{report.url} at {report.failed_stage or 'some stage'}" for report in observed.turn if not report.ok]
    failed += [
        f"the {name} test {test.name}"
        for name, nat in families(observed.nat)
        for test in nat.tests
        if test.sent and not test.answered
    ]
    if servers and all((server.error or "").startswith("unreachable") for server in servers):
        text = "This host does not reach its own servers: its loopback interface is down (Linux: ip link set lo up)."
        return _error(VerdictCode.BLOCKED, text)
    if failed:
        return _error(VerdictCode.BLOCKED, f"The embedded servers{where} failed: {', '.join(failed)}.")
    if not servers or not observed.turn:
        return _warning(VerdictCode.UNKNOWN, "The embedded servers were not measured.")
    text = (
        f"The embedded STUN and TURN servers{where} passed every test; "
        "this says nothing about your Internet connection."
    )
    return Verdict(VerdictCode.OK, Severity.OK, text)


VERDICTS: Final[Mapping[VerdictCode, tuple[str, str]]] = MappingProxyType(
    {
        VerdictCode.OK: (
            "Calls work: direct to most peers, and a relay is there for the others.",
            "Nothing. If a call fails all the same, look at both ends together: icekit probe URL --with ROOM.",
        ),
        VerdictCode.DEGRADED: (
            "Calls connect, but answers take long, packets are lost, or large ones do not pass.",
            "The sentence beside the word says which; look at the network on the way: Wi-Fi, VPN, uplink.",
        ),
        VerdictCode.DIRECT_ONLY: (
            "No relay is proven to work, so only peers that a direct path reaches can be called.",
            "Add a TURN server, or repair the one that is there: icekit turn URL says which stage fails.",
        ),
        VerdictCode.RELAY_ONLY: (
            "Calls work through the relay; direct paths do not, or it could not be measured whether they do.",
            "Keep that TURN server up and near: every call from here is carried by it.",
        ),
        VerdictCode.UDP_BLOCKED: (
            "No UDP passes here; calls work through a TURN server over TCP or TLS.",
            "Nothing has to be done; calls sound better if the network lets UDP to the TURN server out.",
        ),
        VerdictCode.BLOCKED: (
            "No call can be made from here: there is no network, or neither UDP nor a relay works.",
            "Without UDP add turns:HOST:443?transport=tcp, or ask whoever runs the network to let UDP out.",
        ),
        VerdictCode.UNKNOWN: (
            "Too little answered to conclude anything; that is no statement about the network.",
            "Check the URLs, name a second server, or ask public ones: icekit probe without a URL.",
        ),
    }
)
"""What the word on top of a report means, and what to do next."""


class Requirement(StrEnum):
    """What ``--require`` may ask for."""

    RELAY = "relay"
    DIRECT = "direct"
    UDP = "udp"
    IPV6 = "ipv6"


_NEGATIVE = (VerdictCode.BLOCKED, VerdictCode.UNKNOWN)


def missing(report: ProbeReport, require: Collection[Requirement]) -> tuple[Requirement, ...]:
    """What was required and is not proven.

    ``relay``: a TURN server passed every stage; ``direct``: the outlook to a usual home router is direct; ``udp``: it
    passes; ``ipv6``: a server was reached over IPv6.
    """
    proven = {
        Requirement.RELAY: relays_over(report.turn),
        Requirement.DIRECT: Outlook("endpoint-independent", PathKind.DIRECT) in _bare(report.outlook),
        Requirement.UDP: udp_works(report) is True,
        Requirement.IPV6: any(server.reachable and ":" in (host_of(server.address) or "") for server in report.servers),
    }
    return tuple(item for item in Requirement if item in require and not proven[item])


def _bare(paths: tuple[Outlook, ...]) -> list[Outlook]:
    return [Outlook(item.peer, item.path) for item in paths]


def exit_code(report: ProbeReport, require: Collection[Requirement] = ()) -> int:
    """0 when a call can be made and nothing required is missing, else 1."""
    return int(report.verdict.code in _NEGATIVE or bool(missing(report, require)))
