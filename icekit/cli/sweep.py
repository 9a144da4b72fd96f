"""``icekit sim --sweep``: a scenario with many values, on several cores or a Dask cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from icekit.cli.options import read_file, require_writable
from icekit.errors import ConfigError

SweepFile = Annotated[
    Path | None,
    typer.Option("--sweep", metavar="FILE", help="A scenario file with a table [vary]: run every combination."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Results of the sweep: JSON lines, or Parquet for *.parquet."),
]
Jobs = Annotated[int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes of the sweep (1).")]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask", metavar="ADDRESS", help="Scheduler of the Dask cluster that runs the sweep: tcp://HOST:8786."
    ),
]


def run_sweep(file: Path, out: Path | None, jobs: int | None, dask: str | None) -> None:
    """Run what is missing of the sweep, and say on stderr how much that was."""
    from icekit.sim.sweep import read_sweep, sweep

    if jobs is not None and dask is not None:
        raise ConfigError("--jobs and --dask exclude each other: the workers of a cluster are its own")
    scenario, vary = read_sweep(read_file("--sweep", file))
    out = file.with_suffix(".jsonl") if out is None else out
    require_writable("--out", out)
    with _executor(jobs, dask) as executor:
        total, ran = sweep(scenario, vary, out=out, executor=executor)
    typer.echo(f"{total} runs, {total - ran} of them were there before: {out}", err=True)


@contextmanager
def _executor(jobs: int | None, dask: str | None) -> Iterator[Executor | None]:
    from icekit.sim.sweep import dask_executor

    if dask is not None:
        with dask_executor(dask) as executor:
            yield executor
    elif jobs is None or jobs == 1:
        yield None
    else:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_ignore_interrupts) as executor:
            try:
                yield executor
            except KeyboardInterrupt:
                # They end with the few runs that they are at. A second Ctrl-C before that would leave them behind, and
                # the program would wait for them for ever.
                _ignore_interrupts()
                raise


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
