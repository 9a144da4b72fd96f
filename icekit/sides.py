"""One end of a call as a prediction needs it, from what is at hand: a probe report, a preset, an SDP.

``None`` stays "not measured" all the way: what a report does not tell, a prediction tries both ways.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from icekit.candidate import Candidate, CandidateType
from icekit.errors import ConfigError, DecodeError, UriError
from icekit.nat_presets import declared, preset
from icekit.net import AddressClass, Transport, canonical_host, classify_host
from icekit.probe_observations import families, host_of, url_transport
from icekit.report import NatReport, NatReports, ProbeReport, TurnReport, from_dict
from icekit.sdp import SessionDescription, read_sdp
from icekit.servers import ServerUri

__all__ = ["Relay", "Side", "read_side"]

# Interfaces that lead to no other device, or to another network than the one that was measured.
_OTHER_NETWORKS = ("loopback", "vpn")


@dataclass(frozen=True, slots=True)
class Relay:
    """A TURN server that works for this side: how it is reached, the family of the relayed address (4 or 6).

    ``host`` is the server's address, by which two sides know the same server; ``transport`` ``None``: not known.
    """

    transport: Transport | None = None
    family: int = 4
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """``nat``: a family is ``None`` where the side has no such address. Round-trip times are in seconds.

    ``rtts``            by the address of the server
    ``local_hosts``     addresses that other devices of the same network can reach
    ``public_hosts``    what servers see; together with ``local_hosts`` it tells whether two sides share a NAT
    ``tcp``             whether TCP leaves at all
    ``reflexive``       it asks a STUN server, so peers are told its mapped address
    ``port_mapping``    its gateway opens ports when asked (UPnP IGD, NAT-PMP, PCP)
    """

    nat: NatReports
    relays: tuple[Relay, ...] = ()
    rtts: dict[str, float] = field(default_factory=dict)
    local_hosts: frozenset[str] = frozenset()
    public_hosts: frozenset[str] = frozenset()
    tcp: bool | None = None
    reflexive: bool = True
    port_mapping: bool | None = None

    def nat_of(self, family: int) -> NatReport | None:
        """What is known of one family (4 or 6), ``None``: the side has no such address."""
        return self.nat.ipv4 if family == 4 else self.nat.ipv6

    @classmethod
    def from_report(cls, report: ProbeReport) -> Side:
        """What ``icekit probe`` measured."""
        seen = [address for _, nat in families(report.nat) for address in nat.mapped_addresses]
        seen += [server.mapped_address for server in report.servers if server.mapped_address]
        rtts: dict[str, float] = {}
        measured = [(server.address, server.rtt) for server in report.servers if server.transport == Transport.UDP]
        # Through the relay and back is twice the way to it and back.
        measured += [(turn.server_address, turn.rtt / 2) for turn in report.turn if turn.rtt is not None]
        for address, rtt in measured:
            host = host_of(address)
            if host is not None and rtt is not None and rtt >= 0:
                rtts[host] = min(rtt, rtts.get(host, rtt))
        streams = [server.reachable for server in report.servers if server.transport in (Transport.TCP, Transport.TLS)]
        portmap = report.portmap
        offers = () if portmap is None else (portmap.upnp, portmap.nat_pmp, portmap.pcp)
        return cls(
            nat=NatReports(_proven(report, 4), _proven(report, 6)),
            relays=tuple(_relay(turn) for turn in report.turn if turn.ok),
            rtts=rtts,
            local_hosts=_reachable(
                interface.address for interface in report.interfaces if interface.kind not in _OTHER_NETWORKS
            ),
            public_hosts=frozenset(host for address in seen if (host := host_of(address)) is not None),
            tcp=_any(streams),
            port_mapping=_any(offers),
        )

    @classmethod
    def from_preset(cls, name: str, relay: Sequence[str] = ()) -> Side:
        """A network of ``icekit.nat_presets``; ConfigError lists the names.

        ``relay`` are URLs of TURN servers; those count that the network lets through.
        """
        chain = preset(name).chain
        udp, tcp = all(config.udp for config in chain), all(config.tcp for config in chain)
        ports = [config.tcp_ports for config in chain if config.tcp_ports is not None]

        def passes(uri: ServerUri) -> bool:
            if not uri.require_transport().is_stream:
                return udp
            return tcp and all((uri.port or uri.default_port) in allowed for allowed in ports)

        relays = []
        for url in relay:
            try:
                uri = ServerUri.parse(url)
            except UriError as error:
                raise ConfigError(str(error)) from None
            if passes(uri):
                relays.append(Relay(uri.transport, host=uri.host))
        return cls(nat=NatReports(ipv4=declared(chain)), relays=tuple(relays), tcp=tcp)

    @classmethod
    def from_sdp(cls, description: SessionDescription) -> Side:
        """What the candidates of a description tell: how a NAT behaves is not in them."""
        candidates = [candidate for _, candidate in description.candidates]
        udp = [(candidate, host) for candidate, host in _literals(candidates) if candidate.transport.lower() == "udp"]
        hosts = {host for candidate, host in udp if candidate.type is CandidateType.HOST}
        mapped = {host for candidate, host in udp if candidate.type is CandidateType.SERVER_REFLEXIVE}
        relayed = {6 if ":" in host else 4 for candidate, host in udp if candidate.type is CandidateType.RELAYED}
        concealed = any(classify_host(candidate.address) is AddressClass.MDNS for candidate in candidates)
        told = {family: _nat_of(family, hosts, mapped, concealed) for family in (4, 6)}
        if not candidates:
            # Trickled later: nothing is known, and nothing is ruled out.
            told[4] = NatReport(reason=dict.fromkeys(("udp", "behind_nat"), "the description has no candidates"))
        return cls(
            nat=NatReports(told[4], told[6]),
            relays=tuple(Relay(family=family) for family in sorted(relayed)),
            local_hosts=_reachable(hosts),
            public_hosts=frozenset(mapped),
            reflexive=bool(mapped) or not candidates,
        )


def read_side(text: str, where: str) -> Side:
    """A file's text: a report of ``icekit probe --json``, an SDP, or a browser's JSON of one; ConfigError otherwise."""
    try:
        if not text.lstrip().startswith("{"):
            description = read_sdp(text, strict=False)
            if not description.media:
                raise DecodeError("neither a report of icekit probe --json nor an SDP with a media section")
            return Side.from_sdp(description)
        document = json.loads(text)
        if isinstance(document.get("sdp"), str):
            return Side.from_sdp(read_sdp(document["sdp"], strict=False))
        return Side.from_report(from_dict(ProbeReport, document))
    except DecodeError as error:
        raise ConfigError(f"{where}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: this is no JSON ({error}); give all that icekit probe --json printed") from None


def _proven(report: ProbeReport, family: int) -> NatReport | None:
    """What the report tells of a family; a relay that works over UDP proves that UDP does."""
    nat = report.nat.ipv4 if family == 4 else report.nat.ipv6
    if nat is None or nat.udp is not None:
        return nat
    servers = [host_of(turn.server_address) for turn in report.turn if turn.ok and _is_udp(turn)]
    return replace(nat, udp=True) if any(host and (":" in host) == (family == 6) for host in servers) else nat


def _is_udp(turn: TurnReport) -> bool:
    return url_transport(turn.url) in (Transport.UDP, Transport.DTLS)


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    """True if one is, False if all are, else unknown."""
    known = tuple(verdicts)
    if True in known:
        return True
    return False if known and None not in known else None


def _relay(turn: TurnReport) -> Relay:
    relayed = host_of(turn.relayed_address)
    return Relay(url_transport(turn.url), 6 if relayed and ":" in relayed else 4, host_of(turn.server_address))


def _reachable(hosts: Iterable[str]) -> frozenset[str]:
    narrow = (AddressClass.LOOPBACK, AddressClass.LINK_LOCAL, AddressClass.UNSPECIFIED)
    return frozenset(host for host in hosts if classify_host(host) not in narrow)


def _literals(candidates: Iterable[Candidate]) -> Iterator[tuple[Candidate, str]]:
    for candidate in candidates:
        try:
            yield candidate, canonical_host(candidate.address)
        except ValueError:
            continue


def _nat_of(family: int, hosts: set[str], mapped: set[str], concealed: bool) -> NatReport | None:
    """What host and server-reflexive candidates tell of one family."""
    six = family == 6
    hosts = {host for host in hosts if (":" in host) == six and classify_host(host) is not AddressClass.LINK_LOCAL}
    mapped = {host for host in mapped if (":" in host) == six}
    # A name in place of an address (mDNS) may stand for either family; IPv4 is the one that is always there.
    if not hosts and not mapped and (six or not concealed):
        return None
    known = NatReport(reason=dict.fromkeys(("mapping", "filtering", "hairpinning"), "an SDP does not tell"))
    if mapped:
        behind = None if concealed else not mapped & hosts
        return replace(known, udp=True, behind_nat=behind)
    if hosts and all(classify_host(host) is AddressClass.GLOBAL for host in hosts):
        return replace(known, behind_nat=False)
    return replace(known, behind_nat=None if concealed and not hosts else True)
