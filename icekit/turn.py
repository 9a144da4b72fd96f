"""A TURN client: one allocation with its permissions and channels (RFC 8656), over UDP, TCP, TLS or DTLS.

``TurnAllocation`` is an ``Endpoint``. Over UDP it uses a socket that is already bound (often that of a host candidate);
over a stream it asks for one. The first data to a new peer does not wait for a permission: CreatePermission and the
Send indication leave together.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from icekit import attributes as attr
from icekit.attributes import Family
from icekit.errors import ConfigError, DecodeError, ErrorResponse, InvalidState, TransactionTimeout
from icekit.net import Address, Datagram, StreamFailure, StreamReleased, StreamWanted, Transport, canonical_host
from icekit.stun import (
    FIRST_CHANNEL,
    LAST_CHANNEL,
    ChannelData,
    Class,
    Message,
    Method,
    StreamDecoder,
    decode,
    indication,
    is_channel_data,
)
from icekit.transaction import (
    Challenged,
    LongTermCredential,
    Outcome,
    Path,
    Refused,
    Schedule,
    Succeeded,
    TimedOut,
    Transactions,
)
from icekit.turn_events import (
    AllocationCreated,
    AllocationFailed,
    AllocationRefreshed,
    AllocationReleased,
    ChannelBound,
    ChannelFailed,
    DataReceived,
    IcmpReceived,
    PermissionCreated,
    PermissionFailed,
    ServerChallenged,
    ServerConnected,
    ServerRedirected,
    ServerSecured,
    Step,
    StreamError,
    TurnError,
    TurnEvent,
)

log = logging.getLogger(__name__)

_PROTOCOL_UDP: Final = 17
_PATIENT: Final = Schedule.exponential()
# Nobody waits for a farewell as long as for a greeting; the server forgets the allocation by itself.
_HASTY: Final = Schedule.exponential(0.25, 3, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnConfig:
    """What an allocation asks for and how patient it is.

    ``lifetime``: seconds to ask for, ``None`` leaves it to the server (RFC 8656 §7.1).
    ``families``: relayed addresses wanted; empty asks for nothing and gets IPv4 (RFC 8656 §7.1).
    ``schedule``: retransmissions of every request (RFC 8489 §6.2.1).
    ``connect_timeout``: seconds for TCP and TLS together.
    ``permission_refresh``: seconds; a permission lasts 300 (RFC 8656 §9).
    ``channel_refresh``: seconds; a channel lasts 600 (RFC 8656 §12), its permission 300.
    ``max_peers``: bound of the permission and channel tables.
    ``max_redirects``: how often ALTERNATE-SERVER is followed (RFC 8489 §10).
    """

    lifetime: int | None = None
    families: tuple[Family, ...] = ()
    dont_fragment: bool = False
    schedule: Schedule = _PATIENT
    release_schedule: Schedule = _HASTY
    connect_timeout: float = 10.0
    permission_refresh: float = 240.0
    channel_refresh: float = 240.0
    max_peers: int = 256
    max_events: int = 1024
    max_redirects: int = 3
    software: str | None = None


class TurnState(StrEnum):
    """Where an allocation is in its life."""

    NEW = "new"
    CONNECTING = "connecting"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    RELEASING = "releasing"
    CLOSED = "closed"


_REFRESH: Final = "refresh"
_RELEASE: Final = "release"
_ALLOCATE: Final = "allocate"


class TurnAllocation:
    """One allocation on one server. ``server_name`` is the name that a TLS certificate must carry.

    Over UDP ``local`` is the bound socket; over a stream its host is the wanted source address (or ``None``), and
    ``stream_id`` is the identifier that the stream is asked for with.
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
    ) -> None:
        self.server = server
        self.transport = transport
        self.state = TurnState.NEW
        self.relayed: tuple[Address, ...] = ()
        self.lifetime = 0
        self.dropped = 0
        self._config = config or TurnConfig()
        self._credential = credential
        self._token_bytes = token_bytes
        self._local = local
        self._server_name = server_name
        self._stream_id = stream_id
        self._stream_up = False
        self._decoder = StreamDecoder()
        self._transactions = Transactions(token_bytes, self._config.software)
        self._out: list[Datagram] = []
        self._events: deque[TurnEvent] = deque()
        self._path: Path | None = None
        self._began = 0.0
        self._tls_began = 0.0
        self._connect_deadline: float | None = None
        self._refresh_at: float | None = None
        # Permissions by host, channels by peer: when each is to be refreshed; ``None`` while a request is open.
        self._permissions: dict[str, float | None] = {}
        self._channels: dict[Address, float | None] = {}
        self._numbers: dict[Address, int] = {}
        self._peers: dict[int, Address] = {}
        self._bound: set[Address] = set()
        self._visited = {server}

    # What the owner calls.

    def allocate(self, now: float) -> None:
        """Begin; the outcome is AllocationCreated or AllocationFailed."""
        if self.state is not TurnState.NEW:
            raise InvalidState(f"allocate() on an allocation that is {self.state}")
        self._began = now
        self._connect(now)

    def create_permission(self, host: str, now: float) -> None:
        """Let any port of ``host`` send to the relay (RFC 8656 §9); refreshed until ``close``."""
        self._require_allocated("create_permission")
        host = canonical_host(host)
        if host not in self._permissions:
            self._check_bound(len(self._permissions))
            self._permissions[host] = None
            self._request_permission(host, now)

    def bind_channel(self, peer: Address, now: float) -> None:
        """Use 4 bytes of framing instead of 36 with ``peer`` (RFC 8656 §12); refreshed until ``close``."""
        self._require_allocated("bind_channel")
        if peer in self._channels:
            return
        self._check_bound(len(self._numbers))
        number = FIRST_CHANNEL + len(self._numbers)
        if number > LAST_CHANNEL:
            raise InvalidState("all 4,096 channel numbers are used")
        # RFC 8656 §12: a number stays with its peer for the life of the allocation, also if binding it fails.
        number = self._numbers.setdefault(peer, number)
        self._peers[number] = peer
        self._channels[peer] = None
        self._request_channel(peer, now)

    def send(self, peer: Address, data: bytes, now: float) -> None:
        """Send ``data`` to ``peer`` through the relay; the permission is asked for on the way if it is missing."""
        self._require_allocated("send")
        path = self._require_path()
        if peer in self._bound:
            message = ChannelData(self._numbers[peer], data).encode(padded=path.transport.is_stream)
        else:
            self.create_permission(peer.host, now)
            items = (attr.XOR_PEER_ADDRESS(peer), attr.DATA(data))
            message = indication(Method.SEND, self._token_bytes(12), *items).encode()
            self._flush_transactions()
        self._out.append(Datagram(path.local, path.remote, message, path.transport))

    def refresh(self, now: float) -> None:
        """Prolong the allocation now instead of when it is due."""
        self._require_allocated("refresh")
        self._refresh_at = None
        items = () if self._config.lifetime is None else (attr.LIFETIME(self._config.lifetime),)
        self._request(_REFRESH, Method.REFRESH, items, self._config.schedule, now)

    # Endpoint.

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take what came from the server; anything else is counted and dropped."""
        path = self._path
        if path is None or self.state is TurnState.CLOSED:
            self.dropped += 1
            return
        if (datagram.source, datagram.destination, datagram.transport) != (path.remote, path.local, path.transport):
            self.dropped += 1
            return
        if path.transport.is_stream:
            try:
                messages = self._decoder.feed(datagram.data)
            except DecodeError as error:
                # Message borders are lost for good.
                self._fail(StreamError(StreamFailure.RESET, f"the server does not speak TURN: {error}"), now)
                return
        else:
            messages = [datagram.data]
        for message in messages:
            try:
                self._receive_message(message, datagram, now)
            except DecodeError as error:
                self.dropped += 1
                log.debug("! %s from %s", error, datagram.source)
        self._flush_transactions()

    def handle_timer(self, now: float) -> None:
        """Retransmit, refresh, give up."""
        if self._connect_deadline is not None and self._connect_deadline <= now:
            self._connect_deadline = None
            self._fail(StreamError(StreamFailure.TIMEOUT, "no answer"), now)
        for outcome in self._transactions.handle_timer(now):
            self._take(outcome, now)
        if self.state is TurnState.ALLOCATED:
            if self._refresh_at is not None and self._refresh_at <= now:
                self.refresh(now)
            for host, due in list(self._permissions.items()):
                if due is not None and due <= now:
                    self._permissions[host] = None
                    self._request_permission(host, now)
            for peer, due in list(self._channels.items()):
                if due is not None and due <= now:
                    self._channels[peer] = None
                    self._request_channel(peer, now)
        self._flush_transactions()

    def get_timer(self) -> float | None:
        """The earliest of retransmissions and refreshes."""
        if self.state is TurnState.CLOSED:
            return None
        due = [self._connect_deadline, self._transactions.get_timer()]
        if self.state is TurnState.ALLOCATED:
            due += [self._refresh_at, *self._permissions.values(), *self._channels.values()]
        return min((when for when in due if when is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """Drain."""
        self._flush_transactions()
        out, self._out = self._out, []
        return out

    def next_event(self) -> TurnEvent | None:
        """Drain."""
        return self._events.popleft() if self._events else None

    def close(self, now: float) -> None:
        """Give the relay back: Refresh with lifetime 0 (RFC 8656 §8), then AllocationReleased."""
        match self.state:
            case TurnState.ALLOCATED:
                self.state = TurnState.RELEASING
                self._began = now
                self._transactions = Transactions(self._token_bytes, self._config.software)
                items = (attr.LIFETIME(0),)
                self._request(_RELEASE, Method.REFRESH, items, self._config.release_schedule, now)
            case TurnState.ALLOCATING if self._credential.key is not None:
                # The server may have made it already: a released unknown allocation harms nobody.
                self.state = TurnState.RELEASING
                self._began = now
                self._transactions.cancel(_ALLOCATE)
                items = (attr.LIFETIME(0),)
                self._request(_RELEASE, Method.REFRESH, items, self._config.release_schedule, now)
            case TurnState.RELEASING | TurnState.CLOSED:
                pass
            case _:
                self._end()

    # StreamUser.

    def stream_connected(self, id: int, now: float) -> None:
        """TCP is up and TLS begins."""
        if self.state is TurnState.CONNECTING:
            self._tls_began = now
            self._emit(ServerConnected(now - self._began))

    def stream_opened(self, id: int, local: Address, remote: Address, now: float) -> None:
        """The stream is up: allocate."""
        if self.state is not TurnState.CONNECTING:
            return
        self._connect_deadline = None
        self._stream_up = True
        if self.transport is Transport.TCP:
            self._emit(ServerConnected(now - self._began))
        else:
            self._emit(ServerSecured(now - (self._tls_began or self._began)))
        self._path = Path(local, remote, self.transport)
        self._request_allocation(now)

    def stream_closed(self, id: int, failure: StreamFailure, now: float, detail: str = "") -> None:
        """The stream could not be opened, or the server hung up; the allocation went with it (RFC 8656 §7)."""
        self._stream_up = False
        match self.state:
            case TurnState.CONNECTING | TurnState.ALLOCATING | TurnState.ALLOCATED:
                self._fail(StreamError(failure, detail), now)
            case TurnState.RELEASING:
                self._emit(AllocationReleased(False, now - self._began))
                self._end()
            case _:
                pass

    # Inside.

    def _connect(self, now: float) -> None:
        if self.transport is Transport.UDP:
            if self._local is None:
                raise ConfigError("a TURN allocation over UDP needs a bound local address")
            self._path = Path(self._local, self.server, Transport.UDP)
            self._request_allocation(now)
            return
        self.state = TurnState.CONNECTING
        self._connect_deadline = now + self._config.connect_timeout
        self._tls_began = 0.0
        self._decoder = StreamDecoder()
        source = self._local.host if self._local is not None else None
        self._emit(StreamWanted(self._stream_id, source, self.server, self.transport, self._server_name))

    def _request_allocation(self, now: float) -> None:
        self.state = TurnState.ALLOCATING
        config = self._config
        items = [attr.REQUESTED_TRANSPORT(_PROTOCOL_UDP)]
        if config.lifetime is not None:
            items.append(attr.LIFETIME(config.lifetime))
        if config.dont_fragment:
            items.append(attr.DONT_FRAGMENT(True))
        if set(config.families) == {Family.IPV4, Family.IPV6}:
            # RFC 8656 §7.1: ADDITIONAL-ADDRESS-FAMILY may only ask for IPv6, beside the IPv4 that comes by default.
            items.append(attr.ADDITIONAL_ADDRESS_FAMILY(Family.IPV6))
        elif config.families:
            items.append(attr.REQUESTED_ADDRESS_FAMILY(config.families[0]))
        self._request(_ALLOCATE, Method.ALLOCATE, tuple(items), config.schedule, now)

    def _request_permission(self, host: str, now: float) -> None:
        items = (attr.XOR_PEER_ADDRESS(Address(host, 0)),)
        self._request((Step.PERMISSION, host), Method.CREATE_PERMISSION, items, self._config.schedule, now)

    def _request_channel(self, peer: Address, now: float) -> None:
        items = (attr.CHANNEL_NUMBER(self._numbers[peer]), attr.XOR_PEER_ADDRESS(peer))
        self._request((Step.CHANNEL, peer), Method.CHANNEL_BIND, items, self._config.schedule, now)

    def _request(
        self, tag: Hashable, method: Method, items: tuple[attr.Item, ...], schedule: Schedule, now: float
    ) -> None:
        path = self._require_path()
        self._transactions.send(tag, method, path, items, schedule, now, credential=self._credential)
        self._flush_transactions()

    def _receive_message(self, data: bytes, datagram: Datagram, now: float) -> None:
        if is_channel_data(data):
            frame = ChannelData.decode(data)
            peer = self._peers.get(frame.channel)
            if peer is None:
                self.dropped += 1
            else:
                self._deliver(DataReceived(peer, frame.data, frame.channel))
            return
        message = decode(data)
        if message.message_class is Class.INDICATION:
            self._receive_indication(message)
            return
        for outcome in self._transactions.receive(message, datagram, now):
            self._take(outcome, now)

    def _receive_indication(self, message: Message) -> None:
        peer = message.get(attr.XOR_PEER_ADDRESS)
        # RFC 8656 §11.4: data from a peer without a permission of ours should be dropped.
        if message.method != Method.DATA or peer is None or peer.host not in self._permitted():
            self.dropped += 1
            return
        icmp = message.get(attr.ICMP)
        data = message.get(attr.DATA)
        if data is not None:
            self._deliver(DataReceived(peer, data, None))
        elif icmp is not None:
            self._deliver(IcmpReceived(peer, icmp.type, icmp.code))
        else:
            self.dropped += 1

    def _permitted(self) -> set[str]:
        return {*self._permissions, *(peer.host for peer in self._channels)}

    def _take(self, outcome: Outcome, now: float) -> None:
        if self.state is TurnState.CLOSED:
            return
        match outcome:
            case Challenged(tag=tag, realm=realm, seconds=seconds):
                if tag == _ALLOCATE:
                    self._emit(ServerChallenged(realm, seconds))
            case Succeeded(tag=tag):
                self._succeeded(tag, outcome, now)
            case Refused(tag=tag, error=error):
                if tag == _ALLOCATE and error.code == 300 and self._redirect(outcome.response, now):
                    return
                self._failed(tag, ErrorResponse(*error), outcome.seconds, now, signed=outcome.signed)
            case TimedOut(tag=tag, sent=sent, seconds=seconds):
                self._failed(tag, TransactionTimeout(sent, seconds), seconds, now, signed=False)

    def _succeeded(self, tag: Hashable, outcome: Succeeded, now: float) -> None:
        seconds = outcome.seconds
        match tag:
            case "allocate":
                self._allocated(outcome, now)
            case "refresh":
                # A server that does not say prolongs as before.
                with suppress(DecodeError):
                    self.lifetime = outcome.response.get(attr.LIFETIME) or self.lifetime
                self._schedule_refresh(now)
                self._emit(AllocationRefreshed(self.lifetime, seconds))
            case "release":
                self._emit(AllocationReleased(True, seconds))
                self._end()
            case (Step.PERMISSION, str(host)):
                self._permissions[host] = now + self._config.permission_refresh
                self._emit(PermissionCreated(host, seconds))
            case (Step.CHANNEL, Address() as peer):
                self._channels[peer] = now + self._config.channel_refresh
                if peer not in self._bound:
                    self._bound.add(peer)
                    self._emit(ChannelBound(peer, self._numbers[peer], seconds))
            case _:
                raise AssertionError(tag)

    def _allocated(self, outcome: Succeeded, now: float) -> None:
        response = outcome.response
        try:
            relayed = tuple(response.all(attr.XOR_RELAYED_ADDRESS))
            lifetime = response.get(attr.LIFETIME)
            mapped = response.get(attr.XOR_MAPPED_ADDRESS)
            software = response.get(attr.SOFTWARE)
            refused = tuple(response.all(attr.ADDRESS_ERROR_CODE))
        except DecodeError as error:
            self._fail(ErrorResponse(500, f"the server's answer cannot be read: {error}"), now)
            return
        if not relayed:
            self._fail(ErrorResponse(500, "the server's answer has no XOR-RELAYED-ADDRESS"), now)
            return
        self.state = TurnState.ALLOCATED
        self.relayed = relayed
        self.lifetime = 600 if lifetime is None else lifetime
        self._schedule_refresh(now)
        self._emit(AllocationCreated(relayed, mapped, self.lifetime, outcome.seconds, outcome.rtt, software, refused))

    def _schedule_refresh(self, now: float) -> None:
        # RFC 8656 §8 suggests a minute before the end; a short lifetime is refreshed at half of it.
        self._refresh_at = now + max(self.lifetime - 60.0, self.lifetime / 2, 1.0)

    def _failed(self, tag: Hashable, error: TurnError, seconds: float, now: float, *, signed: bool) -> None:
        match tag:
            case "allocate" | "refresh":
                self._fail(error, now, Step.REFRESH if tag == _REFRESH else Step.ALLOCATE, signed=signed)
            case "release":
                self._emit(AllocationReleased(False, seconds))
                self._end()
            case (Step.PERMISSION, str(host)):
                del self._permissions[host]
                self._emit(PermissionFailed(host, error, seconds))
            case (Step.CHANNEL, Address() as peer):
                del self._channels[peer]
                self._bound.discard(peer)
                self._emit(ChannelFailed(peer, error, seconds))
            case _:
                raise AssertionError(tag)

    def _redirect(self, response: Message, now: float) -> bool:
        """RFC 8489 §10: repeat the request with the named server; not in a circle, and not for ever."""
        try:
            server = response.get(attr.ALTERNATE_SERVER)
        except DecodeError:
            return False
        if server is None or server in self._visited or len(self._visited) > self._config.max_redirects:
            return False
        if server.family != self.server.family:
            return False
        self._visited.add(server)
        self.server = server
        self._emit(ServerRedirected(server))
        self._release_stream()
        self._stream_id += 1
        # Realm and nonce belong to the server that gave them.
        self._credential = self._credential.renewed()
        self._connect(now)
        return True

    def _fail(self, error: TurnError, now: float, step: Step | None = None, *, signed: bool = False) -> None:
        if step is None:
            match self.state:
                case TurnState.CONNECTING:
                    step = Step.TLS if self._tls_began else Step.CONNECT
                case TurnState.ALLOCATING:
                    step = Step.ALLOCATE
                case _:
                    step = Step.REFRESH
        self._emit(AllocationFailed(step, error, signed, now - self._began))
        self._end()

    def _end(self) -> None:
        self._flush_transactions()
        self._release_stream()
        self.state = TurnState.CLOSED
        self._connect_deadline = self._refresh_at = None
        self._transactions = Transactions(self._token_bytes)
        self._permissions.clear()
        self._channels.clear()
        self._bound.clear()

    def _release_stream(self) -> None:
        if self.transport is not Transport.UDP and (self._stream_up or self.state is TurnState.CONNECTING):
            self._stream_up = False
            self._emit(StreamReleased(self._stream_id))

    def _flush_transactions(self) -> None:
        self._out += self._transactions.datagrams_to_send()

    def _deliver(self, event: DataReceived | IcmpReceived) -> None:
        # Peers decide how much arrives: what nobody takes is dropped, as a full socket buffer would.
        if len(self._events) < self._config.max_events:
            self._events.append(event)
        else:
            self.dropped += 1

    def _emit(self, event: TurnEvent) -> None:
        log.debug("= %s: %s", self.server, event)
        self._events.append(event)

    def _require_allocated(self, what: str) -> None:
        if self.state is not TurnState.ALLOCATED:
            raise InvalidState(f"{what}() on an allocation that is {self.state}")

    def _require_path(self) -> Path:
        assert self._path is not None
        return self._path

    def _check_bound(self, used: int) -> None:
        if used >= self._config.max_peers:
            raise InvalidState(f"more than {self._config.max_peers} peers on one allocation")
