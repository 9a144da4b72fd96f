"""Puts the figures of ``icekit bench --all --out FILE`` into README.md and docs/bench.md.

    python benchmarks/quote.py FILE

Between ``<!-- bench: NAME -->`` and ``<!-- end of bench -->`` stands what this writes, each time anew; look at the
difference before you commit it. ``icekit bench --read FILE --markdown`` prints all tables.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from icekit.bench.markdown import measured, medians, shown, standing
from icekit.bench.plots import overviews
from icekit.bench.samples import Phase, Results, Setting, read_results
from icekit.bench.summary import Block, blocks, ratios, summarise

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "bench.md")
REGION = re.compile(r"(<!-- bench: (?P<name>[a-z-]+) -->\n).*?(<!-- end of bench -->\n)", re.DOTALL)
PLAIN = Setting(engine="", network="port-restricted", rtt=0.05, medium="lab")


def group(results: Results, title: str, keep: Callable[[Setting], bool] = lambda _: True) -> list[Block]:
    for name, found in overviews(blocks(summarise(results.samples)), least=1):
        if name.endswith(title):
            return [block for block in found if keep(block.entries[0].setting)]
    return []


def is_plain(setting: Setting) -> bool:
    """A network at 50 ms, or one other condition of both port-restricted."""
    others = (setting.rtt, setting.trickle, setting.dead, setting.loss, setting.signaling, setting.gathered)
    plain = (PLAIN.rtt, PLAIN.trickle, PLAIN.dead, PLAIN.loss, PLAIN.signaling, PLAIN.gathered)
    return setting.network == PLAIN.network or others == plain


def in_readme(setting: Setting) -> bool:
    """What a reader of the first screens looks at."""
    far = is_plain(setting) and setting.rtt == PLAIN.rtt and setting.trickle and setting.loss != 0.2
    return far or (setting.rtt == 0 and setting.network in (PLAIN.network, "host"))


def compared(results: Results, medium: str) -> str:
    samples = [sample for sample in results.samples if sample.setting.medium == medium]
    return f"{standing(ratios(summarise(samples)))}\n"


def after_ice(results: Results) -> str:
    """What DTLS and SCTP take: from the valid pair of both sides to their open channel."""
    taken: dict[str, list[float]] = {}
    for sample in results.samples:
        begin, end = (sample.phases.get(phase) for phase in (Phase.FIRST_VALID, Phase.OPEN))
        if replace(sample.setting, engine="") == PLAIN and begin is not None and end is not None:
            taken.setdefault(sample.setting.engine, []).append(1000 * (end - begin))
    medians = sorted((statistics.median(times), name) for name, times in taken.items())
    told = ", ".join(f"{name} {time:.0f}" for time, name in medians)
    return f"From the valid pair to the open channel (both port-restricted, 50 ms), medians in ms: {told}.\n"


def table(results: Results, found: Iterable[Block]) -> str:
    listed = list(found)
    return medians(results.header, listed, shown(listed)) if listed else "Not in the file.\n"


def written(name: str, results: Results) -> str:
    match name:
        case "measured":
            return f"{measured(results)}\n"
        case "readme":
            rows = group(results, "laboratory, whole calls", in_readme)
            return f"{measured(results, versions=False)}\n\n{table(results, rows)}"
        case "laboratory-whole-calls":
            return table(results, group(results, "laboratory, whole calls"))
        case "laboratory-sound":
            return table(results, group(results, "laboratory, whole calls with sound"))
        case "laboratory-ice-alone":
            return table(results, group(results, "laboratory, ICE alone"))
        case "laboratory-standing":
            return compared(results, "lab") + after_ice(results)
        case "simulator-whole-calls":
            return table(results, group(results, "simulator, whole calls", is_plain))
        case "simulator-ice-alone":
            return table(results, group(results, "simulator, ICE alone", lambda setting: bool(setting.loss)))
        case "simulator-standing":
            return compared(results, "sim")
    raise SystemExit(f"there is no text called {name!r}")


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    results = read_results(Path(arguments[0]).read_text(encoding="utf-8"))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = REGION.sub(lambda found: found[1] + "\n" + written(found["name"], results) + "\n" + found[3], text)
        page.write_text(new, encoding="utf-8")
        print(f"{page.name}: {len(REGION.findall(text))} texts, {'changed' if new != text else 'as before'}")


if __name__ == "__main__":
    main(sys.argv[1:])
