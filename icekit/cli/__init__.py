"""The command line: parse, call the library, print. The answer goes to stdout, everything else to stderr.

Exit codes: 0 good, 1 it ran and the answer is no, 2 usage or configuration, 3 it failed, 130 interrupted.
"""

from __future__ import annotations

import io
import sys
import traceback
from typing import Annotated

import typer

import icekit
from icekit.cli import bench, call, credentials, explain, gather, lab, load, predict, probe, serve, sim, turn, watch
from icekit.cli.command import INTERRUPTED, CommandGroup

# Plain help: the rich one costs a tenth of a second.
app = typer.Typer(
    cls=CommandGroup,
    name="icekit",
    help="Why a call connects or does not: STUN, TURN and ICE, measured and explained.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("probe")(probe.probe)
app.command("turn")(turn.turn)
app.command("load")(load.load)
app.command("gather")(gather.gather)
app.command("explain")(explain.explain)
app.command("predict")(predict.predict)
app.command("sim")(sim.sim)
app.command("bench")(bench.bench)
app.command("call")(call.call)
app.command("serve")(serve.serve)
app.command("watch")(watch.watch)
app.add_typer(credentials.app, name="credentials")
app.add_typer(lab.app, name="lab")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"icekit {icekit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a ✓ shows a ? instead of ending the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="icekit")
    except KeyboardInterrupt:
        # Before a command has begun, or for the second time.
        sys.exit(INTERRUPTED)
    except Exception:  # noqa: BLE001 - Python's own exit code would be 1, which means "no" here
        traceback.print_exc()
        sys.exit(3)
