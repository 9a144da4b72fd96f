"""Which parts of this host ICE may use, and what the peer is told of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from icekit.candidate import CandidateType
from icekit.errors import ConfigError
from icekit.net import AddressClass, canonical_host, classify_host
from icekit.report import Interface

_ANNOUNCED_TYPES = (CandidateType.SERVER_REFLEXIVE, CandidateType.HOST)
_NOT_ANNOUNCED = (
    AddressClass.UNSPECIFIED,
    AddressClass.LOOPBACK,
    AddressClass.LINK_LOCAL,
    AddressClass.MULTICAST,
    AddressClass.RESERVED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The sockets of an agent; ConfigError for what makes no sense.

    ``interfaces``: names of the interfaces to gather from, with ``*`` and ``?`` as in a shell; one that begins with
    ``!`` leaves out. ``addresses``: the same by address or prefix (``10.0.0.0/8``, ``!192.168.56.0/24``). Both choose
    among the addresses of this host, and do nothing where local addresses are named one by one. What only leaves out
    keeps all others.

    ``port_range``: first and last port of the sockets of host candidates, UDP and TCP; for a firewall or for published
    ports of a container. A restart opens new sockets before it closes the old ones, so it needs two ports for each
    local address and peer.

    ``announced``: the public address of a 1:1 NAT, as clouds and containers have it, told to the peer without asking a
    server: ``203.0.113.7``, or ``203.0.113.7/10.0.0.5`` where there are several local addresses of its family (the
    form of coturn's external-ip). Ports must be the same on both sides. ``announced_as``: ``srflx``, beside the local
    address, or ``host``, instead of it, which hides it from the peer.

    ``tcp``: candidates over TCP, too (RFC 6544): a listening socket for each local address, and connections to peers
    that listen. They rank below everything but relays.
    """

    interfaces: Sequence[str] = ()
    addresses: Sequence[str] = ()
    port_range: tuple[int, int] | None = None
    announced: Sequence[str] = ()
    announced_as: CandidateType = CandidateType.SERVER_REFLEXIVE
    tcp: bool = False

    def __post_init__(self) -> None:
        for name in ("interfaces", "addresses", "announced"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} is a list of texts; write {name}=[{getattr(self, name)!r}]")
        for pattern in self.interfaces:
            if not pattern.removeprefix("!"):
                raise ConfigError(f"{pattern!r} names no interface; write eth0, or a pattern such as eth* or !docker*")
        for text in self.addresses:
            _network(text)
        if self.port_range is not None:
            first, last = self.port_range
            if not 1 <= first <= last <= 65_535:
                raise ConfigError(f"port range {first} to {last}: give the first and the last port, from 1 to 65535")
        if self.announced_as not in _ANNOUNCED_TYPES:
            raise ConfigError(f"an address is announced as host or srflx, not as {self.announced_as}")
        for text in self.announced:
            _announced(text)

    def allows(self, item: Interface) -> bool:
        """Whether both filters let this address of the host pass."""
        if not (self.interfaces or self.addresses):
            return True
        address = ipaddress.ip_address(item.address.partition("%")[0])
        # eth0:1 is a second address of eth0.
        names = {item.name, item.name.partition(":")[0]}
        by_name = [(text, any(fnmatchcase(name, text.removeprefix("!")) for name in names)) for text in self.interfaces]
        by_address = [(text, address in _network(text)) for text in self.addresses]
        return _passes(by_name) and _passes(by_address)

    def announced_for(self, hosts: Sequence[str]) -> dict[str, str]:
        """The public address for each of ``hosts`` that has one; ConfigError where it is not clear which."""
        found: dict[str, str] = {}
        for text in self.announced:
            public, local = _announced(text)
            family = [host for host in hosts if (":" in host) == (":" in public)]
            if local is None:
                if len(family) != 1:
                    names = ", ".join(family) or f"none of {', '.join(hosts)}"
                    raise ConfigError(
                        f"{public} is announced for one local address of its family, and here is {names}; "
                        f"write {public}/LOCAL-ADDRESS, or choose one with local_addresses"
                    )
                local = family[0]
            elif local not in hosts:
                raise ConfigError(
                    f"{public} is announced for {local}, which is not gathered from; local addresses: "
                    f"{', '.join(hosts)}"
                )
            if found.setdefault(local, public) != public:
                raise ConfigError(f"{local} has two announced addresses, {found[local]} and {public}; give one")
        return found


def _passes(matches: Sequence[tuple[str, bool]]) -> bool:
    """What is left out by any is out; what is named by any is in, as is everything where none names anything."""
    if any(matched for text, matched in matches if text.startswith("!")):
        return False
    naming = [matched for text, matched in matches if not text.startswith("!")]
    return any(naming) or not naming


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text.removeprefix("!"), strict=False)
    except ValueError:
        raise ConfigError(f"{text!r} is no address or prefix; write 10.0.0.5, 10.0.0.0/8 or !10.0.0.0/8") from None


def _announced(text: str) -> tuple[str, str | None]:
    """The public address, and the local one if it is named."""
    public, slash, local = text.partition("/")
    try:
        hosts = [canonical_host(host) for host in ((public, local) if slash else (public,))]
    except ValueError:
        raise ConfigError(f"{text!r} is no address to announce; write 203.0.113.7 or 203.0.113.7/10.0.0.5") from None
    if classify_host(hosts[0]) in _NOT_ANNOUNCED:
        raise ConfigError(f"{hosts[0]} is announced, but no peer elsewhere can send to it; give the public address")
    if len({":" in host for host in hosts}) > 1:
        raise ConfigError(f"{text}: a 1:1 NAT does not change the family; give two IPv4 or two IPv6 addresses")
    return hosts[0], hosts[1] if slash else None
