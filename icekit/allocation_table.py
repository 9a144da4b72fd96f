"""The allocations of a TURN server: how their sockets come, how many there may be, and how they end (RFC 8656 §7, §8).

No messages here: ``icekit.turn_server`` reads requests and writes answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from icekit.admission import Identity, TokenBytes
from icekit.allocation import (
    Allocation,
    AllocationDeleted,
    AllocationGranted,
    Deletion,
    Opening,
    Relay,
    Reservation,
    TurnServerConfig,
    TurnServerEvent,
    family_of,
)
from icekit.attributes import Family
from icekit.net import Address, SocketFailure, SocketReleased, SocketWanted, canonical_host

logger = logging.getLogger(__name__)

# How often another relay port is tried before the family counts as not available.
_PORT_ATTEMPTS = 8

FiveTuple = tuple[Address, Address, bool]


class AllocationTable:
    """Allocations by 5-tuple (client, server, whether over a stream), relays by bound address.

    ``completed`` is called once for each allocation that ``start`` took: its relays are open, or it has failed.
    """

    def __init__(
        self,
        config: TurnServerConfig,
        *,
        token_bytes: TokenBytes,
        emit: Callable[[TurnServerEvent], None],
        completed: Callable[[Allocation, float], None],
    ) -> None:
        self._config = config
        self._token_bytes = token_bytes
        self._emit = emit
        self._completed = completed
        self.hosts: dict[int, str] = {}
        for family, host in ((Family.IPV4, config.relay_ipv4), (Family.IPV6, config.relay_ipv6)):
            if host is not None:
                self.hosts[family] = canonical_host(host)
        self._external = None if config.external_ipv4 is None else canonical_host(config.external_ipv4)
        self.allocations: dict[FiveTuple, Allocation] = {}
        self.relays: dict[Address, Relay] = {}
        self._reservations: dict[bytes, Reservation] = {}
        self._openings: dict[int, Opening] = {}
        self._used: dict[str, int] = {}
        self._next_id = 0
        self._sweep_at: float | None = None

    # Beginnings

    def refusal(self, allocation: Allocation) -> int:
        """486 or 508 when there are too many allocations and reservations of the user or in all, else 0."""
        if (
            self._used.get(allocation.identity.quota_name, 0) + allocation.places
            > self._config.max_allocations_per_user
        ):
            return 486
        return 508 if sum(self._used.values()) + allocation.places > self._config.max_allocations else 0

    def start(self, allocation: Allocation, families: list[int], *, even: bool, now: float) -> None:
        """Ask for a socket of each family."""
        self.allocations[allocation.client, allocation.local, allocation.streamed] = allocation
        self._count(allocation.identity, allocation.places)
        self.wake_at(now + allocation.lifetime)
        for family in families:
            if family in self.hosts:
                self._open(Opening(allocation, family, even))
            else:
                allocation.failed[family] = 440
        self._complete(allocation, now)

    def start_reserved(self, allocation: Allocation, token: bytes, now: float) -> bool:
        """Begin with the socket that ``token`` reserved for this user; False when there is none (any more)."""
        reservation = self._reservations.get(token)
        if (
            reservation is None
            or reservation.expires <= now
            or reservation.identity.username != allocation.identity.username
        ):
            return False
        # The place that the reservation took in the limits is the allocation's now.
        del self._reservations[token]
        self.allocations[allocation.client, allocation.local, allocation.streamed] = allocation
        self._opened(allocation, reservation.local)
        self._complete(allocation, now)
        return True

    def renew(self, allocation: Allocation, families: list[int], lifetime: float, now: float) -> None:
        """These relays live until ``now + lifetime``."""
        for family in families:
            allocation.relays[family].expires = now + lifetime
        self.wake_at(now + lifetime)

    # Sockets

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """A relay socket is bound."""
        opening = self._openings.pop(id, None)
        if opening is None:
            self._emit(SocketReleased(local))
            return
        allocation = opening.allocation
        allocation.waiting -= 1
        if opening.first is not None:
            token = self._token_bytes(8)
            self._reservations[token] = Reservation(local, allocation.identity, now + self._config.reservation_lifetime)
            allocation.places -= 1
            self.wake_at(now + self._config.reservation_lifetime)
            allocation.token = token
            self._opened(allocation, opening.first)
        elif allocation.reserve:
            opening.first = local
            self._want(opening, Address(local.host, local.port + 1))
        else:
            self._opened(allocation, local)
        self._complete(allocation, now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """A relay socket could not be bound: another port, or none."""
        opening = self._openings.pop(id, None)
        if opening is None:
            return
        allocation = opening.allocation
        allocation.waiting -= 1
        if opening.first is not None:
            self._emit(SocketReleased(opening.first))
            opening.first = None
        opening.attempts += 1
        self._open(opening)
        self._complete(allocation, now)

    def _open(self, opening: Opening) -> None:
        """Ask for a socket on a random free port of the range; mark the family as failed when there is none."""
        host = self.hosts[opening.family]
        first, last = self._config.relay_ports
        while opening.attempts < _PORT_ATTEMPTS:
            port = first + int.from_bytes(self._token_bytes(4)) % (last - first + 1)
            if opening.even:
                port -= port & 1
            # With a reservation the next port must be in the range as well.
            fits = port >= first and (not opening.allocation.reserve or port < last)
            if fits and Address(host, port) not in self.relays:
                self._want(opening, Address(host, port))
                return
            opening.attempts += 1
        opening.allocation.failed[opening.family] = 508

    def _want(self, opening: Opening, local: Address) -> None:
        self._next_id += 1
        self._openings[self._next_id] = opening
        opening.allocation.waiting += 1
        self._emit(SocketWanted(self._next_id, local))

    def _opened(self, allocation: Allocation, local: Address) -> None:
        told = local if self._external is None or local.family != 4 else Address(self._external, local.port)
        relay = Relay(allocation, local, told)
        allocation.relays[family_of(local)] = relay
        self.relays[local] = relay

    def _complete(self, allocation: Allocation, now: float) -> None:
        """The last of its sockets is open or given up: it begins, or it never was."""
        if allocation.waiting or not allocation.pending:
            return
        allocation.pending = False
        if allocation.relays:
            self.renew(allocation, list(allocation.relays), allocation.lifetime, now)
            relayed = tuple(relay.told for relay in allocation.relays.values())
            logger.debug("= allocation for %s: %s", allocation.client, ", ".join(map(str, relayed)))
            self._emit(
                AllocationGranted(allocation.client, allocation.transport, allocation.identity.username, relayed)
            )
        else:
            self.delete(allocation, None)
        self._completed(allocation, now)

    # The end of things

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is wanted: never before something expires, and at most once a second."""
        return self._sweep_at

    def handle_timer(self, now: float) -> None:
        """Forget what has expired. The data path looks at the times itself, so being late here costs only memory."""
        if self._sweep_at is None or now < self._sweep_at:
            return
        times: list[float] = []
        for token, reservation in list(self._reservations.items()):
            if reservation.expires <= now:
                self._drop_reservation(token)
            else:
                times.append(reservation.expires)
        for allocation in list(self.allocations.values()):
            if allocation.pending:
                # The driver owes us sockets; when it has forgotten them the client must not wait for ever.
                if allocation.started + allocation.lifetime <= now:
                    self.delete(allocation, None)
                else:
                    times.append(allocation.started + allocation.lifetime)
                continue
            if not self._alive(allocation, now):
                continue
            allocation.forget_permissions(now)
            allocation.forget_channels(now)
            times += [relay.expires for relay in allocation.relays.values()]
            times += allocation.permissions.values()
            times += [channel.expires for channel in allocation.by_number.values()]
        self._sweep_at = max(min(times), now + 1.0) if times else None

    def disconnected(self, source: Address, destination: Address) -> None:
        """The client's stream is gone, and its allocation with it."""
        allocation = self.allocations.get((source, destination, True))
        if allocation is not None:
            self.delete(allocation, Deletion.DISCONNECTED)

    def close(self) -> None:
        """Delete everything."""
        for allocation in list(self.allocations.values()):
            self.delete(allocation, Deletion.CLOSED)
        for token in list(self._reservations):
            self._drop_reservation(token)
        self._sweep_at = None

    def find(self, source: Address, destination: Address, streamed: bool, now: float) -> Allocation | None:
        """The allocation of a 5-tuple, if it has not expired."""
        allocation = self.allocations.get((source, destination, streamed))
        if allocation is None or allocation.pending or self._alive(allocation, now):
            return allocation
        return None

    def _alive(self, allocation: Allocation, now: float) -> bool:
        """Drop the relays that have expired, and the allocation with the last of them."""
        for family, relay in list(allocation.relays.items()):
            if relay.expires <= now:
                self.drop_relay(allocation, family)
        if allocation.relays:
            return True
        self.delete(allocation, Deletion.EXPIRED)
        return False

    def delete(self, allocation: Allocation, reason: Deletion | None) -> None:
        """Forget an allocation; without ``reason`` it never came to be, so nobody is told."""
        del self.allocations[allocation.client, allocation.local, allocation.streamed]
        self._count(allocation.identity, -allocation.places)
        for family in list(allocation.relays):
            self.drop_relay(allocation, family)
        for key, opening in list(self._openings.items()) if allocation.pending else ():
            if opening.allocation is allocation:
                del self._openings[key]
                if opening.first is not None:
                    self._emit(SocketReleased(opening.first))
        if reason is not None and not allocation.pending:
            logger.debug("= allocation for %s: %s", allocation.client, reason.value)
            self._emit(AllocationDeleted(allocation.client, allocation.transport, allocation.identity.username, reason))

    def drop_relay(self, allocation: Allocation, family: int) -> None:
        """Close one of its relayed transport addresses; its channels end with it."""
        relay = allocation.relays.pop(family)
        del self.relays[relay.local]
        self._emit(SocketReleased(relay.local))
        for channel in [channel for channel in allocation.by_number.values() if channel.relay is relay]:
            del allocation.by_number[channel.number], allocation.by_peer[channel.peer]

    def _drop_reservation(self, token: bytes) -> None:
        reservation = self._reservations.pop(token)
        self._count(reservation.identity, -1)
        self._emit(SocketReleased(reservation.local))

    def _count(self, identity: Identity, change: int) -> None:
        used = self._used.get(identity.quota_name, 0) + change
        if used:
            self._used[identity.quota_name] = used
        else:
            del self._used[identity.quota_name]

    def wake_at(self, when: float) -> None:
        """Something expires at ``when``."""
        if self._sweep_at is None or when < self._sweep_at:
            self._sweep_at = when
