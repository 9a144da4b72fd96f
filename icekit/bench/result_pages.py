"""Results and comparisons as pages: who loses how many milliseconds where, before all figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from icekit.bench.compare import LEAST_SECONDS, Change, Comparison, CountChange, TimeChange
from icekit.bench.samples import Header, Phase, Results, Sample, Setting
from icekit.bench.summary import ICE_ALONE, Block, Entry, Ratio, Row, blocks, is_ours, losses, ratios, summarise
from icekit.page import UNKNOWN, Cell, Lines, Page, Section, Table, Tone, table

HEADS: Final[Mapping[Phase, str]] = {
    Phase.RESOLVE: "resolve",
    Phase.FIRST_CANDIDATE: "cand.",
    Phase.SRFLX: "srflx",
    Phase.RELAY: "relay",
    Phase.OFFER: "offer",
    Phase.ANSWER: "answer",
    Phase.FIRST_CHECK: "check",
    Phase.FIRST_VALID: "valid",
    Phase.SELECTED: "selected",
    Phase.DTLS: "DTLS",
    Phase.OPEN: "open",
    Phase.DATA: "data",
    Phase.MEDIA: "media",
}
"""Phases in a column's head."""
WORDS: Final[Mapping[Phase, str]] = {
    Phase.RESOLVE: "server name resolved",
    Phase.FIRST_CANDIDATE: "first candidate",
    Phase.SRFLX: "server-reflexive candidate",
    Phase.RELAY: "relay candidate",
    Phase.OFFER: "offer",
    Phase.ANSWER: "answer",
    Phase.FIRST_CHECK: "first check",
    Phase.FIRST_VALID: "valid pair on both sides",
    Phase.SELECTED: "pair selected on both sides",
    Phase.DTLS: "DTLS done",
    Phase.OPEN: "data channel open",
    Phase.DATA: "first data",
    Phase.MEDIA: "first media",
}
"""Phases in a sentence."""
RATIOS: Final = "The best other engine's median, divided by icekit's"
_SHARES = ("p50", "p90", "p99")
_INDENT, _GAP = 2, 2
# Reasons of failures that are shown for an engine, characters of each, and tables after which the headline is repeated.
_REASONS, _REASON, _MANY = 3, 160, 3
# Above the limit: what a user hardly notices, and what is worth a look.
_LITTLE, _MUCH = 0.02, 0.1

EXPLAINED: Final = """\
Milliseconds since the offering side was told to start; of the later side, where both have a time. The limit is what \
nothing could be faster than: an agent that paces nothing, waits for nothing and loses nothing.
p50, p90, p99: percentiles of the runs that reached the phase, with linear interpolation; failed runs are in none. \
With fewer than 100 runs p99 lies between the two slowest.
over: median of what the runs took above the limit. lost at: the phases with which it grew and was not made up later.
relayed: ended on a relay though the NATs let packets through. two pairs: the sides ended on different pairs.
cand.: the first candidate of any kind; srflx, relay: of this kind. check: the first check leaves. valid, selected, \
DTLS, open: both sides are so far. data, media: the first text, the first sound of the offering side \
arrived.""".splitlines()


def milliseconds(seconds: float | None) -> str:
    """A time without its unit; ``–`` if there is none."""
    if seconds is None:
        return UNKNOWN
    text = f"{seconds * 1000:.1f}" if abs(seconds) < 0.00995 else f"{seconds * 1000:.0f}"
    return {"0.0": "0", "-0.0": "0"}.get(text, text)


def more(seconds: float) -> str:
    """A difference: ``+12``, ``-3.5`` or ``0``."""
    text = milliseconds(seconds)
    return text if seconds <= 0 or text == "0" else f"+{text}"


