from __future__ import annotations

import pytest

from icekit.aio.patience import Patience
from icekit.candidate import Candidate

HOST = Candidate.parse("candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host")
MAPPED = Candidate.parse("candidate:2 1 udp 1694498815 198.51.100.1 5000 typ srflx raddr 192.0.2.1 rport 5000")


@pytest.mark.parametrize(
    ("found", "until"),
    [
        ([], 12.0),
        # No server has answered yet, and a round trip may be long.
        ([(HOST, 10.0)], 11.0),
        ([(HOST, 10.9)], 11.2),
        ([(HOST, 10.0), (MAPPED, 10.04)], 10.34),
        # With 300 ms to each server the relay comes 300 ms later.
        ([(HOST, 10.0), (MAPPED, 10.3)], 10.75),
        ([(HOST, 10.0), (MAPPED, 10.9)], 12.0),
        # Found before anybody asked.
        ([(HOST, 5.0), (MAPPED, 5.1)], 5.4),
    ],
)
def test_until_when(found: list[tuple[Candidate, float]], until: float) -> None:
    patience = Patience()
    for candidate, now in found:
        patience.found(candidate, now)
    assert patience.ends(10.0) == pytest.approx(until)
