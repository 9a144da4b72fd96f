"""``icekit sim``: a call between two peers in the simulated Internet, in virtual time."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icekit.cli.completion import preset_pairs, scenario_settings
from icekit.cli.options import JsonOutput, read_file, require_writable
from icekit.cli.sweep import Dask, Jobs, Out, SweepFile, run_sweep
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from icekit.sim.scenario import Outcome, PeerOutcome, Scenario

Target = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE|PRESETxPRESET",
        help="A scenario file (TOML), or the NATs of both peers.",
        autocompletion=preset_pairs,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A key of the scenario; may be given several times.",
        autocompletion=scenario_settings,
    ),
]
WantTimeline = Annotated[bool, typer.Option("--timeline", help="The fate of every packet, a line each.")]
Capture = Annotated[
    Path | None, typer.Option("--capture", metavar="FILE", help="Write every packet to a file for Wireshark (pcapng).")
]


def sim(
    targets: Target = None,
    settings: Settings = None,
    timeline: WantTimeline = False,
    capture: Capture = None,
    sweep: SweepFile = None,
    out: Out = None,
    jobs: Jobs = None,
    dask: Dask = None,
    json: JsonOutput = False,
) -> None:
    """Let two simulated peers call each other and print path, candidates and times in milliseconds.

    Examples: icekit sim symmetricxport-restricted --set turn=udp --set engine=aioice. Exit code 1: not connected.

    icekit sim --sweep FILE --out runs.jsonl --jobs 4: many runs; what the file has already is not run again.
    """
    if sweep is not None:
        if targets or settings or timeline or capture is not None or json:
            raise ConfigError("--sweep goes with --out, --jobs and --dask only: the file says the rest")
        run_sweep(sweep, out, jobs, dask)
        return
    if not targets:
        raise ConfigError("name a scenario file or two presets (symmetricxport-restricted), or give --sweep FILE")
    if len(targets) > 1:
        raise ConfigError(f"one scenario at a time; two presets are one word: {'x'.join(targets[:2])[:120]}")
    if out is not None or jobs is not None or dask is not None:
        raise ConfigError("--out, --jobs and --dask belong to --sweep FILE")
    if capture is not None:
        require_writable("--capture", capture)
    scenario = _read(targets[0]).changed(dict(_setting(text) for text in settings or ()))

    from icekit.cli import render
    from icekit.report import PathKind
    from icekit.sim.runner import run

    outcome = run(scenario, timeline=timeline, capture=capture)
    if json:
        render.print_json(outcome)
    else:
        render.show(outcome_text(outcome))
        for line in outcome.timeline or ():
            typer.echo(line)
    if outcome.path is PathKind.NONE:
        raise typer.Exit(1)


def _read(target: str) -> Scenario:
    """A file where there is one of that name, else two presets."""
    from icekit.nat_presets import PRESETS, preset
    from icekit.sim.scenario import Scenario

    path = Path(target)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False  # too long for a name, or with characters that no name has
    if is_file:
        return Scenario.from_toml(read_file("sim", path))
    # No preset has an x in its name.
    names = re.split("[×x]", target)
    if len(names) != 2 or "" in names or "." in target or "/" in target:
        raise ConfigError(
            f"{target[:60]!r}: there is no such file, and it is not PRESETxPRESET; presets: {', '.join(PRESETS)}"
        )
    return replace(Scenario(), a=preset(names[0]).name, b=preset(names[1]).name)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: write KEY=VALUE")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value  # a word needs no quotes here


def outcome_text(outcome: Outcome) -> RenderableType:
    """The path first, then a line for each peer."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from icekit.report import PathKind

    scenario = outcome.scenario
    sentence = {
        PathKind.DIRECT: "direct: the peers talk without a relay.",
        PathKind.RELAY: "relay: data goes through the TURN server.",
    }.get(outcome.path, "none: no data flows between the peers.")
    if outcome.split:
        sentence = "relay, on one side only: one peer sends through the TURN server, the other one directly."
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("", "NAT", "candidates", "gathered", "connected", "settled")
    for name, nat, peer in (("A", scenario.a, outcome.a), ("B", scenario.b, outcome.b)):
        kinds = "–" if peer.local is None else f"{peer.local} to {peer.remote}"
        table.add_row(name, nat, kinds, *map(_ms, (peer.gathered_ms, peer.connected_ms, peer.settled_ms)))
    style = "red" if outcome.path is PathKind.NONE else "green"
    return Group(
        Text(sentence, style=style),
        Text(f"engine {scenario.engine}, seed {scenario.seed}, virtual time; settled: the pair is nominated"),
        Text(),
        table,
        *(Text(f"{name}: {_why(peer)}") for name, peer in (("A", outcome.a), ("B", outcome.b)) if peer.failure),
        *(Text(line) for line in _what_helps(outcome)),
    )


def _what_helps(outcome: Outcome) -> list[str]:
    """Without a path: a relay, if there was none."""
    from icekit.report import PathKind

    if outcome.path is not PathKind.NONE or outcome.scenario.turn != "none":
        return []
    return ["No TURN server is in this scenario: add --set turn=udp (turn=tcp where UDP is blocked)."]


def _why(peer: PeerOutcome) -> str:
    return peer.failure or ""


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
