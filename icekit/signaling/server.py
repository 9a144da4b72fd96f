"""The signaling server: rooms over WebSockets, and plain HTTP on the same port.

``ws://HOST:PORT/ROOM?name=…&session=…&token=…``; the token may be in ``Authorization: Bearer …`` instead. The first
message is a ``Presence`` whose ``to`` is the name of the member, or a ``Fault`` and the end. ``/health`` and
``/metrics`` answer to plain requests; every other path is given to ``pages``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, quote, unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from icekit.errors import ConfigError, TokenError
from icekit.openmetrics import CONTENT_TYPE, Metric, MetricKind, render
from icekit.signaling.cluster import Cluster
from icekit.signaling.cluster_broker import ClusterLink
from icekit.signaling.http import Pages, json_response, origin_allowed, require_origins, response, text_response
from icekit.signaling.message import Fault, encode
from icekit.signaling.room_terms import FaultCode, RoomsConfig
from icekit.signaling.rooms import Dismissed, Rooms, Seat, Waiting
from icekit.tokens import check_token, require_secret

_log = logging.getLogger(__name__)

# The library would log request lines, which hold tokens, and a traceback for every stranger that speaks no HTTP.
_silent = logging.Logger("websockets", logging.CRITICAL + 1)

# What a note to other servers takes beside the message, in bytes.
_NOTE = 1024

# How long a farewell may take, in seconds.
_CLOSE_SECONDS = 2.0

# How often the free port that the system gave for the first host is tried on the other hosts.
_PORT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalingServerConfig:
    """What the server allows. ``secrets``: any of them signs tokens; without one every room is open."""

    rooms: RoomsConfig = field(default_factory=RoomsConfig)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    """Web pages that may connect besides those of this server: ``https://call.example.org``, or ``*`` for all."""
    broker: str | None = field(default=None, repr=False)
    """``redis://…`` or ``nats://…``, where other servers of the same rooms are; it may hold a password."""
    max_connections: int = 10_000
    """TCP connections, of whatever kind."""
    open_seconds: float = 10.0
    """How long a request may take to arrive."""
    ping_seconds: float = 20.0
    """How often a silent connection is asked for a sign of life, and how long that may take."""

    def __post_init__(self) -> None:
        for secret in self.secrets:
            require_secret(secret)
        object.__setattr__(self, "origins", require_origins(self.origins))


@dataclass(frozen=True, slots=True)
class RunningSignaling:
    """What ``serve`` opened."""

    hosts: tuple[str, ...]
    port: int
    secure: bool
    rooms: Rooms = field(repr=False)

    def url(self, room: str = "") -> str:
        """The WebSocket URL of a room at the first host."""
        return f"{'wss' if self.secure else 'ws'}://{_in_url(self.hosts[0])}:{self.port}/{quote(room)}"

    def page(self, path: str = "/") -> str:
        """The HTTP URL of a path at the first host."""
        return f"{'https' if self.secure else 'http'}://{_in_url(self.hosts[0])}:{self.port}{path}"


@asynccontextmanager
async def serve(
    config: SignalingServerConfig | None = None,
    *,
    hosts: Iterable[str] = ("127.0.0.1",),
    port: int = 8080,
    ssl_context: ssl.SSLContext | None = None,
    pages: Pages | None = None,
) -> AsyncIterator[RunningSignaling]:
    """Serve on every host until the block ends; then clients are told that the server restarts.

    A port of 0 is any free one, the same on every host. ConfigError when it cannot be listened on.
    """
    service = _Service(config or SignalingServerConfig(), pages)
    chosen = tuple(hosts)
    if not chosen:
        raise ConfigError("a signaling server needs at least one host to listen on")
    await service.start()
    for attempt in range(_PORT_ATTEMPTS):
        try:
            servers, number = await service.listen(chosen, port, ssl_context)
            break
        except ConfigError:
            # A free port of one host may be taken on the next; a given port stays taken.
            if port or len(chosen) == 1 or attempt == _PORT_ATTEMPTS - 1:
                await service.close([])
                raise
    try:
        yield RunningSignaling(chosen, number, ssl_context is not None, service.rooms)
    finally:
        await service.close(servers)


