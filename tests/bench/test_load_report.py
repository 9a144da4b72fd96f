"""What counts as too much, and how it is told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.bench.load_plan import LoadPlan
from icekit.bench.load_report import (
    Distribution,
    Limit,
    LimitKind,
    Released,
    Spread,
    Step,
    Tally,
    Throughput,
    Traffic,
    conclude,
    held_allocations,
    judge,
    make_step,
    percent,
)
from icekit.report import Severity

PLAN = LoadPlan(allocations=10, rate=10, size=100, duration=10)
GOOD = Step(
    allocations=10,
    sent=1000,
    received=1000,
    lost_out=0,
    lost_back=0,
    duplicates=0,
    unsent=0,
    lost_allocations=0,
    latency=Spread(0.02, 0.03, 0.04, 0.05),
    jitter=Spread(0.001, 0.001, 0.002, 0.002),
    loss=Spread(0.0, 0.0, 0.0, 0.0),
    throughput=Throughput(70e3, 79e3, 80e3),
    late=Spread(0.0, 0.0, 0.001, 0.002),
    busy=0.2,
)
ALL_BACK = Released(opened=10, released=10, lost=0, lifetime=600)


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=300), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_right_to_half_a_percent(values: list[float], part: float) -> None:
    found = Distribution()
    for value in values:
        found.add(value)
    exact = sorted(values)[max(math.ceil(part * len(values)) - 1, 0)]
    assert found.percentile(part) == pytest.approx(exact, rel=0.006)
    assert found.spread.max == max(values)


def test_a_distribution_of_nothing_and_of_nonsense() -> None:
    found = Distribution()
    assert found.spread == Spread(None, None, None, None)
    assert Spread.of([]) == Spread(None, None, None, None)
    assert Throughput.of([]) == Throughput(None, None, None)
    found.add(-1.0)
    found.add(0.0)
    assert found.spread == Spread(0, 0, 0, 0)


def test_memory_does_not_grow_with_what_is_counted() -> None:
    found = Distribution()
    for number in range(20_000):
        found.add(number / 200)
    assert len(found._buckets) < 2000
    assert found.percentile(0.5) == pytest.approx(50, rel=0.01)


def test_percentiles_of_exact_values() -> None:
    assert Spread.of(range(1, 101)) == Spread(50, 90, 99, 100)
    assert Throughput.of(range(1, 101)) == Throughput(1, 10, 50)
    assert Spread.of([7.0]) == Spread(7, 7, 7, 7)


def test_throughput_is_of_whole_seconds_without_the_first() -> None:
    tally = Tally(100.0, 3.5)
    for second, packets in enumerate((1, 10, 20, 3)):
        for _ in range(packets):
            tally.take(0.01, 100.0 + second + 0.5)
    assert tally.throughput(100) == Throughput(8000, 8000, 8000)
    # What comes when the step is over is of no second.
    tally.take(0.01, 200.0)
    assert sum(tally.arrived) == 34
    short = Tally(100.0, 0.5)
    short.take(0.01, 100.2)
    assert short.throughput(100) == Throughput(1600, 1600, 1600)


def test_a_step_is_put_together() -> None:
    tally = Tally(0.0, 10)
    for _ in range(18):
        tally.take(0.02, 1.0)
    step = make_step(PLAN, tally, [Traffic(10, 9, 8, 0.001), Traffic(10, 12, 10, 0.003)], lost_allocations=0, busy=0.1)
    assert (step.allocations, step.sent, step.received, step.lost_out, step.lost_back) == (2, 20, 18, 0, 2)
    assert step.loss.max == pytest.approx(0.2)
    assert step.jitter.max == 0.003
    assert step.total_loss == pytest.approx(0.1)
    assert step.reason == {}


def test_what_was_not_measured_has_a_reason() -> None:
    nothing = make_step(PLAN, Tally(0.0, 1), [Traffic(10, 0, 0, None)], lost_allocations=0, busy=0.1)
    assert nothing.latency.p50 is None
    assert nothing.reason == {"latency": "no packet came back", "jitter": "no packet came back"}
    assert (nothing.lost_out, nothing.lost_back) == (10, 0)
    one = Tally(0.0, 1)
    one.take(0.1, 0.5)
    single = make_step(PLAN, one, [Traffic(1, 1, 1, None)], lost_allocations=0, busy=0.1)
    assert list(single.reason) == ["jitter"]
    assert make_step(PLAN, Tally(0.0, 1), [Traffic(0, 0, 0, None)], lost_allocations=0, busy=0.1).total_loss == 0


BAD = {
    "loss": replace(GOOD, received=980, lost_out=15, lost_back=5),
    "latency": replace(GOOD, latency=Spread(0.1, 0.2, 0.3, 0.4)),
    "lost": replace(GOOD, lost_allocations=2, received=100),
    # Whatever else is wrong, the sender has to be able to do what was asked for.
    "late": replace(GOOD, late=Spread(0.0, 0.0, 0.2, 0.3), received=500),
    "unsent": replace(GOOD, unsent=20, received=500),
    "waiting": replace(GOOD, latency=Spread(0.1, 0.2, 0.3, 0.4), late=Spread(0.0, 0.0, 0.025, 0.1)),
    "busy": replace(GOOD, busy=0.97, received=500),
}


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("loss", LimitKind.LOSS, "2 % of 1000 packets were lost: 15 on the way to the peer, 5 on the way back"),
        ("latency", LimitKind.LATENCY, "1 % of the packets took more than 300 ms"),
        ("lost", LimitKind.LOST, "2 of them ended during the step"),
        ("late", LimitKind.SENDER, "1 % of the packets left this machine more than 200 ms late"),
        ("unsent", LimitKind.SENDER, "this machine was too late for 20 of 1020 packets, and left them out"),
        ("waiting", LimitKind.SENDER, "1 % of the packets took more than 300 ms, but this machine was 25.0 ms late"),
        ("busy", LimitKind.SENDER, "this machine was busy with sending and counting for 97 % of the time"),
    ],
)
def test_what_is_too_much(name: str, kind: LimitKind, words: str) -> None:
    assert judge(PLAN, BAD[name]) == Limit(kind, 10, words)


@pytest.mark.parametrize(
    "step",
    [
        GOOD,
        replace(GOOD, received=990),
        replace(GOOD, latency=Spread(0.1, 0.2, 0.25, 1.0)),
        replace(GOOD, busy=1.0),
        replace(GOOD, late=Spread(0.0, 0.0, 0.125, 1.0), unsent=10),
        replace(GOOD, duplicates=500),
    ],
)
def test_what_is_not(step: Step) -> None:
    assert judge(PLAN, step) is None


def test_what_holds_is_the_greatest_good_step() -> None:
    steps = [GOOD, replace(GOOD, allocations=20), replace(BAD["loss"], allocations=30)]
    assert held_allocations(PLAN, steps) == 20
    assert held_allocations(PLAN, steps[2:]) == 0


def test_a_server_that_holds() -> None:
    verdict = conclude(PLAN, [GOOD], None, ALL_BACK, interrupted=False)
    assert (verdict.code, verdict.severity) == ("OK", Severity.OK)
    assert verdict.summary == (
        "10 allocations with 10 packets/s of 100 bytes each hold: nothing lost, there and back in 20.0 ms "
        "(p99 40.0 ms), 80 kbit/s back; all 10 allocations are released"
    )


REFUSED = Limit(LimitKind.REFUSED, 12, "486 Allocation Quota Reached", 486)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (REFUSED, "with 12 allocations open the server refused another one (486 Allocation Quota Reached)"),
        (Limit(LimitKind.REFUSED, 0, "401 Bad", 401), "the server gave no allocation at all (401 Bad)"),
        (Limit(LimitKind.NO_PATH, 0, "lost"), "no allocation could be used: lost"),
        (Limit(LimitKind.NO_PATH, 3, "lost"), "with 3 allocations open another one could not be used: lost"),
        (Limit(LimitKind.LOST, 3, "gone"), "with 3 allocations the server, or the connection to it, gave up: gone"),
        (Limit(LimitKind.LOSS, 3, "much"), "with 3 allocations it lost too much (more than 1 %): much"),
        (Limit(LimitKind.LATENCY, 3, "slow"), "with 3 allocations it was too slow (more than 250 ms): slow"),
        (Limit(LimitKind.SENDER, 3, "busy"), "with 3 allocations the limit is not the server's: busy; send less often"),
    ],
)
def test_every_limit_is_a_sentence(limit: Limit, words: str) -> None:
    verdict = conclude(PLAN, [], limit, Released(0, 0, 0, 0), interrupted=False)
    assert (verdict.code, verdict.severity) == (limit.kind.value.upper(), Severity.ERROR)
    assert verdict.summary.startswith(words)


def test_a_limit_is_what_a_ramp_looks_for() -> None:
    ramp = replace(PLAN, ramp=True)
    assert conclude(ramp, [GOOD], REFUSED, ALL_BACK, interrupted=False).code == "OK"
    assert conclude(PLAN, [GOOD], REFUSED, ALL_BACK, interrupted=False).code == "REFUSED"
    assert conclude(ramp, [BAD["loss"]], judge(ramp, BAD["loss"]), ALL_BACK, interrupted=False).code == "LOSS"


def test_what_is_not_released_is_told_and_no_success() -> None:
    for released, words in (
        (Released(10, 9, 0, 600), "1 allocation was not confirmed as released and ends by itself within 600 s"),
        (Released(10, 3, 5, 600), "2 allocations were not confirmed as released and end by themselves within 600 s"),
    ):
        verdict = conclude(PLAN, [GOOD], None, released, interrupted=False)
        assert (verdict.code, verdict.severity) == ("NOT-RELEASED", Severity.ERROR)
        assert words in verdict.summary
    lost = conclude(PLAN, [GOOD], None, Released(10, 8, 2, 600), interrupted=False)
    assert "8 of 10 allocations are released, the others had ended" in lost.summary


def test_an_interrupted_test_says_so() -> None:
    assert conclude(PLAN, [], None, Released(0, 0, 0, 0), interrupted=True).code == "INTERRUPTED"
    assert "before the end" in conclude(PLAN, [GOOD], None, ALL_BACK, interrupted=True).summary


def test_parts_for_people() -> None:
    assert [percent(part) for part in (0, 0.01, 0.0123, 1)] == ["0 %", "1 %", "1.23 %", "100 %"]
