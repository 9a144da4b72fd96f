"""Results that nobody measured, for the tests of those who show results: good runs and every kind of bad one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from icekit.bench.samples import Header, Phase, Results, Sample, Setting

HEADER = Header(
    commit="1234567",
    python="3.11.2",
    machine="Example CPU",
    cores=2,
    date="2026-11-22T12:00:00+00:00",
    seed=1,
    versions={"icekit": "0.5", "aioice": "0.13.0", "wrtc": "0.1.3"},
    command="icekit bench --runs 20",
)
SETTING = Setting(engine="icekit", network="port-restricted", rtt=0.05, medium="sim")
LIMITS = {Phase.SRFLX: 0.05, Phase.FIRST_VALID: 0.15, Phase.SELECTED: 0.175}
# What an engine takes above the limit, in all, and when it begins to.
LATE = {"icekit": (0.001, Phase.FIRST_VALID), "aioice": (0.5, Phase.FIRST_CHECK), "wrtc": (0.1, Phase.SRFLX)}
STEPS = {
    Phase.FIRST_CANDIDATE: 0.0,
    Phase.OFFER: 0.001,
    Phase.SRFLX: 0.05,
    Phase.ANSWER: 0.05,
    Phase.FIRST_CHECK: 0.1,
    Phase.FIRST_VALID: 0.15,
    Phase.SELECTED: 0.175,
}
ORDER = list(Phase)
VALID = ORDER.index(Phase.FIRST_VALID)


def sample(setting: Setting = SETTING, run: int = 0, **values: object) -> Sample:
    """A run of icekit, as good as it can be."""
    phases = {phase: STEPS.get(phase) for phase in Phase}
    good = Sample(
        setting=setting,
        run=run,
        seed=run,
        phases=phases,
        limits=LIMITS,
        path="direct",
        direct_possible=True,
        same_pair=True,
        failure=None,
    )
    return replace(good, **values)  # type: ignore[arg-type]


def timed(times: Sequence[float | None], phase: Phase = Phase.SELECTED, setting: Setting = SETTING) -> list[Sample]:
    """A run for each time, which is that of one phase; ``None``: it failed."""
    return [
        sample(setting, run, phases={phase: time}, failure="no pair works" if time is None else None)
        for run, time in enumerate(times)
    ]


def results(samples: Sequence[Sample], header: Header = HEADER) -> Results:
    return Results(header=header, samples=tuple(samples))


def some_results(
    *,
    settings: Sequence[Setting] = (SETTING,),
    engines: Mapping[str, tuple[float, Phase]] = LATE,
    runs: int = 20,
    seed: int = 1,
) -> Results:
    """Every engine in every setting; the last of ``engines`` also fails, relays without need and splits the pair."""
    random = Random(seed)
    found = []
    for setting in settings:
        for engine, (late, since) in engines.items():
            for run in range(runs):
                delay = late * random.uniform(0.9, 1.3)
                phases = {
                    phase: time + (delay if ORDER.index(phase) >= ORDER.index(since) else 0.0)
                    for phase, time in STEPS.items()
                }
                one = sample(replace(setting, engine=engine), run, phases=phases)
                if engine == list(engines)[-1] and run % 10 == 9:
                    early = {phase: time for phase, time in phases.items() if ORDER.index(phase) < VALID}
                    one = replace(one, phases=early, failure="no pair works", path="none", same_pair=None)
                elif engine == list(engines)[-1] and run % 10 == 8:
                    one = replace(one, path="relay", same_pair=False)
                found.append(one)
    return results(found)
