"""Results drawn: all conditions at a glance, phases beside the limit, distributions, NAT × NAT.

What a colour says, a place, a shape, a dash or a figure says, too.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icekit.bench.canvas import (
    ENGINES,
    WIDTH,
    Box,
    Drawing,
    Line,
    Point,
    Polygon,
    Shape,
    Text,
    png,
    require,
    svg,
    width_of,
)
from icekit.bench.nat_map import groups_of_nats, nat_map
from icekit.bench.result_pages import WORDS, milliseconds, more
from icekit.bench.samples import Phase, Results, Sample, Setting
from icekit.bench.summary import (
    ICE_ALONE,
    OUTCOMES,
    WHOLE_CALLS,
    Block,
    Entry,
    Row,
    blocks,
    is_ours,
    is_whole,
    ours_first,
    summarise,
)

_COLUMNS = 3
# One engine that needs ten seconds would press all the others into the first millimetre.
_FAR = 4.0
# Beside the longest bar stand its figures.
_ROOM = 1.55
# A distribution of fewer runs says no more than their percentiles.
_FEW = 5
_BAR = 22.0
_DASHES = ((), (8, 3), (3, 2), (10, 3, 3, 3), (1.5, 1.5), (5, 1.5, 1.5, 1.5, 1.5, 1.5), (14, 4), (4, 4))
# Within a circle of radius 1.
_MARKS: tuple[tuple[Point, ...], ...] = (
    tuple((math.cos(math.tau * step / 16), math.sin(math.tau * step / 16)) for step in range(16)),
    ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    ((0, -1.1), (1, 0.8), (-1, 0.8)),
    ((0, -1.2), (1.1, 0), (0, 1.2), (-1.1, 0)),
    ((0, 1.1), (1, -0.8), (-1, -0.8)),
    ((-1, -0.4), (1, -0.4), (1, 0.4), (-1, 0.4)),
    ((-0.4, -1.1), (0.4, -1.1), (0.4, 1.1), (-0.4, 1.1)),
    ((-1, -1), (0, -0.4), (1, -1), (0.4, 0), (1, 1), (0, 0.4), (-1, 1), (-0.4, 0)),
)


def write_plots(results: Results, folder: Path) -> tuple[Path, ...]:
    """Every drawing as SVG and as PNG in ``folder``, which is made. MissingExtra: there is no Pillow."""
    require()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for drawing in drawings(results):
        for ending, content in ((".svg", svg(drawing).encode()), (".png", png(drawing))):
            path = folder / f"{drawing.name}{ending}"
            path.write_bytes(content)
            written.append(path)
    return tuple(written)


def drawings(results: Results) -> Iterator[Drawing]:
    """All conditions at a glance; phases and distribution of each condition; then the maps of NATs."""
    found = blocks(summarise(results.samples))
    names = sorted({sample.setting.engine for sample in results.samples}, key=ours_first)
    styles = {name: index % len(ENGINES) for index, name in enumerate(names)}
    used: set[str] = set()
    for title, group in overviews(found):
        yield _overview(_file_name(title, used), title, group, styles)
    by_setting: dict[Setting, list[Sample]] = {}
    for sample in results.samples:
        by_setting.setdefault(sample.setting, []).append(sample)
    for block in found:
        name = _file_name(block.label, used)
        samples = [sample for entry in block.entries for sample in by_setting[entry.setting]]
        yield _phase_bars(f"phases-{name}", block)
        if max(entry.counts.runs for entry in block.entries) >= _FEW:
            yield _distribution(f"distribution-{name}", block, samples, styles)
    for title, group in groups_of_nats(found):
        yield nat_map(f"nats-{_file_name(title, used)}", title, group)


def _file_name(label: str, used: set[str]) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:100]
    while name in used:
        name += "-again"
    used.add(name)
    return name


@dataclass(frozen=True, slots=True)
class _Field:
    """A place to draw in, where figures stand from left to right; ``place`` makes a scale that is not even."""

    x: float
    y: float
    width: float
    height: float
    end: float
    begin: float = 0.0
    place: Callable[[float], float] = float

    @property
    def bottom(self) -> float:
        return self.y + self.height

    def at(self, value: float) -> float:
        """Pixels from the left of the drawing."""
        begin = self.place(self.begin)
        return self.x + self.width * (self.place(value) - begin) / (self.place(self.end) - begin)

    def grid(self, ticks: Iterable[float], *, figures: bool = True) -> Iterator[Shape]:
        """Lines from the top to the bottom, each with its figure below."""
        for tick in ticks:
            x = self.at(tick)
            yield Line(((x, self.y), (x, self.bottom)), "line")
            if figures:
                yield Text(x, self.bottom + 14, f"{tick:g}", "dim", anchor="middle")


def _ticks(end: float, most: int) -> list[float]:
    """Round figures from 0 to ``end``, in that many steps at most."""
    size = 10.0 ** math.floor(math.log10(end / most))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor * most >= end)
    return [step * number for number in range(math.floor(end / step + 1e-9) + 1)]


def _title(text: str) -> Text:
    return Text(10, 20, text, size=13, bold=True)


# --- all conditions --------------------------------------------------------------------------------------------------

_TICKS = (0, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
_LINE, _MEDIA = 19.0, {"sim": "simulator", "lab": "laboratory"}


def overviews(found: Sequence[Block], least: int = 2) -> Iterator[tuple[str, list[Block]]]:
    """The blocks of one medium and kind, where there are that many, with a title."""
    groups: dict[str, list[Block]] = {}
    for block in found:
        kind = WHOLE_CALLS if any(map(is_whole, block.entries)) else ICE_ALONE
        if block.entries[0].setting.media:
            kind = f"{kind} with sound"
        groups.setdefault(f"All conditions: {_MEDIA[block.entries[0].setting.medium]}, {kind}", []).append(block)
    yield from ((title, group) for title, group in groups.items() if len(group) >= least)


def _overview(name: str, title: str, group: Sequence[Block], styles: Mapping[str, int]) -> Drawing:
    """A line for each condition, a mark for each engine: how far above the limit its median is."""
    engines = sorted({entry.setting.engine for block in group for entry in block.entries}, key=ours_first)
    ((goal, _),) = Counter(block.goal for block in group).most_common(1)
    labels = [_short(block, goal) for block in group]
    beyond = [_beyond(block) for block in group]
    left, right = 20 + max(map(width_of, labels)), 20 + max(map(width_of, beyond))
    over = [row.over for block in group for entry in block.entries if (row := entry.rows[block.goal]).over is not None]
    end = 1100 * max([*over, 0.03])
    field = _Field(left, 60, WIDTH - left - right, _LINE * len(group), end, place=lambda value: math.log10(value + 10))
    shapes: list[Shape] = [_title(f"{title}; how far p50 is above the limit until {WORDS[goal]}")]
    x = left
    for engine in engines:
        shapes += [_mark(x + 5, 42, styles[engine]), Text(x + 15, 46, engine, bold=is_ours(engine))]
        x += 40 + width_of(engine)
    shapes += field.grid(tick for tick in _TICKS if tick <= end)
    for index, (block, label, text) in enumerate(zip(group, labels, beyond, strict=True)):
        y = field.y + _LINE * (index + 0.5)
        shapes += [Line(((left, y), (left + field.width, y)), "line"), Text(left - 10, y + 4, label, anchor="end")]
        shapes.append(Text(left + field.width + 10, y + 4, text, "bad" if "fail" in text else "dim"))
        # Ours above the others.
        for entry in sorted(block.entries, key=lambda entry: ours_first(entry.setting.engine), reverse=True):
            above = entry.rows[block.goal].over
            if above is not None:
                shapes.append(_mark(field.at(1000 * max(0.0, above)), y, styles[entry.setting.engine]))
    shapes.append(Text(left, field.bottom + 34, "ms above the limit; the scale is closer the further right", "dim"))
    return Drawing(name, title, None, field.bottom + 44, tuple(shapes))


def _short(block: Block, goal: Phase) -> str:
    """A condition without its medium, and until when it is measured if others are until ``goal``."""
    label = block.entries[0].setting.label.rpartition(", ")[0]
    return label if block.goal is goal else f"{label}, until {WORDS[block.goal]}"


def _beyond(block: Block) -> str:
    """Who fails, and how often if not always."""
    counts = {entry.setting.engine: entry.counts for entry in block.entries}
    never = [name for name, row in counts.items() if row.failures == row.runs]
    told = [f"{', '.join(never)} fail{'s' if len(never) == 1 else ''}"] if never else []
    told += (f"{name}: {row.failures}/{row.runs} fail" for name, row in counts.items() if 0 < row.failures < row.runs)
    return "; ".join(told) or ("" if block.limit(block.goal) is not None else "no limit")


def _mark(x: float, y: float, style: int) -> Polygon:
    return Polygon(tuple((x + 4.5 * across, y + 4.5 * down) for across, down in _MARKS[style]), ENGINES[style])


# --- phases ----------------------------------------------------------------------------------------------------------


def _phase_bars(name: str, block: Block) -> Drawing:
    """A field for each phase, a bar for each engine: until the limit, and what comes on top."""
    phases = block.phases or (block.goal,)
    most = _reach(block)
    left = 22 + max(width_of(entry.setting.engine) for entry in block.entries)
    wide, tall = (WIDTH - left - 10) / _COLUMNS, _BAR * len(block.entries)
    shapes: list[Shape] = [_title(f"{block.label}: p50 of each phase")]
    bottom = 0.0
    for index, phase in enumerate(phases):
        down, across = divmod(index, _COLUMNS)
        field = _Field(left + wide * across, 58 + (tall + 34) * down, wide - 22, tall, most * _ROOM)
        bottom = field.bottom
        shapes.append(Text(field.x, field.y - 8, WORDS[phase], size=12))
        # All fields have one scale.
        shapes += field.grid(_ticks(field.end, 6), figures=index + _COLUMNS >= len(phases))
        for place, entry in enumerate(block.entries):
            engine, y = entry.setting.engine, field.y + _BAR * (place + 0.5)
            if across == 0:
                shapes.append(Text(left - 8, y + 4, engine, anchor="end", bold=is_ours(engine)))
            shapes += _bar(field, y, entry.rows[phase], most)
    runs = max(entry.counts.runs for entry in block.entries)
    legend = "grey: until the limit (the mark), orange: above it; line to p90, dot at p99"
    below = f"ms since the start; {legend}; runs of each engine: {runs}"
    shapes.append(Text(10, bottom + 38, below, "dim"))
    return Drawing(name, f"Phases: {block.label}", block.label, bottom + 50, tuple(shapes))


def _reach(block: Block) -> float:
    """Where the axis ends, in milliseconds: what is far beyond the others is cut off, with its figure beside it."""
    p99s = ([row.p99 for row in entry.rows.values() if row.p99 is not None] for entry in block.entries)
    slowest = sorted(1000 * max(times, default=0.0) for times in p99s)
    limits = [1000 * limit for phase in block.phases if (limit := block.limit(phase)) is not None]
    kept = slowest[:1]
    for value in slowest[1:]:
        if value > _FAR * max([*kept, *limits, 10.0]):
            break
        kept.append(value)
    return max([*kept, *limits, 1.0])


def _bar(field: _Field, y: float, row: Row, most: float) -> Iterator[Shape]:
    if row.p50 is None:
        why = "not reached" if row.failures == row.runs else "not measured"
        yield Text(field.x + 6, y + 4, why, "dim")
        return
    top, thick = y - _BAR * 0.31, _BAR * 0.62
    end = field.at(min(1000 * row.p50, most))
    if row.limit is None:
        yield Box(field.x, top, end - field.x, thick, "unknown")
    else:
        limit = field.at(min(1000 * row.limit, most))
        yield Box(field.x, top, min(end, limit) - field.x, thick, "within")
        if end > limit:
            yield Box(limit, top, end - limit, thick, "over")
        yield Line(((limit, y - _BAR * 0.42), (limit, y + _BAR * 0.42)), "ink", 2)
    if row.p90 is not None and row.p99 is not None:
        p90, p99 = (field.at(min(1000 * value, most)) for value in (row.p90, row.p99))
        if p90 - end >= 0.1:
            yield Line(((end, y), (p90, y)), "ink", 1.2)
        # Without any spread it would stand on the end of its own bar.
        if 1000 * row.p99 <= most and p99 - end >= 1:
            yield Polygon(tuple((p99 + 2 * across, y + 2 * down) for across, down in _MARKS[0]), "ink")
        end = max(end, p90, p99)
    text = milliseconds(row.p50) + (f" ({more(row.over)})" if row.over is not None and row.over >= 0.001 else "")
    yield Text(end + 6, y + 4, f"▸ {text}" if 1000 * row.p50 > most else text)


# --- distribution ----------------------------------------------------------------------------------------------------


def _distribution(name: str, block: Block, samples: Sequence[Sample], styles: Mapping[str, int]) -> Drawing:
    """Which share of all runs was done after so many milliseconds; a run that failed is never done."""
    phases = [phase for phase in OUTCOMES if phase in block.phases][-2:] or [block.goal]
    left, tall = 60.0, 230.0
    right = 70 + max(width_of(entry.setting.engine) for entry in block.entries)
    wide = (WIDTH - left - right) / len(phases)
    shapes: list[Shape] = [_title(f"{block.label}: runs that are done")]
    for index, phase in enumerate(phases):
        field, unit = _axis(left + wide * index, wide - 28, tall, phase, samples)
        shapes += [Text(field.x, field.y - 8, WORDS[phase], size=12), *field.grid(_times(field))]
        shapes.append(Text(field.x + field.width / 2, field.bottom + 34, unit, "dim", anchor="middle"))
        for share in (0, 20, 40, 60, 80, 100):
            y = field.bottom - tall * share / 103
            shapes.append(Line(((field.x, y), (field.x + field.width, y)), "line"))
            if index == 0:
                shapes.append(Text(left - 8, y + 4, f"{share}", anchor="end"))
        shapes += _curves(field, block, phase, samples, styles)
    shapes.append(Text(16, 58 + tall / 2, "% of all runs", "dim", anchor="middle", angle=90))
    drawn = [("limit", Line((), "ink", 2.4))]
    drawn += [(entry.setting.engine, _curve_of(entry, styles)) for entry in block.entries]
    for index, (engine, line) in enumerate(drawn):
        x, y = WIDTH - right + 4, 58 + tall / 2 + 20 * (index - len(drawn) / 2)
        shapes.append(Line(((x, y), (x + 38, y)), line.colour, line.width, line.dash))
        shapes.append(Text(x + 46, y + 4, engine, bold=is_ours(engine)))
    return Drawing(name, f"Distribution: {block.label}", block.label, 58 + tall + 46, tuple(shapes))


def _axis(x: float, width: float, height: float, phase: Phase, samples: Sequence[Sample]) -> tuple[_Field, str]:
    """With what its figures are."""
    limits = [1000 * sample.limits[phase] for sample in samples if phase in sample.limits]
    shown = [1000 * time for sample in samples if (time := sample.phases.get(phase)) is not None]
    most, least = max([*shown, *limits, 1.0]), min([*shown, *limits], default=1.0)
    # So that one slow engine leaves room for the differences between the others.
    if least > 0 and most > _FAR * least:
        field = _Field(x, 58, width, height, most * 1.3, least / 1.15, math.log10)
        return field, "ms since the start, logarithmic"
    return _Field(x, 58, width, height, most * 1.05), "ms since the start"


def _times(field: _Field) -> list[float]:
    if not field.begin:
        return _ticks(field.end, 6)
    powers = range(math.floor(math.log10(field.begin)), math.ceil(math.log10(field.end)) + 1)
    steps = (1, 2, 5) if field.end < 100 * field.begin else (1, 3)
    times = [factor * 10.0**power for power in powers for factor in steps]
    return [time for time in times if field.begin <= time <= field.end]


def _curves(
    field: _Field, block: Block, phase: Phase, samples: Sequence[Sample], styles: Mapping[str, int]
) -> Iterator[Shape]:
    limits = sorted(1000 * sample.limits[phase] for sample in samples if phase in sample.limits)
    yield from _curve(field, limits, len(limits), Line((), "ink", 2.4))
    for entry in block.entries:
        own = (sample.phases.get(phase) for sample in samples if sample.setting == entry.setting)
        times = sorted(1000 * time for time in own if time is not None)
        yield from _curve(field, times, entry.counts.runs, _curve_of(entry, styles))


def _curve_of(entry: Entry, styles: Mapping[str, int]) -> Line:
    style = styles[entry.setting.engine]
    return Line((), ENGINES[style], 2.6 if is_ours(entry.setting.engine) else 1.7, _DASHES[style])


def _curve(field: _Field, times: Sequence[float], runs: int, look: Line) -> Iterator[Shape]:
    """Up by one run at each time, and level to the end where runs are missing."""
    if not times:
        return
    share, points = 0.0, [(field.at(times[0]), field.bottom)]
    for index, time in enumerate(times):
        points.append((field.at(time), points[-1][1]))
        share = 100 * (index + 1) / runs
        points.append((field.at(time), field.bottom - field.height * share / 103))
    if len(times) < runs:
        points.append((field.x + field.width, points[-1][1]))
    yield Line(tuple(points), look.colour, look.width, look.dash)
