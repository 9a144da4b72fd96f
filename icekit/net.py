"""Addresses, datagrams, and the protocol that every core speaks with the world.

Nothing here opens a socket. A *core* is an object with the five methods of ``Endpoint``; the driver in
``icekit.aio`` (or a simulator, or a test) gives it time and datagrams and does what it asks for.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, TypeVar

from icekit.errors import ConfigError


class Transport(StrEnum):
    """How a datagram travels between a client and a server."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    DTLS = "dtls"

    @property
    def is_stream(self) -> bool:
        """Whether bytes arrive in order and without message boundaries."""
        return self in (Transport.TCP, Transport.TLS)


# For what looks at every packet: in Python 3.11 it takes long to find a member of an enumeration.
UDP: Final = Transport.UDP


class Address(NamedTuple):
    """A transport address: ``host`` is an IP literal (RFC 5952 form, zone allowed), ``port`` 0–65535.

    A named tuple and not a dataclass, because it is the key of every table here (hash and equality in C) and
    because ``socket`` takes it as it is.
    """

    host: str
    port: int

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``192.0.2.1:3478`` or ``[2001:db8::1]:3478``; ConfigError on anything else."""
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if bracketed:
            host = host[1:-1]
        digits = port.isascii() and port.isdigit() and len(port) <= 5
        if bracketed != (":" in host) or not digits or int(port) > 65535:
            raise ConfigError(f"{text!r} is no address; write 192.0.2.1:3478 or [2001:db8::1]:3478")
        try:
            return cls(canonical_host(host), int(port))
        except ValueError:
            raise ConfigError(f"{host!r} in {text!r} is not an IP address") from None


# The same few addresses are looked at again and again: of interfaces, candidates and pairs.
@lru_cache(maxsize=1024)
def canonical_host(host: str) -> str:
    """The RFC 5952 form of an IP literal, IPv4-mapped IPv6 as IPv4; ValueError if it is not one."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


class AddressClass(StrEnum):
    """What a host address is good for. The order of ``scope_of`` is from narrow to wide."""

    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"
    CGNAT = "cgnat"
    ULA = "ula"
    MULTICAST = "multicast"
    RESERVED = "reserved"
    DOCUMENTATION = "documentation"
    BENCHMARK = "benchmark"
    NAT64 = "nat64"
    TUNNEL = "6to4-teredo"
    MDNS = "mdns"
    NAME = "name"
    GLOBAL = "global"


# Our own table and not ``ipaddress.is_private``: that calls documentation ranges private, does not know CGNAT from
# private, and changes between Python releases. Sources: RFC 6890, 1918, 3927, 6598, 5737, 2544, 4193, 4291, 3849,
# 9637, 6052, 8215, 3056, 4380, 7335, 6666, 5180.
_NETWORKS: tuple[tuple[str, AddressClass], ...] = (
    ("0.0.0.0/8", AddressClass.UNSPECIFIED),
    ("127.0.0.0/8", AddressClass.LOOPBACK),
    ("169.254.0.0/16", AddressClass.LINK_LOCAL),
    ("10.0.0.0/8", AddressClass.PRIVATE),
    ("172.16.0.0/12", AddressClass.PRIVATE),
    ("192.168.0.0/16", AddressClass.PRIVATE),
    # What a phone behind 464XLAT or a host behind DS-Lite has for an IPv4 address.
    ("192.0.0.0/29", AddressClass.PRIVATE),
    ("100.64.0.0/10", AddressClass.CGNAT),
    ("192.0.2.0/24", AddressClass.DOCUMENTATION),
    ("198.51.100.0/24", AddressClass.DOCUMENTATION),
    ("203.0.113.0/24", AddressClass.DOCUMENTATION),
    ("198.18.0.0/15", AddressClass.BENCHMARK),
    ("224.0.0.0/4", AddressClass.MULTICAST),
    ("240.0.0.0/4", AddressClass.RESERVED),
    ("::/128", AddressClass.UNSPECIFIED),
    ("::1/128", AddressClass.LOOPBACK),
    ("64:ff9b::/96", AddressClass.NAT64),
    ("64:ff9b:1::/48", AddressClass.NAT64),
    ("100::/64", AddressClass.RESERVED),
    ("2001:2::/48", AddressClass.BENCHMARK),
    ("2001::/32", AddressClass.TUNNEL),
    ("2002::/16", AddressClass.TUNNEL),
    ("2001:db8::/32", AddressClass.DOCUMENTATION),
    ("3fff::/20", AddressClass.DOCUMENTATION),
    ("fc00::/7", AddressClass.ULA),
    ("fe80::/10", AddressClass.LINK_LOCAL),
    ("fec0::/10", AddressClass.PRIVATE),
    ("ff00::/8", AddressClass.MULTICAST),
)


def _ranges(version: int) -> tuple[tuple[int, int, AddressClass], ...]:
    networks = [(ipaddress.ip_network(text), kind) for text, kind in _NETWORKS]
    return tuple(
        (int(network.network_address), int(network.broadcast_address), kind)
        for network, kind in networks
        if network.version == version
    )


_RANGES = {4: _ranges(4), 6: _ranges(6)}


