"""Does this server answer, from this local address, over this transport? One Binding request, as an ``Endpoint``.

The UDP socket is connected, so that ICMP tells a server that is down from a network that swallows packets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from icekit import attributes as attr
from icekit.binding_response import mapped_address, readable
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
from icekit.report import ServerReport
from icekit.stun import Method, StreamDecoder, decode
from icekit.transaction import Outcome, Path, Refused, Schedule, Succeeded, Transactions


@dataclass(frozen=True, slots=True)
class Target:
    """A server to check. ``connect_only``: the port need not speak STUN (is TCP 443 open?)."""

    url: str
    address: Address
    transport: Transport
    server_name: str | None = None
    connect_only: bool = False


@dataclass(frozen=True, slots=True)
class ServerChecked:
    """The answer; ``connected``: seconds that the stream needed to open, ``None`` for UDP and for failures."""

    report: ServerReport
    connected: float | None


CheckEvent = ServerChecked | SocketWanted | SocketReleased | StreamWanted | StreamReleased

# Six transmissions in half a second and two seconds for the last one: a mobile network needs that after waking up.
_SCHEDULE = Schedule((0.0, 0.1, 0.2, 0.3, 0.5, 1.0), 3.0)
_CONNECT_TIMEOUT = 3.0
# Systems send a second SYN after one second; three waits for a third in vain.
_SECOND_SYN = 1.0
# Five of the six transmissions of a UDP check; the last one is for a network that nobody has measured.
_BURST = 0.5
_RTT_FACTOR = 2.5
_MARGIN = 0.1
# So much longer if the time was measured with another host, which may be nearer.
_STRANGER = 0.3


class ServerCheck:
    """Checks one ``Target`` from the address ``host``, and emits ``ServerChecked`` once. ``id`` names its socket."""

    def __init__(
        self,
        target: Target,
        host: str,
        token_bytes: Callable[[int], bytes],
        *,
        interface: str | None = None,
        id: int = 0,
    ) -> None:
        self._target = target
        self._host = host
        self._id = id
        self._interface = interface
        self._transactions = Transactions(token_bytes)
        self._decoder = StreamDecoder()
        self._events: deque[CheckEvent] = deque()
        self._local: Address | None = None
        self._deadline: float | None = None
        self._deadline_is_final = False
        self._began = 0.0
        self._connected: float | None = None
        self._is_heard = False
        self._done = False
        self.dropped = 0

    def start(self, now: float) -> None:
        """Begin."""
        target = self._target
        self._began = now
        if target.transport is Transport.UDP:
            self._events.append(SocketWanted(self._id, Address(self._host, 0), target.address))
        else:
            self._deadline = now + _CONNECT_TIMEOUT
            self._events.append(
                StreamWanted(self._id, self._host, target.address, target.transport, target.server_name)
            )

    def expect_rtt(self, server: Address, rtt: float) -> None:
        """Tell what ``server``, or another transport, needed (seconds): a much longer silence says nothing new."""
        if self._done or self._deadline_is_final:
            return
        burst = _BURST if self._target.transport is Transport.UDP else _SECOND_SYN
        stranger = 0.0 if server.host == self._target.address.host else _STRANGER
        deadline = self._began + burst + _RTT_FACTOR * rtt + _MARGIN + stranger
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take the answer."""
        # What else comes from there (our own words from an echo server, garbage) shows that packets pass.
        self._is_heard = self._is_heard or datagram.source == self._target.address
        try:
            messages = [datagram.data]
            if datagram.transport.is_stream:
                messages = self._decoder.feed(datagram.data)
            for data in messages:
                for outcome in self._transactions.receive(decode(data), datagram, now):
                    self._take(outcome, now)
        except DecodeError as error:
            self.dropped += 1
            if datagram.transport.is_stream:
                self._finish(now, error=f"not-stun: {error}")

    def handle_timer(self, now: float) -> None:
        """Retransmit or give up."""
        for outcome in self._transactions.handle_timer(now):
            self._take(outcome, now)
        if self._deadline is not None and self._deadline <= now and not self._done:
            self._finish(now, error=self._silence())

    def get_timer(self) -> float | None:
        """The next retransmission, or the deadline."""
        if self._done:
            return None
        due = [self._deadline, self._transactions.get_timer()]
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        return self._transactions.datagrams_to_send()

    def next_event(self) -> CheckEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Stop; an unanswered check is reported as not measured."""
        if not self._done:
            self._finish(now, reachable=None, error="interrupted")

    # SocketUser and StreamUser.

    def socket_opened(self, id: int, local: Address, now: float) -> None:
        """Ask."""
        if self._done:
            self._events.append(SocketReleased(local))
            return
        self._local = local
        self._ask(local, now)

    def socket_failed(self, id: int, failure: SocketFailure, now: float) -> None:
        """The socket could not be bound, or ICMP says that nobody is there."""
        if self._target.transport is not Transport.UDP:
            return
        self._finish(now, error=f"{failure}: {_SOCKET_TEXT[failure]}")

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up; TLS has its own time."""
        if not self._done:
            self._deadline = now + _CONNECT_TIMEOUT
            self._deadline_is_final = True

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The port is open; ask, unless that was the question."""
        if self._done:
            return
        self._deadline = None
        self._deadline_is_final = True
        self._connected = now - self._began
        if self._target.connect_only:
            self._finish(now, reachable=True)
        else:
            self._ask(local, now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The port is closed, or is no STUN server's."""
        if self._connected is not None:
            self._finish(now, error=f"{failure}: the server hung up without an answer")
        else:
            self._finish(now, error=f"{failure}: {detail}" if detail else str(failure))

    # Inside.

    def _ask(self, local: Address, now: float) -> None:
        path = Path(local, self._target.address, self._target.transport)
        self._transactions.send("binding", Method.BINDING, path, (), _SCHEDULE, now)

    def _take(self, outcome: Outcome, now: float) -> None:
        match outcome:
            case Succeeded(response=response, rtt=rtt, seconds=seconds):
                mapped = mapped_address(response)
                self._finish(
                    now,
                    reachable=True,
                    rtt=seconds if rtt is None else rtt,
                    mapped_address=None if mapped is None else str(mapped),
                    behavior_discovery=response.has(attr.OTHER_ADDRESS),
                    software=readable(response, attr.SOFTWARE),
                )
            case Refused(error=error):
                # It answered: there is a server, and the network lets its packets through.
                self._finish(now, reachable=True, error=f"{error.code}: {error.reason}")
            case _:
                self._finish(now, error=self._silence())

    def _silence(self) -> str:
        if self._is_heard:
            return "not-stun: it answers, but not STUN"
        return "timeout: " + ("no answer" if self._connected is None else "connected, but no answer to STUN")

    def _finish(
        self,
        now: float,
        *,
        reachable: bool | None = False,
        rtt: float | None = None,
        mapped_address: str | None = None,
        behavior_discovery: bool | None = None,
        software: str | None = None,
        error: str | None = None,
    ) -> None:
        if self._done:
            return
        self._done = True
        self._transactions.cancel("binding")
        target = self._target
        if target.transport is Transport.UDP:
            if self._local is not None:
                self._events.append(SocketReleased(self._local))
        else:
            self._events.append(StreamReleased(self._id))
        report = ServerReport(
            target.url,
            str(target.address),
            target.transport.value,
            reachable,
            rtt,
            mapped_address,
            behavior_discovery,
            error,
            self._interface,
            software,
            now - self._began,
        )
        self._events.append(ServerChecked(report, self._connected))


_SOCKET_TEXT = {
    SocketFailure.DENIED: "this host does not let us send there",
    SocketFailure.IN_USE: "the local port is in use",
    SocketFailure.UNAVAILABLE: "the local address cannot be used",
    SocketFailure.REFUSED: "nothing listens on that port (ICMP)",
    SocketFailure.UNREACHABLE: "no route to the server",
}
