"""Slots for new transactions (RFC 8445 §14.2)."""

from __future__ import annotations

import heapq
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.pacing import AT_ONCE, MIN_INTERVAL, Floor, Pacer


def test_the_first_slot_is_free() -> None:
    assert Pacer(0.02, Floor(0.005)).slot_at() == float("-inf")


def test_slots_of_one_agent_are_ta_apart() -> None:
    pacer = Pacer(0.02, Floor(0.005))
    pacer.take(1.0)
    assert pacer.slot_at() == 1.02


def test_a_repetition_takes_a_slot_that_is_nearly_over_and_leaves_the_next_one_whole() -> None:
    pacer = Pacer(0.02, Floor(0.005))
    assert pacer.slot_at(again=True) == AT_ONCE
    pacer.take(1.0)
    assert pacer.slot_at(again=True) == pytest.approx(1.035)
    pacer.take(1.035, again=True)
    assert pacer.slot_at() == pytest.approx(1.04)
    assert pacer.slot_at(again=True) == pytest.approx(1.055)


def test_at_the_least_interval_a_repetition_takes_a_slot_like_any_other() -> None:
    pacer = Pacer(MIN_INTERVAL, Floor())
    pacer.take(1.0)
    assert pacer.slot_at(again=True) == pacer.slot_at() == 1.005
    pacer.take(1.005, again=True)
    assert pacer.slot_at() == pytest.approx(1.01)


def test_what_goes_beside_takes_the_end_of_a_slot_and_leaves_the_next_one_whole() -> None:
    pacer = Pacer(0.02, Floor(0.005))
    assert pacer.slot_at(beside=True) == AT_ONCE
    pacer.take(1.0)
    assert pacer.slot_at(beside=True) == pytest.approx(1.015)
    pacer.take(1.015, beside=True)
    assert pacer.slot_at() == pytest.approx(1.02)
    pacer.take(1.02)
    # One in each Ta; after a repetition the least interval counts for it, too.
    assert pacer.slot_at(beside=True) == pytest.approx(1.035)
    pacer.take(1.055, again=True)
    assert pacer.slot_at(beside=True) == pytest.approx(1.06)


def test_at_the_least_interval_what_goes_beside_takes_a_slot_like_any_other() -> None:
    pacer = Pacer(MIN_INTERVAL, Floor())
    pacer.take(1.0)
    assert pacer.slot_at(beside=True) == pacer.slot_at() == 1.005
    pacer.take(1.005, beside=True)
    assert pacer.slot_at() == pytest.approx(1.01)


def test_agents_of_one_process_share_the_floor() -> None:
    floor = Floor(0.005)
    one, other = Pacer(0.02, floor), Pacer(0.02, floor)
    one.take(1.0)
    assert (one.slot_at(), other.slot_at()) == (1.02, 1.005)
    other.take(1.005)
    assert one.slot_at() == 1.02


def test_without_a_floor_agents_do_not_meet() -> None:
    floor = Floor(0.0)
    one, other = Pacer(0.005, floor), Pacer(0.005, floor)
    one.take(1.0)
    assert other.slot_at() == 1.0


def test_a_slot_that_was_not_used_is_given_back() -> None:
    floor = Floor(0.005)
    pacer = Pacer(0.05, floor)
    pacer.take(1.0)
    pacer.give_back(1.0)
    assert pacer.slot_at() == 1.0
    pacer.take(1.0)
    assert (pacer.slot_at(), floor.next_at) == (1.05, 1.005)


def is_paced(times: list[float], ta: float) -> bool:
    """One in each ``ta``: from any transaction to the n-th after it are n − 1 slots and the least interval."""
    return all(
        later - earlier >= (index - 1) * ta + min(ta, MIN_INTERVAL) - 1e-9
        for place, earlier in enumerate(times)
        for index, later in enumerate(times[place + 1 :], 1)
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 0.03), st.booleans()), max_size=60))
def test_a_process_never_starts_two_transactions_within_the_floor(turns: list[tuple[int, float, bool]]) -> None:
    floor = Floor(0.005)
    pacers = [Pacer(ta, floor) for ta in (0.005, 0.02, 0.02, 0.05)]
    now, started, own, new = 0.0, [], [[] for _ in pacers], [[] for _ in pacers]  # type: ignore[var-annotated]
    for index, pause, again in turns:
        now += pause
        while not pacers[index].may_start(now, again=again):
            now = max(now, pacers[index].slot_at(again=again))
        pacers[index].take(now, again=again)
        started.append(now)
        own[index].append(now)
        if not again:
            new[index].append(now)
    assert all(later - earlier >= 0.005 - 1e-9 for earlier, later in itertools.pairwise(started))
    for pacer, times, first in zip(pacers, own, new, strict=True):
        assert all(later - earlier >= pacer.ta - 1e-9 for earlier, later in itertools.pairwise(first))
        assert is_paced(times, pacer.ta)


