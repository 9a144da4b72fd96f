"""One NAT or firewall as a pure model (RFC 4787 for UDP, RFC 5382 for TCP).

A NAT is a mapping key and a filtering key. ``Nat`` is the inner loop of the simulator and of the laboratory: it gets
every packet that crosses it, in two directions, and answers with the packet as it leaves, or ``None``::

    nat = Nat(NatConfig(filtering=Behavior.ADDRESS_DEPENDENT), ("198.51.100.1",), token_bytes=source)
    outside = nat.outbound(datagram, now)   # from the inside
    inside = nat.inbound(datagram, now)     # from the outside

Names such as "symmetric" are a gloss for people: ``icekit.nat_presets`` says what each of them means here.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from icekit.errors import ConfigError
from icekit.net import Address, Datagram, Transport
from icekit.report import Behavior, Pooling, PortAssignment

__all__ = ["Collision", "Drop", "Hairpinning", "Mapping", "Nat", "NatConfig"]


class Hairpinning(StrEnum):
    """What an inside host sees as the source of a packet that went to the NAT's own external address (RFC 4787 §6)."""

    NONE = "none"
    INTERNAL_SOURCE = "internal-source"
    EXTERNAL_SOURCE = "external-source"


class Collision(StrEnum):
    """Which port a port-preserving NAT takes when the wanted one is in use (RFC 4787 §4.2.1)."""

    NEXT = "next"
    RANDOM = "random"


class Drop(StrEnum):
    """Why a packet did not pass."""

    BLOCKED = "blocked"
    EXHAUSTED = "exhausted"
    FILTERED = "filtered"
    HAIRPIN = "hairpin"
    NO_MAPPING = "no-mapping"


@dataclass(frozen=True, kw_only=True)
class NatConfig:
    """How a NAT behaves. Lifetimes are in seconds, ports are UDP and TCP ports, bounds are counts.

    ``mapping``            which packets of one inside socket share an external port (RFC 4787 §4.1, RFC 5382 §4.1)
    ``filtering``          who may answer on it (RFC 4787 §5, RFC 5382 §4.2)
    ``hairpinning``        packets to the NAT's own external address (RFC 4787 §6)
    ``hairpin_filtered``   whether ``filtering`` holds for them; the test of RFC 5780 §4.5 supposes that it does not
    ``port_assignment``    how the external port is chosen (RFC 4787 §4.2.1); ``port_step`` belongs to sequential,
                           ``collision`` to preserving
    ``port_range``         first and last external port (RFC 4787 §4.2.1)
    ``parity``             an even port is mapped to an even one (RFC 4787 §4.2.2)
    ``contiguity``         neighbours inside are neighbours outside (RFC 4787 §4.2.3)
    ``pooling``            paired: one external address per inside host; arbitrary: the next one for every mapping
                           (RFC 4787 §4.1)
    ``udp_lifetime``       of a mapping without traffic (RFC 4787 §4.3); ``tcp_lifetime`` likewise (RFC 5382 §5)
    ``refresh_outbound``, ``refresh_inbound``   which direction renews it (RFC 4787 §4.3)
    ``alg``                the gateway writes the inside address over its own in the payload of what comes in, as in
                           RFC 8489 §14.2
    ``translates``         False: a firewall; addresses stay, ``filtering`` and the lifetimes hold
    ``udp``, ``tcp``       whether it lets them out at all; ``tcp_ports``: to these destination ports only
    ``max_mappings``       of UDP and of TCP each; ``max_filters``: remembered destinations of one mapping
    """

    mapping: Behavior = Behavior.ENDPOINT_INDEPENDENT
    filtering: Behavior = Behavior.ENDPOINT_INDEPENDENT
    hairpinning: Hairpinning = Hairpinning.EXTERNAL_SOURCE
    hairpin_filtered: bool = False
    port_assignment: PortAssignment = PortAssignment.PRESERVING
    port_step: int = 1
    collision: Collision = Collision.NEXT
    port_range: tuple[int, int] = (1024, 65535)
    parity: bool = False
    contiguity: bool = False
    pooling: Pooling = Pooling.PAIRED
    udp_lifetime: float = 300.0
    tcp_lifetime: float = 7440.0
    refresh_outbound: bool = True
    refresh_inbound: bool = False
    alg: bool = False
    translates: bool = True
    udp: bool = True
    tcp: bool = True
    tcp_ports: frozenset[int] | None = None
    max_mappings: int = 16_384
    max_filters: int = 1024

    def __post_init__(self) -> None:
        first, last = self.port_range
        if not 1 <= first <= last <= 65535:
            raise ConfigError(f"port_range {self.port_range}: write the first and the last port, 1 to 65535")
        if self.port_step == 0:
            raise ConfigError("port_step is 0: every mapping would want the same port")
        if self.udp_lifetime <= 0 or self.tcp_lifetime <= 0:
            raise ConfigError("udp_lifetime and tcp_lifetime are seconds above 0")
        if self.max_mappings < 1 or self.max_filters < 1:
            raise ConfigError("max_mappings and max_filters are at least 1")


