"""Packets that are not plain datagrams, and the size of a packet on the wire."""

from __future__ import annotations

from dataclasses import dataclass, replace

from icekit.net import Datagram, Transport

# RFC 9293 §3.1.
FIN, SYN, RST, ACK = 1, 2, 4, 16

_FLAGS = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK"))


@dataclass(frozen=True, slots=True)
class PortUnreachable(Datagram):
    """ICMP port unreachable on its way back: ``source`` is where nobody listens, ``destination`` who had sent."""


@dataclass(frozen=True, slots=True)
class Segment(Datagram):
    """A TCP segment; ``sequence`` and ``acknowledgment`` count from 0 and never wrap.

    ``blocks``: what has arrived beyond ``acknowledgment``, from the first number to behind the last one (RFC 2018 §3).
    ``stamp``: when it left; ``echo``: when the segment left that it answers (RFC 7323 §3).
    """

    transport: Transport = Transport.TCP
    flags: int = ACK
    sequence: int = 0
    acknowledgment: int = 0
    blocks: tuple[tuple[int, int], ...] = ()
    stamp: float | None = None
    echo: float | None = None

    @property
    def length(self) -> int:
        """What it takes of the sequence space (RFC 9293 §3.4)."""
        return len(self.data) + bool(self.flags & (SYN | FIN))

    def __str__(self) -> str:
        return "TCP " + " ".join(name for flag, name in _FLAGS if self.flags & flag)


def readdressed(original: Datagram, translated: Datagram) -> Datagram:
    """``translated`` as the kind of packet that ``original`` is: a NAT knows plain datagrams only."""
    if type(original) is Datagram:
        return translated
    return replace(original, source=translated.source, destination=translated.destination, data=translated.data)


def size_of(datagram: Datagram) -> int:
    """Bytes of the IP packet (RFC 791, 8200, 768, 9293: headers without options)."""
    header = 40 if ":" in datagram.destination.host else 20
    return header + (8 if datagram.transport is Transport.UDP else 20) + len(datagram.data)
