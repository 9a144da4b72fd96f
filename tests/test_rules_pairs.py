"""What the pairs of a connection that has failed tell."""

from __future__ import annotations

import pytest

from icekit.candidate import Candidate
from icekit.ice_events import PairStats
from icekit.path_mtu import PathMtu
from icekit.report import Finding
from icekit.rules_pairs import narrow_path, pair_findings
from tests.rule_cases import FindingCase, check_finding_case

HOST = Candidate.parse("candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host")
RELAY = Candidate.parse("candidate:3 1 udp 16777215 203.0.113.20 50000 typ relay raddr 198.51.100.2 rport 6001")
NO_RELAY = "this side has no relay candidate"
PEER_NO_RELAY = "the peer has no relay candidate"


def pair(sent: int, answered: int = 0, received: int = 0, remote: Candidate = HOST, refused: int = 0) -> PairStats:
    return PairStats(1, HOST, remote, "failed", 1, False, False, None, sent, received, answered, 0, 0, refused)


@pytest.mark.parametrize(
    ("local", "pairs", "code", "evidence"),
    [
        ([], [], "CALL-PATH", ["this side has no candidate", NO_RELAY]),
        ([HOST], [], "CALL-PATH", ["nothing was checked: no candidate of the peer fits one of this side", NO_RELAY]),
        (
            [HOST, RELAY],
            [pair(6), pair(4, remote=RELAY)],
            "CALL-PATH",
            [
                "10 checks sent on 2 pairs, 0 answered, 0 received from the peer",
                "nothing came from the peer: NATs or firewalls drop the checks, or it has not begun",
            ],
        ),
        (
            [HOST],
            [pair(6, received=3)],
            "CALL-PATH",
            [
                "6 checks sent on 1 pair, 0 answered, 3 received from the peer",
                "checks of the peer arrive, but no answer to those of this side",
                NO_RELAY,
                PEER_NO_RELAY,
            ],
        ),
        (
            [RELAY],
            [pair(6, remote=RELAY, refused=5)],
            "CALL-PASSWORD",
            [
                "6 checks sent on 1 pair, 0 answered, 0 received from the peer",
                "the peer has refused 5 of them: ice-ufrag or ice-pwd are not what it has",
            ],
        ),
        (
            [RELAY],
            [pair(6, 5, 5, RELAY, refused=1), pair(2, remote=RELAY)],
            "CALL-LOST",
            ["8 checks sent on 2 pairs, 5 answered, 5 received from the peer"],
        ),
        (
            [RELAY],
            [pair(6, 5, 5, RELAY), pair(2, remote=RELAY)],
            "CALL-LOST",
            ["8 checks sent on 2 pairs, 5 answered, 5 received from the peer"],
        ),
    ],
)
def test_findings(local: list[Candidate], pairs: list[PairStats], code: str, evidence: list[str]) -> None:
    [finding] = pair_findings(local, pairs)
    assert finding.code == code
    assert list(finding.evidence) == evidence


def narrow(*ways: PathMtu | None) -> list[Finding]:
    return list(narrow_path({f"way {number}": mtu for number, mtu in enumerate(ways)}))


CASES = [
    FindingCase("ICE029", "one way", narrow(PathMtu(1200), PathMtu(860, 900)), narrow(PathMtu(1200), PathMtu(1200))),
    FindingCase("ICE029", "both ways", narrow(PathMtu(860, 900), PathMtu(1152, 1200)), narrow(None, None)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_narrow_paths(case: FindingCase) -> None:
    check_finding_case(case)


def test_a_narrow_path_tells_what_passes() -> None:
    [finding] = narrow(PathMtu(1200), PathMtu(860, 900))
    assert finding.evidence == ("way 1: IP packets of 860 bytes pass, those of 900 are lost",)
