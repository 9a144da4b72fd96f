"""docs/load.md: its options, kinds and columns are there, and its output has the shape of the command's."""

from __future__ import annotations

import re
from dataclasses import fields
from io import StringIO
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from icekit.bench.load_plan import LoadPlan
from icekit.bench.load_report import LimitKind, LoadReport
from icekit.cli import app
from icekit.cli.load_page import load_page
from icekit.cli.render import PIPE_WIDTH, print_page
from tests.bench.load_world import World

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "load.md").read_text("utf-8")


def test_every_option_that_is_named_exists() -> None:
    options = set(re.findall(r"--[a-z][a-z-]+", CliRunner().invoke(app, ["load", "--help"]).stdout))
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE.replace("<!--", "").replace("-->", "")))
    assert named <= options
    assert {"--ramp", "--yes", "--i-own-this-server", "--max-loss", "--max-latency"} <= named


def test_every_kind_of_limit_is_described() -> None:
    table = PAGE.partition("| `limit.kind`")[2].partition("\n\n")[0]
    assert {kind for kind in LimitKind if f"`{kind.value}`" not in table} == set()


def test_every_figure_of_the_json_that_is_named_exists() -> None:
    told = PAGE.partition("`--json` prints")[2]
    names = {field.name for field in fields(LoadReport)}
    for name in ("verdict", "held", "limit", "steps", "setup", "findings"):
        assert f"`{name}`" in told
        assert name in names


def test_the_output_has_the_shape_of_a_run() -> None:
    """The same plan against a server with the same quota, in virtual time."""
    shown = re.search(r"<!-- output: load (turn:\S+) .*? -->\n<!-- test: .*? -->\n```\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    # A second is enough: its length is not in the output.
    plan = LoadPlan(ramp=True, allocations=20, rate=10, duration=1)
    report = World(max_allocations_per_user=60).run(plan)
    written = StringIO()
    print_page(load_page(report), Console(file=written, width=PIPE_WIDTH, markup=False, highlight=False))
    assert shape(written.getvalue()) == shape(shown[2])


def shape(text: str) -> str:
    """Without figures and line ends: a measurement is not repeated, and an address may be shorter."""
    text = re.sub(r"(turn:)?\b\d+(\.\d+){3}(:\d+)?", "ADDRESS", text)
    return " ".join(re.sub(r"\d+(\.\d+)?( (kbit/s|Mbit/s|ms|%))?", "N", text).split())
