"""Every bar that icekit has set itself, beside what is measured now: one command, one table.

    sudo chrt -r 1 python benchmarks/bars.py [--calls FILE] [--quote]

On a machine that does nothing else (``chrt`` keeps what is left of it out): codecs beside aioice and the start of
commands (a minute), the server beside coturn (40 s), 1,000 agents (3 min), and calls of all engines on every network of
the laboratory at 0 and 50 ms (8 min), or those in FILE, of ``icekit bench --out FILE``. Of calls the medians count.
The exit code is 1 when a bar is missed; what is known of a miss stands below the table. ``--quote`` also writes what is
asked into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from icekit.bench.markdown import condition
from icekit.bench.networks import NETWORKS
from icekit.bench.plan import default_engines
from icekit.bench.samples import Header, Phase, Results, Sample, Setting, read_results
from icekit.bench.summary import OURS, ratios, summarise

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
REGION = re.compile(r"(<!-- bars -->\n).*?(<!-- end of bars -->\n)", re.DOTALL)
AGENTS = 1000
HERE = Setting(engine=OURS, network="port-restricted", rtt=0.05, medium="lab")
COMPARED = (0.0, 0.05)
RELAYED = ("symmetric--port-restricted", "relay-only", "udp-blocked--open")

PACE = (
    "RFC 8445 §14.2 lets all transactions of a process start 5 ms apart, gathering included; libwebrtc sends its first "
    "ones at once. docs/ice.md has the measurement."
)
DEAD = (
    "Whom nobody has asked yet may be the dead one, and §14.2 keeps the next request 5 ms away: 0 cannot be reached "
    "where the dead server comes first. docs/ice.md has the rest."
)
NO_PACE = "aioice keeps no pace (§14.2) and makes no description; in some runs it needs 500 ms there."
WORK = "The limit is 200 ms, and 5 ms for the pace; the rest is computing."
PERMISSION = (
    "The limit is 250 ms. The other side's first check comes to the new relay 8 ms before its permission and is lost "
    "there; its turn comes again after 23 ms, behind its other pairs."
)
AFTER = "DTLS 1.2 and SCTP take three round trips, 150 ms; the rest is computing."


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what is asked of it; ``at_most`` and ``at_least`` ``None``: it is stated, nothing is asked."""

    what: str
    measured: float | None
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    known: str = ""

    @property
    def holds(self) -> bool:
        """As it is printed: with two digits behind the point for ratios, none for milliseconds."""
        if not self.is_asked:
            return True
        if self.measured is None:
            return False
        shown = round(self.measured, self.digits)
        return (self.at_most is None or shown <= self.at_most) and (self.at_least is None or shown >= self.at_least)

    @property
    def is_asked(self) -> bool:
        return self.at_most is not None or self.at_least is not None

    @property
    def digits(self) -> int:
        """Behind the point."""
        return {"×": 2, "s": 1}.get(self.unit, 0)

    def row(self) -> tuple[str, str, str, str]:
        """What it is, what was measured, what is asked, and the verdict."""
        measured = "not measured" if self.measured is None else f"{self.measured:,.{self.digits}f} {self.unit}"
        asked = next(
            (
                f"{word} {value:,.{self.digits}f}"
                for word, value in (("at most", self.at_most), ("at least", self.at_least))
                if value is not None
            ),
            "",
        )
        return self.what, measured, asked, ("holds" if self.holds else "MISSED") if asked else ""


def of_codecs(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Bar]:
    """``extra_info`` of the micro-benchmarks by the name of their tests."""
    for name, info in found.items():
        what = f"{name.removeprefix('test_').replace('_', ' ')}, beside {info['rival']}"
        yield Bar(what, info["ratio"], "×", at_most=info["bar"])


def of_start(seconds: Mapping[str, float]) -> Iterator[Bar]:
    for what, most in (("import icekit", 60), ("icekit --help", 300), ("icekit explain CANDIDATE", 300)):
        yield Bar(what, 1e3 * seconds[what], "ms", at_most=most)


