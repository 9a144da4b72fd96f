"""UDP sockets of the simulated hosts, as ``create_datagram_endpoint`` returns them."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import os
from typing import TYPE_CHECKING, Any

from icekit.net import Address, Datagram, canonical_host

if TYPE_CHECKING:
    from icekit.sim.host import Host

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  # compared with, nothing of the system is bound


# Programs write the same few literals again and again.
literal = functools.lru_cache(maxsize=4096)(canonical_host)


def socket_address(address: Address) -> tuple[Any, ...]:
    """What a socket of the system reports: two items for IPv4, four for IPv6."""
    host, port = address
    return (host, port, 0, 0) if ":" in host else (host, port)


class SimDatagramTransport(asyncio.DatagramTransport):
    """One bound UDP socket; ``remote``: connected, only that peer is heard, and ICMP errors are reported."""

    def __init__(self, host: Host, local: Address, remote: Address | None, protocol: asyncio.BaseProtocol) -> None:
        names: dict[str, Any] = {"sockname": socket_address(local)}
        if remote is not None:
            names["peername"] = socket_address(remote)
        super().__init__(names)
        self.local = local
        self.remote = remote
        self._host = host
        self._protocol: Any = protocol
        self._closing = False
        self._wildcard = local.host in WILDCARDS
        self._targets: dict[Any, tuple[Address, Address]] = {}
        self._context = contextvars.copy_context()

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send one datagram; errors of the system go to ``error_received``, as with a real socket."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._closing:
            return
        if self.remote is not None:
            if addr is not None and Address(*addr[:2]) != self.remote:
                raise ValueError(f"Invalid address: must be None or {self.remote}")
            addr = self.remote
        known = self._targets.get(addr)
        if known is None:
            known = self._prepare(addr)
            if known is None:
                return
        # RFC 791, 8200: the length of an IP packet has 16 bits.
        if len(data) > (65_527 if known[1].family == 6 else 65_507):
            self._protocol.error_received(OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE)))
            return
        self._host.send(Datagram(known[0], known[1], bytes(data)))

    def _prepare(self, addr: Any) -> tuple[Address, Address] | None:
        """Source and destination of what is sent to ``addr``, kept for the next time."""
        destination = Address(literal(addr[0]), addr[1])
        source = self.local
        if self._wildcard or destination.family != source.family:
            chosen = None
            if destination.family == source.family or source.host == "::":
                chosen = self._host.source_for(destination.host)
            if chosen is None:
                self._protocol.error_received(OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)))
                return None
            source = Address(chosen, source.port)
        if len(self._targets) > 1000:
            self._targets.clear()
        self._targets[addr] = known = (source, destination)
        return known

    def receive(self, datagram: Datagram) -> bool:
        """Hand a datagram to the program; False: this socket is connected to somebody else."""
        if self.remote is not None and datagram.source != self.remote:
            return False
        if not self._closing:
            self._context.run(self._protocol.datagram_received, datagram.data, socket_address(datagram.source))
        return True

    def refused(self, by: Address) -> None:
        """An ICMP port unreachable came back; only a connected socket hears of it."""
        if self.remote == by and not self._closing:
            error = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            self._context.run(self._protocol.error_received, error)

    def close(self) -> None:
        """Give the port back; ``connection_lost`` follows."""
        if not self._closing:
            self._closing = True
            self._host.release(self)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None, context=self._context)

    def abort(self) -> None:
        """As ``close``: nothing is buffered."""
        self.close()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that hears this socket."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol hear it."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0
