"""Packet captures of a simulation (pcapng, draft-ietf-opsawg-pcapng) for Wireshark, tshark and tcpdump."""

from __future__ import annotations

import ipaddress
import os
import struct
from functools import lru_cache
from pathlib import Path

from icekit.net import Address, Datagram, Transport
from icekit.sim.packet import PortUnreachable, Segment

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
# "raw": every packet begins with its IPv4 or IPv6 header.
_LINKTYPE_RAW = 101
_END, _COMMENT, _IF_NAME, _IF_TSRESOL, _FLAGS = 0, 1, 2, 9, 2
_NANOSECONDS = 9
_DIRECTION = {"received": 1, "sent": 2}
_LOST = "lost"
_FULL = 1 << 20

_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_TTL = 64
_DO_NOT_FRAGMENT = 0x4000
_WINDOW = 65_535


def packet_bytes(datagram: Datagram) -> bytes:
    """The IP packet with all its checksums (RFC 791, 8200, 768, 9293, 792, 4443); no options.

    The simulation has no receive windows: TCP segments carry the largest one. A port unreachable quotes the headers of
    an empty datagram, because it does not keep the one that was refused.
    """
    source, destination = datagram.source, datagram.destination
    if isinstance(datagram, PortUnreachable):
        refused = packet_bytes(Datagram(destination, source, b""))
        if destination.family == 6:
            return _ip(source, destination, _ICMPV6, struct.pack("!BBHI", 1, 4, 0, 0) + refused, 2)
        message = struct.pack("!BBHI", 3, 3, 0, 0) + refused
        return _ip(source, destination, _ICMP, _with(message, 2, _checksum(message)), None)
    data = datagram.data
    if datagram.transport is Transport.UDP:
        header = struct.pack("!HHHH", source.port, destination.port, 8 + len(data), 0)
        return _ip(source, destination, _UDP, header + data, 6)
    number = acknowledgment = 0
    flags = 0
    if isinstance(datagram, Segment):
        number, acknowledgment, flags = datagram.sequence, datagram.acknowledgment, datagram.flags
    header = struct.pack(
        "!HHIIBBHHH",
        source.port,
        destination.port,
        number & 0xFFFF_FFFF,
        acknowledgment & 0xFFFF_FFFF,
        5 << 4,
        flags,
        _WINDOW,
        0,
        0,
    )
    return _ip(source, destination, _TCP, header + data, 16)


def _ip(source: Address, destination: Address, protocol: int, payload: bytes, checksum_at: int | None) -> bytes:
    """``payload`` behind its IP header; ``checksum_at``: where its checksum with the pseudo-header belongs."""
    one, other = _packed(source.host), _packed(destination.host)
    if checksum_at is not None:
        # RFC 8200 §8.1 for IPv6; the fields of the pseudo-header of IPv4 have the same sum in any width.
        value = _checksum(one + other + struct.pack("!II", len(payload), protocol) + payload)
        # RFC 768: a computed checksum of zero is sent as all ones, because zero says that there is none.
        payload = _with(payload, checksum_at, value or (0xFFFF if protocol == _UDP else 0))
    if len(one) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, _TTL) + one + other + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, _DO_NOT_FRAGMENT, _TTL, protocol, 0) + one + other
    return _with(header, 10, _checksum(header)) + payload


@lru_cache(maxsize=4096)
def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed


def _with(data: bytes, position: int, checksum: int) -> bytes:
    return data[:position] + checksum.to_bytes(2, "big") + data[position + 2 :]


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


class Capture:
    """A pcapng file. Every host is an interface of its name; lost packets are on the interface ``lost``, with the
    reason as a comment.

    The clock of the file is virtual time in nanoseconds, so a simulation begins in 1970.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._interfaces: dict[str, int] = {}
        self._waiting = bytearray()
        # Byte order, version 1.0, length of the section not given.
        self.path.write_bytes(_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))

    def add(self, time: float, event: str, where: str, datagram: Datagram) -> None:
        """Keep one packet; ``event`` and ``where`` as in a timeline's ``Record``."""
        packet = packet_bytes(datagram)
        lost = event == _LOST
        interface = self._interface(_LOST if lost else where)
        stamp = round(time * 1e9)
        fixed = struct.pack("<IIIII", interface, stamp >> 32, stamp & 0xFFFF_FFFF, len(packet), len(packet))
        option = _option(_COMMENT, where.encode()) if lost else _option(_FLAGS, struct.pack("<I", _DIRECTION[event]))
        self._waiting += _block(_PACKET, fixed + _padded(packet) + option + _option(_END, b""))
        if len(self._waiting) >= _FULL:
            self.flush()

    def flush(self) -> None:
        """Write what waits in memory."""
        with self.path.open("ab") as file:
            file.write(self._waiting)
        self._waiting.clear()

    def _interface(self, name: str) -> int:
        number = self._interfaces.get(name)
        if number is None:
            number = self._interfaces[name] = len(self._interfaces)
            options = _option(_IF_NAME, name.encode()) + _option(_IF_TSRESOL, bytes([_NANOSECONDS]))
            self._waiting += _block(_INTERFACE, struct.pack("<HHI", _LINKTYPE_RAW, 0, 0) + options + _option(_END, b""))
        return number


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length