def of_servers(found: Mapping[str, tuple[float, float, float]]) -> Iterator[Bar]:
    for work, (ours, theirs, ratio) in found.items():
        yield Bar(f"server, {work}: icekit, for each second of its processor", ours, "")
        yield Bar(f"server, {work}: coturn", theirs, "")
        yield Bar(f"server, {work}: icekit / coturn", ratio, "×")


def of_scale(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Bar]:
    ours = found["icekit"]
    interrupted = ours["alone"]["interrupted"] + ours["company"]["interrupted"]
    known = f"{interrupted} pairs, in which the host had the core, are left out."
    yield Bar("a pair beside 1,000 agents, p99 / alone", ours["ratio"], "×", at_most=2, known=known)
    yield Bar("of 1,000 agents, connected to the end", ours["kept"], "", at_least=AGENTS)
    for engine, figures in found.items():
        yield Bar(f"1,000 agents started at once, all connected: {engine}", figures["at_once"], "s")
        yield Bar(f"memory of an agent: {engine}", figures["memory"] / 1e3, "kB")
        yield Bar(f"processor of an agent, each second: {engine}", 1e6 * figures["cpu"], "µs")


def of_calls(results: Results) -> Iterator[Bar]:
    """The bars for calls on real sockets."""
    for ratio in ratios(summarise(sample for sample in results.samples if is_compared(sample.setting))):
        if ratio.phase in (Phase.FIRST_VALID, Phase.SELECTED):
            what = f"{phase_name(ratio.phase)}, {condition(ratio.label)}: {ratio.other} / icekit"
            known = NO_PACE if ratio.other == "aioice" else PACE if ratio.label.startswith("host,") else ""
            yield Bar(what, ratio.ratio, "×", at_least=1.0, known=known)
    median = _Medians(results.samples)
    where = condition(HERE.label)
    yield Bar(f"{phase_name(Phase.FIRST_VALID)}, {where}", median.of(HERE, Phase.FIRST_VALID), "ms", at_most=150)
    yield Bar(f"channel open, {where}", median.of(HERE, Phase.OPEN), "ms", at_most=370)
    for network in RELAYED:
        setting = replace(HERE, network=network, relay_only=network == "relay-only")
        what = f"{phase_name(Phase.FIRST_VALID)}, {condition(setting.label)}"
        known = PERMISSION if network == "udp-blocked--open" else WORK
        yield Bar(what, median.of(setting, Phase.FIRST_VALID), "ms", at_most=280, known=known)
    alive, dead = (median.of(setting, Phase.FIRST_VALID) for setting in (HERE, replace(HERE, dead="stun")))
    more = None if alive is None or dead is None else dead - alive
    yield Bar("what the only STUN server costs when it is dead", more, "ms", at_most=0, known=DEAD)
    yield Bar(f"from the valid pair to the open channel, {where}", median.between(HERE), "ms", at_most=160, known=AFTER)


def phase_name(phase: Phase) -> str:
    return {Phase.FIRST_VALID: "valid pair on both sides", Phase.SELECTED: "both sides selected"}[phase]


def is_compared(setting: Setting) -> bool:
    """Any network of the laboratory at 0 and 50 ms, and nothing else that is special."""
    plain = replace(HERE, engine=setting.engine, network=setting.network, rtt=setting.rtt)
    return setting.rtt in COMPARED and replace(setting, relay_only=False) == plain


