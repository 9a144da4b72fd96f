"""The rooms without a network: every bound, every way in and out, and a machine that does all of it at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from icekit.signaling.message import Fault, Offer, decode, encode
from icekit.signaling.room_terms import FaultCode, RoomsConfig
from icekit.signaling.rooms import Dismissed, RoomEvent, Rooms, Seat, Waiting

SESSION = "session-of-alice"
BYE = '{"type":"bye"}'


def rooms(**bounds: float) -> Rooms:
    numbers = count(1)
    return Rooms(RoomsConfig(**bounds), token_hex=lambda size: f"{next(numbers):0{2 * size}x}")  # type: ignore[arg-type]


def enter(
    core: Rooms, name: str | None, room: str = "r", *, session: str | None = None, now: float = 0.0, owner: bool = False
) -> Seat:
    seat = core.join(room, now, name=name, session=session, owns_name=owner)
    assert isinstance(seat, Seat), seat
    return seat


def refusal(core: Rooms, name: str | None, room: str = "r", session: str | None = None) -> str:
    fault = core.join(room, 0.0, name=name, session=session)
    assert isinstance(fault, Fault)
    assert core.counters.faults[FaultCode(fault.code)] == 1
    return fault.code


def lines(core: Rooms, seat: Seat) -> Iterator[dict[str, object]]:
    while (line := core.take(seat)) is not None:
        yield json.loads(line)


def heard(core: Rooms, seat: Seat) -> list[str]:
    """What a seat gets, in short."""
    return [short(line) for line in lines(core, seat)]


def short(line: dict[str, object]) -> str:
    if line["type"] != "presence":
        return f"{line['type']} from {line['from']}"
    words = [f"+{name}" for name in line["joined"]] + [f"-{name}" for name in line["left"]]  # type: ignore[attr-defined]
    return " ".join([*words, "with", *line["peers"]])  # type: ignore[misc]


def events(core: Rooms) -> list[RoomEvent]:
    found = []
    while (event := core.next_event()) is not None:
        found.append(event)
    return found


def dismissals(core: Rooms) -> list[tuple[Seat, str]]:
    return [(event.seat, event.fault.code) for event in events(core) if isinstance(event, Dismissed)]


def test_who_joins_learns_its_name_and_the_others_and_they_learn_of_it() -> None:
    core = rooms()
    alice = enter(core, "alice")
    assert list(lines(core, alice)) == [{"type": "presence", "joined": [], "left": [], "peers": [], "to": "alice"}]
    nameless = enter(core, None)
    assert (nameless.name, nameless.room) == ("peer-00000001", "r")
    (greeting,) = lines(core, nameless)
    assert (greeting["to"], greeting["peers"]) == ("peer-00000001", ["alice"])
    assert heard(core, alice) == ["+peer-00000001 with peer-00000001"]


def test_a_message_goes_to_all_others_in_the_room_and_to_nobody_else() -> None:
    core = rooms()
    seats = [enter(core, name) for name in ("alice", "bob", "carol")]
    elsewhere = enter(core, "dave", "other")
    for seat in (*seats, elsewhere):
        heard(core, seat)
    assert core.receive(seats[0], BYE, 0.0) == 0.0
    assert [heard(core, seat) for seat in (*seats, elsewhere)] == [[], ["bye from alice"], ["bye from alice"], []]


def test_a_message_to_one_goes_to_one() -> None:
    core = rooms()
    alice, bob, carol = (enter(core, name) for name in ("alice", "bob", "carol"))
    for seat in (alice, bob, carol):
        heard(core, seat)
    core.receive(alice, '{"type":"bye","to":"carol"}', 0.0)
    for to in ("nobody", "alice"):
        core.receive(alice, json.dumps({"type": "bye", "to": to}), 0.0)
    assert [heard(core, seat) for seat in (alice, bob, carol)] == [[], [], ["bye from alice"]]
    assert core.counters.undeliverable == 2


def test_nobody_speaks_in_the_name_of_another() -> None:
    core = rooms()
    alice, bob = enter(core, "alice"), enter(core, "bob")
    heard(core, bob)
    core.receive(alice, '{"type":"bye","from":"carol","seq":7,"id":"x"}', 0.0)
    assert list(lines(core, bob)) == [{"type": "bye", "from": "alice", "seq": 7, "id": "x"}]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", "1e999", '{"type":"shout"}', '{"type":"offer"}', b"\xff", b'{"type":"bye","to":"\xc3"}',
        '{"type":"presence","joined":["mallory"]}', '{"type":"error","code":"x","text":"you lost"}',
        '{"type":"bye","type":"offer"}', '{"type":"bye","reason":"' + "x" * 5000 + '"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_malformed_message_puts_only_its_sender_out(text: str | bytes) -> None:
    core = rooms()
    alice, bob = enter(core, "alice", session=SESSION), enter(core, "bob")
    heard(core, bob)
    fault = core.receive(alice, text, 0.0)
    assert isinstance(fault, Fault)
    assert fault.code == "malformed"
    assert core.counters.faults == {"malformed": 1}
    assert heard(core, bob) == ["-alice with"]
    assert core.receive(bob, BYE, 0.0) == 0.0
    assert core.receive(alice, BYE, 0.0) == 0.0
    assert heard(core, bob) == []


def test_message_size() -> None:
    core = rooms(max_message=100)
    alice, bob = enter(core, "alice"), enter(core, "bob")
    assert core.receive(alice, BYE.ljust(100), 0.0) == 0.0
    fault = core.receive(alice, BYE.ljust(101), 0.0)
    assert isinstance(fault, Fault)
    assert heard(core, bob) == ["with alice", "bye from alice", "-alice with"]


@pytest.mark.parametrize("room", ["", "a b", "a/b", "é", "x" * 65, "a\n"])
def test_room_names(room: str) -> None:
    enter(rooms(), "alice", "x" * 64)
    assert refusal(rooms(), "alice", room) == "bad-room"


@pytest.mark.parametrize("name", ["", " alice", "a\nb", "x" * 65])
def test_member_names(name: str) -> None:
    enter(rooms(), "Ana María")
    assert refusal(rooms(), name) == "bad-name"


@pytest.mark.parametrize("session", ["", "x" * 15, "x" * 129, "ü" * 20])
def test_sessions(session: str) -> None:
    enter(rooms(), "alice", session="x" * 128)
    assert refusal(rooms(), "alice", session=session) == "bad-session"


def test_members_of_a_room_are_bounded() -> None:
    core = rooms(max_members=2)
    enter(core, "alice")
    bob = enter(core, "bob", session=SESSION)
    core.lost(bob, 0.0)
    assert refusal(core, "carol") == "room-full"
    enter(core, "carol", "other")
    core.leave(enter(core, "bob", session=SESSION))
    enter(core, "carol")


def test_rooms_are_bounded_and_empty_ones_are_gone() -> None:
    core = rooms(max_rooms=2)
    first = enter(core, "alice", "r1")
    enter(core, "alice", "r2")
    assert refusal(core, "alice", "r3") == "server-full"
    enter(core, "bob", "r2")
    core.leave(first)
    assert core.rooms == 1
    enter(core, "alice", "r3")


def test_a_name_is_taken_while_its_owner_is_connected() -> None:
    core = rooms()
    enter(core, "alice", session=SESSION)
    assert refusal(core, "alice") == "name-taken"
    assert isinstance(core.join("r", 0.0, name="alice", session=SESSION + "x"), Fault)


def test_whoever_owns_the_name_takes_it() -> None:
    core = rooms()
    squatter, bob = enter(core, "alice"), enter(core, "bob")
    heard(core, bob), events(core)
    alice = enter(core, "alice", owner=True)
    assert dismissals(core) == [(squatter, "replaced")]
    assert heard(core, bob) == ["+alice -alice with alice"]
    assert (heard(core, squatter), heard(core, alice)) == ([], ["with bob"])
    core.lost(squatter, 0.0)
    assert core.members == 2


def test_a_member_without_session_leaves_with_its_connection() -> None:
    core = rooms()
    alice, bob = enter(core, "alice"), enter(core, "bob")
    heard(core, bob)
    core.lost(alice, 0.0)
    assert heard(core, bob) == ["-alice with"]
    assert core.get_timer() is None


def test_resume_gives_what_waited_and_tells_nobody() -> None:
    core = rooms()
    alice, bob = enter(core, "alice", session=SESSION), enter(core, "bob")
    heard(core, alice), heard(core, bob), events(core)
    core.lost(alice, 10.0)
    core.receive(bob, BYE, 11.0)
    assert (events(core), core.away, core.queued > 0) == ([], 1, True)
    again = enter(core, "alice", session=SESSION, now=39.9)
    assert events(core) == [Waiting(again)]
    assert heard(core, again) == ["with bob", "bye from bob"]
    assert heard(core, bob) == []
    assert (core.counters.joins, core.counters.resumes, core.get_timer(), core.queued) == (2, 1, None, 0)


def test_who_does_not_come_back_in_time_has_left() -> None:
    core = rooms(resume_seconds=30)
    alice, bob = enter(core, "alice", session=SESSION), enter(core, "bob")
    heard(core, bob)
    core.lost(alice, 10.0)
    assert core.get_timer() == 40.0
    core.handle_timer(39.9)
    assert heard(core, bob) == []
    core.handle_timer(40.0)
    assert heard(core, bob) == ["-alice with"]
    assert (core.get_timer(), core.away, core.members) == (None, 0, 1)


def test_a_session_that_connects_again_replaces_its_old_connection() -> None:
    core = rooms()
    half_open, bob = enter(core, "alice", session=SESSION), enter(core, "bob")
    heard(core, bob), events(core)
    alice = enter(core, "alice", session=SESSION)
    assert dismissals(core) == [(half_open, "replaced")]
    core.lost(half_open, 0.0)
    assert core.receive(half_open, BYE, 0.0) == 0.0
    assert (heard(core, half_open), heard(core, alice)) == ([], ["with bob", "+bob with bob"])
    assert heard(core, bob) == []


def test_a_new_session_takes_the_name_of_one_who_is_away() -> None:
    core = rooms()
    alice, bob = enter(core, "alice", session=SESSION), enter(core, "bob")
    heard(core, bob)
    core.lost(alice, 0.0)
    core.receive(bob, BYE, 0.0)
    stranger = enter(core, "alice", session=SESSION + "x")
    assert heard(core, stranger) == ["with bob"]
    assert heard(core, bob) == ["+alice -alice with alice"]
    assert core.get_timer() is None


def test_greetings_do_not_pile_up() -> None:
    core = rooms()
    seat = enter(core, "alice", session=SESSION)
    for _ in range(1000):
        core.lost(seat, 0.0)
        seat = enter(core, "alice", session=SESSION)
    assert (core.queued, heard(core, seat)) == (0, ["with"])


@pytest.mark.parametrize("bound", [{"max_queued_lines": 3}, {"max_queued": 100}, {"max_queued_total": 100}])
@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
def test_who_reads_too_slowly_is_put_out(bound: dict[str, float], away: bool) -> None:
    core = rooms(**bound)
    slow, bob = enter(core, "slow", session=SESSION), enter(core, "bob")
    core.take(slow), core.take(bob), core.take(slow)
    if away:
        core.lost(slow, 0.0)
    for _ in range(3):
        assert core.receive(bob, BYE, 0.0) == 0.0
    assert core.members == 2
    events(core)
    core.receive(bob, '{"type":"bye","reason":"one too many, and long"}', 0.0)
    assert dismissals(core) == ([] if away else [(slow, "slow")])
    assert heard(core, bob) == ["-slow with"]
    assert (core.members, core.queued, core.away) == (1, 0, 0)


def test_one_who_is_put_out_may_be_too_much_for_the_next() -> None:
    core = rooms(max_members=20, max_queued_lines=19)
    seats = [enter(core, f"m{number}") for number in range(20)]
    for seat in seats:
        heard(core, seat)
    for number in range(19):
        core.receive(seats[0], BYE, float(number))
    # All 19 are full: the next line is too much for each, and nobody is left to be told.
    core.receive(seats[0], BYE, 19.0)
    assert core.members == 1
    assert len(dismissals(core)) == 19


def test_rates_delay_and_do_not_lose() -> None:
    core = rooms(message_rate=10, message_burst=5)
    alice, bob = enter(core, "alice"), enter(core, "bob")
    delays = [core.receive(alice, BYE, 100.0) for _ in range(7)]
    assert delays == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2])
    assert core.receive(bob, BYE, 100.0) == 0.0
    assert core.receive(alice, BYE, 100.7) == 0.0
    assert heard(core, bob).count("bye from alice") == 8


def test_byte_rate() -> None:
    core = rooms(byte_rate=100, byte_burst=200)
    alice = enter(core, "alice")
    assert core.receive(alice, BYE.ljust(200), 0.0) == 0.0
    assert core.receive(alice, BYE.ljust(50), 0.0) == pytest.approx(0.5)
    assert core.receive(alice, BYE.ljust(50), 1.0) == 0.0


def test_a_large_description_passes() -> None:
    core = rooms()
    alice, bob = enter(core, "alice"), enter(core, "bob")
    heard(core, bob)
    offer = Offer(sdp="v=0\r\n" * 200_000)
    core.receive(alice, encode(offer), 0.0)
    line = core.take(bob)
    assert line is not None
    received = decode(line)
    assert isinstance(received, Offer)
    assert (received.sdp, received.sender) == (offer.sdp, "alice")


class RoomsMachine(RuleBasedStateMachine):
    """Peers come, go, are lost, come back, speak and read in any order; a model says what each must have heard."""

    seats = Bundle("seats")

    def __init__(self) -> None:
        super().__init__()
        self.core = rooms(max_rooms=3, max_members=3, max_queued_lines=6, max_queued=1500, resume_seconds=10)
        self.now = 0.0
        self.numbers = count(1)
        # Of each member: what was said to it, and what it got.
        self.said: dict[tuple[str, str], list[int]] = {}
        self.got: dict[tuple[str, str], list[int]] = {}
        self.current: dict[tuple[str, str], Seat] = {}
        self.sessions: dict[tuple[str, str], str | None] = {}
        self.away: dict[tuple[str, str], float] = {}

    def settle(self) -> None:
        """Obey the events, as the server does."""
        while (event := self.core.next_event()) is not None:
            if isinstance(event, Dismissed):
                assert self.core.take(event.seat) is None

    def sync(self) -> None:
        """Members that the core has put out, for the model."""
        there = {(room.name, member.name) for room in self.core._rooms.values() for member in room.members.values()}
        for key in set(self.current) - there:
            self.forget(key)
        assert there == set(self.current)

    def forget(self, key: tuple[str, str]) -> None:
        for table in (self.said, self.got, self.current, self.sessions, self.away):
            table.pop(key, None)  # type: ignore[attr-defined]

    @rule(
        target=seats,
        room=st.sampled_from(["r1", "r2", "r3", "r4"]),
        name=st.sampled_from(["a", "b", "c", "d"]),
        session=st.sampled_from([None, "s" * 16, "t" * 16]),
        owner=st.booleans(),
    )
    def join(self, room: str, name: str, session: str | None, owner: bool) -> object:
        key = (room, name)
        before = self.sessions.get(key, ...)
        resumes = session is not None and before == session
        members = [other for other in self.current if other[0] == room]
        joined = self.core.join(room, self.now, name=name, session=session, owns_name=owner)
        if isinstance(joined, Fault):
            expected = "name-taken" if before is not ... else "room-full" if members else "server-full"
            assert joined.code == expected
            assert not resumes
            return multiple()
        if not resumes:
            self.forget(key)
            self.said[key], self.got[key] = [], []
        self.current[key], self.sessions[key] = joined, session
        self.away.pop(key, None)
        self.settle()
        self.sync()
        return joined

    @rule(seat=seats, to=st.sampled_from([None, "a", "b", "c"]))
    def speak(self, seat: Seat, to: str | None) -> None:
        number = next(self.numbers)
        key = (seat.room, seat.name)
        speaks = self.current.get(key) is seat and key not in self.away
        text = json.dumps({"type": "bye", "seq": number, **({} if to is None else {"to": to})})
        self.core.receive(seat, text, self.now)
        if speaks:
            for other in self.current:
                if other[0] == seat.room and other != key and to in (None, other[1]):
                    self.said[other].append(number)
        self.settle()
        self.sync()

    @rule(seat=seats, text=st.sampled_from(["", "{}", '{"type":"presence"}']))
    def shout(self, seat: Seat, text: str) -> None:
        self.core.receive(seat, text, self.now)
        self.settle()
        self.sync()

    @rule(seat=seats, lines=st.integers(min_value=1, max_value=8))
    def read(self, seat: Seat, lines: int) -> None:
        key = (seat.room, seat.name)
        for _ in range(lines):
            line = self.core.take(seat)
            if line is None:
                if self.current.get(key) is seat and key not in self.away:
                    assert self.got[key] == self.said[key]
                return
            assert self.current[key] is seat
            assert key not in self.away
            message = decode(line)
            if message.seq is not None:
                self.got[key].append(message.seq)

    @rule(seat=consumes(seats))
    def lose(self, seat: Seat) -> None:
        key = (seat.room, seat.name)
        if self.current.get(key) is seat and self.sessions[key] is not None and key not in self.away:
            self.away[key] = self.now + 10
        self.core.lost(seat, self.now)
        self.settle()
        self.sync()

    @rule(seat=consumes(seats))
    def leave(self, seat: Seat) -> None:
        key = (seat.room, seat.name)
        stays = key in self.current and (self.current[key] is not seat or key in self.away)
        self.core.leave(seat)
        self.settle()
        self.sync()
        assert (key in self.current) == stays

    @rule(seconds=st.floats(min_value=0, max_value=12))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.core.handle_timer(self.now)
        self.settle()
        late = {key for key, until in self.away.items() if until <= self.now}
        self.sync()
        assert not late & set(self.current)
        timer = self.core.get_timer()
        assert timer is None or timer > self.now

    @invariant()
    def nothing_is_lost_or_reordered(self) -> None:
        for key, got in self.got.items():
            assert got == self.said[key][: len(got)]

    @invariant()
    def bounds_hold(self) -> None:
        members = [member for room in self.core._rooms.values() for member in room.members.values()]
        assert self.core.members == len(members)
        assert self.core.queued == sum(member.queued for member in members)
        assert len(self.core._rooms) <= 3
        assert all(0 < len(room.members) <= 3 for room in self.core._rooms.values())
        assert self.core.away == len(self.away) == sum(member.seat is None for member in members)
        for member in members:
            assert member.queued == sum(map(len, member.lines)) <= 1500
            assert len(member.lines) <= 6


TestRoomsMachine = RoomsMachine.TestCase
TestRoomsMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
