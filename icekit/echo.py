"""The other end of a relay test: ``EchoPeer`` sends to the relayed address first and answers what comes out of it.

It is a UDP socket of its own, no client of the relay. It learns from a server how the world sees it: that is the
address that needs the permission, and what it sends opens its own NAT. Where that cannot be learned, because UDP does
not pass or the server answers no Binding request, a second allocation of the same server is the peer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from icekit.binding_response import mapped_address
from icekit.errors import DecodeError
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
)
from icekit.stun import Method, decode, is_stun
from icekit.transaction import Outcome, Path, Schedule, Succeeded, Transactions
from icekit.turn import TurnAllocation, TurnState
from icekit.turn_events import AllocationCreated, AllocationFailed, AllocationReleased, DataReceived


@dataclass(frozen=True, slots=True)
class PeerReady:
    """The peer can be reached at ``mapped``; behind some NATs the relay sees it at another port of that host."""

    mapped: Address


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """There is no peer: neither of the two ways to have one works."""

    detail: str


EchoEvent = PeerReady | PeerFailed | SocketWanted | SocketReleased | StreamWanted | StreamReleased

# What the peer sends by itself, and what the client asks and the peer answers: random bytes follow. The first byte is
# of no protocol that a relay speaks (RFC 7983).
_MARK: Final = b"\xffecho "
_BINDING: Final = Schedule.even(5, 0.1, 0.4)
_HELLO_INTERVAL: Final = 0.05


class EchoPeer:
    """An ``Endpoint``. ``id`` names its socket; ``allocate`` makes the second allocation with the peer's own socket.

    ``servers`` tell it its mapped address; the first answer counts. Call ``start``, and ``greet`` once there is a
    relayed address. ``hello`` is what the peer sends first; ``question`` and anything behind it is answered with
    ``answer`` and the same.
    """

    def __init__(
        self,
        id: int,
        host: str,
        servers: Sequence[Address],
        token_bytes: Callable[[int], bytes],
        allocate: Callable[[Address | None], TurnAllocation],
    ) -> None:
        self.hello, self.question, self.answer = (_MARK + token_bytes(16) for _ in range(3))
        # How many questions have come through the relay.
        self.questions = 0
        # Whether the server confirmed that the second allocation is given back; None as long as it has not ended.
        self.is_released: bool | None = None
        self.is_closed = False
        self.dropped = 0
        self._id = id
        self._host = host
        self._servers = tuple(dict.fromkeys(servers))
        self._allocate = allocate
        self._transactions = Transactions(token_bytes)
        self._events: deque[EchoEvent] = deque()
        self._out: list[Datagram] = []
        self._local: Address | None = None
        self._socket_failed = False
        self._mapped: Address | None = None
        self._relayed: Address | None = None
        self._allocation: TurnAllocation | None = None
        self._hello_at: float | None = None
        self._closing = False

    @property
    def is_reached(self) -> bool:
        """Whether a question has come through the relay."""
        return self.questions > 0

    @property
    def is_allocation(self) -> bool:
        """Whether the peer is a second allocation."""
        return self._allocation is not None

    def start(self, now: float) -> None:
        """Open the socket and ask for the mapped address."""
        self._events.append(SocketWanted(self._id, Address(self._host, 0)))

    def greet(self, relayed: Address, now: float) -> None:
        """The relay is there: send ``hello`` to it, again and again, until ``hush``."""
        self._relayed = relayed
        self._hello_at = now
        self._say_hello(now)
        self._settle(now)

    def hush(self) -> None:
        """The client has heard it."""
        self._hello_at = None

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """An answer of a server, something from the relay, or garbage."""
        allocation = self._allocation
        if allocation is not None:
            allocation.receive_datagram(datagram, now)
        elif datagram.transport is not Transport.UDP or datagram.destination != self._local:
            self.dropped += 1
        elif is_stun(datagram.data):
            self._receive_answer(datagram, now)
        else:
            self._hear(datagram.data, now)
        self._settle(now)

    def handle_timer(self, now: float) -> None:
        """Ask and greet again."""
        self._transactions.handle_timer(now)
        if self._allocation is not None:
            self._allocation.handle_timer(now)
        if self._hello_at is not None and self._hello_at <= now:
            self._say_hello(now)
        self._settle(now)

    def get_timer(self) -> float | None:
        """The next question to a server, or greeting."""
        due = [self._transactions.get_timer(), self._hello_at]
        if self._allocation is not None:
            due.append(self._allocation.get_timer())
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out + self._transactions.datagrams_to_send(), []
        return out if self._allocation is None else out + self._allocation.datagrams_to_send()

    def next_event(self) -> EchoEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Give back the second allocation, then the socket; ``is_closed`` tells the end."""
        if self._closing:
            return
        self._closing = True
        self._hello_at = None
        self._forget_questions()
        if self._allocation is not None:
            self._allocation.close(now)
        self._settle(now)

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """Ask the servers."""
        self._local = local
        if not self._closing:
            for server in self._servers:
                self._transactions.send(server, Method.BINDING, Path(local, server), (), _BINDING, now)
        self._settle(now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """No socket: only a second allocation over a stream is left."""
        self._socket_failed = True
        self._settle(now)

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up for the second allocation."""
        if self._allocation is not None:
            self._allocation.stream_connected(id, now)
        self._settle(now)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream of the second allocation is up."""
        if self._allocation is not None:
            self._allocation.stream_opened(id, local, remote, now)
        self._settle(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream of the second allocation is gone."""
        if self._allocation is not None:
            self._allocation.stream_closed(id, failure, now, detail)
        self._settle(now)

    # The mapped address.

    def _receive_answer(self, datagram: Datagram, now: float) -> None:
        try:
            for outcome in self._transactions.receive(decode(datagram.data), datagram, now):
                self._take_answer(outcome)
        except DecodeError:
            self.dropped += 1

    def _take_answer(self, outcome: Outcome) -> None:
        if isinstance(outcome, Succeeded) and self._mapped is None:
            mapped = mapped_address(outcome.response)
            if mapped is None:
                self.dropped += 1
            else:
                self._forget_questions()
                self._be_ready(mapped)

    def _forget_questions(self) -> None:
        for tag in self._transactions.tags():
            self._transactions.cancel(tag)

    def _be_ready(self, mapped: Address) -> None:
        self._mapped = mapped
        self._events.append(PeerReady(mapped))

    # The second allocation.

    def _settle(self, now: float) -> None:
        """What every entry point ends with: begin the second allocation if it is needed, take its events, end."""
        asked = self._socket_failed or (self._local is not None and not len(self._transactions))
        if (
            asked
            and self._mapped is None
            and self._relayed is not None
            and self._allocation is None
            and not self._closing
        ):
            self._begin_allocation(now)
        while self._allocation is not None and (event := self._allocation.next_event()) is not None:
            match event:
                case AllocationCreated(relayed=relayed):
                    self._be_ready(relayed[0])
                case AllocationFailed(error=error) if self._mapped is None:
                    self._events.append(
                        PeerFailed(f"UDP finds no peer address, and a second allocation fails: {error}")
                    )
                case DataReceived(data=data):
                    self._hear(data, now)
                case AllocationReleased(confirmed=confirmed):
                    self.is_released = confirmed
                case StreamWanted() | StreamReleased():
                    self._events.append(event)
                case _:
                    pass
        if self._closing and (self._allocation is None or self._allocation.state is TurnState.CLOSED):
            self.is_closed = True
            if self._local is not None:
                self._events.append(SocketReleased(self._local))
                self._local = None

    def _begin_allocation(self, now: float) -> None:
        allocation = self._allocate(self._local)
        if allocation.transport is Transport.UDP and self._local is None:
            self._events.append(PeerFailed("no second UDP socket can be opened on this host"))
            self._socket_failed, self._relayed = False, None
            return
        self._allocation = allocation
        allocation.allocate(now)

    # Data.

    def _hear(self, data: bytes, now: float) -> None:
        # The random bytes prove that it came from our client; a relay may send from another address than it named.
        if data.startswith(self.question):
            self.questions += 1
            self._send(self.answer + data[len(self.question) :], now)
        else:
            self.dropped += 1

    def _say_hello(self, now: float) -> None:
        self._send(self.hello, now)
        self._hello_at = now + _HELLO_INTERVAL

    def _send(self, data: bytes, now: float) -> None:
        if self._relayed is None or self._closing:
            return
        if self._allocation is None:
            if self._local is not None:
                self._out.append(Datagram(self._local, self._relayed, data))
        elif self._allocation.state is TurnState.ALLOCATED:
            self._allocation.send(self._relayed, data, now)
