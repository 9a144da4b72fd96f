"""What is refused before anything is built; tests/netns/test_bench.py makes real calls."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from icekit.bench import laboratory
from icekit.bench.engines import OwnEngine
from icekit.bench.laboratory import check
from icekit.bench.measure import Orders
from icekit.bench.networks import NETWORKS
from icekit.bench.samples import Sample, Setting
from icekit.errors import ConfigError, ProgramError
from tests.bench.made import sample

SETTING = Setting(engine="icekit", network="host", rtt=0.0, medium="lab")


def test_it_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="root"):
        check([SETTING])


def test_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laboratory, "check_privileges", lambda: None)
    check([SETTING])
    with pytest.raises(ConfigError, match="the simulator can"):
        check([replace(SETTING, gathered=True)])
    with pytest.raises(ConfigError, match="there is no engine 'x'; there are icekit, "):
        check([replace(SETTING, engine="x")])
    check([replace(SETTING, media=True)])
    with pytest.raises(ConfigError, match="--media: aioice is ICE only and has no sound; leave it out, or --media"):
        check([replace(SETTING, engine="aioice", media=True)])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="apt-get install chromium"):
        check([replace(SETTING, engine="chromium")])


@pytest.mark.parametrize(("until", "runs"), [(math.inf, 6), (0.0, 3)])
async def test_who_gets_how_many_runs(until: float, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [replace(SETTING, engine=engine) for engine in ("icekit", "aioice", "wrtc")]
    taken: list[Sample] = []

    async def measured(_bench: Any, _pair: Any, setting: Setting, number: int, _fails_after: float) -> Sample:
        # One fails always, one every other time.
        fails = setting.engine == "aioice" or (setting.engine == "wrtc" and number % 2 == 0)
        return sample(setting, number, failure="no echo" if fails else None)

    monkeypatch.setattr(laboratory._Bench, "_measure", measured)
    bench = laboratory._Bench(NETWORKS["host"], Orders(runs=6, seed=1, take=taken.append, until=until))
    await bench._take_turns(settings, dict.fromkeys(("icekit", "aioice", "wrtc")), until)
    counts = Counter(item.setting.engine for item in taken)
    # Who has failed twice in a row is not asked again, and a condition whose time is over gets three: the median of
    # one says nothing.
    assert counts == {"icekit": runs, "aioice": 2, "wrtc": runs}
    assert [item.setting.engine for item in taken[:6]] == ["icekit", "aioice", "wrtc"] * 2


async def test_a_program_of_ones_own_that_is_never_ready_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []

    class Silent:
        def __init__(self, name: str, _command: object, *, namespace: object) -> None:
            self.name = name

        async def __aenter__(self) -> None:
            entered.append(self.name)
            raise ProgramError(self.name, "not ready after 30 s")

        async def __aexit__(self, *_exception: object) -> None:
            pass

    class Lab:
        clients = (SimpleNamespace(namespace=None), SimpleNamespace(namespace=None))

        def set_links(self, *_links: object) -> None:
            pass

    monkeypatch.setattr(laboratory, "Program", Silent)
    taken: list[Sample] = []
    refused: list[str] = []
    own = {"mine": OwnEngine("mine", (sys.executable,))}
    orders = Orders(runs=5, seed=1, take=taken.append, own=own, refused=refused.append)
    bench: Any = laboratory._Bench(NETWORKS["host"], orders)
    bench.lab = Lab()
    await bench.run([([replace(SETTING, engine="mine", rtt=rtt)], math.inf) for rtt in (0.0, 0.05)])
    assert entered == ["mine", "mine"]
    assert refused == ["the program mine: not ready after 30 s"]
    assert [item.failure for item in taken] == refused * 4
