"""Listening ports, connections and TLS of the simulated hosts, for ``create_connection`` and ``create_server``."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from icekit.net import Address
from icekit.sim.packet import ACK, RST, SYN, Segment
from icekit.sim.stream import SimStream
from icekit.sim.udp import WILDCARDS, socket_address

if TYPE_CHECKING:
    from icekit.sim.host import Host

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class _Listening:
    """What a program sees of a listening socket."""

    def __init__(self, local: Address) -> None:
        self.local = local
        self.family = socket.AF_INET if local.family == 4 else socket.AF_INET6

    def getsockname(self) -> tuple[Any, ...]:
        """The bound address."""
        return socket_address(self.local)


class SimServer(asyncio.AbstractServer):
    """A listening port; ``sockets`` have ``family`` and answer ``getsockname``."""

    def __init__(self, stack: TcpStack, addresses: list[Address], factory: ProtocolFactory) -> None:
        self.sockets: tuple[_Listening, ...] = tuple(map(_Listening, addresses))
        self._stack = stack
        self._factory = factory
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()

    def accept(self, segment: Segment) -> None:
        """A client's first segment."""
        protocol = self._context.run(self._factory)
        stream = self._context.run(self._make, segment.destination, segment.source, protocol)
        stream.opened.add_done_callback(lambda opened: self._accepted(opened, stream, protocol), context=self._context)
        stream.receive(segment)

    def _make(self, local: Address, remote: Address, protocol: asyncio.BaseProtocol) -> SimStream:
        stream = SimStream(self._stack, local, remote, protocol, passive=True)
        # Data may come with the last segment of the handshake, before the program knows of the stream.
        stream.pause_reading()
        self._stack.streams[local, remote] = stream
        return stream

    def _accepted(self, opened: asyncio.Future[None], stream: SimStream, protocol: asyncio.BaseProtocol) -> None:
        if not opened.cancelled() and opened.exception() is None:
            protocol.connection_made(stream)
            stream.resume_reading()

    def close(self) -> None:
        """Stop listening; accepted streams go on."""
        if not self._closed.done():
            self._closed.set_result(None)
            self._stack.unlisten(self)
            self.sockets = ()

    async def wait_closed(self) -> None:
        """Until ``close``."""
        await asyncio.shield(self._closed)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it serves on."""
        return self._loop

    def is_serving(self) -> bool:
        """Until ``close``."""
        return not self._closed.done()

    async def start_serving(self) -> None:
        """It always serves."""

    async def serve_forever(self) -> None:
        """Serve until cancelled."""
        try:
            await asyncio.shield(self._closed)
        finally:
            self.close()


class TcpStack:
    """The streams and listening ports of one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.streams: dict[tuple[Address, Address], SimStream] = {}
        self._servers: dict[Address, SimServer] = {}

    def receive(self, segment: Segment) -> None:
        """A segment came to this host."""
        local, remote = segment.destination, segment.source
        stream = self.streams.get((local, remote))
        if stream is not None:
            stream.receive(segment)
            return
        wildcard = Address("::" if local.family == 6 else WILDCARDS[0], local.port)
        server = self._servers.get(local) or self._servers.get(wildcard)
        if segment.flags == SYN and server is not None:
            server.accept(segment)
        elif not segment.flags & RST:
            # RFC 9293 §3.5.2: a segment that belongs to no connection is answered with a reset.
            number = segment.sequence + segment.length
            self.host.send(Segment(local, remote, b"", flags=RST | ACK, acknowledgment=number))

    async def connect(self, local: Address, remote: Address) -> SimStream:
        """The client's side of the handshake; ``OSError`` as the system's. Reading is paused."""
        local = Address(local.host, self.host.free_port(local, self.is_taken))
        stream = SimStream(self, local, remote, asyncio.Protocol(), passive=False)
        self.streams[local, remote] = stream
        stream.pause_reading()
        stream.open()
        try:
            await stream.opened
        except BaseException:
            stream.abort()
            raise
        return stream

    def listen(self, addresses: list[Address], factory: ProtocolFactory) -> SimServer:
        """Accept on these addresses; port 0: the same free port on all."""
        bound: list[Address] = []
        for address in addresses:
            port = address.port or (bound[0].port if bound else 0)
            bound.append(Address(address.host, self.host.free_port(Address(address.host, port), self.is_taken)))
        server = SimServer(self, bound, factory)
        self._servers.update(dict.fromkeys(bound, server))
        return server

    def is_taken(self, local: Address) -> bool:
        """Whether a program listens there or a stream begins there."""
        wildcard = local.host in WILDCARDS
        listens = any(
            other.port == local.port
            and other.family == local.family
            and (wildcard or other.host in (local.host, *WILDCARDS))
            for other in self._servers
        )
        return listens or any(own == local for own, _ in self.streams)

    def forget(self, stream: SimStream) -> None:
        """The connection is over."""
        if self.streams.get((stream.local, stream.remote)) is stream:
            del self.streams[stream.local, stream.remote]

    def unlisten(self, server: SimServer) -> None:
        """The server was closed."""
        self._servers = {address: other for address, other in self._servers.items() if other is not server}

    def kill(self) -> None:
        """End every program: peers get resets."""
        for server in dict.fromkeys(self._servers.values()):
            server.close()
        for stream in tuple(self.streams.values()):
            stream.abort()

    def clear(self) -> None:
        """The run is over."""
        for stream in self.streams.values():
            stream.abandon()
        self.streams.clear()
        self._servers.clear()


async def start_plain(stream: SimStream, protocol: asyncio.BaseProtocol) -> SimStream:
    """Give a connected stream to a program."""
    stream.set_protocol(protocol)
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    loop.call_soon(protocol.connection_made, stream)
    loop.call_soon(stream.resume_reading)
    loop.call_soon(waiter.set_result, None)
    await waiter
    return stream


async def start_tls(
    stream: SimStream, protocol: asyncio.BaseProtocol, context: Any, name: str, options: dict[str, Any]
) -> asyncio.Transport:
    """Put asyncio's own TLS layer between a connected stream and a program, and do the handshake."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    context = ssl.create_default_context() if context is True else context
    layer = sslproto.SSLProtocol(
        loop, protocol, context, waiter, server_side=False, server_hostname=name, **_tls_times(options)
    )
    await start_plain(stream, layer)
    try:
        await waiter
    except BaseException:
        stream.abort()
        raise
    transport: asyncio.Transport = layer._app_transport  # noqa: SLF001  # as asyncio's create_connection does
    return transport


def served_with_tls(factory: ProtocolFactory, options: dict[str, Any]) -> ProtocolFactory:
    """``factory``, behind asyncio's TLS layer if the options of ``create_server`` have ``ssl``."""
    context = options.get("ssl")
    if context is None:
        return factory
    loop = asyncio.get_running_loop()
    return lambda: sslproto.SSLProtocol(
        loop, factory(), context, loop.create_future(), server_side=True, **_tls_times(options)
    )


def _tls_times(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout") if options.get(name)}
