"""The pace of a session's gathering, against the rules of the RFCs."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

from icekit.candidate import Candidate, CandidateType
from icekit.gathering import Gatherer
from icekit.gathering_events import CandidateGathered, ServerAnswered
from icekit.net import Address
from icekit.session_gathering import SESSION_GATHERING, Gatherings, SessionGathering


def test_identifiers_of_two_gatherings_are_apart() -> None:
    first, second = (SessionGathering(Gatherer(["192.0.2.1"], [], random.Random(1).randbytes), item) for item in (0, 1))
    assert first.owns_id(0)
    assert not second.owns_id(0)
    assert second.owns_id(second.first_id)
    assert not first.owns_id(second.first_id)
    assert not first.owns_id(-1)


def test_a_binding_is_kept_for_whoever_told_it_first_also_where_nothing_else_is_given() -> None:
    item = SessionGathering(Gatherer(["192.0.2.1"], [], random.Random(1).randbytes), 0)
    base, server = Address("192.0.2.1", 5000), Address("203.0.113.10", 3478)
    host = Candidate("1", 1, "udp", 2, base.host, base.port, CandidateType.HOST)
    item.found(base, CandidateGathered(host, base, None, None, 0.0))
    assert item.bindings == {}
    mapped = replace(host, type=CandidateType.SERVER_REFLEXIVE, address="198.51.100.1")
    item.found(base, CandidateGathered(mapped, base, "turn:203.0.113.10", server, 0.1))
    item.learn(ServerAnswered("stun:203.0.113.11", Address("203.0.113.11", 3478), base, None, (), 0.2))
    assert item.bindings == {base: server}
    (kept,) = item.keepalives(random.Random(2).randbytes)
    assert (kept.source, kept.destination) == (base, server)
    # Without a NAT there is no candidate, but a firewall that forgets.
    elsewhere = SessionGathering(Gatherer(["192.0.2.1"], [], random.Random(1).randbytes), 1)
    elsewhere.found(base, CandidateGathered(host, base, None, None, 0.0))
    elsewhere.learn(ServerAnswered("stun:203.0.113.10", server, base, base, (), 0.1))
    # A stream is no binding.
    elsewhere.learn(ServerAnswered("turn:203.0.113.10", server, Address("192.0.2.1", 6000), base, (), 0.1))
    assert elsewhere.bindings == {base: server}


def test_the_schedule_is_within_what_the_rfcs_allow() -> None:
    schedule, patience = SESSION_GATHERING.schedule, SESSION_GATHERING.patience
    gaps = [later - earlier for earlier, later in itertools.pairwise(schedule.offsets)]
    # RFC 8445 §14.3: the RTO is at least 500 ms. RFC 8489 §6.2.1: Rc is 7 transmissions.
    assert min(gaps) >= 0.5
    assert len(schedule.offsets) == 7
    assert gaps == sorted(gaps)
    # The last transmission has as long for its answer as anything before it.
    assert schedule.timeout - schedule.offsets[-1] >= max(gaps)
    assert schedule.timeout <= patience


BASES = Address("192.0.2.1", 5000), Address("192.0.2.1", 6000)


def numbered(*numbers: int) -> tuple[SessionGathering, ...]:
    """One of each number that has found one base, all of component 1."""
    made = []
    for number in numbers:
        made.append(SessionGathering(Gatherer(["192.0.2.1"], [], random.Random(1).randbytes), number))
        made[-1].bases.add(BASES[number % 2])
    return tuple(made)


def test_an_earlier_gathering_stays_as_long_as_it_carries_data() -> None:
    first, second, third = numbered(0, 1, 2)
    all_of_them = Gatherings((first,))
    all_of_them.replace((second,), [BASES[0]], 10.0)
    assert (list(all_of_them), all_of_them.in_use, first.closing) == ([second, first], (first,), False)
    all_of_them.leave(11.0, uses_old_pair=True)
    assert all_of_them.leave_at is None
    # A pair of the new generation carries the data; the peer may be slower to change.
    all_of_them.leave(12.0, uses_old_pair=False)
    assert all_of_them.leave_at == 17.0
    # A restart in between: nothing is left before the newest one carries data.
    all_of_them.replace((third,), [BASES[0]], 13.0)
    assert (all_of_them.in_use, all_of_them.leave_at, second.closing) == ((first,), None, True)
    all_of_them.leave(14.0, uses_old_pair=False)
    all_of_them.leave(18.9, uses_old_pair=False)
    assert not first.closing
    all_of_them.leave(19.0, uses_old_pair=False)
    assert (first.closing, third.closing, all_of_them.in_use) == (True, False, ())
    # They have nothing to give back.
    assert all_of_them.closing == [second, first]
    assert all_of_them.forget_closed()
    assert (list(all_of_them), all_of_them.closing) == ([third], [])
    assert not all_of_them.forget_closed()
    assert all_of_them.owner(third.first_id) is third
    assert all_of_them.owner(first.first_id) is None


def test_one_listener_serves_all_generations_of_its_component() -> None:
    first, second = numbered(0, 1)
    first.listeners.add(BASES[0])
    both = Gatherings((first,))
    both.replace((second,), [], 1.0)
    assert both.listener_on("192.0.2.1", 1) == BASES[0]
    assert both.listener_on("192.0.2.2", 1) is None
    assert both.listener_on("192.0.2.1", 2) is None
