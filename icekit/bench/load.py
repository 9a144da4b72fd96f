"""``LoadTest``: many allocations on one's own TURN server, with traffic through each, and all of them given back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from icekit.aio.dns import Resolver
from icekit.aio.driver import Driver
from icekit.aio.interfaces import source_address
from icekit.aio.relay_check import drive
from icekit.bench.load_plan import PATIENCE, TOGETHER, LoadPlan
from icekit.bench.load_report import (
    Limit,
    LimitKind,
    LoadReport,
    Released,
    Spread,
    Step,
    Tally,
    conclude,
    held_allocations,
    judge,
    make_step,
)
from icekit.bench.relay_loop import LoopEvent, LoopFailed, LoopReady, RelayLoop
from icekit.errors import ConnectivityError
from icekit.long_term_credential import LongTermCredential
from icekit.reachability import ServerCheck, ServerChecked, Target
from icekit.relay_user import RelayUser
from icekit.report import Finding, StageName, StageResult, TurnReport
from icekit.rules_stages import turn_findings
from icekit.servers import ServerUri

# Seconds: for one allocation to be there, or to fail, whatever happens; to give one back; between two looks at what is
# still on its way.
_OPENING, _CLOSING, _LOOK = 30.0, 3.0, 0.05
# Allocations that are given back at a time: a burst of farewells would not fit into a socket's buffer.
_LEAVING = 50
# Sockets of one allocation, and what else a program has open.
_SOCKETS, _OTHER_FILES = 2, 64


async def find_server(uri: ServerUri) -> tuple[Target, str]:
    """Where ``uri`` leads, and the local address to send from; ConnectivityError if there is no such place.

    Of a name with addresses of both families it is the one that answers a Binding request: at the other one nobody may
    serve, as at the ``::1`` of localhost.
    """
    resolution = await Resolver().resolve(uri)
    places: dict[int, tuple[Target, str]] = {}
    for endpoint in resolution.endpoints:
        family = endpoint.address.family
        if family not in places and (host := await source_address(endpoint.address)) is not None:
            places[family] = Target(str(uri), endpoint.address, endpoint.transport, endpoint.server_name), host
    if len(places) > 1:
        for target, host in places.values():
            if await _is_served(target, host):
                return target, host
    for place in places.values():
        return place
    if resolution.endpoints:
        address = resolution.endpoints[0].address
        raise ConnectivityError(f"{uri}: no route to {address}; check this host's network, and that address")
    raise ConnectivityError(
        f"{uri}: the name cannot be resolved ({resolution.failure}); check its spelling, or write the server's address"
    )


async def _is_served(target: Target, host: str) -> bool:
    found = False

    def take(event: object) -> None:
        nonlocal found
        if isinstance(event, ServerChecked):
            found = bool(event.report.reachable)

    await drive(ServerCheck(target, host, os.urandom), ServerChecked, take)
    return found


class LoadTest:
    """``run`` it once; ``report`` is what is known, at any time. ``user`` asks for all the allocations.

    ``progress`` is called with a line for people. ``busy`` gives the seconds that this program was not idle so far.
    ConfigError if the OpaqueString profile forbids the user's name or password (RFC 8265).
    """

    def __init__(
        self,
        user: RelayUser,
        plan: LoadPlan,
        *,
        busy: Callable[[], float] | None = None,
        progress: Callable[[str], None] = lambda line: None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        LongTermCredential(user.username, user.password)
        self._user = user
        self._plan = plan
        self._busy = busy_seconds if busy is None else busy
        self._progress = progress
        self._ssl_context = ssl_context
        self._loops: list[RelayLoop] = []
        self._carrying: list[RelayLoop] = []
        self._drivers: dict[RelayLoop, Driver[LoopEvent]] = {}
        self._waiting: dict[RelayLoop, asyncio.Future[LoopFailed | None]] = {}
        self._steps: list[Step] = []
        self._limit: Limit | None = None
        # Of one that was being opened, and of one that was open.
        self._failed: LoopFailed | None = None
        self._broken: LoopFailed | None = None
        self._finished = False

    async def run(self) -> LoadReport:
        """Open, send, measure, grow, and give back; cancelled, it still gives everything back."""
        allow_files(self._plan.max_allocations if self._plan.ramp else self._plan.allocations)
        try:
            for count in self._plan.steps():
                await self._grow(count)
                # What the server gives is measured, but a ramp has its answer.
                if self._carrying and not (self._limit is not None and self._plan.ramp):
                    step = await self._measure()
                    self._steps.append(step)
                    self._limit = self._limit or self._judge(step)
                if self._limit is not None:
                    break
            self._finished = True
        finally:
            self._progress("giving everything back")
            await self._release_all()
        return self.report

    def _judge(self, step: Step) -> Limit | None:
        limit = judge(self._plan, step)
        if limit is not None and limit.kind is LimitKind.LOST and self._broken is not None:
            return replace(limit, detail=f"{limit.detail} ({self._broken.failure.detail})")
        return limit

    @property
    def report(self) -> LoadReport:
        """What is known."""
        opened = sum(loop.opened for loop in self._loops)
        lifetime = max((loop.lifetime for loop in self._loops), default=0)
        lost = sum(loop.has_lost for loop in self._loops)
        released = Released(opened, sum(loop.released for loop in self._loops), lost, lifetime)
        second = any(loop.uses_second_allocation for loop in self._loops)
        steps = tuple(self._steps)
        return LoadReport(
            url=self._user.target.url,
            server=str(self._user.target.address),
            transport=self._user.target.transport.value,
            peer="a second allocation on the server for each" if second else "a UDP socket of this machine for each",
            plan=self._plan,
            verdict=conclude(self._plan, steps, self._limit, released, interrupted=not self._finished),
            held=held_allocations(self._plan, steps),
            limit=self._limit,
            steps=steps,
            setup=Spread.of(loop.allocate_seconds for loop in self._loops if loop.allocate_seconds is not None),
            opened=opened,
            released=released.released,
            lost=lost,
            unconfirmed=released.unconfirmed,
            findings=self._findings(),
        )

    def _findings(self) -> tuple[Finding, ...]:
        """What the catalogue says of the failure, with its fix."""
        known = self._failed or self._broken
        if known is None:
            return ()
        failure = known.failure
        stage = StageResult(failure.stage, False, 0.0, failure.detail)
        return turn_findings(
            TurnReport(
                url=self._user.target.url,
                ok=False,
                failed_stage=failure.stage,
                code=failure.code,
                cause=failure.cause,
                stages=(stage,),
            )
        )

    # Open.

    async def _grow(self, count: int) -> None:
        """Open until ``count`` carry traffic, or the first one fails: that is a limit."""
        places = asyncio.Semaphore(TOGETHER)

        async def open_one() -> None:
            async with places:
                if self._failed is None:
                    await self._open()

        self._progress(f"opening allocations: {len(self._carrying)} of {count}")
        async with asyncio.TaskGroup() as group:
            for _ in range(count - len(self._carrying)):
                group.create_task(open_one())
        if self._failed is not None:
            failure = self._failed.failure
            refused = self._failed.code is not None and failure.stage in (StageName.ALLOCATE, StageName.CHALLENGE)
            kind = LimitKind.REFUSED if refused else LimitKind.NO_PATH
            self._limit = Limit(kind, len(self._carrying), failure.detail, self._failed.code)

    async def _open(self) -> None:
        # A time-limited name may expire while the test grows.
        loop = RelayLoop(replace(self._user, unix_time=time.time()), size=self._plan.size)
        driver: Driver[Any] = Driver(loop, ssl_context=self._ssl_context, deliver=lambda event: self._hear(loop, event))
        self._loops.append(loop)
        self._drivers[loop] = driver
        waiting = self._waiting[loop] = asyncio.get_running_loop().create_future()
        loop.start(driver.now())
        driver.wake()
        try:
            async with asyncio.timeout(_OPENING):
                failed = await waiting
        finally:
            del self._waiting[loop]
        if failed is None:
            self._carrying.append(loop)
            self._progress(f"opening allocations: {len(self._carrying)}")
        else:
            self._failed = self._failed or failed
            # What is of no use is not kept until the end.
            await driver.close(_CLOSING)

    def _hear(self, loop: RelayLoop, event: LoopEvent) -> None:
        waiting = self._waiting.get(loop)
        match event:
            case LoopReady() | LoopFailed() if waiting is not None and not waiting.done():
                waiting.set_result(event if isinstance(event, LoopFailed) else None)
            case LoopFailed():
                self._broken = self._broken or event
            case _:
                pass

    # Send and measure.

    async def _measure(self) -> Step:
        plan, running = self._plan, self._carrying
        clock = asyncio.get_running_loop().time
        self._progress(f"{len(running)} allocations carry traffic for {plan.duration:g} s")
        before = self._busy()
        began = clock() + 0.01
        end = began + plan.duration
        tally = Tally(began, plan.duration)
        for number, loop in enumerate(running):
            # Spread over one interval, so that they do not all send at once.
            first = began + plan.interval * number / len(running)
            loop.begin(first, plan.interval, end, plan.max_latency, tally)
            self._drivers[loop].wake()
        await asyncio.sleep(end - clock())
        # What it does until then is longer if it was behind.
        busy = (self._busy() - before) / (clock() - began)
        while clock() < end + PATIENCE and any(loop.is_waiting for loop in running):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        traffic = [loop.take_traffic() for loop in running]
        lost = [loop for loop in running if not loop.is_ready]
        self._carrying = [loop for loop in running if loop.is_ready]
        return make_step(plan, tally, traffic, lost_allocations=len(lost), busy=busy)

    # Give back.

    async def _release_all(self) -> None:
        """To its end, also for who interrupts just now: what is not given back stays on the server for minutes."""
        releasing = asyncio.create_task(self._release())
        interrupted = False
        while not releasing.done():
            try:
                await asyncio.shield(releasing)
            except asyncio.CancelledError:
                interrupted = True
        if interrupted:
            raise asyncio.CancelledError

    async def _release(self) -> None:
        places = asyncio.Semaphore(_LEAVING)

        async def leave(driver: Driver[LoopEvent]) -> None:
            async with places:
                await driver.close(_CLOSING)

        await asyncio.gather(*(leave(driver) for driver in self._drivers.values()), return_exceptions=True)


def busy_seconds() -> float:
    """Seconds in which this thread has computed, or (where Linux tells) wanted to and waited for a core."""
    try:
        computed, waited, _ = Path("/proc/thread-self/schedstat").read_text("ascii").split()
    except (OSError, ValueError):
        return time.thread_time()
    return (int(computed) + int(waited)) / 1e9


def allow_files(allocations: int) -> None:
    """Let this process have as many sockets open as so many allocations need, as far as the system allows it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = allocations * _SOCKETS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
