"""What a log says, the worst first."""

from __future__ import annotations

import asyncio
import logging

import aioice
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.log_patterns import Program
from icekit.loglines import MAX_LINES, read_log
from icekit.report import Severity
from icekit.sim import Internet

LOG = """\
INFO:root:hello
INFO:aioice.ice:Connection(0) Check CandidatePair(('10.0.0.1', 1) -> ('10.0.0.2', 2)) State.WAITING -> State.FAILED

INFO:aioice.ice:Connection(0) Check CandidatePair(('10.0.0.1', 1) -> ('10.0.0.3', 2)) State.WAITING -> State.FAILED
WARNING:aiortc.rtcpeerconnection:RTCPeerConnection addIceCandidate called without remote description
INFO:aioice.ice:Connection(0) ICE failed
"""


def test_errors_first_then_warnings_then_what_is_harmless() -> None:
    reading = read_log(LOG)
    assert [(line.number, line.pattern.severity, line.count) for line in reading.known] == [
        (6, Severity.ERROR, 1),
        (5, Severity.WARNING, 1),
        (2, Severity.INFO, 2),
    ]
    assert [line.harmless for line in reading.known] == [False, False, True]
    assert reading.known[0].text == "INFO:aioice.ice:Connection(0) ICE failed"
    assert reading.unknown == 1
    assert reading.programs == (Program.AIOICE, Program.AIORTC)
    assert not reading.cut


def test_nothing_known() -> None:
    reading = read_log("one\ntwo\n\n")
    assert (reading.known, reading.unknown, reading.programs) == ((), 2, ())


def test_a_log_that_is_too_long_is_cut() -> None:
    reading = read_log("x\n" * (MAX_LINES + 5))
    assert reading.cut
    assert reading.unknown == MAX_LINES


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    reading = read_log(text)
    assert reading.unknown + sum(line.count for line in reading.known) <= len(text.splitlines())


def test_a_real_run_of_aioice_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    net = Internet()
    hosts = [net.host("203.0.113.1"), net.host("203.0.113.2")]

    async def main() -> None:
        one = aioice.Connection(ice_controlling=True)
        other = aioice.Connection(ice_controlling=False)
        await hosts[0].run(one.gather_candidates())
        # Nobody is there.
        other.remote_username = one.local_username
        await one.add_remote_candidate(aioice.Candidate("x", 1, "udp", 1, "203.0.113.2", 9, "host"))
        await one.add_remote_candidate(None)
        one.remote_username, one.remote_password = "abcd", "x" * 22
        with pytest.raises(ConnectionError) as failure:
            await hosts[0].run(one.connect())
        logging.getLogger("aioice").error("%s", failure.value)
        await hosts[0].run(one.close())

    with caplog.at_level(logging.INFO, "aioice"):
        net.run(asyncio.wait_for(main(), 200))
    lines = [f"{record.levelname}:{record.name}:{record.getMessage()}" for record in caplog.records]
    reading = read_log("\n".join(lines))
    assert reading.unknown == 0
    assert [line.pattern.severity for line in reading.known][:2] == [Severity.ERROR, Severity.ERROR]
    assert "no pair of candidates answered" in " ".join(line.pattern.meaning for line in reading.known)
