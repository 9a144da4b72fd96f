"""Files of drawings: nothing is loaded, both looks are in them, and the same data give the same file."""

from __future__ import annotations

import re
import sys

import pytest

from icekit.bench.canvas import png, require, svg
from icekit.bench.plots import drawings
from icekit.errors import MissingExtra
from tests.bench.made import LATE, results, some_results, timed


def test_nothing_is_loaded_and_both_looks_are_there() -> None:
    for item in drawings(results(timed([0.1, None]))):
        drawing = svg(item)
        assert drawing.startswith("<svg xmlns=")
        assert "@media (prefers-color-scheme: dark)" in drawing
        assert 'role="img"' in drawing
        assert "<image" not in drawing
        assert "<metadata" not in drawing
        assert "<script" not in drawing
        links = re.findall(r'href="([^"]*)"|url\(([^)]*)\)', drawing)
        assert all((one or other).startswith("#") for one, other in links)


def test_the_same_data_give_the_same_file() -> None:
    made = some_results(runs=3, engines={"icekit": LATE["icekit"]})
    first, second = ([(item.name, svg(item)) for item in drawings(made)] for _ in range(2))
    assert first == second


def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'icekit\[plot\]'"):
        require()


def test_png_is_wide_enough_to_read() -> None:
    drawing = next(drawings(results(timed([0.1]))))
    content = png(drawing)
    assert int.from_bytes(content[16:20], "big") == 1440
