"""The command line: parse, call the library, print. The answer goes to stdout, everything else to stderr.

Exit codes: 0 good, 1 it ran and the answer is no, 2 usage or configuration, 3 it failed, 130 interrupted.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import traceback
from importlib import import_module
from typing import Annotated, Any, Final

import typer

import icekit
from icekit.cli.command import INTERRUPTED, CommandGroup
from icekit.errors import IcekitError

COMMANDS: Final = {
    "probe": "Diagnose this network and its servers; will calls connect?",
    "turn": "Test one TURN server, stage by stage, with data through it.",
    "load": "Load your own TURN server: how much does it carry?",
    "gather": "List the candidates of this host, as they come.",
    "explain": "Explain what you paste: candidates, SDPs, logs, codes …",
    "predict": "Predict whether two ends will connect, by which path.",
    "sim": "Let two simulated peers call each other behind any NAT.",
    "bench": "Measure how long calls take to set up, phase by phase.",
    "call": "Call whoever calls the same URL: sound, pictures, data.",
    "serve": "Run a STUN, TURN and signaling server for development.",
    "watch": "Check a fleet of servers for ever: Prometheus, Nagios.",
    "credentials": "Make and decode TURN credentials and room tokens.",
    "lab": "Run any program behind any NAT (Linux, root).",
}
"""Modules of this package, each with a command of its name, or with commands of its own in ``app``; and the list of
``icekit --help``, which cuts off what is longer.
"""


class Commands(CommandGroup):
    """Imports the one that is called; all of them for ``--help``, and for a name that is none, to suggest another."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or ``None``."""
        for name in (cmd_name,) if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return self.commands.get(cmd_name)


def _load(name: str) -> Any:
    module = import_module(f"icekit.cli.{name}")
    commands = getattr(module, "app", None)
    if commands is None:
        commands = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        commands.command(name)(getattr(module, name))
    command = typer.main.get_command(commands)
    command.name = name
    command.short_help = COMMANDS[name]
    return command


# Plain help: the rich one costs a tenth of a second.
app = typer.Typer(
    cls=Commands,
    name="icekit",
    help="Why a call connects or does not: STUN, TURN and ICE, measured and explained.",
    epilog="Exit codes: 0 good, 1 it ran and the answer is no, 2 usage or configuration, 3 it failed, 130 Ctrl-C.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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


# What a terminal or a file shows that has not these letters. As ? what works would look like what does not.
_IN_ASCII: Final = {"✓": "+", "✗": "x", "×": "x", "–": "-", "−": "-", "→": ">", "↔": "<>", "…": "..."}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit."""
    codecs.register_error("icekit", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="icekit")
    code: int | str | None = 0
    try:
        app(prog_name="icekit")
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        # Before a command has begun, or for the second time.
        code = INTERRUPTED
    except OSError as error:
        # Those of commands are told there: this is the help, or the version, that could not be written.
        code = _unwritten(error)
    except Exception:  # noqa: BLE001 - Python's own exit code would be 1, which means "no" here
        traceback.print_exc()
        code = IcekitError.exit_code
    sys.exit(_written(code))


def _written(code: int | str | None) -> int | str | None:
    """``code``, or 3 if nobody gets the answer: Python itself would try that after the end, and only grumble."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left goes nowhere, and Python has nothing to grumble about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader that has gone away is no failure of ours.
        if error.errno != errno.EPIPE and code != IcekitError.exit_code:
            return _unwritten(error)
    return code


def _unwritten(error: OSError) -> int:
    typer.echo(f"icekit: the answer could not be written: {error.strerror}", err=True)
    return IcekitError.exit_code
