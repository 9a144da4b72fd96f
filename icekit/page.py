"""A page of text for people: what stands where and what each thing means, once for the terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from icekit.report import NO_FIX, Finding, Severity

UNKNOWN = "–"


class Tone(StrEnum):
    """What a text is to its reader; each writer has its own way to show it."""

    PLAIN = "plain"
    STRONG = "strong"
    DIM = "dim"
    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"
    BAD = "bad"


TONES = {
    Severity.OK: Tone.GOOD,
    Severity.INFO: Tone.NOTE,
    Severity.WARNING: Tone.WARNING,
    Severity.ERROR: Tone.BAD,
}
MARKS = {Tone.GOOD: "✓", Tone.NOTE: "i", Tone.WARNING: "!", Tone.BAD: "✗"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells. The first ``labels`` columns are short names; ``header``: so is the first row.

    ``numbers``: the other columns but the last ``texts`` are numbers, which stand at the right of their column.
    """

    rows: tuple[tuple[Cell, ...], ...]
    labels: int = 0
    header: bool = False
    numbers: bool = False
    texts: int = 0

    def is_number(self, column: int) -> bool:
        """Whether a column is one of numbers."""
        count = max(map(len, self.rows), default=0)
        return self.numbers and self.labels <= column < count - self.texts


@dataclass(frozen=True, slots=True)
class Lines:
    """Texts one below the other, such as candidate lines."""

    lines: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class FindingList:
    """Findings, each with its fix (empty: there is nothing to do) and its evidence."""

    findings: tuple[Finding, ...]


Body = Table | Lines | FindingList


@dataclass(frozen=True, slots=True)
class Section:
    """A title and what stands below it. ``folded``: where a reader can open it, it is closed."""

    title: str
    bodies: tuple[Body, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One report: a word, the sentence beside it, sections, a last line (empty: none)."""

    code: Cell
    summary: str
    sections: tuple[Section, ...]
    footer: str = ""


def fix_of(finding: Finding) -> str:
    """What to do; empty if nothing is to be done."""
    return "" if finding.fix == NO_FIX else finding.fix


def table(
    rows: Iterable[Sequence[str | Cell]], labels: int = 0, *, header: bool = False, numbers: bool = False
) -> Table:
    """A table of texts and cells, its short rows filled up."""
    listed = [tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row) for row in rows]
    count = max(map(len, listed), default=0)
    return Table(tuple(row + (Cell(""),) * (count - len(row)) for row in listed), labels, header, numbers)


def milliseconds(seconds: float | None) -> str:
    """A time for people; empty if it is not known."""
    return "" if seconds is None else f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
