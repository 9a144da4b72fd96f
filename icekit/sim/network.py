"""Address spaces and the gateways between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from icekit.errors import ConfigError
from icekit.nat import Nat, NatConfig
from icekit.nat64 import Nat64, Prefix
from icekit.net import Datagram
from icekit.sim.host import Host, Interface
from icekit.sim.link import Channel, Link
from icekit.sim.packet import readdressed
from icekit.sim.udp import literal

if TYPE_CHECKING:
    from icekit.sim.internet import Internet


class Gateway:
    """A NAT between the network ``inside`` and the network ``outside``, with an access link to the outside."""

    __slots__ = ("downlink", "inside", "name", "nat", "outside", "uplink")

    def __init__(
        self, name: str, nat: Nat, inside: Network, outside: Network, uplink: Channel | None, downlink: Channel | None
    ) -> None:
        self.name = name
        self.nat = nat
        self.inside = inside
        self.outside = outside
        self.uplink = uplink
        self.downlink = downlink

    def leave(self, datagram: Datagram) -> None:
        """A packet from the inside."""
        internet = self.inside.internet
        translated = self.nat.outbound(datagram, internet.now)
        if translated is None:
            internet.note("lost", f"{self.name}: {self.nat.last_drop}", datagram)
            return
        translated = readdressed(datagram, translated)
        hairpins = translated.destination != datagram.destination
        # A NAT64 changes every destination; what comes back inside stays IPv6.
        if hairpins and not (isinstance(self.nat, Nat64) and translated.destination.family == 4):
            self.inside.route(translated, self)
        elif self.uplink is None:
            self.outside.route(translated, self)
        else:
            internet.pass_through(self.uplink, translated, self.outside.route, self)

    def accept(self, datagram: Datagram) -> None:
        """A packet from the outside came to the far end of the access link."""
        if self.downlink is None:
            self.enter(datagram)
        else:
            self.inside.internet.pass_through(self.downlink, datagram, self.enter)

    def enter(self, datagram: Datagram, *_: object) -> None:
        """A packet from the outside."""
        internet = self.inside.internet
        translated = self.nat.inbound(datagram, internet.now)
        if translated is None:
            internet.note("lost", f"{self.name}: {self.nat.last_drop}", datagram)
            return
        translated = readdressed(datagram, translated)
        member = self.inside.members.get(translated.destination.host)
        if member is None:
            internet.note("lost", f"{self.inside.name}: no such address", translated)
        else:
            member.accept(translated)


class Network:
    """One address space: the Internet itself, a carrier's network, a home.

    ``members``: which host or gateway has an address. Make networks with ``Internet.network``.
    """

    def __init__(
        self,
        internet: Internet,
        name: str,
        pools: tuple[Iterator[str], Iterator[str]],
        link: Link | None,
    ) -> None:
        self.internet = internet
        self.name = name
        self.gateway: Gateway | None = None
        self.members: dict[str, Host | Gateway] = {}
        self.is_up = True
        self._link = link
        self._paths: dict[tuple[str, str], Link] = {}
        self._channels: dict[tuple[object, object], Channel] = {}
        self._pools = pools

    def __repr__(self) -> str:
        return f"<Network {self.name}>"

    @property
    def has_route(self) -> bool:
        """Whether packets for others leave: through a gateway, or because this is the Internet."""
        return self.gateway is not None or self is self.internet.root

    @property
    def nat(self) -> Nat:
        """The gateway's NAT; ConfigError where there is none."""
        if self.gateway is None:
            raise ConfigError(f"the network {self.name} has no gateway")
        return self.gateway.nat

    @property
    def nat64_prefix(self) -> Prefix | None:
        """What IPv4 addresses are behind, in a network that has IPv6 only."""
        nat = None if self.gateway is None else self.gateway.nat
        return nat.prefix if isinstance(nat, Nat64) else None

    def host(
        self,
        name: str | None = None,
        *,
        addresses: Sequence[str] | None = None,
        ipv6: bool = False,
        link: Link | None = None,
        uplink: Link | None = None,
    ) -> Host:
        """A new host here. ``link`` is its access link in both directions, ``uplink`` another one for sending."""
        host = Host(self.internet, self.internet.unique(name or "host"))
        self.internet.hosts.append(host)
        self.attach(host, addresses=addresses, ipv6=ipv6, link=link, uplink=uplink)
        return host

    def attach(
        self,
        host: Host,
        *,
        addresses: Sequence[str] | None = None,
        ipv6: bool = False,
        link: Link | None = None,
        uplink: Link | None = None,
    ) -> None:
        """Give ``host`` an interface in this network: the given addresses, or free ones (IPv6 only behind NAT64)."""
        if addresses is None:
            families = (False, True) if ipv6 else (False,)
            if self.nat64_prefix is not None:
                families = (True,)
            addresses = [self.allocate(six) for six in families]
        hosts = tuple(map(literal, addresses))
        name = f"eth{len(host.interfaces)}"
        up = uplink or link
        host.add_interface(
            Interface(
                name,
                self,
                hosts,
                None if up is None else self.internet.channel(up, f"{host.name}/{name}/up"),
                None if link is None else self.internet.channel(link, f"{host.name}/{name}/down"),
            )
        )
        for address in hosts:
            self.claim(address, host)

    def detach(self, host: Host, address: str) -> None:
        """Take an address away from a host (a network change)."""
        host.remove_address(address)
        network: Network | None = self
        while network is not None and network.members.pop(address, None) is not None:
            network = None if network.gateway is None else network.gateway.outside

    def claim(self, address: str, owner: Host | Gateway) -> None:
        """Make ``owner`` reachable; an address that the gateway does not translate is reachable outside, too."""
        if address in self.members:
            raise ConfigError(f"{address} is already in use in the network {self.name}")
        self.members[address] = owner
        if self.gateway is not None and not self.gateway.nat.translates(address):
            self.gateway.outside.claim(address, self.gateway)

    def allocate(self, six: bool) -> str:
        """A free address, IPv6 if ``six``; of the outside where the gateway does not translate that family."""
        if self.gateway is not None and not self.gateway.nat.translates("::" if six else ""):
            return self.gateway.outside.allocate(six)
        for address in self._pools[six]:
            if address not in self.members:
                return address
        raise ConfigError(f"the network {self.name} has no free IPv{6 if six else 4} address")

    def path(self, one: Host | Network, other: Host | Network, link: Link) -> None:
        """Use ``link`` both ways between two members of this network; a network stands for its gateway."""
        self._paths[one.name, other.name] = self._paths[other.name, one.name] = link
        self._channels.clear()

    def down(self) -> None:
        """Lose every packet that crosses this network."""
        self.is_up = False

    def up(self) -> None:
        """Undo ``down``."""
        self.is_up = True

    def route(self, datagram: Datagram, origin: Host | Gateway) -> None:
        """Carry a packet that ``origin`` put into this network to its owner or to the gateway."""
        internet = self.internet
        if not self.is_up:
            internet.note("lost", f"{self.name} is down", datagram)
            return
        member = self.members.get(datagram.destination.host)
        if member is None:
            if self.gateway is None:
                internet.note("lost", f"{self.name}: no route", datagram)
            else:
                self.gateway.leave(datagram)
            return
        key = (origin, member)
        channel = self._channels.get(key)
        if channel is None:
            self._channels[key] = channel = self._channel(origin, member)
        internet.pass_through(channel, datagram, member.accept)

    def _channel(self, origin: Host | Gateway, member: Host | Gateway) -> Channel:
        one, other = _place(origin), _place(member)
        link = self._paths.get((one, other)) or self._link or _DIRECT
        return self.internet.channel(link, f"{self.name}/{one}/{other}")


