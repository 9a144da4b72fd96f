"""What a TURN client asks for and what it gets: ``TurnConfig``, the Allocate request, its answer (RFC 8656 §7)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from icekit import attributes as attr
from icekit.attributes import AddressErrorCode, Family, Item
from icekit.errors import ConfigError, DecodeError
from icekit.net import Address
from icekit.stun import FIRST_CHANNEL, LAST_CHANNEL
from icekit.transaction import Schedule, Succeeded
from icekit.turn_events import AllocationCreated

_PROTOCOL_UDP: Final = 17
# RFC 8656 §3.2
_DEFAULT_LIFETIME: Final = 600
_FAMILIES: Final = ((Family.IPV4, 4), (Family.IPV6, 6))
_PATIENT: Final = Schedule.exponential()
# Nobody waits for a farewell as long as for a greeting; the server forgets the allocation by itself.
_HASTY: Final = Schedule.exponential(0.25, 3, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnConfig:
    """What an allocation asks for and how patient it is.

    ``lifetime``: seconds to ask for, ``None`` leaves it to the server (RFC 8656 §7.1).
    ``families``: relayed addresses wanted; empty asks for nothing and gets IPv4 (RFC 8656 §7.1).
    ``schedule``: retransmissions of every request (RFC 8489 §6.2.1).
    ``connect_timeout``: seconds for TCP and TLS together.
    ``permission_refresh``: seconds; a permission lasts 300 (RFC 8656 §9).
    ``channel_refresh``: seconds; a channel lasts 600, but the permission that it brings 300 (RFC 8656 §12).
    ``max_peers``: bound of the permission and channel tables; ``max_events``: of data that nobody takes.
    ``max_redirects``: how often ALTERNATE-SERVER is followed (RFC 8489 §10).
    """

    lifetime: int | None = None
    families: tuple[Family, ...] = ()
    dont_fragment: bool = False
    schedule: Schedule = _PATIENT
    release_schedule: Schedule = _HASTY
    connect_timeout: float = 10.0
    permission_refresh: float = 240.0
    channel_refresh: float = 240.0
    max_peers: int = 256
    max_events: int = 1024
    max_redirects: int = 3
    software: str | None = None

    def __post_init__(self) -> None:
        if not (0 < self.permission_refresh < 300 and 0 < self.channel_refresh < 300):
            raise ConfigError("permission_refresh and channel_refresh must be more than 0 and less than 300 seconds")
        if not 1 <= self.max_peers <= LAST_CHANNEL - FIRST_CHANNEL + 1:
            raise ConfigError("max_peers must be 1 to 4096: there are no more channel numbers")
        if self.lifetime == 0:
            raise ConfigError("lifetime must be more than 0 seconds: 0 deletes an allocation")

    def allocate_items(self) -> tuple[Item, ...]:
        """The attributes of the Allocate request (RFC 8656 §7.1)."""
        items = [attr.REQUESTED_TRANSPORT(_PROTOCOL_UDP), *self.refresh_items()]
        if self.dont_fragment:
            items.append(attr.DONT_FRAGMENT(True))
        if set(self.families) == {Family.IPV4, Family.IPV6}:
            # RFC 8656 §7.1: ADDITIONAL-ADDRESS-FAMILY may only ask for IPv6, beside the IPv4 that comes by default.
            items.append(attr.ADDITIONAL_ADDRESS_FAMILY(Family.IPV6))
        elif self.families:
            items.append(attr.REQUESTED_ADDRESS_FAMILY(self.families[0]))
        return tuple(items)

    def refresh_items(self) -> tuple[Item, ...]:
        """The attributes of the Refresh request (RFC 8656 §8.1)."""
        return () if self.lifetime is None else (attr.LIFETIME(self.lifetime),)


def read_allocation(outcome: Succeeded, families: tuple[Family, ...]) -> AllocationCreated:
    """What a success response to Allocate gives; DecodeError when a client who asked for ``families`` cannot use it."""
    response = outcome.response
    # RFC 8656 §7.3: both addresses must be checked; a relayed one of a family that was not asked for is of no use.
    mapped = response.get(attr.XOR_MAPPED_ADDRESS)
    relayed = _first_of_each(response.all(attr.XOR_RELAYED_ADDRESS), families or tuple(Family))
    if not relayed:
        raise DecodeError("it has no XOR-RELAYED-ADDRESS of the wanted family")
    lifetime = response.get(attr.LIFETIME)
    if lifetime is None:
        lifetime = _DEFAULT_LIFETIME
    elif lifetime == 0:
        raise DecodeError("LIFETIME: 0 seconds")
    software: str | None = None
    refused: list[AddressErrorCode] = []
    # What only informs does not have to be right.
    with suppress(DecodeError):
        software = response.get(attr.SOFTWARE)
    with suppress(DecodeError):
        refused = response.all(attr.ADDRESS_ERROR_CODE)[:2]
    return AllocationCreated(relayed, mapped, lifetime, outcome.seconds, outcome.rtt, software, tuple(refused))


def _first_of_each(relayed: list[Address], wanted: tuple[Family, ...]) -> tuple[Address, ...]:
    first = {address.family: address for address in reversed(relayed)}
    return tuple(first[number] for family, number in _FAMILIES if family in wanted and number in first)
