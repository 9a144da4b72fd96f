from __future__ import annotations

import subprocess
import sys

import aiortc
import pytest
from aiortc.sdp import candidate_from_sdp
from hypothesis import given

from icekit import Candidate
from icekit.call import from_aiortc, to_aiortc
from icekit.errors import CandidateError
from tests.test_candidate import REAL_LINES, lines


@pytest.mark.parametrize("line", REAL_LINES.values(), ids=REAL_LINES)
def test_it_is_what_aiortc_reads_itself(line: str) -> None:
    ours = to_aiortc(Candidate.parse(line))
    assert ours == candidate_from_sdp(line.removeprefix("candidate:"))
    assert {type(value) for value in vars(ours).values()} <= {str, int, type(None)}


def test_the_section_is_named() -> None:
    candidate = to_aiortc(Candidate.parse(REAL_LINES["aioice"]), sdp_mid="audio", sdp_mline_index=0)
    assert (candidate.sdpMid, candidate.sdpMLineIndex) == ("audio", 0)


@given(lines())
def test_all_but_extensions_comes_back(line: str) -> None:
    candidate = Candidate.parse(line)
    back = from_aiortc(to_aiortc(candidate))
    assert back.forgiven == ()
    assert back == Candidate(
        candidate.foundation,
        candidate.component,
        candidate.transport,
        candidate.priority,
        candidate.address,
        candidate.port,
        candidate.type,
        candidate.related_address,
        candidate.related_port,
        candidate.tcptype,
    )


def test_what_aiortc_let_pass_is_checked() -> None:
    with pytest.raises(CandidateError, match="component"):
        from_aiortc(aiortc.RTCIceCandidate(0, "1", "192.0.2.1", 5, 1, "udp", "host"))


def test_aiortc_is_imported_only_when_it_is_used() -> None:
    program = "import icekit.call, sys; print([name for name in ('aiortc', 'aioice') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "[]\n"
