from __future__ import annotations

from typing import Any

import aioice
import pytest
from hypothesis import given

from icekit import Candidate
from icekit.aio import from_aioice, to_aioice
from icekit.errors import CandidateError
from tests.test_candidate import REAL_LINES, lines


@pytest.mark.parametrize("line", REAL_LINES.values(), ids=REAL_LINES)
def test_it_is_what_aioice_reads_itself(line: str) -> None:
    ours = to_aioice(Candidate.parse(line))
    theirs = aioice.Candidate.from_sdp(line.removeprefix("candidate:"))
    assert vars(ours) == vars(theirs)
    assert {type(value) for value in vars(ours).values()} <= {str, int, type(None)}


@given(lines())
def test_all_but_unknown_extensions_comes_back(line: str) -> None:
    candidate = Candidate.parse(line)
    back = from_aioice(to_aioice(candidate))
    assert back.forgiven == ()
    assert str(back) in without_extensions(candidate)
    assert from_aioice(to_aioice(back)) == back


def without_extensions(candidate: Candidate) -> list[str]:
    """The line with no extension, or with a generation that is a number."""
    words = str(candidate).split(" ")
    line = " ".join(words[: 8 + 2 * ((candidate.related_address is not None) + (candidate.related_port is not None))])
    if candidate.tcptype is not None:
        line += f" tcptype {candidate.tcptype}"
    generation = candidate.extension("generation") or ""
    return [line, f"{line} generation {int(generation)}"] if generation.isdigit() else [line]


def test_generation_comes_back() -> None:
    line = "candidate:1 1 udp 1 192.0.2.1 5 typ host generation 3"
    assert str(from_aioice(to_aioice(Candidate.parse(line)))) == line
    assert to_aioice(Candidate.parse(line)).generation == 3


def test_what_aioice_let_pass_is_checked() -> None:
    with pytest.raises(CandidateError, match="port"):
        from_aioice(aioice.Candidate.from_sdp("1 1 udp 1 192.0.2.1 99999 typ host"))
    kept = aioice.Candidate.from_sdp("candidate:1 1 udp 1 192.0.2.1 5 typ host")
    assert from_aioice(kept).foundation == "1"


@pytest.mark.parametrize("wrong", ["candidate:1 1 udp 1 192.0.2.1 9 typ host", 5, {"candidate": ""}])
def test_what_is_no_candidate_is_told_what_would_be(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"of icekit or aioice, not (str|int|dict); Candidate\.parse\(text"):
        from_aioice(wrong)


def test_the_default_candidate_is_the_most_reachable_one() -> None:
    from icekit.aio.aioice_candidates import default_candidate

    lines = (
        "1 1 udp 5 2001:db8::1 1 typ relay raddr :: rport 0",
        "2 1 udp 4 192.0.2.1 1 typ host",
        "3 1 udp 3 198.51.100.1 1 typ srflx raddr 192.0.2.1 rport 1",
        "4 1 udp 2 203.0.113.1 1 typ relay raddr 192.0.2.1 rport 1",
    )
    candidates = [Candidate.parse(f"candidate:{line}") for line in lines]
    chosen = [default_candidate(candidates[:count], 1) for count in (1, 2, 3, 4)]
    assert chosen == candidates
    assert default_candidate(candidates, 2) is None
    tcp = Candidate.parse("candidate:0 1 tcp 9 192.0.2.9 9 typ host tcptype active")
    assert default_candidate((tcp,), 1) is None
    assert default_candidate((tcp, candidates[1]), 1) == candidates[1]
    assert default_candidate((), 1) is None
