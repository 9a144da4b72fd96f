"""IP packets for the tests, built and checked from scratch: sums of 16-bit words with carries (RFC 1071)."""

from __future__ import annotations

import ipaddress
import struct

from icekit.net import Address


def packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed


def fold(data: bytes) -> int:
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ip4(protocol: int, source: str, destination: str, body: bytes) -> bytearray:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0x1234, 0, 64, protocol, 0)
    head += packed(source) + packed(destination)
    return bytearray(head[:10] + struct.pack("!H", 0xFFFF - fold(head)) + head[12:] + body)


def ip6(protocol: int, source: str, destination: str, body: bytes) -> bytearray:
    return bytearray(
        struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + packed(source) + packed(destination) + body
    )


def pseudo(protocol: int, source: str, destination: str, body: bytes) -> bytes:
    return packed(source) + packed(destination) + struct.pack("!II", protocol, len(body))


def _whole(protocol: int, source: Address, destination: Address, body: bytes, at: int) -> bytearray:
    checksum = 0xFFFF - fold(pseudo(protocol, source.host, destination.host, body) + body)
    body = body[:at] + struct.pack("!H", checksum or (0xFFFF if protocol == 17 else 0)) + body[at + 2 :]
    return (ip6 if source.family == 6 else ip4)(protocol, source.host, destination.host, body)


def udp(source: Address, destination: Address, payload: bytes) -> bytearray:
    body = struct.pack("!HHHH", source.port, destination.port, 8 + len(payload), 0) + payload
    return _whole(17, source, destination, body, 6)


def tcp(source: Address, destination: Address, payload: bytes) -> bytearray:
    body = struct.pack("!HHIIBBHHH", source.port, destination.port, 1, 0, 0x50, 2, 1000, 0, 0) + payload
    return _whole(6, source, destination, body, 16)


PROTOCOLS = (udp, tcp)


def query(kind: int, source: str, destination: str, identifier: int) -> bytearray:
    body = struct.pack("!BBHHH", kind, 0, 0, identifier, 1) + b"ping"
    return ip4(1, source, destination, body[:2] + struct.pack("!H", 0xFFFF - fold(body)) + body[4:])


def icmp_error(source: str, destination: str, quoted: bytes, kind: int = 3, code: int = 3) -> bytearray:
    body = struct.pack("!BBHI", kind, code, 0, 0) + quoted
    return ip4(1, source, destination, body[:2] + struct.pack("!H", 0xFFFF - fold(body)) + body[4:])


def checksums_hold(data: bytes) -> bool:
    """Of the IP header and of what it carries; an ICMP error quotes a header that must hold, too."""
    data = bytes(data)
    if data[0] >> 4 == 6:
        protocol, source, destination, body = data[6], data[8:24], data[24:40], data[40:]
    else:
        if fold(data[:20]) != 0xFFFF:
            return False
        protocol, source, destination, body = data[9], data[12:16], data[16:20], data[20:]
    if protocol == 1:
        if fold(body) != 0xFFFF:
            return False
        return body[0] not in (3, 11) or fold(body[8:28]) == 0xFFFF
    if protocol == 17 and body[6:8] == b"\0\0":
        return False
    return fold(source + destination + struct.pack("!II", protocol, len(body)) + body) == 0xFFFF
