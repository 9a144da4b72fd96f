"""The pace of a session's gathering, against the rules of the RFCs."""

from __future__ import annotations

import itertools
import random

from icekit.gathering import Gatherer
from icekit.session_gathering import SESSION_GATHERING, SessionGathering


def test_identifiers_of_two_gatherings_are_apart() -> None:
    first, second = (SessionGathering(Gatherer(["192.0.2.1"], [], random.Random(1).randbytes), item) for item in (0, 1))
    assert first.owns_id(0)
    assert not second.owns_id(0)
    assert second.owns_id(second.first_id)
    assert not first.owns_id(second.first_id)
    assert not first.owns_id(-1)


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
