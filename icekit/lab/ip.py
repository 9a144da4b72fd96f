"""IP packets as bytes: where they come from and go to, and how a NAT rewrites that in place (RFC 3022 §4.1, RFC 5508).

Pure, and hostile bytes raise nothing: what cannot be read is ``None``. IPv4 with UDP, TCP and ICMP; IPv6 without
extension headers.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from functools import lru_cache

from icekit.net import Address, Transport

__all__ = ["TIME_EXCEEDED", "Packet", "parse", "refusal"]

_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_TRANSPORTS = {_UDP: Transport.UDP, _TCP: Transport.TCP}
# Offset of the checksum in the header, and how long that header is at least.
_CHECKSUM_AT = {_UDP: 6, _TCP: 16}
_HEADER = {_UDP: 8, _TCP: 20}

# ICMP types (RFC 792, RFC 4443): queries carry an identifier, errors quote the packet that they are about.
_QUERIES = {_ICMP: frozenset({0, 8}), _ICMP6: frozenset({128, 129})}
_ERRORS = {_ICMP: frozenset({3, 11, 12}), _ICMP6: frozenset({1, 2, 3, 4})}

TIME_EXCEEDED = (11, 0)

# RFC 1812 §4.3.2.3: as much of the packet as fits into 576 bytes.
_QUOTED = 548


class Packet:
    """A readable view of one packet in ``data``, which rewriting changes.

    ``source`` and ``destination``: transport addresses. Both ports of an ICMP query are its identifier; they are 0 in
    a later fragment and in an ICMP error, which has the packet it quotes in ``quoted``. ``transport``: ``None`` for
    ICMP. ``fragment``: what the fragments of one packet have in common, ``None`` for a whole packet.
    """

    __slots__ = (
        "_payload_at",
        "_protocol",
        "_start",
        "data",
        "destination",
        "fragment",
        "is_first",
        "is_query",
        "quoted",
        "source",
        "transport",
    )

    def __init__(self, data: bytearray, start: int, protocol: int, payload_at: int, ends: tuple[str, str]) -> None:
        self.data = data
        self._start = start
        self._protocol = protocol
        self._payload_at = payload_at
        self.transport = _TRANSPORTS.get(protocol)
        self.source = Address(ends[0], 0)
        self.destination = Address(ends[1], 0)
        self.is_query = False
        self.is_first = True
        self.quoted: Packet | None = None
        self.fragment: tuple[object, ...] | None = None

    @property
    def hops_left(self) -> int:
        """The time to live (RFC 791), the hop limit (RFC 8200)."""
        return self.data[self._start + (7 if self._is_six else 8)]

    @property
    def _is_six(self) -> bool:
        return self.data[self._start] >> 4 == 6

    @property
    def payload(self) -> bytes:
        """What UDP or TCP carries; TCP options count as payload."""
        return bytes(self.data[self._payload_at + _HEADER.get(self._protocol, 8) :])

    def spend_hop(self) -> None:
        """Count one router (RFC 1812 §5.3.1)."""
        if self._is_six:
            self.data[self._start + 7] -= 1
        else:
            self.data[self._start + 8] -= 1
            self._adjust(self._start + 10, -0x0100)

    def readdress(self, source: Address, destination: Address) -> None:
        """Give the packet other ends, in headers and checksums. The port counts where the packet has one."""
        hosts = ports = 0
        has_ports = self.transport is not None and self.is_first
        for which, old, new in ((0, self.source, source), (1, self.destination, destination)):
            if new.host != old.host:
                size = 16 if self._is_six else 4
                at = self._start + (8 + which * 16 if self._is_six else 12 + which * 4)
                self.data[at : at + size] = packed = _pack(new.host)
                hosts += int.from_bytes(packed, "big") - int.from_bytes(_pack(old.host), "big")
            if has_ports and new.port != old.port:
                struct.pack_into("!H", self.data, self._payload_at + which * 2, new.port)
                ports += new.port - old.port
        if hosts and not self._is_six:
            self._adjust(self._start + 10, hosts)
        at = self._payload_at + _CHECKSUM_AT.get(self._protocol, 2)
        if has_ports:
            # RFC 768: zero means that there is none. A quoted TCP header may end before its checksum.
            if at + 2 <= len(self.data) and not (self._protocol == _UDP and self.data[at : at + 2] == b"\0\0"):
                self._adjust(at, hosts + ports)
        elif self.is_query and self.is_first:
            # An identifier is one for both ends. IPv4 does not sum up the addresses (RFC 792), IPv6 does (RFC 4443).
            identifier = source.port or destination.port
            (old_identifier,) = struct.unpack_from("!H", self.data, self._payload_at + 4)
            struct.pack_into("!H", self.data, self._payload_at + 4, identifier)
            self._adjust(at, identifier - old_identifier + (hosts if self._is_six else 0))
        self.source, self.destination = source, destination

    def replace_payload(self, payload: bytes) -> None:
        """Put other bytes of the same length there (an application-level gateway)."""
        self.data[self._payload_at + _HEADER[self._protocol] :] = payload
        self._sum_up(_CHECKSUM_AT[self._protocol])

    def readdress_error(self, source: str, destination: str, quoted_source: Address, quoted_target: Address) -> None:
        """Give an ICMP error and the packet that it quotes other ends (RFC 5508 §4.2)."""
        assert self.quoted is not None
        self.quoted.readdress(quoted_source, quoted_target)
        self.readdress(Address(source, 0), Address(destination, 0))
        self._sum_up(2)

    def _adjust(self, at: int, difference: int) -> None:
        # RFC 1624, without carries: the checksum is what makes the sum of all 16-bit words zero modulo 65535. Longer
        # fields count as they are, because 65536 is 1 there.
        (old,) = struct.unpack_from("!H", self.data, at)
        new = (old - difference) % 0xFFFF
        struct.pack_into(
            "!H", self.data, at, new or (0xFFFF if self._protocol == _UDP and at != self._start + 10 else 0)
        )

    def _sum_up(self, at: int) -> None:
        at += self._payload_at
        self.data[at : at + 2] = b"\0\0"
        body = self.data[self._payload_at :]
        if self._protocol != _ICMP:
            # The pseudo header (RFC 9293 §3.1, RFC 8200 §8.1).
            first, last = (8, 40) if self._is_six else (12, 20)
            addresses = self.data[self._start + first : self._start + last]
            body = addresses + struct.pack("!II", self._protocol, len(body)) + body
        struct.pack_into("!H", self.data, at, _checksum(body) or (0xFFFF if self._protocol == _UDP else 0))


def parse(data: bytearray, start: int = 0) -> Packet | None:
    """The packet that begins at ``start``; ``None`` if it is none, or of a kind that no NAT here lets pass."""
    left = len(data) - start
    if left < 20:
        return None
    version = data[start] >> 4
    offset = 0
    more = False
    if version == 4:
        header = (data[start] & 15) * 4
        if header < 20 or left < header:
            return None
        protocol = data[start + 9]
        ends = _name(bytes(data[start + 12 : start + 16])), _name(bytes(data[start + 16 : start + 20]))
        offset = struct.unpack_from("!H", data, start + 6)[0]
        more = bool(offset & 0x2000)
        offset &= 0x1FFF
    elif version == 6 and left >= 40:
        header = 40
        protocol = data[start + 6]
        ends = _name(bytes(data[start + 8 : start + 24])), _name(bytes(data[start + 24 : start + 40]))
    else:
        return None
    at = start + header
    packet = Packet(data, start, protocol, at, ends)
    if offset or more:
        identification = bytes(data[start + 4 : start + 6])
        packet.fragment = (*ends, protocol, identification)
        packet.is_first = offset == 0
        if offset:
            return packet if protocol in _TRANSPORTS or protocol == _ICMP else None
    # A quoted packet need not have more than the first eight bytes behind its IP header (RFC 792).
    if len(data) - at < (8 if start else _HEADER.get(protocol, 8)):
        return None
    if protocol in _TRANSPORTS:
        source, destination = struct.unpack_from("!HH", data, at)
    elif data[at] in _QUERIES.get(protocol, ()):
        packet.is_query = True
        source = destination = struct.unpack_from("!H", data, at + 4)[0]
    elif data[at] in _ERRORS.get(protocol, ()) and not start and packet.fragment is None:
        packet.quoted = parse(data, at + 8)
        quoted = packet.quoted
        # RFC 5508 §4.2, REQ-3: an error that quotes nothing known is of no use; nor is one about another's packet.
        if quoted is None or not quoted.is_first or quoted.source.host != ends[1]:
            return None
        return packet
    else:
        return None
    packet.source = Address(ends[0], source)
    packet.destination = Address(ends[1], destination)
    return packet


def refusal(packet: Packet, router: str, reason: tuple[int, int]) -> bytearray:
    """The IPv4 ICMP error about ``packet`` from ``router``, to its sender (RFC 1812 §4.3.2)."""
    quoted = bytes(packet.data[:_QUOTED])
    body = struct.pack("!BBHI", *reason, 0, 0) + quoted
    data = bytearray(struct.pack("!BBHHHBBH", 0x45, 0xC0, 20 + len(body), 0, 0, 64, _ICMP, 0))
    data += _pack(router) + _pack(packet.source.host)
    struct.pack_into("!H", data, 10, _checksum(data))
    return data + body[:2] + struct.pack("!H", _checksum(body)) + body[4:]


def _checksum(data: bytes | bytearray) -> int:
    return -int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF


@lru_cache(4096)
def _name(packed: bytes) -> str:
    # As everywhere else: the system's inet_ntop writes ::1:0 as ::0.1.0.0.
    return str(ipaddress.ip_address(packed))


@lru_cache(4096)
def _pack(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
