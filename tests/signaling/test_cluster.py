"""Several servers of the same rooms on a broker that is a list, with notes as late as they like."""

from __future__ import annotations

import json
from collections import deque
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from icekit.signaling.cluster import BEAT, MAX_SERVERS, SERVERS, SILENCE, Cluster, Publish, Subscribe, Unsubscribe
from icekit.signaling.message import Fault, Presence, decode
from icekit.signaling.room_terms import RoomsConfig
from icekit.signaling.rooms import Dismissed, Rooms, Seat, Waiting

SESSIONS = ("session-of-alice-1", "session-of-alice-2")
BYE = '{"type":"bye"}'


class Server:
    def __init__(self, world: World, name: str) -> None:
        numbers = count()
        self.world, self.name = world, name
        config = RoomsConfig(max_members=4, resume_seconds=10)
        self.rooms = Rooms(config, token_hex=lambda _: f"{name}{next(numbers)}", shared=True, unix_offset=1000)
        self.cluster = Cluster(self.rooms, name, world.now)
        self.reads = {SERVERS}
        # From each other server in order; between them in any order.
        self.inbox: dict[str, deque[tuple[str, bytes]]] = {}
        self.dismissed: list[tuple[Seat, str]] = []

    def pump(self) -> None:
        while (event := self.rooms.next_event()) is not None:
            match event:
                case Waiting():
                    pass
                case Dismissed(seat, fault):
                    self.dismissed.append((seat, fault.code))
                case _:
                    self.cluster.tell(event)
        while (operation := self.cluster.next_operation()) is not None:
            match operation:
                case Subscribe(channel):
                    self.reads.add(channel)
                case Unsubscribe(channel):
                    self.reads.discard(channel)
                case Publish(channel, data):
                    self.world.publish(self.name, channel, data)
        assert self.reads == set(self.cluster.channels())

    def join(self, name: str, session: str | None = None, *, owner: bool = False, room: str = "r") -> Seat | Fault:
        joined = self.rooms.join(room, self.world.now, name=name, session=session, owns_name=owner)
        self.pump()
        return joined

    def enter(self, name: str, session: str | None = None, *, owner: bool = False) -> Seat:
        seat = self.join(name, session, owner=owner)
        assert isinstance(seat, Seat), seat
        return seat

    def say(self, seat: Seat, text: str = BYE) -> None:
        assert self.rooms.receive(seat, text, self.world.now) == 0.0
        self.pump()

    def heard(self, seat: Seat) -> list[str]:
        found = []
        while (line := self.rooms.take(seat)) is not None:
            message = decode(line)
            if isinstance(message, Presence):
                words = [f"+{name}" for name in message.joined] + [f"-{name}" for name in message.left]
                found.append(" ".join([*words, "with", *sorted(message.peers)]))
            else:
                found.append(f"{type(message).__name__} from {message.sender}")
        return found

    def names(self, room: str = "r") -> set[str]:
        found = self.rooms._rooms.get(room)
        return set() if found is None else set(found.names())

    def deliver(self, sender: str) -> None:
        channel, data = self.inbox[sender].popleft()
        self.cluster.receive(channel, data, self.world.now)
        self.pump()


class World:
    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.up = True
        self.servers = {name: Server(self, name) for name in names}

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.servers.values())

    def publish(self, sender: str, channel: str, data: bytes) -> None:
        for server in self:
            if self.up and channel in server.reads:
                server.inbox.setdefault(sender, deque()).append((channel, data))

    def settle(self) -> None:
        """Everything that is on its way arrives."""
        moving = True
        while moving:
            moving = False
            for server in self:
                for sender, notes in list(server.inbox.items()):
                    if notes:
                        moving = True
                        server.deliver(sender)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 1.0)
            for server in self:
                server.rooms.handle_timer(self.now)
                server.cluster.handle_timer(self.now)
                assert server.cluster.get_timer() > self.now
                server.pump()
            self.settle()


@pytest.fixture
def world() -> World:
    return World("A", "B", "C")


def test_a_room_is_one_on_all_servers(world: World) -> None:
    a, b, c = world
    alice, bob = a.enter("alice"), b.enter("bob")
    world.settle()
    assert (a.heard(alice), b.heard(bob)) == (["with", "+bob with bob"], ["with", "+alice with alice"])
    carol = c.enter("carol")
    world.settle()
    a.heard(alice), b.heard(bob), c.heard(carol)
    a.say(alice)
    c.say(carol, '{"type":"bye","to":"bob"}')
    c.say(carol, '{"type":"bye","to":"nobody"}')
    world.settle()
    assert (a.heard(alice), b.heard(bob)) == ([], ["Bye from alice", "Bye from carol"])
    assert c.heard(carol) == ["Bye from alice"]
    b.rooms.leave(bob)
    b.pump()
    world.settle()
    assert (a.heard(alice), c.heard(carol)) == (["-bob with carol"], ["-bob with alice"])
    assert b.reads == {SERVERS}


