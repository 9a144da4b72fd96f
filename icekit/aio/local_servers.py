"""The embedded servers on loopback, ready to be probed: ``async with local_servers() as servers``."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from icekit.aio.server import serve
from icekit.allocation import TurnServerConfig
from icekit.errors import ConfigError
from icekit.server import ServerConfig
from icekit.servers import IceServer

# RFC 5780 needs two addresses. Linux answers on all of 127.0.0.0/8; other systems know only the first.
_HOSTS = ("127.0.0.1", "127.0.0.2")


@asynccontextmanager
async def local_servers() -> AsyncIterator[tuple[IceServer, ...]]:
    """A STUN server with behaviour discovery, and TURN over UDP and TCP; free ports, a random password."""
    username, password = "icekit", secrets.token_urlsafe(16)
    turn = TurnServerConfig(users={username: password}, relay_ipv4=_HOSTS[0], allow_peers=("127.0.0.0/8",))
    config = ServerConfig(turn=turn)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(serve(config, hosts=_HOSTS, ports=(0, 0)))
        except ConfigError:
            server = await stack.enter_async_context(serve(config, hosts=_HOSTS[:1], ports=(0, 0)))
        stun, *turns = server.urls()
        yield IceServer(urls=stun), IceServer(urls=turns, username=username, credential=password)
