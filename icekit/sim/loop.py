"""An asyncio event loop whose clock jumps: programs run unchanged, in virtual time, on a simulated network."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import signal
import socket
import threading
from asyncio import events
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CoroutineType
from typing import Any, Protocol, TypeVarTuple

from icekit.errors import SimulationDeadlock, SimulationRealClock, SimulationTimeLimit

Ts = TypeVarTuple("Ts")

_PURGE_ABOVE = 100


class LoopNetwork(Protocol):
    """What the loop asks of the simulated network; ``Internet`` is one."""

    async def open_datagram(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        local: Any,
        remote: Any,
        family: int,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Bind a UDP socket on the current host."""

    async def open_stream(
        self, factory: Callable[[], asyncio.BaseProtocol], remote: Any, local: Any, options: dict[str, Any]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect a TCP stream from the current host."""

    async def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], host: Any, port: Any, options: dict[str, Any]
    ) -> asyncio.AbstractServer:
        """Accept TCP streams on the current host."""

    def resolve(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """What ``socket.getaddrinfo`` answers on the current host."""


class SimLoop(asyncio.BaseEventLoop):
    """Virtual time in seconds from ``start``; everything that is due runs at once, nothing sleeps.

    Equal deadlines run in the order in which they were scheduled (asyncio's own heap does not promise that).
    With nothing ready, nothing scheduled and the main task not done it raises ``SimulationDeadlock``, past ``limit``
    (seconds of virtual time) ``SimulationTimeLimit``, and ``SimulationRealClock`` when ``Internet`` says so. Executors
    run their function at once, in this thread.
    """

    def __init__(self, network: LoopNetwork, *, start: float = 0.0, limit: float = float("inf")) -> None:
        super().__init__()
        self._network = network
        self._now = start
        self._limit = limit
        self._sequence = 0
        self._cancelled_timers = 0
        self._timers: list[tuple[float, int, events.Handle]] = []
        self._real_clock = False
        self._interrupted = False
        # Of the superclass, which types do not know.
        self._ready: Any
        self._stopping: bool
        self._asyncgens: Any
        self._world = contextvars.Context()

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run ``callback(*args)`` at ``when``, after everything that was scheduled for that moment before."""
        handle = events.TimerHandle(when, callback, args, self, context)
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run ``callback(*args)`` after ``delay`` seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run ``callback(*args)`` in the next round."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_network(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Run a step of the network, outside every program's context; it cannot be cancelled."""
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, events.Handle(callback, args, self, self._world)))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled_timers += 1
        if self._cancelled_timers > _PURGE_ABOVE and self._cancelled_timers * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def real_clock_wanted(self) -> None:
        """A program depends on the real clock: the run ends with ``SimulationRealClock``."""
        self._real_clock = True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within it, Ctrl-C ends the run between two rounds, and the second one at once.

        Raised inside a program it could be taken for the program's own error, or get lost in a destructor.
        """
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or (
            threading.current_thread() is not threading.main_thread()
        ):
            yield
            return
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._end_if_interrupted()

    def _interrupt(self, *_: object) -> None:
        self._end_if_interrupted()
        self._interrupted = True

    def _end_if_interrupted(self) -> None:
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _run_once(self) -> None:
        self._end_if_interrupted()
        if self._real_clock:
            self._real_clock = False
            raise SimulationRealClock(self._now, tuple(sorted(map(describe, asyncio.all_tasks(self)))))
        ready = self._ready
        timers = self._timers
        if not ready and not self._stopping:
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
                self._cancelled_timers -= 1
            if not timers:
                raise SimulationDeadlock(self._now, tuple(sorted(map(describe, asyncio.all_tasks(self)))))
            when = timers[0][0]
            if when > self._limit:
                raise SimulationTimeLimit(self._limit, tuple(sorted(map(describe, asyncio.all_tasks(self)))))
            if when > self._now:
                self._now = when
        now = self._now
        while timers and timers[0][0] <= now:
            ready.append(heapq.heappop(timers)[2])
        # Whoever keeps an exception of what runs now keeps this frame, and with it every timer of this moment.
        del timers
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:  # noqa: SLF001  # the loop's own side of a handle
                handle._run()  # noqa: SLF001

    def finish(self) -> None:
        """Cancel what is left, as ``asyncio.Runner`` does, and close."""
        try:
            # A set; its order is not the same in every process.
            left = sorted(asyncio.all_tasks(self), key=lambda task: (len(task.get_name()), task.get_name()))
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            for task in left:
                if not task.cancelled() and (error := task.exception()) is not None:
                    self.call_exception_handler({"message": "error while ending", "exception": error, "task": task})
            if self._asyncgens:
                self.run_until_complete(self.shutdown_asyncgens())
        finally:
            self.close()

    def _write_to_self(self) -> None:
        # Wakes a selector in other loops; here the only thread is awake.
        pass

    def _process_events(self, event_list: object) -> None:
        raise NotImplementedError("a simulated loop has no file descriptors")

    def run_in_executor(  # type: ignore[override]  # a look-up has another result type
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run ``func`` now; look-ups of the ``socket`` module ask the simulated names."""
        future = self.create_future()
        try:
            future.set_result(self._call(func, args))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # as an executor: whatever it is belongs to the caller
            future.set_exception(error)
        return future

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        target = getattr(func, "func", func)
        if target is socket.gethostbyname:
            return self._network.resolve(args[0], 0, family=socket.AF_INET)[0][4][0]
        if target is socket.getaddrinfo:
            return self._network.resolve(*args, *getattr(func, "args", ()), **getattr(func, "keywords", {}))
        return func(*args)

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Addresses of a simulated name; ``socket.gaierror`` if there are none."""
        return self._network.resolve(host, port, family=family, type=type, proto=proto, flags=flags)

    async def create_datagram_endpoint(  # type: ignore[override]  # no socket of the system is accepted
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: Any = None,
        remote_addr: Any = None,
        *,
        family: int = 0,
        sock: object = None,
        **_options: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Bind a UDP socket on the current host (errors as the system's: ``OSError`` with its number)."""
        _refuse_socket(sock)
        return await self._network.open_datagram(protocol_factory, local_addr, remote_addr, family)

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        local_addr: Any = None,
        sock: object = None,
        **options: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect a TCP stream from the current host."""
        _refuse_socket(sock)
        return await self._network.open_stream(protocol_factory, (host, port), local_addr, options)

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        sock: object = None,
        **options: Any,
    ) -> asyncio.AbstractServer:
        """Accept TCP streams on the current host."""
        _refuse_socket(sock)
        return await self._network.listen(protocol_factory, host, port, options)


def _refuse_socket(sock: object) -> None:
    if sock is not None:
        raise ValueError("a simulated network has no sockets of the system: pass addresses, not sock=")


def describe(task: asyncio.Task[Any]) -> str:
    """What a task waits for: its chain of calls with file and line, and the future or task at the end."""
    frames = []
    awaited: Any = task.get_coro()
    while isinstance(awaited, CoroutineType) and awaited.cr_frame is not None:
        code = awaited.cr_code
        frames.append(f"{code.co_qualname} ({Path(code.co_filename).name}:{awaited.cr_frame.f_lineno})")
        awaited = awaited.cr_await
    waiter = getattr(task, "_fut_waiter", None)
    if isinstance(waiter, asyncio.Task):
        ending = f"the task {waiter.get_name()}"
    elif waiter is None:
        ending = "its turn"
    else:
        ending = "a future that nobody resolves"
    return f"{task.get_name()}: {' → '.join(frames)} waits for {ending}"