def test_names_and_places_are_of_all_servers(world: World) -> None:
    a, b, _ = world
    a.enter("alice"), a.enter("carol"), b.enter("bob")
    world.settle()
    assert [fault.code for fault in (b.join("alice"), b.join("alice", SESSIONS[0]))] == ["name-taken"] * 2  # type: ignore[union-attr]
    b.enter("dave")
    world.settle()
    full = a.join("erin")
    assert isinstance(full, Fault)
    assert full.code == "room-full"


def test_a_session_moves_and_nobody_notices(world: World) -> None:
    a, b, _ = world
    alice, bob = a.enter("alice", SESSIONS[0]), b.enter("bob")
    world.settle()
    b.heard(bob)
    a.rooms.lost(alice, world.now)
    world.now += 1
    again = b.enter("alice", SESSIONS[0])
    world.settle()
    assert (b.heard(bob), b.heard(again)) == ([], ["with bob"])
    assert (a.rooms.members, a.names(), a.dismissed) == (0, set(), [])
    world.wait(60)
    assert b.names() == {"alice", "bob"}


def test_a_session_that_moves_before_its_loss_is_noticed(world: World) -> None:
    a, b, _ = world
    half_open, carol = a.enter("alice", SESSIONS[0]), a.enter("carol")
    world.now += 1
    # B has nobody in this room and knows nothing of it.
    alice = b.enter("alice", SESSIONS[0])
    world.settle()
    assert a.dismissed == [(half_open, "replaced")]
    assert a.heard(carol) == ["with alice"]
    assert b.heard(alice) == ["with", "+carol with carol"]


@pytest.mark.parametrize("order", ["AB", "BA"])
def test_two_take_one_name_at_once(world: World, order: str) -> None:
    a, b, c = world
    watcher = c.enter("carol")
    world.settle()
    first = a.enter("alice", SESSIONS[0])
    world.now += 0.001
    second = b.enter("alice", SESSIONS[1])
    for sender in order:
        while c.inbox.get(sender):
            c.deliver(sender)
    world.settle()
    assert (a.dismissed, b.dismissed) == ([], [(second, "replaced")])
    assert a.rooms.take(first) is not None
    assert {"A": a.names(), "C": c.names()} == {"A": {"alice", "carol"}, "C": {"alice", "carol"}}
    assert c.rooms._rooms["r"].elsewhere["alice"][0] == "A"
    assert c.heard(watcher)[-1].endswith("with alice")


def test_claims_that_beat_each_other_in_a_circle_leave_no_ghost(world: World) -> None:
    a, b, c = world
    a.enter("alice")
    world.now += 1
    b.enter("alice", SESSIONS[0], owner=True)
    world.now += 1
    c.enter("alice", SESSIONS[0])
    for server in world:
        server.enter("watcher-" + server.name)
    world.settle()
    watchers = {"watcher-A", "watcher-B", "watcher-C"}
    assert [server.names() - watchers for server in world] in ([set()] * 3, [{"alice"}] * 3)


def test_who_owns_a_name_has_it_everywhere(world: World) -> None:
    a, b, _ = world
    squatter, bob = a.enter("alice"), b.enter("bob")
    world.settle()
    b.heard(bob)
    b.enter("alice", owner=True)
    world.settle()
    assert a.dismissed == [(squatter, "replaced")]
    assert b.heard(bob) == ["+alice -alice with alice"]


def test_a_server_that_falls_silent_is_gone_with_its_members(world: World) -> None:
    a, b, _ = world
    alice = a.enter("alice")
    b.enter("bob", SESSIONS[0])
    world.wait(BEAT + 1)
    a.heard(alice)
    assert a.cluster.servers == 2
    del world.servers["B"]
    world.wait(SILENCE - BEAT - 2)
    assert a.heard(alice) == []
    world.wait(BEAT + 3)
    assert (a.heard(alice), a.cluster.servers) == (["-bob with"], 1)


def test_after_the_broker_was_away_everybody_knows_who_is_there(world: World) -> None:
    a, b, _ = world
    alice, bob, carol = a.enter("alice"), b.enter("bob"), b.enter("carol")
    world.settle()
    a.heard(alice)
    world.up = False
    b.rooms.leave(carol)
    b.enter("dave")
    world.settle()
    assert a.names() == {"alice", "bob", "carol"}
    world.up = True
    for server in world:
        server.cluster.broker_returned()
        server.pump()
    world.settle()
    assert a.names() == b.names() == {"alice", "bob", "dave"}
    assert set(a.heard(alice)) == {"-carol with bob", "+dave with bob dave"}
    b.say(bob)
    world.settle()
    assert a.heard(alice) == ["Bye from bob"]


