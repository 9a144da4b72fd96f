"""The default gateway of this host, as the system's routing table has it."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

_TABLE = Path("/proc/net/route")
_UP, _GATEWAY = 0x1, 0x2


def default_gateway(table: Path = _TABLE, *, platform: str = sys.platform) -> tuple[str | None, str]:
    """The IPv4 default gateway, or ``None`` and why it is not known. Sends nothing."""
    if platform != "linux":
        return None, f"the default gateway is looked up on Linux only, this is {platform}"
    try:
        text = table.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        return None, f"{table}: {error.strerror}"
    gateway = read_routes(text)
    return gateway, "" if gateway is not None else "there is no IPv4 default route with a gateway"


def read_routes(text: str) -> str | None:
    """The gateway of the default route with the lowest metric in the text of ``/proc/net/route``."""
    found: list[tuple[int, int, str]] = []
    for order, line in enumerate(text.splitlines()[1:]):
        fields = line.split()
        if len(fields) < 8:
            continue
        try:
            destination, gateway, flags, mask = (int(fields[index], 16) for index in (1, 2, 3, 7))
            metric = int(fields[6])
            # The kernel prints the number that the four bytes are on this machine.
            host = str(ipaddress.IPv4Address(gateway.to_bytes(4, sys.byteorder)))
        except (ValueError, OverflowError):
            continue
        if destination == 0 and mask == 0 and gateway and flags & _UP and flags & _GATEWAY:
            found.append((metric, order, host))
    return min(found)[2] if found else None
