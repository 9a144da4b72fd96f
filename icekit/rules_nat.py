"""Rules about what lies between this host and the Internet: NAT, carrier, gateway."""

from __future__ import annotations

from collections.abc import Iterator

from icekit.catalogue import new_finding
from icekit.net import AddressClass, Transport, classify_host, scope_of
from icekit.probe_observations import Observations, families, host_of
from icekit.report import Finding, Pooling


def mapping_unproven(observed: Observations) -> Iterator[Finding]:
    """ICE003: one server address cannot tell how the NAT maps."""
    for family, nat in families(observed.nat):
        if nat.udp and nat.behind_nat is not False and nat.mapping is None:
            reason = nat.reason.get("mapping", "not measured")
            message = f"Whether the {family} NAT keeps one port for all peers is not known: {reason.rstrip('.')}."
            yield new_finding("ICE003", message, *nat.mapped_addresses)


def filtering_untestable(observed: Observations) -> Iterator[Finding]:
    """ICE004: no server can test the filter."""
    for family, nat in families(observed.nat):
        if nat.udp and nat.filtering is None:
            reason = nat.reason.get("filtering", "not measured")
            message = f"Which {family} packets are let in from outside is not known: {reason.rstrip('.')}."
            yield new_finding("ICE004", message)


def srflx_not_public(observed: Observations) -> Iterator[Finding]:
    """ICE007: what servers saw is no public address, is a carrier's, or is not the same."""
    answered = [
        (server, mapped, host_of(server.address) or "")
        for server in observed.servers
        if server.transport == Transport.UDP and (mapped := host_of(server.mapped_address)) is not None
    ]
    # A server in the same site sees the private address, and rightly so.
    for server, mapped, host in answered:
        if classify_host(mapped) in (AddressClass.PRIVATE, AddressClass.CGNAT) and scope_of(mapped) < scope_of(host):
            message = f"{server.url} saw this host as {mapped}, which is no public address."
            yield new_finding("ICE007", message, f"{server.address} saw {server.mapped_address}")
            return
    for family, nat in families(observed.nat):
        if nat.cgnat:
            message = f"This {family} network is behind a carrier's NAT: opening ports on the router cannot help."
            yield new_finding("ICE007", message, *nat.mapped_addresses, fix="Use TURN, or ask for a public address.")
            return
    arbitrary = any(nat.address_pooling is Pooling.ARBITRARY for _, nat in families(observed.nat))
    groups: dict[tuple[str | None, bool, int], dict[str, str]] = {}
    for server, mapped, host in answered:
        key = (server.interface, ":" in mapped, scope_of(host))
        groups.setdefault(key, {}).setdefault(mapped, f"{server.url} saw {mapped}")
    for seen in groups.values():
        if len(seen) > 1 and not arbitrary:
            message = f"The servers disagree about this host's address: {' and '.join(seen)}."
            fix = "Trust the server on the public Internet; one behind a load balancer sees the balancer."
            yield new_finding("ICE007", message, *seen.values(), fix=fix)


def no_nat(observed: Observations) -> Iterator[Finding]:
    """ICE022: the server saw an address of this host."""
    for family, nat in families(observed.nat):
        if nat.behind_nat is False and nat.udp:
            yield new_finding("ICE022", f"This host has no {family} NAT.", *nat.mapped_addresses)


def alg_rewrite(observed: Observations) -> Iterator[Finding]:
    """ICE020: MAPPED-ADDRESS and XOR-MAPPED-ADDRESS differ (RFC 8489 §14.2)."""
    for family, nat in families(observed.nat):
        if nat.alg:
            yield new_finding("ICE020", f"A gateway rewrites addresses inside {family} STUN messages.")
