"""What is seen of a setup on the wire, of every engine alike: the first packet to a server, the first check."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

from icekit.net import Address

_BINDING_REQUEST, _SEND_INDICATION = 0x0001, 0x0016
_COOKIE = b"\x21\x12\xa4\x42"
_TCP, _UDP = 6, 17


@dataclass(eq=False, kw_only=True, slots=True)
class Watch:
    """Times of first packets, on the clock that they are given with; ``servers``: addresses of STUN and TURN servers.

    A check on its way to a relay is one, too: a Send indication or a ChannelData message (RFC 8656 §11).
    """

    servers: Collection[str]
    to_server: float | None = None
    first_check: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to wait for."""
        return None not in (self.to_server, self.first_check)

    def see(self, destination: str, payload: bytes, now: float) -> None:
        """A host sends something."""
        served = destination in self.servers
        if served and self.to_server is None:
            self.to_server = now
        if self.first_check is None and _is_check(payload, relayed=served):
            self.first_check = now

    def see_packet(self, packet: bytes | bytearray, now: float) -> None:
        """A host sends an IPv4 packet; others are passed over."""
        found = None if self.is_done else _payload(packet)
        if found is not None:
            self.see(found[0].host, found[1], now)


def _is_check(payload: bytes, *, relayed: bool) -> bool:
    if len(payload) < 4:
        return False
    if relayed:
        return 0x40 <= payload[0] <= 0x4F or _is_stun(payload, _SEND_INDICATION)
    return _is_stun(payload, _BINDING_REQUEST)


def _is_stun(payload: bytes, kind: int) -> bool:
    return int.from_bytes(payload[:2], "big") == kind and payload[4:8] == _COOKIE


def _payload(packet: bytes | bytearray) -> tuple[Address, bytes] | None:
    """Where an IPv4 packet of UDP or TCP goes, and what is in it."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    header = 4 * (packet[0] & 0x0F)
    if packet[9] == _UDP:
        start = header + 8
    elif packet[9] == _TCP and len(packet) > header + 12:
        start = header + 4 * (packet[header + 12] >> 4)
    else:
        return None
    if header < 20 or len(packet) < header + 4:
        return None
    port = int.from_bytes(packet[header + 2 : header + 4], "big")
    return Address(str(ipaddress.ip_address(bytes(packet[16:20]))), port), bytes(packet[start:])
