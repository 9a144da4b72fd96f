"""What needs no broker; the contract runs over one in ``tests/interop/test_brokers.py``."""

from __future__ import annotations

import sys

import pytest

from icekit.errors import ConfigError, MissingExtra, SignalingError
from icekit.signaling import connect


def test_the_room_is_a_topic_without_wildcards() -> None:
    with pytest.raises(ConfigError, match="room"):
        connect("mqtt://host/a/%23")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(MissingExtra, match=r"pip install 'icekit\[mqtt\]'"):
        connect("mqtt://host/room")


async def test_nobody_there() -> None:
    with pytest.raises(SignalingError, match="no connection: nothing listens there"):
        async with connect("mqtt://127.0.0.1:1/room"):
            raise AssertionError
