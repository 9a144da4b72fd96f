"""What ``icekit explain`` says of a log: its known lines, what matters first, and the pairs that were tried."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from icekit.candidate import Candidate, CandidateType
from icekit.catalogue import new_finding
from icekit.explanation import Explanation, Fact, Kind, Table
from icekit.findings import ranked
from icekit.loglines import KnownLine, LogReading
from icekit.net import Address
from icekit.report import Finding, Severity
from icekit.rules_descriptions import told_findings
from icekit.servers import is_literal

# As aioice writes a pair: CandidatePair(('10.0.0.1', 5000) -> ('10.0.0.2', 6000)) State.WAITING -> State.FAILED
_PAIR = re.compile(r"CandidatePair\(\('([^']+)', (\d{1,5})\) -> \('([^']+)', (\d{1,5})\)\) State\.\w+ -> State\.(\w+)")
_MAX_PAIRS = 500
_WIDTH = 160

Pair = tuple[Address, Address]


def explain_log(text: str, reading: LogReading) -> Explanation:
    """``reading`` has at least one known line."""
    pairs = _pairs(text)
    programs = ", ".join(reading.programs)
    matter = [line for line in reading.known if not line.harmless]
    facts = [
        Fact("lines", str(reading.unknown + sum(line.count for line in reading.known)), _known(reading)),
        *([Fact("too long", "the rest was not read")] if reading.cut else []),
    ]
    tables = [
        Table("What matters", ("line", "what it means", "what to do"), tuple(_row(line) for line in matter)),
        Table("Pairs that were tried", ("from", "to", "ended as"), tuple(_pair_rows(pairs))),
        Table("Harmless: do not chase these", ("line", "what it means"), tuple(_harmless(reading.known))),
    ]
    found = [*_pair_findings(pairs), *_coded(matter)]
    return Explanation(
        Kind.LOG,
        f"A log of {programs}: {_sentence(matter)}.",
        tuple(facts),
        findings=ranked(found),
        tables=tuple(table for table in tables if table.rows),
    )


def _known(reading: LogReading) -> str:
    return "all are known" if not reading.unknown else f"{reading.unknown} of them are of no known pattern"


def _sentence(matter: Sequence[KnownLine]) -> str:
    if not matter:
        return "nothing in it is a fault"
    return matter[0].pattern.meaning


def _place(line: KnownLine) -> str:
    return f"{line.number}" if line.count == 1 else f"{line.number}, {line.count} times"


def _row(line: KnownLine) -> tuple[str, ...]:
    return _place(line), line.pattern.meaning, line.pattern.fix


def _harmless(known: Sequence[KnownLine]) -> Iterator[tuple[str, ...]]:
    return ((_place(line), line.pattern.meaning) for line in known if line.harmless)


def _coded(matter: Sequence[KnownLine]) -> Iterator[Finding]:
    """What the catalogue says more about, each code once, where the line stands first."""
    codes = set()
    for line in matter:
        pattern = line.pattern
        if pattern.code is None or pattern.code in codes:
            continue
        codes.add(pattern.code)
        message = f"{_begin(pattern.meaning)}."
        evidence = f"line {line.number}: {line.text[:_WIDTH]}"
        fix = pattern.fix or None
        yield new_finding(pattern.code, message, evidence, fix=fix, severity=pattern.severity)


def _begin(meaning: str) -> str:
    """As the begin of a sentence; ``turns:`` and ``connect()`` stay what they are."""
    first = meaning.split(" ", 1)[0]
    return meaning if first.endswith((":", ")")) else f"{meaning[0].upper()}{meaning[1:]}"


# --- pairs -----------------------------------------------------------------------------------------------------------


def _pairs(text: str) -> dict[Pair, str]:
    """Each pair with the last state that the log tells."""
    found: dict[Pair, str] = {}
    for match in _PAIR.finditer(text):
        local, local_port, remote, remote_port, state = match.groups()
        if is_literal(local) and is_literal(remote) and max(int(local_port), int(remote_port)) <= 65535:
            pair = Address(local, int(local_port)), Address(remote, int(remote_port))
            if pair in found or len(found) < _MAX_PAIRS:
                found[pair] = state
    return found


def _pair_rows(pairs: dict[Pair, str]) -> Iterator[tuple[str, ...]]:
    words = {"SUCCEEDED": "works", "FAILED": "no answer", "FROZEN": "not tried", "WAITING": "not tried"}
    for (local, remote), state in pairs.items():
        yield str(local), str(remote), words.get(state, "tried, not ended in this log")


def _pair_findings(pairs: dict[Pair, str]) -> Iterator[Finding]:
    """Where no pair works, what each side told may say why."""
    if not pairs or "SUCCEEDED" in pairs.values():
        return
    # The rules read candidates; what the log has are their addresses, and nothing else is shown for it.
    remotes = {_host(remote): remote for _, remote in pairs}
    locals_ = {_host(local): local for local, _ in pairs}
    lines = {str(line): f"{address} in the pairs of this log" for line, address in (remotes | locals_).items()}
    for finding in told_findings(list(remotes), more=True, who="The other side"):
        yield replace(finding, evidence=tuple(lines.get(line, line) for line in finding.evidence))
    for finding in told_findings(list(locals_), more=True, who="This side"):
        # The log shows the addresses that it sends from, which a NAT may have made public since.
        evidence = tuple(lines.get(line, line) for line in finding.evidence)
        yield Finding(finding.code, Severity.WARNING, finding.message, finding.fix, evidence)


def _host(address: Address) -> Candidate:
    return Candidate(
        foundation="1",
        component=1,
        transport="udp",
        priority=1,
        address=address.host,
        port=address.port,
        type=CandidateType.HOST,
    )
