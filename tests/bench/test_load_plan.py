from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.bench.load_plan import LoadPlan, mbit, needs_ownership
from icekit.errors import ConfigError


def test_without_a_ramp_there_is_one_step() -> None:
    assert list(LoadPlan(allocations=7, max_allocations=3).steps()) == [7]


@pytest.mark.parametrize(
    ("first", "most", "steps"),
    [(5, 20, [5, 10, 15, 20]), (5, 12, [5, 10, 12]), (5, 5, [5]), (10, 4, [4]), (1, 3, [1, 2, 3])],
)
def test_a_ramp(first: int, most: int, steps: list[int]) -> None:
    assert list(LoadPlan(allocations=first, max_allocations=most, ramp=True).steps()) == steps


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_a_ramp_grows_and_ends_at_the_bound(first: int, most: int) -> None:
    steps = list(LoadPlan(allocations=first, max_allocations=most, ramp=True).steps())
    assert steps == sorted(set(steps))
    assert steps[-1] == most
    assert all(later - earlier <= first for earlier, later in pairwise(steps))


@pytest.mark.parametrize(
    "wrong",
    [
        {"allocations": 0},
        {"allocations": 4001},
        {"rate": 0},
        {"rate": 1001},
        {"rate": float("nan")},
        {"size": 29},
        {"size": 1201},
        {"duration": 0},
        {"duration": float("inf")},
        {"max_allocations": 0},
        {"max_loss": 1.1},
        {"max_latency": 0},
    ],
)
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"{name.replace('_', '-')}: found .*, allowed: "):
        LoadPlan(**wrong)


def test_what_is_told_before_it_begins() -> None:
    plan = LoadPlan(allocations=20, rate=50, size=200, duration=10)
    assert plan.interval == 0.02
    assert plan.describe() == "20 allocations, 50 packets/s of 200 bytes each (1.6 Mbit/s each way), for 10 s"
    ramp = LoadPlan(allocations=20, rate=50, size=200, duration=10, ramp=True, max_allocations=500)
    assert ramp.describe() == (
        "20 allocations more every 10 s, 50 packets/s of 200 bytes each, until a limit, at most 500 allocations "
        "(40.0 Mbit/s each way)"
    )
    assert mbit(80_000) == "80 kbit/s"


@pytest.mark.parametrize(
    ("host", "needed"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.1.1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        # What laboratories use as the Internet counts as such.
        ("203.0.113.10", True),
        ("2001:db8::1", True),
        ("198.18.0.1", True),
        ("64:ff9b::a01:203", True),
        ("9.9.9.9", True),
        ("2620:fe::fe", True),
    ],
)
def test_whose_server_it_may_be(host: str, needed: bool) -> None:
    assert needs_ownership(host) is needed
