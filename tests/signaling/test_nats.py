"""What needs no server; the contract runs over one in ``tests/interop/test_brokers.py``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError, SignalingError
from icekit.signaling import connect
from icekit.signaling.message import MAX_MESSAGE
from icekit.signaling.nats import MAX_UNFINISHED, Parts


def test_parts_make_a_whole() -> None:
    parts = Parts()
    assert parts.add("a-0 0 2", b"he") is None
    assert parts.add("b-0 0 2", b"wo") is None
    assert parts.add("a-0 1 2", b"llo") == b"hello"
    assert parts.add("b-0 1 2", b"rld") == b"world"


@pytest.mark.parametrize("header", ["", "a", "a 0", "a 1 2", "a 2 2", "a 0 0", "a 0 257", "a\n 0 2", "a 0 2 3"])
def test_what_does_not_fit_is_dropped(header: str) -> None:
    parts = Parts()
    assert parts.add(header, b"x") is None
    assert parts.add("a 1 2", b"x") is None


def test_memory_is_bounded() -> None:
    parts = Parts()
    assert parts.add("big 0 2", b"x" * MAX_MESSAGE) is None
    assert parts.add("big 1 2", b"x") is None
    for number in range(MAX_UNFINISHED + 1):
        parts.add(f"{number} 0 2", b"x")
    assert parts.add("0 1 2", b"y") is None, "the oldest gave way"
    assert parts.add("1 1 2", b"y") == b"xy"


@given(st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=5)), max_size=10))
def test_any_header_is_survived(lines: list[tuple[str, bytes]]) -> None:
    parts = Parts()
    for header, data in lines:
        parts.add(header, data)


def test_urls_that_cannot_be() -> None:
    for url in ("nats://host", "nats://host/>", "nats://user@host/room"):
        with pytest.raises(ConfigError):
            connect(url)


async def test_nobody_there() -> None:
    with pytest.raises(SignalingError, match="no connection: nothing listens there"):
        async with connect("nats://127.0.0.1:1/room"):
            raise AssertionError
