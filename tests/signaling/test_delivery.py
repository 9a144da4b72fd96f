"""Two and three participants on a fake wire in virtual time: what is lost, doubled and late does not show."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.errors import InvalidState
from icekit.signaling.delivery import Delivery, DeliveryConfig
from icekit.signaling.message import Ack, Bye, Message, Offer, Presence
from tests.signaling.messages import messages


class Room:
    """A topic with faults: gives everything to everybody, the sender too; lost lines, late lines, lines twice."""

    def __init__(self, *names: str, seed: int = 0, config: DeliveryConfig | None = None) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.config = config
        self.loss = 0.0
        self.twice = 0.0
        self.jitter = 0.0
        self.lines: list[tuple[float, int, str, Message]] = []
        self.order = itertools.count()
        self.members: dict[str, Delivery] = {}
        self.got: dict[str, list[Message]] = {}
        self.wire: list[Message] = []
        for name in names:
            self.join(name)

    def join(self, name: str, session: str | None = None) -> Delivery:
        member = self.members[name] = Delivery(name, session or f"{name}1", self.config)
        self.got.setdefault(name, [])
        member.connected(self.now)
        self.pump()
        return member

    def pump(self) -> None:
        for member in self.members.values():
            while (message := member.next_to_send()) is not None:
                self.wire.append(message)
                self.put(message)
        for name, member in self.members.items():
            while (message := member.next_message()) is not None:
                self.got[name].append(message)

    def put(self, message: Message) -> None:
        for name in self.members:
            for _ in range(2 if self.random.random() < self.twice else 1):
                if self.random.random() >= self.loss:
                    when = self.now + 0.01 + self.random.random() * self.jitter
                    heapq.heappush(self.lines, (when, next(self.order), name, message))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + seconds
        while not until():
            timers = [timer for member in self.members.values() if (timer := member.get_timer()) is not None]
            times = [*timers, *(line[0] for line in self.lines[:1])]
            if not times or min(times) > end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            while self.lines and self.lines[0][0] <= self.now:
                _, _, name, message = heapq.heappop(self.lines)
                if name in self.members:
                    self.members[name].receive(message, self.now)
            for member in self.members.values():
                if (timer := member.get_timer()) is not None and timer <= self.now:
                    member.handle_timer(self.now)
                    after = member.get_timer()
                    assert after is None or after > self.now
            self.pump()

    def say(self, name: str, *texts: str, to: str | None = None) -> None:
        for text in texts:
            self.members[name].send(Bye(reason=text, to=to), self.now)
        self.pump()

    def heard(self, name: str) -> list[str | None]:
        return [message.reason for message in self.got[name] if isinstance(message, Bye)]

    def presence(self, name: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        return [(message.joined, message.left) for message in self.got[name] if isinstance(message, Presence)]


def texts(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_two_who_talk() -> None:
    room = Room("alice", "bob")
    room.say("alice", *texts(10))
    room.say("bob", *texts(10))
    room.run(10)
    assert room.heard("bob") == room.heard("alice") == texts(10)
    assert room.presence("alice") == [(("bob",), ())]
    assert room.presence("bob") == [(("alice",), ())]
    assert all(member.drained for member in room.members.values())
    assert all(member.counters.resent == 0 for member in room.members.values())
    assert sum(isinstance(message, Ack) for message in room.wire) <= 10
    assert all(member.get_timer() is None for member in room.members.values())


def test_a_farewell_comes_last_and_is_answered() -> None:
    room = Room("alice", "bob")
    room.run(1)
    room.say("bob", *texts(5))
    room.members["bob"].farewell(room.now)
    room.pump()
    room.run(1)
    assert room.heard("alice") == texts(5)
    assert room.presence("alice")[-1] == ((), ("bob",))
    assert room.members["bob"].drained
    assert room.members["alice"].said_farewell
    with pytest.raises(InvalidState):
        room.say("bob", "too late")
    # What comes of bob after that is late.
    for message in [message for message in room.wire if message.sender == "bob"]:
        room.members["alice"].receive(message, room.now)
    room.pump()
    room.run(60)
    assert room.heard("alice") == texts(5)
    assert room.members["alice"].peers == ()


@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.2, 0.4]),
    twice=st.sampled_from([0.0, 0.5]),
    jitter=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=25, deadline=None)
def test_everything_arrives_once_and_in_order(seed: int, loss: float, twice: float, jitter: float) -> None:
    room = Room("alice", "bob", "carol", seed=seed)
    room.run(1)
    room.loss, room.twice, room.jitter = loss, twice, jitter
    room.say("alice", *texts(15))
    room.run(0.1)
    room.say("bob", *texts(15))
    room.say("alice", "for bob", to="bob")
    # Less than the silence after which somebody who acknowledges nothing counts as gone.
    room.run(200, until=lambda: all(member.drained for member in room.members.values()))
    room.loss = 0.0
    room.run(60)
    from_alice = [m.reason for m in room.got["bob"] if isinstance(m, Bye) and m.sender == "alice"]
    assert [reason for reason in from_alice if reason != "for bob"] == texts(15)
    assert from_alice.count("for bob") == 1
    assert room.heard("alice") == texts(15)
    assert sorted(room.heard("carol"), key=str) == sorted(texts(15) * 2, key=str)
    assert [m.reason for m in room.got["carol"] if isinstance(m, Bye) and m.sender == "bob"] == texts(15)


def test_a_connection_that_was_away_misses_nothing() -> None:
    room = Room("alice", "bob")
    room.run(1)
    bob = room.members.pop("bob")
    bob.disconnected()
    room.say("alice", *texts(20))
    room.run(10)
    assert bob.get_timer() is None, "without a connection nothing is due"
    bob.send(Bye(reason="from afar"), room.now)
    room.members["bob"] = bob
    bob.connected(room.now)
    room.pump()
    # The greeting asks: it does not take until alice's timer.
    room.run(0.5)
    assert room.heard("bob") == texts(20)
    assert room.heard("alice") == ["from afar"]


def test_what_could_not_be_sent_comes_first_on_the_next_connection() -> None:
    alice = Delivery("alice", "a")
    alice.connected(0)
    assert isinstance(alice.next_to_send(), Ack)
    alice.send(Bye(reason="1"), 0)
    alice.send(Bye(reason="2"), 0)
    first = alice.next_to_send()
    assert isinstance(first, Bye)
    alice.disconnected()
    alice.not_sent(first)
    assert alice.next_to_send() is None
    alice.connected(1)
    sent = [alice.next_to_send() for _ in range(4)]
    assert [type(message) for message in sent] == [Ack, Bye, Bye, type(None)]
    assert sent[1] == first


def test_a_plain_peer_is_sent_nothing_twice() -> None:
    alice = Delivery("alice", "a")
    alice.connected(0)
    alice.send(Bye(reason="1"), 0)
    alice.receive(Offer(sdp="v=0"), 0)
    alice.receive(Offer(sdp="v=0"), 0)
    assert [alice.next_message(), alice.next_message()] == [Offer(sdp="v=0")] * 2, "as the broker gives it"
    sent = []
    while (message := alice.next_to_send()) is not None:
        sent.append(message)
    assert [type(message) for message in sent] == [Ack, Bye]
    assert alice.get_timer() is None
    assert alice.drained


def test_who_is_silent_is_gone_and_may_come_back() -> None:
    room = Room("alice", "bob")
    room.run(1)
    bob = room.members.pop("bob")
    room.say("alice", "1", "2")
    room.run(100)
    assert room.presence("alice")[-1] == ((), ("bob",))
    assert room.members["alice"].get_timer() is None
    room.members["bob"] = bob
    bob.disconnected()
    bob.connected(room.now)
    room.pump()
    room.run(3)
    assert room.heard("bob") == ["1", "2"]
    assert room.presence("alice")[-1] == (("bob",), ())
    room.say("bob", "3")
    room.run(1)
    assert room.heard("alice") == ["3"]


def test_a_new_run_of_the_same_name_counts_from_one() -> None:
    room = Room("alice", "bob")
    room.run(1)
    room.say("bob", *texts(5))
    room.say("alice", *texts(5))
    room.run(1)
    old = [message for message in room.wire if message.sender == "bob"]
    del room.members["bob"]
    room.got["bob"].clear()
    room.join("bob", "bob2")
    room.run(1)
    room.say("bob", "again")
    room.say("alice", "new")
    room.run(1)
    assert room.heard("alice") == [*texts(5), "again"]
    assert room.heard("bob") == ["new"], "what the old run has read does not come again"
    for message in old:
        room.members["alice"].receive(message, room.now)
    room.pump()
    assert room.heard("alice") == [*texts(5), "again"]


def test_a_gap_that_nobody_fills_is_given_up() -> None:
    alice = Delivery("alice", "a")
    alice.connected(0)
    alice.receive(Bye(sender="bob", id="b", seq=3, reason="3"), 0)
    alice.receive(Bye(sender="bob", id="b", seq=2, reason="2"), 0)
    assert [type(alice.next_message()) for _ in range(2)] == [Presence, type(None)]
    for _ in range(10):
        timer = alice.get_timer()
        if timer is None:
            break
        alice.handle_timer(timer)
    assert [message.reason for message in (alice.next_message(), alice.next_message()) if isinstance(message, Bye)] == [
        "2",
        "3",
    ]


def test_back_pressure_and_what_gives_way() -> None:
    config = DeliveryConfig(unacked=10, queue=20)
    alone = Delivery("alice", "a", config)
    alone.connected(0)
    for text in texts(30):
        while alone.next_to_send() is not None:
            pass
        assert alone.writable
        alone.send(Bye(reason=text), 0)
    # Somebody comes: the newest are still there, and the others are said to be over.
    alone.receive(Ack(acked=0, sender="bob", id="b"), 0)
    sent = []
    while (message := alone.next_to_send()) is not None:
        sent.append(message)
    assert [message.acked for message in sent if isinstance(message, Ack)] == [20]
    # Now that somebody reads, nothing gives way any more: who sends has to wait.
    alone.send(Bye(), 0)
    alone.next_to_send()
    assert not alone.writable
    alone.receive(Ack(acked=31, of="a", sender="bob", id="b"), 0)
    assert alone.writable
    for _ in range(20):
        alone.send(Bye(), 0)
    assert not alone.writable, "the queue of the transport is full"


@given(st.lists(st.tuples(messages, st.floats(0, 3)), max_size=20))
@settings(max_examples=40, deadline=None)
def test_whatever_strangers_say_it_goes_on_and_memory_is_bounded(arrivals: list[tuple[Message, float]]) -> None:
    config = DeliveryConfig(peers=3, per_peer=2, held=4)
    alice = Delivery("alice", "a", config)
    alice.connected(0)
    alice.send(Bye(), 0)
    now = 0.0
    for message, pause in arrivals:
        now += pause
        while (timer := alice.get_timer()) is not None and timer <= now:
            alice.handle_timer(timer)
            after = alice.get_timer()
            assert after is None or after > timer
        alice.receive(message, now)
        while alice.next_to_send() is not None:
            pass
        while alice.next_message() is not None:
            pass
        assert len(alice._peers) <= 3
        assert all(len(peer.streams) <= 2 for peer in alice._peers.values())
        assert all(len(stream.held) <= 4 for peer in alice._peers.values() for stream in peer.streams.values())


def test_a_server_that_tells_presence_is_not_contradicted() -> None:
    room = Room("alice", "bob", config=DeliveryConfig(presence=True))
    room.run(1)
    room.members["bob"].farewell(room.now)
    room.pump()
    room.run(1)
    assert room.presence("alice") == []
    room.members["alice"].receive(Presence(left=("bob",)), room.now)
    room.pump()
    assert room.presence("alice") == [((), ("bob",))]


def test_people_who_copy_and_paste_are_sent_no_numbers() -> None:
    alice = Delivery("alice", "a", DeliveryConfig(resumes=False))
    alice.connected(0)
    alice.send(Bye(), 0)
    assert alice.next_to_send() == Bye(sender="alice")
    alice.receive(Bye(sender="bob", seq=7, id="b"), 0)
    assert alice.next_message() == Bye(sender="bob", seq=7, id="b")
    alice.farewell(0)
    assert alice.next_to_send() is None
    assert alice.get_timer() is None


def test_a_peer_that_names_no_streams_is_acknowledged_too() -> None:
    alice = Delivery("alice", "a")
    alice.connected(0)
    alice.receive(Bye(sender="bob", seq=1), 0)
    timer = alice.get_timer()
    assert timer is not None
    alice.handle_timer(timer)
    acks = []
    while (message := alice.next_to_send()) is not None:
        acks.append(message)
    assert acks[-1] == Ack(acked=1, to="bob", sender="alice", id="a")


def test_who_numbers_and_never_acknowledges_holds_nobody_up() -> None:
    alice = Delivery("alice", "a", DeliveryConfig(unacked=5))
    alice.connected(0)
    alice.receive(Bye(sender="bob", seq=1), 0)
    for _ in range(20):
        while alice.next_to_send() is not None:
            pass
        assert alice.writable
        alice.send(Bye(), 0)
    while alice.next_to_send() is not None:
        pass
    assert alice.drained
