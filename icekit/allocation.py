"""What a TURN server knows: its configuration, and the state of each allocation (RFC 8656 §3.2, §6).

Plain records; ``icekit.turn_server`` has the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from icekit.admission import Identity, Request
from icekit.attributes import Family
from icekit.errors import ConfigError
from icekit.net import Address, SocketReleased, SocketWanted, Transport, canonical_host


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnServerConfig:
    """What the relay does and for whom. Times in seconds."""

    # Name of the realm, also in the keys (RFC 8489 §9.2).
    realm: str = "icekit"
    # Long-term credentials: user name to password (RFC 8489 §9.2).
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    # Shared secret of time-limited credentials: user name "<UNIX time>:<name>", password base64(HMAC-SHA1).
    secret: str | None = field(default=None, repr=False)
    # Offer SHA-256 keys and USERHASH (RFC 8489 §9.2.1); off by default, as in the servers that people run.
    password_algorithms: bool = False
    # How long a nonce is good (RFC 8656 §5 asks for at most an hour).
    nonce_lifetime: float = 3600.0
    # Hosts on which relayed transport addresses are bound; None: that family is answered 440 (RFC 8656 §7.2).
    relay_ipv4: str | None = None
    relay_ipv6: str | None = None
    # The IPv4 host to tell clients instead, when a one-to-one NAT stands before the relay.
    external_ipv4: str | None = None
    # First and last relay port (RFC 8656 §7.2 recommends the dynamic range).
    relay_ports: tuple[int, int] = (49152, 65535)
    # Networks that may be peers although they are not public ("127.0.0.0/8", RFC 8656 §21.1).
    allow_peers: tuple[str, ...] = ()
    # Lifetime of an allocation when none is asked for, and the longest (RFC 8656 §7.2).
    default_lifetime: int = 600
    max_lifetime: int = 3600
    # Lifetime of a permission (RFC 8656 §9) and of a channel (RFC 8656 §12).
    permission_lifetime: float = 300.0
    channel_lifetime: float = 600.0
    # How long the second port of an EVEN-PORT request is kept (RFC 8656 §7.2 asks for at least 30).
    reservation_lifetime: float = 30.0
    # Allocations and reservations in all; more are answered 508.
    max_allocations: int = 1000
    # Allocations and reservations of one user; more are answered 486.
    max_allocations_per_user: int = 100
    # Permissions and channels of one allocation; more are answered 508.
    max_permissions: int = 128
    max_channels: int = 128

    def __post_init__(self) -> None:
        if not self.users and not self.secret:
            raise ConfigError("a TURN server needs credentials: give users or a shared secret")
        if self.relay_ipv4 is None and self.relay_ipv6 is None:
            raise ConfigError("a TURN server needs a host to relay on: give relay_ipv4, relay_ipv6 or both")
        for name, host, family in (
            ("relay host", self.relay_ipv4, 4),
            ("external host", self.external_ipv4, 4),
            ("relay host", self.relay_ipv6, 6),
        ):
            if host is not None and not _is_literal(host, family):
                raise ConfigError(f"{name}: {host!r} is not an IPv{family} address")
        first, last = self.relay_ports
        if not 1 <= first <= last <= 65535:
            raise ConfigError(f"relay ports {first} to {last}: give the first and the last of a range in 1–65535")


class Deletion(StrEnum):
    """Why an allocation ended."""

    EXPIRED = "expired"
    RELEASED = "released"
    DISCONNECTED = "disconnected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class AllocationGranted:
    """``username`` got ``relayed`` (as told to the client) for ``client``."""

    client: Address
    transport: Transport
    username: str
    relayed: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class AllocationDeleted:
    """The allocation of ``client`` ended, and its relayed transport addresses with it."""

    client: Address
    transport: Transport
    username: str
    reason: Deletion


TurnServerEvent = SocketWanted | SocketReleased | AllocationGranted | AllocationDeleted


class Relay:
    """A relayed transport address: ``local`` is bound, ``told`` is what the client knows."""

    __slots__ = ("allocation", "expires", "local", "told")

    def __init__(self, allocation: Allocation, local: Address, told: Address) -> None:
        self.allocation = allocation
        self.local = local
        self.told = told
        self.expires = 0.0


class Channel:
    """A channel number bound to a peer (RFC 8656 §12)."""

    __slots__ = ("expires", "number", "peer", "relay")

    def __init__(self, number: int, peer: Address, relay: Relay) -> None:
        self.number = number
        self.peer = peer
        self.relay = relay
        self.expires = 0.0


class Allocation:
    """One client's allocation, for its 5-tuple (RFC 8656 §3.2); ``request`` is unanswered while ports are opened."""

    __slots__ = (
        "by_number",
        "by_peer",
        "client",
        "failed",
        "identity",
        "lifetime",
        "local",
        "pending",
        "permissions",
        "places",
        "relays",
        "request",
        "reserve",
        "started",
        "streamed",
        "token",
        "transaction_id",
        "transport",
        "waiting",
    )

    def __init__(self, request: Request, identity: Identity, lifetime: int, reserve: bool, now: float) -> None:
        self.client = request.source
        self.local = request.destination
        self.transport = request.transport
        self.streamed = request.transport is not Transport.UDP
        self.identity = identity
        self.transaction_id = request.message.transaction_id
        self.request = request
        self.lifetime = lifetime
        self.reserve = reserve
        self.started = now
        # How many places in the limits it takes: a second one for the port that it is about to reserve.
        self.places = 2 if reserve else 1
        self.pending = True
        self.waiting = 0
        self.failed: dict[int, int] = {}
        self.token: bytes | None = None
        self.relays: dict[int, Relay] = {}
        self.permissions: dict[str, float] = {}
        self.by_number: dict[int, Channel] = {}
        self.by_peer: dict[Address, Channel] = {}

    def forget_permissions(self, now: float) -> None:
        """Drop the permissions that have expired."""
        for host in [host for host, expires in self.permissions.items() if expires <= now]:
            del self.permissions[host]

    def forget_channels(self, now: float) -> None:
        """Drop the channels that have expired."""
        for channel in [channel for channel in self.by_number.values() if channel.expires <= now]:
            del self.by_number[channel.number], self.by_peer[channel.peer]


class Opening:
    """A socket that was asked for. ``first`` is the open even port when this is the one to be reserved."""

    __slots__ = ("allocation", "attempts", "even", "family", "first")

    def __init__(self, allocation: Allocation, family: int, even: bool) -> None:
        self.allocation = allocation
        self.family = family
        self.even = even
        self.attempts = 0
        self.first: Address | None = None


class Reservation:
    """The bound port next to that of an EVEN-PORT request (RFC 8656 §7.2)."""

    __slots__ = ("expires", "identity", "local")

    def __init__(self, local: Address, identity: Identity, expires: float) -> None:
        self.local = local
        self.identity = identity
        self.expires = expires


def family_of(address: Address) -> int:
    """The address's family in the words of REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.6)."""
    return Family.IPV6 if ":" in address.host else Family.IPV4


def _is_literal(host: str, family: int) -> bool:
    try:
        return Address(canonical_host(host), 0).family == family
    except ValueError:
        return False
