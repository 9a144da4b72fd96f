"""The shared pace: one per loop, none outside."""

from __future__ import annotations

import asyncio

from icekit.aio.floor import shared_floor


def test_one_for_each_loop() -> None:
    async def both() -> tuple[object, object]:
        return shared_floor(), shared_floor()

    first, again = asyncio.run(both())
    assert first is again
    assert asyncio.run(both())[0] is not first
    assert shared_floor() is not shared_floor()


async def test_two_transactions_are_five_milliseconds_apart() -> None:
    shared_floor().take(7.0)
    assert shared_floor().next_at == 7.005
