"""Two and three participants on a fake wire in virtual time: what is lost, doubled and late does not show."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

from icekit.signaling.delivery import Delivery, DeliveryConfig
from icekit.signaling.message import Ack, Bye, Message, Presence


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