def results_page(results: Results, *, width: int = 100, percentiles: bool = False) -> Page:
    """All conditions, each with its engines beside the limit. ``width``: of a line, in characters.

    ``percentiles``: p50, p90 and p99 of every phase instead of its median.
    """
    rows = summarise(results.samples)
    found = blocks(rows)
    compared = ratios(rows)
    why = _failures(results.samples)
    sections = [Section(block.label, tuple(_block(block, width, percentiles, why))) for block in found]
    sections.append(Section("Measured", (header_table(results.header),)))
    sections.append(Section("How to read this", (Lines(tuple(Cell(line, Tone.DIM) for line in EXPLAINED)),)))
    # Who reads a terminal sees the end first.
    if compared:
        sections.append(Section(RATIOS, (ratio_table(compared, width),)))
    code, summary = _headline(found, compared)
    footer = f"{code.text}: {summary}" if len(found) > _MANY else ""
    return Page(code, summary, tuple(sections), footer)


def _headline(found: Sequence[Block], compared: Sequence[Ratio]) -> tuple[Cell, str]:
    """A word and a sentence: is icekit first, and did it fail?"""
    runs = sum(entry.counts.runs for block in found for entry in block.entries)
    failed = sum(entry.counts.failures for block in found for entry in block.entries)
    ours = {
        block.label: sum(entry.counts.failures for entry in block.entries if is_ours(entry.setting.engine))
        for block in found
    }
    engines = {entry.setting.engine for block in found for entry in block.entries}
    conditions = {entry.setting.condition for block in found for entry in block.entries}
    counts = ((len(engines), "engine"), (len(conditions), "condition"), (runs, "run"))
    what = f"{', '.join(_plural(count, word) for count, word in counts)}, {failed} failed"
    behind = [ratio for ratio in compared if ratio.ours - ratio.theirs >= LEAST_SECONDS]
    if not runs:
        return Cell("NOTHING", Tone.WARNING), "No run is in the file."
    if any(ours.values()):
        most, failures = max(ours, key=ours.__getitem__), sum(ours.values())
        part = "" if ours[most] == failures else f"{ours[most]} of them in "
        where = f"icekit failed in {_plural(failures, 'run')}, {part}{most}"
        return Cell("FAILURES", Tone.BAD), f"{where}; {what}."
    if behind:
        worst = min(behind, key=lambda ratio: ratio.ratio or 0.0)
        place = ", ".join(filter(None, (WORDS[worst.phase], worst.label, worst.kind)))
        where = f"most so {worst.other} at {worst.ratio:.2f} of its time ({place})"
        beaten = f"icekit is behind another engine in {len(behind)} of {len(compared)} comparisons, {where}"
        return Cell("BEHIND", Tone.WARNING), f"{beaten}; {what}."
    if compared:
        compares = _plural(len(compared), "comparison")
        return Cell("FIRST", Tone.GOOD), f"No other engine is faster by a millisecond in {compares}; {what}."
    return Cell("MEASURED", Tone.NOTE), f"{what}."


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


# --- a condition -----------------------------------------------------------------------------------------------------


def _block(block: Block, width: int, percentiles: bool, why: Mapping[Setting, Counter[str]]) -> Iterator[Table | Lines]:
    yield _ends(block)
    reasons = tuple(
        Cell(f"{entry.setting.engine} failed {count} ×: {reason}", Tone.BAD)
        for entry in block.entries
        for reason, count in why.get(entry.setting, Counter()).most_common(_REASONS)
    )
    if reasons:
        yield Lines(reasons)
    # Those of one run are all the same.
    yield from _phases(block, width, percentiles and any(entry.counts.runs > 1 for entry in block.entries))


def _failures(samples: Iterable[Sample]) -> dict[Setting, Counter[str]]:
    """How often each setting failed for which reason; a program's reason may be long."""
    found: dict[Setting, Counter[str]] = {}
    for sample in samples:
        if sample.failure is not None:
            found.setdefault(sample.setting, Counter())[sample.failure[:_REASON]] += 1
    return found