@lru_cache(maxsize=1024)
def classify_host(host: str) -> AddressClass:
    """The class of an IP literal or a name; a name is ``MDNS`` (``.local``) or ``NAME``. Never raises."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return AddressClass.MDNS if host.rstrip(".").lower().endswith(".local") else AddressClass.NAME
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    number = int(address)
    for first, last, kind in _RANGES[address.version]:
        if first <= number <= last:
            return kind
    return AddressClass.GLOBAL


def scope_of(host: str) -> int:
    """How far an address reaches: 0 this host, 1 this link, 2 this site or carrier, 3 the Internet.

    Documentation and benchmark ranges count as the Internet: laboratories use them as such.
    """
    match classify_host(host):
        case AddressClass.LOOPBACK | AddressClass.UNSPECIFIED:
            return 0
        case AddressClass.LINK_LOCAL:
            return 1
        case AddressClass.PRIVATE | AddressClass.CGNAT | AddressClass.ULA:
            return 2
        case _:
            return 3


@dataclass(frozen=True, slots=True)
class Datagram:
    """Bytes between two transport addresses: the same value on the wire, in a NAT and in a test.

    Over a stream ``data`` is any piece of the byte stream when received, and whole messages when sent: the core
    does the framing.
    """

    source: Address
    destination: Address
    data: bytes
    transport: Transport = Transport.UDP


class StreamFailure(StrEnum):
    """Why a TCP, TLS or DTLS connection could not be opened or was lost."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    CLOSED = "closed"
    TLS_NAME = "tls-name"
    TLS_EXPIRED = "tls-expired"
    TLS_ISSUER = "tls-issuer"
    NOT_TLS = "not-tls"
    TLS_OTHER = "tls-other"
    UNSUPPORTED = "unsupported"


# What a core may ask of the world. Each is an event of that core; the driver answers with a method of the core.


class SocketFailure(StrEnum):
    """Why a UDP socket could not be bound, or what ICMP said to a connected one."""

    DENIED = "denied"
    IN_USE = "in-use"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class SocketWanted:
    """Bind a fresh UDP socket on ``local`` (port 0: any) → ``socket_opened`` or ``socket_failed``.

    With ``remote`` it is connected: it hears only that address, and ICMP errors (as ``socket_failed``).
    """

    id: int
    local: Address
    remote: Address | None = None


@dataclass(frozen=True, slots=True)
class SocketReleased:
    """Close the UDP socket that is bound to ``local``."""

    local: Address


@dataclass(frozen=True, slots=True)
class StreamWanted:
    """Connect to ``remote`` → ``stream_opened``, later ``stream_closed``.

    ``local`` is the source host (``None``: the system chooses), ``server_name`` the name that the certificate must
    carry (TLS and DTLS).
    """

    id: int
    local: str | None
    remote: Address
    transport: Transport
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class StreamReleased:
    """Flush and close the stream."""

    id: int


@dataclass(frozen=True, slots=True)
class ListenerWanted:
    """Accept TCP connections on ``local`` (port 0: any) → ``listener_opened`` or ``listener_failed``.

    Each one that comes is told with ``stream_accepted``.
    """

    id: int
    local: Address


@dataclass(frozen=True, slots=True)
class ListenerReleased:
    """Accept no more on ``local``; the streams that were accepted there stay."""

    local: Address


WorldEvent = SocketWanted | SocketReleased | StreamWanted | StreamReleased | ListenerWanted | ListenerReleased

EventT_co = TypeVar("EventT_co", covariant=True)


class Endpoint(Protocol[EventT_co]):
    """The surface of every protocol core. ``now`` is in seconds on the loop's monotonic scale.

    Rules, tested over all cores: after ``handle_timer(now)`` the timer is ``None`` or later than ``now``;
    ``receive_datagram`` never raises for what a peer sent; whatever a peer can make grow is bounded;
    after ``close(now)`` everything drains to ``None``.
    """

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take what arrived; garbage is counted and dropped."""

    def handle_timer(self, now: float) -> None:
        """Do what is due; calling it early or late is harmless."""

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is wanted (absolute), or ``None``."""

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain what is to be sent, in order."""

    def next_event(self) -> EventT_co | None:
        """Drain one event, oldest first."""

    def close(self, now: float) -> None:
        """Queue the farewell; idempotent."""


class SocketUser(Protocol):
    """A core that asks for sockets of its own (``SocketWanted``)."""

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """The socket is bound to ``local``."""

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """The socket could not be bound; or, while it is open and connected, an ICMP error arrived."""


class SteadyTimer(Protocol):
    """A core that knows whether its timer is still the one that it gave."""

    timer_moved: bool
    """Whether ``get_timer`` may give something else than the last time."""


class RouteUser(Protocol):
    """A core that wants to know what did not leave."""

    def unreachable(self, datagram: Datagram, now: float) -> None:
        """The system refused to send this: it has no route from the source to the destination."""


class StreamUser(Protocol):
    """A core that asks for streams (``StreamWanted``), or serves them (``stream_accepted``)."""

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up and the TLS handshake begins (not called for plain TCP)."""

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream is up; datagrams with these addresses and its transport belong to it."""

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """It could not be opened, or it is gone; ``detail`` is the system's text."""


class StreamServer(Protocol):
    """A core that accepts streams on a listening address."""

    def stream_accepted(self, id: int, transport: Transport, local: Address, remote: Address, now: float) -> None:
        """A client connected; ``id`` is chosen by the driver and never reused."""

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """That client is gone."""


class ListenerUser(Protocol):
    """A core that asks for listening sockets (``ListenerWanted``); it is a ``StreamServer``, too."""

    def listener_opened(self, id: int, local: Address, now: float) -> None:
        """Connections to ``local`` are accepted from now on."""

    def listener_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """Nothing can listen there."""
