"""One loop by itself; how it behaves against a server is in ``test_load.py``, garbage in ``test_endpoint_rules.py``."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from icekit.bench.load_plan import HEADER, PATIENCE
from icekit.bench.load_report import Tally
from icekit.bench.relay_loop import LoopEnded, LoopEvent, LoopFailed, LoopReady, RelayLoop
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
)
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.report import StageName
from icekit.server import Server, ServerConfig, TurnServerConfig

HOST, SERVER = "192.0.2.9", Address("192.0.2.1", 3478)
TICK = 0.01


class World:
    """A server and a loop, and a wire of one tick on which ``change`` may drop or repeat packets."""

    def __init__(self, *, size: int = 100, password: str = "secret", **turn: Any) -> None:
        dice = random.Random(1)
        self.now = 10.0
        config = TurnServerConfig(
            users={"alice": "secret"}, relay_ipv4=SERVER.host, allow_peers=("192.0.2.0/24",), **turn
        )
        self.server = Server(ServerConfig(turn=config), token_bytes=dice.randbytes)
        self.server.add_local_address(SERVER)
        target = Target("turn:x", SERVER, Transport.UDP)
        self.loop = RelayLoop(RelayUser(target, HOST, "alice", password, dice.randbytes), size=size)
        self.events: list[LoopEvent] = []
        self.change: Callable[[Datagram], int] = lambda datagram: 1
        self._ports = iter(range(40000, 41000))
        self._relays = iter(range(50000, 51000))
        self._wire: list[tuple[float, Datagram]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._settle()
            due = [when for when, _ in self._wire]
            due += [when for core in (self.loop, self.server) if (when := core.get_timer()) is not None]
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            arrived = [datagram for when, datagram in self._wire if when <= self.now]
            self._wire = [item for item in self._wire if item[0] > self.now]
            for datagram in arrived:
                core: Any = self.loop if datagram.destination.host == HOST else self.server
                core.receive_datagram(datagram, self.now)
            for core in (self.loop, self.server):
                if (when := core.get_timer()) is not None and when <= self.now:
                    core.handle_timer(self.now)

    def _settle(self) -> None:
        again = True
        while again:
            again = False
            for core, ports in ((self.loop, self._ports), (self.server, self._relays)):
                while (event := core.next_event()) is not None:
                    again = True
                    self._take(core, ports, event)
        for core in (self.loop, self.server):
            for datagram in core.datagrams_to_send():
                self._wire += [(self.now + TICK, datagram)] * self.change(datagram)

    def _take(self, core: Any, ports: Any, event: Any) -> None:
        match event:
            case SocketWanted(id=id, local=local):
                bound = Address(local.host, local.port or next(ports))
                core.socket_opened(id, bound, self.now)
            case SocketReleased() | StreamWanted() | StreamReleased():
                pass
            case _ if core is self.loop:
                self.events.append(event)

    def start(self) -> None:
        self.loop.start(self.now)
        self.run(2)

    def begin(self, seconds: float, interval: float = 0.1, too_late: float = 1.0) -> Tally:
        tally = Tally(self.now, seconds)
        self.loop.begin(self.now, interval, self.now + seconds, too_late, tally)
        return tally


def test_a_loop_from_beginning_to_end() -> None:
    world = World()
    world.start()
    assert world.events == [LoopReady(pytest.approx(4 * TICK))]
    tally = world.begin(1.0)
    assert world.loop.is_waiting
    world.run(1.5)
    assert not world.loop.is_waiting
    traffic = world.loop.take_traffic()
    assert (traffic.sent, traffic.reached, traffic.received, traffic.loss) == (10, 10, 10, 0)
    assert tally.latency.spread.max == pytest.approx(4 * TICK)
    assert (world.loop.opened, world.loop.released, world.server.allocations) == (1, 0, 1)
    world.loop.close(world.now)
    world.loop.close(world.now)
    world.run(1)
    assert world.events[-1] == LoopEnded()
    assert (world.loop.opened, world.loop.released, world.loop.has_lost) == (1, 1, False)
    assert world.server.allocations == 0
    assert world.loop.get_timer() is None


@pytest.mark.parametrize("size", [HEADER, 1200])
def test_packets_have_the_size_that_was_asked_for(size: int) -> None:
    world = World(size=size)
    world.start()
    sizes: set[int] = set()

    def look(datagram: Datagram) -> int:
        # From the relay to the peer, and back: nothing around it.
        if datagram.destination.host == HOST and datagram.source.port >= 50000:
            sizes.add(len(datagram.data))
        return 1

    world.change = look
    world.begin(0.5)
    world.run(1)
    assert sizes == {size}


def test_which_way_a_packet_is_lost() -> None:
    world = World()
    world.start()
    toward = iter([1, 0, 1, 1, 1, 1, 1, 1, 1, 1])

    def lose(datagram: Datagram) -> int:
        if datagram.destination == SERVER:
            return next(toward, 1)
        return 1

    world.change = lose
    world.begin(0.5)
    world.run(3)
    traffic = world.loop.take_traffic()
    assert (traffic.sent, traffic.reached, traffic.received) == (5, 4, 4)


def test_what_comes_twice_or_too_late_is_no_packet_more() -> None:
    world = World()
    world.start()
    world.change = lambda datagram: 2 if datagram.source == SERVER else 1
    tally = world.begin(0.5)
    world.run(1)
    traffic = world.loop.take_traffic()
    assert (traffic.sent, traffic.received, tally.duplicates) == (5, 5, 5)
    # After the end nothing is counted.
    world.begin(0.1)
    world.run(0.02)
    assert world.loop.take_traffic().received == 0
    world.run(1)
    assert world.loop.take_traffic().received == 0


def test_a_lost_packet_is_forgotten_in_time() -> None:
    world = World()
    world.start()
    world.change = lambda datagram: 0
    world.begin(10.0)
    world.run(8.0)
    assert len(world.loop._in_flight) <= PATIENCE / 0.1 + 1


def test_a_sender_that_is_too_late_leaves_packets_out() -> None:
    world = World()
    world.start()
    tally = world.begin(1.0, too_late=0.3)
    world.now += 0.65
    world.loop.handle_timer(world.now)
    # Those of 0.0 to 0.3 are too late, those of 0.4 to 0.6 are not.
    assert (tally.unsent, world.loop.take_traffic().sent, tally.late.count) == (4, 3, 7)


def test_a_wrong_password_ends_it_with_its_code() -> None:
    world = World(password="guess")
    world.start()
    (failed,) = world.events
    assert isinstance(failed, LoopFailed)
    assert (failed.failure.stage, failed.failure.code, failed.failure.cause) == (
        StageName.ALLOCATE,
        "TURN-401",
        "wrong",
    )
    assert failed.code == 401
    world.loop.close(world.now)
    world.run(1)
    assert world.events[-1] == LoopEnded()
    assert (world.loop.opened, world.loop.released) == (0, 0)


@pytest.mark.parametrize(
    ("is_lost", "code"),
    [
        (lambda datagram: datagram.destination.host == HOST and datagram.source.port >= 50000, "TURN-ECHO-OUT"),
        (lambda datagram: datagram.source.host == HOST and datagram.destination.port >= 50000, "TURN-ECHO-IN"),
        (lambda datagram: True, "TURN-CONNECT"),
    ],
    ids=["out", "in", "all"],
)
def test_where_nothing_goes_round(is_lost: Callable[[Datagram], bool], code: str) -> None:
    world = World()
    world.change = lambda datagram: not is_lost(datagram)
    world.loop.start(world.now)
    if code == "TURN-CONNECT":
        world.loop.socket_failed(1, SocketFailure.REFUSED, world.now)
    world.run(8)
    (failed,) = world.events
    assert isinstance(failed, LoopFailed)
    assert failed.failure.code == code
    world.loop.close(world.now)
    world.run(8)
    assert world.events[-1] == LoopEnded()
    assert world.loop.opened == world.loop.released == (code != "TURN-CONNECT")


def test_a_connection_that_is_refused() -> None:
    target = Target("turn:x?transport=tcp", SERVER, Transport.TCP)
    loop = RelayLoop(RelayUser(target, HOST, "alice", "secret", random.Random(1).randbytes), size=100)
    loop.start(0.0)
    wanted = [event for event in iter(loop.next_event, None) if isinstance(event, StreamWanted)]
    loop.stream_closed(wanted[0].id, StreamFailure.REFUSED, 0.1)
    (failed,) = [event for event in iter(loop.next_event, None) if isinstance(event, LoopFailed)]
    assert (failed.failure.stage, failed.failure.code, failed.code) == (StageName.CONNECT, "TURN-CONNECT", None)
