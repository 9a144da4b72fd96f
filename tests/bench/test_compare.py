"""What got slower: said only where it is sure, and a reason where nothing can be said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.bench.compare import (
    LEAST_RUNS,
    Change,
    Comparison,
    CountChange,
    TimeChange,
    compare,
    fisher_test,
    rank_test,
    sign_test,
)
from tests.bench.made import HEADER, SETTING, results, sample, some_results, timed

LAB = replace(SETTING, medium="lab")


def noise(seed: int, count: int = 20, *, middle: float = 0.2, width: float = 0.02) -> list[float]:
    random = Random(seed)
    return [random.uniform(middle - width / 2, middle + width / 2) for _ in range(count)]


def between(old: Sequence[float | None], new: Sequence[float | None], setting: object = LAB) -> Comparison:
    return compare(results(timed(old, setting=setting)), results(timed(new, setting=setting)))  # type: ignore[arg-type]


def time_change(old: Sequence[float | None], new: Sequence[float | None], setting: object = LAB) -> TimeChange:
    (change,) = between(old, new, setting).times
    return change


def count_change(old: int, new: int, runs: int = 20) -> CountChange:
    before = [None] * old + [0.2] * (runs - old)
    after = [None] * new + [0.2] * (runs - new)
    (change,) = between(before, after).counts
    return change


@pytest.mark.parametrize(("shift", "change"), [(0.05, Change.SLOWER), (-0.05, Change.FASTER)], ids=["slower", "faster"])
def test_a_clear_shift_is_found_with_its_interval(shift: float, change: Change) -> None:
    found = time_change(noise(1), [time + shift for time in noise(2)])
    assert found.change is change
    assert found.low is not None
    assert found.high is not None
    assert found.low < shift < found.high
    assert (found.runs_old, found.runs_new, found.paired) == (20, 20, False)


def test_noise_alone_is_no_change() -> None:
    assert time_change(noise(1, width=0.002), noise(2, width=0.002)).change is Change.SAME
    assert time_change(noise(1, width=0.1), noise(2, width=0.1)).change is Change.UNCLEAR


def test_a_difference_that_does_not_matter_is_none() -> None:
    found = time_change(noise(1, width=0.0005), [time + 0.002 for time in noise(2, width=0.0005)])
    assert found.p is not None
    assert found.p < 0.001
    assert found.change is Change.SAME


def test_too_few_runs_are_no_comparison() -> None:
    found = time_change(noise(1, LEAST_RUNS - 1), noise(2, 20, middle=5))
    assert found.change is Change.NOT_COMPARABLE
    assert found.reason == "too few runs: 7 and 20, 8 each are wanted"
    assert found.difference is None
    assert time_change(noise(1, LEAST_RUNS), noise(2, LEAST_RUNS, middle=5)).change is Change.SLOWER


@pytest.mark.parametrize("other", [replace(HEADER, machine="Another CPU"), replace(HEADER, cores=64)])
def test_real_times_of_another_machine_are_not_compared(other: object) -> None:
    old = results(timed([*noise(1), None], setting=LAB))
    found = compare(old, results(timed([*noise(2, middle=5), None], setting=LAB), other))  # type: ignore[arg-type]
    assert [item.change for item in (*found.times, *found.counts)] == [Change.NOT_COMPARABLE] * 2
    assert found.times[0].reason.startswith("measured on different machines: Example CPU (2 cores), ")


def test_virtual_times_are_the_same_on_every_machine() -> None:
    old, new = some_results(), some_results(seed=2)
    found = compare(old, replace(new, header=replace(HEADER, machine="Another CPU")))
    assert all(item.change is not Change.NOT_COMPARABLE for item in found.times)


def test_the_same_virtual_runs_are_compared_one_by_one() -> None:
    # From run to run far more differs than from file to file.
    old = noise(1, width=0.4)
    new = [time + 0.008 + 0.001 * (run % 3) for run, time in enumerate(old)]
    found = time_change(old, new, SETTING)
    assert found.paired
    assert found.change is Change.SLOWER
    assert found.low == pytest.approx(0.008)
    assert found.high == pytest.approx(0.010, abs=0.001)
    assert time_change(old, new).change is Change.UNCLEAR


def test_virtual_runs_of_other_seeds_are_not_paired() -> None:
    new = [replace(item, seed=item.seed + 100) for item in timed(noise(2, middle=0.3))]
    (found,) = compare(results(timed(noise(1))), results(new)).times
    assert not found.paired
    assert found.change is Change.SLOWER


@pytest.mark.parametrize(("shift", "change"), [(0.014, Change.SLOWER), (0.0, Change.SAME)])
def test_virtual_runs_that_all_differ_by_as_much_need_no_statistics(shift: float, change: Change) -> None:
    old = noise(1, 3)
    found = time_change(old, [time + shift for time in old], SETTING)
    assert found.change is change
    assert found.low == found.high == pytest.approx(shift)
    assert found.p is None


def test_a_run_that_failed_in_one_file_has_no_pair() -> None:
    old: list[float | None] = [*noise(1, 10)]
    new = [None if time is None else time + 0.1 for time in old]
    new[3] = None
    found = time_change(old, new, SETTING)
    assert (found.runs_old, found.runs_new, found.change) == (10, 9, Change.SLOWER)


def test_failures_are_compared_apart() -> None:
    assert count_change(0, 15).change is Change.MORE
    assert count_change(15, 0).change is Change.FEWER
    assert count_change(1, 3).change is Change.UNCLEAR
    assert count_change(3, 3).change is Change.SAME
    few = count_change(1, 3, runs=5)
    assert (few.change, few.reason) == (Change.NOT_COMPARABLE, "too few runs: 5 and 5, 8 each are wanted")


def test_virtual_runs_that_end_in_the_same_way_need_no_statistics() -> None:
    (same,) = between([None, 0.2], [None, 0.2], SETTING).counts
    assert (same.change, same.p) == (Change.SAME, None)
    (other,) = between([None, 0.2], [0.2, None], SETTING).counts
    assert other.change is Change.NOT_COMPARABLE


def test_relays_and_split_pairs_are_counted_too() -> None:
    old = [sample(LAB, run) for run in range(20)]
    new = [sample(LAB, run, path="relay", same_pair=False) for run in range(20)]
    found = compare(results(old), results(new))
    assert [(item.what, item.old, item.new, item.change) for item in found.counts] == [
        ("relay though direct", 0, 20, Change.MORE),
        ("two pairs", 0, 20, Change.MORE),
    ]


def test_settings_of_one_file_alone_are_named() -> None:
    other = replace(LAB, rtt=0.3)
    found = compare(results(timed([0.1], setting=LAB)), results(timed([0.1], setting=other)))
    assert (found.times, found.only_old, found.only_new) == ((), (LAB,), (other,))


def test_a_file_compared_with_itself_has_no_change() -> None:
    found = compare(some_results(), some_results())
    assert {item.change for item in (*found.times, *found.counts)} == {Change.SAME}


def test_the_same_files_give_the_same_answer() -> None:
    old, new = (results(timed(noise(seed, width=0.1), setting=LAB)) for seed in (1, 2))
    assert compare(old, new) == compare(old, new)


def test_a_hundred_settings_of_noise_give_no_alarm() -> None:
    """Each alone would be called a change in one of twenty cases."""
    settings = [replace(LAB, rtt=rtt / 1000) for rtt in range(100)]
    old, new = (
        results(
            [one for at, setting in enumerate(settings) for one in timed(noise(at + base, width=0.1), setting=setting)]
        )
        for base in (0, 1000)
    )
    changes = [item.change for item in compare(old, new).times]
    assert changes.count(Change.SLOWER) + changes.count(Change.FASTER) <= 1


# --- the tests of statistics, against their definitions ---------------------------------------------------------------


def every_split(one: Sequence[float], other: Sequence[float]) -> float:
    """The exact p: of all ways to divide the values, those in which the ranks are as uneven as they are."""
    ordered = sorted([*one, *other])
    ranks = [ordered.index(value) + 1 for value in (*one, *other)]
    middle = len(one) * (len(ranks) + 1) / 2
    seen = abs(sum(ranks[: len(one)]) - middle)
    splits = [abs(sum(chosen) - middle) for chosen in itertools.combinations(ranks, len(one))]
    return sum(distance >= seen for distance in splits) / len(splits)


@pytest.mark.parametrize("shift", [0.0, 0.005, 0.01, 0.015])
def test_the_test_of_ranks_is_close_to_counting_all_cases(shift: float) -> None:
    one, other = noise(3, 8), [time + shift for time in noise(4, 8)]
    assert rank_test(one, other) == pytest.approx(every_split(one, other), abs=0.02)


def test_ties_are_those_of_scipy() -> None:
    # scipy.stats.mannwhitneyu(one, other, method="asymptotic"), scipy 1.17
    one, other = [1.0, 1, 2, 2, 3, 3, 4, 4], [2.0, 2, 3, 3, 3, 4, 5, 5]
    assert rank_test(one, other) == pytest.approx(0.21459122712028633, rel=1e-12)


def test_ranks_of_equal_values_tell_nothing() -> None:
    assert rank_test([1.0] * 8, [1.0] * 8) == 1.0


@given(st.lists(st.floats(-5, 5), min_size=1), st.lists(st.floats(-5, 5), min_size=1))
def test_the_test_of_ranks_has_no_sides(one: list[float], other: list[float]) -> None:
    assert rank_test(one, other) == pytest.approx(rank_test(other, one))
    assert 0 <= rank_test(one, other) <= 1


def test_signs_are_those_of_a_coin() -> None:
    assert sign_test([1.0] * 8) == pytest.approx(2 / 2**8)
    assert sign_test([1.0] * 7 + [-1.0]) == pytest.approx(2 * (1 + 8) / 2**8)
    assert sign_test([0.0] * 5) == 1.0
    assert sign_test([1.0, -1.0]) == 1.0


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_fisher_counts_the_tables(of_one: int, of_other: int, data: st.DataObject) -> None:
    one, other = data.draw(st.integers(0, of_one)), data.draw(st.integers(0, of_other))

    def share(count: int) -> float:
        rest = one + other - count
        ways = math.comb(of_one, count) * math.comb(of_other, rest) if rest >= 0 else 0
        return ways / math.comb(of_one + of_other, one + other)

    expected = sum(share(count) for count in range(of_one + 1) if share(count) <= share(one) * (1 + 1e-9))
    assert fisher_test(one, of_one, other, of_other) == pytest.approx(expected)


def test_fisher_of_the_lady_who_tastes_tea() -> None:
    # Fisher 1935: three of four right is 17/70 on one side, and as much on the other.
    assert fisher_test(3, 4, 1, 4) == pytest.approx(34 / 70)