class _Connection(ServerConnection):
    """Counted from the first packet on, so that connections which never ask for anything are bounded, too."""

    service: _Service

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        service = self.service
        service.connections.add(self)
        if len(service.connections) > service.config.max_connections:
            service.refused_connections += 1
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.service.connections.discard(self)
        super().connection_lost(exc)


class _Service:
    """One server: the rooms, and the connection of each seat."""

    def __init__(self, config: SignalingServerConfig, pages: Pages | None) -> None:
        self.config = config
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.rooms = Rooms(
            config.rooms, token_hex=secrets.token_hex, shared=config.broker is not None, unix_offset=time.time() - now
        )
        self.cluster = Cluster(self.rooms, secrets.token_hex(8), now)
        self._link = None if config.broker is None else ClusterLink(self.cluster, config.broker, self._pump)
        self.connections: set[_Connection] = set()
        self.refused_connections = 0
        self._pages = pages
        self._writers: dict[Seat, _Writer] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._started = time.time()

    async def start(self) -> None:
        """Connect to the broker, if there is one; SignalingError if that fails."""
        if self._link is not None:
            bound = await self._link.start()
            if bound is not None:
                # A message that cannot be passed on is refused, not lost.
                fits = max(1, bound - _NOTE)
                self.rooms.config = replace(self.rooms.config, max_message=min(self.rooms.config.max_message, fits))
            self._pump()

    async def listen(
        self, hosts: tuple[str, ...], port: int, ssl_context: ssl.SSLContext | None
    ) -> tuple[list[Server], int]:
        """Open every host, or none and ConfigError."""
        servers: list[Server] = []
        kind = type("_Connection", (_Connection,), {"service": self})
        try:
            for host in hosts:
                server = await serve_websockets(
                    self._handle,
                    host,
                    port,
                    ssl=ssl_context,
                    process_request=self._answer,
                    create_connection=kind,
                    # Compression costs some 100 kB for each connection.
                    compression=None,
                    max_size=self.rooms.config.max_message,
                    # One message is read, one is on its way: what a sender can make us hold.
                    max_queue=1,
                    open_timeout=self.config.open_seconds,
                    close_timeout=_CLOSE_SECONDS,
                    ping_interval=self.config.ping_seconds,
                    ping_timeout=self.config.ping_seconds,
                    logger=_silent,
                    server_header=None,
                )
                servers.append(server)
                port = next(iter(server.sockets)).getsockname()[1]
        except OSError as error:
            for server in servers:
                server.close()
            # Python 3.13 passes over addresses that this host has not; its error has no number.
            number = error.errno or errno.EADDRNOTAVAIL
            hint = {
                errno.EADDRINUSE: "; stop what listens there, or choose another port",
                errno.EADDRNOTAVAIL: "; choose an address of this host",
                errno.EACCES: "; choose a port above 1023, or run it as root",
            }.get(number, "")
            reason = os.strerror(number).lower()
            raise ConfigError(f"cannot listen on {_in_url(host)}:{port}: {reason}{hint}") from None
        return servers, port

    async def close(self, servers: list[Server]) -> None:
        """Everybody is sent away to come back; takes at most a few seconds."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for server in servers:
            server.close(close_connections=False)
        for connection in list(self.connections):
            if connection.state is State.CONNECTING:
                connection.transport.abort()
        # The library would say "going away"; this code tells a client to come back.
        await asyncio.gather(*(writer.end(CloseCode.SERVICE_RESTART) for writer in list(self._writers.values())))
        for server in servers:
            await server.wait_closed()
        if self._link is not None:
            await self._link.close()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """None: the request may become a WebSocket."""
        headers = request.headers
        try:
            path = urlsplit(request.path).path
        except ValueError:
            return text_response(400, "this address cannot be read; a room is opened at /ROOM")
        if "websocket" in ",".join(headers.get_all("Upgrade")).lower():
            hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
            if max(len(hosts), len(origins), len(headers.get_all("Authorization"))) > 1:
                return text_response(400, "Host, Origin and Authorization may be there once")
            origin = origins[0] if origins else None
            if not origin_allowed(origin, hosts[0] if hosts else None, self.config.origins):
                return text_response(
                    403, "web pages of this origin may not connect here; icekit serve --origin allows it"
                )
            return None
        if path == "/health":
            # Without its broker a server still serves who is here.
            status = "ok" if self._reaches_others else "broker lost"
            return json_response(200, {"schema": "icekit/health/1", "status": status})
        if path == "/metrics":
            return response(200, {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}, self._metrics().encode())
        if self._pages is None:
            return text_response(404, "there is no such page; rooms are opened with a WebSocket")
        try:
            return response(*self._pages(unquote(path)))
        except Exception:  # noqa: BLE001 - a page is not ours, and one that fails must not stay silent
            _log.exception("the page %s failed", path)
            return text_response(500, "this page failed; the log of the server says why")

    def _metrics(self) -> str:
        rooms, counters = self.rooms, self.rooms.counters

        def one(name: str, kind: MetricKind, help: str, value: float) -> Metric:
            return Metric(name=f"icekit_signaling_{name}", kind=kind, help=help, samples=(({}, float(value)),))

        gauge, counter = MetricKind.GAUGE, MetricKind.COUNTER
        return render(
            (
                one("start_time_seconds", gauge, "When the server was started, in seconds since 1970.", self._started),
                one("connections", gauge, "Open TCP connections.", len(self.connections)),
                one("refused_connections", counter, "Connections beyond the most allowed.", self.refused_connections),
                one("rooms", gauge, "Rooms with somebody in them.", rooms.rooms),
                one("members", gauge, "Members of all rooms, with those away.", rooms.members),
                one("members_away", gauge, "Members whose connection is lost and who may come back.", rooms.away),
                one("queued_bytes", gauge, "What waits for members.", rooms.queued),
                one("joins", counter, "Members that came.", counters.joins),
                one("resumes", counter, "Members that came back after their connection was lost.", counters.resumes),
                one("leaves", counter, "Members that went.", counters.leaves),
                one("received_messages", counter, "Messages from members.", counters.received),
                one("received_bytes", counter, "Bytes of messages from members.", counters.received_bytes),
                one("sent_messages", counter, "Messages to members.", counters.delivered),
                one("sent_bytes", counter, "Bytes of messages to members.", counters.delivered_bytes),
                one(
                    "undeliverable_messages", counter, "Messages to a name that was not there.", counters.undeliverable
                ),
                one(
                    "broker_up", gauge, "1 while other servers are reached, or without a broker.", self._reaches_others
                ),
                one("servers", gauge, "Other servers of the same rooms.", self.cluster.servers),
                Metric(
                    name="icekit_signaling_faults",
                    kind=counter,
                    help="What was refused, by code.",
                    samples=tuple(({"code": code}, float(counters.faults[code])) for code in FaultCode),
                ),
            )
        )

    @property
    def _reaches_others(self) -> bool:
        return self._link is None or self._link.connected

    async def _handle(self, connection: ServerConnection) -> None:
        try:
            await self._serve_member(connection)
        except Exception:
            _log.exception("a connection failed")
            raise

    async def _serve_member(self, connection: ServerConnection) -> None:
        """One WebSocket, from its request to its end."""
        assert connection.request is not None
        joined = self._join(connection.request)
        if isinstance(joined, Fault):
            await _farewell(connection, joined)
            return
        _log.debug("= %s joined %s", joined.name, joined.room)
        writer = self._writers[joined] = _Writer(connection, joined, self.rooms)
        self._pump()
        try:
            await self._read(connection, joined)
        except ConnectionClosed as closed:
            # Who says goodbye has left; so has who sent more than it may, which closes with our code.
            codes = {frame.code for frame in (closed.rcvd, closed.sent) if frame is not None}
            if codes & {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.MESSAGE_TOO_BIG}:
                self.rooms.leave(joined)
            else:
                self.rooms.lost(joined, self._loop.time())
        finally:
            _log.debug("= %s has no connection to %s any more", joined.name, joined.room)
            del self._writers[joined]
            await writer.stop()
            self._pump()

    def _join(self, request: Request) -> Seat | Fault:
        parts = urlsplit(request.path)
        room = unquote(parts.path.removeprefix("/"))
        try:
            query = parse_qs(parts.query, max_num_fields=16)
        except ValueError:
            query = {}
        name = query.get("name", [None])[0]
        token = query.get("token", [""])[0]
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            token = bearer.strip()
        owned = None
        if self.config.secrets:
            try:
                owned = check_token(token, self.config.secrets, room, time.time()).name
            except TokenError as error:
                self.rooms.counters.faults[FaultCode.TOKEN] += 1
                return Fault(code=FaultCode.TOKEN, text=str(error))
            if owned is not None and name not in {None, owned}:
                self.rooms.counters.faults[FaultCode.TOKEN] += 1
                return Fault(code=FaultCode.TOKEN, text=f"this token is for the name {owned!r}; join with that name")
        return self.rooms.join(
            room,
            self._loop.time(),
            name=name if owned is None else owned,
            session=query.get("session", [None])[0],
            owns_name=owned is not None,
        )

    async def _read(self, connection: ServerConnection, seat: Seat) -> None:
        while True:
            text = await connection.recv(decode=False)
            after = self.rooms.receive(seat, text, self._loop.time())
            self._pump()
            if isinstance(after, Fault):
                await _farewell(connection, after)
                return
            if after > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(after):
                        await connection.wait_closed()

    def _pump(self) -> None:
        """What every change of the rooms ends with."""
        while (event := self.rooms.next_event()) is not None:
            match event:
                case Waiting(seat):
                    if seat in self._writers:
                        self._writers[seat].wake()
                case Dismissed(seat, fault):
                    if seat in self._writers:
                        self._writers[seat].dismiss(fault)
                case _:
                    self.cluster.tell(event)
        when = self.rooms.get_timer()
        if self._link is not None:
            self._link.wake()
            beat = self.cluster.get_timer()
            when = beat if when is None else min(when, beat)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when is None or self._stopping else self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        self.rooms.handle_timer(now)
        if self._link is not None:
            self.cluster.handle_timer(now)
        self._pump()


class _Writer:
    """Sends what waits for one seat; there is a task only while something is being sent."""

    def __init__(self, connection: ServerConnection, seat: Seat, rooms: Rooms) -> None:
        self._connection = connection
        self._seat = seat
        self._rooms = rooms
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="icekit-signaling-write")

    def dismiss(self, fault: Fault) -> None:
        if self._task is not None:
            # It may wait for a client that does not read.
            self._task.cancel()
        self._task = asyncio.create_task(_farewell(self._connection, fault), name="icekit-signaling-dismiss")

    async def end(self, code: CloseCode) -> None:
        await self.stop()
        await _close(self._connection, code)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def _write(self) -> None:
        try:
            while (line := self._rooms.take(self._seat)) is not None:
                await self._connection.send(line, text=True)
        except ConnectionClosed:
            return


async def _farewell(connection: ServerConnection, fault: Fault) -> None:
    """Tell why, and close."""
    _log.debug("! refused: %s: %s", fault.code, fault.text)
    await _close(connection, CloseCode.POLICY_VIOLATION, fault)


async def _close(connection: ServerConnection, code: CloseCode, fault: Fault | None = None) -> None:
    """A client that does not read is cut off."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            if fault is not None:
                await connection.send(encode(fault))
            await connection.close(code, "" if fault is None else fault.code)
    except (ConnectionClosed, TimeoutError):
        connection.transport.abort()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
