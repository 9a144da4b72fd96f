"""Tasks on the side of an object."""

from __future__ import annotations

import asyncio

from icekit.aio.background import Background


async def test_what_is_begun_goes_on_until_it_is_done_or_closed() -> None:
    background, steps, done = Background(), [], asyncio.Event()

    async def work(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            steps.append(f"{name} done")
            done.set()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            steps.append(f"{name} cancelled")
            raise

    background.run(work("quick", 0.0))
    background.run(work("slow", 3600.0), name="slow-work")
    assert "slow-work" in {task.get_name() for task in asyncio.all_tasks()}
    await done.wait()
    await background.close()
    # Whoever waits for the end finds it.
    assert steps == ["quick done", "slow cancelled"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await background.close()


async def test_others_may_begin_while_those_before_them_end() -> None:
    background, steps = Background(), []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            steps.append(name)

    background.run(work("first"))
    await asyncio.sleep(0)
    background.cancel()
    background.run(work("second"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert steps == ["first"]
    await background.close()
    assert steps == ["first", "second"]
