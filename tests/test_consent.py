"""When a pair in use is checked, and when its silence shows."""

from __future__ import annotations

import pytest

from icekit.candidate import Candidate, CandidateType
from icekit.checklist import CandidatePair, LocalCandidate
from icekit.consent import Consent
from icekit.ice_config import IceConfig
from icekit.net import Address

HOST = Address("192.0.2.1", 5000)


def pair(rtt: float | None = None) -> CandidatePair:
    mine = Candidate("1", 1, "udp", 1, *HOST, CandidateType.HOST)
    theirs = Candidate("1", 1, "udp", 1, "192.0.2.2", 7000, CandidateType.HOST)
    made = CandidatePair(LocalCandidate(mine, HOST), theirs, 1)
    made.rtt = rtt
    return made


@pytest.mark.parametrize(("byte", "delay"), [(0, 4.0), (255, 6.0)])
def test_checks_are_spread_by_a_fifth(byte: int, delay: float) -> None:
    used, consent = pair(), Consent(IceConfig(), lambda count: bytes([byte] * count))
    consent.use(used, 100.0)
    assert used.consent_at == pytest.approx(100.0 + delay)
    # Using it again changes nothing.
    consent.use(used, 101.0)
    assert used.consent_at == pytest.approx(100.0 + delay)


def test_an_answer_renews_it_for_thirty_seconds() -> None:
    used, consent = pair(), Consent(IceConfig(), bytes)
    consent.answered(used, 7.0)
    assert (used.consent_until, used.answered_at, consent.silent_at(1)) == (37.0, 7.0, 12.0)


@pytest.mark.parametrize(("rtt", "due"), [(None, 3.5), (0.1, 3.5), (1.5, 2.0), (3.0, 1.0)])
def test_silence_is_looked_into_before_it_shows(rtt: float | None, due: float) -> None:
    used, consent = pair(rtt), Consent(IceConfig(), lambda count: b"\xff" * count)
    consent.answered(used, 0.0)
    consent.use(used, 0.0)
    assert consent.due(used) == pytest.approx(due)
    # One that was just sent needs time for its answer.
    used.last_check = due
    assert consent.due(used) == pytest.approx(due + 0.5)
