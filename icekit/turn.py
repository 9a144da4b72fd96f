"""A TURN client: one allocation with its permissions and channels (RFC 8656), over UDP, TCP, TLS or DTLS.

``TurnAllocation`` is an ``Endpoint``. Over UDP it uses a socket that is already bound (often that of a host candidate);
over a stream it asks for one. The first data to a new peer does not wait for a permission: CreatePermission and the
Send indication leave together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, cast

from icekit import attributes as attr
from icekit.attributes import ErrorCode
from icekit.errors import DecodeError, ErrorResponse, InvalidState, TransactionTimeout
from icekit.event_queue import EventQueue
from icekit.long_term_credential import LongTermCredential
from icekit.net import Address, Datagram, StreamFailure, Transport
from icekit.pacing import Pacer
from icekit.peers import PeerTable, PeerTag, canonical_peer
from icekit.server_connection import ServerConnection
from icekit.stun import Class, Message, Method, decode, is_channel_data
from icekit.transaction import (
    Challenged,
    Outcome,
    Refused,
    Schedule,
    Succeeded,
    TimedOut,
    Transactions,
)
from icekit.turn_config import TurnConfig, read_allocation
from icekit.turn_events import (
    AllocationFailed,
    AllocationRefreshed,
    AllocationReleased,
    ChannelBound,
    ChannelFailed,
    PermissionCreated,
    PermissionFailed,
    ServerChallenged,
    ServerRedirected,
    Step,
    StreamError,
    TurnError,
    TurnEvent,
    TurnState,
)

__all__ = ["TurnAllocation", "TurnConfig", "TurnState"]

log = logging.getLogger(__name__)


# The tags of the requests that are not about a peer; the first two are also where a failure happened.
_Tag = Literal[Step.ALLOCATE, Step.REFRESH, "release"]


class TurnAllocation:
    """One allocation on one server. ``server_name`` is the name that a TLS certificate must carry.

    Over UDP ``local`` is the bound socket; over a stream its host is the wanted source address (or ``None``), and
    ``stream_id`` is the identifier that the stream is asked for with. Each redirection (ALTERNATE-SERVER) asks for
    another stream, so the ``config.max_redirects`` identifiers behind ``stream_id`` belong to this allocation, too.
    """

    def __init__(
        self,
        server: Address,
        transport: Transport,
        credential: LongTermCredential,
        token_bytes: Callable[[int], bytes],
        *,
        local: Address | None,
        server_name: str | None = None,
        stream_id: int = 0,
        config: TurnConfig | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self.transport = transport
        self.state = TurnState.NEW
        self.relayed: tuple[Address, ...] = ()
        self.lifetime = 0
        self._config = config or TurnConfig()
        self._credential = credential
        self._token_bytes = token_bytes
        self._pacer = pacer
        self._connection = ServerConnection(
            server, transport, self._config, local=local, server_name=server_name, stream_id=stream_id
        )
        self._transactions = self._no_transactions()
        self._peers = PeerTable(self._config.permission_refresh, self._config.channel_refresh, self._config.max_peers)
        self._out: list[Datagram] = []
        self._events: EventQueue[TurnEvent] = EventQueue(self._config.max_events)
        self._refused = 0
        self._began = 0.0
        # ``None`` while a Refresh is open.
        self._refresh_at: float | None = None

    # What the owner calls.

    def allocate(self, now: float) -> None:
        """Begin; the outcome is AllocationCreated or AllocationFailed."""
        if self.state is not TurnState.NEW:
            raise InvalidState(f"allocate() on an allocation that is {self.state}")
        self._began = now
        self._connect(now)

    def create_permission(self, host: str, now: float) -> None:
        """Let any port of ``host`` send to the relay (RFC 8656 §9); renewed until ``close``.

        ConfigError if ``host`` is not an IP address; here and below, InvalidState without an allocation, or when the
        table of peers is full.
        """
        self._require_allocated("create_permission")
        tag = self._peers.add_permission(canonical_peer(Address(host, 0)).host)
        if tag is not None:
            self._ask_for(tag, now)

    def bind_channel(self, peer: Address, now: float) -> None:
        """Use 4 bytes of framing instead of 36 with ``peer`` (RFC 8656 §12); renewed until ``close``."""
        self._require_allocated("bind_channel")
        tag = self._peers.add_channel(canonical_peer(peer))
        if tag is not None:
            self._ask_for(tag, now)

    def send(self, peer: Address, data: bytes, now: float) -> None:
        """Send ``data`` to ``peer`` through the relay; the permission is asked for on the way if it is missing.

        ConfigError when ``data`` is too long for one message.
        """
        self._require_allocated("send")
        path = self._connection.path
        assert path is not None
        message = self._peers.frame(peer, data, padded=path.transport.is_stream)
        if message is None:
            peer = canonical_peer(peer)
            message = self._peers.indication(peer, data, self._token_bytes(12), self._config.dont_fragment)
            # RFC 8656 §11.1: there must be a permission for the peer; its request leaves first, in the same drain.
            self.create_permission(peer.host, now)
        self._out.append(Datagram(path.local, path.remote, message, path.transport))

    def refresh(self, now: float) -> None:
        """Prolong the allocation now instead of when it is due; nothing happens while that is under way."""
        self._require_allocated("refresh")
        if self._refresh_at is not None:
            self._refresh_at = None
            self._request(Step.REFRESH, Method.REFRESH, self._config.refresh_items(), self._config.schedule, now)

    @property
    def server(self) -> Address:
        """The server that is asked now: a redirection leads to another one."""
        return self._connection.server

    @property
    def server_name(self) -> str | None:
        """The name that its certificate must carry."""
        return self._connection.server_name

    @property
    def dropped(self) -> int:
        """How many messages changed nothing, and data that nobody took."""
        return self._refused + self._events.dropped

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take what came from the server; anything else is counted and dropped."""
        path = self._connection.path
        if self.state is TurnState.CLOSED or path != (datagram.destination, datagram.source, datagram.transport):
            self._refused += 1
            return
        try:
            messages = self._connection.messages(datagram)
        except DecodeError as error:
            self._stream_lost(StreamError(StreamFailure.RESET, f"the server does not speak TURN: {error}"), now)
            return
        for message in messages:
            try:
                self._receive_message(message, datagram, now)
            except DecodeError as error:
                self._refused += 1
                log.debug("! %s from %s", error, datagram.source)
        self._flush_transactions()

    def handle_timer(self, now: float) -> None:
        """Retransmit, renew, give up."""
        if (deadline := self._connection.deadline) is not None and deadline <= now:
            self._stream_lost(StreamError(StreamFailure.TIMEOUT, "no answer"), now)
        for outcome in self._transactions.handle_timer(now):
            self._take(outcome, now)
        if self.state is TurnState.ALLOCATED:
            if self._refresh_at is not None and self._refresh_at <= now:
                self.refresh(now)
            for tag in self._peers.take_due(now):
                self._ask_for(tag, now)
        self._flush_transactions()

    def get_timer(self) -> float | None:
        """The earliest of retransmissions and renewals."""
        due = [self._connection.deadline, self._transactions.get_timer()]
        if self.state is TurnState.ALLOCATED:
            due += [self._refresh_at, self._peers.get_timer()]
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> TurnEvent | None:
        """Drain."""
        return self._events.next()

    def close(self, now: float) -> None:
        """Give the relay back: Refresh with lifetime 0 (RFC 8656 §8), then AllocationReleased.

        Nothing is told when there cannot be an allocation yet.
        """
        match self.state:
            case TurnState.ALLOCATED:
                self._release(now)
            case TurnState.ALLOCATING if self._credential.key is not None:
                # The server has made it, makes it now, or refuses. We let it go at once, because our owner may not
                # wait, and still listen for the answer: if that comes behind our Refresh, it may have overtaken it.
                self._release(now, undecided=True)
            case TurnState.ALLOCATING:
                self._ask_to_release(now)
                self._end()
            case TurnState.NEW | TurnState.CONNECTING:
                self._end()

    # StreamUser.

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up and TLS begins."""
        if (event := self._connection.connected(id, now)) is not None:
            self._emit(event)

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream is up: allocate."""
        if (event := self._connection.opened(id, local, remote, now)) is not None:
            self._emit(event)
            self._request_allocation(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream could not be opened, or the server hung up; the allocation went with it (RFC 8656 §7)."""
        if self._connection.closed(id):
            self._stream_lost(StreamError(failure, detail), now)

    # Begin and end.

    def _connect(self, now: float) -> None:
        wanted = self._connection.open(now)
        if wanted is None:
            self._request_allocation(now)
        else:
            self.state = TurnState.CONNECTING
            self._emit(wanted)

    def _redirect(self, response: Message, now: float) -> bool:
        """RFC 8489 §10: repeat the request with the named server, if there is one that may be followed."""
        if (alternate := self._connection.alternate(response)) is None:
            return False
        released = self._connection.follow(*alternate)
        self._emit(ServerRedirected(self.server))
        if released is not None:
            self._emit(released)
        # RFC 8489 §10: the same user and password must be used; realm and nonce belong to the server that gave them.
        self._credential = self._credential.renewed()
        self._connect(now)
        return True

    def _release(self, now: float, *, undecided: bool = False) -> None:
        """Begin the farewell. ``undecided``: our Allocate is not answered yet."""
        self.state = TurnState.RELEASING
        self._began = now
        if undecided:
            self._transactions.hush(Step.ALLOCATE, now, self._config.release_schedule.timeout)
        else:
            self._transactions = self._no_transactions()
        self._ask_to_release(now)

    def _ask_to_release(self, now: float) -> None:
        self._request("release", Method.REFRESH, (attr.LIFETIME(0),), self._config.release_schedule, now)

    def _released(self, now: float, *, confirmed: bool) -> None:
        self._emit(AllocationReleased(confirmed, now - self._began))
        self._end()

    def _stream_lost(self, error: StreamError, now: float) -> None:
        match self.state:
            case TurnState.RELEASING:
                self._released(now, confirmed=False)
            case TurnState.CONNECTING:
                self._fail(self._connection.step, error, now)
            case state:
                self._fail(Step.ALLOCATE if state is TurnState.ALLOCATING else Step.REFRESH, error, now)

    def _fail(self, step: Step, error: TurnError, now: float, *, signed: bool = False) -> None:
        self._emit(AllocationFailed(step, error, signed, now - self._began))
        self._end()

    def _reject(self, step: Step, why: str, now: float) -> None:
        """The server says that there is an allocation, and we cannot use it (RFC 8656 §7.3: delete it)."""
        signed = self._credential.key is not None
        error = ErrorResponse(500, f"the server's answer cannot be used: {why}")
        self._emit(AllocationFailed(step, error, signed, now - self._began))
        self._release(now)

    def _end(self) -> None:
        self._flush_transactions()
        if (released := self._connection.release()) is not None:
            self._emit(released)
        self.state = TurnState.CLOSED
        self._transactions = self._no_transactions()

    # Requests.

    def _no_transactions(self) -> Transactions:
        # One for each entry of both tables, and Allocate, Refresh, release.
        bound = 2 * self._config.max_peers + 3
        return Transactions(self._token_bytes, self._config.software, max_open=bound, pacer=self._pacer)

    def _request_allocation(self, now: float) -> None:
        self.state = TurnState.ALLOCATING
        self._request(Step.ALLOCATE, Method.ALLOCATE, self._config.allocate_items(), self._config.schedule, now)

    def _ask_for(self, tag: PeerTag, now: float) -> None:
        self._request(tag, *self._peers.request(tag), self._config.schedule, now)

    def _request(
        self, tag: _Tag | PeerTag, method: Method, items: tuple[attr.Item, ...], schedule: Schedule, now: float
    ) -> None:
        path = self._connection.path
        assert path is not None
        self._transactions.send(tag, method, path, items, schedule, now, credential=self._credential)
        self._flush_transactions()

    # What arrives.

    def _receive_message(self, data: bytes, datagram: Datagram, now: float) -> None:
        message = None if is_channel_data(data) else decode(data)
        if message is None or message.message_class is Class.INDICATION:
            received = None
            if self.state is TurnState.ALLOCATED:
                received = self._peers.channel_data(data) if message is None else self._peers.data_indication(message)
            if received is None:
                self._refused += 1
            else:
                self._events.offer(received)
            return
        before = self._transactions.dropped
        for outcome in self._transactions.receive(message, datagram, now):
            self._take(outcome, now)
        self._refused += self._transactions.dropped - before

    def _take(self, outcome: Outcome, now: float) -> None:
        # Of several outcomes at one time, an earlier one may have ended the allocation.
        if self.state is TurnState.CLOSED:
            return
        if self.state is TurnState.RELEASING:
            self._take_farewell(outcome, now)
            return
        tag = cast("_Tag | PeerTag", outcome.tag)
        match outcome:
            case Challenged(realm=realm, seconds=seconds):
                if tag is Step.ALLOCATE:
                    self._emit(ServerChallenged(realm, seconds))
            case Succeeded():
                self._succeeded(tag, outcome, now)
            case Refused(response=response, error=error, authentic=authentic):
                if tag is Step.ALLOCATE and error.code == 300 and authentic and self._redirect(response, now):
                    return
                self._failed(tag, ErrorResponse(*error), outcome, now)
            case TimedOut(sent=sent, seconds=seconds):
                self._failed(tag, TransactionTimeout(sent, seconds), outcome, now)

    def _succeeded(self, tag: _Tag | PeerTag, outcome: Succeeded, now: float) -> None:
        match tag:
            case Step.ALLOCATE:
                self._allocated(outcome, now)
            case Step.REFRESH:
                self._refreshed(outcome, now)
            case (_, Address() as peer):
                if self._peers.granted(tag, now):
                    self._emit(ChannelBound(peer, self._peers.number_of(peer), outcome.seconds))
            case (_, str(host)):
                if self._peers.granted(tag, now):
                    self._emit(PermissionCreated(host, outcome.seconds))

    def _failed(self, tag: _Tag | PeerTag, error: TurnError, outcome: Refused | TimedOut, now: float) -> None:
        match tag:
            case Step() as step:
                # There may be an allocation of which we could not hear; nobody has to wait for its end.
                refused = isinstance(outcome, Refused) and outcome.response.message_class is Class.ERROR
                if step is Step.ALLOCATE and not refused:
                    self._ask_to_release(now)
                self._fail(step, error, now, signed=isinstance(outcome, Refused) and outcome.signed)
            case (_, Address() as peer):
                self._peers.refused(tag)
                self._emit(ChannelFailed(peer, error, outcome.seconds))
            case (_, str(host)):
                self._peers.refused(tag)
                self._emit(PermissionFailed(host, error, outcome.seconds))
        # RFC 8656 §5: after 437 to anything but Allocate the client must assume that the allocation is gone.
        mismatch = isinstance(outcome, Refused) and outcome.error.code == 437 and outcome.authentic
        if mismatch and self.state is TurnState.ALLOCATED:
            self._fail(Step.REFRESH, error, now, signed=True)

    def _take_farewell(self, outcome: Outcome, now: float) -> None:
        """RELEASING: "release" is open, and "allocate" if we left before its answer."""
        match outcome:
            case Challenged():
                pass
            case Succeeded(tag=Step.ALLOCATE):
                self._release(now)
            # RFC 8656 §8.3: 437 says that there is no allocation any more; or not yet, if Allocate is still open.
            case Refused(tag=Step.ALLOCATE) | TimedOut(tag=Step.ALLOCATE) | Refused(error=ErrorCode(code=437)):
                if not len(self._transactions):
                    self._released(now, confirmed=isinstance(outcome, Refused))
            case _:
                self._released(now, confirmed=isinstance(outcome, Succeeded))

    def _allocated(self, outcome: Succeeded, now: float) -> None:
        try:
            created = read_allocation(outcome, self._config.families)
        except DecodeError as error:
            self._reject(Step.ALLOCATE, str(error), now)
            return
        self.state = TurnState.ALLOCATED
        self.relayed = created.relayed
        self._prolonged(created.lifetime, now)
        self._emit(created)

    def _refreshed(self, outcome: Succeeded, now: float) -> None:
        lifetime: int | None = None
        # A server that does not say prolongs as before.
        with suppress(DecodeError):
            lifetime = outcome.response.get(attr.LIFETIME)
        if lifetime == 0:
            self._reject(Step.REFRESH, "LIFETIME: 0 seconds", now)
            return
        self._prolonged(lifetime or self.lifetime, now)
        self._emit(AllocationRefreshed(self.lifetime, outcome.seconds))

    def _prolonged(self, lifetime: int, now: float) -> None:
        self.lifetime = lifetime
        # RFC 8656 §8 suggests a minute before the end; a short lifetime is refreshed at half of it.
        self._refresh_at = now + max(lifetime - 60.0, lifetime / 2)

    # Small things.

    def _flush_transactions(self) -> None:
        self._out += self._transactions.datagrams_to_send()

    def _emit(self, event: TurnEvent) -> None:
        log.debug("= %s: %s", self.server, event)
        self._events.append(event)

    def _require_allocated(self, what: str) -> None:
        if self.state is not TurnState.ALLOCATED:
            raise InvalidState(f"{what}() on an allocation that is {self.state}")
