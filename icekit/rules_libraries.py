"""Rules about versions of aioice and aiortc that are known to be broken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from icekit.catalogue import new_finding
from icekit.report import Finding


@dataclass(frozen=True, slots=True)
class Pin:
    """A library and the newest version of it that may be installed; ``excluded``: this one is not (``<0.13``)."""

    name: str
    version: str
    excluded: bool = False

    def __str__(self) -> str:
        return f"{self.name} {'<' if self.excluded else ''}{self.version}"


# Library, the version with the fix, and what happened before it.
_FIXED: Final = (
    ("aioice", "0.10.0", "a TURN server that cannot be reached raises an error and ends the call"),
    (
        "aioice",
        "0.11.0",
        "403 answers to a permission end as errors of a task, and ICE fails before all candidates came",
    ),
    ("aioice", "0.12.0", "the relay-only policy still tells and tries other candidates"),
    ("aioice", "0.12.1", "after close() there are tracebacks: 'NoneType' object has no attribute 'sendto'"),
    ("aioice", "0.13.0", "answers to checks are believed without their MESSAGE-INTEGRITY"),
    ("aiortc", "1.16.0", "the relay-only policy still tells other candidates"),
)


def library_findings(pins: Sequence[Pin]) -> Iterator[Finding]:
    """ICE017: what was wrong in these versions, and which one has all of it repaired."""
    for pin in pins:
        bugs = [(fixed, what) for name, fixed, what in _FIXED if name == pin.name and _is_before(pin, fixed)]
        if bugs:
            evidence = [f"before {fixed}: {what}" for fixed, what in bugs]
            fix = f'Upgrade: pip install "{pin.name}>={bugs[-1][0]}"'
            yield new_finding("ICE017", f"{pin} has {_count(len(bugs))} fixed since.", *evidence, fix=fix)


def _count(number: int) -> str:
    return "a bug that was" if number == 1 else f"{number} bugs that were"


def _is_before(pin: Pin, fixed: str) -> bool:
    version, limit = _numbers(pin.version), _numbers(fixed)
    return version <= limit if pin.excluded else version < limit


def _numbers(version: str) -> tuple[int, int, int]:
    """The first three numbers; a pre-release counts as its release."""
    found = [int(number) for number in re.findall(r"[0-9]{1,6}", version)[:3]]
    major, minor, patch = (*found, 0, 0, 0)[:3]
    return major, minor, patch