def test_a_server_that_was_cut_off_for_long_comes_back(world: World) -> None:
    a, b, _ = world
    a.enter("alice"), b.enter("bob")
    world.settle()
    world.up = False
    world.wait(SILENCE + BEAT)
    assert (a.names(), b.names()) == ({"alice"}, {"bob"})
    world.up = True
    world.wait(BEAT)
    assert a.names() == b.names() == {"alice", "bob"}


def test_other_servers_are_bounded(world: World) -> None:
    (a, *_) = world
    for number in range(MAX_SERVERS + 5):
        a.cluster.receive(SERVERS, json.dumps({"server": f"s{number}", "kind": "alive"}).encode(), 0.0)
    assert a.cluster.servers == MAX_SERVERS


def test_members_of_other_servers_are_bounded(world: World) -> None:
    (a, *_) = world
    a.enter("alice")
    for number in range(20):
        member = {"name": f"m{number}", "key": None, "since": 0, "owner": False}
        note = {"server": "X", "kind": "came", "member": member}
        a.cluster.receive("icekit.room.r", json.dumps(note).encode(), 0.0)
    assert len(a.names()) == 5


MEMBER = {"name": "x", "key": None, "since": 0, "owner": False}


@pytest.mark.parametrize(
    "note",
    [
        {}, [], 5, {"server": "X"}, {"server": 5, "kind": "came"}, {"server": "X", "kind": "came"},
        {"server": "X", "kind": "came", "member": 5}, {"server": "X", "kind": "?"},
        {"server": "X", "kind": "came", "member": MEMBER | {"since": "now"}},
        {"server": "X", "kind": "came", "member": MEMBER | {"key": 5}}, {"server": "X", "kind": "went", "name": ["x"]},
        {"server": "X", "kind": "came", "member": MEMBER | {"name": "x" * 100}}, {"server": "X", "kind": "are"},
        {"server": "X", "kind": "are", "members": 5}, {"server": "X", "kind": "spoke", "to": 5},
        {"server": "X" * 100, "kind": "alive"},
    ],
)  # fmt: skip
def test_notes_that_cannot_be_are_dropped(world: World, note: object) -> None:
    (a, *_) = world
    alice = a.enter("alice")
    a.heard(alice)
    a.cluster.receive("icekit.room.r", json.dumps(note).encode(), 0.0)
    assert (a.heard(alice), a.names()) == ([], {"alice"})


@given(st.sampled_from([SERVERS, "icekit.room.r", "icekit.room.../", "x"]), st.binary(max_size=100))
@settings(max_examples=50)
def test_no_note_raises(channel: str, data: bytes) -> None:
    world = World("A")
    (a,) = world
    a.enter("alice")
    a.cluster.receive(channel, data, 0.0)
    a.cluster.receive("icekit.room.r", b"[" * 100_000, 0.0)
    assert a.names() == {"alice"}


class ClusterMachine(RuleBasedStateMachine):
    """Members come, go and move between three servers whose notes are late; in the end all views are one."""

    @initialize()
    def begin(self) -> None:
        self.world = World("A", "B", "C")
        self.seats: list[tuple[Server, Seat]] = []

    @rule(
        server=st.sampled_from("ABC"),
        name=st.sampled_from(["a", "b"]),
        session=st.sampled_from([None, *SESSIONS]),
        owner=st.booleans(),
    )
    def join(self, server: str, name: str, session: str | None, owner: bool) -> None:
        self.world.now += 0.001
        joined = self.world.servers[server].join(name, session, owner=owner)
        if isinstance(joined, Seat):
            self.seats.append((self.world.servers[server], joined))

    @rule(which=st.integers(0, 20), lost=st.booleans())
    def go(self, which: int, lost: bool) -> None:
        if which < len(self.seats):
            server, seat = self.seats.pop(which)
            if lost:
                server.rooms.lost(seat, self.world.now)
            else:
                server.rooms.leave(seat)
            server.pump()

    @rule(server=st.sampled_from("ABC"), sender=st.sampled_from("ABC"), notes=st.integers(1, 5))
    def deliver(self, server: str, sender: str, notes: int) -> None:
        target = self.world.servers[server]
        for _ in range(notes):
            if target.inbox.get(sender):
                target.deliver(sender)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    @rule()
    def all_agree(self) -> None:
        self.world.settle()
        here = {server.name: set(server.rooms._rooms["r"].members) for server in self.world if server.names()}
        everybody = set().union(*here.values())
        assert sum(map(len, here.values())) == len(everybody), "a name is on two servers"
        for server in self.world:
            assert server.names() in ({*everybody}, set())


TestClusterMachine = ClusterMachine.TestCase
TestClusterMachine.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