class Mapping:
    """An inside socket and its external address; ``expires`` in seconds, ``filters``: who may answer, until when."""

    __slots__ = ("expires", "external", "filters", "internal", "key")

    def __init__(self, internal: Address, external: Address, key: object, expires: float) -> None:
        self.internal = internal
        self.external = external
        self.key = key
        self.expires = expires
        self.filters: dict[object, float] = {}


class _Table:
    """The mappings of one transport protocol; ``earliest``: nothing expires before it."""

    __slots__ = ("by_external", "by_key", "earliest", "lifetime")

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        self.by_key: dict[object, Mapping] = {}
        self.by_external: dict[Address, Mapping] = {}
        self.earliest = 0.0

    def forget(self, mapping: Mapping) -> None:
        del self.by_key[mapping.key]
        del self.by_external[mapping.external]


class _Ports:
    """The ports of ``host`` that a new mapping may take; ``parity``: 0 for even, 1 for odd, ``None`` for any."""

    __slots__ = ("_first", "_host", "_last", "_now", "_parity", "_taken")

    def __init__(self, table: _Table, host: str, port_range: tuple[int, int], parity: int | None, now: float) -> None:
        self._taken = table.by_external
        self._host = host
        self._first, self._last = port_range
        self._parity = parity
        self._now = now

    def is_free(self, port: int) -> bool:
        # RFC 4787 §4.2.1, REQ-3: one external port must not serve two inside sockets at a time.
        mapping = self._taken.get(Address(self._host, port))
        return self._first <= port <= self._last and (mapping is None or mapping.expires <= self._now)

    def first_free(self, start: int, step: int = 1) -> int | None:
        """From ``start`` on, in steps and then one by one; ``None``: there is none."""
        size = self._last - self._first + 1
        for stride in (step, 1):
            for count in range(size):
                port = self._first + (start - self._first + count * stride) % size
                # RFC 4787 §4.2.2, REQ-4: the parity of the inside port should be kept.
                if self._parity in (None, port & 1) and self.is_free(port):
                    return port
        return None


_UDP = Transport.UDP
_DTLS = Transport.DTLS