def waiting(count: int, floor: Floor) -> list[Pacer]:
    """Agents that wait in line behind a transaction that has started at 1.0."""
    Pacer(0.005, floor).take(1.0)
    return [Pacer(0.02, floor) for _ in range(count)]


def test_agents_that_wait_stand_in_line() -> None:
    first, second, third = waiting(3, Floor(0.005))
    assert [pacer.slot_at() for pacer in (first, second, third)] == pytest.approx([1.005, 1.01, 1.015])
    # Asking again is no second place.
    assert second.slot_at() == pytest.approx(1.01)
    first.take(1.005)
    assert [pacer.slot_at() for pacer in (second, third)] == pytest.approx([1.01, 1.015])
    # Whoever starts late makes the others late, and its next one comes after theirs.
    second.take(1.1)
    assert (third.slot_at(), second.slot_at()) == (pytest.approx(1.105), pytest.approx(1.12))


def test_a_newcomer_does_not_overtake() -> None:
    floor = Floor(0.005)
    first, second, newcomer = waiting(3, floor)
    first.slot_at(), second.slot_at()
    assert newcomer.slot_at() == pytest.approx(1.015)


def test_who_does_not_come_costs_one_slot_and_nothing_later() -> None:
    floor = Floor(0.005)
    gone, second, third = waiting(3, floor)
    assert [pacer.slot_at() for pacer in (gone, second, third)] == pytest.approx([1.005, 1.01, 1.015])
    second.take(1.01)
    assert third.slot_at() == pytest.approx(1.015)
    # It comes after all: the next slot is its own.
    assert gone.slot_at() == pytest.approx(1.015)
    third.take(1.015)
    assert Pacer(0.02, floor).slot_at() <= 1.02


def test_a_repetition_waits_for_what_is_new_wherever_it_stands() -> None:
    floor = Floor(0.005)
    repeating, first, second = waiting(3, floor)
    assert [pacer.slot_at() for pacer in (first, second)] == pytest.approx([1.005, 1.01])
    assert not repeating.may_start(1.005, again=True)
    first.take(1.005)
    second.take(1.01)
    # It comes behind both, and finds the floor free.
    assert repeating.slot_at(again=True) == pytest.approx(1.015)
    assert repeating.may_start(1.016, again=True)
    repeating.take(1.016, again=True)
    assert not repeating.may_start(1.02, again=True)


def test_repetitions_come_one_by_one_and_those_that_are_answered_before_are_forgotten() -> None:
    floor = Floor(0.005)
    agents = waiting(100, floor)
    assert not any(pacer.may_start(1.001, again=True) for pacer in agents)
    times = [pacer.slot_at(again=True) for pacer in agents]
    assert times == pytest.approx([1.005 + 0.005 * number for number in range(100)])
    # All but the last were answered. Nobody waits for them, neither what is new nor later repetitions.
    newcomer, later = Pacer(0.02, floor), Pacer(0.02, floor)
    assert newcomer.may_start(1.02)
    newcomer.take(1.02)
    assert not agents[-1].may_start(1.03, again=True)
    assert agents[-1].may_start(times[-1], again=True)
    assert later.may_start(1.03, again=True)


def test_within_an_agent_what_is_new_goes_first() -> None:
    agent, other = waiting(2, Floor(0.005))
    other.slot_at()
    assert agent.slot_at() == agent.slot_at(again=True) == pytest.approx(1.01)


def test_a_place_is_taken_only_for_what_is_due_before_its_turn() -> None:
    floor = Floor(0.005)
    early, late = waiting(2, floor)
    assert late.slot_at(1.2) == 1.2
    assert early.slot_at() == pytest.approx(1.005)
    assert late.place is None


def test_a_thousand_agents_at_once_wake_up_for_their_own_slots() -> None:
    floor = Floor(0.005)
    agents = [Pacer(0.02, floor) for _ in range(1000)]
    timers = [(0.0, number) for number in range(1000)]
    started: list[float] = []
    woken = 0
    while timers:
        now, number = heapq.heappop(timers)
        # Each turn of the loop is a little late, as on a machine that does other things, too.
        now += 0.001
        woken += 1
        if agents[number].may_start(now):
            agents[number].take(now)
            started.append(now)
        else:
            heapq.heappush(timers, (agents[number].slot_at(), number))
    assert len(started) == 1000
    assert all(later - earlier >= 0.005 - 1e-9 for earlier, later in itertools.pairwise(started))
    assert started[-1] <= 1000 * 0.006 + 0.001
    assert woken <= 5 * 1000
