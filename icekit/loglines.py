"""Reads logs of aioice, aiortc, pion, coturn and browsers: which lines are known, what they mean, which matter.

A line that no pattern fits is counted and nothing is guessed about it.
"""

from __future__ import annotations

from dataclasses import dataclass

from icekit.log_patterns import PATTERNS, LogPattern, Program
from icekit.report import Severity

MAX_LINES = 200_000
"""More lines than this are not read; ``LogReading.cut`` says so."""
# What follows on a longer line is a dump of a packet or a description.
_MAX_WIDTH = 1000

_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2, Severity.OK: 3}


@dataclass(frozen=True, slots=True)
class KnownLine:
    """A known line at the number (from 1) where it first stands, and how often it, or one like it, stands there."""

    number: int
    text: str
    pattern: LogPattern
    count: int

    @property
    def harmless(self) -> bool:
        """Whether nobody needs to chase it."""
        return self.pattern.severity in (Severity.INFO, Severity.OK)


@dataclass(frozen=True, slots=True)
class LogReading:
    """What a log says: known lines, those that matter most first, and how many lines are not known."""

    known: tuple[KnownLine, ...]
    unknown: int
    cut: bool

    @property
    def programs(self) -> tuple[Program, ...]:
        """Who wrote the known lines, the most frequent first."""
        counts: dict[Program, int] = {}
        for line in self.known:
            counts[line.pattern.program] = counts.get(line.pattern.program, 0) + line.count
        return tuple(sorted(counts, key=lambda program: -counts[program]))


def read_log(text: str) -> LogReading:
    """The known lines of a log, errors first, each kind where it first stands; never raises."""
    first: dict[LogPattern, tuple[int, str]] = {}
    counts: dict[LogPattern, int] = {}
    unknown = 0
    cut = False
    for number, whole in enumerate(text.splitlines(), 1):
        if number > MAX_LINES:
            cut = True
            break
        if not (line := whole.strip()[:_MAX_WIDTH]):
            continue
        if (pattern := _pattern_of(line)) is None:
            unknown += 1
            continue
        first.setdefault(pattern, (number, line))
        counts[pattern] = counts.get(pattern, 0) + 1
    known = [KnownLine(*where, pattern, counts[pattern]) for pattern, where in first.items()]
    known.sort(key=lambda line: (_RANK[line.pattern.severity], line.number))
    return LogReading(tuple(known), unknown, cut)


def _pattern_of(line: str) -> LogPattern | None:
    return next((pattern for pattern in PATTERNS if pattern.pattern.search(line)), None)
