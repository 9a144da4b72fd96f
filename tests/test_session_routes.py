"""By what a datagram leaves: a socket, a TCP connection, or the relay that has its source address."""

from __future__ import annotations

import random

import pytest

from icekit.candidate import CandidateType
from icekit.gathering import Gatherer
from icekit.ice_tcp import TcpPaths
from icekit.net import UDP, Address, Datagram, StreamWanted, Transport
from icekit.session_gathering import Gatherings, SessionGathering
from icekit.session_routes import Routes
from tests.ice_world import RELAY_HOST, IceWorld, Network

HOST, PEER = Address("192.0.2.1", 5000), Address("203.0.113.5", 9)


def new(tcp: TcpPaths | None = None) -> tuple[Routes, SessionGathering]:
    item = SessionGathering(Gatherer([HOST.host], [], random.Random(1).randbytes), 3)
    return Routes(tcp or TcpPaths(lambda frame: False), Gatherings((item,))), item


def test_what_leaves_from_a_socket_is_not_taken() -> None:
    routes, _ = new()
    assert not routes.takes(Datagram(HOST, PEER, b"x", UDP), 0.0)


def test_an_active_candidate_opens_a_connection_of_its_generation() -> None:
    tcp = TcpPaths(lambda frame: False)
    routes, item = new(tcp)
    base = routes.add_active(item, HOST.host)
    assert (base, item.active) == (Address(HOST.host, 3), {base})
    assert routes.takes(Datagram(base, PEER, b"x", Transport.TCP), 0.0)
    wanted = tcp.next_event()
    assert isinstance(wanted, StreamWanted)
    assert (wanted.local, wanted.remote) == (HOST.host, PEER)


def test_a_relay_that_is_gone_takes_nothing() -> None:
    routes, item = new()
    item.bases.add(HOST)
    routes.add_relayed(HOST)
    assert not routes.takes(Datagram(HOST, PEER, b"x", UDP), 0.0)
    item.bases.clear()
    routes.forget_closed()
    assert not routes.takes(Datagram(HOST, PEER, b"x", UDP), 0.0)


@pytest.mark.parametrize("size", [100, 70_000])
def test_a_relay_takes_what_leaves_from_its_address(size: int) -> None:
    world = IceWorld(Network(nats=("symmetric", "symmetric"), turn=True))
    world.run_until_settled()
    peer = next(item for item in world.peers.values() if item.pair is not None and item.pair.base.host == RELAY_HOST)
    routes, pair = peer.session._routes, peer.pair
    assert pair is not None
    assert pair.local.type == CandidateType.RELAYED
    assert routes.takes(Datagram(pair.base, pair.address, bytes(size), UDP), world.now)
    # Longer than one message: counted, and nothing is raised.
    assert routes.dropped == int(size > 65_535)
