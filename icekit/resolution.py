"""From a server URI to the addresses it leads to: what to ask DNS for, and what the answers come to.

RFC 5928 for TURN, RFC 8489 §8 for STUN, as two pure functions over the answers so far: ``next_queries`` tells what is
to be asked, ``resolve`` what it comes to. Whoever has a resolver runs them in a loop.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, zip_longest

from icekit.net import Address, AddressClass, Transport, canonical_host, classify_host
from icekit.servers import Scheme, ServerUri, is_literal, is_localhost


class RecordType(StrEnum):
    """The DNS records that lead to a server."""

    A = "A"
    AAAA = "AAAA"
    SRV = "SRV"
    NAPTR = "NAPTR"


class QueryFailure(StrEnum):
    """Why a query has no records."""

    NO_SUCH_NAME = "no such name"
    NO_SUCH_RECORD = "no answer of that type"
    TIMED_OUT = "timed out"
    SERVER_FAILURE = "the name server failed"


@dataclass(frozen=True, slots=True)
class Query:
    """One question to DNS; the name is absolute, without the last dot."""

    name: str
    type: RecordType


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """RFC 2782."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class NaptrRecord:
    """RFC 3958 (S-NAPTR): ``service`` is like ``RELAY:turn.udp``, ``flags`` ``s``, ``a`` or empty."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


Record = str | SrvRecord | NaptrRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query came to: records (an address is a text), or why there are none."""

    records: tuple[Record, ...] = ()
    failure: QueryFailure | None = None


Answers = Mapping[Query, Answer]


@dataclass(frozen=True, slots=True)
class ServerEndpoint:
    """Where one URI leads. ``server_name`` is what a certificate must carry: the name of the URI, not the SRV target.

    ``sinkhole``: a name that leads to an address which no public server has, so a DNS filter is probably at work.
    """

    uri: ServerUri
    transport: Transport
    address: Address
    server_name: str
    sinkhole: bool = False


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a URI resolved to, best first; without endpoints ``failure`` tells why."""

    uri: ServerUri
    endpoints: tuple[ServerEndpoint, ...]
    failure: QueryFailure | None = None

    @property
    def sinkholes(self) -> tuple[ServerEndpoint, ...]:
        """The endpoints that are sinkholes."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.sinkhole)


# What a hostile zone can make grow.
MAX_QUERIES = 48
MAX_ENDPOINTS = 32
_MAX_NAPTR_DEPTH = 3

_SERVICES = {
    Transport.UDP: ("", "_udp"),
    Transport.TCP: ("", "_tcp"),
    Transport.TLS: ("s", "_tcp"),
    Transport.DTLS: ("s", "_udp"),
}


@dataclass(frozen=True, slots=True)
class _Target:
    transport: Transport
    host: str
    port: int


class _Walk:
    """One pass over the answers so far: the targets they lead to, and the questions that are still open."""

    def __init__(self, uri: ServerUri, answers: Answers, randbelow: Callable[[int], int]) -> None:
        self.uri = uri
        self.answers = answers
        self.randbelow = randbelow
        self.open: dict[Query, None] = {}
        transport = uri.require_transport()
        self.accepted: tuple[Transport, ...] = (transport,)
        if uri.transport_token is None and uri.scheme is not Scheme.STUN:
            self.accepted = (Transport.TLS, Transport.DTLS) if uri.secure else (Transport.UDP, Transport.TCP)
        self.targets = self._targets(transport)

    def _targets(self, transport: Transport) -> list[_Target]:
        # RFC 5928 §3 steps 1 and 2, RFC 8489 §8.1: an address, or a name with a port, needs neither SRV nor NAPTR.
        uri = self.uri
        plain = _Target(transport, uri.host, uri.port or uri.default_port)
        if uri.is_literal:
            return [plain]
        name = uri.host.removesuffix(".")
        if uri.port is not None or is_localhost(name):
            self.addresses(plain.host)
            return [plain]
        # Steps 3 to 5 in order of precedence. All are asked at once: one round trip instead of three.
        found = self._by_naptr(name, 1) if uri.is_turn and uri.transport_token is None else []
        published = False
        by_srv: list[_Target] = []
        for accepted in self.accepted:
            secure, protocol = _SERVICES[accepted]
            service = "turn" if uri.is_turn else "stun"
            targets = self._by_srv(f"_{service}{secure}.{protocol}.{name}", accepted)
            published = published or targets is not None
            by_srv += targets or []
        self.addresses(name)
        # RFC 2782: SRV records that lead nowhere (target ".") say that there is no such service: no fallback.
        return found or (by_srv if published else [plain])

    def _ask(self, name: str, kind: RecordType) -> tuple[Record, ...]:
        query = Query(name.removesuffix("."), kind)
        if query in self.answers:
            return self.answers[query].records
        if len(self.answers) + len(self.open) < MAX_QUERIES:
            self.open[query] = None
        return ()

    def addresses(self, name: str) -> list[str]:
        """Address texts of a name, IPv6 and IPv4 in turns so that neither family waits for all of the other."""
        six, four = (
            [record for record in self._ask(name, kind) if isinstance(record, str)]
            for kind in (RecordType.AAAA, RecordType.A)
        )
        return [host for host in chain.from_iterable(zip_longest(six, four)) if host is not None]

    def _by_srv(self, name: str, transport: Transport) -> list[_Target] | None:
        records = [record for record in self._ask(name, RecordType.SRV) if isinstance(record, SrvRecord)]
        if not records:
            return None
        targets = []
        for record in srv_order(records, self.randbelow):
            if record.target not in (".", "") and record.port:
                self.addresses(record.target)
                targets.append(_Target(transport, record.target.removesuffix("."), record.port))
        return targets

    def _by_naptr(self, name: str, depth: int) -> list[_Target]:
        records = [record for record in self._ask(name, RecordType.NAPTR) if isinstance(record, NaptrRecord)]
        targets: list[_Target] = []
        for record in sorted(records, key=lambda record: (record.order, record.preference)):
            service, *protocols = record.service.lower().split(":")
            transports = [item for item in self.accepted if f"turn.{item}" in protocols]
            if service != "relay" or not transports:
                continue
            match record.flags.lower():
                case "s":
                    for transport in transports:
                        targets += self._by_srv(record.replacement, transport) or []
                case "a":
                    self.addresses(record.replacement)
                    host = record.replacement.removesuffix(".")
                    targets += [_Target(transport, host, self.uri.default_port) for transport in transports]
                case "" if depth < _MAX_NAPTR_DEPTH:
                    targets += self._by_naptr(record.replacement, depth + 1)
        return targets


