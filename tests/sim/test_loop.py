from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Iterator

import pytest

from icekit.errors import SimulationDeadlock, SimulationTimeLimit
from icekit.sim import Internet


def test_equal_deadlines_run_in_the_order_of_scheduling() -> None:
    ran: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(1000):
            if number % 2:
                loop.call_at(1.0, ran.append, number)
            else:
                loop.call_later(1.0, ran.append, number)
        loop.call_at(1.0, ran.append, 1001).cancel()
        await asyncio.sleep(1.0)
        assert ran == list(range(1000))

    Internet().run(main())


def test_years_pass_in_no_time() -> None:
    net = Internet(limit=1e9)
    began = time.monotonic()

    async def main() -> float:
        await asyncio.sleep(5e8)
        return asyncio.get_running_loop().time()

    assert net.run(main()) == 5e8
    assert time.monotonic() - began < 5


def test_time_stands_still_while_programs_compute() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        for _ in range(100):
            await asyncio.sleep(0)
        return [*times, loop.time()]

    assert Internet().run(main()) == [0.0, 0.0]


def test_a_deadlock_says_what_each_task_waits_for() -> None:
    async def wait_for_an_event() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        worker = asyncio.create_task(wait_for_an_event(), name="worker")
        await asyncio.sleep(3)
        await worker

    with pytest.raises(SimulationDeadlock) as caught:
        Internet().run(main())
    assert caught.value.seconds == 3.0
    main_line, worker_line = caught.value.tasks
    assert "main (test_loop.py:" in main_line
    assert main_line.endswith("waits for the task worker")
    assert worker_line.startswith("worker: ")
    assert "wait_for_an_event (test_loop.py:" in worker_line
    assert "Event.wait (locks.py:" in worker_line
    assert worker_line.endswith("waits for a future that nobody resolves")
    assert str(caught.value).startswith("deadlock at 3.000000 s of virtual time:\n  ")


def test_a_run_without_end_stops_at_the_limit() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(1)

    with pytest.raises(SimulationTimeLimit, match="not finished at 100"):
        Internet(limit=100).run(main())


def test_executors_run_at_once() -> None:
    async def main() -> None:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    Internet().run(main())


def test_cancelled_timers_do_not_pile_up() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(10_000):
            loop.call_later(1000, print).cancel()
        assert len(loop._timers) < 300  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    Internet().run(main())


def test_sockets_of_the_system_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="no sockets of the system"):
            await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, sock=object())  # type: ignore[arg-type]

    Internet().run(main())


@pytest.fixture
def _interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_ends_the_run_and_no_program_sees_it() -> None:
    seen: list[str] = []

    async def program() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            seen.append("its step ended")
            await asyncio.sleep(1)
            seen.append("it went on")
        except KeyboardInterrupt:
            seen.append("it saw the interrupt")

    async def main() -> None:
        await asyncio.create_task(program())

    with pytest.raises(KeyboardInterrupt):
        Internet(seed=1).run(main())
    assert seen == ["its step ended"]


@pytest.mark.usefixtures("_interruptible")
def test_a_second_interrupt_ends_a_program_that_never_waits() -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        Internet(seed=1).run(main())


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_of_the_last_step_is_not_lost() -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Internet(seed=1).run(main())
