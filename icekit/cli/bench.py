"""``icekit bench``: setup time by phase, beside the limit, for engines, networks and conditions."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from icekit.cli.command import INTERRUPTED
from icekit.cli.completion import bench_engines, bench_networks
from icekit.cli.lab import read_seconds, read_share
from icekit.cli.options import read_file, require_writable
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from icekit.bench.engines import OwnEngine
    from icekit.bench.measure import Orders
    from icekit.bench.plan import Share
    from icekit.bench.record import Recorder
    from icekit.bench.samples import Dead, Results, Sample, Setting

Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="Several times: several. NAME=COMMAND is a program of yours (--lab).",
        autocompletion=bench_engines,
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", metavar="NAME", help="A name of --list, or NAT--NAT.", autocompletion=bench_networks),
]
Rtts = Annotated[list[str] | None, typer.Option("--rtt", metavar="TIME", help="Round trip to peer and servers (50ms).")]
Runs = Annotated[int | None, typer.Option("--runs", metavar="N", min=1, max=10_000, help="Of every setting.")]
InSim = Annotated[bool, typer.Option("--sim", help="In the simulator: virtual time, exact (the default).")]
InLab = Annotated[bool, typer.Option("--lab", help="On real sockets in network namespaces (Linux, root, coturn).")]
Trickle = Annotated[bool, typer.Option("--trickle", help="Candidates are told as they come (the default).")]
Full = Annotated[bool, typer.Option("--full", help="Descriptions wait for all candidates.")]
RelayOnly = Annotated[bool, typer.Option("--relay-only", help="Nothing but relays is a candidate.")]
DeadThings = Annotated[
    list[str] | None,
    typer.Option("--dead", metavar="stun|turn|interface|none", help="What never answers, or reaches nothing."),
]
Losses = Annotated[list[str] | None, typer.Option("--loss", metavar="SHARE", help="Of the packets, each way: 5%.")]
Signaling = Annotated[
    list[str] | None, typer.Option("--signaling", metavar="TIME", help="What a message is on its way: 50ms.")
]
Gathered = Annotated[bool, typer.Option("--gathered", help="Both sides had gathered before (ICE only, simulator).")]
Media = Annotated[bool, typer.Option("--media", help="With sound of the offering side (whole calls, --lab).")]
Everything = Annotated[
    bool,
    typer.Option("--all", help="The full comparison: all engines, networks and conditions; about 14 minutes."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, max=2**31, help="Of what chance decides (1).")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Raw samples, as JSON lines.")]
Read = Annotated[Path | None, typer.Option("--read", metavar="FILE", help="Show this file; measure nothing.")]
Compare = Annotated[Path | None, typer.Option("--compare", metavar="OLD", help="Say what got slower since this file.")]
Plots = Annotated[
    Path | None, typer.Option("--plots", metavar="FOLDER", help="Write drawings there, as SVG and PNG (extra plot).")
]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report with drawings there.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print raw samples as JSON lines, as --out writes them; --list as one JSON.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Medians as Markdown tables, for a page or a ticket.")]
Percentiles = Annotated[bool, typer.Option("--percentiles", help="p50, p90 and p99 of every phase.")]
ListAll = Annotated[bool, typer.Option("--list", help="The engines and networks there are.")]

# Seconds that the laboratory has of the time of --all.
_LAB_SECONDS = 560.0
_RUNS, _RUNS_OF_ALL = 3, 5


def bench(
    engine: Engines = None,
    network: Networks = None,
    rtt: Rtts = None,
    runs: Runs = None,
    sim: InSim = False,
    lab: InLab = False,
    trickle: Trickle = False,
    full: Full = False,
    relay_only: RelayOnly = False,
    dead: DeadThings = None,
    loss: Losses = None,
    signaling: Signaling = None,
    gathered: Gathered = False,
    media: Media = False,
    everything: Everything = False,
    seed: Seed = 1,
    out: Out = None,
    json: JsonLines = False,
    markdown: Markdown = False,
    percentiles: Percentiles = False,
    plots: Plots = None,
    html: Html = None,
    compare: Compare = None,
    read: Read = None,
    list_: ListAll = False,
) -> None:
    """Measure the setup of calls by phase, beside the limit that nothing could be faster than.

    Without options: icekit and aiortc, whole calls and ICE alone, on six networks in the simulator. Exit code 1: a call
    of icekit failed, or --compare found something slower.

    Examples: icekit bench --network port-restricted --rtt 300ms --full. sudo icekit bench --lab --engine icekit
    --engine wrtc --out now.jsonl. icekit bench --read now.jsonl --compare before.jsonl.
    """
    if list_:
        _print_list(json)
        return
    old = None if compare is None else _read(compare, "--compare")
    show = _Showing(json=json, markdown=markdown, percentiles=percentiles, plots=plots, html=html, old=old)
    if read is not None:
        conditions = (trickle, full, relay_only, dead, loss, signaling, gathered, media)
        _refuse_with_read(engine, network, rtt, runs, sim, lab, everything, out, *conditions)
        if show(_read(read, "--read")):
            raise typer.Exit(1)
        return
    own = _own_engines(engine or ())
    if everything:
        shares = _comparison(runs, engine, network)
    else:
        shares = _shares(
            engines=[name.partition("=")[0] for name in engine or ()],
            own=own,
            networks=network or (),
            rtts=[read_seconds("--rtt", text) for text in rtt or ("50ms",)],
            runs=runs or _RUNS,
            mediums=(["sim"] if sim or not lab else []) + (["lab"] if lab else []),
            trickle=([True] if trickle or not full else []) + ([False] if full else []),
            relay_only=relay_only,
            dead=[_read_dead(text) for text in dead or ("none",)],
            losses=[read_share("--loss", text) for text in loss or ("0%",)],
            signaling=[read_seconds("--signaling", text) for text in signaling or ("0ms",)],
            gathered=gathered,
            media=media,
        )
    results = _measure(shares, own, seed, out, show)
    slower = show(results)
    ours = [item for item in results.samples if item.setting.engine.startswith("icekit") and item.failure is not None]
    if slower or ours:
        raise typer.Exit(1)


def _own_engines(given: Sequence[str]) -> dict[str, OwnEngine]:
    from icekit.bench.engines import read_own_engine

    own: dict[str, OwnEngine] = {}
    for engine in (read_own_engine(text) for text in given if "=" in text):
        if own.setdefault(engine.name, engine) is not engine:
            raise ConfigError(f"--engine: two programs are called {engine.name}; give one of them another name")
    return own


def _shares(*, mediums: Sequence[Any], runs: int, **options: Any) -> list[Share]:
    from icekit.bench.plan import Share, combine

    if "lab" in mediums and not options["engines"]:
        _say_who_is_missing()
    return [Share(settings=combine(medium=medium, **options), runs=runs) for medium in mediums]


def _say_who_is_missing() -> None:
    from icekit.bench.engines import ENGINES
    from icekit.bench.plan import why_not

    for name in ENGINES:
        reason = why_not(name)
        if reason is not None:
            typer.echo(f"Without {name}: {reason}.", err=True)


def _comparison(runs: int | None, engine: Sequence[str] | None, network: Sequence[str] | None) -> list[Share]:
    from icekit.bench import plan
    from icekit.lab.namespaces import check_privileges

    if engine or network:
        raise ConfigError("--all takes every engine and network; leave --engine and --network out, or --all")
    laboratory = True
    try:
        check_privileges()
    except ConfigError as error:
        laboratory = False
        typer.echo(f"Only the simulator: {error}.", err=True)
    if laboratory:
        _say_who_is_missing()
    return list(plan.comparison(runs=runs or _RUNS_OF_ALL, laboratory=laboratory, seconds=_LAB_SECONDS))


def _measure(
    shares: Sequence[Share],
    own: Mapping[str, OwnEngine],
    seed: int,
    out: Path | None,
    show: Callable[[Results], object],
) -> Results:
    from icekit.bench import laboratory
    from icekit.bench.measure import Orders
    from icekit.bench.plan import estimate
    from icekit.bench.record import Recorder, make_header

    if out is not None:
        require_writable("--out", out)
    real = [setting for share in shares for setting in share.settings if setting.medium == "lab"]
    if real:
        laboratory.check(real, own)
        # Its end removes what was built, as Ctrl-C does.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
    calls = sum(len(share.settings) * share.runs for share in shares)
    typer.echo(f"{calls} {'call' if calls == 1 else 'calls'} at most, about {_duration(estimate(shares))}.", err=True)
    command = shlex.join(["icekit", *sys.argv[1:]])
    recorder = Recorder(make_header(seed, command), out)
    try:
        with recorder, _Told(shares) as told:
            for share in shares:
                orders = Orders(
                    runs=share.runs,
                    seed=seed,
                    take=_taking(recorder, told),
                    told=recorder.add_versions,
                    begins=told.begin,
                    until=time.monotonic() + share.seconds if share.seconds else float("inf"),
                    own=own,
                    refused=lambda reason: typer.echo(reason, err=True),
                )
                _measure_share(share, orders)
    except KeyboardInterrupt:
        show(recorder.results)
        raise typer.Exit(INTERRUPTED) from None
    return recorder.results


def _measure_share(share: Share, orders: Orders) -> None:
    from icekit.bench import laboratory, simulated

    in_sim, in_lab = ([item for item in share.settings if item.medium == medium] for medium in ("sim", "lab"))
    if in_sim:
        orders.told({name: simulated.versions()[name] for name in sorted({item.engine for item in in_sim})})
        simulated.measure_all(in_sim, orders)
    if in_lab:
        laboratory.measure_all(in_lab, orders)


def _taking(recorder: Recorder, told: _Told) -> Callable[[Sample], None]:
    def take(sample: Sample) -> None:
        recorder.add(sample)
        told.took(sample)

    return take


class _Told:
    """What happens now, on stderr: a line that changes, without a terminal one for every condition."""

    def __init__(self, shares: Sequence[Share]) -> None:
        from icekit.bench.plan import seconds_of
        from icekit.cli.render import Progress

        self._progress = Progress()
        self._began = time.monotonic()
        # Of the conditions that have not begun.
        self._left = seconds_of(shares)
        self._conditions = len(self._left)
        self._label = ""

    def __enter__(self) -> _Told:
        self._progress.__enter__()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()

    def begin(self, setting: Setting) -> None:
        gone, left = time.monotonic() - self._began, sum(self._left.values())
        self._left.pop(setting.condition, None)
        number = self._conditions - len(self._left)
        times = f"{_minutes(gone)} of about {_minutes(gone + left)}"
        self._label = f"{number} of {self._conditions}, {times}: {setting.label}"
        if sys.stderr.isatty():
            self._progress.show(self._label)
        else:
            typer.echo(self._label, err=True)

    def took(self, sample: Sample) -> None:
        self._progress.show(f"{self._label}, {sample.setting.engine}, run {sample.run + 1}")


def _end(number: int, _frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _read(path: Path, option: str) -> Results:
    from icekit.bench.samples import read_results
    from icekit.errors import DecodeError

    try:
        return read_results(read_file(option, path))
    except DecodeError as error:
        raise ConfigError(f"{option}: {path}: {error}") from None


def _refuse_with_read(*others: object) -> None:
    if any(others):
        raise ConfigError("--read shows what was measured before: leave out what says how to measure, and --out")


def _read_dead(text: str) -> Dead | None:
    from icekit.bench.samples import DEAD

    for item in DEAD:
        if text == item:
            return item
    if text != "none":
        raise ConfigError(f"--dead: {text[:60]!r} is not known; write {', '.join(DEAD)} or none")
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Showing:
    """In which forms, and what ``old`` results are compared with. ConfigError before anything is measured."""

    json: bool
    markdown: bool
    percentiles: bool
    plots: Path | None
    html: Path | None
    old: Results | None

    def __post_init__(self) -> None:
        if self.json and self.markdown:
            raise ConfigError("--json and --markdown are two forms of one thing; leave one out")
        if self.plots is not None:
            from icekit.bench.canvas import require

            require()
        if self.plots is not None and self.plots.exists() and not self.plots.is_dir():
            raise ConfigError(f"--plots: {self.plots} is a file; name a folder")
        if self.html is not None:
            require_writable("--html", self.html)

    def __call__(self, results: Results) -> bool:
        """Print and write; whether something got slower."""
        from icekit.bench.compare import Change, compare
        from icekit.bench.result_pages import comparison_page, results_page
        from icekit.bench.samples import write_results
        from icekit.cli import render

        comparison = None if self.old is None else compare(self.old, results)
        if self.json and comparison is not None:
            render.print_json(comparison)
        elif self.json:
            sys.stdout.write(write_results(results))
        elif self.markdown:
            from icekit.bench.markdown import markdown

            typer.echo(markdown(results))
        else:
            width = render.console().width
            render.print_page(results_page(results, width=width, percentiles=self.percentiles))
            if comparison is not None:
                typer.echo()
                render.print_page(comparison_page(comparison))
        if self.plots is not None:
            from icekit.bench.plots import write_plots

            typer.echo(f"{len(write_plots(results, self.plots))} files are in {self.plots}.", err=True)
        if self.html is not None:
            from icekit.bench.html_report import html_report

            self.html.write_text(html_report(results, comparison), encoding="utf-8")
        if comparison is None:
            return False
        changes = {item.change for item in comparison.times} | {item.change for item in comparison.counts}
        return bool(changes & {Change.SLOWER, Change.MORE})


def _print_list(json: bool) -> None:
    from icekit.bench import simulated
    from icekit.bench.engines import ENGINES
    from icekit.bench.networks import NETWORKS
    from icekit.bench.plan import why_not

    if json:
        import json as json_module

        document = {
            "schema": "icekit/bench-list/1",
            "engines": {name: {"simulator": name in simulated.ENGINES, "missing": why_not(name)} for name in ENGINES},
            "networks": {
                name: {"a": item.a, "b": item.b, "relay_only": item.relay_only} for name, item in NETWORKS.items()
            },
        }
        typer.echo(json_module.dumps(document))
        return
    width = max(map(len, (*ENGINES, *NETWORKS)))
    for name in ENGINES:
        reason = why_not(name)
        where = "--sim, --lab" if name in simulated.ENGINES else "--lab"
        typer.echo(f"{name:{width}}  engine   {where if reason is None else reason}")
    for name, item in NETWORKS.items():
        extra = ", relays only" if item.relay_only else ""
        typer.echo(f"{name:{width}}  network  {item.a} calls {item.b}{extra}")
    typer.echo("Other networks: NAT or NAT--NAT, with the NATs of icekit lab list but those of the kernel.", err=True)
