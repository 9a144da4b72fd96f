"""The TURN part of a server: allocations and what is relayed through them (RFC 8656).

``TurnServer`` is a part of ``icekit.server.Server``, which gives it authenticated-or-not requests, ChannelData and what
arrives at relayed transport addresses. It never sees a socket: it asks for one with ``SocketWanted``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from struct import Struct

from icekit.admission import Authenticator, Counters, Identity, PeerPolicy, Request, TokenBytes
from icekit.allocation import Allocation, Channel, Deletion, Relay, TurnServerConfig, TurnServerEvent, family_of
from icekit.allocation_table import AllocationTable
from icekit.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    CHANNEL_NUMBER,
    DATA,
    DONT_FRAGMENT,
    EVEN_PORT,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AddressErrorCode,
    Family,
    Item,
)
from icekit.errors import DecodeError
from icekit.net import Address, Datagram, Transport
from icekit.stun import (
    FIRST_CHANNEL,
    LAST_CHANNEL,
    MAX_BODY,
    REASONS,
    IntegrityKey,
    Message,
    Method,
    failure,
    indication,
    success,
)

logger = logging.getLogger(__name__)

_UDP = 17
_CHANNEL_HEADER = Struct("!HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
# What a Data indication can hold beside an IPv6 XOR-PEER-ADDRESS (24 bytes) and the head of DATA (4); over IPv6 a peer
# may send 65,527 bytes.
MAX_RELAYED = MAX_BODY - 28
# How often another relay port is tried before the answer is 508.
_PORT_ATTEMPTS = 8


Reply = Callable[[Request, Message, IntegrityKey | None], None]


class TurnServer:
    """Allocations by 5-tuple, relays by bound address. Every method is called by ``Server`` only."""

    def __init__(
        self,
        config: TurnServerConfig,
        *,
        token_bytes: TokenBytes,
        unix_offset: float,
        counters: Counters,
        send: Callable[[Datagram], None],
        reply: Reply,
        emit: Callable[[TurnServerEvent], None],
    ) -> None:
        self._config = config
        self._token_bytes = token_bytes
        self._counters = counters
        self._send = send
        self._reply = reply
        self._policy = PeerPolicy(config.allow_peers)
        self._authenticator = Authenticator(
            realm=config.realm,
            users=config.users,
            secret=config.secret,
            password_algorithms=config.password_algorithms,
            nonce_lifetime=config.nonce_lifetime,
            nonce_key=token_bytes(32),
            unix_offset=unix_offset,
        )
        self._table = AllocationTable(config, token_bytes=token_bytes, emit=emit, completed=self._completed)
        # Looked into for every packet, so kept here as well.
        self.allocations = self._table.allocations
        self.relays = self._table.relays
        self.get_timer = self._table.get_timer
        self.handle_timer = self._table.handle_timer
        self.socket_opened = self._table.socket_opened
        self.socket_failed = self._table.socket_failed
        self.disconnected = self._table.disconnected
        self.close = self._table.close

    # Requests

    def request(self, request: Request, now: float) -> None:
        """Answer a request, now or when its sockets are open."""
        allocation = self._table.find(request.source, request.destination, request.transport is not Transport.UDP, now)
        current = None if allocation is None else allocation.identity
        # RFC 8656 §5: every request is authenticated; nothing is looked at or stored before.
        identity = self._authenticator.authenticate(request, current, now)
        if isinstance(identity, Message):
            self._reply(request, identity, None)
            return
        response = self._authenticated(request, identity, allocation, now)
        if response is not None:
            self._reply(request, response, identity.key)

    def _authenticated(
        self, request: Request, identity: Identity, allocation: Allocation | None, now: float
    ) -> Message | None:
        message = request.message
        unknown = message.unknown_required()
        if unknown:
            return failure(message, 420, UNKNOWN_ATTRIBUTES(unknown))
        try:
            if message.method == Method.ALLOCATE:
                return self._allocate(request, identity, allocation, now)
            # RFC 8656 §5: without an allocation for the 5-tuple it is 437, by another user than its own 441.
            if allocation is None or allocation.pending:
                return failure(message, 437)
            if allocation.identity.username != identity.username:
                return failure(message, 441)
            if message.method == Method.REFRESH:
                return self._refresh(message, allocation, now)
            if message.method == Method.CREATE_PERMISSION:
                return self._create_permission(message, allocation, now)
            return self._channel_bind(message, allocation, now)
        except DecodeError:
            return failure(message, 400)

    def _allocate(
        self, request: Request, identity: Identity, allocation: Allocation | None, now: float
    ) -> Message | None:
        """RFC 8656 §7.2, in its order."""
        message = request.message
        if allocation is not None:
            # RFC 8656 §7.2: the 5-tuple is in use, 437; but a retransmission gets the answer of the first.
            if allocation.transaction_id != message.transaction_id:
                return failure(message, 437)
            if allocation.identity.username != identity.username:
                return failure(message, 441)
            return None if allocation.pending else self._allocated(allocation, message, now)
        transport = message.get(REQUESTED_TRANSPORT)
        if transport is None:
            return failure(message, 400)
        if transport != _UDP:
            return failure(message, 442)
        if message.has(DONT_FRAGMENT):
            # RFC 8656 §7.2: a server that cannot set DF treats the attribute as an unknown one. A core has no sockets.
            return failure(message, 420, UNKNOWN_ATTRIBUTES((DONT_FRAGMENT.type,)))
        token = message.get(RESERVATION_TOKEN)
        family = message.get(REQUESTED_ADDRESS_FAMILY)
        additional = message.get(ADDITIONAL_ADDRESS_FAMILY)
        even_port = message.get(EVEN_PORT)
        # RFC 8656 §7.2: a token excludes EVEN-PORT and both family attributes, and these exclude each other.
        if token is not None and not (family is None and additional is None and even_port is None):
            return failure(message, 400)
        if family is not None and additional is not None:
            return failure(message, 400)
        # RFC 8656 §7.2: the additional family can only be IPv6, and a reserved port has no additional family.
        if additional is not None and (additional != Family.IPV6 or even_port):
            return failure(message, 400)
        lifetime = self._granted(message.get(LIFETIME))
        allocation = Allocation(request, identity, lifetime, bool(even_port), now)
        if token is not None:
            return None if self._table.start_reserved(allocation, token, now) else failure(message, 508)
        # RFC 8656 §7.2: without a family IPv4 is meant; with ADDITIONAL-ADDRESS-FAMILY one of the two is enough.
        families = [item for item in (family or Family.IPV4, additional) if item is not None]
        if not any(item in self._table.hosts for item in families):
            return failure(message, 440)
        refusal = self._table.refusal(allocation)
        if refusal:
            return failure(message, refusal)
        self._table.start(allocation, families, even=even_port is not None, now=now)
        return None

    def _completed(self, allocation: Allocation, now: float) -> None:
        """The answer to an Allocate request whose sockets are open, or cannot be."""
        request = allocation.request
        if allocation.relays:
            response = self._allocated(allocation, request.message, now)
        else:
            response = failure(request.message, 508)
        self._reply(request, response, allocation.identity.key)

    def _allocated(self, allocation: Allocation, message: Message, now: float) -> Message:
        items: list[Item] = [XOR_RELAYED_ADDRESS(relay.told) for _, relay in sorted(allocation.relays.items())]
        expires = min(relay.expires for relay in allocation.relays.values())
        items += (LIFETIME(int(expires - now)), XOR_MAPPED_ADDRESS(allocation.client))
        if allocation.token is not None:
            items.append(RESERVATION_TOKEN(allocation.token))
        for family, code in allocation.failed.items():
            # RFC 8656 §7.2: one family of two was refused; the other is usable.
            items.append(ADDRESS_ERROR_CODE(AddressErrorCode(family, code, REASONS[code])))
        return success(message, *items)

    def _refresh(self, message: Message, allocation: Allocation, now: float) -> Message:
        """RFC 8656 §8.2."""
        family = message.get(REQUESTED_ADDRESS_FAMILY)
        if family is not None and family not in allocation.relays:
            return failure(message, 443)
        asked = message.get(LIFETIME)
        families = list(allocation.relays) if family is None else [family]
        if asked == 0:
            for item in families:
                self._table.drop_relay(allocation, item)
            if not allocation.relays:
                self._table.delete(allocation, Deletion.RELEASED)
            return success(message, LIFETIME(0))
        lifetime = self._granted(asked)
        self._table.renew(allocation, families, lifetime, now)
        return success(message, LIFETIME(lifetime))

    def _create_permission(self, message: Message, allocation: Allocation, now: float) -> Message:
        """RFC 8656 §10.2: all of the peers, or none of them."""
        peers = message.all(XOR_PEER_ADDRESS)
        if not peers:
            return failure(message, 400)
        for peer in peers:
            refused = self._refused(allocation, peer)
            if refused:
                return failure(message, refused)
        hosts = {peer.host for peer in peers}
        allocation.forget_permissions(now)
        if len(allocation.permissions.keys() | hosts) > self._config.max_permissions:
            return failure(message, 508)
        for host in hosts:
            allocation.permissions[host] = now + self._config.permission_lifetime
        self._table.wake_at(now + self._config.permission_lifetime)
        return success(message)

    def _channel_bind(self, message: Message, allocation: Allocation, now: float) -> Message:
        """RFC 8656 §12.2."""
        number = message.get(CHANNEL_NUMBER)
        peer = message.get(XOR_PEER_ADDRESS)
        if number is None or peer is None or not FIRST_CHANNEL <= number <= LAST_CHANNEL or peer.port == 0:
            return failure(message, 400)
        refused = self._refused(allocation, peer)
        if refused:
            return failure(message, refused)
        allocation.forget_permissions(now)
        allocation.forget_channels(now)
        channel = allocation.by_number.get(number)
        # RFC 8656 §12.2: a channel is bound to one peer, and a peer to one channel.
        if channel is not allocation.by_peer.get(peer):
            return failure(message, 400)
        if channel is None:
            permissions = len(allocation.permissions) + (peer.host not in allocation.permissions)
            if len(allocation.by_number) >= self._config.max_channels or permissions > self._config.max_permissions:
                return failure(message, 508)
            channel = Channel(number, peer, allocation.relays[family_of(peer)])
            allocation.by_number[number] = allocation.by_peer[peer] = channel
        channel.expires = now + self._config.channel_lifetime
        allocation.permissions[peer.host] = now + self._config.permission_lifetime
        self._table.wake_at(now + min(self._config.channel_lifetime, self._config.permission_lifetime))
        return success(message)

    def _refused(self, allocation: Allocation, peer: Address) -> int:
        """443 for a peer of a family without relay, 403 for one that may not be reached, else 0 (RFC 8656 §10.2)."""
        if family_of(peer) not in allocation.relays:
            return 443
        return 0 if self._policy.allows(peer.host) else 403

    def _granted(self, asked: int | None) -> int:
        """RFC 8656 §7.2: what was asked for, at most the server's maximum and not less than the default."""
        return max(self._config.default_lifetime, min(asked or 0, self._config.max_lifetime))

    # The data path. Little is done for each packet: two look-ups and two times compared.

    def from_peer(self, relay: Relay, datagram: Datagram, now: float) -> None:
        """A datagram that arrived at a relayed transport address (RFC 8656 §11.3, §12.7)."""
        allocation = relay.allocation
        source = datagram.source
        if allocation.permissions.get(source.host, now) <= now or relay.expires <= now:
            self._counters.no_permission += 1
            return
        data = datagram.data
        channel = allocation.by_peer.get(source)
        if channel is not None and channel.expires > now:
            data = _CHANNEL_HEADER.pack(channel.number, len(data)) + data
            if allocation.streamed:
                # RFC 8656 §12.5: over a stream ChannelData is padded to four.
                data += _PADDING[len(data) & 3]
        elif len(data) > MAX_RELAYED:
            self._counters.too_large += 1
            return
        else:
            data = indication(Method.DATA, self._token_bytes(12), XOR_PEER_ADDRESS(source), DATA(data)).encode()
        self._counters.relayed_to_client += 1
        self._send(Datagram(allocation.local, allocation.client, data, allocation.transport))

    def channel_data(self, source: Address, destination: Address, streamed: bool, data: bytes, now: float) -> None:
        """ChannelData of a client (RFC 8656 §12.6)."""
        allocation = self.allocations.get((source, destination, streamed))
        if allocation is None:
            self._counters.no_allocation += 1
            return
        number, length = _CHANNEL_HEADER.unpack_from(data)
        channel = allocation.by_number.get(number)
        if channel is None or channel.expires <= now or channel.relay.expires <= now:
            self._counters.no_channel += 1
        elif length > len(data) - 4:
            self._counters.garbage += 1
        else:
            self._counters.relayed_to_peer += 1
            self._send(Datagram(channel.relay.local, channel.peer, data[4 : 4 + length]))

    def send_indication(
        self, source: Address, destination: Address, streamed: bool, message: Message, now: float
    ) -> None:
        """A Send indication (RFC 8656 §11.2): anything wrong with it, and it is dropped."""
        allocation = self.allocations.get((source, destination, streamed))
        if allocation is None:
            self._counters.no_allocation += 1
            return
        try:
            peer, data = message.get(XOR_PEER_ADDRESS), message.get(DATA)
        except DecodeError:
            peer = data = None
        # RFC 8656 §11.2: DONT-FRAGMENT from a server that cannot set DF is an unknown attribute, so no relaying.
        if peer is None or data is None or peer.port == 0 or message.has(DONT_FRAGMENT) or message.unknown_required():
            self._counters.garbage += 1
            return
        relay = allocation.relays.get(family_of(peer))
        if relay is None or relay.expires <= now or allocation.permissions.get(peer.host, now) <= now:
            self._counters.no_permission += 1
            return
        self._counters.relayed_to_peer += 1
        self._send(Datagram(relay.local, peer, data))
