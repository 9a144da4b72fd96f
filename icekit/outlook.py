"""From what a probe observed to what it means for a call: the outlook per class of peer, and the verdict.

All of it is pure and judges only what was measured: what is not known makes ``maybe`` and ``UNKNOWN``, never ``no``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from icekit.errors import ConfigError, UriError
from icekit.net import Address, AddressClass, Transport
from icekit.report import (
    Behavior,
    DnsReport,
    Interface,
    NatReport,
    NatReports,
    Outlook,
    PathKind,
    PortmapReport,
    ProbeReport,
    ServerReport,
    Severity,
    TurnReport,
    Verdict,
    VerdictCode,
)
from icekit.servers import ServerUri

# The classes of peer that an outlook is given for. What they stand for:
# open: a host with a public address and no filter;
# endpoint-independent: the usual home router, endpoint-independent mapping and address-and-port-dependent filtering;
# address-and-port-dependent: a "symmetric" NAT, address-and-port-dependent in mapping and filtering;
# udp-blocked: a network that passes only TCP, so the peer comes through a TURN server over TCP or TLS.
PEERS = ("open", "endpoint-independent", "address-and-port-dependent", "udp-blocked")
PEER_WORDS = {
    "open": "a peer without a NAT",
    "endpoint-independent": "a peer behind a home router",
    "address-and-port-dependent": 'a peer behind a "symmetric" NAT',
    "udp-blocked": "a peer whose network blocks UDP",
}

# A consent check of aioice is lost after 500 ms; beyond 400 ms a little jitter is enough.
SLOW_RTT = 0.4
# The port test sends to a server that has just answered, every 100 ms until it answers again: with a round trip well
# below that, every further transmission is a loss. At 5 % each way four are lost once in sixty runs.
LOSS_TEST, LOSS_RTT, LOSS_COUNT, LOSS_SHARE = "port", 0.08, 4, 0.25


@dataclass(frozen=True, slots=True)
class ConfiguredServer:
    """A server URL as it was configured, and the user name that goes with it. Never the credential."""

    url: str
    username: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What a probe saw: a ``ProbeReport`` without its conclusions, and what else the rules need.

    ``configured`` are the servers that the caller named (or the default list), ``local`` a run on the embedded servers
    over loopback, ``unix_time`` when it ran (seconds since 1970; ``None``: credentials are not judged by time).
    """

    duration: float = 0.0
    interfaces: tuple[Interface, ...] = ()
    nat: NatReports = field(default_factory=NatReports)
    servers: tuple[ServerReport, ...] = ()
    dns: tuple[DnsReport, ...] = ()
    portmap: PortmapReport | None = None
    turn: tuple[TurnReport, ...] = ()
    candidates: tuple[str, ...] = ()
    configured: tuple[ConfiguredServer, ...] = ()
    local: bool = False
    unix_time: float | None = None


class Requirement(StrEnum):
    """What ``--require`` may ask for."""

    RELAY = "relay"
    DIRECT = "direct"
    UDP = "udp"
    IPV6 = "ipv6"


def parse_url(url: str) -> ServerUri | None:
    """The URI, or ``None`` if it is none."""
    try:
        return ServerUri.parse(url)
    except UriError:
        return None


def url_transport(url: str) -> Transport | None:
    """How the server of a URL is reached, ``None`` if the URL does not tell."""
    uri = parse_url(url)
    return None if uri is None else uri.transport


def host_of(address: str | None) -> str | None:
    """The host of an address as a report writes it, ``None`` if it is none."""
    try:
        return None if address is None else Address.parse(address).host
    except ConfigError:
        return None


def families(nat: NatReports) -> Iterator[tuple[str, NatReport]]:
    """The families that this host has, with their names for people."""
    if nat.ipv4 is not None:
        yield "IPv4", nat.ipv4
    if nat.ipv6 is not None:
        yield "IPv6", nat.ipv6


def _works(turn: tuple[TurnReport, ...], *transports: Transport) -> bool:
    return any(report.ok and (not transports or url_transport(report.url) in transports) for report in turn)


def _relay_works(turn: tuple[TurnReport, ...]) -> bool | None:
    """``None`` when none works so far and a test was interrupted."""
    if _works(turn):
        return True
    return None if any(not report.ok and report.failed_stage is None for report in turn) else False


def udp_works(observed: Observations | ProbeReport) -> bool | None:
    """Whether UDP passes in any family; a relay that works over UDP proves it too."""
    verdicts = [nat.udp for _, nat in families(observed.nat)]
    if True in verdicts or _works(observed.turn, Transport.UDP, Transport.DTLS):
        return True
    return False if False in verdicts else None


def queries_by_name(queries: Iterable[DnsReport]) -> Iterator[tuple[str, list[DnsReport]]]:
    """The queries of each name, whether or not it was written with its last dot."""
    names: dict[str, list[DnsReport]] = {}
    for query in queries:
        names.setdefault(query.name.removesuffix("."), []).append(query)
    yield from names.items()


def failed_hosts(observed: Observations) -> set[str]:
    """The hosts whose name resolution already has a stage code."""
    failed = [parse_url(report.url) for report in observed.turn if report.code == "TURN-RESOLVE"]
    return {uri.host for uri in failed if uri is not None}


# --- outlook ---------------------------------------------------------------------------------------------------------


def outlook(observed: Observations) -> tuple[Outlook, ...]:
    """The path to each class of peer in ``PEERS``; nothing for a run on the embedded servers."""
    if observed.local:
        return ()
    relay = _relay_works(observed.turn)
    udp = udp_works(observed)
    if udp is None and relay is False and _is_offline(observed):
        return tuple(Outlook(peer, PathKind.NONE, "this host has no network address") for peer in PEERS)
    name, nat = _basis(observed.nat)
    return tuple(_path(peer, name, nat, udp, relay) for peer in PEERS)


