"""What samples say together: percentiles beside the limit, counts, where an engine loses its time, who is first.

A percentile is that of the runs that reached the phase, with linear interpolation between the two nearest of them
(type 7 of Hyndman and Fan 1996, numpy's default). Runs that failed before it are in none: read the count of failures
first. The p99 of fewer than 100 runs lies between the two slowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

from icekit.bench.samples import Phase, Sample, Setting

OURS: Final = "icekit"
OUTCOMES: Final[tuple[Phase, ...]] = (
    Phase.FIRST_VALID,
    Phase.SELECTED,
    Phase.OPEN,
    Phase.DATA,
    Phase.MEDIA,
)
"""The phases that a user waits for: ``ratios`` compares engines by them."""

WHOLE_CALLS: Final = "whole calls"
ICE_ALONE: Final = "ICE alone"

# Each needs the one before it; candidates come beside them. Sound needs no data channel.
_UNTIL_DTLS: Final = (Phase.OFFER, Phase.ANSWER, Phase.FIRST_CHECK, *OUTCOMES[:2], Phase.DTLS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One phase of one setting. Times in seconds; ``None``: no run of these reached the phase, or nobody measured it.

    ``runs``                 of the setting
    ``n``                    those that reached the phase: the percentiles are theirs
    ``failures``             runs of the setting in which no data flowed
    ``relay_though_direct``  runs that ended on a relay though the NATs let packets through and nobody asked for it
    ``split``                runs whose two sides ended on different pairs
    ``limit``                median of the runs' limits; they differ only where the start of the sides does
    ``over``                 median of what each run took above its own limit
    """

    setting: Setting
    phase: Phase
    runs: int
    n: int
    failures: int
    relay_though_direct: int
    split: int
    p50: float | None
    p90: float | None
    p99: float | None
    limit: float | None
    over: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An engine in a condition: its rows by phase."""

    setting: Setting
    rows: Mapping[Phase, Row]

    @property
    def counts(self) -> Row:
        """Any of the rows, for what is the same in all of them."""
        return self.rows[Phase.SELECTED]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Engines that do the same thing in one condition, the fastest first, by ``goal``.

    ``kind``    empty, or where a condition has both: ``whole calls`` or ``ICE alone``, which has less to do
    ``phases``  those that any of them reached
    ``goal``    the last phase that all of them reached, but those that only fail; with a limit if there is one
    """

    kind: str
    entries: tuple[Entry, ...]
    phases: tuple[Phase, ...]
    goal: Phase

    @property
    def label(self) -> str:
        """The condition, and the kind."""
        return ", ".join(filter(None, (self.entries[0].setting.label, self.kind)))

    def limit(self, phase: Phase) -> float | None:
        """Seconds; the same for all engines of a block, unless they were started at different times."""
        return _if_any([limit for entry in self.entries if (limit := entry.rows[phase].limit) is not None], 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """``seconds`` above the limit that came with ``phase`` and were not made up later."""

    phase: Phase
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """The best of the other engines beside icekit: ``ratio`` is its median divided by ours, above 1 we are faster.

    ``None``: we take no time, as it is without a delay in the simulator. ``kind`` is that of the block, empty where all
    engines of a condition are compared.
    """

    label: str
    kind: str
    phase: Phase
    ours: float
    other: str
    theirs: float
    ratio: float | None


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the values lie; ValueError when there is none."""
    if not values:
        raise ValueError("no values: there is no percentile")
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = min(floor(position), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarise(samples: Iterable[Sample]) -> tuple[Row, ...]:
    """A row for every setting and phase, in the order in which the settings come first."""
    by_setting: dict[Setting, list[Sample]] = {}
    for sample in samples:
        by_setting.setdefault(sample.setting, []).append(sample)
    return tuple(_row(setting, phase, group) for setting, group in by_setting.items() for phase in Phase)


def is_relay_though_direct(sample: Sample) -> bool:
    """Whether a run took a relay that it did not need."""
    return sample.path == "relay" and sample.direct_possible and not sample.setting.relay_only


def _row(setting: Setting, phase: Phase, samples: Sequence[Sample]) -> Row:
    times = [time for sample in samples if (time := sample.phases.get(phase)) is not None]
    limits = [sample.limits[phase] for sample in samples if phase in sample.limits]
    over = [
        time - sample.limits[phase]
        for sample in samples
        if phase in sample.limits and (time := sample.phases.get(phase)) is not None
    ]
    return Row(
        setting=setting,
        phase=phase,
        runs=len(samples),
        n=len(times),
        failures=sum(sample.failure is not None for sample in samples),
        relay_though_direct=sum(map(is_relay_though_direct, samples)),
        split=sum(sample.same_pair is False for sample in samples),
        p50=_if_any(times, 0.5),
        p90=_if_any(times, 0.9),
        p99=_if_any(times, 0.99),
        limit=_if_any(limits, 0.5),
        over=_if_any(over, 0.5),
    )


def _if_any(values: Sequence[float], share: float) -> float | None:
    return percentile(values, share) if values else None


def blocks(rows: Iterable[Row]) -> tuple[Block, ...]:
    """The rows by condition, in the order in which the conditions come first, and there by what has the same limits."""
    found: list[Block] = []
    for entries in _by_condition(rows):
        kinds: dict[bool, list[Entry]] = {}
        for entry in entries:
            kinds.setdefault(is_whole(entry), []).append(entry)
        for whole in sorted(kinds, reverse=True):
            kind = "" if len(kinds) == 1 else WHOLE_CALLS if whole else ICE_ALONE
            found.append(_block(kind, kinds[whole]))
    return tuple(found)


def _by_condition(rows: Iterable[Row]) -> Iterator[list[Entry]]:
    found: dict[str, dict[Setting, dict[Phase, Row]]] = {}
    for row in rows:
        found.setdefault(row.setting.condition, {}).setdefault(row.setting, {})[row.phase] = row
    for settings in found.values():
        yield [Entry(setting=setting, rows=by_phase) for setting, by_phase in settings.items()]


def is_whole(entry: Entry) -> bool:
    """Whether the engine encrypts what it sends: then it also has a limit for that."""
    row = entry.rows[Phase.DTLS]
    return row.limit is not None or row.n > 0


def _block(kind: str, entries: list[Entry]) -> Block:
    phases = tuple(phase for phase in Phase if any(entry.rows[phase].n for entry in entries))
    working = [entry for entry in entries if not _only_fails(entry)]
    shared = [phase for phase in phases if all(entry.rows[phase].n for entry in working)]
    limited = [phase for phase in shared if all(entry.rows[phase].limit is not None for entry in working)]
    goal = (limited or shared or [Phase.SELECTED])[-1]
    # Those that do not get there last, in their order.
    entries.sort(key=lambda entry: (entry.rows[goal].p50 is None, entry.rows[goal].p50 or 0.0))
    return Block(kind=kind, entries=tuple(entries), phases=phases, goal=goal)


def _only_fails(entry: Entry) -> bool:
    return entry.counts.failures == entry.counts.runs


def losses(entry: Entry, goal: Phase) -> tuple[Loss, ...]:
    """Where the engine loses what it takes above the limit until ``goal``; empty when it loses nothing.

    Only phases that need the one before them are asked: offer, answer, first check, and what follows it. A delay that
    is made up later is no loss: of every phase counts the smallest delay that it and the later ones have, and a loss
    is what that grows by.
    """
    found: list[tuple[Phase, float]] = []
    for phase in (*_UNTIL_DTLS, *((Phase.MEDIA,) if goal is Phase.MEDIA else (Phase.OPEN, Phase.DATA))):
        if (over := entry.rows[phase].over) is not None:
            found.append((phase, over))
        if phase is goal:
            break
    losses: list[Loss] = []
    kept = 0.0
    for index, (phase, _) in enumerate(found):
        lasting = min(over for _, over in found[index:])
        if lasting > kept:
            losses.append(Loss(phase=phase, seconds=lasting - kept))
            kept = lasting
    return tuple(losses)


def is_ours(engine: str) -> bool:
    """icekit makes whole calls, and as ``icekit_ice`` ICE alone."""
    return engine.startswith(OURS)


def ours_first(engine: str) -> tuple[bool, str]:
    """A key to sort engines by."""
    return not is_ours(engine), engine


def ratios(rows: Iterable[Row]) -> tuple[Ratio, ...]:
    """For every condition and outcome that icekit and another engine reached.

    Until both sides have selected a pair all have the same to do; what follows is compared kind by kind. An engine that
    fails in half of its runs or more is not compared: the median of the rest says nothing of it.
    """
    rows = list(rows)
    found = []
    for entries in _by_condition(rows):
        found += [_ratio("", phase, entries) for phase in OUTCOMES[:2]]
    for block in blocks(rows):
        found += [_ratio(block.kind, phase, block.entries) for phase in OUTCOMES[2:]]
    return tuple(ratio for ratio in found if ratio is not None)


def _ratio(kind: str, phase: Phase, entries: Sequence[Entry]) -> Ratio | None:
    """``None`` where there is nothing to compare."""
    medians = {
        entry.setting.engine: p50
        for entry in entries
        if (p50 := entry.rows[phase].p50) is not None and 2 * entry.counts.failures < entry.counts.runs
    }
    # Of ours the whole call, where it is there.
    ours = min(filter(is_ours, medians), default=None)
    others = {name: p50 for name, p50 in medians.items() if not is_ours(name)}
    if ours is None or not others:
        return None
    other = min(others, key=others.__getitem__)
    ratio = others[other] / medians[ours] if medians[ours] else None
    return Ratio(
        label=entries[0].setting.label,
        kind=kind,
        phase=phase,
        ours=medians[ours],
        other=other,
        theirs=others[other],
        ratio=ratio,
    )
