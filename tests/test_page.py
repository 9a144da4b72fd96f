"""The pieces that every page is made of."""

from __future__ import annotations

from icekit.page import Cell, Table, Tone, fix_of, milliseconds, table
from icekit.report import NO_FIX, Finding, Severity


def test_short_rows_are_filled_up() -> None:
    assert table([("a",), ("b", Cell("c", Tone.DIM))], 1).rows == (
        (Cell("a"), Cell("")),
        (Cell("b"), Cell("c", Tone.DIM)),
    )


def test_times_and_fixes() -> None:
    assert [milliseconds(value) for value in (None, 0.0214, 0.2149)] == ["", "21.4 ms", "215 ms"]
    assert fix_of(Finding("ICE022", Severity.INFO, "m", NO_FIX)) == ""
    assert fix_of(Finding("ICE001", Severity.INFO, "m", "Do it.")) == "Do it."


def test_which_columns_are_numbers() -> None:
    row = [Cell("name"), Cell("1"), Cell("2"), Cell("words")]
    numbers = Table((tuple(row),), labels=1, numbers=True, texts=1)
    assert [numbers.is_number(column) for column in range(4)] == [False, True, True, False]
    assert not table([row]).is_number(1)
