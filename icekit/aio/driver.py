"""The one driver: it turns any ``Endpoint`` into asyncio sockets, streams and one timer.

Every entry point (a datagram, stream bytes, the timer, an answer to a ``…Wanted`` event, ``wake``) changes the core and
then runs ``_pump``: send what it wants sent, do or queue its events, arm the timer. No caller can forget to transmit.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args

from icekit.aio.failures import bind_error, socket_failure, stream_failure
from icekit.aio.timer import Timer
from icekit.aio.udp import UdpSocket, socket_address
from icekit.net import (
    UDP,
    Address,
    Datagram,
    Endpoint,
    ListenerReleased,
    ListenerUser,
    ListenerWanted,
    RouteUser,
    SocketReleased,
    SocketUser,
    SocketWanted,
    SteadyTimer,
    StreamFailure,
    StreamReleased,
    StreamServer,
    StreamUser,
    StreamWanted,
    Transport,
    WorldEvent,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

log = logging.getLogger(__name__)

EventT = TypeVar("EventT")

# Events that wait for ``events()``; the rest stays in the core, whose own bounds hold.
_MAX_WAITING = 1024
_OF_THE_WORLD = frozenset(get_args(WorldEvent))
_LINGER = 0.05  # seconds that ``close`` gives to connections for what they still have to send


class Driver(Generic[EventT]):
    """Runs ``endpoint`` on the running loop until ``close``; ``now`` gives the loop's time, in seconds.

    ``ssl_context`` is used for TLS streams that the core opens (default: the system's trust store, names checked).
    ``deliver`` takes the core's own events as they happen, instead of ``events()``; it must not change the core.
    """

    def __init__(
        self,
        endpoint: Endpoint[EventT | WorldEvent],
        *,
        ssl_context: ssl.SSLContext | None = None,
        deliver: Callable[[EventT], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = self._loop.time
        self._ssl_context = ssl_context
        self._udp: dict[Address, UdpSocket] = {}
        self._streams: dict[int, _Stream] = {}
        self._stream_by_path: dict[tuple[Address, Address, Transport], _Stream] = {}
        self._servers: dict[Address, asyncio.Server] = {}
        self._tasks: dict[tuple[type, int], asyncio.Task[None]] = {}
        # Sockets of this host that the core has asked for and heard nothing of.
        self._opening: set[tuple[type, int]] = set()
        self._accepted = 0
        self._timer = Timer(self._loop)
        self._arming: asyncio.Handle | None = None
        # Whether the core may have events that found no room.
        self._held_back = False
        self._waiting: deque[EventT] = deque()
        self._deliver = self._waiting.append if deliver is None else deliver
        self._routed = cast("RouteUser", endpoint) if hasattr(endpoint, "unreachable") else None  # isinstance: 35 µs
        self._steady = cast("SteadyTimer", endpoint) if hasattr(endpoint, "timer_moved") else None
        self._changed = asyncio.Event()
        self._defect: BaseException | None = None
        self._closing = False
        self._closed = False

    def wake(self) -> None:
        """Call this after changing the core from outside."""
        self._pump()

    def hurry(self) -> None:
        """The same, where the first packet must not wait for the next turn of the loop."""
        self._pump()
        if not self._closed:
            self._do_what_is_due(self.now())

    async def opened(self) -> None:
        """Wait until every socket that the core wants on this host is there, or cannot be; for no packet."""
        while self._opening and not self._closed and self._defect is None:
            self._changed.clear()
            await self._changed.wait()

    async def bind(self, local: Address) -> Address:
        """Open a UDP socket and return what it is bound to; ConfigError if it cannot be."""
        udp = UdpSocket(self)
        try:
            await self._loop.create_datagram_endpoint(lambda: udp, local_addr=(local.host, local.port))
        except OSError as error:
            raise bind_error("bind UDP", local, error) from None
        return udp.local

    async def listen(self, local: Address, transport: Transport, ssl_context: ssl.SSLContext | None = None) -> Address:
        """Accept TCP (or, with ``ssl_context``, TLS) on ``local``; the core is a ``StreamServer``."""
        try:
            return await self._listen(local, transport, ssl_context)
        except OSError as error:
            raise bind_error("listen on TCP", local, error) from None

    async def _listen(self, local: Address, transport: Transport, ssl_context: ssl.SSLContext | None = None) -> Address:
        def accept() -> _Stream:
            self._accepted -= 1
            return _Stream(self, self._accepted, transport, accepted=True)

        server = await self._loop.create_server(accept, local.host, local.port, ssl=ssl_context)
        bound = socket_address(server.sockets[0].getsockname())
        self._servers[bound] = server
        return bound

    async def events(self) -> AsyncGenerator[EventT, None]:
        """The core's own events in order, until ``close``."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._defect is not None:
                raise self._defect
            if self._closed:
                return
            if self._held_back:
                self._held_back = False
                self._pump()
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()

    async def close(self, timeout: float = 2.0) -> None:  # noqa: ASYNC109
        """Let the core say goodbye (at most ``timeout`` seconds), then close everything. Idempotent."""
        if self._closed:
            return
        self._closing = True
        self.endpoint.close(self.now())
        self._pump()
        deadline = self.now() + timeout
        try:
            while (timer := self.endpoint.get_timer()) is not None and self.now() < deadline:
                self._changed.clear()
                try:
                    async with asyncio.timeout_at(min(timer + 0.001, deadline)):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            await self._shut()

    async def _shut(self) -> None:
        self._closed = True
        # Nothing comes any more, and a reference to the owner would leave both to the garbage collector.
        self._deliver = self._waiting.append
        self._changed.set()
        self._timer.cancel()
        if self._arming is not None:
            self._arming.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for server in self._servers.values():
            server.close()
        for udp in list(self._udp.values()):
            udp.close()
        for stream in list(self._streams.values()):
            stream.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Transports tell connection_lost in the next turns of the loop; leaving earlier would leak them.
        for _ in range(20):
            if not self._udp and not self._streams:
                return
            await asyncio.sleep(0)
        # A peer that does not read, or does not answer the end of TLS, keeps its connection open.
        await asyncio.sleep(_LINGER)
        for stream in list(self._streams.values()):
            stream.abandon()
        for _ in range(3):
            await asyncio.sleep(0)

    # What the sockets call.

    def udp_opened(self, udp: UdpSocket) -> None:
        """The core may send from it at once: asyncio tells who waits for it two turns of the loop later."""
        self._udp[udp.local] = udp
        if udp.id is None:
            return
        if self._closed:
            udp.close()
            return
        cast("SocketUser", self.endpoint).socket_opened(udp.id, udp.local, self.now())
        self._decided(SocketWanted, udp.id)

    def udp_received(self, source: Address, local: Address, data: bytes) -> None:
        """A datagram for the core."""
        self._received(source, local, data, UDP)

    def udp_failed(self, udp: UdpSocket, error: OSError) -> None:
        """An error that belongs to the one peer of a socket."""
        if udp.connected and udp.id is not None and not self._closed:
            cast("SocketUser", self.endpoint).socket_failed(udp.id, socket_failure(error), self.now())
            self._pump()

    def udp_closed(self, udp: UdpSocket) -> None:
        """It can be bound anew."""
        self._udp.pop(udp.local, None)

    def _received(self, source: Address, destination: Address, data: bytes, transport: Transport) -> None:
        if self._closed:
            return
        now = self._loop.time()
        self.endpoint.receive_datagram(Datagram(source, destination, data, transport), now)
        self._pump()
        if self._steady is not None and self._steady.timer_moved:
            self._do_what_is_due(now)

    def _do_what_is_due(self, now: float) -> None:
        """A check in return leaves behind the answer, not after whatever else this turn of the loop has to do."""
        timer = self.endpoint.get_timer()
        if timer is not None and timer <= now:
            self.endpoint.handle_timer(now)
            self._pump()

    def _timer_fired(self, now: float) -> None:
        self.endpoint.handle_timer(now)
        self._pump()

    def _pump(self) -> None:
        if self._closed:
            return
        endpoint = self.endpoint
        for datagram in endpoint.datagrams_to_send():
            self._send(datagram)
        while not self._held_back and (event := endpoint.next_event()) is not None:
            if type(event) in _OF_THE_WORLD:
                self._do(cast("WorldEvent", event))
            else:
                self._deliver(cast("EventT", event))
                self._held_back = len(self._waiting) >= _MAX_WAITING
        # Once for all that happens in one turn of the loop.
        if self._arming is None and (self._steady is None or self._steady.timer_moved):
            self._arming = self._loop.call_soon(self._arm)
        if self._waiting or self._closing:
            self._changed.set()

    def _do(self, event: WorldEvent) -> None:
        match event:
            case SocketWanted():
                self._opening.add((SocketWanted, event.id))
                self._start((SocketWanted, event.id), self._open_socket(event))
            case SocketReleased():
                if (udp := self._udp.get(event.local)) is not None:
                    udp.close()
            case ListenerWanted():
                self._opening.add((ListenerWanted, event.id))
                self._start((ListenerWanted, event.id), self._open_listener(event))
            case ListenerReleased():
                if (server := self._servers.pop(event.local, None)) is not None:
                    server.close()
            case StreamWanted():
                self._start((StreamWanted, event.id), self._open_stream(event))
            case StreamReleased():
                self._release_stream(event.id)

    def _arm(self) -> None:
        self._arming = None
        if not self._closed:
            self._timer.set(self.endpoint.get_timer(), self._timer_fired)

    def _send(self, datagram: Datagram) -> None:
        if datagram.transport is UDP:
            udp = self._udp.get(datagram.source)
            if udp is None:
                log.debug("! no socket on %s for %s", datagram.source, datagram.destination)
            elif not udp.send(datagram.data, datagram.destination) and self._routed is not None:
                self._routed.unreachable(datagram, self.now())
                self._loop.call_soon(self._pump)
            return
        stream = self._stream_by_path.get((datagram.source, datagram.destination, datagram.transport))
        if stream is None:
            log.debug("! no stream from %s to %s", datagram.source, datagram.destination)
        else:
            stream.send(datagram.data)

    # What the core asked for.

    def _start(self, key: tuple[type, int], work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[key] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks = {item: other for item, other in self._tasks.items() if other is not task}
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect, not an answer of the network: who waits for events must not wait for ever.
            self._defect = error
            self._changed.set()
            self._loop.call_exception_handler({"message": "icekit: a socket task ended", "exception": error})

    async def _open_socket(self, wanted: SocketWanted) -> None:
        udp = UdpSocket(self, wanted.id, connected=wanted.remote is not None)
        try:
            await self._loop.create_datagram_endpoint(
                lambda: udp, local_addr=(wanted.local.host, wanted.local.port), remote_addr=wanted.remote
            )
        except OSError as error:
            cast("SocketUser", self.endpoint).socket_failed(wanted.id, socket_failure(error), self.now())
            self._decided(SocketWanted, wanted.id)

    async def _open_listener(self, wanted: ListenerWanted) -> None:
        endpoint = cast("ListenerUser", self.endpoint)
        try:
            bound = await self._listen(wanted.local, Transport.TCP)
        except OSError as error:
            endpoint.listener_failed(wanted.id, socket_failure(error), self.now())
        else:
            if self._closed:
                self._servers[bound].close()
                return
            endpoint.listener_opened(wanted.id, bound, self.now())
        self._decided(ListenerWanted, wanted.id)

    def _decided(self, kind: type, id: int) -> None:
        """The core has heard of a socket that it wanted; it may want another one instead."""
        self._opening.discard((kind, id))
        self.hurry()
        self._changed.set()

    async def _open_stream(self, wanted: StreamWanted) -> None:
        endpoint = cast("StreamUser", self.endpoint)
        stream = _Stream(self, wanted.id, wanted.transport, accepted=False)
        try:
            name = wanted.server_name or wanted.remote.host
            if wanted.transport is Transport.DTLS:
                from icekit.aio.dtls import open_dtls  # OpenSSL a second time: only for those who need it

                await open_dtls(
                    stream, wanted.remote, local_host=wanted.local, server_name=name, ssl_context=self._ssl_context
                )
            else:
                transport, _ = await self._loop.create_connection(
                    lambda: stream,
                    wanted.remote.host,
                    wanted.remote.port,
                    local_addr=(wanted.local, 0) if wanted.local is not None else None,
                )
            if wanted.transport is Transport.TLS:
                endpoint.stream_connected(wanted.id, self.now())
                context = self._ssl_context or ssl.create_default_context()
                upgraded = await self._loop.start_tls(transport, stream, context, server_hostname=name)
                assert upgraded is not None
                stream.transport = upgraded
        except (OSError, ValueError) as error:  # ValueError: a server name that TLS cannot ask for
            stream.abandon()
            failure, detail = stream_failure(error)
            endpoint.stream_closed(wanted.id, failure, self.now(), detail)
        except asyncio.CancelledError:
            stream.abandon()
            raise
        else:
            stream.register()
            endpoint.stream_opened(wanted.id, stream.local, stream.remote, self.now())
            if stream.lost:
                # It went between its opening and this task's turn.
                stream.connection_lost(None)
        self._pump()

    def _release_stream(self, id: int) -> None:
        if (task := self._tasks.get((StreamWanted, id))) is not None:
            task.cancel()
        if (stream := self._streams.get(id)) is not None:
            stream.close()


class _Stream(asyncio.Protocol):
    def __init__(self, driver: Driver[Any], id: int, kind: Transport, *, accepted: bool) -> None:
        self._driver = driver
        self._id = id
        self._kind = kind
        self._accepted = accepted
        self._announced = False
        self._paused = False
        self.lost = False
        self.transport: Any = None
        self.local = Address("", 0)
        self.remote = Address("", 0)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.local = socket_address(transport.get_extra_info("sockname"))
        self.remote = socket_address(transport.get_extra_info("peername"))
        if self._accepted:
            driver = self._driver
            if driver._closed:
                transport.close()
                return
            self.register()
            core = cast("StreamServer", driver.endpoint)
            core.stream_accepted(self._id, self._kind, self.local, self.remote, driver.now())
            driver._pump()

    def register(self) -> None:
        self._announced = True
        self._driver._streams[self._id] = self
        self._driver._stream_by_path[self.local, self.remote, self._kind] = self

    def data_received(self, data: bytes) -> None:
        if self._announced:
            self._driver._received(self.remote, self.local, bytes(data), self._kind)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self._announced:
            return
        driver = self._driver
        driver._streams.pop(self._id, None)
        driver._stream_by_path.pop((self.local, self.remote, self._kind), None)
        failure = StreamFailure.CLOSED if exc is None else StreamFailure.RESET
        if not driver._closed:
            user = cast("StreamUser", driver.endpoint)
            user.stream_closed(self._id, failure, driver.now(), "" if exc is None else str(exc))
            driver._pump()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def send(self, data: bytes) -> None:
        # A peer that does not read must not make our buffer grow. What a core sends are whole messages of a protocol
        # for datagrams, so losing one is what it expects.
        if self._paused:
            log.debug("! %s does not read; dropped %d bytes", self.remote, len(data))
        elif not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        # After a second close() the TLS of asyncio does not know its connection any more, and abort() cannot end it.
        if not self.transport.is_closing():
            self.transport.close()

    def abandon(self) -> None:
        """Drop the connection with what it has to send."""
        if self.transport is not None:
            self.transport.abort()