def _ends(block: Block) -> Table:
    """What a reader in a hurry wants: until the goal, and where the time goes."""
    counted = {
        "relayed": [entry.counts.relay_though_direct for entry in block.entries],
        "two pairs": [entry.counts.split for entry in block.entries],
    }
    extra = [name for name, counts in counted.items() if any(counts)]
    goal = HEADS[block.goal]
    rows: list[list[str | Cell]] = [
        [Cell(text, Tone.DIM) for text in (f"until {goal}", "failed", *extra, "over", *_SHARES, "lost at")]
    ]
    limit = block.limit(block.goal)
    if limit is not None:
        dims = ["limit", "", *[""] * len(extra), "", milliseconds(limit), "", "", ""]
        rows.append([Cell(text, Tone.DIM) for text in dims])
    for index, entry in enumerate(block.entries):
        row = entry.rows[block.goal]
        rows.append(
            [
                entry.setting.engine,
                _count(row.failures, row.runs),
                *(_count(counted[name][index], row.runs) for name in extra),
                Cell(UNKNOWN if row.over is None else more(row.over), tone_of(row)),
                *(milliseconds(value) for value in (row.p50, row.p90, row.p99)),
                _lost(entry, block.goal),
            ]
        )
    return replace(table(rows, labels=1, header=True, numbers=True), texts=1)


def _count(count: int, runs: int) -> Cell:
    return Cell(f"{count}/{runs}", Tone.BAD if count else Tone.PLAIN)


def tone_of(row: Row) -> Tone:
    """How bad it is what a row is above its limit."""
    if row.over is None:
        return Tone.PLAIN
    return Tone.GOOD if row.over < _LITTLE else Tone.WARNING if row.over < _MUCH else Tone.BAD


def _lost(entry: Entry, goal: Phase) -> str:
    worth = [loss for loss in losses(entry, goal) if loss.seconds >= 0.001]
    return ", ".join(f"{HEADS[loss.phase]} {more(loss.seconds)}" for loss in worth)


def _phases(block: Block, width: int, percentiles: bool) -> Iterator[Table]:
    """Every phase that anyone reached; in as many tables as the width needs."""
    # Each phase is a column: its head, the limit, and the figures of every engine.
    columns = {phase: _column(block, phase, percentiles) for phase in block.phases}
    labels = [Cell("each phase" if percentiles else "p50 of each phase", Tone.DIM)]
    if _has_limits(block):
        labels.append(Cell("limit", Tone.DIM))
    for entry in block.entries:
        name = entry.setting.engine
        labels += [Cell(f"{name} p50"), *map(Cell, _SHARES[1:])] if percentiles else [Cell(name)]
    first = max(len(cell.text) for cell in labels)
    for phases in _pieces(columns, width - _INDENT - first):
        cells = zip(labels, *(columns[phase] for phase in phases), strict=True)
        yield table(list(cells), labels=1, header=True, numbers=True)


def _has_limits(block: Block) -> bool:
    return any(block.limit(phase) is not None for phase in block.phases)


def _column(block: Block, phase: Phase, percentiles: bool) -> list[Cell]:
    column = [Cell(HEADS[phase], Tone.DIM)]
    if _has_limits(block):
        limit = block.limit(phase)
        column.append(Cell("" if limit is None else milliseconds(limit), Tone.DIM))
    for entry in block.entries:
        row = entry.rows[phase]
        tone = tone_of(row) if row.over is not None and row.over >= _LITTLE else Tone.PLAIN
        column.append(Cell(milliseconds(row.p50), tone))
        if percentiles:
            column += [Cell(milliseconds(row.p90)), Cell(milliseconds(row.p99))]
    return column


