"""The addresses of this host, and the one that the system would send from."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import sys
from io import FileIO
from pathlib import Path
from typing import Any

import ifaddr

from icekit.aio.address_watch import AddressWatch
from icekit.net import Address, canonical_host, classify_host
from icekit.report import Interface

# Names as systems give them (on Windows a description); the first match counts.
_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("loopback", r"lo\d*$|.*loopback"),
        ("vpn", r"(u?tun|tap|wg|ppp|ipsec|tailscale|zt|nordlynx|proton|gpd|cscotun|nebula)\w*$"),
        ("vpn", r".*(wireguard|wintun|tap-windows|openvpn|tailscale|anyconnect|\bvpn\b)"),
        (
            "bridge",
            r"(br(-|_|\d|lan|idge)|virbr|docker|lx[cd]br|podman|cni|vmnet|vboxnet)[-_\w]*$|.*hyper-v virtual|vethernet",
        ),
        # The host's ends of cables to containers and virtual machines.
        ("bridge", r"(veth|cali|vnet|flannel|cilium|kube-)[-_.\w]*$"),
        ("cellular", r"(wwan|wwp|rmnet|ccmni|pdp_ip)[-_\w]*$|.*(mobile broadband|cellular)"),
        ("wifi", r"(wlan|wlp|wlx|wlo|wl\d|ath\d|wifi)[-_\w]*$|.*(wi-fi|wireless)"),
        ("ethernet", r"(eth|enp|eno|ens|enx|end|em\d)[-_\w]*$|.*ethernet"),
    )
)
# ARPHRD_* of linux/if_arp.h: loopback, raw IP (a cellular modem), none (tun, WireGuard).
_HARDWARE = {"772": "loopback", "519": "cellular", "512": "vpn", "65534": "vpn"}
_DEVICE_TYPES = {"wlan": "wifi", "bridge": "bridge", "wwan": "cellular", "wireguard": "vpn"}


# The simulator puts another one in its place, for the host that runs.
_ADAPTERS_OF_THE_SYSTEM = ifaddr.get_adapters
_watch = AddressWatch()
_known: tuple[int, tuple[Interface, ...]] | None = None


def interfaces() -> tuple[Interface, ...]:
    """All local addresses, by interface name, IPv4 before IPv6; link-local IPv6 with its zone. Blocks briefly.

    They are read when something has changed; where the system does not tell of changes, at each call.
    """
    global _known
    # Asked before reading: a change in between is seen at the next call.
    version = _watch.version() if ifaddr.get_adapters is _ADAPTERS_OF_THE_SYSTEM else None
    if version is None:
        return _read_interfaces()
    if (known := _known) is None or known[0] != version:
        _known = known = version, _read_interfaces()
    return known[1]


def _read_interfaces() -> tuple[Interface, ...]:
    found = []
    for adapter in ifaddr.get_adapters():
        name = adapter.nice_name
        kind = interface_kind(name)
        for ip in adapter.ips:
            if isinstance(ip.ip, tuple):
                # A zone is a name, except on Windows, where it is a number.
                zone = str(ip.ip[2]) if sys.platform == "win32" else name
                host = _with_zone(ip.ip[0], zone)
            else:
                host = ip.ip
            found.append(Interface(name, host, classify_host(host).value, kind))
    return tuple(sorted(found, key=_order))


def _order(item: Interface) -> tuple[str, int, int]:
    address = ipaddress.ip_address(item.address)
    return item.name, address.version, int(address)


def _with_zone(host: str, zone: str) -> str:
    return f"{host}%{zone}" if zone and "%" not in host and ipaddress.IPv6Address(host).is_link_local else host


def interface_kind(
    name: str, *, system_class: Path = Path("/sys/class/net"), platform: str = sys.platform
) -> str | None:
    """ethernet, wifi, vpn, bridge, loopback or cellular; ``None`` when neither Linux nor the name tells."""
    # eth0:1 is a second address of eth0.
    name = name.partition(":")[0]
    return _kind_by_system(f"{system_class}/{name}") or _kind_by_name(name, platform)


def _kind_by_system(folder: str) -> str | None:
    # This runs for each interface when a connection is made, so it is sparing with system calls.
    try:
        with os.scandir(folder) as entries:
            there = {entry.name for entry in entries}
    except OSError:
        return None
    if there & {"wireless", "phy80211"}:
        return "wifi"
    if "bridge" in there:
        return "bridge"
    if "tun_flags" in there:
        return "vpn"
    device_type = re.search(r"^DEVTYPE=(\w+)$", _read(f"{folder}/uevent"), re.MULTILINE)
    if device_type is not None and device_type.group(1) in _DEVICE_TYPES:
        return _DEVICE_TYPES[device_type.group(1)]
    hardware = _read(f"{folder}/type").strip()
    # Type 1 says Ethernet of everything that has such frames (veth, dummy, macvlan); hardware alone has a device.
    if hardware == "1" and "device" in there:
        return "ethernet"
    return _HARDWARE.get(hardware)


def _read(path: str) -> str:
    try:
        with FileIO(path) as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _kind_by_name(name: str, platform: str) -> str | None:
    # The Wi-Fi of a Mac is en0 or en1, just as a cable is.
    if platform == "darwin" and re.fullmatch(r"en\d+", name):
        return None
    return next((kind for kind, pattern in _NAMES if pattern.match(name)), None)


async def source_address(remote: Address) -> str | None:
    """The local IP address that the system would send from to ``remote``; ``None`` if it has no route. Sends nothing.

    A connected socket only asks the routing table; it must not be used for measurements (it hears one peer alone).
    """
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(remote.host, remote.port)
        )
    except OSError:
        return None
    try:
        return host_of(transport.get_extra_info("sockname"))
    finally:
        transport.close()


def host_of(sockaddr: tuple[Any, ...]) -> str:
    """The host of a socket address, with the zone that Python keeps apart in the fourth place."""
    host = canonical_host(str(sockaddr[0]))
    if len(sockaddr) < 4 or not sockaddr[3] or ":" not in host:
        return host
    try:
        zone = socket.if_indextoname(sockaddr[3])
    except OSError:
        zone = str(sockaddr[3])
    return _with_zone(host, str(sockaddr[3]) if sys.platform == "win32" else zone)
