"""``RelayCheck``: one ``turn:`` URL from its name to the released relay, and ``drive``, which runs any such core."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from icekit.aio.dns import Resolver
from icekit.aio.driver import Driver
from icekit.aio.interfaces import source_address
from icekit.net import Endpoint, SocketFailure, WorldEvent
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.report import StageName, StageResult, TurnReport
from icekit.resolution import QueryFailure, Resolution, ServerEndpoint
from icekit.servers import ServerUri
from icekit.stage_record import StagePassed, TurnTested, stages_of
from icekit.stages import TurnStages

EventT = TypeVar("EventT")

# Where the test of a sinkhole ends: nobody is there, or it is a web server that shows a page.
_NOBODY_THERE = (StageName.CONNECT, StageName.TLS, StageName.CHALLENGE)


async def drive(
    core: Endpoint[EventT | WorldEvent],
    last: type[object],
    on_event: Callable[[EventT], None],
    *,
    started: Callable[[Driver[EventT]], None] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> None:
    """Run ``core`` until its event of type ``last``. Cancelled, it closes the core and still hands over every event."""
    driver = Driver(core, ssl_context=ssl_context)
    start: Callable[[float], None] = core.start  # type: ignore[attr-defined]
    start(driver.now())
    driver.wake()
    if started is not None:
        started(driver)
    try:
        async for event in driver.events():
            on_event(event)
            if isinstance(event, last):
                return
    finally:
        await driver.close()
        async for event in driver.events():
            on_event(event)


async def places(endpoints: Iterable[ServerEndpoint]) -> list[tuple[ServerEndpoint, str]]:
    """The first of each family to which this host has a route, with the address to send from.

    Calls ask both families, and a name may have an address at which nobody serves.
    """
    found: dict[int, tuple[ServerEndpoint, str]] = {}
    for endpoint in endpoints:
        if endpoint.address.family not in found and (host := await source_address(endpoint.address)) is not None:
            found[endpoint.address.family] = (endpoint, host)
    return list(found.values())


class RelayCheck:
    """Tests one URL; ``report`` is what is known, at any time."""

    def __init__(
        self,
        uri: ServerUri,
        username: str,
        credential: str,
        resolver: Resolver,
        *,
        on_stage: Callable[[ServerUri, StageResult], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._uri = uri
        self._username = username
        self._credential = credential
        self._resolver = resolver
        self._on_stage = on_stage
        self._ssl_context = ssl_context
        self._stages: list[StageResult] = []
        self._report: TurnReport | None = None

    @property
    def report(self) -> TurnReport:
        """The result, or the stages so far."""
        if self._report is not None:
            return self._report
        return TurnReport(str(self._uri), ok=False, stages=tuple(self._stages), not_tested=self._untested())

    def _untested(self) -> tuple[StageName, ...]:
        """Of what this transport has; where no relay was made, there is none to release."""
        done = {stage.name for stage in self._stages} | {StageName.RELEASE}
        return tuple(name for name in stages_of(self._uri.require_transport()) if name not in done)

    async def run(self) -> TurnReport:
        """Resolve, connect, allocate, prove, release. A server that does not work is a result, not an exception."""
        began = asyncio.get_running_loop().time()
        resolution = await self._resolver.resolve(self._uri)
        seconds = asyncio.get_running_loop().time() - began
        # What looks like a sinkhole is measured all the same: a laboratory uses such addresses for real servers.
        usable = sorted(resolution.endpoints, key=lambda endpoint: endpoint.sinkhole)
        if not usable:
            self._fail_resolution(resolution, seconds)
            return self.report
        first: TurnReport | None = None
        found = ""
        for endpoint, host in await places(usable):
            self._stages, self._report = [], None
            self._pass(StageResult(StageName.RESOLVE, True, seconds, f"{endpoint.address}{found}"))
            report = await self._test(endpoint, host)
            if endpoint.sinkhole and report.failed_stage in _NOBODY_THERE:
                self._stages = []
                self._fail_resolution(resolution, seconds)
                return self.report
            silent = (report.failed_stage, report.code, report.cause) == (StageName.CHALLENGE, "TURN-NO-ANSWER", None)
            if report.failed_stage is not StageName.CONNECT and not silent:
                return report
            first = first or report
            found += f"; nobody at {endpoint.address}: {report.stages[-1].detail}"
        if first is not None:
            self._report = first
            return first
        self._pass(StageResult(StageName.RESOLVE, True, seconds, f"{usable[0].address}"))
        detail = f"no route to {usable[0].address}"
        self._fail(StageName.CONNECT, "TURN-CONNECT", SocketFailure.UNREACHABLE.value, detail, 0.0)
        return self.report

    async def _test(self, endpoint: ServerEndpoint, host: str) -> TurnReport:
        target = Target(str(self._uri), endpoint.address, endpoint.transport, endpoint.server_name)
        user = RelayUser(target, host, self._username, self._credential, os.urandom, unix_time=time.time())
        await drive(TurnStages(user, done=tuple(self._stages)), TurnTested, self._take, ssl_context=self._ssl_context)
        return self.report

    def _take(self, event: object) -> None:
        match event:
            case StagePassed(stage=stage):
                self._pass(stage)
            case TurnTested(report=report):
                self._report = report

    def _pass(self, stage: StageResult) -> None:
        self._stages.append(stage)
        if self._on_stage is not None:
            self._on_stage(self._uri, stage)

    def _fail_resolution(self, resolution: Resolution, seconds: float) -> None:
        if resolution.sinkholes:
            host = resolution.sinkholes[0].address.host
            self._fail(StageName.RESOLVE, "TURN-RESOLVE", "sinkhole", f"{self._uri.host} is {host}", seconds)
            return
        failure = resolution.failure or QueryFailure.NO_SUCH_RECORD
        self._fail(StageName.RESOLVE, "TURN-RESOLVE", failure.value, f"{self._uri.host}: {failure}", seconds)

    def _fail(self, stage: StageName, code: str, cause: str, detail: str, seconds: float) -> None:
        self._pass(StageResult(stage, False, seconds, detail))
        self._report = TurnReport(
            url=str(self._uri),
            ok=False,
            failed_stage=stage,
            code=code,
            cause=cause,
            stages=tuple(self._stages),
            not_tested=self._untested(),
        )
