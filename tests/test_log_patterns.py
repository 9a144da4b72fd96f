"""Every pattern has a line that shows it, and no line is taken for another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from icekit.catalogue import describe
from icekit.log_patterns import PATTERNS, LogPattern, Program


def samples() -> list[tuple[Program, str]]:
    """Blocks with an empty line between them; the first line of a block names the program."""
    blocks = Path(__file__).with_name("log_samples.txt").read_text("utf-8").strip().split("\n\n")
    return [(Program(block.split("\n")[0]), line) for block in blocks for line in block.split("\n")[1:]]


def found(line: str) -> LogPattern | None:
    return next((pattern for pattern in PATTERNS if pattern.pattern.search(line)), None)


def test_every_pattern_has_a_line_and_every_line_its_pattern() -> None:
    hit = []
    for program, line in samples():
        pattern = found(line)
        assert pattern is not None, line
        assert pattern.program is program, line
        hit.append(pattern)
    # No two samples show the same, and none is missing: an earlier pattern does not hide a later one.
    assert sorted(map(PATTERNS.index, hit)) == list(range(len(PATTERNS)))
    assert len(PATTERNS) >= 100


@pytest.mark.parametrize("pattern", PATTERNS, ids=[row.pattern.pattern[:40] for row in PATTERNS])
def test_a_pattern_tells_what_a_person_needs(pattern: LogPattern) -> None:
    assert pattern.meaning
    assert pattern.meaning[0] not in " ."
    assert not pattern.meaning.endswith(".")
    assert not pattern.fix or pattern.fix.endswith(".")
    if pattern.code is not None:
        assert describe(pattern.code) is not None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "INFO:root:started",
        "GET / HTTP/1.1 200",
        "the ICE train failed to arrive",
        "Connection(0)",
        "session of the parliament: closed",
    ],
)
def test_other_lines_are_not_known(line: str) -> None:
    assert found(line) is None
