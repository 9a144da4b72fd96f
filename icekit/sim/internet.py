"""The simulated Internet: hosts, networks behind NATs, names, and programs that run on them in virtual time."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import random
import socket
import sys
import threading
import zlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ifaddr

from icekit.errors import ConfigError
from icekit.nat import NatConfig
from icekit.nat_presets import Preset, preset
from icekit.net import Address, Datagram, canonical_host
from icekit.sim.capture import Capture
from icekit.sim.host import Host, current_host
from icekit.sim.link import Channel, Link
from icekit.sim.loop import SimLoop
from icekit.sim.network import Network, make_gateway
from icekit.sim.packet import PortUnreachable, Segment, size_of
from icekit.sim.tcp import served_with_tls, start_plain, start_tls
from icekit.sim.timeline import Timeline, kind_of
from icekit.sim.udp import WILDCARDS, literal

T = TypeVar("T")

NatLike = str | Preset | NatConfig | Sequence[NatConfig]

_DAY = 86_400.0


def _numbered(*networks: str) -> Iterator[str]:
    """The host addresses of IPv4 networks of 24 or 16 bits, given by their leading octets."""
    for network in networks:
        if network.count(".") == 2:
            yield from (f"{network}.{number}" for number in range(1, 255))
        else:
            yield from (f"{network}.{third}.{number}" for third in range(256) for number in range(1, 255))


class Internet:
    """Everything is drawn from ``seed``: equal seeds and programs give equal timelines.

    ``link`` is what lies between any two members of the Internet (hosts and NATs), each way. ``timeline=True`` keeps
    every packet's fate in ``timeline``. ``capture``: a file for what every host sends and receives and for what is
    lost, in a form that Wireshark opens (pcapng). A run that passes ``limit`` seconds of virtual time raises.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        link: Link | None = None,
        timeline: bool = False,
        capture: str | os.PathLike[str] | None = None,
        limit: float = _DAY,
    ) -> None:
        self.seed = seed
        self.hosts: list[Host] = []
        # RFC 7050 §8.2: what it is asked for is whether there is a DNS64.
        self.names: dict[str, list[str]] = {"ipv4only.arpa": ["192.0.0.170", "192.0.0.171"]}
        self.timeline: Timeline | None = Timeline() if timeline else None
        self.capture: Capture | None = None if capture is None else Capture(capture)
        self.is_watched = timeline or capture is not None
        self._limit = limit
        self._now = 0.0
        self._loop: SimLoop | None = None
        self._agenda: list[tuple[float, Callable[[], object]]] = []
        self._labels: dict[str, int] = {}
        self._subnets = itertools.count(1)
        public = _numbered("203.0.113", "198.18")
        self.root = Network(self, "internet", (public, _numbered_ipv6("2001:db8:1::")), link)
        self._external = (
            _numbered("198.51.100", "198.19"),
            _numbered_ipv6("2001:db8:2::"),
        )

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning, over all runs."""
        return self._now if self._loop is None else self._loop.time()

    def host(
        self,
        name: str | None = None,
        *,
        nat: NatLike | None = None,
        addresses: Sequence[str] | None = None,
        ipv6: bool = False,
        link: Link | None = None,
        uplink: Link | None = None,
    ) -> Host:
        """A host on the Internet, or alone behind ``nat`` (preset name, config, or chain from the inside out)."""
        place = self.root if nat is None else self.network(nat, name=f"{name}-lan" if name else None)
        return place.host(name, addresses=addresses, ipv6=ipv6, link=link, uplink=uplink)

    def network(
        self,
        nat: NatLike | None,
        *,
        name: str | None = None,
        outside: Network | None = None,
        external: int | Sequence[str] = 1,
        nat66: bool = False,
        nat64: str | None = None,
        link: Link | None = None,
    ) -> Network:
        """A network behind ``nat``; ``None``: joined with nothing (a bridge for containers, a dead VPN).

        ``outside``: where the NAT leads, by default the Internet. ``external``: how many public addresses the
        outermost NAT has, or which. ``nat66``: IPv6 is translated, too; else it is only filtered. ``nat64``: a
        prefix (``icekit.nat64.WELL_KNOWN_PREFIX``): the innermost network has IPv6 only, its NAT is a NAT64, and names
        without an IPv6 address get one of the prefix (DNS64). ``link``: the access link of the outermost NAT, each way.
        """
        chain = () if nat is None else _chain(nat)
        place = outside or self.root
        for depth, config in reversed(tuple(enumerate(chain))):
            inner = self._subnet(name if depth == 0 else f"{name or 'lan'}-carrier", carrier=depth > 0)
            outermost = depth == len(chain) - 1
            make_gateway(
                inner,
                place,
                config,
                external=external if outermost else 1,
                nat66=nat66,
                nat64=nat64 if depth == 0 else None,
                link=link if outermost else None,
            )
            place = inner
        return self._subnet(name, carrier=False) if nat is None else place

    def _subnet(self, name: str | None, *, carrier: bool) -> Network:
        number = next(self._subnets)
        high, low = divmod(number, 256)
        four = f"100.{64 + high % 64}.{low}" if carrier else f"{_PRIVATE[high % len(_PRIVATE)]}.{low}"
        return Network(self, self.unique(name or "lan"), (_numbered(four), _numbered_ipv6(f"fd00:{number:x}::")), None)

    def unique(self, name: str) -> str:
        """``name``, or with a number if there is one of that name."""
        count = self._labels[name] = self._labels.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"

    def allocate_external(self, outside: Network, six: bool) -> str:
        """A free address for a NAT."""
        if outside is not self.root:
            return outside.allocate(six)
        return next(address for address in self._external[six] if address not in outside.members)

    def dice(self, label: str) -> random.Random:
        """Dice of their own for every label, so that adding a host does not change what happens to others."""
        return random.Random(f"{self.seed}/{label}")  # noqa: S311  # a simulation, no secret

    def token_bytes(self, label: str) -> Callable[[int], bytes]:
        """``dice`` as a source of bytes, seeded when the first one is wanted (most never are)."""
        dice: list[random.Random] = []

        def draw(count: int) -> bytes:
            if not dice:
                dice.append(self.dice(label))
            return dice[0].randbytes(count)

        return draw

    def channel(self, link: Link, label: str) -> Channel:
        """One direction of a link."""
        return Channel(link, _NO_DICE if link.is_plain else self.dice(label))

    def name(self, name: str, *targets: Host | str) -> None:
        """Let ``name`` resolve to these hosts or addresses, in this order."""
        addresses: list[str] = []
        for target in targets:
            addresses.extend(target.addresses if isinstance(target, Host) else (canonical_host(target),))
        self.names[name.rstrip(".").lower()] = addresses

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Do something at a virtual time: ``net.at(5.0, server.kill)``, ``net.at(9.0, lan.nat.reboot)``."""
        if self._loop is None:
            self._agenda.append((time, action))
        else:
            self._loop.call_at(time, action)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a program to its end and return its result; what it leaves behind is cancelled.

        The clock, the NATs and the hosts' addresses go on into the next run, sockets do not.
        """
        with self._world():
            loop = self._new_loop()
            with loop.interruptible():
                try:
                    return loop.run_until_complete(main)
                finally:
                    loop.finish()

    def _new_loop(self) -> SimLoop:
        self._loop = SimLoop(self, start=self._now, limit=self._limit)
        for time, action in self._agenda:
            self._loop.call_at(time, action)
        self._agenda.clear()
        return self._loop

    @contextmanager
    def _world(self) -> Iterator[None]:
        """What programs take from the process and not from the loop, while a simulation runs.

        ``ifaddr`` knows the interfaces of the current host; the shared ``random`` and ``os.urandom`` are drawn from
        our seed, because programs take intervals and ports from them. TLS keys are still OpenSSL's own, and so is its
        DTLS timer, which would turn a lost record into thousands of virtual seconds: whoever uses it ends the run.
        """
        openssl = sys.modules.get("OpenSSL.SSL")
        handle_timeout = None if openssl is None else openssl.Connection.DTLSv1_handle_timeout
        if openssl is not None:
            openssl.Connection.DTLSv1_handle_timeout = lambda _: self._real_clock_wanted()
        adapters, dice, urandom = ifaddr.get_adapters, random.getstate(), os.urandom
        ifaddr.get_adapters = _adapters
        random.seed(zlib.crc32(f"{self.seed}/programs/{self._now}".encode()))
        seeded = random.Random(zlib.crc32(f"{self.seed}/bytes/{self._now}".encode())).randbytes  # noqa: S311
        thread = threading.get_ident()
        # Other threads, as a cluster's worker has them, must not draw from it.
        os.urandom = lambda count: seeded(count) if threading.get_ident() == thread else urandom(count)
        try:
            yield
        finally:
            if openssl is not None:
                openssl.Connection.DTLSv1_handle_timeout = handle_timeout
            ifaddr.get_adapters = adapters
            os.urandom = urandom
            random.setstate(dice)
            self._now = self.now
            self._loop = None
            for host in self.hosts:
                host.forget_sockets()
            if self.capture is not None:
                self.capture.flush()

    def _real_clock_wanted(self) -> None:
        if self._loop is not None:
            self._loop.real_clock_wanted()

    def later(self, when: float, action: Callable[..., object], *args: Any) -> None:
        """A step of the network."""
        if self._loop is not None:
            self._loop.call_network(when, action, *args)

    def pass_through(self, channel: Channel, datagram: Datagram, then: Callable[..., object], *args: Any) -> None:
        """Send a packet through a channel and do ``then(datagram, *args)`` whenever it comes out."""
        loop = self._loop
        if loop is None:
            return
        if channel.is_plain and channel.up:
            loop.call_network(loop.time() + channel.link.delay, then, datagram, *args)
            return
        arrivals = channel.transit(datagram.data, size_of(datagram), loop.time())
        if not arrivals:
            self.note("lost", "on the link", datagram)
        for arrival in arrivals:
            loop.call_network(arrival, then, datagram, *args)

    def note(self, event: str, where: str, datagram: Datagram) -> None:
        """Keep a record for the timeline and the capture, if there are any."""
        if self.capture is not None:
            self.capture.add(self.now, event, where, datagram)
        if self.timeline is not None:
            if isinstance(datagram, PortUnreachable):
                kind = "ICMP port unreachable"
            elif isinstance(datagram, Segment) and not datagram.data:
                kind = str(datagram)
            else:
                kind = kind_of(datagram.data)
            self.timeline.add(self.now, event, where, datagram, kind)

    # What the loop asks for.

    def resolve(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """What ``socket.getaddrinfo`` answers: literals, ``localhost``, and ``names``."""
        if isinstance(host, bytes):
            host = host.decode()
        passive = WILDCARDS if flags & socket.AI_PASSIVE else ("127.0.0.1", "::1")
        if host in (None, ""):
            addresses = list(passive)
        elif host == "localhost":
            addresses = ["127.0.0.1", "::1"]
        else:
            try:
                addresses = [literal(host)]
            except ValueError:
                addresses = _with_dns64(self.names.get(host.rstrip(".").lower(), []))
        number = int(port or 0)
        kinds = [kind for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) if type in (0, kind)]
        protocols = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}
        answers: list[Any] = []
        for address in addresses:
            six = ":" in address
            found = socket.AF_INET6 if six else socket.AF_INET
            if family in (0, found):
                name = (address, number, 0, 0) if six else (address, number)
                answers += [(found, kind, protocols[kind], "", name) for kind in kinds]
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers

    def _first(self, address: Any, family: int, type: int) -> Address:
        host, port = address[:2]
        infos = self.resolve(host, port, family=family, type=type)
        return Address(*infos[0][4][:2])

    async def open_datagram(
        self, factory: Callable[[], asyncio.BaseProtocol], local: Any, remote: Any, family: int
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Bind a UDP socket on the current host."""
        host = current_host()
        peer = None if remote is None else self._first(remote, family, socket.SOCK_DGRAM)
        if local is not None:
            own = self._first(
                local, (socket.AF_INET6 if peer.family == 6 else socket.AF_INET) if peer else family, socket.SOCK_DGRAM
            )
        elif peer is None and family == 0:
            raise ValueError("unexpected address family")
        else:
            six = family == socket.AF_INET6 if peer is None else peer.family == 6
            own = Address(WILDCARDS[six], 0)
        if peer is not None and own.host in WILDCARDS:
            source = host.source_for(peer.host)
            if source is None:
                raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
            own = Address(source, own.port)
        protocol = factory()
        transport = host.bind(own, peer, protocol)
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        loop.call_soon(protocol.connection_made, transport)
        loop.call_soon(_wake, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def open_stream(
        self, factory: Callable[[], asyncio.BaseProtocol], remote: Any, local: Any, options: dict[str, Any]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect a TCP stream from the current host, to the first address that accepts; TLS with ``ssl``."""
        host = current_host()
        failure: OSError = OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        own = None if local is None else self._first(local, options.get("family", 0), socket.SOCK_STREAM)
        for info in self.resolve(*remote, family=options.get("family", 0), type=socket.SOCK_STREAM):
            peer = Address(*info[4][:2])
            source = host.source_for(peer.host) if own is None else own.host
            if source is None or (":" in source) != (peer.family == 6):
                continue
            host.check_address(source)
            try:
                stream = await host.tcp.connect(Address(source, own.port if own else 0), peer)
            except OSError as error:
                failure = error
                continue
            protocol = factory()
            context = options.get("ssl")
            if not context:
                return await start_plain(stream, protocol), protocol
            name = options.get("server_hostname") or remote[0]
            return await start_tls(stream, protocol, context, name, options), protocol
        raise failure

    async def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], host: Any, port: Any, options: dict[str, Any]
    ) -> asyncio.AbstractServer:
        """Accept TCP streams on the current host; TLS with ``ssl``."""
        machine = current_host()
        names = [host] if host is None or isinstance(host, str) else list(host)
        addresses: dict[Address, None] = {}
        for name in names:
            infos = self.resolve(
                name, port, family=options.get("family", 0), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            addresses.update((Address(*info[4][:2]), None) for info in infos)
        for address in addresses:
            machine.check_address(address.host)
        return machine.tcp.listen(list(addresses), served_with_tls(factory, options))


_PRIVATE = ("192.168", *(f"172.{number}" for number in range(16, 32)), *(f"10.{number}" for number in range(256)))
_NO_DICE = random.Random(0)  # noqa: S311  # never thrown: for links without chance


def _numbered_ipv6(prefix: str) -> Iterator[str]:
    return (f"{prefix}{number:x}" for number in range(1, 65_536))


def _chain(nat: NatLike) -> Sequence[NatConfig]:
    if isinstance(nat, str):
        nat = preset(nat)
    if isinstance(nat, Preset):
        return nat.chain
    return (nat,) if isinstance(nat, NatConfig) else nat


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _adapters(include_unconfigured: bool = False) -> list[ifaddr.Adapter]:
    adapters = []
    for index, interface in enumerate(current_host().interfaces, start=1):
        addresses = [
            ifaddr.IP((address, 0, 0) if ":" in address else address, 64 if ":" in address else 24, interface.name)
            for address in interface.addresses
        ]
        if addresses or include_unconfigured:
            adapters.append(ifaddr.Adapter(interface.name, interface.name, addresses, index=index))
    return adapters


def _with_dns64(addresses: list[str]) -> list[str]:
    """What the current host's network answers for a name: RFC 6147 §5.1.6, AAAA made of A where there are none."""
    try:
        networks = [interface.network for interface in current_host().interfaces]
    except ConfigError:
        return addresses
    prefixes = [network.nat64_prefix for network in networks if network.nat64_prefix is not None]
    if not prefixes or any(":" in address for address in addresses):
        return addresses
    return [prefixes[0].embed(address) for address in addresses] + addresses
