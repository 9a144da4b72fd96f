"""The queue of received data: order, bound, and waiting that ends."""

from __future__ import annotations

import asyncio

import pytest

from icekit.aio.inbox import Inbox


def nothing() -> None:
    """Waiting makes sense."""


async def test_data_comes_in_order_with_its_component() -> None:
    inbox = Inbox()
    waiting = asyncio.ensure_future(inbox.take(nothing))
    await asyncio.sleep(0)
    inbox.put(b"one", 1)
    inbox.put(b"two", 2)
    assert await waiting == (b"one", 1)
    assert len(inbox.waiting) == 1
    assert inbox.waiting.popleft() == (b"two", 2)


def test_what_nobody_reads_is_bounded() -> None:
    inbox = Inbox()
    for number in range(2000):
        inbox.put(number.to_bytes(2), 1)
    assert len(inbox.waiting) == 1024
    assert inbox.waiting.popleft() == (b"\0\0", 1)


async def test_waiting_ends_with_the_connection() -> None:
    inbox, alive = Inbox(), True

    def check() -> None:
        if not alive:
            raise ConnectionError

    waiting = asyncio.ensure_future(inbox.take(check))
    await asyncio.sleep(0)
    alive = False
    inbox.wake()
    with pytest.raises(ConnectionError):
        await waiting
    # What was received before is still given.
    inbox.put(b"last", 1)
    assert await inbox.take(check) == (b"last", 1)
