"""Every wait has a deadline and a code, and every code a row in the catalogue."""

from __future__ import annotations

import pytest

from icekit.catalogue import describe
from icekit.phases import Circumstances, Deadlines, Phase, code_of

WAITS = [phase for phase in Phase if phase not in (Phase.CONNECTED, Phase.ENDED)]


@pytest.mark.parametrize("phase", WAITS)
def test_every_wait_has_a_deadline_and_a_code(phase: Phase) -> None:
    assert Deadlines(peer=5.0).of(phase, candidates=0)
    row = describe(code_of(phase, Circumstances()))
    assert row is not None


@pytest.mark.parametrize("phase", [Phase.CONNECTED, Phase.ENDED])
def test_what_is_no_wait_has_no_deadline(phase: Phase) -> None:
    assert Deadlines(peer=5.0).of(phase, candidates=0) is None


def test_nobody_has_to_come() -> None:
    assert Deadlines().of(Phase.PEER, candidates=0) is None


@pytest.mark.parametrize(
    ("phase", "what", "code"),
    [
        (Phase.PEER, Circumstances(), "CALL-PEER"),
        (Phase.OFFER, Circumstances(), "CALL-OFFER"),
        (Phase.OFFER, Circumstances(refused="no SDP"), "CALL-DESCRIPTION"),
        (Phase.ANSWER, Circumstances(), "CALL-ANSWER"),
        (Phase.ANSWER, Circumstances(collisions=1), "CALL-GLARE"),
        (Phase.ANSWER, Circumstances(collisions=1, refused="no SDP"), "CALL-DESCRIPTION"),
        (Phase.CANDIDATES, Circumstances(), "CALL-CANDIDATES"),
        (Phase.CANDIDATES, Circumstances(stale=2), "CALL-UFRAG"),
        (Phase.CANDIDATES, Circumstances(stale=2, candidates=1), "CALL-PATH"),
        (Phase.PATH, Circumstances(stale=1, candidates=1), "CALL-PATH"),
        (Phase.PATH, Circumstances(stale=1), "CALL-UFRAG"),
        (Phase.PATH, Circumstances(), "CALL-CANDIDATES"),
        (Phase.NOMINATION, Circumstances(), "CALL-NOMINATION"),
        (Phase.DTLS, Circumstances(), "CALL-DTLS"),
        (Phase.RESTORING, Circumstances(), "CALL-LOST"),
    ],
)
def test_the_circumstances_decide(phase: Phase, what: Circumstances, code: str) -> None:
    assert code_of(phase, what) == code


def test_a_path_has_more_time_when_candidates_have_come() -> None:
    deadlines = Deadlines()
    assert deadlines.of(Phase.CANDIDATES, candidates=0) == 30
    # RFC 8863 §4: no pair has failed before 39.5 seconds.
    seconds = deadlines.of(Phase.CANDIDATES, candidates=1)
    assert seconds is not None
    assert seconds > 39.5
