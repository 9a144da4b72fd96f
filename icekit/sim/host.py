"""Simulated hosts: addresses, ports, and the tasks that run on them."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TypeVar

from icekit.errors import ConfigError
from icekit.net import Address, Datagram
from icekit.sim.link import Channel
from icekit.sim.packet import PortUnreachable, Segment
from icekit.sim.tcp import TcpStack
from icekit.sim.udp import WILDCARDS, SimDatagramTransport

if TYPE_CHECKING:
    from icekit.sim.internet import Internet
    from icekit.sim.network import Network

T = TypeVar("T")

# Linux's ephemeral range.
_FIRST_PORT, _LAST_PORT = 32_768, 60_999

_current: ContextVar[Host] = ContextVar("icekit_sim_host")


def current_host() -> Host:
    """The host that the running code belongs to; ConfigError outside of every host."""
    try:
        return _current.get()
    except LookupError:
        raise ConfigError(
            "this code runs on no simulated host: start it with host.run(coroutine), or inside `with host:`"
        ) from None


def is_loopback(host: str) -> bool:
    """Whether an address never leaves its host."""
    return host.startswith("127.") or host == "::1"


class Interface:
    """One place where a host is attached: its addresses there and the two directions of its access link."""

    __slots__ = ("addresses", "down", "name", "network", "up")

    def __init__(
        self, name: str, network: Network, addresses: tuple[str, ...], up: Channel | None, down: Channel | None
    ) -> None:
        self.name = name
        self.network = network
        self.addresses = addresses
        self.up = up
        self.down = down


class Host:
    """A machine. ``host.run(coroutine)`` starts a task on it; ``with host:`` binds what is started inside.

    Sockets that a task opens belong to the host that the task runs on. ``addresses`` in order of attachment.
    """

    def __init__(self, internet: Internet, name: str) -> None:
        self.internet = internet
        self.name = name
        self.interfaces: list[Interface] = []
        self.is_up = True
        self.tcp = TcpStack(self)
        self._port_state = zlib.crc32(f"{internet.seed}/{name}/ports".encode())
        self._by_address: dict[str, Interface] = {}
        self._udp: dict[Address, SimDatagramTransport] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._tokens: list[Token[Host]] = []

    def __repr__(self) -> str:
        return f"<Host {self.name} {' '.join(self.addresses)}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses but loopback."""
        return tuple(self._by_address)

    @property
    def address(self) -> str:
        """The first address."""
        return next(iter(self._by_address))

    def __enter__(self) -> Host:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *_exception: object) -> None:
        _current.reset(self._tokens.pop())

    def run(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Start ``coroutine`` as a task of this host."""
        context = contextvars.copy_context()
        context.run(_current.set, self)
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def kill(self) -> None:
        """End every program: tasks are cancelled, sockets are gone, peers get ICMP and resets."""
        for task in tuple(self._tasks):
            task.cancel()
        for transport in tuple(self._udp.values()):
            transport.close()
        self.tcp.kill()

    def down(self) -> None:
        """Lose every packet to and from this host, as a pulled plug does; programs go on."""
        self.is_up = False

    def up(self) -> None:
        """Undo ``down``."""
        self.is_up = True

    def add_interface(self, interface: Interface) -> None:
        """Called by ``Network.attach``."""
        self.interfaces.append(interface)
        for address in interface.addresses:
            self._by_address[address] = interface

    def remove_address(self, address: str) -> None:
        """Called by ``Network.detach``: sockets that are bound to it stay and reach nobody."""
        interface = self._by_address.pop(address)
        interface.addresses = tuple(other for other in interface.addresses if other != address)

    def source_for(self, destination: str) -> str | None:
        """The source address towards ``destination`` for a socket bound to the wildcard; ``None``: no route."""
        if is_loopback(destination) or destination in self._by_address:
            return destination
        six = ":" in destination
        candidates = [host for host in self._by_address if (":" in host) == six]
        for host in candidates:
            if destination in self._by_address[host].network.members:
                return host
        routed = [host for host in candidates if self._by_address[host].network.has_route]
        return next(iter(routed or candidates), None)

    def bind(self, local: Address, remote: Address | None, protocol: asyncio.BaseProtocol) -> SimDatagramTransport:
        """A UDP socket; ``OSError`` with the system's number if that cannot be."""
        self.check_address(local.host)
        local = Address(local.host, self.free_port(local, self._is_taken))
        transport = SimDatagramTransport(self, local, remote, protocol)
        self._udp[local] = transport
        return transport

    def check_address(self, address: str) -> None:
        """``OSError`` if a socket cannot be bound to ``address`` here."""
        if address not in WILDCARDS and address not in self._by_address and not is_loopback(address):
            raise OSError(errno.EADDRNOTAVAIL, f"{os.strerror(errno.EADDRNOTAVAIL)}: {address} on {self.name}")

    def _is_taken(self, local: Address) -> bool:
        if local in self._udp:
            return True
        if local.host in WILDCARDS:
            return any(other.port == local.port and other.family == local.family for other in self._udp)
        return Address("::" if local.family == 6 else WILDCARDS[0], local.port) in self._udp

    def free_port(self, local: Address, is_taken: Callable[[Address], bool]) -> int:
        """The port of ``local``, or an ephemeral one for 0; ``OSError`` if it is taken or there is none."""
        if local.port:
            if is_taken(local):
                raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: {local} on {self.name}")
            return local.port
        for port in self._ephemeral():
            if not is_taken(Address(local.host, port)):
                return port
        raise OSError(errno.EADDRINUSE, f"no free port on {self.name}")

    def _ephemeral(self) -> Iterator[int]:
        size = _LAST_PORT - _FIRST_PORT + 1
        # The generator of Numerical Recipes: ports need no better dice, and seeding better ones costs every host.
        self._port_state = (self._port_state * 1_664_525 + 1_013_904_223) & 0xFFFF_FFFF
        start = self._port_state * size >> 32
        return (_FIRST_PORT + (start + offset) % size for offset in range(size))

    def release(self, transport: SimDatagramTransport) -> None:
        """Forget a socket that was closed."""
        if self._udp.get(transport.local) is transport:
            del self._udp[transport.local]

    def forget_sockets(self) -> None:
        """The run is over, and so are its programs."""
        self._udp.clear()
        self.tcp.clear()
        self._tasks.clear()

    def send(self, datagram: Datagram) -> None:
        """Put a packet on its way."""
        internet = self.internet
        if internet.is_watched:
            internet.note("sent", self.name, datagram)
        if not self.is_up:
            internet.note("lost", f"{self.name} is down", datagram)
            return
        destination = datagram.destination.host
        if destination in self._by_address or is_loopback(destination):
            internet.later(internet.now, self.deliver, datagram)
            return
        interface = self._by_address.get(datagram.source.host)
        if interface is None:
            internet.note("lost", f"{self.name} has no such address", datagram)
        elif interface.up is None:
            interface.network.route(datagram, self)
        else:
            internet.pass_through(interface.up, datagram, interface.network.route, self)

    def accept(self, datagram: Datagram) -> None:
        """A packet came to the far end of the access link."""
        interface = self._by_address.get(datagram.destination.host)
        if interface is None or interface.down is None:
            self.deliver(datagram)
        else:
            self.internet.pass_through(interface.down, datagram, self.deliver)

    def deliver(self, datagram: Datagram, *_: object) -> None:
        """A packet arrived."""
        internet = self.internet
        if not self.is_up:
            internet.note("lost", f"{self.name} is down", datagram)
            return
        if internet.is_watched:
            internet.note("received", self.name, datagram)
        destination = datagram.destination
        if isinstance(datagram, PortUnreachable):
            transport = self._socket(destination)
            if transport is not None:
                transport.refused(datagram.source)
            return
        if isinstance(datagram, Segment):
            self.tcp.receive(datagram)
            return
        transport = self._socket(destination)
        if transport is None or not transport.receive(datagram):
            # RFC 1122 §4.1.3.1: a datagram to a port where nobody listens should be answered with port unreachable.
            self.send(PortUnreachable(destination, datagram.source, b""))

    def _socket(self, local: Address) -> SimDatagramTransport | None:
        transport = self._udp.get(local)
        if transport is None:
            wildcard = Address("::" if ":" in local.host else WILDCARDS[0], local.port)
            transport = self._udp.get(wildcard)
        return transport
