"""Results as Markdown tables, for a page or a ticket: a row for each condition, a column for each engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from icekit.bench.plots import overviews
from icekit.bench.result_pages import WORDS, milliseconds
from icekit.bench.samples import Header, Phase, Results
from icekit.bench.summary import Block, Entry, Ratio, blocks, is_ours, ours_first, ratios, summarise
from icekit.page import UNKNOWN

SHOWN: Final = (Phase.FIRST_VALID, Phase.DATA)
"""The phases of each cell."""
SHOWN_WITH_SOUND: Final = (*SHOWN, Phase.MEDIA)
"""Those of calls with sound."""

_BEHIND = 0.98
_STACKS: Final = {"wrtc": "wrtc (libwebrtc)", "icekit_ice": "icekit's ICE"}
_NETWORKS: Final = {
    "host": "no NAT",
    "port-restricted": "both port-restricted",
    "symmetric--port-restricted": "symmetric and port-restricted",
    "symmetric--symmetric": "both symmetric",
    "relay-only": "relays only",
    "udp-blocked--open": "one side's UDP blocked",
}


def markdown(results: Results) -> str:
    """Everything: what was measured, and the tables of the simulator and the laboratory, each with its ratios."""
    parts = [f"{measured(results)}\n"]
    rows = summarise(results.samples)
    compared = ratios(rows)
    for title, group in overviews(blocks(rows), least=1):
        own = {block.entries[0].setting.label for block in group}
        kinds = {block.kind for block in group}
        told = standing([ratio for ratio in compared if ratio.label in own and ratio.kind in ("", *kinds)])
        parts += [f"### {title}\n", medians(results.header, group, shown(group)), f"{told}\n"]
    return "\n".join(parts)


def shown(group: Sequence[Block]) -> Sequence[Phase]:
    """What is shown of such conditions."""
    return SHOWN_WITH_SOUND if any(block.entries[0].setting.media for block in group) else SHOWN


def measured(results: Results, *, versions: bool = True) -> str:
    """A sentence: when, where, with what, how many calls, and who failed."""
    header = results.header
    settings = [sample.setting for sample in results.samples]
    failed = [sample.setting.engine for sample in results.samples if sample.failure is not None]
    conditions, engines = {setting.condition for setting in settings}, {setting.engine for setting in settings}
    calls = f"{_count(settings, 'call')} of {_count(engines, 'engine')} in {_count(conditions, 'condition')}"
    ours = sum(map(is_ours, failed))
    failures = f"{len(failed)} failed, {ours or 'none'} of them icekit's" if failed else "none failed"
    used = ", ".join(f"{name} {version}" for name, version in header.versions.items())
    return (
        f"`{header.command}`, commit {header.commit}, {header.date[:10]}, {header.machine}, {header.cores} cores, "
        f"Python {header.python}: {calls}, {failures}" + (f" ({used})." if versions and used else ".")
    )


def _count(items: Collection[object], thing: str) -> str:
    return f"{len(items):,} {thing}" if len(items) == 1 else f"{len(items):,} {thing}s"


def medians(header: Header, group: Sequence[Block], phases: Sequence[Phase] = SHOWN) -> str:
    """A table. A cell has the median of each phase in milliseconds, the best of a row in bold; who fails is counted."""
    engines = sorted({entry.setting.engine for block in group for entry in block.entries}, key=ours_first)
    lines = [f"| condition | limit | {' | '.join(_stack(name, header) for name in engines)} |"]
    lines.append(f"|---|---|{'---|' * len(engines)}")
    for block in group:
        entries = {entry.setting.engine: entry for entry in block.entries}
        limit = _slashed([block.limit(phase) for phase in phases], milliseconds)
        cells = (_cell(entries.get(name), block, phases) for name in engines)
        lines.append(f"| {condition(block.entries[0].setting.label)} | {limit} | {' | '.join(cells)} |")
    words = " / ".join(WORDS[phase] for phase in phases)
    runs = sorted({entry.counts.runs for block in group for entry in block.entries})
    number = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    calls = "one call" if runs == [1] else f"{number} calls"
    return "\n".join([*lines, "", f"Medians in ms of {calls} each: {words}."]) + "\n"


def condition(label: str) -> str:
    """The label of a setting for people who do not know the names of the networks, without its medium."""
    network, *others = label.split(", ")[:-1]
    words = [_NETWORKS.get(network, network), *(word.removeprefix("RTT ") for word in others)]
    return ", ".join(word for word in words if not (word == "relay only" and network == "relay-only"))


def _stack(name: str, header: Header) -> str:
    stack = _STACKS.get(name, name)
    version = header.versions.get(name, "")
    # Of the others the version is a part of what is said; ours is that of the page.
    return stack if is_ours(name) or not version else f"{stack} {'.'.join(version.split('.')[:2])}"


def _cell(entry: Entry | None, block: Block, phases: Sequence[Phase]) -> str:
    if entry is None:
        return ""
    counts = entry.counts
    if counts.failures == counts.runs:
        return "fails"
    best = {phase: min(_times(block, phase), default=None) for phase in phases}
    texts = []
    for phase in phases:
        time = entry.rows[phase].p50
        text = milliseconds(time)
        # Who looks the same is as good.
        texts.append(f"**{text}**" if time is not None and text == milliseconds(best[phase]) else text)
    failed = f" ({counts.failures} of {counts.runs} failed)" if counts.failures else ""
    return " / ".join(texts) + failed


def _times(block: Block, phase: Phase) -> Iterator[float]:
    if len(block.entries) > 1:
        for entry in block.entries:
            if (time := entry.rows[phase].p50) is not None and entry.counts.failures < entry.counts.runs:
                yield time


def _slashed(times: Sequence[float | None], text: Callable[[float], str]) -> str:
    return " / ".join(UNKNOWN if time is None else text(time) for time in times)


def standing(compared: Sequence[Ratio]) -> str:
    """Sentences: in how many comparisons icekit is ahead, by how much, and each place where it is behind by 2 %."""
    if not compared:
        return "There is no other engine to compare with."
    shares = sorted(ratio.ratio for ratio in compared if ratio.ratio is not None)
    ahead = sum(share >= 1 for share in shares) + sum(ratio.ratio is None for ratio in compared)
    told = f"icekit is ahead of the best other engine in {ahead} of {len(compared)} comparisons"
    if shares:
        told += (
            f" (that one's time divided by icekit's: {shares[0]:.2f} to {shares[-1]:.2f}, median {_middle(shares):.2f})"
        )
    behind: dict[tuple[str, str], list[float]] = {}
    for ratio in compared:
        if ratio.ratio is not None and ratio.ratio <= _BEHIND:
            behind.setdefault((ratio.other, condition(ratio.label)), []).append(ratio.ratio)
    places = [f"{name}, {where}: {_range(found)}" for (name, where), found in sorted(behind.items(), key=_worst)]
    return f"{told}. " + (f"It is behind {'; '.join(places)}." if places else "It is nowhere behind by 2 %.")


def _worst(item: tuple[tuple[str, str], list[float]]) -> float:
    return min(item[1])


def _range(found: Sequence[float]) -> str:
    low, high = f"{min(found):.2f}", f"{max(found):.2f}"
    return low if low == high else f"{low} to {high}"


def _middle(ordered: Sequence[float]) -> float:
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
