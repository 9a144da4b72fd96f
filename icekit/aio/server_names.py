"""Where the servers of a connection are: asked for when it begins, and again after a restart for what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icekit.aio.background import Background
from icekit.aio.dns import Resolver
from icekit.aio.driver import Driver
from icekit.aio.gatherer import resolve_server, tell_literal
from icekit.gathering_plan import GatherServer
from icekit.session import IceSession


class ServerNames:
    """Tells ``session`` where its ``servers`` are, by ``resolver``."""

    def __init__(self, session: IceSession, servers: Sequence[GatherServer], resolver: Resolver) -> None:
        self._session = session
        self._servers = servers
        self._resolver = resolver
        self._asking = Background()

    def resolve(self, driver: Driver[Any]) -> None:
        """Find those that the session does not know. Addresses need no answer of anybody, and are known at once."""
        self._asking.cancel()
        session, now = self._session, driver.now()
        wanted = [(place, self._servers[place]) for place in session.unresolved]
        named = [item for item in wanted if not tell_literal(session, *item, now)]
        driver.wake()
        for place, server in named:
            work = resolve_server(driver, session, self._resolver, place, server, session.hosts)
            self._asking.run(work, name=f"icekit-resolve {server.uri}")

    def resolve_again(self, driver: Driver[Any]) -> None:
        """The same after a restart, which may be in another network, with other name servers."""
        self._resolver.forget()
        self.resolve(driver)

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._asking.close()
