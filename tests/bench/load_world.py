"""A TURN server and a client that loads it, on the simulated Internet: the same code in virtual time."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from icekit.aio.server import RunningServer, serve
from icekit.bench.load import LoadTest
from icekit.bench.load_plan import LoadPlan
from icekit.bench.load_report import LoadReport
from icekit.net import Address, Transport
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.server import ServerConfig, TurnServerConfig
from icekit.sim import Internet, Link

SERVER = "203.0.113.10"
DELAY = 0.01


class World:
    """``run`` one load test; ``left``: allocations that the server still has then, ``log``: the progress."""

    def __init__(
        self,
        *,
        link: Link | None = None,
        nat: str | None = None,
        seed: int = 3,
        transport: Transport = Transport.UDP,
        password: str = "secret",
        kill_at: float | None = None,
        interrupt_at: float | None = None,
        **turn: Any,
    ) -> None:
        self.net = Internet(seed=seed, link=link or Link(delay=DELAY), limit=3600)
        self.machine = self.net.host("server", addresses=[SERVER])
        self.client = self.net.host("client", nat=nat)
        self.server: RunningServer | None = None
        self.log: list[str] = []
        self.left: int | None = None
        self._turn = TurnServerConfig(users={"alice": "secret"}, relay_ipv4=SERVER, **turn)
        self._target = Target(f"turn:{SERVER}", Address(SERVER, 3478), transport)
        self._password = password
        self._kill_at = kill_at
        self._interrupt_at = interrupt_at

    @property
    def allocations(self) -> int:
        assert self.server is not None
        return self.server.core.allocations

    def run(self, plan: LoadPlan) -> LoadReport:
        return self.net.run(self._main(plan))

    async def _main(self, plan: LoadPlan) -> LoadReport:
        ready = asyncio.Event()
        service = self.machine.run(self._serve(ready))
        await ready.wait()
        user = RelayUser(self._target, self.client.address, "alice", self._password, os.urandom)
        test = LoadTest(user, plan, busy=lambda: 0.0, progress=self.log.append)
        running = self.client.run(test.run())
        loop = asyncio.get_running_loop()
        if self._kill_at is not None:
            loop.call_later(self._kill_at, self.machine.kill)
        if self._interrupt_at is not None:
            loop.call_later(self._interrupt_at, running.cancel)
        try:
            await asyncio.gather(running, return_exceptions=self._interrupt_at is not None)
            return test.report
        finally:
            self.left = None if service.done() else self.allocations
            service.cancel()

    async def _serve(self, ready: asyncio.Event) -> None:
        async with serve(ServerConfig(turn=self._turn), hosts=[SERVER], ports=(3478,)) as self.server:
            ready.set()
            await asyncio.Event().wait()
