"""What ``icekit explain`` says of many candidates, as one side has told them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icekit.candidate import Candidate
from icekit.errors import DecodeError
from icekit.explain_candidates import CLASSES
from icekit.explanation import NOT_JUDGED, Explanation, Fact, Kind, Table
from icekit.findings import ranked
from icekit.pair_matrix import distinct
from icekit.rules_descriptions import told_findings
from icekit.rules_gathering import NOT_REACHED, gathering_findings
from icekit.sdp import CandidateInit, GatheringError


def explain_gathered(items: Sequence[str | dict[str, Any] | None]) -> Explanation:
    """Candidates and errors as one side told them, one after the other."""
    candidates: list[Candidate] = []
    errors: list[GatheringError] = []
    unread: list[str] = []
    ended = False
    for item in items:
        try:
            if isinstance(item, dict) and "errorCode" in item:
                errors.append(GatheringError.from_dict(item))
                continue
            given = {"candidate": item} if isinstance(item, str) else item
            candidate = CandidateInit.from_dict(given, strict=False).candidate
        except DecodeError as error:
            unread.append(str(error))
            continue
        if candidate is None:
            ended = True
        else:
            candidates.append(candidate)
    facts = [
        Fact("candidates", str(len(candidates)), "" if ended else "their end was not told: others may follow"),
        *(Fact("not read", text) for text in unread),
    ]
    found = (*gathering_findings(candidates, errors), *told_findings(candidates, more=not ended))
    if errors and not candidates and not ended and not found:
        facts.append(
            Fact(
                NOT_JUDGED,
                "1 error" if len(errors) == 1 else f"{len(errors)} errors",
                "paste the candidates that came, too",
            )
        )
    tables = [Table("Candidates", CANDIDATE_COLUMNS, tuple(candidate_row(item) for item in distinct(candidates)))]
    if errors:
        rows = tuple((error.url, str(error.code), error.text, _meaning(error.code)) for error in errors)
        tables.append(Table("Errors", ("server", "code", "what the browser says", "what it means"), rows))
    return Explanation(
        Kind.CANDIDATES,
        f"What one side has gathered: {count(distinct(candidates))}.",
        tuple(facts),
        problem=None if candidates or errors or ended else "none of it can be read",
        findings=ranked(found),
        tables=tuple(table for table in tables if table.rows),
    )


def _meaning(code: int) -> str:
    if code == NOT_REACHED:
        return "no answer from there on this one path; it matters if no candidate of that server comes"
    return "the server answered, and refused"


def count(candidates: Sequence[Candidate]) -> str:
    """How many of each sort, in words."""
    sorts: dict[str, int] = {}
    for candidate in candidates:
        sorts[candidate.type] = sorts.get(candidate.type, 0) + 1
    return ", ".join(f"{number} {name}" for name, number in sorts.items()) or "no candidate"


CANDIDATE_COLUMNS = ("type", "transport", "address", "what it is")


def candidate_row(candidate: Candidate) -> tuple[str, ...]:
    """One line of a table of candidates."""
    transport = candidate.transport.lower()
    if candidate.tcptype is not None:
        transport += f" {candidate.tcptype}"
    return candidate.type, transport, candidate.address, CLASSES[candidate.address_class].partition(":")[0]
