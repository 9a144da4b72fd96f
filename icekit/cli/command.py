"""How every command ends: errors as one sentence with their exit code, and Ctrl-C with what is known so far."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup

from icekit.errors import IcekitError, MissingCredentials

INTERRUPTED = 130

T = TypeVar("T")


class CommandGroup(TyperGroup):
    """Turns the errors of its commands into a sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except IcekitError as error:
            typer.echo(f"icekit: {_told(error)}", err=True)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            # A reader that has gone away (icekit … | head) is no failure of ours; typer ends quietly.
            if error.errno == errno.EPIPE:
                raise
            typer.echo(f"icekit: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
            raise typer.Exit(IcekitError.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _told(error: IcekitError) -> str:
    """Its text; what only a command line knows about is added here."""
    if not isinstance(error, MissingCredentials):
        return str(error)
    missing = " and ".join(error.missing)
    options = " and ".join(f"--{name}" for name in error.missing)
    return f"{error.url} needs a {missing}; give {options}, or add {missing} to its entry in the server list"


def run(main: Coroutine[Any, Any, T], on_interrupt: Callable[[], None]) -> T:
    """Run ``main`` on an event loop and give its result.

    Ctrl-C cancels ``main``, whose ``finally`` blocks still run (that is where allocations are released), then calls
    ``on_interrupt``, which prints what is known, and exits with 130.
    """
    import asyncio  # not needed for --help

    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        on_interrupt()
        raise typer.Exit(INTERRUPTED) from None
