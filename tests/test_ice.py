"""The ICE agent against a peer that is written out: every check and answer of it is made by hand."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.attributes import Item
from icekit.candidate import Candidate, CandidateType, TcpType
from icekit.checklist import LocalCandidate
from icekit.errors import ConfigError, InvalidState
from icekit.ice import IceAgent, IceConfig
from icekit.ice_events import (
    DataReceived,
    IceEvent,
    IceState,
    PairImproved,
    PairSelected,
    RoleChanged,
    StateChanged,
)
from icekit.net import Address, Datagram, Transport
from icekit.pacing import Floor
from icekit.path_mtu import PathMtu
from icekit.stun import Class, Message, Method, decode, failure, indication, request, short_term_key, success

HOST = Address("192.0.2.1", 5000)
SECOND = Address("192.0.2.1", 5001)
REMOTE = Address("192.0.2.2", 7000)
REMOTE2 = Address("192.0.2.2", 7001)
UFRAG, PASSWORD = "peer", "the password of the peer"
PEER_KEY = short_term_key(PASSWORD)
RTT = 0.04


def candidate(
    address: Address = REMOTE,
    priority: int = 2130706431,
    component: int = 1,
    kind: CandidateType = CandidateType.HOST,
    extensions: tuple[tuple[str, str], ...] = (),
) -> Candidate:
    host, port = address
    return Candidate(f"f{port}", component, "udp", priority, host, port, kind, None, None, None, extensions)


@dataclass
class Table:
    """An agent with its clock; what it sends and tells is kept."""

    agent: IceAgent
    now: float = 0.0
    sent: list[tuple[float, Datagram]] = field(default_factory=list)
    events: list[tuple[float, IceEvent]] = field(default_factory=list)
    ids: int = 0

    def drain(self) -> list[Datagram]:
        new = self.agent.datagrams_to_send()
        self.sent += [(self.now, datagram) for datagram in new]
        while (event := self.agent.next_event()) is not None:
            self.events.append((self.now, event))
        return new

    def run(self, seconds: float) -> list[Datagram]:
        """Let timers go off for so long; what left in the meantime."""
        end, before = self.now + seconds, len(self.sent)
        self.drain()
        while (timer := self.agent.get_timer()) is not None and timer <= end:
            self.now = max(self.now, timer)
            self.agent.handle_timer(self.now)
            left = self.agent.get_timer()
            assert left is None or left > self.now
            self.drain()
        self.now = end
        return [datagram for _, datagram in self.sent[before:]]

    def receive(self, data: bytes, source: Address = REMOTE, base: Address = HOST) -> list[Message]:
        """Deliver; what the agent sends back at once."""
        self.drain()
        self.agent.receive_datagram(Datagram(source, base, data), self.now)
        return [decode(datagram.data) for datagram in self.drain()]

    def receive_any(self, datagram: Datagram) -> None:
        self.agent.receive_datagram(datagram, self.now)
        self.drain()

    def check(
        self,
        *more: Item,
        source: Address = REMOTE,
        base: Address = HOST,
        controlling: bool = False,
        tiebreaker: int = 5,
        nominate: bool = False,
        username: str | None = None,
        password: str | None = None,
        priority: int | None = 1845501695,
    ) -> Message:
        """The peer sends a check; the one answer."""
        role = attr.ICE_CONTROLLING if controlling else attr.ICE_CONTROLLED
        items = [attr.USERNAME(username or f"{self.agent.local_ufrag}:{UFRAG}"), role(tiebreaker), *more]
        if priority is not None:
            items.append(attr.PRIORITY(priority))
        if nominate:
            items.append(attr.USE_CANDIDATE(True))
        self.ids += 1
        message = request(Method.BINDING, self.ids.to_bytes(12), *items)
        key = short_term_key(password or self.agent.local_password)
        (answer,) = self.receive(message.encode(key, fingerprint=True), source, base)
        return answer

    def answer(
        self,
        datagram: Datagram,
        *,
        mapped: Address | None = None,
        code: int | None = None,
        password: str = PASSWORD,
        source: Address | None = None,
    ) -> None:
        """The peer answers this check of ours."""
        asked = decode(datagram.data)
        if code is None:
            response = success(asked, attr.XOR_MAPPED_ADDRESS(mapped or datagram.source))
        else:
            response = failure(asked, code)
        data = response.encode(short_term_key(password), fingerprint=True)
        self.agent.receive_datagram(Datagram(source or datagram.destination, datagram.source, data), self.now)
        self.drain()

    def serve(self, seconds: float, answers: Callable[[Datagram], bool] = lambda datagram: True) -> list[Datagram]:
        """Like ``run``, but the peer answers, one round trip later, the checks that ``answers`` says."""
        end, waiting, seen = self.now + seconds, list[tuple[float, Datagram]](), len(self.sent)
        while True:
            self.drain()
            for when, datagram in self.sent[seen:]:
                if is_check(datagram) and answers(datagram):
                    waiting.append((when + RTT, datagram))
            seen = len(self.sent)
            timer = self.agent.get_timer()
            if waiting and waiting[0][0] <= min(end, timer if timer is not None else end):
                self.now = max(self.now, waiting[0][0])
                self.answer(waiting.pop(0)[1])
            elif timer is not None and timer <= end:
                self.now = max(self.now, timer)
                self.agent.handle_timer(self.now)
            else:
                self.now = end
                return [datagram for _, datagram in self.sent]

    def told(self, kind: type) -> list[IceEvent]:
        self.drain()
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def states(self) -> list[IceState]:
        self.drain()
        return [event.state for _, event in self.events if isinstance(event, StateChanged)]

    @property
    def data(self) -> list[bytes]:
        return [event.data for event in self.told(DataReceived) if isinstance(event, DataReceived)]

    @property
    def selected(self) -> Address | None:
        pair = self.agent.selected_pair()
        return None if pair is None else pair.address

    def checks(self, address: Address | None = None) -> list[tuple[float, Message]]:
        return [
            (when, decode(datagram.data))
            for when, datagram in self.sent
            if is_check(datagram) and address in (None, datagram.destination)
        ]


def is_check(datagram: Datagram) -> bool:
    if datagram.data[0] > 3:
        return False
    message = decode(datagram.data)
    return message.message_class is Class.REQUEST and message.method == Method.BINDING


def has_fingerprint(datagram: Datagram) -> bool:
    # Attribute 0x8028 of four bytes at the end (RFC 8489 §14.7); decode() checks its value.
    return datagram.data[-8:-4] == b"\x80\x28\x00\x04"


def nominates(message: Message) -> bool:
    return message.get(attr.USE_CANDIDATE) is True


def new(
    controlling: bool = True,
    *,
    known: bool = True,
    remotes: tuple[Candidate, ...] = (),
    config: IceConfig | None = None,
    floor: Floor | None = None,
    locals: tuple[LocalCandidate, ...] = (LocalCandidate(candidate(HOST), HOST),),
) -> Table:
    agent = IceAgent(controlling, random.Random(1).randbytes, config=config or IceConfig(), floor=floor)
    agent.set_pacing(0.005)
    for local in locals:
        agent.add_local_candidate(local, 0.0)
    if known:
        agent.set_remote_credentials(UFRAG, PASSWORD, 0.0)
    for remote in remotes:
        agent.add_remote_candidate(remote, 0.0)
    return Table(agent)


def connected(controlling: bool = True, **more: object) -> Table:
    """On REMOTE, nominated."""
    table = new(controlling, remotes=(candidate(),), **more)  # type: ignore[arg-type]
    if controlling:
        table.agent.end_of_local_candidates(0.0)
        table.agent.end_of_remote_candidates(0.0)
    else:
        table.check(controlling=True, nominate=True)
    table.serve(1.0)
    assert table.agent.is_settled()
    assert table.agent.state is IceState.COMPLETED
    return table


# Checks.


def test_a_check_is_what_the_rfc_says() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    message = decode(datagram.data)
    assert (datagram.source, datagram.destination) == (HOST, REMOTE)
    assert message.get(attr.USERNAME) == f"{UFRAG}:{table.agent.local_ufrag}"
    # RFC 8445 §7.1.1: the type preference of peer-reflexive candidates, the local preference of the candidate.
    assert message.get(attr.PRIORITY) == 110 << 24 | 2130706431 & 0xFFFFFF
    assert message.get(attr.ICE_CONTROLLING) is not None
    assert message.get(attr.ICE_CONTROLLED) is None
    assert not nominates(message)
    assert message.verify(PEER_KEY)
    assert has_fingerprint(datagram)


def test_local_credentials_have_the_length_of_the_rfc_and_differ() -> None:
    one, other = new().agent, IceAgent(True, random.Random(2).randbytes)
    # RFC 8445 §5.3: at least 24 and 128 bits; ice-chars of six bits.
    assert (len(one.local_ufrag), len(one.local_password)) == (8, 24)
    assert one.local_ufrag != other.local_ufrag
    assert one.local_password not in repr(one._now_generation)


def test_an_answer_makes_the_pair_valid_and_data_may_flow_before_the_nomination() -> None:
    table = new(remotes=(candidate(),))
    with pytest.raises(InvalidState):
        table.agent.send(1, b"early", 0.0)
    (datagram,) = table.run(0.0)
    table.now = 0.04
    table.answer(datagram)
    assert table.states == [IceState.CHECKING, IceState.CONNECTED]
    assert not table.agent.is_settled()
    table.agent.send(1, b"data", table.now)
    assert table.drain() == [Datagram(HOST, REMOTE, b"data")]
    pair = table.agent.selected_pair()
    assert pair is not None
    assert pair.rtt == pytest.approx(0.04)


def test_new_pairs_are_checked_by_priority_ta_apart() -> None:
    remotes = tuple(candidate(Address("192.0.2.2", 7000 + index), 100 + index) for index in range(4))
    table = new(remotes=remotes)
    table.run(0.0151)
    assert [(round(when, 6), datagram.destination.port) for when, datagram in table.sent] == [
        (0.0, 7003),
        (0.005, 7002),
        (0.01, 7001),
        (0.015, 7000),
    ]


def test_a_pair_without_an_answer_gets_fresh_checks() -> None:
    table = new(remotes=(candidate(),))
    table.run(20.0)
    times = [when for when, _ in table.checks()]
    gaps = [round(later - earlier, 6) for earlier, later in itertools.pairwise(times)]
    # 20 ms apart for a second, then doubling to half a second; each is a transaction of its own.
    assert gaps[:50] == [0.02] * 50
    assert gaps[50:56] == [0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    assert set(gaps[56:]) == {0.5}
    assert len({message.transaction_id for _, message in table.checks()}) == len(times)


def test_with_a_slow_pacing_fresh_checks_are_two_slots_apart() -> None:
    table = new(remotes=(candidate(),))
    table.agent.set_pacing(0.05)
    table.run(0.5)
    assert [round(when, 6) for when, _ in table.checks()] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_an_answer_to_any_open_check_counts() -> None:
    table = new(remotes=(candidate(),))
    first, *_ = table.run(5.0)
    table.answer(first)
    assert table.selected == REMOTE


@pytest.mark.parametrize(("proposed", "ta"), [(None, 0.02), (0.005, 0.005), (0.001, 0.005), (0.05, 0.05), (3.0, 3.0)])
def test_the_larger_pacing_is_used_and_twenty_for_a_peer_that_proposes_nothing(
    proposed: float | None, ta: float
) -> None:
    table = new()
    table.agent.set_pacing(proposed)
    assert table.agent.pacer.ta == ta


def test_agents_of_a_process_share_a_floor() -> None:
    floor = Floor(0.005)
    tables = [new(remotes=(candidate(), candidate(REMOTE2)), floor=floor) for _ in range(3)]
    times = []
    for _ in range(200):
        due = [(table.agent.get_timer(), index) for index, table in enumerate(tables)]
        when, index = min((max(time, tables[index].now), index) for time, index in due if time is not None)
        table = tables[index]
        table.now = when
        table.agent.handle_timer(when)
        times += [when] * len(table.drain())
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) > 50
    assert min(gaps) >= 0.005 - 1e-9


def test_a_triggered_check_goes_before_new_pairs_and_retries() -> None:
    remotes = tuple(candidate(Address("192.0.2.2", 7000 + index), 1000 - index) for index in range(6))
    table = new(remotes=remotes)
    table.run(0.0)
    table.check(source=Address("192.0.2.2", 7005))
    sent = table.run(0.0051)
    assert [datagram.destination.port for datagram in sent if is_check(datagram)] == [7005]
    # The last of all is waiting; a retry of the first would be due at 20 ms, new pairs go before it.
    sent = table.run(0.0201)
    assert [datagram.destination.port for datagram in sent] == [7001, 7002, 7003, 7004]


def test_a_check_triggers_one_at_once_although_ours_is_in_progress() -> None:
    table = new(remotes=(candidate(),))
    table.run(0.001)
    assert len(table.checks()) == 1
    table.now = 0.006
    table.check()
    table.run(0.0)
    assert [round(when, 6) for when, _ in table.checks()] == [0.0, 0.006]


def test_a_failed_pair_is_checked_again_when_the_peer_is_heard_on_it() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    table.answer(datagram, code=400)
    assert table.run(1.0) == []
    table.check()
    assert len(table.run(0.1)) >= 5


def test_a_valid_pair_is_not_checked_because_it_is_heard() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    table.answer(datagram)
    before = len(table.checks())
    table.check()
    table.run(0.001)
    assert len(table.checks()) == before


def test_success_thaws_pairs_of_the_same_foundation() -> None:
    def named(port: int, priority: int, foundation: str) -> Candidate:
        return Candidate(foundation, 1, "udp", priority, "192.0.2.2", port, CandidateType.HOST)

    remotes = (named(1, 109, "same"), named(2, 108, "same"), named(3, 107, "other"), named(4, 106, "another"))
    table = new(remotes=remotes)
    # Frozen: other foundations go first although they rank lower.
    assert [datagram.destination.port for datagram in table.run(0.0051)] == [1, 3]
    table.answer(table.sent[0][1])
    assert [datagram.destination.port for datagram in table.run(0.0051)] == [2]


# What is not authentic.


def test_a_request_without_credentials_is_a_bad_request() -> None:
    table = new()
    for items in ((), (attr.PRIORITY(5), attr.USERNAME(f"{table.agent.local_ufrag}:x"))):
        (answer,) = table.receive(request(Method.BINDING, bytes(12), *items).encode(fingerprint=True))
        assert answer.error().code == 400
        assert not answer.has_integrity()
    assert table.agent.stats() == ()


def test_a_refusal_is_counted_and_changes_nothing() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    check = decode(datagram.data)
    before = table.agent.stats()[0].state
    for message in (failure(check, 401), failure(check, 400), failure(request(Method.BINDING, bytes(12)), 401)):
        table.receive(message.encode(fingerprint=True))
    (pair,) = table.agent.stats()
    assert (pair.checks_refused, pair.state) == (1, before)
    table.answer(datagram)
    assert table.agent.stats()[0].state == "succeeded"


@pytest.mark.parametrize(
    ("username", "password"),
    [("other:peer", None), (None, "wrong"), ("", None), ("{ufrag}", None), ("peer:{ufrag}", None)],
)
def test_wrong_credentials_are_unauthenticated_and_change_nothing(username: str | None, password: str | None) -> None:
    table = new()
    name = None if username is None else (username.format(ufrag=table.agent.local_ufrag) or "-")
    answer = table.check(username=name, password=password, nominate=True)
    assert answer.error().code == 401
    assert not answer.has_integrity()
    table.run(0.1)
    assert table.agent.stats() == ()
    assert table.checks() == []


def test_an_unknown_required_attribute_is_named() -> None:
    table = new()
    answer = table.check((0x7F00, b"abcd"))
    assert answer.error().code == 420
    assert answer.get(attr.UNKNOWN_ATTRIBUTES) == (0x7F00,)
    assert answer.verify(short_term_key(table.agent.local_password))
    assert table.agent.stats() == ()


def test_a_request_without_a_priority_is_a_bad_request() -> None:
    table = new()
    assert table.check(priority=None).error().code == 400
    assert table.agent.stats() == ()


def test_the_answer_to_a_check_tells_its_source_and_is_protected() -> None:
    table = new()
    answer = table.check(source=REMOTE2)
    assert answer.message_class is Class.SUCCESS
    assert answer.get(attr.XOR_MAPPED_ADDRESS) == REMOTE2
    assert answer.verify(short_term_key(table.agent.local_password))
    assert has_fingerprint(table.sent[-1][1])


@pytest.mark.parametrize("fault", ["password", "source", "transaction", "error-password"])
def test_an_answer_that_is_not_the_peers_changes_nothing(fault: str) -> None:
    table = new(remotes=(candidate(), candidate(REMOTE2)))
    (datagram,) = table.run(0.0)
    match fault:
        case "password":
            table.answer(datagram, password="wrong")
        case "source":
            table.answer(datagram, source=Address("192.0.2.99", 7000))
        case "transaction":
            other = request(Method.BINDING, b"x" * 12).encode()
            table.answer(Datagram(datagram.source, datagram.destination, other))
        case "error-password":
            table.answer(datagram, code=487, password="wrong")
    assert table.selected is None
    assert table.agent.controlling
    assert table.agent.dropped == 1
    # The true answer still counts.
    table.answer(datagram)
    assert table.selected == datagram.destination


def test_an_answer_with_an_unknown_required_attribute_is_no_success() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    response = success(decode(datagram.data), attr.XOR_MAPPED_ADDRESS(HOST), (0x7F00, b"abcd"))
    table.receive(response.encode(PEER_KEY))
    assert table.selected is None
    assert table.agent.dropped == 1


def test_keepalives_and_foreign_messages_are_ignored() -> None:
    table = new()
    assert table.receive(indication(Method.BINDING, bytes(12)).encode()) == []
    assert table.agent.dropped == 0
    assert table.receive(request(Method.ALLOCATE, bytes(12)).encode()) == []
    assert table.agent.dropped == 1


# Roles.


@pytest.mark.parametrize("controlling", [True, False])
def test_the_larger_tiebreaker_keeps_its_role_and_answers_487(controlling: bool) -> None:
    table = new(controlling)
    # Controlled both: the larger one becomes controlling, so it is the smaller that refuses.
    answer = table.check(controlling=controlling, tiebreaker=0 if controlling else 2**64 - 1)
    assert answer.error().code == 487
    assert answer.verify(short_term_key(table.agent.local_password))
    assert table.agent.controlling is controlling
    assert table.agent.stats() == ()


@pytest.mark.parametrize("controlling", [True, False])
def test_the_other_one_changes_its_role(controlling: bool) -> None:
    table = new(controlling)
    answer = table.check(controlling=controlling, tiebreaker=2**64 - 1 if controlling else 0)
    assert answer.message_class is Class.SUCCESS
    assert table.agent.controlling is not controlling
    assert table.told(RoleChanged) == [RoleChanged(not controlling)]
    (datagram,) = table.run(0.0)
    wanted = attr.ICE_CONTROLLED if controlling else attr.ICE_CONTROLLING
    assert decode(datagram.data).get(wanted) is not None


def test_a_refused_role_is_changed_and_the_check_repeated_at_once_with_a_new_tiebreaker() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.001)
    first = decode(datagram.data).get(attr.ICE_CONTROLLING)
    table.now = 0.006
    table.answer(datagram, code=487)
    assert not table.agent.controlling
    (again,) = table.run(0.0)
    second = decode(again.data).get(attr.ICE_CONTROLLED)
    assert second is not None
    assert second != first
    # A late refusal of the first role changes nothing any more.
    table.answer(table.sent[0][1], code=487)
    assert not table.agent.controlling


def test_signaling_may_give_the_role_later() -> None:
    table = new(True, known=False)
    table.agent.set_controlling(False, 0.0)
    assert not table.agent.controlling
    assert table.told(RoleChanged) == [RoleChanged(False)]
    table.agent.set_controlling(False, 0.0)
    assert len(table.told(RoleChanged)) == 1


def test_who_becomes_controlling_nominates_what_is_valid() -> None:
    table = new(False, remotes=(candidate(),))
    table.serve(0.1)
    assert table.selected == REMOTE
    table.check(controlling=False, tiebreaker=0)
    assert table.agent.controlling
    table.serve(1.0)
    assert table.agent.is_settled()


# Trickle, early checks and early data.


@pytest.mark.parametrize(
    ("ufrag", "password", "said"),
    [
        (b"peer", "p" * 22, "user name fragment is a text .* not bytes"),
        ("peer", b"secret" * 4, "password is a text .* not bytes"),
        ("peer", 123, "password is a text .* not int"),
        # RFC 8839 §5.4. A longer name would not fit into a check, and its timer would end with an exception.
        ("pee", "p" * 22, "fragment wants 4 to 256 letters, digits, . or /, and has 3;"),
        ("p" * 257, "p" * 22, "fragment wants 4 to 256 .* and has 257;"),
        ("", "p" * 22, "fragment wants .* has 0;"),
        ("peer", "secret" * 3 + "abc", "password wants 22 to 256 .* has 21;"),
        ("peer", "secret" * 50, "password wants 22 to 256 .* has 300;"),
        ("peer", "p", "password wants 22 to 256 .* has 1;"),
        ("peér", "p" * 22, "fragment wants .* has others;"),
        ("peer", "secret" * 4 + "\n", "password wants .* has others; .* a line end"),
        ("peer", "p" * 21 + "\ud800", "password wants .* has others;"),
    ],
)
def test_credentials_that_can_be_none_are_told_and_change_nothing(ufrag: Any, password: Any, said: str) -> None:
    agent = IceAgent(True, random.Random(1).randbytes)
    with pytest.raises(ConfigError, match=said) as told:
        agent.set_remote_credentials(ufrag, password, 0.0)
    assert "secret" not in str(told.value)
    agent.set_remote_credentials("peer", "p" * 22, 0.0)


def test_the_longest_and_odd_credentials_that_agents_have_fit_into_a_check() -> None:
    for ufrag, password in (("u" * 256, "p" * 256), ("a-_=", "p-_=" * 6)):
        agent = IceAgent(True, random.Random(1).randbytes, credentials=("l" * 32, "q" * 22))
        agent.add_local_candidate(LocalCandidate(candidate(HOST), HOST), 0.0)
        agent.add_remote_candidate(candidate(), 0.0)
        agent.set_remote_credentials(ufrag, password, 0.0)
        agent.handle_timer(0.0)
        (check,) = agent.datagrams_to_send()
        message = decode(check.data)
        assert message.get(attr.USERNAME) == f"{ufrag}:{'l' * 32}"
        assert message.verify(short_term_key(password))


def test_checks_before_the_credentials_are_answered_and_remembered() -> None:
    table = new(known=False)
    assert table.check().message_class is Class.SUCCESS
    assert table.run(1.0) == []
    table.agent.set_remote_credentials(UFRAG, PASSWORD, table.now)
    (datagram,) = table.run(0.0)
    assert datagram.destination == REMOTE
    pair = table.agent.stats()[0]
    assert (pair.remote.type, pair.remote.priority) == (CandidateType.PEER_REFLEXIVE, 1845501695)


def test_early_checks_of_one_address_need_one_place() -> None:
    table = new(False, known=False, config=IceConfig(max_early_checks=2))
    for _ in range(50):
        table.check(controlling=True)
    table.check(source=REMOTE2, controlling=True, nominate=True)
    table.check(source=REMOTE2, controlling=True)
    table.check(source=Address("192.0.2.2", 9), controlling=True)
    assert table.agent.dropped == 1
    table.agent.set_remote_credentials(UFRAG, PASSWORD, table.now)
    assert [pair.remote.port for pair in table.agent.stats()] == [7000, 7001]
    # The early nomination is remembered, too.
    table.serve(1.0)
    assert table.selected == REMOTE2
    assert table.agent.is_settled()


def test_early_data_waits_until_an_authenticated_check_names_its_address() -> None:
    table = new(known=False, config=IceConfig())
    for number in range(20):
        table.receive(b"\x80%d" % number)
    table.receive(b"\x80other", source=REMOTE2)
    assert table.data == []
    # Sixteen were kept.
    assert table.agent.dropped == 5
    table.check()
    assert table.data == [b"\x80%d" % number for number in range(16)]
    table.receive(b"\x80now")
    assert table.data[-1] == b"\x80now"


@pytest.mark.parametrize("named_by", ["check", "answer"])
def test_early_data_waits_beyond_the_credentials(named_by: str) -> None:
    table = new(known=False)
    table.receive(b"\x80early")
    table.agent.set_remote_credentials(UFRAG, PASSWORD, table.now)
    table.agent.add_remote_candidate(candidate(), table.now)
    (datagram,) = table.run(0.0)
    # What comes now, from an address that has proven nothing, does not wait.
    table.receive(b"\x80later")
    assert (table.data, table.agent.dropped) == ([], 1)
    if named_by == "check":
        table.check()
    else:
        table.answer(datagram)
    assert table.data == [b"\x80early"]


def test_data_is_taken_from_addresses_that_were_heard_also_before_our_pair_is_valid() -> None:
    table = new(remotes=(candidate(), candidate(REMOTE2)))
    table.receive(b"\x80from a candidate that has proven nothing")
    table.check()
    table.receive(b"\x80heard")
    table.receive(b"\x80stranger", source=REMOTE2)
    table.receive(b"\x80other base", base=SECOND)
    assert table.data == [b"\x80heard"]
    assert table.agent.dropped == 3
    assert table.selected is None


def test_data_is_taken_from_addresses_that_answered() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    table.answer(datagram)
    table.receive(b"\x80data")
    assert table.data == [b"\x80data"]


def test_data_that_nobody_takes_is_bounded() -> None:
    agent = new(remotes=(candidate(),), config=IceConfig(max_events=10)).agent
    table = Table(agent)
    (datagram,) = table.run(0.0)
    table.answer(datagram)
    for _ in range(50):
        agent.receive_datagram(Datagram(REMOTE, HOST, b"\x80x"), 0.0)
    assert len(table.data) == 10
    assert agent.dropped == 40


def test_a_peer_reflexive_candidate_merges_with_the_signalled_one() -> None:
    table = new(False)
    table.check(controlling=True)
    assert [pair.remote.type for pair in table.agent.stats()] == [CandidateType.PEER_REFLEXIVE]
    signalled = candidate(priority=1694498815, kind=CandidateType.SERVER_REFLEXIVE)
    table.agent.add_remote_candidate(signalled, 0.0)
    assert [(pair.remote, pair.checks_received) for pair in table.agent.stats()] == [(signalled, 1)]


def test_our_own_peer_reflexive_candidate_is_learned_from_the_answer() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    table.answer(datagram, mapped=Address("198.51.100.7", 4444))
    pair = table.agent.selected_pair()
    assert pair is not None
    assert (pair.local.type, pair.local.address, pair.local.port) == ("prflx", "198.51.100.7", 4444)
    assert pair.base == HOST


def test_candidates_of_another_generation_wait_for_its_credentials() -> None:
    table = new()
    later = candidate(REMOTE2, extensions=(("ufrag", "next"),))
    table.agent.add_remote_candidate(later, 0.0)
    table.agent.add_remote_candidate(candidate(), 0.0, ufrag=UFRAG)
    assert [pair.remote.port for pair in table.agent.stats()] == [7000]
    table.agent.restart(1.0)
    table.agent.set_remote_credentials("next", PASSWORD, 1.0)
    assert [pair.remote.port for pair in table.agent.stats()] == [7001]
    # Late ones of the generation that has gone are dropped.
    table.agent.add_remote_candidate(candidate(), 1.0, ufrag=UFRAG)
    table.agent.restart(2.0)
    table.agent.set_remote_credentials("third", PASSWORD, 2.0)
    assert table.agent.stats() == ()


def test_candidates_of_generations_that_never_come_are_bounded() -> None:
    table = new(known=False, config=IceConfig(max_pending_candidates=3))
    for port in range(1, 100):
        table.agent.add_remote_candidate(candidate(Address("192.0.2.2", port)), 0.0, ufrag=UFRAG)
    table.agent.set_remote_credentials(UFRAG, PASSWORD, 0.0)
    assert [pair.remote.port for pair in table.agent.stats()] == [97, 98, 99]


def test_new_credentials_of_the_peer_need_a_restart() -> None:
    table = new()
    table.agent.set_remote_credentials(UFRAG, PASSWORD, 1.0)
    for ufrag, password in (("other", PASSWORD), (UFRAG, "another one of the peer")):
        with pytest.raises(InvalidState, match="restart"):
            table.agent.set_remote_credentials(ufrag, password, 1.0)


def test_a_late_candidate_is_checked() -> None:
    table = new()
    table.run(5.0)
    table.agent.add_remote_candidate(candidate(), table.now)
    assert [datagram.destination for datagram in table.run(0.0)] == [REMOTE]


def test_a_hundred_pairs_at_most() -> None:
    limit = 1000
    table = new(config=IceConfig(max_open_checks=limit))
    for number in range(300):
        table.agent.add_remote_candidate(candidate(Address("192.0.2.3", number + 1)), 0.0)
        table.check(source=Address("192.0.2.4", number + 1))
    assert len(table.agent.stats()) == 100
    most = 0
    # 200 checks a second, each of them open for longer than this: the bound is reached, and then kept.
    for _ in range(8):
        table.run(1.0)
        most = max(most, table.agent._now_generation.open_checks)
    assert most == limit < IceConfig().max_open_checks


def test_an_answer_for_a_pair_that_gave_way_is_too_late() -> None:
    table = new(remotes=(candidate(priority=5),), config=IceConfig(max_pairs=1))
    (datagram,) = table.run(0.0)
    table.check(source=REMOTE2)
    assert [pair.remote.port for pair in table.agent.stats()] == [7001]
    table.answer(datagram)
    assert table.selected is None
    assert table.agent.dropped == 1


def test_a_pair_that_takes_the_place_of_another_is_checked_at_once() -> None:
    # Both are valid, and data has used both. Then the peer is gone: nobody confirms the nomination of the better one.
    table = new(remotes=(candidate(priority=9), candidate(REMOTE2, priority=5)))
    better, other = table.run(0.006)[:2]
    table.now = 0.05
    table.answer(other)
    table.answer(better)
    table.run(4.098)
    before = len(table.checks(REMOTE2))
    # Gathering has the slot when the nomination is given up. ``run`` demands that the timer is later than now.
    table.agent.pacer.take(table.now)
    table.run(2.0)
    assert [event.pair.address for event in table.told(PairSelected)] == [REMOTE2, REMOTE, REMOTE2]  # type: ignore[union-attr]
    moved = next(when for when, event in reversed(table.events) if isinstance(event, PairSelected))
    assert table.checks(REMOTE2)[before][0] == pytest.approx(moved)


def test_an_unreachable_address_gives_its_slot_back() -> None:
    table = new(remotes=(candidate(priority=9), candidate(REMOTE2, priority=5)))
    (datagram,) = table.run(0.0)
    table.agent.unreachable(datagram, 0.0)
    assert [again.destination for again in table.run(0.0)] == [REMOTE2]
    assert [pair.state for pair in table.agent.stats()] == ["failed", "in-progress"]


# Nomination.


def test_the_best_valid_pair_is_nominated_after_a_window_of_two_round_trips() -> None:
    table = new(remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    table.serve(0.5, lambda datagram: datagram.destination == REMOTE)
    (nomination,) = [(when, message) for when, message in table.checks() if nominates(message)]
    # Checked at 5 ms, valid at 45, and 80 ms to wait.
    assert nomination[0] == pytest.approx(0.005 + 3 * RTT)
    assert table.agent.is_settled()
    assert table.states == [IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED]


def test_a_better_pair_that_becomes_valid_in_the_window_wins_and_data_moves_at_once() -> None:
    table = new(remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    low, high = sorted(table.run(0.006), key=lambda datagram: datagram.destination)
    table.now = 0.045
    table.answer(low)
    assert table.selected == REMOTE
    table.run(0.03)
    table.answer(high)
    assert table.selected == REMOTE2
    table.serve(1.0)
    assert {
        datagram.destination for _, datagram in table.sent if is_check(datagram) and nominates(decode(datagram.data))
    } == {REMOTE2}
    selected = [event for event in table.told(PairSelected) if isinstance(event, PairSelected)]
    assert [(event.pair.address, event.nominated) for event in selected] == [
        (REMOTE, False),
        (REMOTE2, False),
        (REMOTE2, True),
    ]


def test_a_worse_pair_that_becomes_valid_changes_nothing() -> None:
    table = new(remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    low, high = sorted(table.run(0.006), key=lambda datagram: datagram.destination)
    table.answer(high)
    table.answer(low)
    assert table.selected == REMOTE2


def test_the_window_is_half_a_second_at_most() -> None:
    table = new(remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    low, _ = sorted(table.run(0.006), key=lambda datagram: datagram.destination)
    table.run(1.494)
    table.answer(low)
    table.run(1.0)
    first = next(when for when, message in table.checks() if nominates(message))
    assert first == pytest.approx(2.0)


def test_nothing_is_waited_for_when_nothing_better_can_come() -> None:
    table = new(remotes=(candidate(),))
    table.agent.end_of_local_candidates(0.0)
    table.agent.end_of_remote_candidates(0.0)
    (datagram,) = table.run(0.0)
    table.now = 0.04
    table.answer(datagram)
    (nomination,) = table.run(0.0)
    assert nominates(decode(nomination.data))


def test_one_nomination_for_a_generation_and_a_better_pair_is_told() -> None:
    table = new(remotes=(candidate(priority=5),))
    table.serve(1.0)
    assert table.agent.is_settled()
    table.agent.add_remote_candidate(candidate(REMOTE2, priority=9), table.now)
    table.serve(2.0)
    improved = [event.pair.address for event in table.told(PairImproved) if isinstance(event, PairImproved)]
    assert improved == [REMOTE2]
    assert table.selected == REMOTE
    nominated = [
        datagram.destination for _, datagram in table.sent if is_check(datagram) and nominates(decode(datagram.data))
    ]
    assert set(nominated) == {REMOTE}


def test_after_the_nomination_only_better_pairs_are_checked_and_not_for_ever() -> None:
    low, high = Address("192.0.2.2", 7005), Address("192.0.2.2", 7009)
    remotes = (candidate(priority=7), candidate(low, priority=5), candidate(high, priority=9))
    table = new(remotes=remotes)
    table.serve(60.0, lambda datagram: datagram.destination == REMOTE)
    assert table.agent.is_settled()
    assert max(when for when, _ in table.checks(low)) < 0.5
    # RFC 8863 §4: 39.5 s.
    assert 39.0 < max(when for when, _ in table.checks(high)) <= 39.6
    states = {pair.remote.port: pair.state for pair in table.agent.stats()}
    assert states[7009] == "failed"


def test_a_nominated_pair_that_dies_before_it_is_confirmed_gives_way_to_the_next() -> None:
    table = new(remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    for datagram in table.run(0.006):
        table.answer(datagram)
    assert table.selected == REMOTE2
    table.serve(10.0, lambda datagram: datagram.destination == REMOTE)
    assert table.selected == REMOTE
    assert table.agent.is_settled()
    first = min(when for when, message in table.checks(REMOTE) if nominates(message))
    assert 4.0 <= first <= 4.6


def test_controlled_takes_the_nomination_when_its_own_check_has_succeeded() -> None:
    table = new(False, remotes=(candidate(),))
    table.check(controlling=True, nominate=True)
    assert not table.agent.is_settled()
    table.serve(0.1)
    assert table.agent.is_settled()
    assert table.selected == REMOTE
    assert not any(nominates(message) for _, message in table.checks())


def test_controlled_follows_the_peer_to_a_pair_that_ranks_lower() -> None:
    table = new(False, remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    table.serve(0.2)
    assert table.selected == REMOTE2
    table.check(source=REMOTE, controlling=True, nominate=True)
    assert table.selected == REMOTE
    assert [pair.remote.port for pair in table.agent.stats() if pair.nominated] == [7000]


@pytest.mark.parametrize("order", [(REMOTE, REMOTE2), (REMOTE2, REMOTE)])
def test_of_several_nominations_of_an_old_peer_the_highest_priority_wins(order: tuple[Address, Address]) -> None:
    table = new(False, remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    for _ in range(3):
        for source in order:
            table.check(source=source, controlling=True, nominate=True)
        table.serve(0.3)
    table.serve(10.0)
    assert table.selected == REMOTE2
    assert table.agent.is_settled()


def test_a_pair_that_has_just_answered_is_not_questioned() -> None:
    table = new(False, remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    table.check(source=REMOTE2, controlling=True, nominate=True)
    table.serve(0.5)
    before = len(table.checks(REMOTE2))
    table.check(source=REMOTE, controlling=True, nominate=True)
    table.run(0.4)
    assert len(table.checks(REMOTE2)) == before
    assert table.selected == REMOTE2


def test_a_second_nomination_wins_when_the_first_pair_is_dead() -> None:
    table = new(False, remotes=(candidate(priority=5), candidate(REMOTE2, priority=9)))
    table.check(source=REMOTE2, controlling=True, nominate=True)
    table.serve(2.0)
    assert table.selected == REMOTE2
    # The peer gave it up: nobody answers there any more.
    table.check(source=REMOTE, controlling=True, nominate=True)
    table.serve(2.0, lambda datagram: datagram.destination == REMOTE)
    assert table.selected == REMOTE
    assert table.agent.is_settled()
    assert [pair.remote.port for pair in table.agent.stats() if pair.nominated] == [7000]


def test_controlling_ignores_nominations_of_the_peer() -> None:
    table = new(remotes=(candidate(),))
    table.check(controlling=False, nominate=True)
    (datagram, *_) = table.run(0.0)
    table.answer(datagram)
    assert not table.agent.is_settled()


def test_with_a_lite_peer_we_control() -> None:
    table = new(False, known=False)
    table.agent.set_remote_credentials(UFRAG, PASSWORD, 0.0, lite=True)
    table.agent.add_remote_candidate(candidate(), 0.0)
    table.serve(1.0)
    assert table.agent.controlling
    assert table.agent.is_settled()
    assert any(nominates(message) for _, message in table.checks())
    table.serve(600.0)
    assert IceState.DISCONNECTED not in table.states


def test_every_component_needs_its_pair() -> None:
    ours = (
        LocalCandidate(candidate(HOST), HOST),
        LocalCandidate(candidate(SECOND, component=2), SECOND),
    )
    table = new(remotes=(candidate(), candidate(REMOTE2, component=2)), locals=ours, config=IceConfig(components=2))
    table.serve(0.3, lambda datagram: datagram.destination == REMOTE)
    assert table.agent.selected_pair(1) is not None
    assert table.agent.selected_pair(2) is None
    assert table.states == [IceState.CHECKING]
    table.serve(1.0)
    assert table.states == [IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED]
    table.agent.send(2, b"rtcp", table.now)
    assert table.drain() == [Datagram(SECOND, REMOTE2, b"rtcp")]
    table.receive(b"\x80there", source=REMOTE2, base=SECOND)
    assert table.told(DataReceived) == [DataReceived(2, b"\x80there")]
    # The second one falls silent: that is noticed, too.
    table.serve(40.0, lambda datagram: datagram.destination == REMOTE)
    assert table.states[-2:] == [IceState.DISCONNECTED, IceState.FAILED]


def test_components_that_we_do_not_have_are_ignored() -> None:
    table = new(remotes=(candidate(), candidate(REMOTE2, component=2)))
    assert len(table.agent.stats()) == 1


# Consent.


def test_consent_checks_come_every_five_seconds_with_variation() -> None:
    table = connected()
    before = len(table.checks())
    table.check(controlling=False)
    for _ in range(240):
        table.serve(0.25)
        table.receive(b"\x80data")
    times = [when for when, message in table.checks() if not message.has(attr.FILLER)][before:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    # RFC 7675 §5.1: 0.8 to 1.2 of five seconds.
    assert all(3.99 <= gap <= 6.01 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 5
    assert not any(nominates(message) for _, message in table.checks()[before:])


@pytest.mark.parametrize("controlling", [True, False])
def test_silence_is_disconnected_after_five_seconds_and_failed_after_thirty(controlling: bool) -> None:
    table = connected(controlling)
    last = max(when for when, event in table.events if isinstance(event, PairSelected))
    table.run(60.0)
    changes = [(when, event.state) for when, event in table.events if isinstance(event, StateChanged)][-2:]
    assert [state for _, state in changes] == [IceState.DISCONNECTED, IceState.FAILED]
    assert 5.0 <= changes[0][0] - last <= 5.0 + 2 * RTT
    assert 30.0 <= changes[1][0] - last <= 30.0 + 2 * RTT
    assert table.agent.get_timer() is None
    sent = len(table.sent)
    assert table.receive(b"\x80late") == []
    table.run(100.0)
    assert len(table.sent) == sent
    assert table.selected is None
    with pytest.raises(InvalidState):
        table.agent.send(1, b"x", table.now)


@pytest.mark.parametrize("packet", ["data", "check", "answer"])
def test_the_first_packet_of_the_peer_ends_a_disconnection(packet: str) -> None:
    table = connected()
    table.run(6.0)
    assert table.agent.state is IceState.DISCONNECTED
    table.receive(b"\x80from elsewhere", source=Address("192.0.2.99", 1))
    assert table.agent.state is IceState.DISCONNECTED
    match packet:
        case "data":
            table.receive(b"\x80data")
        case "check":
            table.check(controlling=False)
        case "answer":
            table.answer(next(datagram for _, datagram in reversed(table.sent) if is_check(datagram)))
    assert table.states[-2:] == [IceState.DISCONNECTED, IceState.COMPLETED]


def test_one_answer_in_thirty_seconds_keeps_the_path() -> None:
    table = connected()
    for _ in range(20):
        table.run(29.0)
        # To an old check: it counts as well.
        old = [datagram for when, datagram in table.sent if is_check(datagram) and when >= table.now - 25]
        table.answer(old[0])
    assert IceState.FAILED not in table.states


def test_data_of_the_peer_is_no_consent() -> None:
    table = connected()
    for _ in range(35):
        table.run(1.0)
        if table.agent.state is not IceState.FAILED:
            table.receive(b"\x80data")
    # RFC 7675 §4.1: only answers to our checks renew it.
    assert table.states[-1] is IceState.FAILED
    assert IceState.DISCONNECTED not in table.states


def test_patience_is_kept_although_every_pair_has_failed() -> None:
    table = new(remotes=(candidate(),))
    table.agent.end_of_local_candidates(0.0)
    table.agent.end_of_remote_candidates(0.0)
    (datagram,) = table.run(0.0)
    table.answer(datagram, code=400)
    table.run(39.4)
    assert table.states == [IceState.CHECKING]
    table.run(0.2)
    assert table.states == [IceState.CHECKING, IceState.FAILED]
    assert [when for when, event in table.events if event == StateChanged(IceState.FAILED)] == [39.5]


def test_without_candidates_the_patience_is_the_same() -> None:
    table = new()
    table.run(60.0)
    assert table.states == [IceState.CHECKING, IceState.FAILED]
    assert new(known=False).agent.get_timer() is None


def test_the_patience_begins_when_the_peer_has_our_credentials() -> None:
    table = new(known=False, remotes=(candidate(),))
    table.agent.set_remote_credentials(UFRAG, PASSWORD, 0.0, told=False)
    assert table.run(0.1)
    table.run(59.9)
    table.agent.set_remote_credentials(UFRAG, PASSWORD, 60.0, told=False)
    for _ in range(2):
        table.agent.set_remote_credentials(UFRAG, PASSWORD, table.now)
        table.run(10.0)
    assert table.run(1.0)
    assert table.states == [IceState.CHECKING]
    table.run(60.0)
    assert [when for when, event in table.events if event == StateChanged(IceState.FAILED)] == [99.5]


# Restart and end.


def test_a_restart_keeps_the_old_pair_in_use_until_a_new_one_is_valid() -> None:
    table = connected()
    old = (table.agent.local_ufrag, table.agent.local_password)
    table.agent.restart(table.now)
    assert (table.agent.local_ufrag, table.agent.local_password) != old
    assert table.agent.uses_old_pair()
    assert not table.agent.is_settled()
    table.agent.send(1, b"still", table.now)
    assert table.drain() == [Datagram(HOST, REMOTE, b"still")]
    table.receive(b"\x80still")
    assert table.data == [b"\x80still"]
    # Checks with the old credentials are answered, and consent for the old pair goes on.
    assert table.check(username=f"{old[0]}:{UFRAG}", password=old[1]).message_class is Class.SUCCESS
    table.serve(20.0)
    assert table.states[-1] is IceState.CONNECTED
    table.agent.set_remote_credentials("second", PASSWORD, table.now)
    table.agent.add_remote_candidate(candidate(REMOTE2), table.now)
    assert table.selected == REMOTE
    table.serve(1.0)
    assert table.selected == REMOTE2
    assert not table.agent.uses_old_pair()
    assert table.agent.is_settled()
    # Whoever was heard before may still be on the way.
    table.receive(b"\x80late")
    assert table.data == [b"\x80still", b"\x80late"]


def test_two_restarts_in_a_row_keep_the_pair_that_works() -> None:
    table = connected()
    table.agent.restart(table.now)
    table.agent.restart(table.now)
    assert table.selected == REMOTE
    table.serve(20.0)
    assert table.agent.state is IceState.CONNECTED


def test_an_old_pair_that_dies_during_a_restart_leaves_the_new_checks_alone() -> None:
    table = connected()
    table.agent.restart(table.now)
    table.run(25.0)
    table.agent.set_remote_credentials("second", PASSWORD, table.now)
    table.agent.add_remote_candidate(candidate(REMOTE2), table.now)
    table.run(10.0)
    assert table.states[-2:] == [IceState.DISCONNECTED, IceState.CHECKING]
    table.serve(1.0)
    assert table.states[-2:] == [IceState.CONNECTED, IceState.COMPLETED]


def test_a_restart_revives_a_failed_agent() -> None:
    table = connected()
    table.run(60.0)
    assert table.agent.state is IceState.FAILED
    table.agent.restart(table.now)
    assert table.agent.state is IceState.NEW
    table.agent.set_remote_credentials("second", PASSWORD, table.now)
    table.agent.add_remote_candidate(candidate(), table.now)
    table.serve(1.0)
    assert table.agent.state is IceState.COMPLETED


def test_a_restart_keeps_the_role() -> None:
    for controlling in (True, False):
        table = connected(controlling)
        table.agent.restart(table.now)
        assert table.agent.controlling is controlling


def test_a_closed_agent_is_silent() -> None:
    table = connected()
    table.agent.close(table.now)
    table.agent.close(table.now)
    assert table.states[-1] is IceState.CLOSED
    assert table.agent.get_timer() is None
    assert table.receive(b"\x80data") == []
    table.agent.handle_timer(table.now + 100)
    assert table.drain() == []
    for call in (
        lambda: table.agent.restart(1.0),
        lambda: table.agent.send(1, b"x", 1.0),
        lambda: table.agent.add_remote_candidate(candidate(), 1.0),
        lambda: table.agent.add_local_candidate(LocalCandidate(candidate(HOST), HOST), 1.0),
        lambda: table.agent.set_remote_credentials("next", PASSWORD, 1.0),
    ):
        with pytest.raises(InvalidState):
            call()


def test_statistics_count() -> None:
    table = new(remotes=(candidate(),))
    (datagram,) = table.run(0.0)
    table.now = 0.03
    table.answer(datagram)
    table.check()
    table.agent.send(1, b"12345", table.now)
    table.receive(b"\x80123")
    (pair,) = table.agent.stats()
    assert (pair.checks_sent, pair.checks_received, pair.responses_received) == (1, 1, 1)
    assert (pair.bytes_sent, pair.bytes_received, pair.rtt) == (5, 4, pytest.approx(0.03))
    assert (pair.state, pair.selected, pair.nominated) == ("succeeded", True, False)


# Anything at any time.

_BASES = (HOST, SECOND, Address("192.0.2.7", 1))
_PLACES = (REMOTE, REMOTE2, Address("192.0.2.3", 3), Address("2001:db8::1", 4))
_messages = st.tuples(
    st.sampled_from(["check", "answer", "garbage", "data", "bits"]),
    st.integers(0, 2**16),
    st.booleans(),
    st.booleans(),
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("message"), _messages, st.sampled_from(_PLACES), st.sampled_from(_BASES)),
        st.tuples(st.just("time"), st.sampled_from([0.0, 0.001, 0.02, 0.3, 2.0, 6.0, 31.0, 60.0])),
        st.tuples(
            st.just("remote"), st.sampled_from(_PLACES), st.integers(1, 2**31 - 1), st.sampled_from([None, "peer", "x"])
        ),
        st.tuples(
            st.just("call"),
            st.sampled_from(["restart", "credentials", "next", "end", "send", "lite", "unreachable", "close"]),
        ),
    ),
    max_size=50,
)


class AnyOrder:
    """Whatever happens: nothing raises but InvalidState for our own misuse, and everything stays bounded."""

    def __init__(self, controlling: bool) -> None:
        config = IceConfig(
            max_pairs=6,
            max_open_checks=40,
            max_early_checks=3,
            max_early_data=4,
            max_pending_candidates=3,
            max_events=50,
        )
        self.table = new(controlling, known=False, config=config)
        self.agent = self.table.agent
        self.dice = random.Random(3)
        self.generation = 0

    def message(self, what: tuple[str, int, bool, bool], source: Address, base: Address) -> None:
        kind, number, valid, flag = what
        dice = random.Random(number)
        password = self.agent.local_password if valid else "wrong"
        match kind:
            case "check":
                items: list[Item] = [attr.USERNAME(f"{self.agent.local_ufrag}:{UFRAG}")]
                roles = (attr.ICE_CONTROLLING, attr.ICE_CONTROLLED)
                items.append(dice.choice(roles)(dice.choice([0, 2**63, 2**64 - 1])))
                items += [attr.PRIORITY(dice.randrange(2**32))] * (dice.random() < 0.9)
                items += [attr.USE_CANDIDATE(True)] * flag
                # Broken attributes with valid integrity, too.
                items += [
                    (dice.choice([0x24, 0x25, 0x802A, 0x8029, 0x06, 0x7F01]), dice.randbytes(dice.randrange(9)))
                ] * (dice.random() < 0.3)
                data = request(Method.BINDING, dice.randbytes(12), *items).encode(short_term_key(password))
            case "answer":
                asked = [datagram for _, datagram in self.table.sent[-20:] if is_check(datagram)]
                if not asked:
                    return
                datagram = dice.choice(asked)
                message = decode(datagram.data)
                code = dice.choice([None, None, None, 400, 401, 487, 500])
                extra = [(dice.choice([0x20, 0x09, 0x7F01]), dice.randbytes(8))] * (dice.random() < 0.2)
                response = (
                    success(message, attr.XOR_MAPPED_ADDRESS(dice.choice(_PLACES)), *extra)
                    if code is None
                    else failure(message, code, *extra)
                )
                data = response.encode(short_term_key(PASSWORD if valid else "wrong"))
                if flag:
                    source, base = datagram.destination, datagram.source
            case "garbage":
                data = dice.randbytes(dice.randrange(80))
            case "data":
                data = b"\x80" + dice.randbytes(5)
            case _:
                message = request(Method.BINDING, bytes(12), attr.USERNAME(f"{self.agent.local_ufrag}:{UFRAG}"))
                raw = bytearray(message.encode(short_term_key(self.agent.local_password), fingerprint=flag))
                raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
                data = bytes(raw)
        self.table.receive_any(Datagram(source, base, data))

    def call(self, what: str) -> None:
        agent, now = self.agent, self.table.now
        match what:
            case "restart":
                agent.restart(now, keep_candidates=self.dice.random() < 0.8)
            case "credentials":
                agent.set_remote_credentials(UFRAG, PASSWORD, now)
            case "lite":
                agent.set_remote_credentials(UFRAG, PASSWORD, now, lite=True)
            case "next":
                self.generation += 1
                agent.restart(now)
                agent.set_remote_credentials(f"gen{self.generation}", PASSWORD, now)
            case "end":
                agent.end_of_local_candidates(now)
                agent.end_of_remote_candidates(now)
            case "send":
                agent.send(1, b"data", now)
            case "unreachable" if self.table.sent:
                agent.unreachable(self.table.sent[-1][1], now)
            case "close":
                agent.close(now)

    def check(self) -> None:
        agent = self.agent
        config = agent.config
        assert len(agent._early_data) <= config.max_early_data
        assert len(agent._pending) <= config.max_pending_candidates
        assert len(agent._generations) <= 2
        for generation in agent._generations:
            checklist = generation.checklist
            assert len(checklist.pairs) <= config.max_pairs
            assert len(checklist.remotes) <= config.max_pairs
            assert len(checklist.triggered) <= config.max_pairs
            assert generation.open_checks <= config.max_open_checks
            assert len(generation.early_checks) <= config.max_early_checks
            for pair in generation.selection.selected.values():
                assert pair.valid
        assert agent.is_settled() <= (agent.state in (IceState.COMPLETED, IceState.DISCONNECTED, IceState.CLOSED))


def test_only_a_check_of_the_peer_is_one() -> None:
    agent = IceAgent(False, random.Random(1).randbytes)
    key = short_term_key(agent.local_password)
    username = attr.USERNAME(f"{agent.local_ufrag}:{UFRAG}")
    good = request(Method.BINDING, bytes(12), username)
    assert agent.is_check(good.encode(key))
    assert not agent.is_check(good.encode(PEER_KEY))
    assert not agent.is_check(good.encode(None))
    assert not agent.is_check(request(Method.BINDING, bytes(12), attr.USERNAME("other:peer")).encode(key))
    assert not agent.is_check(request(Method.BINDING, bytes(12)).encode(key))
    assert not agent.is_check(request(Method.ALLOCATE, bytes(12), username).encode(key))
    assert not agent.is_check(success(good).encode(key))
    assert not agent.is_check(b"no STUN")


def test_an_opened_path_is_checked_at_once_and_one_that_cannot_be_opened_has_failed() -> None:
    table = Table(IceAgent(True, random.Random(1).randbytes))
    agent, base = table.agent, Address(HOST.host, 0)
    active = Candidate("t", 1, "tcp", 9, HOST.host, 9, CandidateType.HOST, tcptype=TcpType.ACTIVE)
    agent.add_local_candidate(LocalCandidate(active, base), 0.0)
    agent.set_remote_credentials(UFRAG, PASSWORD, 0.0)
    passive = Candidate("r", 1, "tcp", 9, *REMOTE, CandidateType.HOST, tcptype=TcpType.PASSIVE)
    agent.add_remote_candidate(passive, 0.0)
    assert [item.transport for item in table.run(0.1)] == [Transport.TCP]
    key = (base, REMOTE, Transport.TCP)
    agent.path_opened(key, table.now)
    (check,) = table.run(0.1)
    assert (check.source, check.destination, check.transport) == key
    agent.path_lost(key, table.now)
    assert [item.state for item in agent.stats()] == ["failed"]
    # Nothing is known of others.
    agent.path_opened((base, REMOTE2, Transport.TCP), table.now)
    agent.path_lost((base, REMOTE2, Transport.TCP), table.now)
    assert table.run(1.0) == []


# How large a packet the path takes.


def packet(datagram: Datagram) -> int:
    """Bytes of the IP packet."""
    return len(datagram.data) + (48 if ":" in datagram.source.host else 28)


def is_filled(datagram: Datagram) -> bool:
    return is_check(datagram) and decode(datagram.data).has(attr.FILLER)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("ufrag", ["peer", "longer", "x" * 256])
def test_one_check_of_1200_bytes_measures_a_path(host: str, ufrag: str) -> None:
    here, there = Address(host, 5000), Address(f"{host[:-1]}2", 7000)
    table = new(known=False, locals=(LocalCandidate(candidate(here), here),), remotes=(candidate(there),))
    table.agent.set_remote_credentials(ufrag, PASSWORD, 0.0)
    assert [item.mtu for item in table.agent.stats()] == [None]
    table.serve(3.0)
    (filled,) = [datagram for _, datagram in table.sent if is_filled(datagram)]
    assert packet(filled) == 1200
    assert decode(filled.data).verify(PEER_KEY)
    assert [item.mtu for item in table.agent.stats()] == [PathMtu(1200)]


def test_a_narrow_path_is_measured_beside_everything_else() -> None:
    table, wide = connected(), connected()
    stats = table.agent.stats()
    table.serve(8.0, lambda datagram: packet(datagram) <= 900)
    wide.serve(8.0)
    (item,), (other,) = table.agent.stats(), wide.agent.stats()
    assert item.mtu is not None
    assert item.mtu.passed <= 900 < (item.mtu.lost or 0) <= item.mtu.passed + 48
    # Nothing but the result differs: no counter, no state, no event.
    assert replace(item, mtu=None) == replace(other, mtu=None)
    assert item.checks_sent > stats[0].checks_sent
    assert table.states == wide.states
    assert table.agent.dropped == 0


def test_the_measurement_neither_renews_consent_nor_ends_it() -> None:
    table = connected()
    table.serve(40.0, is_filled)
    # RFC 7675 §5.1: 30 s without an answer to a check of consent.
    assert table.agent.state is IceState.FAILED


@pytest.mark.parametrize("code", [420, 487, 500])
def test_a_refusal_has_arrived_and_changes_nothing(code: int) -> None:
    table = connected()
    (filled,) = [datagram for datagram in table.run(1.5) if is_filled(datagram)][:1]
    table.answer(filled, code=code)
    (item,) = table.agent.stats()
    assert (item.mtu, item.state, table.agent.controlling) == (PathMtu(1200), "succeeded", True)


def test_only_an_answer_of_the_peer_on_that_path_counts() -> None:
    table = connected()
    (filled,) = [datagram for datagram in table.run(1.5) if is_filled(datagram)][:1]
    table.answer(filled, password="of somebody else")
    table.answer(filled, source=REMOTE2)
    table.receive(failure(decode(filled.data), 401).encode(fingerprint=True))
    assert table.agent.stats()[0].mtu is None
    table.answer(filled)
    assert table.agent.stats()[0].mtu == PathMtu(1200)
    dropped = table.agent.dropped
    table.answer(filled)
    assert table.agent.dropped == dropped + 1


def test_what_the_system_refuses_to_send_did_not_arrive() -> None:
    table = connected()
    for _ in range(30):
        for datagram in table.run(0.2):
            if is_filled(datagram) and packet(datagram) > 1000:
                table.agent.unreachable(datagram, table.now)
            elif is_check(datagram):
                table.answer(datagram)
    (item,) = table.agent.stats()
    assert item.state == "succeeded"
    assert item.mtu is not None
    assert item.mtu.is_narrow


def test_a_peer_answers_filled_checks_as_others() -> None:
    table = connected()
    answer = table.check(attr.FILLER(bytes(1000)))
    assert answer.message_class is Class.SUCCESS
    assert len(answer.encode(PEER_KEY, fingerprint=True)) < 100


@settings(max_examples=150, deadline=None)
@given(st.booleans(), _steps)
def test_any_order_of_anything(controlling: bool, steps: list[tuple[object, ...]]) -> None:
    world = AnyOrder(controlling)
    for step in steps:
        try:
            match step:
                case ("message", what, source, base):
                    world.message(what, source, base)  # type: ignore[arg-type]
                case ("time", float(seconds)):
                    world.table.run(seconds)
                case ("remote", Address() as place, int(priority), ufrag):
                    world.agent.add_remote_candidate(candidate(place, priority), world.table.now, ufrag)  # type: ignore[arg-type]
                case ("call", str(what)):
                    world.call(what)
        except InvalidState:
            assert step[0] in ("call", "remote")
        world.table.drain()
        world.check()
    world.agent.close(world.table.now)
    assert world.agent.get_timer() is None
