"""Many runs of a scenario with different values, one after the other, on several cores, or over a Dask cluster.

::

    sweep(Scenario(a="symmetric"), {"loss": (0, 0.05), "seed": range(100)}, out=Path("runs.jsonl"))
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import threading
import tomllib
import types
import typing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icekit.errors import ConfigError, MissingExtra
from icekit.report import to_dict
from icekit.sim.runner import run
from icekit.sim.scenario import Outcome, Scenario

# Runs that are sent to a worker together, and how many such parcels are on their way: a run takes some milliseconds.
_PARCEL, _PARCELS = 16, 64
_ROWS = 10_000
_IDENTITY = "icekit-sweep"

# A run has the process's random numbers to itself; the workers of Dask are threads.
_process = threading.Lock()


def sweep(
    scenario: Scenario,
    vary: Mapping[str, Sequence[Any]],
    *,
    out: Path,
    executor: Executor | None = None,
) -> tuple[int, int]:
    """Run ``scenario`` with every combination of values; how many there are, and how many ran now.

    ``out`` gets an outcome a line, as ``to_dict`` writes it, in the order of ``itertools.product``, whatever the
    executor; ``None`` runs here. What ``out`` has already is not run again. A name that ends in ``.parquet`` becomes
    a Parquet file when all is done, with the same fields; until then the lines are in ``OUT.jsonl``.

    ConfigError: a key or value that no scenario has; ``out`` is of another sweep. MissingExtra: no pyarrow.
    """
    values = {name: tuple(choices) for name, choices in vary.items()}
    for name, choices in values.items():
        if not choices:
            raise ConfigError(f"sweep: {name} has no value; give at least one")
        for value in choices:
            scenario.changed({name: value})
    combinations = itertools.product(*values.values())
    wanted = (scenario.changed(dict(zip(values, chosen, strict=True))) for chosen in combinations)
    total = 1
    for choices in values.values():
        total *= len(choices)
    if out.suffix != ".parquet":
        return total, _fill(out, out, wanted, executor)
    arrow = _arrow()
    # What was swept, for the next time.
    identity = hashlib.sha256(json.dumps({"scenario": to_dict(scenario), "vary": values}).encode()).hexdigest()
    if out.exists():
        if arrow.read_schema(out).metadata.get(_IDENTITY.encode()) != identity.encode():
            raise _foreign(out)
        return total, 0
    lines = out.with_name(f"{out.name}.jsonl")
    ran = _fill(lines, out, wanted, executor)
    _to_parquet(lines, out, identity)
    return total, ran


def read_sweep(text: str) -> tuple[Scenario, dict[str, Sequence[Any]]]:
    """A scenario file with a table ``vary``: lists of values, or ``{first = 0, last = 99}`` for whole numbers."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"sweep: this is not TOML: {error}") from None
    vary = table.pop("vary", None)
    if not isinstance(vary, dict) or not vary:
        raise ConfigError("sweep: there is no table [vary]; write one with a list of values for each key")
    return Scenario().changed(table), {name: _choices(name, value) for name, value in vary.items()}


def _choices(name: str, value: Any) -> Sequence[Any]:
    match value:
        case list():
            return value
        case {"first": int(first), "last": int(last), **rest} if not rest and first <= last:
            return range(first, last + 1)
    raise ConfigError(f"sweep: {name}: write a list of values, or {{first = 0, last = 99}}")


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster; they need icekit too. MissingExtra, or ConfigError if nobody answers."""
    try:
        import distributed
    except ImportError:
        raise MissingExtra("A sweep over Dask", "dask") from None
    try:
        client = distributed.Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"there is no Dask scheduler at {address}: {error}") from None
    with client, client.get_executor() as executor:
        yield executor


def _fill(lines: Path, out: Path, wanted: Iterator[Scenario], executor: Executor | None) -> int:
    """Append what ``lines`` does not have; how many runs that were."""
    count = 0
    with lines.open("a+b") as file:
        file.seek(0)
        whole = 0
        for line in file:
            # Stopped in the middle of a line.
            if not line.endswith(b"\n"):
                break
            if _scenario_of(line) != to_dict(next(wanted, None)):
                raise _foreign(out)
            whole += len(line)
        file.truncate(whole)
        for results in _parcels(wanted, executor):
            file.write("".join(results).encode())
            file.flush()
            count += len(results)
    return count


def _scenario_of(line: bytes) -> object:
    try:
        outcome = json.loads(line)
    except ValueError:
        return ...
    return outcome.get("scenario", ...) if isinstance(outcome, dict) else ...


def _foreign(out: Path) -> ConfigError:
    return ConfigError(f"{out} is not the result of this sweep: name another file, or remove it")


def _parcels(wanted: Iterator[Scenario], executor: Executor | None) -> Iterator[list[str]]:
    """The results in order, while others are on their way."""
    parcels = iter(lambda: list(itertools.islice(wanted, _PARCEL)), [])
    if executor is None:
        yield from map(_run, parcels)
        return
    pending: deque[Future[list[str]]] = deque()
    try:
        for parcel in parcels:
            pending.append(executor.submit(_run, parcel))
            if len(pending) == _PARCELS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _run(scenarios: list[Scenario]) -> list[str]:
    """On a worker: the lines of these runs."""
    with _process:
        return [json.dumps(to_dict(run(scenario))) + "\n" for scenario in scenarios]


def _arrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("Writing Parquet", "parquet") from None
    return pyarrow.parquet


def _to_parquet(lines: Path, out: Path, identity: str) -> None:
    """Rewrite the lines as a table, which appears when it is complete."""
    import pyarrow

    schema = pyarrow.schema(_arrow_type(Outcome).fields, metadata={_IDENTITY: identity})
    unfinished = out.with_name(f"{out.name}.unfinished")
    with lines.open("rb") as file, _arrow().ParquetWriter(unfinished, schema) as writer:
        while rows := [json.loads(line) for line in itertools.islice(file, _ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    unfinished.replace(out)
    lines.unlink()


def _arrow_type(kind: Any) -> Any:
    """The Arrow type of what ``to_dict`` makes of a value of this type."""
    import pyarrow

    if isinstance(kind, types.UnionType):
        (kind,) = (item for item in typing.get_args(kind) if item is not types.NoneType)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return pyarrow.struct([(item.name, _arrow_type(hints[item.name])) for item in dataclasses.fields(kind)])
    if typing.get_origin(kind) is tuple:
        return pyarrow.list_(_arrow_type(typing.get_args(kind)[0]))
    return {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64()}.get(kind, pyarrow.string())
