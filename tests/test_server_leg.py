"""What a server is told apart by, and how long it is waited for."""

from __future__ import annotations

from collections import deque

from icekit.gathering_plan import GatherConfig
from icekit.local_candidates import Source
from icekit.local_sockets import LocalSocket
from icekit.net import Address, Transport
from icekit.resolution import ServerEndpoint
from icekit.server_leg import ServerLeg
from icekit.servers import ServerUri

STREAMS = (Transport.TCP, Transport.TLS)


def test_the_source_follows_the_address_that_is_asked() -> None:
    uri = ServerUri.parse("turn:turn.example.org")
    first, second = (
        ServerEndpoint(uri, Transport.UDP, Address(f"203.0.113.{number}", 3478), "turn.example.org")
        for number in (1, 2)
    )
    base = LocalSocket(0, "192.0.2.1", iter(()), iter(()))
    leg = ServerLeg(str(uri), 3, base, deque([second]), first, ("alice", "secret"), 5.0, 2.5)
    assert leg.source == Source(3, Transport.UDP, first.address)
    leg.next_endpoint(GatherConfig(), 0.0)
    assert leg.source.address == second.address
    # The password is a secret.
    assert "secret" not in repr(leg)


def test_only_the_last_address_over_a_stream_is_waited_for_longer() -> None:
    uri = ServerUri.parse("turn:turn.example.org?transport=tcp")
    address = Address("203.0.113.1", 3478)
    udp, tcp, tls = (ServerEndpoint(uri, item, address, "turn.example.org") for item in (Transport.UDP, *STREAMS))
    config = GatherConfig(stream_patience=39.5)
    base = LocalSocket(0, "192.0.2.1", iter(()), iter(()))
    leg = ServerLeg(str(uri), 3, base, deque([tcp, tls]), tcp, ("alice", "secret"), 5.0, 2.5)
    first = leg.next_endpoint(config, 100.0)
    assert (first.timeout, leg.patience, leg.deadline) == (2.5, 5.0, 105.5)
    last = leg.next_endpoint(config, 102.5)
    assert (last.offsets, last.timeout, leg.patience, leg.deadline) == ((0.0,), 39.5, 39.5, 105.5)
    # Another connection each time, and 39.5 s for all.
    deadlines = []
    now = leg.deadline
    while now is not None and (again := leg.again(now)) is not None:
        leg = again
        leg.next_endpoint(config, now)
        assert leg.endpoint is tls
        deadlines.append(now := leg.deadline)
    assert deadlines == [111.0, 121.5, 140.0]
    # Where nobody has more patience with streams, none is added: the addresses share what there is.
    leg = ServerLeg(str(uri), 3, base, deque([tcp, tls]), tcp, ("alice", "secret"), 5.0, 2.5)
    leg.next_endpoint(GatherConfig(), 100.0)
    leg.next_endpoint(GatherConfig(), 102.5)
    assert leg.deadline == 105.5
    assert leg.again(105.5) is None
    leg = ServerLeg(str(uri), 3, base, deque([udp]), udp, ("alice", "secret"), 5.0, 5.0)
    assert leg.next_endpoint(config, 100.0).timeout == 5.0
    assert leg.deadline == 105.5
