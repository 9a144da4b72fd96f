"""Scenarios: what a file may say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from icekit.errors import ConfigError
from icekit.nat_presets import PRESETS
from icekit.sim.scenario import Engine, Scenario, StunServer, TurnServer


def test_an_empty_file_is_the_default() -> None:
    assert Scenario.from_toml("") == Scenario()


def test_every_key_can_be_written() -> None:
    text = """
        engine = "aioice"
        a = "symmetric"
        b = "cgnat"
        stun = "dead"
        turn = "tcp"
        direct_rtt_ms = 100
        server_rtt_ms = 50.5
        signaling_rtt_ms = 0
        jitter_ms = 3
        loss = 0.05
        skew_ms = -20
        dead_interfaces = 2
        seed = 7
    """
    assert Scenario.from_toml(text) == Scenario(
        engine=Engine.AIOICE,
        a="symmetric",
        b="cgnat",
        stun=StunServer.DEAD,
        turn=TurnServer.TCP,
        direct_rtt_ms=100,
        server_rtt_ms=50.5,
        signaling_rtt_ms=0,
        jitter_ms=3,
        loss=0.05,
        skew_ms=-20,
        dead_interfaces=2,
        seed=7,
    )


def test_words_become_members() -> None:
    scenario = Scenario.from_toml('engine = "aioice"\nstun = "none"\nturn = "udp"')
    assert (type(scenario.engine), type(scenario.stun), type(scenario.turn)) == (Engine, StunServer, TurnServer)


PRESET = f"a NAT preset: {', '.join(PRESETS)}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('engine = "webrtc"', "scenario: engine is 'webrtc'; allowed: icekit, aioice"),
        ("engine = 1", "scenario: engine is '1'; allowed: icekit, aioice"),
        ('a = "fullcone"', f"scenario: a is 'fullcone'; allowed: {PRESET}"),
        ('b = ["open"]', f"scenario: b is \"['open']\"; allowed: {PRESET}"),
        ('stun = "yes"', "scenario: stun is 'yes'; allowed: alive, dead, none"),
        ("turn = true", "scenario: turn is 'True'; allowed: none, udp, tcp, dead"),
        ("loss = 5", "scenario: loss is '5'; allowed: a number from 0 to 1"),
        ("loss = true", "scenario: loss is 'True'; allowed: a number from 0 to 1"),
        ("direct_rtt_ms = -1", "scenario: direct_rtt_ms is '-1'; allowed: a number from 0 to 60000"),
        ("jitter_ms = nan", "scenario: jitter_ms is 'nan'; allowed: a number from 0 to 60000"),
        ("skew_ms = inf", "scenario: skew_ms is 'inf'; allowed: a number from -60000 to 60000"),
        ("dead_interfaces = 1.0", "scenario: dead_interfaces is '1.0'; allowed: a whole number from 0 to 16"),
        ('seed = "x"', "scenario: seed is 'x'; allowed: a whole number from 0 to 9223372036854775807"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Scenario.from_toml(text)
    assert str(caught.value) == sentence


def test_an_unknown_key_is_named_with_all_that_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        Scenario.from_toml("nat = 1")
    assert str(caught.value) == (
        "scenario: there is no key 'nat'; allowed: engine, a, b, stun, turn, direct_rtt_ms, server_rtt_ms, "
        "signaling_rtt_ms, jitter_ms, loss, skew_ms, dead_interfaces, seed"
    )


def test_what_is_not_toml_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^scenario: this is not TOML: .*line 1"):
        Scenario.from_toml("engine = \nseed = 1")


def test_changes_leave_the_rest() -> None:
    changes: dict[str, Any] = {"seed": 3, "turn": "tcp"}
    scenario = Scenario.from_toml('a = "cgnat"')
    assert scenario.changed(changes) == replace(scenario, seed=3, turn=TurnServer.TCP)
