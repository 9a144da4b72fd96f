"""NAT × NAT: for each engine a map of what it takes behind which NATs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from icekit.bench.canvas import WIDTH, Box, Drawing, Shape, Text, width_of
from icekit.bench.networks import read_network
from icekit.bench.result_pages import WORDS, milliseconds
from icekit.bench.samples import Phase, Setting
from icekit.bench.summary import Block, Entry, is_ours, ours_first
from icekit.errors import ConfigError
from icekit.nat_presets import PRESETS

_CELL, _ROW = 74.0, 32.0
# From the limit to the slowest.
_COLOURS = ((255, 246, 223), (246, 178, 107), (201, 86, 18), (84, 32, 6))
_TILT = 25.0


def groups_of_nats(found: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """The blocks that differ in nothing but their NATs, where there are some, with a title."""
    groups: dict[tuple[str, str], list[Block]] = {}
    for block in found:
        setting = block.entries[0].setting
        if _nats(setting) is not None:
            groups.setdefault((_without_network(setting).condition, block.kind), []).append(block)
    for group in groups.values():
        if len(group) > 2:
            label = _without_network(group[0].entries[0].setting).label.removeprefix(", ")
            yield ", ".join(filter(None, (label, group[0].kind))), group


def _without_network(setting: Setting) -> Setting:
    return replace(setting, network="")


def _nats(setting: Setting) -> tuple[str, str] | None:
    try:
        network = read_network(setting.network)
    except ConfigError:
        return None
    return None if network.relay_only else (network.a, network.b)


def nat_map(name: str, title: str, group: Sequence[Block]) -> Drawing:
    """A field for each engine: the offering side's NAT beside the answering side's, and what the engine takes."""
    order = list(Phase)
    goal = min((block.goal for block in group), key=order.index)
    cells = {
        (entry.setting.engine, pair): entry
        for block in group
        for entry in block.entries
        if (pair := _nats(entry.setting)) is not None
    }
    engines = sorted({engine for engine, _ in cells}, key=ours_first)
    rows, columns = (_in_order(pair[side] for _, pair in cells) for side in (0, 1))
    over = [entry.rows[goal].over for entry in cells.values()]
    most = max([value for value in over if value is not None] + [0.01])
    left, below = 40 + max(map(width_of, rows)), 14 + 0.5 * max(map(width_of, columns))
    wide, tall = _CELL * len(columns), _ROW * len(rows)
    across = max(1, int((WIDTH - left) // (wide + 30)))
    shapes: list[Shape] = [Text(10, 20, f"NAT × NAT, {title}: ms until {WORDS[goal]} (p50)", size=13, bold=True)]
    bottom = 0.0
    for index, engine in enumerate(engines):
        x, y = left + (wide + 30) * (index % across), 62 + (tall + below + 34) * (index // across)
        bottom = y + tall + below
        shapes.append(Text(x, y - 8, engine, size=12, bold=is_ours(engine)))
        if index % across == 0:
            shapes += (
                Text(left - 8, y + _ROW * (number + 0.5) + 4, row, anchor="end") for number, row in enumerate(rows)
            )
        for number, column in enumerate(columns):
            shapes.append(Text(x + _CELL * (number + 0.5) + 8, y + tall + 14, column, "dim", anchor="end", angle=_TILT))
        own = {pair: entry for (name, pair), entry in cells.items() if name == engine}
        shapes += _map(x, y, rows, columns, own, goal, most)
    shapes.append(Text(16, (62 + bottom) / 2, "offering side behind", "dim", anchor="middle", angle=90))
    below_all = "answering side behind; colour: from the limit, pale, to"
    shapes.append(Text(left, bottom + 24, f"{below_all} {milliseconds(most)} ms above it, dark", "dim"))
    return Drawing(name, f"NAT × NAT: {title}", None, bottom + 36, tuple(shapes))


def _in_order(names: Iterable[str]) -> list[str]:
    """From the open to the closed, as ``icekit.nat_presets`` lists them."""
    order = list(PRESETS)
    return sorted(set(names), key=order.index)


def _map(
    x: float,
    y: float,
    rows: Sequence[str],
    columns: Sequence[str],
    entries: Mapping[tuple[str, str], Entry],
    goal: Phase,
    most: float,
) -> Iterator[Shape]:
    for (a, b), entry in entries.items():
        row = entry.rows[goal]
        left, top = x + _CELL * columns.index(b), y + _ROW * rows.index(a)
        middle = left + _CELL / 2
        if row.p50 is None:
            yield Box(left + 2, top + 2, _CELL - 4, _ROW - 4, "paper", edge="bad")
            yield Text(middle, top + _ROW / 2 + 4, "fails", "bad", anchor="middle")
            continue
        colour, ink = _shade(math.sqrt(max(0.0, row.over or 0.0) / most))
        yield Box(left + 1, top + 1, _CELL - 2, _ROW - 2, colour)
        counts = ((row.failures, "fail"), (row.relay_though_direct, "relayed"))
        notes = ", ".join(f"{count} {word}" for count, word in counts if count)
        yield Text(middle, top + _ROW / 2 + (-1 if notes else 4), milliseconds(row.p50), ink, anchor="middle")
        if notes:
            yield Text(middle, top + _ROW - 6, notes, ink, size=8.5, anchor="middle")


def _shade(share: float) -> tuple[str, str]:
    """A colour of the ground and one for the text on it; both the same on light and dark pages."""
    place = min(share, 1.0) * (len(_COLOURS) - 1)
    index = min(int(place), len(_COLOURS) - 2)
    pairs = zip(_COLOURS[index], _COLOURS[index + 1], strict=True)
    red, green, blue = (round(low + (high - low) * (place - index)) for low, high in pairs)
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 128
    return f"#{red:02x}{green:02x}{blue:02x}", "#000000" if light else "#ffffff"
