"""The pace of a session's gathering, against the rules of the RFCs."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

from icekit.candidate import Candidate, CandidateType
from icekit.gathering import Gatherer
from icekit.gathering_events import CandidateGathered, ServerAnswered
from icekit.net import Address
from icekit.session_gathering import SESSION_GATHERING, SessionGathering


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
