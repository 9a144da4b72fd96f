"""``icekit predict``: whether two measured ends will connect, by which path, and what would help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icekit.cli.completion import presets
from icekit.cli.options import JsonOutput, read_file
from icekit.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from icekit.predict import Matrix, Prediction
    from icekit.sides import Side

Ends = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="A B",
        help="Each: a report of icekit probe --json, an SDP file, or the name of a preset.",
        autocompletion=presets,
    ),
]
SignalingRtt = Annotated[
    float | None,
    typer.Option(
        "--signaling-rtt", metavar="MS", min=0.0, max=60_000.0, help="Round-trip time of the signaling, milliseconds."
    ),
]
WantMatrix = Annotated[bool, typer.Option("--matrix", help="The table of all presets with each other.")]


def predict(
    ends: Ends = None, signaling_rtt: SignalingRtt = None, matrix: WantMatrix = False, json: JsonOutput = False
) -> None:
    """Predict whether A and B will connect, by which path, how soon, and what would help.

    Exit code 1: they will not. What cannot be told from the measurements (maybe) is 0.
    """
    from icekit.cli import render
    from icekit.predict import matrix as predict_matrix
    from icekit.predict import predict as predict_call
    from icekit.report import PathKind

    names = ends or []
    if matrix:
        if names or signaling_rtt is not None:
            raise ConfigError("--matrix is about the presets alone; leave out A, B and --signaling-rtt")
        table = predict_matrix()
        if json:
            render.print_json(table)
        else:
            render.show(matrix_text(table))
        return
    if len(names) != 2:
        raise ConfigError("give two ends, A and B: a report of icekit probe --json, an SDP file or a preset each")
    a, b = (_read(name) for name in names)
    prediction = predict_call(a, b, signaling_rtt=None if signaling_rtt is None else signaling_rtt / 1000)
    if json:
        render.print_json(prediction)
    else:
        render.show(prediction_text(prediction, *names))
    if prediction.path is PathKind.NONE:
        raise typer.Exit(1)


def _read(name: str) -> Side:
    """A file where there is one of that name, else a preset."""
    from icekit.nat_presets import PRESETS, instead_of
    from icekit.sides import Side, read_side

    path = Path(name)
    try:
        is_file = path.exists()
    except (OSError, ValueError):
        is_file = False  # too long for a name, or with characters that no name has
    if is_file:
        return read_side(read_file("predict", path), name)
    if name not in PRESETS:
        raise ConfigError(f"{name[:60]}: there is no such file, and no such preset; {instead_of(name)}")
    return Side.from_preset(name)


def prediction_text(prediction: Prediction, a: str, b: str) -> RenderableType:
    """The answer first, then the reason, then what would help, then numbers."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from icekit.report import PathKind

    colour = {PathKind.DIRECT: "green", PathKind.RELAY: "green", PathKind.NONE: "red", PathKind.MAYBE: "yellow"}
    # A name of a file may hold anything.
    rows = [(side, name if name.isprintable() else repr(name)) for side, name in (("A", a), ("B", b))]
    if prediction.local and prediction.remote:
        family = f" over IPv{prediction.family}" if prediction.family else ""
        rows.append(("candidates", f"A {prediction.local}, B {prediction.remote}{family}"))
    if prediction.peer_rtt is not None:
        rows.append(("round trip", f"{prediction.peer_rtt * 1000:.0f} ms, estimated"))
    if prediction.setup is not None:
        times = f"A {prediction.setup.a * 1000:.0f} ms, B {prediction.setup.b * 1000:.0f} ms at the earliest"
        rows.append(("set up after", times))
    elif prediction.path in (PathKind.DIRECT, PathKind.RELAY):
        rows.append(("set up after", f"not known: {prediction.reason.get('setup', '')}"))
    if prediction.best_change is not None:
        change = prediction.best_change
        rows.append(("would help", f"{change.text} The path is then {change.path}."))
    table = Table.grid(padding=(0, 2, 0, 0))
    for label, text in rows:
        table.add_row(label, Text(text, overflow="fold"))
    return Group(Text(f"{prediction.path}: {prediction.why}", style=colour[prediction.path]), Text(), table)


_LETTERS = {"direct": "D", "relay": "R", "none": "-"}


def matrix_text(matrix: Matrix) -> RenderableType:
    """One letter for each pair: the path with TURN, which says that without as well."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(cell.a for cell in matrix.cells))
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(len(names) + 2):
        table.add_column(no_wrap=True)
    table.add_row("", "", *map(str, range(1, len(names) + 1)))
    for number, name in enumerate(names, 1):
        paths = [_LETTERS[cell.with_turn] for cell in matrix.cells if cell.a == name]
        table.add_row(name, str(number), *paths)
    legend = (
        "D  direct, without any TURN server",
        "R  only through a TURN server (here both ends have one over UDP, and over TLS on port 443)",
        "-  not even then",
    )
    return Group(table, Text(), *map(Text, legend))
