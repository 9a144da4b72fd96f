"""A laboratory of any NATs: clients, each behind a chain of its own, and one server, joined by TUN devices.

::

    CLIENT 192.168.77.2 ── 192.168.77.1 NAT 198.51.100.2 ──┐  link: delay, jitter, loss
    CLIENT 192.168.78.2 ── 192.168.78.1 NAT 198.51.100.3 ──┤
    CLIENT 198.51.100.4 ── firewall or nothing ────────────┤
                                                           └── 203.0.113.10, 203.0.113.11 SERVER

NATs are the model of ``icekit.nat`` in this process, or the kernel in a namespace of their own (``kernel:masquerade``).
Between two NATs of a chain lies a carrier's network, 100.64.0.0/10.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from icekit.errors import ConfigError
from icekit.lab.gateway import Gateway
from icekit.lab.kernel_nat import KernelNat
from icekit.lab.namespaces import Namespace
from icekit.lab.tun import Tun
from icekit.lab.wire import KernelRouter, Site, Wire
from icekit.nat import NatConfig
from icekit.nat_presets import PRESETS, instead_of, preset
from icekit.sim.link import Channel, Link

KERNEL = "kernel:"
SERVER_ADDRESSES = ("203.0.113.10", "203.0.113.11")
SERVER_ADDRESSES_IPV6 = ("2001:db8:1::10", "2001:db8:1::11")
SERVER_NAME = "turn.icekit.test"

MAX_CLIENTS = 100
MAX_STAGES = 8

Stage = NatConfig | KernelNat

# As in the other laboratory: nothing answers DNS here, and loopback says so at once.
_FILES = {
    "hosts": f"127.0.0.1 localhost\n::1 localhost\n{SERVER_ADDRESSES[0]} {SERVER_NAME}\n",
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
}
_HOST, _INSIDE, _OUTSIDE, _DEAD = "eth0", "inside", "outside", "dead0"
_DEAD_ADDRESS = "10.99.0.2"


def nat_names() -> tuple[str, ...]:
    """What ``read_chain`` knows: the networks of ``icekit.nat_presets`` and the NATs of the kernel."""
    return (*PRESETS, *(f"{KERNEL}{nat}" for nat in KernelNat))


def read_chain(text: str) -> tuple[Stage, ...]:
    """The NATs that ``text`` names, from the inside out: ``symmetric``, ``kernel:masquerade``, ``restricted+cgnat``.

    ConfigError says which names there are.
    """
    chain: list[Stage] = []
    for word in text.split("+"):
        name = word.strip()
        if name.removeprefix(KERNEL) in set(KernelNat) and name.startswith(KERNEL):
            nat = KernelNat(name.removeprefix(KERNEL))
            # Two routers with the same rules.
            chain += [nat] * nat.nats
        elif name in PRESETS:
            chain += preset(name).chain
        else:
            raise ConfigError(f"{name!r} is no NAT; {instead_of(name, nat_names())}")
    if len(chain) > MAX_STAGES:
        raise ConfigError(f"{text} has {len(chain)} NATs in a row; {MAX_STAGES} are possible")
    return tuple(chain)


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """A place where programs run. ``nat`` is its name, ``address`` its own, ``external`` what the Internet knows."""

    nat: str
    namespace: Namespace
    address: str
    external: str


class TunLab:
    """One client for each of ``nats`` (as ``read_chain`` reads them); a context manager that leaves nothing behind.

    ``link`` lies between every client's outermost NAT and the Internet, in each direction; ``server_link``: between the
    server and the Internet. Equal seeds draw equal losses, jitters and ports. ``ipv6``: the clients have public IPv6
    addresses, too, which the NATs filter and do not translate. ``dead_interface``: the clients have an address more,
    from which nothing is reached (a bridge for containers, a dead VPN). ``see`` gets every packet that a client sends,
    with its time on the clock of ``time.monotonic``, on a thread of the laboratory. ConfigError tells in one sentence
    why it cannot be built.
    """

    def __init__(
        self,
        nats: Sequence[str],
        *,
        link: Link | None = None,
        server_link: Link | None = None,
        seed: int | None = None,
        ipv6: bool = False,
        dead_interface: bool = False,
        see: Callable[[bytearray, float], None] | None = None,
    ) -> None:
        if len(nats) > MAX_CLIENTS:
            raise ConfigError(f"{len(nats)} clients are too many; {MAX_CLIENTS} are possible")
        self._nats = tuple((name, read_chain(name)) for name in nats)
        if ipv6 and any(isinstance(stage, KernelNat) for _, chain in self._nats for stage in chain):
            raise ConfigError("the kernel's NATs have no IPv6 here: choose a NAT without kernel:, or no IPv6")
        self._link = link or Link()
        self._server_link = server_link or Link()
        self._dead_interface = dead_interface
        self._see = see
        self._channels: list[Channel] = []
        self._server_channels: list[Channel] = []
        self._seed = random.randrange(2**32) if seed is None else seed  # noqa: S311  # dice, no secret
        self._ipv6 = ipv6
        self._stack = ExitStack()
        self._clients: tuple[Client, ...] = ()
        self._server: Namespace | None = None

    @property
    def clients(self) -> tuple[Client, ...]:
        """In the order of the NATs; none outside of the ``with`` block."""
        return self._clients

    def set_links(self, link: Link, server_link: Link) -> None:
        """Other links from now on; what is on its way arrives as it would have."""
        for channels, new in ((self._channels, link), (self._server_channels, server_link)):
            for channel in channels:
                channel.link, channel.is_plain = new, new.is_plain

    @property
    def server(self) -> Namespace:
        """The namespace with ``SERVER_ADDRESSES``."""
        assert self._server is not None, "use it in a with block"
        return self._server

    @property
    def server_addresses(self) -> tuple[str, ...]:
        """IPv4 first."""
        return SERVER_ADDRESSES + (SERVER_ADDRESSES_IPV6 if self._ipv6 else ())

    def __enter__(self) -> TunLab:
        with ExitStack() as stack:
            wire = Wire()
            self._server = stack.enter_context(Namespace("server", _FILES))
            device = stack.enter_context(Tun(self._server, _HOST))
            _configure(self._server, _HOST, self.server_addresses)
            self._server.ip(f"route add 198.51.100.0/24 dev {_HOST}")
            if self._ipv6:
                self._server.ip(f"-6 route add 2001:db8:2::/48 dev {_HOST}")
            self._server_channels = [self._channel(self._server_link, f"server/{way}") for way in ("up", "down")]
            wire.add_server(device, self.server_addresses, *self._server_channels)
            self._clients = tuple(
                self._build(stack, wire, number, name, chain) for number, (name, chain) in enumerate(self._nats)
            )
            stack.enter_context(wire)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._clients = ()
        self._server = None
        self._channels.clear()
        self._server_channels.clear()
        self._stack.close()

    def _build(self, stack: ExitStack, wire: Wire, number: int, name: str, chain: tuple[Stage, ...]) -> Client:
        external = f"198.51.100.{2 + number}"
        addresses = list(_networks(chain, number, external))
        stages = [
            self._stage(stack, stage, f"{number}/{level}", inside, outside)
            for level, (stage, inside, outside) in enumerate(zip(chain, addresses, addresses[1:], strict=False))
        ]
        inside = addresses[0]
        namespace = stack.enter_context(Namespace(_role(number), _FILES))
        device = stack.enter_context(Tun(namespace, _HOST))
        hosts = [external]
        own = [inside]
        if self._ipv6:
            own.append(f"2001:db8:2:{number:x}::2")
            hosts.append(own[1])
        _configure(namespace, _HOST, own, gateway=_gateway(inside))
        if self._dead_interface:
            # A cable with nobody at its end.
            namespace.ip(f"link add {_DEAD} type veth peer name {_DEAD}-end")
            namespace.sysctl(f"net.ipv6.conf.{_DEAD}.disable_ipv6", "1")
            namespace.ip(
                f"addr add {_DEAD_ADDRESS}/24 dev {_DEAD}",
                f"link set {_DEAD} up",
                f"link set {_DEAD}-end up",
            )
        up, down = (self._channel(self._link, f"{number}/{way}") for way in ("up", "down"))
        self._channels += [up, down]
        wire.add_site(Site(device, stages, up, down, self._watcher()), hosts)
        return Client(nat=name, namespace=namespace, address=inside, external=external)

    def _channel(self, link: Link, label: str) -> Channel:
        return Channel(link, random.Random(f"{self._seed}/{label}"))  # noqa: S311  # dice, no secret

    def _watcher(self) -> Callable[[bytearray, float], bool] | None:
        see, dead = self._see, ipaddress.ip_address(_DEAD_ADDRESS).packed if self._dead_interface else None
        if see is None and dead is None:
            return None

        def watch(data: bytearray, now: float) -> bool:
            # The system sends what comes from such an address by its default route, too.
            if dead is not None and bytes(data[12:16]) == dead:
                return False
            if see is not None:
                see(data, now)
            return True

        return watch

    def _stage(self, stack: ExitStack, stage: Stage, label: str, inside: str, outside: str) -> Gateway | KernelRouter:
        if isinstance(stage, NatConfig):
            dice = random.Random(f"{self._seed}/{label}")  # noqa: S311  # dice, no secret
            external = (outside,) if stage.translates else ()
            return Gateway(stage, external, _gateway(inside), token_bytes=dice.randbytes)
        namespace = stack.enter_context(Namespace("nat"))
        router = KernelRouter(
            stack.enter_context(Tun(namespace, _INSIDE)), stack.enter_context(Tun(namespace, _OUTSIDE))
        )
        _configure(namespace, _INSIDE, [_gateway(inside)])
        _configure(namespace, _OUTSIDE, [outside], gateway=_gateway(outside))
        namespace.sysctl("net.ipv4.ip_forward", "1")
        namespace.nft(stage.ruleset(inside=_INSIDE, outside=_OUTSIDE, address=outside, host=inside))
        return router


def _networks(chain: Sequence[Stage], number: int, external: str) -> Iterator[str]:
    """The address on the inside of every stage of ``chain``, from the inside out, and ``external``.

    What does not translate has the same one on both sides.
    """
    translating = [isinstance(stage, KernelNat) or stage.translates for stage in chain]
    for level in range(len(chain)):
        further = sum(translating[level:])
        if not further:
            yield external
        elif not any(translating[:level]):
            yield f"192.168.{77 + number}.2"
        else:
            yield f"100.{64 + further}.{number}.2"
    yield external


def _gateway(address: str) -> str:
    return f"{address.rpartition('.')[0]}.1"


def _role(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"client{number}"


def _configure(namespace: Namespace, interface: str, addresses: Sequence[str], *, gateway: str | None = None) -> None:
    if not any(":" in address for address in addresses):
        # Not even a link-local address: that would be IPv6, which this laboratory has not got.
        namespace.sysctl(f"net.ipv6.conf.{interface}.disable_ipv6", "1")
    namespace.ip(*(f"addr add {address}/{64 if ':' in address else 24} dev {interface}" for address in addresses))
    if gateway is not None:
        namespace.ip(f"route add default via {gateway} dev {interface}")
        if any(":" in address for address in addresses):
            namespace.ip(f"-6 route add default dev {interface}")
