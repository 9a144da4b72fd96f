from __future__ import annotations

from typing import Any

import pytest

from icekit.bench import plan
from icekit.bench.engines import ENGINES
from icekit.bench.networks import NETWORKS
from icekit.bench.plan import combine, comparison, default_engines, estimate, seconds_of
from icekit.errors import ConfigError


@pytest.fixture
def has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "why_not", lambda _: None)


def test_every_combination() -> None:
    settings = combine(
        medium="sim", engines=("icekit_ice", "aioice"), networks=("host",), rtts=(0, 0.3), losses=(0, 0.05, 0.2)
    )
    assert len(settings) == len(set(settings)) == 12
    assert [item.engine for item in settings[:4]] == ["icekit_ice", "aioice"] * 2
    assert len({item.condition for item in settings}) == 6


def test_without_names() -> None:
    settings = combine(medium="sim")
    assert {item.network for item in settings} == set(NETWORKS)
    assert {item.engine for item in settings} == {"icekit", "aiortc", "icekit_ice", "aioice"}
    # Of engines that nobody named only those that can.
    assert {item.engine for item in combine(medium="sim", losses=(0.2,))} == {"icekit_ice", "aioice"}
    assert {item.engine for item in combine(medium="sim", gathered=True)} == {"icekit_ice", "aioice"}


def test_a_network_of_relays() -> None:
    assert all(item.relay_only for item in combine(medium="sim", networks=("relay-only",)))
    assert all(item.relay_only for item in combine(medium="sim", networks=("host",), relay_only=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engines": ("icekit", "libjuice")}, "no engine 'libjuice'; there are icekit, aiortc, "),
        ({"networks": ("home",)}, "'home' is no network; there are host, "),
        ({"engines": ("chromium",)}, "chromium is no engine of the simulator"),
        ({"engines": ("icekit",), "losses": (0.05,)}, "OpenSSL"),
        ({"engines": ("icekit",), "media": True}, "--media: sound is sent by the real clock, .*; add --lab"),
        ({"media": True}, "--media: .*; add --lab"),
    ],
)
def test_what_there_is_not(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        combine(medium="sim", **options)


@pytest.mark.usefixtures("has_everything")
def test_the_full_comparison() -> None:
    shares = comparison(runs=5, laboratory=True, seconds=500)
    assert estimate(shares) <= 600
    settings = {setting for share in shares for setting in share.settings}
    real = {setting for setting in settings if setting.medium == "lab"}
    assert {item.engine for item in real} == set(ENGINES)
    assert {item.network for item in settings} == set(NETWORKS)
    assert {(item.network, item.rtt) for item in real} >= {
        ("host", 0.0),
        ("port-restricted", 0.3),
        ("relay-only", 0.05),
    }
    assert {item.dead for item in settings} == {None, "stun", "turn", "interface"}
    for measured in (real, settings - real):
        assert {item.loss for item in measured} == {0.0, 0.05, 0.2}
        assert {item.rtt for item in measured} == {0.0, 0.05, 0.3}
    for name in ("trickle", "relay_only", "gathered"):
        assert {getattr(item, name) for item in settings} == {True, False}
    sound = [item for item in settings if item.media]
    assert {item.engine for item in sound} == {"icekit", "aiortc", "wrtc", "libdatachannel", "chromium"}
    assert {(item.medium, item.network, item.rtt) for item in sound} == {("lab", "port-restricted", 0.05)}
    assert sorted(item.loss for item in sound if item.engine == "icekit") == [0.0, 0.05, 0.2]
    assert sorted(item.loss for item in sound if item.engine == "aiortc") == [0.0, 0.05]
    # A relay that never answers is left out where no call could be.
    assert {item.network for item in settings if item.dead == "turn"} == {"host", "port-restricted"}
    alone = comparison(runs=5, laboratory=False, seconds=500)
    assert {setting.medium for share in alone for setting in share.settings} == {"sim"}


@pytest.mark.usefixtures("has_everything")
def test_how_long_each_condition_takes() -> None:
    shares = comparison(runs=5, laboratory=True, seconds=500)
    seconds = seconds_of(shares)
    assert list(seconds) == list(dict.fromkeys(setting.condition for share in shares for setting in share.settings))
    assert sum(seconds.values()) == pytest.approx(estimate(shares))
    real = sum(value for condition, value in seconds.items() if "medium=lab" in condition)
    assert real <= 500.001


def test_default_engines_can_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "why_not", lambda name: None if name in ("icekit", "aioice") else "it is missing")
    assert default_engines("lab") == ("icekit", "aioice")
    assert default_engines("lab", whole=True) == ("icekit",)
    assert [item.engine for item in combine(medium="lab", networks=("host",), media=True)] == ["icekit"]
