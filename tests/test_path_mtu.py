"""How large a packet a path takes: every path, lossy ones, slow ones and silent ones."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.path_mtu import WANTED_PACKET, PathMtu, PathMtuSearch

SMALLEST = 144


def measured(
    arrives: Callable[[int], bool], *, rtt: float = 0.04, delay: float | None = None
) -> tuple[PathMtuSearch, list[tuple[float, int]]]:
    """The search after half a minute on a path, with what it sent and when; ``delay``: of answers, if not ``rtt``."""
    search = PathMtuSearch(0.0, SMALLEST)
    sent: list[tuple[float, int]] = []
    waiting: list[tuple[float, int]] = []
    now = 0.0
    while (search.due is not None or waiting) and now < 60.0:
        now = max(now, min(when for when in (search.due, *(at for at, _ in waiting[:1])) if when is not None))
        if waiting and waiting[0][0] <= now:
            search.answered(waiting.pop(0)[1], now)
        elif (size := search.next_size(now, rtt)) is not None:
            sent.append((now, size))
            if arrives(size):
                waiting.append((now + (rtt if delay is None else delay), size))
            assert search.due is None or search.due > now
    return search, sent


@given(st.integers(SMALLEST, 1400))
def test_any_path(limit: int) -> None:
    search, sent = measured(lambda size: size <= limit)
    result = search.result
    assert result is not None
    assert result.is_narrow == (limit < WANTED_PACKET)
    assert all(size % 4 == 0 and SMALLEST <= size <= WANTED_PACKET for _, size in sent)
    if result.lost is None:
        assert (result.passed, len(sent)) == (WANTED_PACKET, 1)
    else:
        assert result.passed <= limit < result.lost <= result.passed + 48
        assert len(sent) <= 25
        assert sent[-1][0] <= 6.0


@pytest.mark.parametrize(("answers", "sent"), [(0, 33), (3, 33)])
def test_where_small_checks_are_lost_too_it_is_not_the_size(answers: int, sent: int) -> None:
    small = 0

    def arrives(size: int) -> bool:
        nonlocal small
        small += size == SMALLEST
        return size == SMALLEST and (small - 1) % 5 < answers

    search, out = measured(arrives)
    assert search.result is None
    assert search.due is None
    assert len(out) == sent


def test_four_answers_of_five_are_enough() -> None:
    small = 0

    def arrives(size: int) -> bool:
        nonlocal small
        small += size == SMALLEST
        return size == SMALLEST and small != 2

    result = measured(arrives)[0].result
    assert result is not None
    assert result.is_narrow


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.2])
def test_a_lossy_path_is_not_called_narrow(loss: float) -> None:
    source = random.Random(1)
    found = [measured(lambda size: source.random() >= loss)[0].result for _ in range(2000)]
    narrow = sum(result is not None and result.is_narrow for result in found)
    assert narrow <= (0 if loss < 0.2 else 2)
    assert sum(result is not None for result in found) >= 1950


@pytest.mark.parametrize("rtt", [0.0005, 0.3, 2.0])
def test_the_round_trip_is_waited_for(rtt: float) -> None:
    assert measured(lambda size: True, rtt=rtt)[0].result == PathMtu(WANTED_PACKET)
    narrow = measured(lambda size: size <= 900, rtt=rtt)[0].result
    assert narrow is not None
    assert narrow.is_narrow


@given(st.floats(0.0, 5.0), st.integers(SMALLEST, 1400))
def test_answers_that_are_late_count(delay: float, limit: int) -> None:
    result = measured(lambda size: size <= limit, rtt=0.01, delay=delay)[0].result
    if result is not None:
        assert result.passed <= limit
        assert result.is_narrow == (limit < WANTED_PACKET)


def test_a_late_answer_takes_a_loss_back() -> None:
    search, _ = measured(lambda size: size <= 500)
    assert search.result is not None
    search.answered(1000, 61.0)
    assert search.result == PathMtu(1000, WANTED_PACKET)
    search.answered(WANTED_PACKET, 62.0)
    assert search.result == PathMtu(WANTED_PACKET)
    assert search.due is None
    assert not search.result.is_narrow


def test_nothing_leaves_before_its_time() -> None:
    search = PathMtuSearch(6.0, SMALLEST)
    assert search.due == 6.0
    assert search.next_size(5.999, 0.04) is None
    assert search.next_size(6.0, 0.04) == WANTED_PACKET
    assert search.next_size(6.0, 0.04) is None
