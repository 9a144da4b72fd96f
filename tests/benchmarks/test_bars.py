"""``benchmarks/bars.py``: what holds, what is missed, and that nothing passes for measured that is not there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from icekit.bench.samples import Phase, Results, Sample, Setting
from tests.bench.made import HEADER, sample

HERE = Setting(engine="icekit", network="port-restricted", rtt=0.05, medium="lab")


@pytest.fixture(scope="module")
def bars() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "benchmarks" / "bars.py"
    spec = importlib.util.spec_from_file_location("bars", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks for its module there.
    sys.modules["bars"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bars"]


def call(setting: Setting, valid: float, opened: float | None = None) -> Sample:
    return sample(setting, phases={Phase.FIRST_VALID: valid, Phase.SELECTED: valid, Phase.OPEN: opened})


def found(bars: ModuleType, *calls: Sample) -> dict[str, str]:
    return {bar.what: bar.row()[-1] for bar in bars.of_calls(Results(header=HEADER, samples=calls))}


def test_calls_within_their_bars(bars: ModuleType) -> None:
    verdicts = found(
        bars,
        call(HERE, 0.120, 0.275),
        call(replace(HERE, engine="wrtc"), 0.121),
        call(replace(HERE, network="symmetric--port-restricted"), 0.280),
        call(replace(HERE, network="relay-only", relay_only=True), 0.260),
        call(replace(HERE, network="udp-blocked--open"), 0.270),
        call(replace(HERE, dead="stun"), 0.120),
    )
    assert len(verdicts) == 9
    assert set(verdicts.values()) == {"holds"}


def test_calls_that_miss_them(bars: ModuleType) -> None:
    verdicts = found(
        bars,
        call(HERE, 0.151, 0.372),
        call(replace(HERE, engine="wrtc"), 0.149),
        call(replace(HERE, network="symmetric--port-restricted"), 0.281),
        call(replace(HERE, dead="stun"), 0.155),
    )
    # Relays alone and blocked UDP were not measured.
    assert len(verdicts) == 9
    assert set(verdicts.values()) == {"MISSED"}


def test_what_is_special_is_compared_with_nobody(bars: ModuleType) -> None:
    special = (
        replace(HERE, loss=0.05),
        replace(HERE, trickle=False),
        replace(HERE, rtt=0.3),
        replace(HERE, medium="sim"),
    )
    for setting in special:
        verdicts = found(bars, call(setting, 0.5), call(replace(setting, engine="wrtc"), 0.1))
        assert not [what for what in verdicts if "/ icekit" in what]


def test_the_table_counts_what_is_asked_and_explains_what_is_missed(bars: ModuleType) -> None:
    text = bars.show(
        [
            bars.Bar("codec, beside aioice", 0.404, "×", at_most=0.4),
            bars.Bar("codec, written", 1.8, "×"),
            bars.Bar("agents", 999, "", at_least=1000, known="One was killed."),
            bars.Bar("channel", None, "ms", at_most=370),
        ],
        0.291,
    )
    assert text.splitlines() == [
        "                          measured  asked",
        "codec, beside aioice        0.40 ×  at most 0.40    holds",
        "codec, written              1.80 ×",
        "agents                        999   at least 1,000  MISSED",
        "channel               not measured  at most 370     MISSED",
        "",
        "1 of 3 bars hold; the host took 29% of the processors from this machine meanwhile.",
        "agents: One was killed.",
        "channel: not explained.",
    ]


def test_the_other_sources(bars: ModuleType) -> None:
    figures = {
        "company": {"p99": 21.0, "interrupted": 3},
        "alone": {"p99": 10.0, "interrupted": 0},
        "ratio": 2.1,
        "kept": 1000,
        "at_once": 6.0,
        "memory": 3e4,
        "cpu": 1e-4,
    }
    listed = [
        *bars.of_codecs({"test_parse_a_candidate": {"rival": "aioice", "ratio": 1.4, "bar": 2.0}}),
        *bars.of_start({"import icekit": 0.061, "icekit --help": 0.2, "icekit explain CANDIDATE": 0.2}),
        *bars.of_servers({"Binding": (1.0, 2.0, 0.5)}),
        *bars.of_scale({"icekit": figures, "aioice": figures}),
    ]
    assert [bar.what for bar in listed if not bar.holds] == ["import icekit", "a pair beside 1,000 agents, p99 / alone"]
    assert listed[0].what == "parse a candidate, beside aioice"
