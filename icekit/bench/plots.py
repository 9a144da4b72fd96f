"""Results drawn with matplotlib (extra ``plot``): phases beside the limit, distributions, NAT × NAT.

What a colour says, a place, a dash or a figure says, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icekit.bench.canvas import (
    BAD,
    DASHES,
    DIM,
    ENGINES,
    INK,
    LINE,
    OVER,
    PAPER,
    UNKNOWN,
    WITHIN,
    Drawing,
    Layout,
    look,
    png,
    require,
    room,
    svg,
)
from icekit.bench.networks import read_network
from icekit.bench.samples import Phase, Results, Sample, Setting
from icekit.bench.summary import OUTCOMES, Block, Entry, Row, blocks, is_ours, summarise
from icekit.bench.table import WORDS, milliseconds, more
from icekit.errors import ConfigError
from icekit.nat import PRESETS
from icekit.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
# One engine that needs ten seconds would press all the others into the first millimetre.
_FAR = 4.0
# Beside the longest bar stand its figures.
_ROOM = 1.55
# More of them in one bar would become an image.
_SHADES = 32


def write_plots(results: Results, folder: Path) -> tuple[Path, ...]:
    """Every drawing as SVG and as PNG in ``folder``, which is made. MissingExtra: there is no matplotlib."""
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
    """Phases and distribution of each condition, then the maps of NATs. MissingExtra: there is no matplotlib."""
    require()
    found = blocks(summarise(results.samples))
    names = sorted({sample.setting.engine for sample in results.samples}, key=_ours_first)
    styles = {name: index % len(ENGINES) for index, name in enumerate(names)}
    used: set[str] = set()
    for block in found:
        name = _file_name(block.label, used)
        settings = {entry.setting for entry in block.entries}
        samples = [sample for sample in results.samples if sample.setting in settings]
        with look():
            bars, distribution = _phase_bars(block), _distribution(block, samples, styles)
        yield Drawing(f"phases-{name}", f"Phases: {block.label}", block.label, bars)
        yield Drawing(f"distribution-{name}", f"Distribution: {block.label}", block.label, distribution)
    for group in _maps(found):
        setting = _without_network(group[0].entries[0].setting)
        title = ", ".join(filter(None, (setting.label.removeprefix(", "), group[0].kind)))
        with look():
            figure = _nat_maps(group, title)
        yield Drawing(f"nats-{_file_name(title, used)}", f"NAT × NAT: {title}", None, figure)


def _ours_first(name: str) -> tuple[bool, str]:
    return not is_ours(name), name


def _file_name(label: str, used: set[str]) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:100]
    while name in used:
        name += "-again"
    used.add(name)
    return name


# --- phases ----------------------------------------------------------------------------------------------------------


def _phase_bars(block: Block) -> Figure:
    """A field for each phase, a bar for each engine: until the limit, and what comes on top."""
    phases = block.phases or (block.goal,)
    layout = Layout(
        count=len(phases),
        columns=_COLUMNS,
        height=0.1 + 0.25 * len(block.entries),
        left=room(entry.setting.engine for entry in block.entries),
        bottom=0.65,
    )
    figure, fields = layout.figure(f"{block.label}: p50 of each phase")
    most = _reach(block)
    fields[0].set_xlim(0, most * _ROOM)
    fields[0].set_ylim(len(block.entries) - 0.4, -0.6)
    for axes, phase in zip(fields, phases, strict=True):
        _phase(axes, block, phase, most)
    for axes in fields[::_COLUMNS]:
        for label, entry in zip(axes.get_yticklabels(), block.entries, strict=True):
            label.set_fontweight("bold" if is_ours(entry.setting.engine) else "normal")
    runs = max(entry.counts.runs for entry in block.entries)
    legend = "grey: until the limit (the mark), orange: above it; line to p90, dot at p99"
    below = f"ms since the start; {legend}; {runs} runs of each engine"
    figure.text(0.01, 0.2 / figure.get_figheight(), below, va="center", fontsize=8, color=DIM)
    return figure


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


def _phase(axes: Axes, block: Block, phase: Phase, most: float) -> None:
    axes.set_title(WORDS[phase])
    axes.set_yticks(range(len(block.entries)), [printable(entry.setting.engine) for entry in block.entries])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    for place, entry in enumerate(block.entries):
        row = entry.rows[phase]
        if row.p50 is None:
            why = "not reached" if row.failures == row.runs else "not measured"
            _beside(axes, 0, place, why, DIM)
        else:
            _bar(axes, place, row, row.p50, most)


def _bar(axes: Axes, place: int, row: Row, p50: float, most: float) -> None:
    end = min(1000 * p50, most)
    if row.limit is None:
        axes.barh(place, end, height=0.62, color=UNKNOWN)
    else:
        limit = min(1000 * row.limit, most)
        axes.barh(place, min(end, limit), height=0.62, color=WITHIN)
        if end > limit:
            axes.barh(place, end - limit, left=limit, height=0.62, color=OVER)
        axes.plot([limit, limit], [place - 0.42, place + 0.42], color=INK, linewidth=1.6, solid_capstyle="butt")
    if row.p90 is not None and row.p99 is not None:
        p90, p99 = min(1000 * row.p90, most), min(1000 * row.p99, most)
        axes.plot([end, p90], [place, place], color=INK, linewidth=0.9)
        if 1000 * row.p99 <= most:
            axes.plot([p99], [place], marker="o", markersize=2.6, color=INK)
        end = max(end, p90, p99)
    text = milliseconds(p50) + (f" ({more(row.over)})" if row.over is not None and row.over >= 0.001 else "")
    _beside(axes, end, place, f"▸ {text}" if 1000 * p50 > most else text, INK)


def _beside(axes: Axes, end: float, place: int, text: str, colour: str) -> None:
    # Blanks at the begin of a text are not drawn by all who draw SVG.
    offset: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points"}
    axes.annotate(text, (end, place), va="center", ha="left", fontsize=8, color=colour, **offset)


# --- distribution ----------------------------------------------------------------------------------------------------


def _distribution(block: Block, samples: Sequence[Sample], styles: Mapping[str, int]) -> Figure:
    """Which share of all runs was done after so many milliseconds; a run that failed is never done."""
    phases = [phase for phase in OUTCOMES if phase in block.phases][-2:] or [block.goal]
    names = room(entry.setting.engine for entry in block.entries)
    layout = Layout(count=len(phases), columns=len(phases), height=2.7, left=0.6, right=0.6 + names, bottom=0.6)
    figure, fields = layout.figure(f"{block.label}: runs that are done", one_time=False)
    for axes, phase in zip(fields, phases, strict=True):
        _steps(axes, block, phase, samples, styles)
    fields[0].set_ylim(0, 103)
    fields[0].set_ylabel("% of all runs")
    figure.legend(*fields[-1].get_legend_handles_labels(), loc="center right", fontsize=8.5, handlelength=3.2)
    return figure


def _steps(axes: Axes, block: Block, phase: Phase, samples: Sequence[Sample], styles: Mapping[str, int]) -> None:
    axes.set_title(WORDS[phase])
    axes.grid(color=LINE, linewidth=0.6)
    limits = sorted(1000 * sample.limits[phase] for sample in samples if phase in sample.limits)
    shown = [1000 * time for sample in samples if (time := sample.phases.get(phase)) is not None]
    most, least = max([*shown, *limits, 1.0]), min([*shown, *limits], default=1.0)
    # So that one slow engine leaves room for the differences between the others.
    logarithmic = least > 0 and most > _FAR * least
    end = most * (1.3 if logarithmic else 1.05)
    if limits:
        _curve(axes, limits, len(limits), end, color=INK, linewidth=2.2, label="limit")
    for entry in block.entries:
        engine = entry.setting.engine
        own = (sample.phases.get(phase) for sample in samples if sample.setting == entry.setting)
        times = sorted(1000 * time for time in own if time is not None)
        width = 2.4 if is_ours(engine) else 1.6
        look = {"color": ENGINES[styles[engine]], "linestyle": DASHES[styles[engine]], "linewidth": width}
        _curve(axes, times, entry.counts.runs, end, label=printable(engine), **look)
    if logarithmic:
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(least / 1.15 if logarithmic else 0, end)
    axes.set_xlabel("ms since the start" + (", logarithmic" if logarithmic else ""))


def _curve(axes: Axes, times: Sequence[float], runs: int, end: float, **look: Any) -> None:
    """Up by one run at each time, and level to the end where runs are missing; without any only in the legend."""
    shares = [100 * (index + 1) / runs for index in range(len(times))]
    places = [*times[:1], *times]
    if 0 < len(times) < runs:
        places.append(end)
        shares.append(shares[-1])
    axes.step(places, [0, *shares] if times else [], where="post", **look)


# --- NAT × NAT -------------------------------------------------------------------------------------------------------


def _without_network(setting: Setting) -> Setting:
    return replace(setting, network="")


def _nats(setting: Setting) -> tuple[str, str] | None:
    try:
        network = read_network(setting.network)
    except ConfigError:
        return None
    return None if network.relay_only else (network.a, network.b)


def _maps(found: Sequence[Block]) -> Iterator[list[Block]]:
    """The blocks that differ in nothing but their NATs, where there are some."""
    groups: dict[tuple[str, str], list[Block]] = {}
    for block in found:
        setting = block.entries[0].setting
        if _nats(setting) is not None:
            groups.setdefault((_without_network(setting).condition, block.kind), []).append(block)
    yield from (group for group in groups.values() if len(group) > 2)


def _nat_maps(group: Sequence[Block], title: str) -> Figure:
    """A field for each engine: the offering side's NAT beside the answering side's, and what the engine takes."""
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    order = list(Phase)
    goal = min((block.goal for block in group), key=order.index)
    cells = {
        (entry.setting.engine, pair): entry
        for block in group
        for entry in block.entries
        if (pair := _nats(entry.setting)) is not None
    }
    engines = sorted({engine for engine, _ in cells}, key=_ours_first)
    sides = [_in_order(pair[side] for _, pair in cells) for side in (0, 1)]
    columns = 2 if len(sides[1]) > 3 else _COLUMNS
    layout = Layout(
        count=len(engines),
        columns=columns,
        height=0.42 * len(sides[0]),
        left=0.3 + room(sides[0]),
        right=1.0,
        down=1.0,
        bottom=1.0,
    )
    figure, fields = layout.figure(f"NAT × NAT, {title}: ms until {WORDS[goal]} (p50)")
    over = [1000 * value for entry in cells.values() if (value := entry.rows[goal].over) is not None]
    colours = ScalarMappable(PowerNorm(0.5, 0, max([*over, 10.0])), mpl.colormaps["YlOrBr"].resampled(_SHADES))
    for axes, engine in zip(fields, engines, strict=True):
        own = {pair: entry for (name, pair), entry in cells.items() if name == engine}
        _nat_map(axes, engine, sides, own, goal, colours)
    figure.text(0.01, 0.5, "offering side behind", rotation=90, va="center", fontsize=8.5, color=DIM)
    figure.text(0.5, 0.2 / figure.get_figheight(), "answering side behind", ha="center", fontsize=8.5, color=DIM)
    bar = figure.colorbar(colours, cax=figure.add_axes((0.925, 0.25, 0.014, 0.55)))
    bar.set_label("ms above the limit", fontsize=8.5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelcolor=DIM)
    return figure


def _in_order(names: Iterable[str]) -> list[str]:
    """From the open to the closed, as ``icekit.nat`` lists them."""
    order = list(PRESETS)
    return sorted(set(names), key=order.index)


def _nat_map(
    axes: Axes,
    engine: str,
    sides: Sequence[Sequence[str]],
    entries: Mapping[tuple[str, str], Entry],
    goal: Phase,
    colours: Any,
) -> None:
    from matplotlib.patches import Rectangle

    axes.set_title(printable(engine), fontweight="bold" if is_ours(engine) else "normal")
    axes.set_xticks(range(len(sides[1])), sides[1], rotation=25, ha="right", color=INK)
    axes.set_yticks(range(len(sides[0])), sides[0])
    axes.set_xlim(-0.5, len(sides[1]) - 0.5)
    axes.set_ylim(len(sides[0]) - 0.5, -0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (a, b), entry in entries.items():
        x, y, row = sides[1].index(b), sides[0].index(a), entry.rows[goal]
        corner, size = (x - 0.48, y - 0.46), (0.96, 0.92)
        if row.p50 is None:
            line: dict[str, Any] = {"edgecolor": BAD, "linestyle": (0, (3, 2)), "linewidth": 0.9}
            axes.add_patch(Rectangle(corner, *size, facecolor=PAPER, **line))
            axes.text(x, y, "fails", ha="center", va="center", color=BAD, fontsize=8.5)
            continue
        colour = colours.to_rgba(0.0 if row.over is None else 1000 * max(0.0, row.over))
        axes.add_patch(Rectangle(corner, *size, facecolor=colour, linewidth=0))
        # Not of the colours that are exchanged: the ground stays as it is, too.
        ink = "#000000" if _is_light(colour) else "#ffffff"
        counts = ((row.failures, "fail"), (row.relay_though_direct, "relayed"))
        notes = ", ".join(f"{count} {word}" for count, word in counts if count)
        axes.text(x, y - 0.14 * bool(notes), milliseconds(row.p50), ha="center", va="center", color=ink, fontsize=9)
        if notes:
            axes.text(x, y + 0.24, notes, ha="center", va="center", color=ink, fontsize=6.5)


def _is_light(colour: Sequence[float]) -> bool:
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
