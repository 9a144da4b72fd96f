"""What a server is told apart by."""

from __future__ import annotations

from collections import deque

from icekit.local_candidates import Source
from icekit.local_sockets import LocalSocket
from icekit.net import Address, Transport
from icekit.resolution import ServerEndpoint
from icekit.server_leg import ServerLeg
from icekit.servers import ServerUri


def test_the_source_follows_the_address_that_is_asked() -> None:
    uri = ServerUri.parse("turn:turn.example.org")
    first, second = (
        ServerEndpoint(uri, Transport.UDP, Address(f"203.0.113.{number}", 3478), "turn.example.org")
        for number in (1, 2)
    )
    base = LocalSocket(0, "192.0.2.1", iter(()), iter(()))
    leg = ServerLeg(str(uri), 3, base, deque([second]), first, ("alice", "secret"), 2.5)
    assert leg.source == Source(3, Transport.UDP, first.address)
    leg.endpoint = leg.endpoints.popleft()
    assert leg.source.address == second.address
    # The password is a secret.
    assert "secret" not in repr(leg)
