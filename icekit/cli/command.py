"""How every command ends: errors as one sentence with their exit code, and Ctrl-C with what is known so far."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
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
    ``on_interrupt``, which prints what is known, and exits with 130. So do SIGTERM and SIGHUP: whoever stops a service
    or closes the terminal wants everything given back, too.
    """
    import asyncio  # not needed for --help

    with _ended_as_by_interrupts():
        try:
            return asyncio.run(main)
        except KeyboardInterrupt:
            on_interrupt()
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _ended_as_by_interrupts() -> Iterator[None]:
    # Windows has no SIGHUP, and nohup has it ignored.
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    # That of asyncio cancels the task. Where a shell script has started us with "&", SIGINT has none.
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)
