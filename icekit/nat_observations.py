"""What the NAT tests of one address family saw (RFC 4787, 5780): values without a conclusion."""

from __future__ import annotations

from dataclasses import dataclass

from icekit.attributes import Change
from icekit.net import Address, AddressClass, classify_host, scope_of

# A negative test counts only after so many transmissions: at 5 % loss in each direction three are wrong in 1.9 of 1,000
# runs, four in 0.2.
MIN_TRANSMISSIONS = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One answered Binding request from ``local`` to ``server``. ``plain`` is MAPPED-ADDRESS, if both forms were there.

    ``order`` counts first transmissions over all sockets; ``sent`` is the number of transmissions until the answer,
    ``seconds`` the time from the first of them.
    """

    test: str
    local: Address
    server: Address
    mapped: Address
    plain: Address | None
    order: int
    sent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FilterTrial:
    """A request to ``server`` that asked for an answer from elsewhere (RFC 5780 §4.4).

    ``source`` is where the answer came from, ``None`` for silence. ``control`` tells whether a plain request on the
    same socket was answered, ``other`` is the OTHER-ADDRESS that it learned. ``error``: CHANGE-REQUEST was refused with
    this code.
    """

    server: Address
    change: Change
    sent: int
    source: Address | None
    control: bool
    other: Address | None
    error: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class HairpinTrial:
    """Two sockets sent to each other's mapped address: how many requests, how many arrived."""

    sent: int
    received: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Silence:
    """A Binding request without a usable answer; ``heard`` says what came instead, ``error 401`` for example."""

    test: str
    server: Address
    sent: int
    seconds: float
    heard: str = ""


@dataclass(frozen=True, slots=True)
class LifetimeTrial:
    """A binding was left alone for ``idle`` seconds and then did, or did not, pass a packet (RFC 5780 §4.6)."""

    idle: float
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NatObservations:
    """Everything that the NAT tests of one address family saw. ``local_hosts``: all addresses of this host."""

    local_hosts: tuple[str, ...]
    samples: tuple[Sample, ...] = ()
    silences: tuple[Silence, ...] = ()
    filters: tuple[FilterTrial, ...] = ()
    hairpin: HairpinTrial | None = None
    lifetime: tuple[LifetimeTrial, ...] = ()
    lifetime_reason: str = ""
    """Why the lifetime test, if it was asked for, has no trials."""
    gateway_address: str | None = None
    """What the gateway on the way to the servers says that its own address outside is."""
    others: tuple[tuple[Address, Address], ...] = ()
    """Servers, alternate addresses too, with the OTHER-ADDRESS that each of them named."""
    rewritten: bool = False
    """Whether an answer had another MAPPED-ADDRESS than XOR-MAPPED-ADDRESS, and a FINGERPRINT that was wrong for it."""
    seconds: float = 0.0


def alternate_flaw(server: Address, other: Address) -> str | None:
    """Why ``other`` cannot be the alternate address of ``server`` (RFC 5780 §7.4); ``None``: it can be."""
    if other.family != server.family:
        return "of another family"
    if other.host == server.host or other.port == server.port:
        return "which does not differ in IP and port"
    kind = classify_host(other.host)
    if other.port == 0 or kind in (AddressClass.UNSPECIFIED, AddressClass.MULTICAST, AddressClass.RESERVED):
        return "which is no address of a server"
    if scope_of(other.host) < scope_of(server.host):
        return "which cannot be reached from outside its network"
    return None
