"""Reads packet captures: pcap and pcapng (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng) to UDP and TCP payloads.

What cannot be read (other link layers, other protocols, fragments behind the first, damaged packets) is counted, not
guessed about.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from icekit.errors import DecodeError
from icekit.net import Address, Datagram, Transport

MAX_PACKETS = 1_000_000

_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER = 0x1A2B3C4D
_INTERFACE, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 3, 6
_TSRESOL = 9

# Link layers that are understood, by their number in the file.
_ETHERNET, _SLL, _SLL2, _RAW, _NULL = 1, 113, 276, (12, 14, 101, 228, 229), (0, 108)
_ETHERTYPES_IP = (0x0800, 0x86DD)
_VLAN = (0x8100, 0x88A8)
_TCP, _UDP = 6, 17
_EXTENSION_HEADERS = (0, 43, 60)
_FRAGMENT = 44


@dataclass(frozen=True, slots=True)
class Packet:
    """One UDP datagram, or the payload of one TCP segment (``syn``: it opens the connection); ``time`` is Unix time."""

    time: float
    datagram: Datagram
    syn: bool = False
    rst: bool = False


@dataclass(frozen=True, slots=True)
class CaptureReading:
    """Packets in the order of the file; ``skipped`` others could not be read; ``cut``: there were more."""

    packets: tuple[Packet, ...]
    skipped: int
    cut: bool


def is_capture(data: bytes) -> bool:
    """Whether these are the first bytes of a capture."""
    return data[:4] in _PCAP or data[:4] == _SECTION


def read_capture(data: bytes) -> CaptureReading:
    """Read a whole file; DecodeError if it is no capture. A file that ends in the middle is read up to there."""
    if data[:4] in _PCAP:
        frames = _pcap_frames(data)
    elif data[:4] == _SECTION:
        frames = _pcapng_frames(data)
    else:
        raise DecodeError("not a packet capture (pcap or pcapng)")
    packets: list[Packet] = []
    skipped = 0
    for time, link, frame in frames:
        if len(packets) + skipped >= MAX_PACKETS:
            return CaptureReading(tuple(packets), skipped, True)
        if (packet := _packet(time, link, frame)) is None:
            skipped += 1
        else:
            packets.append(packet)
    return CaptureReading(tuple(packets), skipped, False)


def _pcap_frames(data: bytes) -> Iterator[tuple[float, int, bytes]]:
    order, unit = _PCAP[data[:4]]
    if len(data) < 24:
        return
    link = struct.unpack_from(f"{order}I", data, 20)[0] & 0x0FFF_FFFF
    place = 24
    while place + 16 <= len(data):
        seconds, fraction, length, _ = struct.unpack_from(f"{order}IIII", data, place)
        place += 16
        yield seconds + fraction * unit, link, data[place : place + length]
        place += length


def _pcapng_frames(data: bytes) -> Iterator[tuple[float, int, bytes]]:
    order = "<"
    interfaces: list[tuple[int, float]] = []
    place = 0
    while place + 12 <= len(data):
        if data[place : place + 4] == _SECTION:
            order = "<" if struct.unpack_from("<I", data, place + 8)[0] == _BYTE_ORDER else ">"
            interfaces = []
        kind, length = struct.unpack_from(f"{order}II", data, place)
        if length < 12 or length % 4:
            return
        body = data[place + 8 : place + length - 4]
        place += length
        if kind == _INTERFACE and len(body) >= 8:
            interfaces.append((struct.unpack_from(f"{order}H", body)[0], _unit(body[8:], order)))
        elif kind == _ENHANCED_PACKET and len(body) >= 20:
            number, high, low, captured = struct.unpack_from(f"{order}IIII", body)
            if number < len(interfaces):
                link, unit = interfaces[number]
                yield (high << 32 | low) * unit, link, body[20 : 20 + captured]
        elif kind == _SIMPLE_PACKET and len(body) >= 4 and interfaces:
            # It has no time.
            yield 0.0, interfaces[0][0], body[4:]


def _unit(options: bytes, order: str) -> float:
    """Of the interface's time stamps, in seconds: microseconds unless an option says otherwise."""
    place = 0
    while place + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, place)
        if code == 0:
            break
        if code == _TSRESOL and length >= 1 and place + 4 < len(options):
            value = options[place + 4]
            return float(2.0 ** -(value & 0x7F)) if value & 0x80 else float(10.0**-value)
        place += 4 + (length + 3) // 4 * 4
    return 1e-6


def _packet(time: float, link: int, frame: bytes) -> Packet | None:
    try:
        ip = _network_layer(link, frame)
        return None if ip is None else _transport_layer(time, ip)
    except (struct.error, IndexError):
        return None  # cut short in the capture


def _network_layer(link: int, frame: bytes) -> bytes | None:
    if link in _RAW:
        return frame
    if link in _NULL:
        return frame[4:]
    if link == _SLL:
        return frame[16:] if struct.unpack_from("!H", frame, 14)[0] in _ETHERTYPES_IP else None
    if link == _SLL2:
        return frame[20:] if struct.unpack_from("!H", frame)[0] in _ETHERTYPES_IP else None
    if link != _ETHERNET:
        return None
    place = 12
    while struct.unpack_from("!H", frame, place)[0] in _VLAN:
        place += 4
    return frame[place + 2 :] if struct.unpack_from("!H", frame, place)[0] in _ETHERTYPES_IP else None


def _transport_layer(time: float, ip: bytes) -> Packet | None:
    if ip[0] >> 4 == 4:
        header = (ip[0] & 15) * 4
        total, fragment = struct.unpack_from("!H", ip, 2)[0], struct.unpack_from("!H", ip, 6)[0]
        if fragment & 0x1FFF or header < 20:
            return None
        protocol, hosts = ip[9], (_host(ip[12:16]), _host(ip[16:20]))
        payload = ip[header : max(total, header)] if total else ip[header:]
    elif ip[0] >> 4 == 6:
        length = struct.unpack_from("!H", ip, 4)[0]
        protocol, hosts = ip[6], (_host(ip[8:24]), _host(ip[24:40]))
        payload = ip[40 : 40 + length] if length else ip[40:]
        while protocol in _EXTENSION_HEADERS:
            protocol, payload = payload[0], payload[(payload[1] + 1) * 8 :]
        if protocol == _FRAGMENT:
            if struct.unpack_from("!H", payload, 2)[0] & 0xFFF8:
                return None
            protocol, payload = payload[0], payload[8:]
    else:
        return None
    source_port, destination_port = struct.unpack_from("!HH", payload) if protocol in (_TCP, _UDP) else (0, 0)
    source, destination = Address(hosts[0], source_port), Address(hosts[1], destination_port)
    if protocol == _UDP:
        return Packet(time, Datagram(source, destination, payload[8:]))
    if protocol == _TCP:
        flags = payload[13]
        data = payload[(payload[12] >> 4) * 4 :]
        datagram = Datagram(source, destination, data, Transport.TCP)
        return Packet(time, datagram, syn=bool(flags & 2), rst=bool(flags & 4))
    return None


def _host(packed: bytes) -> str:
    if len(packed) not in (4, 16):
        raise IndexError
    return str(ipaddress.ip_address(packed))
