from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from icekit.bench.measure import Orders
from icekit.bench.samples import Phase, Sample, Setting, write_sample
from icekit.bench.simulated import ENGINES, check, measure, measure_all, versions
from icekit.errors import ConfigError

SETTING = Setting(engine="icekit", network="port-restricted", rtt=0.05, medium="sim")


LOSSY = replace(SETTING, engine="icekit_ice", network="symmetric--port-restricted", loss=0.2)


def found(engine: str = "icekit_ice", **change: Any) -> Sample:
    sample = measure(replace(SETTING, engine=engine, **change), 0, 1)
    assert sample.failure is None, sample
    return sample


def milliseconds(sample: Sample, phase: Phase) -> float:
    value = sample.phases[phase]
    assert value is not None, (phase, sample)
    return 1000 * value


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_seeds_give_equal_figures(engine: str) -> None:
    # The NATs draw ports, the engines credentials and tie-breakers, and with loss what arrives is drawn, too.
    setting = replace(SETTING, engine=engine, network="symmetric--port-restricted")
    if engine in ("icekit_ice", "aioice"):
        setting = replace(setting, loss=0.2)
    one, other = (write_sample(measure(setting, 0, 5)) for _ in range(2))
    assert one == other
    assert engine in versions()


def test_another_process_measures_the_same() -> None:
    # Sets have another order there.
    code = (
        "from icekit.bench.samples import Setting, write_sample; from icekit.bench.simulated import measure\n"
        f"print(write_sample(measure({LOSSY!r}, 0, 5)), end='')"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "4711", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == write_sample(measure(LOSSY, 0, 5))


def test_other_seeds_lose_other_packets() -> None:
    setting = replace(SETTING, engine="icekit_ice", loss=0.2)
    assert len({measure(setting, 0, seed).phases[Phase.FIRST_VALID] for seed in range(5)}) > 1


# TCP that one loss stopped failed 4; in 29 three SYNs in a row are lost, in 1073 three times the same Allocate.
@pytest.mark.parametrize(
    ("network", "seed"), [("udp-blocked--open", 4), ("udp-blocked--open", 29), ("udp-blocked", 1073)]
)
def test_a_fifth_lost_fails_no_call_where_only_tcp_leaves(network: str, seed: int) -> None:
    sample = measure(replace(SETTING, engine="icekit_ice", network=network, loss=0.2), 0, seed)
    assert (sample.failure, sample.path) == (None, "relay")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_in_phases(engine: str) -> None:
    sample = found(engine)
    assert (sample.path, sample.same_pair, sample.direct_possible) == ("direct", True, True)
    reached = {phase for phase, value in sample.phases.items() if value is not None}
    alone = {Phase.DTLS, Phase.OPEN} if engine in ("icekit_ice", "aioice") else set()
    assert set(Phase) - reached == {Phase.MEDIA} | alone
    for phase in reached:
        assert milliseconds(sample, phase) >= 1000 * sample.limits[phase] - 0.01, phase


def test_icekit_is_near_the_limit_where_aioice_waits() -> None:
    for network, over in (("host", 20), ("port-restricted", 20), ("relay-only", 40)):
        ours, theirs = (found(engine, network=network) for engine in ("icekit_ice", "aioice"))
        limit = 1000 * ours.limits[Phase.FIRST_VALID]
        assert limit <= milliseconds(ours, Phase.FIRST_VALID) <= limit + over
        assert milliseconds(theirs, Phase.FIRST_VALID) > milliseconds(ours, Phase.FIRST_VALID)


def test_what_is_dead_costs_icekit_nothing() -> None:
    whole = milliseconds(found(), Phase.FIRST_VALID)
    assert milliseconds(found(dead="turn"), Phase.FIRST_VALID) <= whole + 1
    assert milliseconds(found(dead="interface"), Phase.FIRST_VALID) <= whole + 25
    # The TURN server tells the mapped address as well: two slots of 5 ms later.
    assert milliseconds(found(dead="stun"), Phase.FIRST_VALID) <= whole + 11
    assert milliseconds(found("aioice", dead="stun"), Phase.FIRST_VALID) > 10_000


def test_conditions_take_their_effect() -> None:
    assert milliseconds(found(trickle=False), Phase.OFFER) >= 100
    assert milliseconds(found(signaling=0.05), Phase.ANSWER) >= 50
    before = found(gathered=True)
    assert milliseconds(before, Phase.SRFLX) < 5
    assert before.reasons[Phase.RESOLVE] == "before the call"
    assert found(relay_only=True).path == "relay"


@pytest.mark.parametrize("network", ["port-restricted", "symmetric--port-restricted", "udp-blocked--open"])
def test_a_description_waits_for_servers_that_are_far(network: str) -> None:
    assert found(network=network, rtt=0.3, trickle=False).path in ("direct", "relay")


def test_where_there_is_no_path() -> None:
    sample = measure(replace(SETTING, engine="aioice", network="symmetric--symmetric", dead="turn"), 0, 1)
    assert sample.failure is not None
    assert (sample.path, sample.limits) == ("none", {})
    assert sample.reasons[Phase.FIRST_VALID] == "not reached"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine": "wrtc"}, "wrtc is no engine of the simulator"),
        ({"loss": 0.05}, "OpenSSL repeats a lost record"),
        ({"gathered": True}, "cannot gather before the call"),
    ],
)
def test_what_cannot_be_simulated(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(replace(SETTING, **change))


def test_engines_take_turns() -> None:
    settings = [replace(SETTING, engine=engine, network="host") for engine in ("icekit_ice", "aioice")]
    taken: list[Sample] = []
    begun: list[Setting] = []
    measure_all(settings, Orders(runs=2, seed=3, take=taken.append, begins=begun.append))
    assert [(item.setting.engine, item.run, item.seed) for item in taken] == [
        ("icekit_ice", 0, 3),
        ("aioice", 0, 3),
        ("icekit_ice", 1, 4),
        ("aioice", 1, 4),
    ]
    assert begun == settings[:1]
