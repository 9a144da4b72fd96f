"""What is refused before anything is built; tests/netns/test_bench.py makes real calls."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from icekit.bench import laboratory
from icekit.bench.laboratory import check
from icekit.bench.samples import Setting
from icekit.errors import ConfigError

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
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="apt-get install chromium"):
        check([replace(SETTING, engine="chromium")])