class Nat:
    """The state machine. ``external_hosts`` are its public addresses, of one family or both.

    A family without an external address is forwarded untranslated and filtered (a home router with IPv6). All chance
    is drawn from ``token_bytes``. ``now`` is in seconds and must not go back. ``dropped`` counts by reason.
    """

    def __init__(
        self, config: NatConfig, external_hosts: Sequence[str] = (), *, token_bytes: Callable[[int], bytes]
    ) -> None:
        if config.translates and not external_hosts:
            raise ConfigError("a NAT that translates needs at least one external address")
        if external_hosts and not config.translates:
            raise ConfigError("a firewall that does not translate has no external address")
        self.config = config
        self.external_hosts = tuple(external_hosts)
        self.dropped = dict.fromkeys(Drop, 0)
        self.last_drop: Drop | None = None
        self._token_bytes = token_bytes
        self._pools = tuple(tuple(host for host in external_hosts if (":" in host) == six) for six in (False, True))
        self._own = frozenset(external_hosts)
        # What is not translated has one outside address whatever the destination is.
        self._map_by = tuple(config.mapping.strictness if pool else 0 for pool in self._pools)
        self._filter_by = config.filtering.strictness
        self.reboot()

    def reboot(self) -> None:
        """Forget every mapping, as a router does that lost power."""
        self._udp = _Table(self.config.udp_lifetime) if self.config.udp else None
        self._tcp = _Table(self.config.tcp_lifetime) if self.config.tcp else None
        self._turn = 0
        self._next_port: int | None = None

    def translates(self, host: str) -> bool:
        """Whether packets from the inside address ``host`` get an external address."""
        return bool(self._pools[":" in host])

    def mappings(self, now: float) -> Iterator[Mapping]:
        """The live mappings, UDP before TCP, oldest first."""
        for table in (self._udp, self._tcp):
            if table is not None:
                yield from (mapping for mapping in table.by_key.values() if mapping.expires > now)

    def outbound(self, datagram: Datagram, now: float) -> Datagram | None:
        """A packet from the inside, as it leaves; ``None``: dropped.

        If the destination of the result is not the one that was given, the packet was sent to this NAT's own address
        and goes back inside (hairpinning).
        """
        source = datagram.source
        destination = datagram.destination
        transport = datagram.transport
        config = self.config
        if transport is _UDP or transport is _DTLS:
            table = self._udp
        else:
            table = self._tcp
            if config.tcp_ports is not None and destination.port not in config.tcp_ports:
                table = None
        if table is None:
            return self._drop(Drop.BLOCKED)

        hairpins = destination.host in self._own
        if hairpins and config.hairpinning is Hairpinning.NONE:
            return self._drop(Drop.HAIRPIN)

        # RFC 4787 §4.1: this key is what endpoint-independent, address-dependent and address-and-port-dependent
        # mapping mean.
        key: object
        match self._map_by[":" in source.host]:
            case 0:
                key = source
            case 1:
                key = (source, destination.host)
            case _:
                key = (source, destination)
        mapping = table.by_key.get(key)
        if mapping is not None and mapping.expires <= now:
            table.forget(mapping)
            mapping = None
        until = now + table.lifetime
        if mapping is None:
            mapping = self._map(table, source, destination, key, now)
            if mapping is None:
                return self._drop(Drop.EXHAUSTED)
        elif config.refresh_outbound:
            # RFC 4787 §4.3, REQ-6: outbound packets must refresh a mapping.
            mapping.expires = until

        if self._filter_by:
            filters = mapping.filters
            permitted: object = destination if self._filter_by == 2 else destination.host
            known = filters.get(permitted)
            if known is None:
                if len(filters) >= config.max_filters:
                    del filters[next(iter(filters))]
                filters[permitted] = until
            elif known <= now or config.refresh_outbound:
                filters[permitted] = until

        if hairpins:
            return self._hairpin(table, datagram, mapping, now)
        if mapping.external == source:
            return datagram
        return Datagram(mapping.external, destination, datagram.data, transport)

    def inbound(self, datagram: Datagram, now: float) -> Datagram | None:
        """A packet from the outside, as it arrives at the inside host; ``None``: dropped."""
        transport = datagram.transport
        table = self._udp if transport is _UDP or transport is _DTLS else self._tcp
        if table is None:
            return self._drop(Drop.BLOCKED)
        mapping = table.by_external.get(datagram.destination)
        if mapping is None or mapping.expires <= now:
            return self._drop(Drop.NO_MAPPING)
        if not self._admits(table, mapping, datagram.source, now):
            return self._drop(Drop.FILTERED)
        internal = mapping.internal
        data = datagram.data
        if self.config.alg:
            data = data.replace(_packed(mapping.external.host), _packed(internal.host))
        return Datagram(datagram.source, internal, data, transport)

    def _hairpin(self, table: _Table, datagram: Datagram, sender: Mapping, now: float) -> Datagram | None:
        target = table.by_external.get(datagram.destination)
        if target is None or target.expires <= now:
            return self._drop(Drop.NO_MAPPING)
        if self.config.hairpin_filtered and not self._admits(table, target, sender.external, now):
            return self._drop(Drop.FILTERED)
        # RFC 4787 §6, REQ-9a: the inside host must see the external address and port of the sender.
        external = self.config.hairpinning is Hairpinning.EXTERNAL_SOURCE
        source = sender.external if external else datagram.source
        return Datagram(source, target.internal, datagram.data, datagram.transport)

    def _admits(self, table: _Table, mapping: Mapping, source: Address, now: float) -> bool:
        """RFC 4787 §5, per mapping as session tables do it, not over all mappings of the inside socket."""
        if self._filter_by:
            permitted: object = source if self._filter_by == 2 else source.host
            until = mapping.filters.get(permitted)
            if until is None or until <= now:
                return False
            if self.config.refresh_inbound:
                mapping.filters[permitted] = now + table.lifetime
        if self.config.refresh_inbound:
            mapping.expires = now + table.lifetime
        return True

    def _drop(self, reason: Drop) -> Datagram | None:
        self.dropped[reason] += 1
        self.last_drop = reason
        return None

    def _map(self, table: _Table, source: Address, destination: Address, key: object, now: float) -> Mapping | None:
        if len(table.by_key) >= self.config.max_mappings and not self._make_room(table, now):
            return None
        pool = self._pools[":" in source.host]
        if pool:
            if self.config.pooling is Pooling.PAIRED:
                host = pool[zlib.crc32(source.host.encode()) % len(pool)]
            else:
                host = pool[self._turn % len(pool)]
                self._turn += 1
            port = self._choose_port(table, host, source, destination, now)
            if port is None:
                return None
            external = Address(host, port)
        else:
            external = source
        stale = table.by_external.get(external)
        if stale is not None:
            table.forget(stale)
        mapping = Mapping(source, external, key, now + table.lifetime)
        table.by_key[key] = mapping
        table.by_external[external] = mapping
        return mapping

    def _make_room(self, table: _Table, now: float) -> bool:
        # Refreshing only moves an expiry away, so a scan before the earliest one of the last scan finds nothing.
        if now < table.earliest:
            return False
        for mapping in [mapping for mapping in table.by_key.values() if mapping.expires <= now]:
            table.forget(mapping)
        table.earliest = min((mapping.expires for mapping in table.by_key.values()), default=0.0)
        return len(table.by_key) < self.config.max_mappings

    def _choose_port(self, table: _Table, host: str, source: Address, destination: Address, now: float) -> int | None:
        config = self.config
        ports = _Ports(table, host, config.port_range, source.port & 1 if config.parity else None, now)
        wanted = source.port
        if config.contiguity:
            for offset in (-1, 1):
                beside = self._neighbour(table, Address(source.host, wanted + offset), destination, now)
                if beside is not None and beside.host == host and ports.is_free(beside.port - offset):
                    return beside.port - offset
        match config.port_assignment:
            case PortAssignment.PRESERVING:
                if ports.is_free(wanted):
                    return wanted
                return ports.first_free(wanted + 1 if config.collision is Collision.NEXT else self._random_port())
            case PortAssignment.SEQUENTIAL:
                wish = self._random_port() if self._next_port is None else self._next_port
                port = ports.first_free(wish, config.port_step)
                if port is not None:
                    self._next_port = port + config.port_step
                return port
            case PortAssignment.RANDOM:
                return ports.first_free(self._random_port())

    def _neighbour(self, table: _Table, inside: Address, destination: Address, now: float) -> Address | None:
        keys: tuple[object, ...] = (inside, (inside, destination.host), (inside, destination))
        mapping = table.by_key.get(keys[self._map_by[":" in inside.host]])
        return mapping.external if mapping is not None and mapping.expires > now else None

    def _random_port(self) -> int:
        first, last = self.config.port_range
        return first + int.from_bytes(self._token_bytes(4), "big") % (last - first + 1)


def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed
