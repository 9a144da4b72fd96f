"""STUN, TURN, signaling rooms and the pages in one process: ``async with serve(stun=…, signaling=…) as running``."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from icekit.aio.server import RunningServer
from icekit.aio.server import serve as serve_stun
from icekit.errors import ConfigError, TokenError
from icekit.net import Address
from icekit.server import ServerConfig
from icekit.servers import IceServer, make_credentials
from icekit.signaling.server import RunningSignaling, SignalingServerConfig
from icekit.signaling.server import serve as serve_signaling
from icekit.tokens import check_token
from icekit.web.pages import pages

CREDENTIAL_SECONDS = 12 * 3600
"""How long the TURN credentials of a page are good for: longer than a call that it begins."""

_USER = "page"


@dataclass(frozen=True, slots=True)
class Running:
    """What is served; ``None`` for what was not asked for."""

    stun: RunningServer | None
    signaling: RunningSignaling | None


@asynccontextmanager
async def serve(
    *,
    stun: ServerConfig | None,
    signaling: SignalingServerConfig | None,
    hosts: Sequence[str],
    ports: tuple[int, ...] = (3478, 3479),
    tcp: bool = True,
    tls_port: int | None = None,
    http_port: int = 8080,
    ssl_context: ssl.SSLContext | None = None,
    page_signaling: Sequence[str] = (),
) -> AsyncIterator[Running]:
    """Serve on every host until the block ends. ConfigError for a port that is taken, or nothing to serve.

    The pages are on the port of the rooms, and hand time-limited TURN credentials to whoever loads them: to everybody
    if the rooms are open, else to whoever has a token of a room. ``page_signaling``: other channels for the pages to
    choose from, URLs with ``{room}`` in them.
    """
    if stun is None and signaling is None:
        raise ConfigError("there is nothing to serve: neither STUN nor signaling is wanted")
    async with AsyncExitStack() as stack:
        running_stun = None
        secret = secrets.token_urlsafe(24)
        if stun is not None:
            if stun.turn is not None and signaling is not None:
                # What the pages' users are made with; users and a secret of the operator stay as they are.
                secret = stun.turn.secret or secret
                stun = replace(stun, turn=replace(stun.turn, secret=secret))
            running_stun = await stack.enter_async_context(
                serve_stun(stun, hosts=hosts, ports=ports, tcp=tcp, tls_port=tls_port, ssl_context=ssl_context)
            )
        running_signaling = None
        if signaling is not None:
            hook = pages(
                _ice_servers(running_stun, secret), admitted=_admission(signaling.secrets), signaling=page_signaling
            )
            running_signaling = await stack.enter_async_context(
                serve_signaling(signaling, hosts=hosts, port=http_port, ssl_context=ssl_context, pages=hook)
            )
        yield Running(running_stun, running_signaling)


def _ice_servers(running: RunningServer | None, secret: str) -> Callable[[bool], Iterable[IceServer]]:
    """The servers for a page, with credentials if it may have them."""

    def servers(admitted: bool) -> Iterable[IceServer]:
        if running is None:
            return
        urls = running.urls()
        yield IceServer(urls=_stun_urls(running.udp))
        relays = [url for url in urls if url.startswith("turn")]
        if relays and admitted:
            username, credential = make_credentials(secret, _USER, int(time.time()) + CREDENTIAL_SECONDS)
            yield IceServer(urls=relays, username=username, credential=credential)

    return servers


def _stun_urls(addresses: Iterable[Address]) -> list[str]:
    """One URL for each host: two of one family let a browser tell the mapping of its NAT (RFC 5780 §4.3)."""
    hosts: dict[str, str] = {}
    for address in addresses:
        hosts.setdefault(address.host, f"stun:{address}")
    return list(hosts.values())


def _admission(room_secrets: tuple[str, ...]) -> Callable[[str, str], bool] | None:
    if not room_secrets:
        return None

    def admitted(room: str, token: str) -> bool:
        try:
            check_token(token, room_secrets, room, time.time())
        except TokenError:
            return False
        return True

    return admitted
