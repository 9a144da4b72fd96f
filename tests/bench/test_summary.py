"""Percentiles, counts, who is first and where time is lost."""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.bench.samples import Phase
from icekit.bench.summary import Entry, Row, blocks, losses, percentile, ratios, summarise
from tests.bench.made import SETTING, sample, some_results, timed

TIMES = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(TIMES, st.floats(0, 1))
def test_percentiles_are_those_of_numpy(times: list[float], share: float) -> None:
    assert percentile(times, share) == pytest.approx(float(numpy.quantile(times, share)), rel=1e-9, abs=1e-9)


@given(TIMES.filter(lambda times: len(times) > 1))
def test_percentiles_are_those_of_the_standard_library(times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    for share in (50, 90, 99):
        assert percentile(times, share / 100) == pytest.approx(cuts[share - 1], rel=1e-9, abs=1e-9)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def rows_of(samples: list[object]) -> dict[Phase, Row]:
    return {row.phase: row for row in summarise(samples)}  # type: ignore[arg-type]


def test_a_row_counts_those_that_reached_the_phase() -> None:
    row = rows_of([*timed([0.2, 0.3, None, 0.4])])[Phase.SELECTED]
    assert (row.runs, row.n, row.failures) == (4, 3, 1)
    assert row.p50 == 0.3
    assert row.p90 == pytest.approx(0.38)
    assert row.limit == 0.175
    assert row.over == pytest.approx(0.125)
    empty = rows_of([*timed([0.2])])[Phase.OPEN]
    assert (empty.n, empty.p50, empty.p90, empty.p99, empty.limit, empty.over) == (0, *[None] * 5)


def test_what_is_over_the_limit_is_over_the_limit_of_its_own_run() -> None:
    # Sides that start at different times: no run takes more than its limit, though the medians differ.
    starts = [0.1, 0.2, 0.9]
    runs = [sample(run=run, phases={Phase.SELECTED: at}, limits={Phase.SELECTED: at}) for run, at in enumerate(starts)]
    assert rows_of([*runs])[Phase.SELECTED].over == 0.0


def test_a_relay_counts_where_it_was_not_needed() -> None:
    def count(**values: object) -> int:
        return rows_of([sample(**values)])[Phase.SELECTED].relay_though_direct  # type: ignore[arg-type]

    assert count(path="relay") == 1
    assert count(path="direct") == 0
    assert count(path="relay", direct_possible=False) == 0
    assert count(path="relay", setting=replace(SETTING, relay_only=True)) == 0


def test_two_pairs_count_only_where_they_are_known() -> None:
    runs = [sample(same_pair=value) for value in (True, False, None)]
    assert rows_of([*runs])[Phase.SELECTED].split == 1


def test_engines_of_a_condition_stand_together_the_fastest_first() -> None:
    settings = (SETTING, replace(SETTING, rtt=0.3))
    found = blocks(summarise(some_results(settings=settings).samples))
    assert [block.label for block in found] == [setting.label for setting in settings]
    for block in found:
        assert [entry.setting.engine for entry in block.entries] == ["icekit", "wrtc", "aioice"]
        assert block.goal is Phase.SELECTED
        assert block.limit(Phase.SELECTED) == 0.175
        assert block.limit(Phase.OPEN) is None
        assert Phase.RELAY not in block.phases


def test_an_engine_that_only_fails_does_not_set_the_goal() -> None:
    failed = timed([None, None], setting=replace(SETTING, engine="aioice"))
    (block,) = blocks(summarise([*failed, *timed([0.2])]))
    assert block.goal is Phase.SELECTED
    assert [entry.setting.engine for entry in block.entries] == ["icekit", "aioice"]


def test_the_goal_is_what_all_engines_tell() -> None:
    raw = timed([0.2], Phase.SELECTED)
    full = [sample(replace(SETTING, engine="aiortc"), phases={Phase.SELECTED: 0.2, Phase.OPEN: 0.3})]
    assert blocks(summarise([*raw, *full]))[0].goal is Phase.SELECTED
    assert blocks(summarise(full))[0].goal is Phase.SELECTED, "an open channel has no limit here"


def entry_over(over: dict[Phase, float]) -> Entry:
    limits = dict.fromkeys(over, 1.0)
    (block,) = blocks(summarise([sample(phases={phase: 1 + late for phase, late in over.items()}, limits=limits)]))
    return block.entries[0]


def lost(over: dict[Phase, float]) -> list[tuple[Phase, float]]:
    return [(loss.phase, round(loss.seconds, 6)) for loss in losses(entry_over(over), Phase.SELECTED)]


def test_a_loss_belongs_to_the_phase_that_it_came_with() -> None:
    assert lost({Phase.OFFER: 0.0, Phase.FIRST_CHECK: 0.48, Phase.SELECTED: 0.5}) == [
        (Phase.FIRST_CHECK, 0.48),
        (Phase.SELECTED, 0.02),
    ]


def test_what_is_made_up_later_is_no_loss() -> None:
    assert lost({Phase.ANSWER: 0.4, Phase.FIRST_CHECK: 0.0, Phase.SELECTED: 0.01}) == [(Phase.SELECTED, 0.01)]
    assert lost({Phase.ANSWER: 0.4, Phase.SELECTED: -0.01}) == []


def test_a_late_candidate_is_no_loss_by_itself() -> None:
    assert lost({Phase.RELAY: 0.4, Phase.SELECTED: 0.4}) == [(Phase.SELECTED, 0.4)]


@given(st.dictionaries(st.sampled_from(list(Phase)[4:9]), st.floats(-1, 1)))
def test_losses_add_up_to_what_is_over_the_limit(over: dict[Phase, float]) -> None:
    found = losses(entry_over(over), Phase.SELECTED)
    assert all(loss.seconds > 0 for loss in found)
    last = over[max(over, key=list(Phase).index)] if over else 0.0
    assert sum(loss.seconds for loss in found) == pytest.approx(max(0.0, last))


def test_the_best_other_engine_beside_icekit() -> None:
    found = {ratio.phase: ratio for ratio in ratios(summarise(some_results().samples))}
    assert found.keys() == {Phase.FIRST_VALID, Phase.SELECTED}
    selected = found[Phase.SELECTED]
    assert selected.other == "wrtc"
    assert selected.ratio == pytest.approx(selected.theirs / selected.ours)
    assert selected.ratio > 1


def test_who_mostly_fails_and_who_is_ours_is_no_rival() -> None:
    def beside(engine: str, times: list[float | None]) -> tuple[object, ...]:
        other = timed(times, setting=replace(SETTING, engine=engine))
        return ratios(summarise([*timed([0.2, 0.2]), *other]))

    assert len(beside("aioice", [0.1, 0.1])) == 1
    assert beside("aioice", [0.1, None]) == ()
    assert beside("icekit_ice", [0.1, 0.1]) == ()


def test_who_makes_calls_of_ice_alone_is_ours_too() -> None:
    alone, other = (timed([0.2], setting=replace(SETTING, engine=name)) for name in ("icekit_ice", "aioice"))
    assert [ratio.other for ratio in ratios(summarise([*alone, *other]))] == ["aioice"]


def test_whole_calls_and_ice_alone_have_their_own_goals() -> None:
    """Both have a pair to select; what follows takes those longer that encrypt it."""
    raw = {Phase.SELECTED: 0.1, Phase.DATA: 0.1}
    whole = {Phase.SELECTED: 0.1, Phase.DTLS: 0.2, Phase.DATA: 0.3}
    engines = {"icekit": whole, "aiortc": whole, "icekit_ice": raw, "aioice": raw}
    late = {"icekit": 0.01, "aiortc": 0.2, "icekit_ice": 0.01, "aioice": 0.1}
    runs = [
        sample(
            replace(SETTING, engine=name),
            phases={phase: limit + late[name] for phase, limit in limits.items()},
            limits=limits,
        )
        for name, limits in engines.items()
    ]
    rows = summarise(runs)
    calls, ice = blocks(rows)
    assert [calls.label, ice.label] == [f"{SETTING.label}, whole calls", f"{SETTING.label}, ICE alone"]
    assert calls.goal is ice.goal is Phase.DATA
    assert (calls.limit(Phase.DATA), ice.limit(Phase.DATA)) == (0.3, 0.1)
    assert [entry.setting.engine for entry in calls.entries] == ["icekit", "aiortc"]
    found = [(ratio.kind, ratio.phase, ratio.other, round(ratio.ratio or 0, 2)) for ratio in ratios(rows)]
    assert found == [
        ("", Phase.SELECTED, "aioice", 1.82),
        ("whole calls", Phase.DATA, "aiortc", 1.61),
        ("ICE alone", Phase.DATA, "aioice", 1.82),
    ]


def test_sound_waits_for_no_data_channel() -> None:
    limits = {Phase.SELECTED: 0.1, Phase.DTLS: 0.2, Phase.OPEN: 0.3, Phase.DATA: 0.3, Phase.MEDIA: 0.2}
    over = {Phase.SELECTED: 0.0, Phase.DTLS: 0.01, Phase.OPEN: 0.4, Phase.DATA: 0.5, Phase.MEDIA: 0.03}
    setting = replace(SETTING, media=True, medium="lab")
    times = {phase: limit + over[phase] for phase, limit in limits.items()}
    (block,) = blocks(summarise([sample(setting, phases=times, limits=limits)]))
    assert block.goal is Phase.MEDIA
    (entry,) = block.entries
    found = {goal: [(loss.phase, round(loss.seconds, 6)) for loss in losses(entry, goal)] for goal in limits}
    assert found[Phase.MEDIA] == [(Phase.DTLS, 0.01), (Phase.MEDIA, 0.02)]
    assert found[Phase.DATA] == [(Phase.DTLS, 0.01), (Phase.OPEN, 0.39), (Phase.DATA, 0.1)]


def test_no_time_has_no_ratio() -> None:
    other = timed([0.0], setting=replace(SETTING, engine="aioice"))
    (found,) = ratios(summarise([*timed([0.0]), *other]))
    assert found.ratio is None
