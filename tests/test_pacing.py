"""Slots for new transactions (RFC 8445 §14.2)."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from icekit.pacing import Floor, Pacer


def test_the_first_slot_is_free() -> None:
    assert Pacer(0.02, Floor(0.005)).free_at() == float("-inf")


def test_slots_of_one_agent_are_ta_apart() -> None:
    pacer = Pacer(0.02, Floor(0.005))
    pacer.take(1.0)
    assert pacer.free_at() == 1.02


def test_agents_of_one_process_share_the_floor() -> None:
    floor = Floor(0.005)
    one, other = Pacer(0.02, floor), Pacer(0.02, floor)
    one.take(1.0)
    assert (one.free_at(), other.free_at()) == (1.02, 1.005)
    other.take(1.005)
    assert one.free_at() == 1.02


def test_without_a_floor_agents_do_not_meet() -> None:
    floor = Floor(0.0)
    one, other = Pacer(0.005, floor), Pacer(0.005, floor)
    one.take(1.0)
    assert other.free_at() == 1.0


def test_a_slot_that_was_not_used_is_given_back() -> None:
    floor = Floor(0.005)
    pacer = Pacer(0.05, floor)
    pacer.take(1.0)
    pacer.give_back(1.0)
    assert pacer.free_at() == 1.0
    pacer.take(1.0)
    assert (pacer.free_at(), floor.next_at) == (1.05, 1.005)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 0.03)), max_size=60))
def test_a_process_never_starts_two_transactions_within_the_floor(turns: list[tuple[int, float]]) -> None:
    floor = Floor(0.005)
    pacers = [Pacer(ta, floor) for ta in (0.005, 0.02, 0.02, 0.05)]
    now, started, own = 0.0, [], [[] for _ in pacers]  # type: ignore[var-annotated]
    for index, pause in turns:
        now = max(now + pause, pacers[index].free_at())
        pacers[index].take(now)
        started.append(now)
        own[index].append(now)
    assert all(later - earlier >= 0.005 - 1e-9 for earlier, later in itertools.pairwise(started))
    for pacer, times in zip(pacers, own, strict=True):
        assert all(later - earlier >= pacer.ta - 1e-9 for earlier, later in itertools.pairwise(times))
