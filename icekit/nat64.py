"""A NAT between an IPv6-only network and the IPv4 Internet (RFC 6146), with the addresses of RFC 6052."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import replace

from icekit.errors import ConfigError
from icekit.nat import Drop, Nat, NatConfig
from icekit.net import Address, AddressClass, Datagram, classify_host
from icekit.resolution import NAT64_OCTETS, ServerEndpoint

WELL_KNOWN_PREFIX = "64:ff9b::/96"

_PUBLIC = (AddressClass.GLOBAL, AddressClass.DOCUMENTATION, AddressClass.BENCHMARK)


class Prefix:
    """Where IPv4 addresses are among the IPv6 ones (RFC 6052 §2.2); ConfigError: not a prefix of 32 to 96 bits."""

    def __init__(self, text: str) -> None:
        try:
            network = ipaddress.IPv6Network(text)
            self._places = NAT64_OCTETS[network.prefixlen]
        except (ValueError, KeyError):
            lengths = ", ".join(map(str, NAT64_OCTETS))
            raise ConfigError(f"{text!r} is no NAT64 prefix; write {WELL_KNOWN_PREFIX}, lengths: {lengths}") from None
        self._octets = network.network_address.packed
        # RFC 6052 §2.2: octet 8 is 0 in every such address, and so it must be in a prefix that reaches over it.
        if self._octets[8]:
            raise ConfigError(f"{text!r} is no NAT64 prefix: bits 64 to 71 must be zero")
        self._network = network
        # RFC 6052 §3.1: the well-known prefix must not carry IPv4 addresses that are not global, and a translator must
        # drop packets with them. What documentation and benchmarks use are the public addresses of simulations.
        self._only_public = network == ipaddress.IPv6Network(WELL_KNOWN_PREFIX)

    def __contains__(self, host: str) -> bool:
        return ipaddress.ip_address(host) in self._network

    def embed(self, host: str) -> str:
        """The IPv6 address that stands for an IPv4 address."""
        octets = bytearray(self._octets)
        for place, octet in zip(self._places, ipaddress.IPv4Address(host).packed, strict=True):
            octets[place] = octet
        return str(ipaddress.IPv6Address(bytes(octets)))

    def extract(self, host: str) -> str | None:
        """The IPv4 address behind an address of this prefix; ``None``: there is none that may be translated."""
        packed = ipaddress.IPv6Address(host).packed
        inner = str(ipaddress.IPv4Address(bytes(packed[place] for place in self._places)))
        return None if self._only_public and classify_host(inner) not in _PUBLIC else inner


def reached_by_ipv6(
    endpoints: Sequence[ServerEndpoint], hosts: Sequence[str], prefixes: Sequence[str]
) -> tuple[ServerEndpoint, ...]:
    """``endpoints``, and behind them the addresses of ``prefixes`` that stand for those of IPv4 (RFC 7050 §3).

    Nothing is added where one of the local ``hosts`` has IPv4, or one of the endpoints IPv6.
    """
    added = []
    if all(":" in host for host in hosts) and all(item.address.family == 4 for item in endpoints):
        for text in prefixes:
            prefix = Prefix(text)
            for item in endpoints:
                host = prefix.embed(item.address.host)
                if prefix.extract(host) is not None:
                    added.append(replace(item, address=Address(host, item.address.port)))
    return (*endpoints, *added)


class Nat64(Nat):
    """Inside hosts have IPv6 only; ``external_hosts`` are IPv4.

    Packets to ``prefix`` are translated as ``config`` says, with IPv6 sockets inside (RFC 6146 §3.5); other IPv6
    passes untranslated and filtered, and IPv4 from the inside is dropped.
    """

    def __init__(
        self,
        config: NatConfig,
        external_hosts: Sequence[str],
        *,
        prefix: str = WELL_KNOWN_PREFIX,
        token_bytes: Callable[[int], bytes],
    ) -> None:
        if not config.translates or config.alg or any(":" in host for host in external_hosts):
            raise ConfigError("a NAT64 translates to IPv4 addresses and has no ALG")
        self.prefix = Prefix(prefix)
        super().__init__(config, external_hosts, token_bytes=token_bytes)
        self._pools = (self._pools[0], self._pools[0])
        self._map_by = (self._map_by[0], self._map_by[0])

    def reboot(self) -> None:
        """Forget every mapping."""
        super().reboot()
        self._native = Nat(replace(self.config, translates=False), token_bytes=self._token_bytes)

    def translates(self, host: str) -> bool:
        """IPv6 hosts are reachable with their own address, too."""
        return ":" not in host

    def outbound(self, datagram: Datagram, now: float) -> Datagram | None:
        """As ``Nat.outbound``; a hairpin's result is IPv6, everything else to ``prefix`` leaves as IPv4."""
        destination = datagram.destination
        if datagram.source.family == 4:
            return self._drop(Drop.BLOCKED)
        if destination.host not in self.prefix:
            return self._as_native(self._native.outbound(datagram, now))
        host = self.prefix.extract(destination.host)
        if host is None:
            return self._drop(Drop.BLOCKED)
        inner = Datagram(datagram.source, Address(host, destination.port), datagram.data, datagram.transport)
        leaving = super().outbound(inner, now)
        if leaving is None or leaving.destination.family == 4:
            return leaving
        return self._embedded_source(leaving)

    def inbound(self, datagram: Datagram, now: float) -> Datagram | None:
        """As ``Nat.inbound``; what comes from an IPv4 host has an address of ``prefix``."""
        if datagram.destination.family == 6:
            return self._as_native(self._native.inbound(datagram, now))
        arriving = super().inbound(datagram, now)
        return None if arriving is None else self._embedded_source(arriving)

    def _embedded_source(self, datagram: Datagram) -> Datagram:
        host, port = datagram.source
        if ":" in host:
            return datagram
        source = Address(self.prefix.embed(host), port)
        return Datagram(source, datagram.destination, datagram.data, datagram.transport)

    def _as_native(self, datagram: Datagram | None) -> Datagram | None:
        reason = self._native.last_drop
        return self._drop(reason) if datagram is None and reason is not None else datagram
