"""The way to a TURN server: a UDP socket or a stream, and to another server that it names (RFC 8489 §10)."""

from __future__ import annotations

from icekit import attributes as attr
from icekit.binding_response import is_usable
from icekit.errors import ConfigError, DecodeError
from icekit.net import Address, Datagram, StreamReleased, StreamWanted, Transport, scope_of
from icekit.stun import Message, StreamDecoder
from icekit.transaction import Path
from icekit.turn_config import TurnConfig
from icekit.turn_events import ServerConnected, ServerSecured, Step


class ServerConnection:
    """Leads from ``local`` to ``server``; ``path`` is set while requests can take it.

    Over UDP ``local`` is the bound socket; over a stream its host is the wanted source address (or ``None``), and
    ``stream_id`` is the identifier of the first stream: another server has the next one.
    """

    def __init__(
        self,
        server: Address,
        transport: Transport,
        config: TurnConfig,
        *,
        local: Address | None,
        server_name: str | None,
        stream_id: int,
    ) -> None:
        self.server = server
        self.server_name = server_name
        self.transport = transport
        self.path: Path | None = None
        self.deadline: float | None = None
        """When a stream must be open, while one is opened."""
        self._config = config
        self._local = local
        self._stream_id = stream_id
        # Whether the driver works on our stream, or has opened it.
        self._stream_wanted = False
        self._decoder = StreamDecoder()
        self._began: float | None = None
        self._tls_began: float | None = None
        self._visited = {server}

    def open(self, now: float) -> StreamWanted | None:
        """Begin; ``None``: nothing has to be opened. ConfigError over UDP without a socket."""
        self._began = now if self._began is None else self._began
        if self.transport is Transport.UDP:
            if self._local is None:
                raise ConfigError("a TURN allocation over UDP needs a bound local address")
            self.path = Path(self._local, self.server, Transport.UDP)
            return None
        self.deadline = now + self._config.connect_timeout
        self._tls_began = None
        self._decoder = StreamDecoder()
        self._stream_wanted = True
        source = self._local.host if self._local is not None else None
        return StreamWanted(self._stream_id, source, self.server, self.transport, self.server_name)

    def connected(self, id: int, now: float) -> ServerConnected | None:
        """TCP is up and TLS begins; ``None``: it is not our stream."""
        if self.deadline is None or id != self._stream_id:
            return None
        self._tls_began = now
        return ServerConnected(self._seconds(now))

    def opened(self, id: int, local: Address, remote: Address, now: float) -> ServerConnected | ServerSecured | None:
        """The stream is up; ``None``: it is not ours."""
        if self.deadline is None or id != self._stream_id:
            return None
        self.deadline = None
        self.path = Path(local, remote, self.transport)
        if self.transport is Transport.TCP:
            return ServerConnected(self._seconds(now))
        return ServerSecured(self._seconds(now) if self._tls_began is None else now - self._tls_began)

    def closed(self, id: int) -> bool:
        """A stream is gone; whether it was ours."""
        ours = id == self._stream_id and self._stream_wanted
        if ours:
            self._stream_wanted = False
        return ours

    def release(self) -> StreamReleased | None:
        """Open nothing any more, and give the stream back if there is one."""
        self.deadline = None
        if not self._stream_wanted:
            return None
        self._stream_wanted = False
        return StreamReleased(self._stream_id)

    @property
    def step(self) -> Step:
        """How far a stream came that is not open yet."""
        return Step.CONNECT if self._tls_began is None else Step.TLS

    def messages(self, datagram: Datagram) -> list[bytes]:
        """What came on ``path``, message by message. DecodeError: in a stream their borders are lost for good."""
        return self._decoder.feed(datagram.data) if datagram.transport.is_stream else [datagram.data]

    def alternate(self, response: Message) -> tuple[Address, str | None] | None:
        """The server that a 300 names, with its domain, if it may be followed: not in a circle, and not for ever."""
        try:
            server = response.get(attr.ALTERNATE_SERVER)
            domain = response.get(attr.ALTERNATE_DOMAIN)
        except DecodeError:
            return None
        if server is None or server in self._visited or len(self._visited) > self._config.max_redirects:
            return None
        # RFC 8489 §14.15: the address family must be that of the request.
        if server.family != self.server.family or not is_usable(server):
            return None
        # A server of the Internet must not send us to this host or its network, where it could not go itself.
        if scope_of(server.host) < scope_of(self.server.host):
            return None
        return server, domain

    def follow(self, server: Address, domain: str | None) -> StreamReleased | None:
        """Leave this server; ``open`` leads to that one."""
        self._visited.add(server)
        self.server = server
        # RFC 8489 §10: the certificate must carry the named domain, or the name that it had to carry before.
        self.server_name = domain or self.server_name
        self.path = None
        released = self.release()
        self._stream_id += 1
        return released

    def _seconds(self, now: float) -> float:
        assert self._began is not None
        return now - self._began
