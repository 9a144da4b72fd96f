"""One laboratory: a client, one or two NATs in a row, and a server with two public addresses.

::

    CLIENT 192.168.77.2 ── 192.168.77.1 NAT 203.0.113.2 ── 203.0.113.10, 203.0.113.11 SERVER
    CLIENT 192.168.77.2 ── 192.168.77.1 NAT 100.64.0.2 ── 100.64.0.1 CARRIER 203.0.113.2 ── … SERVER     (DOUBLE)
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from types import TracebackType
from typing import IO, Any

from icekit.errors import InvalidState
from icekit.lab.kernel_nat import KernelNat
from icekit.lab.namespaces import Namespace

CLIENT_ADDRESS = "192.168.77.2"
HOME_ADDRESS = "192.168.77.1"
HOME_CARRIER_ADDRESS = "100.64.0.2"
CARRIER_ADDRESS = "100.64.0.1"
NAT_ADDRESS = "203.0.113.2"
SERVER_ADDRESSES = ("203.0.113.10", "203.0.113.11")
SERVER_NAME = "turn.icekit.test"

# Interface names in every namespace: a host has eth0, a router has both.
_HOST, _INSIDE, _OUTSIDE = "eth0", "inside", "outside"

# Nothing answers DNS in a laboratory. Loopback refuses it at once, behind every NAT; a silent resolver costs seconds.
_FILES = {
    "hosts": f"127.0.0.1 localhost\n{SERVER_ADDRESSES[0]} {SERVER_NAME}\n",
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
}


class Place(StrEnum):
    """Where a program runs. ``CARRIER`` is there only behind ``KernelNat.DOUBLE``."""

    CLIENT = "client"
    NAT = "nat"
    CARRIER = "carrier"
    SERVER = "server"


class Lab:
    """A client behind ``nat`` and a server with two addresses; a context manager that leaves nothing behind.

    ``turn.icekit.test`` resolves to the server's first address for every program inside. ConfigError tells in one
    sentence why it cannot be built (not root, not Linux, a program missing).
    """

    def __init__(self, nat: KernelNat) -> None:
        self.nat = nat
        self._places: dict[Place, Namespace] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Lab:
        with ExitStack() as stack:
            for place in Place:
                if place is not Place.CARRIER or self.nat.nats > 1:
                    self._places[place] = stack.enter_context(Namespace(place.value, _FILES))
            self._wire()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.clear()
        self._stack.close()

    def namespace(self, place: Place) -> Namespace:
        """The namespace of a place; InvalidState outside of the ``with`` block or where there is no such place."""
        try:
            return self._places[place]
        except KeyError:
            raise InvalidState(f"this laboratory has no {place}, or it is not built: use it in a with block") from None

    def run(
        self, place: Place, argv: Sequence[str], *, timeout: float = 30.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end (``timeout`` in seconds); its output is captured as text."""
        return self.namespace(place).run(argv, timeout=timeout, env=env)

    def popen(
        self,
        place: Place,
        argv: Sequence[str],
        *,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program; what still runs when the laboratory ends is killed."""
        return self.namespace(place).popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env)

    def _wire(self) -> None:
        client, home, server = (self._places[place] for place in (Place.CLIENT, Place.NAT, Place.SERVER))
        carrier = self._places.get(Place.CARRIER)
        edge = home if carrier is None else carrier

        client.connect(_HOST, home, _INSIDE)
        client.ip(f"addr add {CLIENT_ADDRESS}/24 dev {_HOST}", f"route add default via {HOME_ADDRESS}")
        home.ip(f"addr add {HOME_ADDRESS}/24 dev {_INSIDE}")
        if carrier is not None:
            home.connect(_OUTSIDE, carrier, _INSIDE)
            home.ip(f"addr add {HOME_CARRIER_ADDRESS}/10 dev {_OUTSIDE}", f"route add default via {CARRIER_ADDRESS}")
            carrier.ip(f"addr add {CARRIER_ADDRESS}/10 dev {_INSIDE}")
            self._make_router(home, HOME_CARRIER_ADDRESS, CLIENT_ADDRESS)
            self._make_router(carrier, NAT_ADDRESS, HOME_CARRIER_ADDRESS)
        else:
            self._make_router(home, NAT_ADDRESS, CLIENT_ADDRESS)
        edge.connect(_OUTSIDE, server, _HOST)
        edge.ip(f"addr add {NAT_ADDRESS}/24 dev {_OUTSIDE}")
        # No route back to private addresses: a packet that a NAT forgot to translate gets no answer.
        server.ip(*(f"addr add {address}/24 dev {_HOST}" for address in SERVER_ADDRESSES))

    def _make_router(self, router: Namespace, address: str, host: str) -> None:
        router.sysctl("net.ipv4.ip_forward", "1")
        router.nft(self.nat.ruleset(inside=_INSIDE, outside=_OUTSIDE, address=address, host=host))
