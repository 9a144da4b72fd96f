"""``docs/bench.md``: commands are understood, figures are of one run. What it shows: ``tests/test_pages.py``."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from icekit.bench.engines import ENGINES
from icekit.bench.networks import read_network
from icekit.bench.samples import Phase
from icekit.cli import app

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs" / "bench.md"
PAGE = DOCS.read_text(encoding="utf-8")
QUOTE = (ROOT / "benchmarks" / "quote.py").read_text(encoding="utf-8")
_QUOTED = r"<!-- bench: ([a-z-]+) -->\n(.*?)<!-- end of bench -->"
COMMANDS = re.findall(r"^(?:    |\$ )(?:sudo )?icekit (bench.*?)(?: +#.*)?$", PAGE, re.MULTILINE)


def bench_command() -> Any:
    group: Any = get_command(app)
    # Commands are loaded when they are asked for.
    return group.get_command(group.make_context("icekit", [], resilient_parsing=True), "bench")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_is_understood(command: str) -> None:
    _, *words = shlex.split(command)
    options = bench_command().make_context("bench", words, resilient_parsing=False).params
    assert set(options["engine"] or ()) <= set(ENGINES)
    for name in options["network"] or ():
        read_network(name)


def test_all_figures_of_the_pages_are_of_one_run() -> None:
    """``benchmarks/quote.py`` writes them; nobody changes one by hand in one of the two."""
    texts = {path.name: re.findall(_QUOTED, path.read_text(encoding="utf-8"), re.DOTALL) for path in (README, DOCS)}
    commits = [re.findall(r"[Cc]ommit ([0-9a-f]{7,})", "".join(text for _, text in found)) for found in texts.values()]
    assert commits[0] == commits[1]
    assert len(commits[0]) == 1
    rows = [{line for _, text in found for line in text.splitlines() if line[:2] == "| "} for found in texts.values()]
    assert len(rows[0]) > 5
    assert rows[0] <= rows[1]
    for name, _ in (*texts["README.md"], *texts["bench.md"]):
        assert f'case "{name}":' in QUOTE


def test_every_phase_and_engine_is_told() -> None:
    table = PAGE.partition("## Phases")[2].partition("## The limit")[0]
    assert all(re.search(rf"\b{phase.value}\b", table) for phase in Phase)
    engines = PAGE.partition("## Engines")[2].partition("## Simulator")[0]
    assert all(f"`{name}`" in engines for name in ENGINES)


def test_the_options_of_the_page_exist() -> None:
    known = {option for item in bench_command().params for option in item.opts}
    assert set(re.findall(r"`(--[a-z]+)", PAGE)) <= known
