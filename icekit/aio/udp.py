"""One UDP socket of a driver on asyncio."""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from typing import Any, Protocol

from icekit.aio.failures import has_no_route
from icekit.net import Address

log = logging.getLogger(__name__)

_MAX_DATAGRAM = 65_535  # RFC 768


class UdpOwner(Protocol):
    """Who is told of what happens on a socket, at once and in the same turn of the loop."""

    def udp_opened(self, udp: UdpSocket) -> None:
        """It is bound, and can send."""

    def udp_received(self, source: Address, local: Address, data: bytes) -> None:
        """A datagram has come from ``source``."""

    def udp_failed(self, udp: UdpSocket, error: OSError) -> None:
        """The system told an error: of what was sent last, or, where the peer is fixed, of what was sent before."""

    def udp_closed(self, udp: UdpSocket) -> None:
        """It is gone."""


class UdpSocket(asyncio.DatagramProtocol):
    """``id``: the owner's name for it, if any. ``connected``: it has one peer, of which the system tells errors."""

    def __init__(self, owner: UdpOwner, id: int | None = None, *, connected: bool = False) -> None:
        self._owner = owner
        self.id = id
        self.connected = connected
        self.local = Address("", 0)
        """What it is bound to."""
        self._transport: asyncio.DatagramTransport | None = None
        self._paused = False
        self._errors: list[OSError] = []

    def send(self, data: bytes, destination: Address) -> bool:
        """Send; False if the system has no route for this datagram."""
        assert self._transport is not None
        # The system takes no more: what it would do with more is to drop it.
        if not self._paused and not self._transport.is_closing():
            # What the system says before sendto() returns is about the datagram that it was given.
            self._errors.clear()
            self._transport.sendto(data, None if self.connected else destination)
            return not self._errors or not has_no_route(self._errors[0])
        return True

    def close(self) -> None:
        """Give the port back; the owner hears of it in one of the next turns of the loop."""
        assert self._transport is not None
        self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        """It is bound."""
        self._transport = transport
        if hasattr(transport, "max_size"):
            # asyncio takes 256 KiB of memory for each datagram, which can cost more than everything else.
            transport.max_size = _MAX_DATAGRAM
        self.local = socket_address(transport.get_extra_info("sockname"))
        self._owner.udp_opened(self)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A datagram has come."""
        self._owner.udp_received(socket_address(addr), self.local, data)

    def error_received(self, exc: Exception) -> None:
        """The system told an error."""
        log.debug("! %s: %s", self.local, exc)
        if isinstance(exc, OSError):
            self._errors = [exc]
            self._owner.udp_failed(self, exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._owner.udp_closed(self)

    def pause_writing(self) -> None:
        """The system takes no more."""
        self._paused = True

    def resume_writing(self) -> None:
        """It takes again."""
        self._paused = False


@lru_cache(maxsize=1024)  # data comes again and again from the same few
def socket_address(name: tuple[Any, ...]) -> Address:
    """The address in what a socket of the system reports, of two items for IPv4 and four for IPv6."""
    return Address(name[0], name[1])
