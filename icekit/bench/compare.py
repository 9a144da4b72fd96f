"""What got slower between two files of results, and how sure that is.

Medians are compared: the interval is that of a bootstrap (percentiles of 2,000 resamples, seeded), the test is one of
ranks (Mann-Whitney with correction for ties), or the exact sign test where both files have the same virtual runs,
which are compared run by run. Failures and relays are counted, and compared with Fisher's exact test. A table of a
thousand phases has false alarms by chance: of what is called a change, 5 % at most are expected to be one (Benjamini
and Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from math import comb, erfc, sqrt
from random import Random
from typing import ClassVar, Final

from icekit.bench.samples import Header, Phase, Results, Sample, Setting
from icekit.bench.summary import is_relay_though_direct, percentile

CONFIDENCE: Final = 0.95
LEAST_RUNS: Final = 8
"""With fewer runs a side the median's interval means nothing, and a test of ranks can hardly tell."""
LEAST_SECONDS: Final = 0.001
LEAST_SHARE: Final = 0.02
"""A difference below both a millisecond and 2 % of the old median is none, however sure it is."""

_RESAMPLES = 2_000
_EXACT = 1e-9
"""Seconds; virtual times that should be equal differ by rounding."""


class Change(StrEnum):
    """What can be said. ``SAME``: the interval has no difference that matters. ``UNCLEAR``: it has some, and zero."""

    SLOWER = "slower"
    FASTER = "faster"
    MORE = "more"
    FEWER = "fewer"
    SAME = "same"
    UNCLEAR = "unclear"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeChange:
    """One phase of one setting. Seconds; ``low`` and ``high`` hold the difference of the medians with 95 % confidence.

    ``runs_old``, ``runs_new``  those that reached the phase; ``paired``: the same virtual runs, compared one by one
    ``p``       of the test; ``None``: every pair of virtual runs differs by as much, nothing is left to chance
    ``reason``  why it is not comparable
    """

    setting: Setting
    phase: Phase
    change: Change
    runs_old: int
    runs_new: int
    old: float
    new: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    paired: bool = False
    p: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CountChange:
    """How many runs of a setting ended badly: ``what`` is ``failed``, ``relay though direct`` or ``two pairs``."""

    setting: Setting
    what: str
    change: Change
    old: int
    runs_old: int
    new: int
    runs_new: int
    p: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two files beside each other. ``only_old``, ``only_new``: settings that the other one has not."""

    _schema: ClassVar = "icekit/bench-compare/1"

    old: Header
    new: Header
    times: tuple[TimeChange, ...]
    counts: tuple[CountChange, ...]
    only_old: tuple[Setting, ...]
    only_new: tuple[Setting, ...]


def compare(old: Results, new: Results) -> Comparison:
    """What of the new results differs from the old ones, for every setting that both have."""
    before, after = _by_setting(old), _by_setting(new)
    both = [setting for setting in after if setting in before]
    times: list[TimeChange] = []
    counts: list[CountChange] = []
    for setting in both:
        reason = _reason(setting, old.header, new.header)
        times += [
            change for phase in Phase for change in _time(setting, phase, before[setting], after[setting], reason)
        ]
        counts += list(_counts(setting, before[setting], after[setting], reason))
    ps = [*(item.p for item in times), *(item.p for item in counts)]
    level = _level([p for p in ps if p is not None])
    return Comparison(
        old=old.header,
        new=new.header,
        times=tuple(_judged_time(item, level) for item in times),
        counts=tuple(_judged_count(item, level) for item in counts),
        only_old=tuple(setting for setting in before if setting not in after),
        only_new=tuple(setting for setting in after if setting not in before),
    )


def _by_setting(results: Results) -> dict[Setting, list[Sample]]:
    found: dict[Setting, list[Sample]] = {}
    for sample in results.samples:
        found.setdefault(sample.setting, []).append(sample)
    return found


def _reason(setting: Setting, old: Header, new: Header) -> str:
    """Why real times of these two files cannot be compared; virtual ones are the same on every machine."""
    if setting.medium == "sim" or (old.machine, old.cores) == (new.machine, new.cores):
        return ""
    return f"measured on different machines: {old.machine} ({old.cores} cores), {new.machine} ({new.cores} cores)"


# --- times -----------------------------------------------------------------------------------------------------------


def _time(
    setting: Setting, phase: Phase, old: Sequence[Sample], new: Sequence[Sample], reason: str
) -> Iterator[TimeChange]:
    """One change without its judgement; none where either file has no time of the phase."""
    before = [time for sample in old if (time := sample.phases.get(phase)) is not None]
    after = [time for sample in new if (time := sample.phases.get(phase)) is not None]
    if not before or not after:
        return
    item = TimeChange(
        setting=setting,
        phase=phase,
        change=Change.NOT_COMPARABLE,
        runs_old=len(before),
        runs_new=len(after),
        old=percentile(before, 0.5),
        new=percentile(after, 0.5),
        reason=reason,
    )
    if reason:
        yield item
        return
    differences = _differences(phase, old, new) if setting.medium == "sim" else None
    if differences and max(differences) - min(differences) <= _EXACT:
        exact = differences[0] if abs(differences[0]) > _EXACT else 0.0
        yield replace(item, reason="", paired=True, difference=exact, low=exact, high=exact)
        return
    fewest = min(len(before), len(after)) if differences is None else len(differences)
    if fewest < LEAST_RUNS:
        yield replace(item, reason=f"too few runs: {len(before)} and {len(after)}, {LEAST_RUNS} each are wanted")
    elif differences is not None:
        medians = sorted(_medians(differences, "pairs"))
        yield replace(
            item,
            paired=True,
            difference=percentile(differences, 0.5),
            low=_interval(medians)[0],
            high=_interval(medians)[1],
            p=sign_test(differences),
        )
    else:
        resampled = zip(_medians(before, "old"), _medians(after, "new"), strict=True)
        low, high = _interval(sorted(late - early for early, late in resampled))
        yield replace(item, difference=item.new - item.old, low=low, high=high, p=rank_test(before, after))


def _differences(phase: Phase, old: Sequence[Sample], new: Sequence[Sample]) -> list[float] | None:
    """New minus old of each virtual run; ``None`` if the files do not have the same runs, each once."""
    before = {(sample.run, sample.seed): sample for sample in old}
    after = {(sample.run, sample.seed): sample for sample in new}
    if len(before) != len(old) or len(after) != len(new) or before.keys() != after.keys():
        return None
    found = []
    for key, sample in before.items():
        early, late = sample.phases.get(phase), after[key].phases.get(phase)
        if early is not None and late is not None:
            found.append(late - early)
    return found


def _judged_time(item: TimeChange, level: float) -> TimeChange:
    if item.difference is None or item.low is None or item.high is None:
        return item
    matters = max(LEAST_SECONDS, LEAST_SHARE * item.old)
    sure = item.p is None or item.p <= level
    if sure and item.low > 0 and item.difference >= matters:
        change = Change.SLOWER
    elif sure and item.high < 0 and -item.difference >= matters:
        change = Change.FASTER
    elif -matters < item.low and item.high < matters:
        change = Change.SAME
    else:
        change = Change.UNCLEAR
    return replace(item, change=change)


def _medians(values: Sequence[float], side: str) -> list[float]:
    ordered = sorted(values)
    return [(ordered[low] + ordered[high]) / 2 for low, high in _resamples(len(ordered), side)]


@cache
def _resamples(count: int, side: str) -> tuple[tuple[int, int], ...]:
    """Which two of ``count`` ordered values are in the middle of each resample: the same for all data of this size.

    ``side`` is the seed: the two sides of a difference are resampled independently.
    """
    random = Random(f"{side} {count}")  # noqa: S311 - statistics
    low, high = (count - 1) // 2, count // 2
    places = range(count)
    found = []
    for _ in range(_RESAMPLES):
        drawn = sorted(random.choices(places, k=count))
        found.append((drawn[low], drawn[high]))
    return tuple(found)


def _interval(medians: Sequence[float]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    return percentile(medians, tail), percentile(medians, 1 - tail)


# --- counts ----------------------------------------------------------------------------------------------------------


_COUNTED: Final[dict[str, Callable[[Sample], bool]]] = {
    "failed": lambda sample: sample.failure is not None,
    "relay though direct": is_relay_though_direct,
    "two pairs": lambda sample: sample.same_pair is False,
}


def _counts(setting: Setting, old: Sequence[Sample], new: Sequence[Sample], reason: str) -> Iterator[CountChange]:
    """One for each kind of bad end that happened in either file."""
    for what, happened in _COUNTED.items():
        before, after = sum(map(happened, old)), sum(map(happened, new))
        if not before and not after:
            continue
        item = CountChange(
            setting=setting,
            what=what,
            change=Change.NOT_COMPARABLE,
            old=before,
            runs_old=len(old),
            new=after,
            runs_new=len(new),
            reason=reason,
        )
        if not reason and setting.medium == "sim" and _ended(happened, old) == _ended(happened, new):
            # The same virtual runs ended in the same way: nothing is left to chance.
            yield replace(item, change=Change.SAME)
            continue
        few = min(len(old), len(new)) < LEAST_RUNS
        if not reason and few:
            item = replace(item, reason=f"too few runs: {len(old)} and {len(new)}, {LEAST_RUNS} each are wanted")
        yield item if item.reason else replace(item, p=fisher_test(before, len(old), after, len(new)))


def _ended(happened: Callable[[Sample], bool], samples: Sequence[Sample]) -> list[tuple[int, int, bool]]:
    return sorted((sample.run, sample.seed, happened(sample)) for sample in samples)


def _judged_count(item: CountChange, level: float) -> CountChange:
    if item.p is None:
        return item
    more = item.new * item.runs_old - item.old * item.runs_new
    if more == 0:
        return replace(item, change=Change.SAME)
    if item.p > level:
        return replace(item, change=Change.UNCLEAR)
    return replace(item, change=Change.MORE if more > 0 else Change.FEWER)


# --- tests -----------------------------------------------------------------------------------------------------------


def _level(ps: Sequence[float]) -> float:
    """The largest p that still counts (Benjamini and Hochberg 1995, procedure 1).

    The phases of a run are late together; the procedure holds for such p, too (Benjamini and Yekutieli 2001).
    """
    share, count = 1 - CONFIDENCE, len(ps)
    passing = [p for rank, p in enumerate(sorted(ps), start=1) if p <= share * rank / count]
    return passing[-1] if passing else 0.0


def sign_test(differences: Sequence[float]) -> float:
    """Two-sided p that as many differences have one sign by chance; those that are zero say nothing."""
    up = sum(difference > _EXACT for difference in differences)
    down = sum(difference < -_EXACT for difference in differences)
    tail = sum(comb(up + down, count) for count in range(min(up, down) + 1))
    return float(min(1.0, 2 * tail / 2 ** (up + down)))


def rank_test(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p of Mann and Whitney's test, by the normal distribution, with corrections for ties and continuity."""
    ordered = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    count, ranks, ties, start = len(ordered), 0.0, 0, 0
    while start < count:
        end = start
        while end < count and ordered[end][0] == ordered[start][0]:
            end += 1
        # All of them have the mean of their ranks, which begin with 1.
        ranks += (start + end + 1) / 2 * sum(side == 0 for _, side in ordered[start:end])
        ties += (end - start) ** 3 - (end - start)
        start = end
    product = len(one) * len(other)
    variance = product / 12 * (count + 1 - ties / (count * (count - 1)))
    if variance <= 0:
        return 1.0
    distance = abs(ranks - len(one) * (len(one) + 1) / 2 - product / 2)
    return erfc(max(0.0, distance - 0.5) / sqrt(2 * variance))


def fisher_test(one: int, of_one: int, other: int, of_other: int) -> float:
    """Two-sided p of Fisher's exact test that both shares are those of one population."""
    total, chosen = one + other, comb(of_one + of_other, one + other)

    def ways(count: int) -> int:
        return comb(of_one, count) * comb(of_other, total - count)

    seen = ways(one)
    counts = range(max(0, total - of_other), min(total, of_one) + 1)
    return sum(ways(count) for count in counts if ways(count) <= seen) / chosen