def _pieces(columns: Mapping[Phase, Sequence[Cell]], room: int) -> Iterator[list[Phase]]:
    widths = {phase: _GAP + max(len(cell.text) for cell in column) for phase, column in columns.items()}
    # As many pieces as are needed, of about one width.
    count = max(1, -(-sum(widths.values()) // max(room, 1)))
    share = sum(widths.values()) / count
    piece: list[Phase] = []
    used, taken = 0, 0
    for phase, needed in widths.items():
        if piece and (used + needed > room or taken >= share):
            yield piece
            piece, used, taken = [], 0, 0
        piece.append(phase)
        used += needed
        taken += needed
    if piece:
        yield piece


# --- the rest of a page of results -----------------------------------------------------------------------------------


def ratio_table(compared: Iterable[Ratio], width: int) -> Table | Lines:
    """For each condition the best other engine's median divided by icekit's, by phase; ICE alone comes last.

    Lines where a table has no room in ``width``.
    """
    by_label: dict[str, dict[tuple[bool, Phase], Ratio]] = {}
    for ratio in compared:
        by_label.setdefault(ratio.label, {})[ratio.kind == ICE_ALONE, ratio.phase] = ratio
    wanted = [(alone, phase) for alone in (False, True) for phase in Phase]
    columns = [column for column in wanted if any(column in found for found in by_label.values())]
    heads = [f"{HEADS[phase]}{', ICE alone' if alone else ''}" for alone, phase in columns]
    rows: list[list[str | Cell]] = [[Cell(head, Tone.DIM) for head in ("", *heads)]]
    for label, found in by_label.items():
        rows.append([label, *(_ratio(found.get(column)) for column in columns)])
    whole = table(rows, header=True)
    widths = (_GAP + max(len(cell.text) for cell in column) for column in zip(*whole.rows, strict=True))
    if _INDENT + sum(widths) <= width:
        return whole
    lines = []
    for first, *cells in whole.rows[1:]:
        told = (f"{head} {cell.text}" for head, cell in zip(heads, cells, strict=True) if cell.text != UNKNOWN)
        behind = any(cell.tone is Tone.WARNING for cell in cells)
        lines.append(Cell(f"{first.text}: {'; '.join(told)}", Tone.WARNING if behind else Tone.PLAIN))
    return Lines(tuple(lines))


def _ratio(ratio: Ratio | None) -> Cell:
    if ratio is None:
        return Cell(UNKNOWN, Tone.DIM)
    if ratio.ratio is None:
        return Cell(f"0 ms, {ratio.other} {milliseconds(ratio.theirs)}")
    return Cell(f"{ratio.ratio:.2f} {ratio.other}", Tone.GOOD if ratio.ratio >= 1 else Tone.WARNING)


def header_table(header: Header) -> Table:
    """Where and with what."""
    versions = ", ".join(f"{name} {version}" for name, version in header.versions.items())
    rows = [
        ("machine", f"{header.machine}, {_plural(header.cores, 'core')}"),
        ("date", header.date),
        ("commit", header.commit),
        ("Python", header.python),
        ("versions", versions or UNKNOWN),
        ("seed", str(header.seed)),
        ("command", header.command),
    ]
    return table(rows, labels=1)


# --- comparison ------------------------------------------------------------------------------------------------------

_BAD, _GOOD = (Change.SLOWER, Change.MORE), (Change.FASTER, Change.FEWER)


def comparison_page(comparison: Comparison) -> Page:
    """What got slower first; then what got faster, and what cannot be told, with the reason."""
    changes: list[TimeChange | CountChange] = [*comparison.times, *comparison.counts]
    counts = Counter(change.change for change in changes)
    slower = [change for change in changes if change.change in _BAD]
    faster = [change for change in changes if change.change in _GOOD]
    sections = [*_changes("Worse", slower), *_changes("Better", faster)]
    unclear = [change for change in changes if change.change is Change.UNCLEAR]
    if unclear:
        sections.append(Section("Unclear: more runs would tell", (Lines(tuple(_unclear(unclear))),)))
    refused = Counter(change.reason for change in changes if change.change is Change.NOT_COMPARABLE)
    if refused:
        lines = (Cell(f"{_plural(count, 'figure')} not comparable because {why}") for why, count in refused.items())
        sections.append(Section("Not comparable", (Lines(tuple(lines)),)))
    alone = [*_alone("old", comparison.only_old), *_alone("new", comparison.only_new)]
    if alone:
        sections.append(Section("In one file only", (Lines(tuple(alone)),)))
    sections.append(Section("The two files", (_headers(comparison.old, comparison.new),)))
    return Page(*_verdict(counts, len(changes)), tuple(sections))


def _verdict(counts: Counter[Change], total: int) -> tuple[Cell, str]:
    said = [
        f"{counts[change]} {words}"
        for change, words in (
            (Change.SLOWER, "slower"),
            (Change.FASTER, "faster"),
            (Change.MORE, "failing more often"),
            (Change.FEWER, "failing less often"),
            (Change.SAME, "the same"),
            (Change.UNCLEAR, "unclear"),
            (Change.NOT_COMPARABLE, "not comparable"),
        )
        if counts[change]
    ]
    summary = f"Of {_plural(total, 'figure')}: {', '.join(said)}."
    if any(counts[change] for change in _BAD):
        return Cell("SLOWER", Tone.BAD), summary
    if any(counts[change] for change in _GOOD):
        return Cell("FASTER", Tone.GOOD), summary
    if not total:
        return Cell("NOT COMPARABLE", Tone.WARNING), "The files have no setting in common."
    if counts[Change.NOT_COMPARABLE] == total:
        return Cell("NOT COMPARABLE", Tone.WARNING), summary
    return Cell("NO CHANGE", Tone.GOOD), summary


def _changes(word: str, changes: Iterable[TimeChange | CountChange]) -> Iterator[Section]:
    """One for each setting."""
    for setting, group in _by_setting(changes).items():
        bodies: list[Table | Lines] = []
        times = [change for change in group if isinstance(change, TimeChange)]
        if times:
            heads = ("p50", "old", "new", "difference", "95 % interval", "runs")
            rows = [[Cell(head, Tone.DIM) for head in heads], *map(_time_row, times)]
            bodies.append(replace(table(rows, labels=1, header=True, numbers=True), texts=1))
        bad_ends = tuple(_count_line(change) for change in group if isinstance(change, CountChange))
        if bad_ends:
            bodies.append(Lines(bad_ends))
        yield Section(f"{word}: {setting.engine}, {setting.label}", tuple(bodies))


def _by_setting(changes: Iterable[TimeChange | CountChange]) -> dict[Setting, list[TimeChange | CountChange]]:
    found: dict[Setting, list[TimeChange | CountChange]] = {}
    for change in changes:
        found.setdefault(change.setting, []).append(change)
    return found


def _unclear(changes: Iterable[TimeChange | CountChange]) -> Iterator[Cell]:
    for setting, group in _by_setting(changes).items():
        what = (HEADS[change.phase] if isinstance(change, TimeChange) else change.what for change in group)
        yield Cell(f"{setting.engine}, {setting.label}: {', '.join(what)}")


def _time_row(change: TimeChange) -> list[Cell]:
    interval = "" if change.low is None or change.high is None else f"{more(change.low)} … {more(change.high)}"
    runs = f"{change.runs_old}, {change.runs_new}" + (", one by one" if change.paired else "")
    texts = (
        HEADS[change.phase],
        milliseconds(change.old),
        milliseconds(change.new),
        UNKNOWN if change.difference is None else more(change.difference),
        interval,
        runs,
    )
    tone = Tone.BAD if change.change is Change.SLOWER else Tone.GOOD if change.change is Change.FASTER else Tone.PLAIN
    return [Cell(text, tone if index == 3 else Tone.PLAIN) for index, text in enumerate(texts)]


def _count_line(change: CountChange) -> Cell:
    tone = Tone.BAD if change.change is Change.MORE else Tone.GOOD if change.change is Change.FEWER else Tone.PLAIN
    return Cell(f"{change.what}: {change.old} of {change.runs_old}, now {change.new} of {change.runs_new}", tone)


def _alone(which: str, settings: Iterable[Setting]) -> Iterator[Cell]:
    """A line for each condition."""
    engines: dict[str, list[str]] = {}
    for setting in settings:
        engines.setdefault(setting.label, []).append(setting.engine)
    for label, names in engines.items():
        yield Cell(f"{which}: {label}: {', '.join(names)}")


def _headers(old: Header, new: Header) -> Table:
    """Side by side, what differs in yellow."""
    rows: list[list[str | Cell]] = [[Cell(""), Cell("old", Tone.DIM), Cell("new", Tone.DIM)]]
    for before, after in zip(header_table(old).rows, header_table(new).rows, strict=True):
        tone = Tone.PLAIN if before == after else Tone.WARNING
        rows.append([before[0], before[1], Cell(after[1].text, tone)])
    return table(rows, labels=1, header=True)
