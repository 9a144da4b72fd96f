"""Calls in the simulated Internet, and the named scenarios: what stock aioice does there, and that icekit does not."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from icekit.nat_presets import PRESETS, preset
from icekit.predict import predict
from icekit.report import PathKind
from icekit.sides import Side
from icekit.sim.runner import run
from icekit.sim.scenario import Engine, Outcome, Scenario, StunServer, TurnServer

SCENARIOS = Path(__file__).parents[2] / "benchmarks" / "scenarios"


def both(name: str) -> tuple[Outcome, Outcome]:
    """The outcome of a named scenario with aioice, and with icekit."""
    scenario = Scenario.from_toml((SCENARIOS / f"{name}.toml").read_text(encoding="utf-8"))
    assert scenario.engine is Engine.AIOICE
    return run(scenario), run(scenario.changed({"engine": "icekit"}))


def connected(outcome: Outcome) -> tuple[float | None, float | None]:
    return outcome.a.connected_ms, outcome.b.connected_ms


def last(outcome: Outcome) -> float:
    a, b = connected(outcome)
    assert a is not None
    assert b is not None
    return max(a, b)


def test_every_named_scenario_has_its_test_and_says_what_it_shows() -> None:
    tested = {"aioice-stall", "dead-stun", "dead-interface", "udp-blocked", "relay-though-direct", "split-pairs"}
    assert {path.stem for path in SCENARIOS.iterdir()} == tested
    for path in SCENARIOS.iterdir():
        assert path.read_text(encoding="utf-8").startswith("# ")


def test_aioice_stalls_behind_two_port_restricted_nats() -> None:
    theirs, ours = both("aioice-stall")
    assert (theirs.path, ours.path) == (PathKind.DIRECT, PathKind.DIRECT)
    # Half a second above what it would take.
    assert connected(theirs) == (pytest.approx(180, abs=1), pytest.approx(650, abs=1))
    # The limit is S + T + P and S + T + 3P/2.
    assert last(ours) <= 150 + 15


def test_aioice_waits_ten_seconds_for_a_dead_server() -> None:
    theirs, ours = both("dead-stun")
    assert (theirs.path, ours.path) == (PathKind.DIRECT, PathKind.DIRECT)
    assert (theirs.a.gathered_ms, theirs.b.gathered_ms) == (pytest.approx(5000, abs=1), pytest.approx(10030, abs=1))
    assert last(theirs) > 10_000
    # The limit is S + P and S/2 + P.
    assert last(ours) <= 100 + 15


def test_aioice_waits_ten_seconds_for_an_interface_that_reaches_nobody() -> None:
    theirs, ours = both("dead-interface")
    assert (theirs.path, ours.path) == (PathKind.DIRECT, PathKind.DIRECT)
    assert last(theirs) == pytest.approx(10_650, abs=1)
    # The slots of the pairs that such an address has; the network is that of the first scenario.
    assert last(ours) - last(both("aioice-stall")[1]) <= 60


def test_aioice_waits_five_seconds_for_stun_where_udp_is_blocked() -> None:
    theirs, ours = both("udp-blocked")
    assert (theirs.path, ours.path) == (PathKind.RELAY, PathKind.RELAY)
    assert last(theirs) == pytest.approx(5720, abs=1)
    assert last(ours) < 250


def test_aioice_stays_on_a_relay_though_a_direct_path_works() -> None:
    theirs, ours = both("relay-though-direct")
    assert (theirs.path, theirs.split) == (PathKind.RELAY, False)
    assert (theirs.a.relayed, theirs.b.relayed) == (True, True)
    assert (ours.path, ours.split) == (PathKind.DIRECT, False)


def test_aioice_leaves_the_peers_on_different_pairs() -> None:
    theirs, ours = both("split-pairs")
    assert (theirs.path, theirs.split) == (PathKind.RELAY, True)
    assert (theirs.a.relayed, theirs.b.relayed) == (False, True)
    assert (ours.path, ours.split) == (PathKind.DIRECT, False)


URLS: dict[str, tuple[str, ...]] = {
    "none": (),
    "udp": ("turn:x:3478?transport=udp",),
    "tcp": ("turn:x:443?transport=tcp",),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("turn", list(URLS))
def test_icekit_connects_by_the_predicted_path_and_kinds(turn: str) -> None:
    wrong: dict[tuple[str, str], object] = {}
    for a, b in product(PRESETS, PRESETS):
        outcome = run(Scenario(a=a, b=b, turn=TurnServer(turn)))
        predicted = predict(Side.from_preset(a, URLS[turn]), Side.from_preset(b, URLS[turn]))
        has_failed = outcome.a.failure is not None or outcome.b.failure is not None
        if outcome.path is not predicted.path or outcome.split or has_failed != (predicted.path is PathKind.NONE):
            wrong[a, b] = (outcome.path.value, predicted.path.value, outcome.split)
        elif not has_failed:
            kinds = {(outcome.a.local, outcome.a.remote), (outcome.b.remote, outcome.b.local)}
            if kinds != {(predicted.local, predicted.remote)}:
                wrong[a, b] = kinds
    assert wrong == {}


def test_a_dead_turn_server_does_not_hold_up_a_direct_path() -> None:
    outcome = run(Scenario(turn=TurnServer.DEAD, stun=StunServer.NONE))
    assert outcome.path is PathKind.DIRECT
    assert last(outcome) <= 115


def test_equal_seeds_give_equal_runs_and_others_give_others() -> None:
    scenario = Scenario(a="symmetric", b="restricted", loss=0.2, jitter_ms=10, seed=5)
    first, second = (run(scenario, timeline=True) for _ in range(2))
    assert first == second
    assert run(scenario.changed({"seed": 6}), timeline=True).timeline != first.timeline


def test_the_round_trips_are_those_of_the_scenario() -> None:
    # Through two NATs, too: the path is told for the outermost one.
    for nat in ("open", "firewall", "cgnat"):
        assert len(preset(nat).chain) == {"open": 0, "firewall": 1, "cgnat": 2}[nat]
        outcome = run(
            Scenario(engine=Engine.AIOICE, a=nat, b="open", server_rtt_ms=34, direct_rtt_ms=100, signaling_rtt_ms=60)
        )
        assert outcome.a.gathered_ms == pytest.approx(34)
        assert outcome.b.gathered_ms == pytest.approx(34 + 30 + 34)


def test_the_skew_delays_what_one_side_hears() -> None:
    late = [run(Scenario(skew_ms=skew)) for skew in (0, 100, -100)]
    assert [outcome.a.gathered_ms for outcome in late] == [pytest.approx(30)] * 3
    # B begins when it hears from A, with a check, and asks the server a slot later; A begins at once.
    assert [outcome.b.gathered_ms for outcome in late] == [pytest.approx(value) for value in (80, 180, 80)]
    assert last(late[2]) > last(late[0]) + 50


def test_there_is_a_timeline_only_when_it_is_asked_for() -> None:
    assert run(Scenario()).timeline is None
    lines = run(Scenario(), timeline=True).timeline
    assert lines is not None
    assert "STUN Binding request" in lines[0]