_DIRECT = Link()


def _place(member: Host | Gateway) -> str:
    """What ``Network.path`` calls a member: a gateway by the name of the network behind it."""
    return member.name if isinstance(member, Host) else member.inside.name


def make_gateway(
    inside: Network,
    outside: Network,
    config: NatConfig,
    *,
    external: int | Sequence[str],
    nat66: bool,
    nat64: str | None,
    link: Link | None,
) -> Gateway:
    """Join two networks with a NAT that has ``external`` addresses (how many, or which ones) outside."""
    internet = inside.internet
    hosts: tuple[str, ...] = ()
    if config.translates and isinstance(external, int):
        families = (False, True) if nat66 else (False,)
        hosts = tuple(internet.allocate_external(outside, six) for six in families for _ in range(external))
    elif config.translates and not isinstance(external, int):
        hosts = tuple(map(literal, external))
    source = internet.token_bytes(f"{inside.name}/nat")
    nat = (
        Nat(config, hosts, token_bytes=source)
        if nat64 is None
        else Nat64(config, hosts, prefix=nat64, token_bytes=source)
    )
    name = f"{inside.name}-nat"
    up, down = (
        (None, None) if link is None else (internet.channel(link, f"{name}/up"), internet.channel(link, f"{name}/down"))
    )
    gateway = Gateway(name, nat, inside, outside, up, down)
    inside.gateway = gateway
    for host in hosts:
        outside.claim(host, gateway)
    return gateway
