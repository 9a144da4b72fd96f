"""Checks every server of a fleet at its interval, with bounds on what runs at a time; results as they come."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from icekit.aio.certificate import certificate_expiry
from icekit.aio.dns import Resolver
from icekit.aio.relay_check import RelayCheck, drive, places
from icekit.net import Transport
from icekit.reachability import ServerCheck, ServerChecked, Target
from icekit.report import ServerReport, TurnReport
from icekit.resolution import QueryFailure
from icekit.servers import decode_username
from icekit.watch.fleet_file import ALLOCATIONS_PER_CHECK, FleetConfig, WatchedServer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerResult:
    """One check: ``turn`` for a relay, ``stun`` for a STUN server, neither where it was given up.

    ``at`` is when it ended and ``certificate_expires``, ``credentials_expire`` are Unix times (``None``: there is none,
    or it was not seen); ``code`` is that of ``icekit probe``: ``OK``, a stage's code, or ``NO-ANSWER``, ``TIMEOUT``;
    ``UNKNOWN``: the check itself failed, and the log says why.
    """

    server: WatchedServer
    at: float
    seconds: float
    code: str
    cause: str
    turn: TurnReport | None = None
    stun: ServerReport | None = None
    certificate_expires: float | None = None
    credentials_expire: float | None = None

    @property
    def ok(self) -> bool:
        """Whether every stage passed."""
        return self.code == "OK"


class Fleet:
    """``async for result in fleet.results()``: for ever, or one result of each server (``once``)."""

    def __init__(self, config: FleetConfig, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._config = config
        self._ssl_context = ssl_context
        self._slots = asyncio.Semaphore(config.concurrency)
        # Taken before a relay is asked for, and given back once it is released or the check has ended without.
        self._relays = asyncio.Semaphore(config.max_allocations // ALLOCATIONS_PER_CHECK)

    async def results(self, *, once: bool = False) -> AsyncIterator[ServerResult]:
        """Results in the order in which checks end. Closing the iterator releases every relay that is being tested."""
        queue: asyncio.Queue[ServerResult] = asyncio.Queue()
        servers = self._config.servers
        tasks = [
            asyncio.create_task(self._watch(server, index / len(servers), queue, once=once), name=server.name)
            for index, server in enumerate(servers)
        ]
        try:
            left = len(servers) if once else None
            while left is None or left > 0:
                yield await queue.get()
                left = None if left is None else left - 1
        finally:
            for task in tasks:
                task.cancel()
            # A relay that is cancelled is released on the way out.
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(
        self, server: WatchedServer, share: float, queue: asyncio.Queue[ServerResult], *, once: bool
    ) -> None:
        interval = self._config.interval
        loop = asyncio.get_running_loop()
        # Spread over the interval, so that a fleet of a thousand is no burst.
        due = loop.time() + (0.0 if once else share * interval)
        while True:
            await asyncio.sleep(due - loop.time())
            await queue.put(await self.check(server))
            if once:
                return
            due = max(due + interval, loop.time())

    async def check(self, server: WatchedServer) -> ServerResult:
        """Check one server now, within the bounds of the fleet."""
        async with self._slots:
            if not server.uri.is_turn:
                return await self._within_time(server, self._check_stun)
            async with self._relays:
                return await self._within_time(server, self._check_turn)

    async def _within_time(
        self, server: WatchedServer, check: Callable[[WatchedServer, Resolver], Awaitable[ServerResult]]
    ) -> ServerResult:
        began = asyncio.get_running_loop().time()
        # It asks once; the next check must see a server that has moved, and a name server that is back.
        resolver = Resolver()
        try:
            async with asyncio.timeout(self._config.timeout):
                return await check(server, resolver)
        except TimeoutError:
            seconds = asyncio.get_running_loop().time() - began
            return ServerResult(server, time.time(), seconds, "TIMEOUT", f"not done in {self._config.timeout:g} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told as the result of this check
            # One server must not end the watch over itself, or hold up the results of the others.
            _log.exception("the check of %s failed", server.name)
            seconds = asyncio.get_running_loop().time() - began
            return ServerResult(server, time.time(), seconds, "UNKNOWN", type(error).__name__)

    async def _check_turn(self, server: WatchedServer, resolver: Resolver) -> ServerResult:
        began = asyncio.get_running_loop().time()
        username, credential = server.credentials(time.time())
        check = RelayCheck(server.uri, username, credential, resolver, ssl_context=self._ssl_context)
        report = await check.run()
        expires = decode_username(username).expires_at if server.secret is None else None
        return ServerResult(
            server,
            time.time(),
            asyncio.get_running_loop().time() - began,
            "OK" if report.ok else report.code or "UNKNOWN",
            report.cause or "",
            turn=report,
            certificate_expires=await self._certificate(server, resolver),
            credentials_expire=expires,
        )

    async def _check_stun(self, server: WatchedServer, resolver: Resolver) -> ServerResult:
        began = asyncio.get_running_loop().time()
        report = await self._ask(server, resolver)
        cause = (report.error or "").partition(":")[0]
        return ServerResult(
            server,
            time.time(),
            asyncio.get_running_loop().time() - began,
            "OK" if report.reachable else "NO-ANSWER",
            cause,
            stun=report,
            certificate_expires=await self._certificate(server, resolver),
        )

    async def _ask(self, server: WatchedServer, resolver: Resolver) -> ServerReport:
        url = str(server.uri)
        resolution = await resolver.resolve(server.uri)
        endpoints = resolution.endpoints
        if not endpoints:
            failure = resolution.failure or QueryFailure.NO_SUCH_RECORD
            error = "nxdomain" if failure is QueryFailure.NO_SUCH_NAME else failure.value
            return ServerReport(url, None, server.uri.require_transport(), False, error=error)
        reports: list[ServerReport] = []

        def take(event: object) -> None:
            if isinstance(event, ServerChecked):
                reports.append(event.report)

        for endpoint, host in await places(endpoints):
            target = Target(url, endpoint.address, endpoint.transport, endpoint.server_name)
            await drive(ServerCheck(target, host, os.urandom), ServerChecked, take, ssl_context=self._ssl_context)
            if reports[-1].reachable:
                return reports[-1]
        if reports:
            return reports[0]
        return ServerReport(url, str(endpoints[0].address), endpoints[0].transport, False, error="unreachable")

    async def _certificate(self, server: WatchedServer, resolver: Resolver) -> float | None:
        if server.uri.require_transport() is not Transport.TLS:
            return None
        for endpoint, _ in await places((await resolver.resolve(server.uri)).endpoints):
            if (expires := await certificate_expiry(endpoint.address, endpoint.server_name)) is not None:
                return expires
        return None
