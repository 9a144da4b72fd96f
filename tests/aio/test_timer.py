"""The timer of a driver, in virtual time: when it rings, how often it wakes up, and in whose context."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from icekit.aio.timer import Timer
from icekit.sim import Internet


def run(test: Callable[[Timer, list[float]], Awaitable[None]]) -> list[float]:
    """When it rang."""
    rung: list[float] = []

    async def main() -> None:
        await test(Timer(asyncio.get_running_loop()), rung)

    Internet(1).run(main())
    return rung


def test_it_rings_at_the_last_time_that_it_was_set_to() -> None:
    async def test(timer: Timer, rung: list[float]) -> None:
        for when in (3.0, 5.0, 2.0, 2.0, 4.0):
            timer.set(when, rung.append)
            assert timer.when == when
        await asyncio.sleep(10.0)
        assert timer.when is None
        # What is over rings at once.
        timer.set(float("-inf"), rung.append)
        await asyncio.sleep(1.0)

    assert run(test) == [4.0, 10.0]


def test_who_lets_it_ring_may_set_it_again() -> None:
    async def test(timer: Timer, rung: list[float]) -> None:
        def ring(now: float) -> None:
            rung.append(now)
            if now < 3.0:
                timer.set(now + 1.0, ring)

        timer.set(1.0, ring)
        await asyncio.sleep(10.0)

    assert run(test) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("stop", [Timer.cancel, lambda timer: timer.set(None, print)])
def test_what_is_cancelled_does_not_ring(stop: Callable[[Timer], None]) -> None:
    async def test(timer: Timer, rung: list[float]) -> None:
        stop(timer)
        timer.set(1.0, rung.append)
        timer.set(2.0, rung.append)
        stop(timer)
        assert timer.when is None
        await asyncio.sleep(10.0)

    assert run(test) == []


def test_a_time_that_moves_away_again_and_again_costs_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(timer: Timer, rung: list[float]) -> None:
        loop = asyncio.get_running_loop()
        call_at, armed = loop.call_at, []
        monkeypatch.setattr(
            loop, "call_at", lambda when, *args, **context: armed.append(when) or call_at(when, *args, **context)
        )
        for number in range(100):
            timer.set(1.0 + number / 10, rung.append)
        await asyncio.sleep(20.0)
        # Once at first, and once when it woke up and was not wanted yet.
        assert [when for when in armed if when < 15.0] == [1.0, 10.9]

    assert run(test) == [10.9]


def test_it_rings_in_the_context_that_it_was_made_in() -> None:
    whose = contextvars.ContextVar("whose", default="its own")
    heard: list[str] = []

    async def test(timer: Timer, rung: list[float]) -> None:
        whose.set("of another one")
        timer.set(1.0, lambda now: heard.append(whose.get()))
        timer.set(2.0, lambda now: heard.append(whose.get()))
        await asyncio.sleep(3.0)

    run(test)
    assert heard == ["its own"]


def test_a_loop_that_is_early() -> None:
    """asyncio calls what is due within the resolution of its clock."""

    async def main() -> None:
        timer, rung = Timer(asyncio.get_running_loop()), []
        when = asyncio.get_running_loop().time() + 1000.0
        timer.set(when, rung.append)
        assert timer._handle is not None
        timer._handle._run()
        assert rung == [when]

    asyncio.run(main())


def test_a_cancelled_timer_refers_to_nobody() -> None:
    class User:
        def ring(self, now: float) -> None:
            raise AssertionError

    async def main() -> None:
        timer, user = Timer(asyncio.get_running_loop()), User()
        timer.set(1000.0, user.ring)
        timer.cancel()
        gone = weakref.ref(user)
        gc.disable()
        try:
            del user
            assert gone() is None
        finally:
            gc.enable()

    asyncio.run(main())
