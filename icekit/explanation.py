"""What ``icekit explain`` answers: a sentence, the parts of what was pasted, tables, and findings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from icekit.report import Finding


class Kind(StrEnum):
    """What the text was taken for."""

    CANDIDATE = "candidate"
    CANDIDATES = "candidates"
    CAPTURE = "capture"
    DESCRIPTION = "description"
    END_OF_CANDIDATES = "end-of-candidates"
    EXCHANGE = "exchange"
    FINDING = "finding"
    LIBRARIES = "libraries"
    LOG = "log"
    REPORT = "report"
    SERVER = "server"
    SERVER_LIST = "server-list"
    STATISTICS = "statistics"
    UNKNOWN = "unknown"


NOT_JUDGED = "not judged"
"""The name of a fact where something may be wrong that the text alone does not tell."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One part of the text: its name, what stands there, and what that means."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a title; ``columns`` are their headings, empty where none are needed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a text is: a sentence, its parts, and the rules it breaks.

    ``problem`` says why it cannot be used (``None``: it can), ``pointer`` are the line and a caret under the place.
    ``forgiven`` are the broken rules that most readers let pass; ``canonical`` is how it should be written.
    ``findings`` are ranked: what explains most comes first, what is harmless (``info``) last.
    """

    kind: Kind
    summary: str
    facts: tuple[Fact, ...] = ()
    forgiven: tuple[str, ...] = ()
    canonical: str | None = None
    problem: str | None = None
    pointer: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()

    _schema: ClassVar = "icekit/explain/1"

    @property
    def understood(self) -> bool:
        """Whether the text is known and of use."""
        return self.kind is not Kind.UNKNOWN and self.problem is None
