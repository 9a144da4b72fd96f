"""What happened on the simulated network, one line a packet."""

from __future__ import annotations

from dataclasses import dataclass

from icekit.net import Address, Datagram, Transport

_METHODS = {
    1: "Binding",
    3: "Allocate",
    4: "Refresh",
    6: "Send",
    7: "Data",
    8: "CreatePermission",
    9: "ChannelBind",
    10: "Connect",
    11: "ConnectionBind",
    12: "ConnectionAttempt",
}
_CLASSES = ("request", "indication", "success", "error")
_COOKIE = b"\x21\x12\xa4\x42"


def kind_of(data: bytes) -> str:
    """What the first bytes say (RFC 7983 §7): STUN with method and class, ChannelData, DTLS, RTP, or data."""
    if not data:
        return "empty"
    first = data[0]
    if first < 4 and data[4:8] == _COOKIE:
        number = int.from_bytes(data[:2], "big")
        method = (number & 0x000F) | (number & 0x00E0) >> 1 | (number & 0x3E00) >> 2
        return f"STUN {_METHODS.get(method, hex(method))} {_CLASSES[(number >> 4 & 1) | (number >> 7 & 2)]}"
    if 20 <= first < 64:
        return "DTLS"
    if 64 <= first < 80:
        return "ChannelData"
    if 128 <= first < 192:
        return "RTP"
    return "data"


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened to a packet: ``event`` is ``sent``, ``received`` or ``lost``; ``where``: by whom, why."""

    time: float
    event: str
    where: str
    source: Address
    destination: Address
    transport: Transport
    size: int
    kind: str

    def __str__(self) -> str:
        return (
            f"{self.time:12.6f} {self.event:8} {self.source} > {self.destination} "
            f"{self.transport} {self.size} {self.kind} ({self.where})"
        )


class Timeline:
    """Records in order of time. ``str()`` gives the text."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, time: float, event: str, where: str, datagram: Datagram, kind: str) -> None:
        """Keep one event of ``datagram``."""
        source, destination, transport = datagram.source, datagram.destination, datagram.transport
        self.records.append(Record(time, event, where, source, destination, transport, len(datagram.data), kind))

    def __str__(self) -> str:
        return "\n".join(map(str, self.records))