class _Medians:
    """Milliseconds of the runs of a setting that got there."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples: dict[Setting, list[Sample]] = {}
        for sample in samples:
            self._samples.setdefault(sample.setting, []).append(sample)

    def of(self, setting: Setting, phase: Phase) -> float | None:
        return _median(sample.phases.get(phase) for sample in self._samples.get(setting, ()))

    def between(self, setting: Setting) -> float | None:
        """What DTLS and SCTP take after ICE."""
        return _median(
            end - begin
            for sample in self._samples.get(setting, ())
            if (begin := sample.phases.get(Phase.FIRST_VALID)) is not None
            and (end := sample.phases.get(Phase.OPEN)) is not None
        )


def _median(seconds: Iterable[float | None]) -> float | None:
    times = [1e3 * time for time in seconds if time is not None]
    return statistics.median(times) if times else None


def measured(script: str) -> Any:
    """What a benchmark prints as JSON."""
    print(f"{script} …", file=sys.stderr)
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout)


def codecs() -> dict[str, dict[str, Any]]:
    print("micro …", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "micro.json"
        command = [sys.executable, "-m", "pytest", "-q", "benchmarks/micro", "--benchmark-only"]
        # 1: a bar is missed, which the table says.
        done = subprocess.run(
            [*command, f"--benchmark-json={out}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode > 1 or not out.exists():
            raise SystemExit(f"the micro-benchmarks did not run:\n{done.stdout}")
        return {item["name"]: item["extra_info"] for item in json.loads(out.read_text("utf-8"))["benchmarks"]}


def laboratory() -> Results:
    """Calls of all engines there are, five of each on every network; with the STUN server dead, of ours alone."""
    samples: list[Sample] = []
    # Our ICE alone is compared with nobody.
    engines = [name for name in default_engines("lab") if name != "icekit_ice"]
    alive = [*_options("--engine", engines), *_options("--network", NETWORKS), *_options("--rtt", ("0ms", "50ms"))]
    dead = ["--engine", OURS, "--network", HERE.network, "--rtt", "50ms", "--dead", "stun"]
    for options in (alive, dead):
        print("icekit bench …", file=sys.stderr)
        command = [sys.executable, "-m", "icekit", "bench", "--lab", "--json", "--runs", "5", *options]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        results = read_results(done.stdout)
        samples += results.samples
    return Results(header=results.header, samples=tuple(samples))


def _options(name: str, values: Iterable[str]) -> Iterator[str]:
    return (word for value in values for word in (name, value))


def processor() -> tuple[int, int]:
    """Ticks in which this machine had its processors, and in which its host had given them to somebody else (Linux)."""
    user, nice, system, _, _, hard, soft, stolen, *_ = map(
        int, Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    )
    return user + nice + system + hard + soft, stolen


def show(bars: list[Bar], share: float) -> str:
    rows = [("", "measured", "asked", ""), *(bar.row() for bar in bars)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{what:{widths[0]}}  {figure:>{widths[1]}}  {asked:{widths[2]}}  {verdict}".rstrip()
        for what, figure, asked, verdict in rows
    ]
    return "\n".join([*lines, "", *conclusion(bars, share)])


def conclusion(bars: list[Bar], share: float) -> list[str]:
    missed = [bar for bar in bars if not bar.holds]
    asked = sum(bar.is_asked for bar in bars)
    held = f"{asked - len(missed)} of {asked} bars hold"
    return [
        f"{held}; the host took {share:.0%} of the processors from this machine meanwhile.",
        *(f"{bar.what}: {bar.known or 'not explained.'}" for bar in missed),
    ]


def quoted(bars: list[Bar], header: Header, share: float) -> str:
    """Markdown of what is asked, and whether it holds."""
    rows = (bar.row() for bar in bars if bar.is_asked)
    return "\n".join(
        [
            f"Commit {header.commit}, {header.date[:10]}, {header.machine}, {header.cores} cores:",
            "",
            "| bar | measured | asked | |",
            "|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            "  \n".join(conclusion(bars, share)),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=Path, metavar="FILE")
    parser.add_argument("--quote", action="store_true")
    options = parser.parse_args()
    before = processor()
    calls = laboratory() if options.calls is None else read_results(options.calls.read_text(encoding="utf-8"))
    bars = [
        *of_codecs(codecs()),
        *of_start(measured("bench_start.py")),
        *of_servers(measured("bench_servers.py")),
        *of_scale(measured("bench_scale.py")),
        *of_calls(calls),
    ]
    used, stolen = (now - then for now, then in zip(processor(), before, strict=True))
    share = stolen / (used + stolen)
    print(f"calls: commit {calls.header.commit}\n\n{show(bars, share)}")
    if options.quote:
        text = f"\\1\n{quoted(bars, calls.header, share)}\n\n\\2"
        PAGE.write_text(REGION.sub(text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