def next_queries(uri: ServerUri, answers: Answers) -> tuple[Query, ...]:
    """What is to be asked now, given the answers so far; empty when all is known.

    Queries of one round may run side by side. They stand in the order of precedence: NAPTR, SRV, AAAA, A.
    ConfigError if nothing here speaks the transport of the URI.
    """
    return tuple(_Walk(uri, answers, lambda bound: 0).open)


def resolve(uri: ServerUri, answers: Answers, randbelow: Callable[[int], int]) -> Resolution:
    """Where the URI leads by these answers; a query without an answer counts as timed out.

    ``randbelow(n)`` gives a number from 0 to n − 1 (for SRV weights).
    """
    walk = _Walk(uri, answers, randbelow)
    endpoints: dict[tuple[Transport, Address], ServerEndpoint] = {}
    for target in walk.targets:
        literal = uri.is_literal
        for host in [target.host] if literal else walk.addresses(target.host):
            if is_literal(host) and len(endpoints) < MAX_ENDPOINTS:
                address = Address(canonical_host(host), target.port)
                sinkhole = not literal and is_sinkhole(uri.host, address.host)
                endpoint = ServerEndpoint(uri, target.transport, address, uri.host.removesuffix("."), sinkhole)
                endpoints.setdefault((target.transport, address), endpoint)
    failure = None if endpoints else _failure(answers, complete=not walk.open)
    return Resolution(uri, tuple(endpoints.values()), failure)


def _failure(answers: Answers, *, complete: bool) -> QueryFailure:
    failures = {answer.failure for query, answer in answers.items() if query.type in (RecordType.A, RecordType.AAAA)}
    if not complete:
        failures.add(QueryFailure.TIMED_OUT)
    order = (QueryFailure.NO_SUCH_NAME, QueryFailure.TIMED_OUT, QueryFailure.SERVER_FAILURE)
    return next((item for item in order if item in failures), QueryFailure.NO_SUCH_RECORD)


def srv_order(records: Iterable[SrvRecord], randbelow: Callable[[int], int]) -> list[SrvRecord]:
    """SRV records in the order to try them: by priority, and by chance according to the weight (RFC 2782)."""
    # Weight 0 comes first, so that it keeps a small chance of being chosen.
    left = sorted(records, key=lambda record: (record.priority, record.weight > 0))
    ordered = []
    while left:
        group = [record for record in left if record.priority == left[0].priority]
        chosen = randbelow(sum(record.weight for record in group) + 1)
        for record in group:
            chosen -= record.weight
            if chosen <= 0:
                ordered.append(record)
                left.remove(record)
                break
    return ordered


def is_sinkhole(name: str, host: str) -> bool:
    """Whether ``host`` is an answer for ``name`` that no real server has; never for a literal or ``localhost``."""
    if is_literal(name) or is_localhost(name):
        return False
    return classify_host(host) in (AddressClass.UNSPECIFIED, AddressClass.LOOPBACK, AddressClass.DOCUMENTATION)


DNS64_QUERY = Query("ipv4only.arpa", RecordType.AAAA)
_WELL_KNOWN = tuple(ipaddress.IPv4Address(text).packed for text in ("192.0.0.170", "192.0.0.171"))
# RFC 6052 §2.2: where the IPv4 octets stand behind a prefix of that many bits; octet 8 is left out.
NAT64_OCTETS = {
    32: (4, 5, 6, 7),
    40: (5, 6, 7, 9),
    48: (6, 7, 9, 10),
    56: (7, 9, 10, 11),
    64: (9, 10, 11, 12),
    96: (12, 13, 14, 15),
}


def nat64_prefixes(answers: Iterable[str]) -> tuple[str, ...]:
    """The NAT64 prefixes that AAAA answers for ``ipv4only.arpa`` reveal (RFC 7050 §3); none: no DNS64.

    An answer that shows a well-known IPv4 address in more than one place tells nothing and is left out.
    """
    prefixes: dict[str, None] = {}
    for text in answers:
        try:
            packed = ipaddress.IPv6Address(text).packed
        except ValueError:
            continue
        lengths = [
            length for length, places in NAT64_OCTETS.items() if bytes(packed[place] for place in places) in _WELL_KNOWN
        ]
        if len(lengths) == 1:
            prefixes[str(ipaddress.IPv6Network((packed, lengths[0]), strict=False))] = None
    return tuple(prefixes)
