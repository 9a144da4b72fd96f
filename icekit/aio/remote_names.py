"""Addresses of a peer that hides them behind mDNS names; aioice's resolver does the asking."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioice.mdns import MDnsProtocol

log = logging.getLogger(__name__)

_TIMEOUT = 2.0


class RemoteNames:
    """The names of one peer: one socket for all of them, from the first name on until ``close``."""

    def __init__(self) -> None:
        self._opening: asyncio.Task[MDnsProtocol] | None = None

    async def resolve(self, name: str) -> str | None:
        """The address of ``name``, or ``None`` if nobody answers within two seconds."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                if self._opening is None:
                    self._opening = asyncio.get_running_loop().create_task(_open())
                protocol = await asyncio.shield(self._opening)
                host = await protocol.resolve(name, _TIMEOUT)
        # The group's port may be taken, the host may be without multicast, the loop may be a simulated one.
        except (OSError, TimeoutError, NotImplementedError, ValueError) as error:
            log.info("remote candidate %s does not resolve: %s", name, str(error) or "no answer")
            return None
        if host is None:
            log.info("remote candidate %s does not resolve: no answer", name)
        return host

    async def close(self) -> None:
        """Close the socket, if there is one."""
        if self._opening is not None:
            with suppress(OSError, NotImplementedError, ValueError):
                await (await self._opening).close()


async def _open() -> MDnsProtocol:
    from aioice import mdns

    return await mdns.create_mdns_protocol()
