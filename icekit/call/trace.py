"""The thirteen steps of a call with their times on both sides: as a table, a Mermaid sequence diagram, or JSON.

A is the side whose offer counted, B the one that answered. Each side marks what it does on its own clock; when both
have told each other their marks, the clocks are compared through the two messages that crossed (as NTP does), so that
all times are A's, in seconds since A began.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

SCHEMA: Final = "icekit/call-trace/1"

# A mark of a peer is a time of its call: nothing lies further from the beginning than a week.
_LONGEST = 7 * 86400.0


class Mark(StrEnum):
    """What one side does; repeated ones (candidates) are counted."""

    MEDIA_OPENED = "media opened"
    DESCRIPTION_CREATED = "description created"
    LOCAL_SET = "local description set"
    SENT = "description sent"
    RECEIVED = "description received"
    REMOTE_SET = "remote description set"
    GATHERED = "candidate gathered"
    CANDIDATE_SENT = "candidate sent"
    CANDIDATE_ADDED = "candidate added"
    PATH = "path works"
    CONNECTED = "connected"
    FIRST_MEDIA = "first media"


@dataclass(frozen=True, slots=True)
class _Plan:
    number: int
    text: str
    a: Mark | None
    b: Mark | None


STEPS: Final = (
    _Plan(1, "A opens its media and adds the tracks", Mark.MEDIA_OPENED, None),
    _Plan(2, "A creates an offer", Mark.DESCRIPTION_CREATED, None),
    _Plan(3, "A sets it as local description", Mark.LOCAL_SET, None),
    _Plan(4, "A sends it", Mark.SENT, None),
    _Plan(5, "B receives it and sets it as remote description", None, Mark.REMOTE_SET),
    _Plan(6, "B opens its media and adds the tracks", None, Mark.MEDIA_OPENED),
    _Plan(7, "B creates an answer", None, Mark.DESCRIPTION_CREATED),
    _Plan(8, "B sets it as local description", None, Mark.LOCAL_SET),
    _Plan(9, "B sends it", None, Mark.SENT),
    _Plan(10, "A receives it and sets it as remote description", Mark.REMOTE_SET, None),
    _Plan(11, "Each side finds its addresses: candidates", Mark.GATHERED, Mark.GATHERED),
    _Plan(12, "Each candidate is sent as it appears", Mark.CANDIDATE_SENT, Mark.CANDIDATE_SENT),
    _Plan(13, "The other side adds each candidate", Mark.CANDIDATE_ADDED, Mark.CANDIDATE_ADDED),
)
"""The thirteen steps: whose mark tells when each was done."""

_AFTER: Final = (("path works", Mark.PATH), ("connected", Mark.CONNECTED), ("first media", Mark.FIRST_MEDIA))


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was done first and last, in seconds, and how many times."""

    first: float
    last: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One of the thirteen: ``a`` and ``b`` are ``None`` where that side has no part in it, or has not told."""

    number: int
    text: str
    a: Moment | None
    b: Moment | None


@dataclass(slots=True)
class Trace:
    """What one side has marked, and what the other one has told. Times are seconds since this side began."""

    began: float
    offers: bool = False
    marks: dict[Mark, Moment] = field(default_factory=dict)
    theirs: dict[Mark, Moment] = field(default_factory=dict)

    def mark(self, what: Mark, now: float) -> None:
        """It is done now. Before there are candidates to count, only the first time of each counts."""
        time = now - self.began
        known = self.marks.get(what)
        self.marks[what] = Moment(time, time) if known is None else Moment(known.first, time, known.count + 1)

    def start_over(self, *, offers: bool) -> None:
        """A new exchange in place of the one so far; media that are open stay open."""
        self.offers = offers
        self.marks = {what: moment for what, moment in self.marks.items() if what is Mark.MEDIA_OPENED}
        self.theirs = {}

    def hear(self, document: Mapping[str, Any]) -> None:
        """Take what the peer has told (``document``). What is not well-formed is left out."""
        told = document.get("marks")
        if document.get("schema") != SCHEMA or not isinstance(told, Mapping) or document.get("offers") is self.offers:
            return
        self.theirs = {what: moment for what in Mark if (moment := _read_moment(told.get(what.value))) is not None}

    @property
    def document(self) -> dict[str, Any]:
        """What the peer is told: our marks, on our clock."""
        marks = {what.value: [moment.first, moment.last, moment.count] for what, moment in self.marks.items()}
        return {"schema": SCHEMA, "offers": self.offers, "marks": marks}

    @property
    def is_complete(self) -> bool:
        """Whether the time of every step is known, on every side that has a part in it."""
        plans = zip(STEPS, self.steps, strict=True)
        return all((plan.a is None or step.a) and (plan.b is None or step.b) for plan, step in plans)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All thirteen, in A's time."""
        a, b = self._sides()
        return tuple(
            Step(
                plan.number,
                plan.text,
                None if plan.a is None else a.get(plan.a),
                None if plan.b is None else b.get(plan.b),
            )
            for plan in STEPS
        )

    @property
    def later(self) -> tuple[tuple[str, Moment | None, Moment | None], ...]:
        """What follows the steps: the path works, the call is connected, the first media arrive; of A and of B."""
        a, b = self._sides()
        return tuple((text, a.get(mark), b.get(mark)) for text, mark in _AFTER)

    @property
    def first_media(self) -> float | None:
        """Seconds from the beginning of this side to the first frame of the peer, ``None`` before that."""
        moment = self.marks.get(Mark.FIRST_MEDIA)
        return None if moment is None else moment.first

    def to_dict(self) -> dict[str, Any]:
        """The trace as JSON values; times in seconds."""
        return {
            "schema": SCHEMA,
            "side": "A" if self.offers else "B",
            "steps": [
                {"number": step.number, "text": step.text, "a": _document(step.a), "b": _document(step.b)}
                for step in self.steps
            ],
            "later": [{"text": text, "a": _document(a), "b": _document(b)} for text, a, b in self.later],
        }

    @property
    def sides(self) -> str:
        """Who A and B are, and whose clock the times are of."""
        this, other = ("A", "B") if self.offers else ("B", "A")
        return f"This end is {this}, the other one is {other}; times from when A began."

    def to_table(self) -> str:
        """A line for each step; times in milliseconds."""
        rows = [(f"{step.number:>2}", step.text, _shown(step.a), _shown(step.b)) for step in self.steps]
        rows += [("", text, _shown(a), _shown(b)) for text, a, b in self.later]
        rows.insert(0, ("", "", "A", "B"))
        text_width, a_width = (max(len(row[column]) for row in rows) for column in (1, 2))
        lines = (f"{number:>2}  {text:<{text_width}}  {a:<{a_width}}  {b}".rstrip() for number, text, a, b in rows)
        return "\n".join(lines)

    def to_mermaid(self) -> str:
        """A sequence diagram in Mermaid's language."""
        step = {item.number: item for item in self.steps}
        lines = ["sequenceDiagram", "    participant A", "    participant S as Signaling", "    participant B"]

        def note(side: str, *numbers: int) -> None:
            for number in numbers:
                moment = step[number].a if side == "A" else step[number].b
                lines.append(f"    Note over {side}: {number}. {_short(step[number].text)} ({_shown(moment) or '–'})")

        note("A", 1, 2, 3)
        lines.append(f"    A->>S: 4. offer ({_shown(step[4].a) or '–'})")
        lines.append(f"    S->>B: 5. offer ({_shown(step[5].b) or '–'})")
        note("B", 6, 7, 8)
        lines.append(f"    B->>S: 9. answer ({_shown(step[9].b) or '–'})")
        lines.append(f"    S->>A: 10. answer ({_shown(step[10].a) or '–'})")
        note("A", 11)
        note("B", 11)
        for source, target, sent, added in (("A", "B", step[12].a, step[13].b), ("B", "A", step[12].b, step[13].a)):
            lines.append(f"    {source}->>S: 12. candidates ({_shown(sent) or '–'})")
            lines.append(f"    S->>{target}: 13. candidates ({_shown(added) or '–'})")
        for text, a, b in self.later:
            lines.append(f"    Note over A,B: {text} (A {_shown(a) or '–'}, B {_shown(b) or '–'})")
        return "\n".join(lines)

    def _sides(self) -> tuple[Mapping[Mark, Moment], Mapping[Mark, Moment]]:
        """The marks of A and of B, in A's time where both are known."""
        offset = self._offset()
        if self.offers:
            return self.marks, _moved(self.theirs, -(offset or 0.0))
        # Ours is B's clock, ahead of A's by the offset.
        return self.theirs, _moved(self.marks, 0.0 if offset is None else -offset)

    def _offset(self) -> float | None:
        """How far B's clock is ahead of A's: half of what the two ways differ by (RFC 5905 §8)."""
        a, b = (self.marks, self.theirs) if self.offers else (self.theirs, self.marks)
        moments = (a.get(Mark.SENT), b.get(Mark.RECEIVED), b.get(Mark.SENT), a.get(Mark.RECEIVED))
        if any(moment is None for moment in moments):
            return None
        sent, received, answered, returned = (moment.first for moment in moments if moment is not None)
        return ((received - sent) + (answered - returned)) / 2


def _moved(marks: Mapping[Mark, Moment], seconds: float) -> Mapping[Mark, Moment]:
    return {what: Moment(item.first + seconds, item.last + seconds, item.count) for what, item in marks.items()}


def _read_moment(value: object) -> Moment | None:
    match value:
        case [int() | float() as first, int() | float() as last, int(count)] if 0 < count < 10**6:
            if all(math.isfinite(item) and abs(item) < _LONGEST for item in (first, last)):
                return Moment(float(first), float(last), count)
    return None


def _document(moment: Moment | None) -> dict[str, Any] | None:
    if moment is None:
        return None
    return {"first": round(moment.first, 6), "last": round(moment.last, 6), "count": moment.count}


def _shown(moment: Moment | None) -> str:
    if moment is None:
        return ""
    first, last = (f"{1000 * value:.0f}" for value in (moment.first, moment.last))
    if moment.count == 1:
        return f"{first} ms"
    return f"{first} to {last} ms, {moment.count} times"


def _short(text: str) -> str:
    return text.removeprefix("A ").removeprefix("B ")
