from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.bench.limit import Oracle, direct_is_possible, formulas, limits
from icekit.bench.networks import NETWORKS, read_network
from icekit.bench.samples import Phase, Setting

CASES: dict[str, tuple[tuple[str | None, str | None], dict[str, bool]]] = {
    "host–host": ((None, None), {}),
    "port-restricted": (("port-restricted", "port-restricted"), {}),
    "port-restricted, TURN": (("port-restricted", "port-restricted"), {"turn": True}),
    "symmetric–restricted": (("symmetric", "restricted"), {}),
    "restricted–symmetric, relay": (("port-restricted", "symmetric"), {"turn": True}),
    "relay only": (("port-restricted", "port-restricted"), {"turn": True, "relay_only": True}),
}
SETTING = Setting(engine="icekit", network="port-restricted", rtt=0.05, medium="sim")
# Without trickle the answering side checks while it still gathers what it answers.
ICE = (Phase.OFFER, Phase.FIRST_CHECK, Phase.FIRST_VALID, Phase.SELECTED, Phase.DTLS, Phase.OPEN)


@pytest.mark.parametrize("case", CASES)
def test_the_oracle_equals_the_published_formulas(case: str) -> None:
    nats, options = CASES[case]
    for s, t, p in ((0.06, 0.03, 0.04), (0.1, 0.04, 0.02), (0.2, 0.06, 0.1), (0.4, 0.05, 0.05), (0.03, 0.05, 0.02)):
        found = Oracle(s, t, p, nats, **options).run()
        assert max(found) == pytest.approx(max(formulas(case, s, t, p)))


@settings(max_examples=60)
@given(
    st.sampled_from(list(CASES)),
    *(st.integers(0, 20).map(lambda steps: steps * 0.01) for _ in range(3)),
    st.integers(-30, 30).map(lambda steps: steps * 0.01),
)
def test_who_repeats_is_never_later(case: str, s: float, t: float, p: float, skew: float) -> None:
    nats, options = CASES[case]
    once, always = (max(Oracle(s, t, p, nats, skew=skew, repeats=item, **options).run()) for item in (False, True))
    assert always <= once + 1e-9
    # Nothing is faster than the light: an answer comes a round trip after both have begun.
    assert always >= max(0.0, s / 2 + skew) + min(p, 2 * t) / 2 - 1e-9


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("change", [{}, {"trickle": False}, {"gathered": True}, {"signaling": 0.1}, {"dead": "stun"}])
def test_limits_follow_each_other(network: str, change: dict[str, Any]) -> None:
    found = limits(replace(SETTING, network=network, **change))
    assert all(found[one] <= found[other] for one, other in pairwise(ICE))
    assert found[Phase.OFFER] <= found[Phase.ANSWER] < found[Phase.FIRST_VALID]
    assert all(0 <= value < 2 for value in found.values())


def test_both_port_restricted() -> None:
    # Round trips of 50 ms: a server's and the peer's; without signaling delay both begin at once.
    found = {phase: round(1000 * value) for phase, value in limits(SETTING).items()}
    assert found == {
        Phase.RESOLVE: 0,
        Phase.FIRST_CANDIDATE: 0,
        Phase.SRFLX: 50,
        Phase.RELAY: 100,
        Phase.OFFER: 0,
        Phase.ANSWER: 0,
        Phase.FIRST_CHECK: 0,
        Phase.FIRST_VALID: 100,
        Phase.SELECTED: 100,
        Phase.DTLS: 175,
        Phase.OPEN: 225,
        Phase.DATA: 225,
    }
    # Sound waits for DTLS, and not for SCTP.
    assert limits(replace(SETTING, media=True)) == {**limits(SETTING), Phase.MEDIA: pytest.approx(0.175)}
    alone = limits(SETTING, ice_only=True)
    assert Phase.DTLS not in alone
    assert alone[Phase.DATA] == pytest.approx(0.125)


def first_valid(**change: Any) -> float:
    return round(1000 * limits(replace(SETTING, **change))[Phase.FIRST_VALID])


def test_conditions_move_the_limit() -> None:
    # The tells of MEASURED: gathered beforehand T less, no trickle S + T becomes S + 2 T, TURN over TCP one T more.
    assert first_valid() == 100
    assert first_valid(gathered=True) == 50
    assert first_valid(signaling=0.05) == 200
    assert first_valid(trickle=False) == 250
    # A TURN server tells the mapped address as well.
    assert (
        first_valid(dead="stun")
        == first_valid(dead="turn")
        == first_valid(dead="interface")
        == first_valid(loss=0.2)
        == 100
    )
    assert first_valid(network="relay-only") == first_valid(relay_only=True) == 200
    assert first_valid(network="udp-blocked--open") == 250


def test_no_path_has_no_limit() -> None:
    assert limits(replace(SETTING, network="symmetric--symmetric", dead="turn")) == {}
    assert limits(replace(SETTING, network="blocked--open", dead="turn")) == {}
    assert math.isinf(max(Oracle(0.1, 0.1, 0.1, ("symmetric", "symmetric")).run()))


@pytest.mark.parametrize(
    ("network", "possible"),
    [
        ("host", True),
        ("port-restricted", True),
        ("relay-only", True),
        ("firewall", True),
        ("cgnat", True),
        ("symmetric--restricted", True),
        ("symmetric--port-restricted", False),
        ("symmetric--symmetric", False),
        ("udp-blocked--open", False),
    ],
)
def test_direct_paths(network: str, possible: bool) -> None:
    assert direct_is_possible(read_network(network)) is possible
