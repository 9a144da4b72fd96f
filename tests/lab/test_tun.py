"""A TUN device; tests/netns/test_tun.py has programs behind it."""

from __future__ import annotations

import select
import socket
import sys

import pytest

from icekit.errors import ConfigError
from icekit.lab import Namespace, tun
from icekit.lab.ip import parse
from icekit.lab.tun import Tun
from icekit.net import Address
from tests.lab.packets import udp

SEND = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', ('192.0.2.9', 9))"


def wait_for(device: Tun) -> bytearray:
    assert select.select([device], (), (), 5)[0]
    data = device.read()
    assert data is not None
    return data


@pytest.mark.netns
def test_packets_come_out_and_go_in() -> None:
    with Namespace("host") as namespace, Tun(namespace, "eth0") as device:
        namespace.sysctl("net.ipv6.conf.eth0.disable_ipv6", "1")
        namespace.ip("addr add 192.0.2.1/24 dev eth0")
        while device.read() is not None:
            pass  # IPv6 said hello before it was switched off
        assert namespace.run([sys.executable, "-c", SEND]).returncode == 0
        packet = parse(wait_for(device))
        assert packet is not None
        assert (packet.source.host, packet.destination, packet.payload) == (
            "192.0.2.1",
            Address("192.0.2.9", 9),
            b"hello",
        )
        # Nobody listens there, says the kernel, which has checked our sums.
        device.write(udp(Address("192.0.2.9", 9), Address("192.0.2.1", 9), b"hello"))
        error = parse(wait_for(device))
        assert error is not None
        assert error.quoted is not None
        assert error.quoted.destination == Address("192.0.2.1", 9)
        device.write(bytearray(b"no packet"))


@pytest.mark.netns
def test_it_is_gone_afterwards() -> None:
    with Namespace("host") as namespace:
        with Tun(namespace, "eth0"):
            assert "eth0" in namespace.run(["ip", "link"]).stdout
        assert "eth0" not in namespace.run(["ip", "link"]).stdout


@pytest.mark.netns
def test_a_name_that_is_taken() -> None:
    before = socket.if_nameindex()
    with Namespace("host") as namespace, Tun(namespace, "eth0"), pytest.raises(ConfigError, match="File exists"):
        Tun(namespace, "eth0")
    assert [name for _, name in socket.if_nameindex() if name.startswith("icekit")] == [
        name for _, name in before if name.startswith("icekit")
    ]


def test_without_the_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tun, "_DEVICE", "/nonexistent/tun")
    with pytest.raises(ConfigError) as error:
        Tun(Namespace("host"), "eth0")
    assert str(error.value) == "/nonexistent/tun: No such file or directory; a TUN device is needed: modprobe tun"
