"""Packets that are not plain datagrams, and the size of a packet on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from icekit.net import Datagram, Transport


@dataclass(frozen=True, slots=True)
class PortUnreachable(Datagram):
    """ICMP port unreachable on its way back: ``source`` is where nobody listens, ``destination`` who had sent."""


def size_of(datagram: Datagram) -> int:
    """Bytes of the IP packet (RFC 791, 8200, 768, 9293: headers without options)."""
    header = 40 if ":" in datagram.destination.host else 20
    return header + (8 if datagram.transport is Transport.UDP else 20) + len(datagram.data)
