"""Captures of both formats and every link layer that is understood; anything else is counted or refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import DecodeError
from icekit.net import Address, Datagram, Transport
from icekit.pcap import Packet, is_capture, read_capture
from icekit.sim.capture import packet_bytes
from icekit.sim.packet import Segment

ONE, OTHER = Address("192.0.2.1", 5000), Address("198.51.100.2", 6000)
SIX = Address("2001:db8::1", 5000), Address("2001:db8::2", 6000)
UDP = Datagram(ONE, OTHER, b"hello")
IP = packet_bytes(UDP)
TIME = 1_700_000_000.25


def pcap(
    *frames: bytes, link: int = 101, magic: bytes = b"\xd4\xc3\xb2\xa1", order: str = "<", unit: float = 1e6
) -> bytes:
    text = magic + struct.pack(f"{order}HHiIII", 2, 4, 0, 0, 65535, link)
    for frame in frames:
        text += struct.pack(f"{order}IIII", int(TIME), round(TIME % 1 * unit), len(frame), len(frame)) + frame
    return text


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def pcapng(*frames: bytes, order: str = "<", options: bytes = b"", unit: float = 1e6) -> bytes:
    text = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    text += block(1, struct.pack(f"{order}HHI", 101, 0, 0) + options, order)
    stamp = round(TIME * unit)
    for frame in frames:
        head = struct.pack(f"{order}IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame))
        text += block(6, head + frame, order)
    return text


@pytest.mark.parametrize(
    "data",
    [
        pcap(IP),
        pcap(IP, magic=b"\xa1\xb2\xc3\xd4", order=">"),
        pcap(IP, magic=b"\x4d\x3c\xb2\xa1", unit=1e9),
        pcap(IP, magic=b"\xa1\xb2\x3c\x4d", order=">", unit=1e9),
        pcapng(IP),
        pcapng(IP, order=">"),
        pcapng(IP, options=struct.pack("<HHB3xHH", 9, 1, 9, 0, 0), unit=1e9),
        pcapng(IP, options=struct.pack("<HH4sHHB3x", 2, 4, b"eth0", 9, 1, 0x80 | 10), unit=1024),
        pcap(bytes(12) + b"\x08\x00" + IP, link=1),
        pcap(bytes(12) + b"\x81\x00\x00\x05\x08\x00" + IP, link=1),
        pcap(bytes(14) + b"\x08\x00" + IP, link=113),
        pcap(b"\x08\x00" + bytes(18) + IP, link=276),
        pcap(b"\x02\x00\x00\x00" + IP, link=0),
    ],
)
def test_one_datagram(data: bytes) -> None:
    assert is_capture(data)
    reading = read_capture(data)
    assert reading.packets == (Packet(TIME, UDP),)
    assert (reading.skipped, reading.cut) == (0, False)


def test_ipv6_and_its_extension_headers() -> None:
    plain = packet_bytes(Datagram(*SIX, b"six"))
    extended = (
        plain[:4] + struct.pack("!H", len(plain) - 40 + 8) + b"\x00" + plain[7:40] + b"\x11\x00" + bytes(6) + plain[40:]
    )
    fragment = (
        plain[:4] + struct.pack("!H", len(plain) - 40 + 8) + b"\x2c" + plain[7:40] + b"\x11\x00\x00\x01" + bytes(4)
    )
    later = fragment[:42] + b"\x01\x00" + fragment[44:] + plain[40:]
    reading = read_capture(pcap(plain, extended, fragment + plain[40:], later))
    assert [packet.datagram.data for packet in reading.packets] == [b"six"] * 3
    assert reading.skipped == 1


def test_the_payload_of_tcp_is_read() -> None:
    opening = packet_bytes(Segment(ONE, OTHER, b"", flags=2))
    data = packet_bytes(Segment(ONE, OTHER, b"stream", sequence=1, acknowledgment=1))
    [first, second] = read_capture(pcap(opening, data)).packets
    assert (first.syn, first.datagram.data) == (True, b"")
    assert (second.syn, second.datagram) == (False, Datagram(ONE, OTHER, b"stream", Transport.TCP))


def test_other_packets_are_counted() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    cut = bytes(12) + b"\x08\x00" + IP[:22]
    reading = read_capture(pcap(arp, cut, link=1))
    assert (reading.packets, reading.skipped) == ((), 2)
    assert read_capture(pcap(IP, link=999)).skipped == 1


def test_padding_of_a_short_ethernet_frame_is_no_data() -> None:
    assert read_capture(pcap(bytes(12) + b"\x08\x00" + IP + bytes(30), link=1)).packets[0].datagram == UDP


def test_no_capture() -> None:
    assert not is_capture(b"v=0\r\n")
    with pytest.raises(DecodeError, match="not a packet capture"):
        read_capture(b"v=0\r\n")


@given(st.sampled_from([pcap(IP, IP), pcapng(IP, IP), pcap(bytes(12) + b"\x08\x00" + IP, link=1)]), st.data())
def test_any_damage_is_survived(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data[: draw.draw(st.integers(4, len(data)))])
    for _ in range(draw.draw(st.integers(0, 4))):
        damaged[draw.draw(st.integers(4, len(damaged) - 1)) if len(damaged) > 4 else 0] = draw.draw(st.integers(0, 255))
    try:
        read_capture(bytes(damaged))
    except DecodeError:
        assert not is_capture(bytes(damaged))


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_header(tail: bytes) -> None:
    read_capture(b"\xd4\xc3\xb2\xa1" + tail)
    read_capture(b"\x0a\x0d\x0d\x0a" + tail)
