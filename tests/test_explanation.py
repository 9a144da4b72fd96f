"""What an explanation says of itself."""

from __future__ import annotations

import pytest

from icekit.explanation import Explanation, Kind, Table
from icekit.report import to_dict


@pytest.mark.parametrize(
    ("kind", "problem", "understood"),
    [(Kind.DESCRIPTION, None, True), (Kind.DESCRIPTION, "cut", False), (Kind.UNKNOWN, None, False)],
)
def test_understood(kind: Kind, problem: str | None, understood: bool) -> None:
    assert Explanation(kind, "It is.", problem=problem).understood is understood


def test_tables_are_part_of_the_document() -> None:
    written = to_dict(Explanation(Kind.CANDIDATES, "It is.", tables=(Table("Rows", ("a",), (("1",),)),)))
    assert written["tables"] == [{"title": "Rows", "columns": ["a"], "rows": [["1"]]}]