def _basis(nat: NatReports) -> tuple[str, NatReport]:
    """The family to judge: most peers have IPv4, so IPv6 counts where IPv4 brings nothing."""
    reports = list(families(nat))
    working = [item for item in reports if item[1].udp]
    return (working or reports or [("IPv4", NatReport())])[0]


_RELAY_WORDS = {True: "the relay works", False: "no relay works", None: "the test of the relay was interrupted"}


def _path(peer: str, family: str, nat: NatReport, udp: bool | None, relay: bool | None) -> Outlook:
    direct, why = _direct(peer, nat, udp)
    if peer == "udp-blocked" and relay:
        why = "the peer reaches the relay only over TCP or TLS"
    elif family == "IPv6" and direct is not False:
        why = f"{why}; over IPv6 only" if why else "over IPv6 only"
    if direct:
        return Outlook(peer, PathKind.DIRECT, why)
    if relay and direct is False:
        return Outlook(peer, PathKind.RELAY, why)
    unknown = direct is None or relay is None
    return Outlook(peer, PathKind.MAYBE if unknown else PathKind.NONE, f"{why}; {_RELAY_WORDS[relay]}")


def _direct(peer: str, nat: NatReport, udp: bool | None) -> tuple[bool | None, str]:
    """Whether a direct path to this class of peer exists, and what decides.

    Both sides send to the other's server-reflexive address. A side whose mapping depends on the destination sends from
    another port than the one that its STUN server saw. The other side lets that packet in unless it filters by port;
    its answer goes back to where the packet came from. With both mappings dependent, neither side ever answers from the
    address that was asked (RFC 4787 §4.1, §5; RFC 8445 §7.2.5.2.1 wants answers from there).
    """
    if peer == "udp-blocked":
        return False, "the peer cannot send UDP"
    if udp is None:
        return None, "it is not known whether UDP passes here"
    if not udp:
        return False, "UDP is blocked here"
    if peer == "open":
        return True, ""
    mapping, filtering = own_mapping(nat), nat.filtering
    independent = Behavior.ENDPOINT_INDEPENDENT
    if mapping not in (None, independent):
        return False, "the NAT here uses another port for each peer, and the peer filters by port"
    if peer == "endpoint-independent":
        return (True, "") if mapping else (None, "the mapping of the NAT here is not known")
    if filtering is Behavior.ADDRESS_AND_PORT_DEPENDENT:
        return False, "the peer's NAT uses another port for each peer, and this network filters by port"
    if mapping is None or filtering is None:
        return None, f"the {'filtering' if mapping else 'mapping'} of the NAT here is not known"
    return True, ""


def own_mapping(nat: NatReport) -> Behavior | None:
    """The mapping as a peer sees it: without a NAT an address stays what it is."""
    return Behavior.ENDPOINT_INDEPENDENT if nat.behind_nat is False else nat.mapping


# --- verdict ---------------------------------------------------------------------------------------------------------


def verdict(observed: Observations, paths: tuple[Outlook, ...]) -> Verdict:
    """The one plain sentence, from the observations and their outlook."""
    if observed.local:
        return _local_verdict(observed)
    relay, udp = _works(observed.turn), udp_works(observed)
    home = next(item.path for item in paths if item.peer == "endpoint-independent")
    interrupted = _relay_works(observed.turn) is None
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
    if interrupted and own_mapping(_basis(observed.nat)[1]) not in (None, Behavior.ENDPOINT_INDEPENDENT):
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
    if _relay_works(observed.turn) is None:
        return _RELAY_WORDS[None]
    return "no TURN server works" if has_turn(observed) else "no TURN server is configured"


def has_turn(observed: Observations) -> bool:
    """Whether a relay was configured, or at least tested."""
    uris = (parse_url(server.url) for server in observed.configured)
    return bool(observed.turn) or any(uri is not None and uri.is_turn for uri in uris)


def _gap(observed: Observations) -> str:
    """What is missing for the mapping, in the words of the probe if it said why."""
    _, nat = _basis(observed.nat)
    return nat.reason.get("mapping", "the mapping of the NAT was not measured").rstrip(".")


_NO_NETWORK = (AddressClass.LOOPBACK, AddressClass.LINK_LOCAL)


def _is_offline(observed: Observations) -> bool:
    """No address of this host leads anywhere, and no server was reached all the same."""
    reached = any(server.reachable for server in observed.servers)
    return not reached and all(item.address_class in _NO_NETWORK for item in observed.interfaces)


def _unknown(observed: Observations) -> Verdict:
    """Nothing tells whether UDP passes, and no relay works."""
    reached = any(server.reachable for server in observed.servers)
    if _is_offline(observed):
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


def slow_rtt(observed: Observations) -> float | None:
    """The round trip (seconds) that even the fastest path takes, if it is above ``SLOW_RTT``."""
    times = [server.rtt for server in observed.servers] + [report.rtt for report in observed.turn]
    fastest = min((rtt for rtt in times if rtt is not None), default=0.0)
    return fastest if fastest > SLOW_RTT else None


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


# --- exit code -------------------------------------------------------------------------------------------------------

_NEGATIVE = (VerdictCode.BLOCKED, VerdictCode.UNKNOWN)


def missing(report: ProbeReport, require: Collection[Requirement]) -> tuple[Requirement, ...]:
    """What was required and is not proven.

    ``relay``: a TURN server passed every stage; ``direct``: the outlook to a usual home router is direct; ``udp``: it
    passes; ``ipv6``: a server was reached over IPv6.
    """
    proven = {
        Requirement.RELAY: _works(report.turn),
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
