from __future__ import annotations

import asyncio
import ipaddress
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import ifaddr
import pytest

from icekit.aio.interfaces import host_of, interface_kind, interfaces, source_address
from icekit.net import Address, classify_host
from icekit.report import Interface

if TYPE_CHECKING:
    from pathlib import Path


class Adapters:
    """What ``ifaddr`` gives: (name, [address or (IPv6, flow, scope)])."""

    def __init__(self, *rows: tuple[str, list[str | tuple[str, int, int]]]) -> None:
        self.rows = rows

    def __call__(self) -> list[ifaddr.Adapter]:
        return [
            ifaddr.Adapter(name, name, [ifaddr.IP(ip, 24, name) for ip in ips], index=index)
            for index, (name, ips) in enumerate(self.rows)
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="zones are numbers there")
def test_the_list_is_sorted_and_classified(monkeypatch: pytest.MonkeyPatch) -> None:
    adapters = Adapters(
        ("zt5u4", ["100.64.0.9"]),
        ("eth9", [("fe80::2", 0, 7), ("2a00::1", 0, 0), "192.168.1.10", "192.168.1.9"]),
        ("lo", [("::1", 0, 0), "127.0.0.1"]),
    )
    monkeypatch.setattr(ifaddr, "get_adapters", adapters)
    assert interfaces() == (
        Interface("eth9", "192.168.1.9", "private", "ethernet"),
        Interface("eth9", "192.168.1.10", "private", "ethernet"),
        Interface("eth9", "2a00::1", "global", "ethernet"),
        Interface("eth9", "fe80::2%eth9", "link-local", "ethernet"),
        Interface("lo", "127.0.0.1", "loopback", "loopback"),
        Interface("lo", "::1", "loopback", "loopback"),
        Interface("zt5u4", "100.64.0.9", "cgnat", "vpn"),
    )


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2")
def test_the_list_is_the_kernels() -> None:
    links = json.loads(subprocess.run(["ip", "-j", "address"], check=True, capture_output=True).stdout)
    expected = {
        (link["ifname"], info["local"])
        for link in links
        for info in link.get("addr_info", [])
        if info["family"] in ("inet", "inet6") and "UP" in link["flags"]
    }
    assert {(item.name, item.address.partition("%")[0]) for item in interfaces()} >= expected
    for item in interfaces():
        assert ("%" in item.address) == (
            ipaddress.ip_address(item.address.partition("%")[0]).version == 6
            and classify_host(item.address) == "link-local"
        )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lo", "loopback"),
        ("lo0", "loopback"),
        ("eth0", "ethernet"),
        ("eth0:1", "ethernet"),
        ("enp3s0", "ethernet"),
        ("enx001122334455", "ethernet"),
        ("wlan0", "wifi"),
        ("wlp2s0", "wifi"),
        ("tun0", "vpn"),
        ("utun4", "vpn"),
        ("wg0", "vpn"),
        ("tailscale0", "vpn"),
        ("ppp0", "vpn"),
        ("docker0", "bridge"),
        ("br-0a1b2c3d", "bridge"),
        ("virbr0", "bridge"),
        ("wwan0", "cellular"),
        ("rmnet_data0", "cellular"),
        ("Intel(R) Wi-Fi 6 AX201 160MHz", "wifi"),
        ("Realtek PCIe GbE Ethernet Controller", "ethernet"),
        ("Hyper-V Virtual Ethernet Adapter", "bridge"),
        ("vEthernet (WSL)", "bridge"),
        ("TAP-Windows Adapter V9", "vpn"),
        ("WireGuard Tunnel", "vpn"),
        ("Software Loopback Interface 1", "loopback"),
        ("veth12ab", "bridge"),
        ("cali0a1b2c3d4e5", "bridge"),
        ("vnet0", "bridge"),
        ("flannel.1", "bridge"),
        ("kube-ipvs0", "bridge"),
        ("dummy0", None),
        ("lowpan", None),
        ("broken", None),
        ("", None),
    ],
)
def test_kind_by_name(name: str, kind: str | None, tmp_path: Path) -> None:
    assert interface_kind(name, system_class=tmp_path, platform="linux") == kind


def test_a_mac_does_not_tell_wifi_from_a_cable(tmp_path: Path) -> None:
    assert interface_kind("en0", system_class=tmp_path, platform="darwin") is None
    assert interface_kind("utun0", system_class=tmp_path, platform="darwin") == "vpn"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"type": "1\n", "device": None}, "ethernet"),
        ({"type": "1\n", "device": None, "wireless": None}, "wifi"),
        ({"type": "1\n", "device": None, "phy80211": None}, "wifi"),
        ({"type": "1\n", "uevent": "DEVTYPE=wlan\nINTERFACE=x\n", "device": None}, "wifi"),
        ({"type": "1\n", "bridge": None}, "bridge"),
        ({"type": "1\n", "uevent": "DEVTYPE=wwan\n", "device": None}, "cellular"),
        ({"type": "519\n", "device": None}, "cellular"),
        ({"type": "65534\n", "tun_flags": "0x1001\n"}, "vpn"),
        ({"type": "1\n", "tun_flags": "0x1002\n"}, "vpn"),
        ({"type": "65534\n", "uevent": "DEVTYPE=wireguard\n"}, "vpn"),
        ({"type": "772\n"}, "loopback"),
        # A veth pair has neither a device nor a type of its own.
        ({"type": "1\n", "uevent": "INTERFACE=x\n"}, None),
        ({}, None),
    ],
)
def test_kind_by_system(files: dict[str, str | None], kind: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "office"
    folder.mkdir()
    for name, text in files.items():
        if text is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_text(text)
    assert interface_kind("office", system_class=tmp_path, platform="linux") == kind


def test_the_system_knows_better_than_the_name(tmp_path: Path) -> None:
    (tmp_path / "eth0" / "bridge").mkdir(parents=True)
    assert interface_kind("eth0", system_class=tmp_path, platform="linux") == "bridge"


async def test_source_address_of_loopback() -> None:
    assert await source_address(Address("127.0.0.1", 3478)) == "127.0.0.1"


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2")
def test_source_address_is_what_the_kernel_routes_by() -> None:
    run = subprocess.run(["ip", "-j", "route", "get", "198.18.0.1"], capture_output=True, check=False)
    expected = json.loads(run.stdout)[0]["prefsrc"] if run.returncode == 0 else None
    assert asyncio.run(source_address(Address("198.18.0.1", 3478))) == expected


async def test_no_route_is_none() -> None:
    assert await source_address(Address("fe80::1%nolink9", 3478)) is None


@pytest.mark.parametrize(
    ("sockaddr", "host"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("2001:db8:0::1", 5), "2001:db8::1"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        (("2001:db8::1", 5, 0, 1), "2001:db8::1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("fe80::1", 5, 0, 0), "fe80::1"),
        (("fe80::1%x", 5, 0, 1), "fe80::1%x"),
        (("fe80::1", 5, 0, 4_000_000), "fe80::1%4000000"),
    ],
)
def test_host_of(sockaddr: tuple[str, int], host: str) -> None:
    assert host_of(sockaddr) == host
