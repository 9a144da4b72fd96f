from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.bench.packets import Watch
from icekit.net import Address
from tests.lab.packets import udp

SERVER, PEER = "203.0.113.10", "198.51.100.3"
HERE = Address("192.168.77.2", 5000)


def stun(kind: int) -> bytes:
    return kind.to_bytes(2, "big") + b"\0\0\x21\x12\xa4\x42" + bytes(12)


BINDING, ALLOCATE, SEND, ANSWER = stun(0x0001), stun(0x0003), stun(0x0016), stun(0x0101)


def watched(*sent: tuple[str, bytes]) -> tuple[float | None, float | None]:
    watch = Watch(servers=(SERVER,))
    for number, (host, payload) in enumerate(sent):
        watch.see(host, payload, float(number))
    return watch.to_server, watch.first_check


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ([(SERVER, BINDING)], (0, None)),
        ([(SERVER, ALLOCATE), (PEER, BINDING), (PEER, BINDING), (SERVER, BINDING)], (0, 1)),
        ([(PEER, ANSWER), (PEER, b"\x16\xfe\xfd"), (PEER, b""), (PEER, BINDING)], (None, 3)),
        ([(SERVER, SEND)], (0, 0)),
        ([(SERVER, ALLOCATE), (SERVER, b"\x40\x00\x00\x14" + BINDING)], (0, 1)),
        # A data packet of something else that begins like a request.
        ([(PEER, b"\x00\x01" + bytes(18))], (None, None)),
    ],
)
def test_what_is_seen(sent: list[tuple[str, bytes]], seen: tuple[float | None, float | None]) -> None:
    assert watched(*sent) == seen


def test_packets_of_a_device() -> None:
    watch = Watch(servers=(SERVER,))
    watch.see_packet(udp(HERE, Address(SERVER, 3478), BINDING), 1.0)
    assert not watch.is_done
    watch.see_packet(udp(HERE, Address(PEER, 3478), BINDING), 2.0)
    assert watch.is_done
    watch.see_packet(udp(HERE, Address(PEER, 3478), BINDING), 3.0)
    assert (watch.to_server, watch.first_check) == (1.0, 2.0)


def test_a_relay_over_tcp() -> None:
    # IPv4 without options, TCP with 12 bytes of them.
    head = bytes([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, *(192, 168, 77, 2), *(203, 0, 113, 10)])
    tcp = bytes([0x13, 0x88, 0x01, 0xBB, *bytes(8), 0x80, 0x18, *bytes(6), *bytes(12)])
    watch = Watch(servers=(SERVER,))
    watch.see_packet(head + tcp, 1.0)
    assert (watch.to_server, watch.first_check) == (1.0, None)
    watch.see_packet(head + tcp + SEND, 2.0)
    assert (watch.to_server, watch.first_check) == (1.0, 2.0)


@settings(max_examples=60)
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda data: b"\x45" + data))
def test_any_packet_is_survived(packet: bytes) -> None:
    watch = Watch(servers=())
    watch.see_packet(packet, 1.0)
    assert watch.to_server is None
