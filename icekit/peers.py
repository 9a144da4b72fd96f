"""The peers of a TURN client: permissions by host, channels by peer, and how data travels (RFC 8656 §9 to §12).

``PeerTable`` keeps the books: what must be asked for, when it must be renewed, which data is wanted. It sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from icekit import attributes as attr
from icekit.attributes import Item
from icekit.errors import ConfigError, InvalidState
from icekit.net import Address, canonical_host
from icekit.stun import FIRST_CHANNEL, ChannelData, Message, Method, indication
from icekit.turn_events import DataReceived, IcmpReceived, Step

# What one request is about, and the tag of its transaction.
PermissionTag = tuple[Literal[Step.PERMISSION], str]
ChannelTag = tuple[Literal[Step.CHANNEL], Address]
PeerTag = PermissionTag | ChannelTag


@dataclass(slots=True)
class _Entry:
    """``granted``: the server has said yes. ``renew_at``: when to ask again; ``None`` while a request is open."""

    granted: bool = False
    renew_at: float | None = None

    def is_due(self, now: float) -> bool:
        return self.renew_at is not None and self.renew_at <= now


class PeerTable:
    """The permissions and channels of one allocation. Times in seconds; at most ``max_peers`` of each.

    Hosts and peers are in canonical form.
    """

    def __init__(self, permission_refresh: float, channel_refresh: float, max_peers: int) -> None:
        self._permission_refresh = permission_refresh
        self._channel_refresh = channel_refresh
        self._max_peers = max_peers
        self._permissions: dict[str, _Entry] = {}
        self._channels: dict[Address, _Entry] = {}
        self._numbers: dict[Address, int] = {}
        self._peers: dict[int, Address] = {}
        # The numbers that data is sent with: what every packet is looked up in.
        self._bound: dict[Address, int] = {}

    def add_permission(self, host: str) -> PermissionTag | None:
        """The request that ``host`` needs before it can be reached, or ``None``; InvalidState when full."""
        if host in self._permissions:
            return None
        if len(self._permissions) >= self._max_peers:
            raise InvalidState(f"more than {self._max_peers} permissions on one allocation")
        self._permissions[host] = _Entry()
        return (Step.PERMISSION, host)

    def add_channel(self, peer: Address) -> ChannelTag | None:
        """The request that ``peer`` needs before its data can use a channel, or ``None``; InvalidState when full."""
        if peer in self._channels:
            return None
        if peer not in self._numbers:
            if len(self._numbers) >= self._max_peers:
                raise InvalidState(f"more than {self._max_peers} channels on one allocation")
            # RFC 8656 §12: a number must not go to another peer while the server may still have it bound; ours stay
            # with their peer for the life of the allocation, also if binding them fails.
            number = FIRST_CHANNEL + len(self._numbers)
            self._numbers[peer] = number
            self._peers[number] = peer
        self._channels[peer] = _Entry()
        return (Step.CHANNEL, peer)

    def number_of(self, peer: Address) -> int:
        """The channel number that is set aside for ``peer``."""
        return self._numbers[peer]

    def request(self, tag: PeerTag) -> tuple[Method, tuple[Item, ...]]:
        """What to ask the server for."""
        match tag:
            case (_, Address() as peer):
                return Method.CHANNEL_BIND, (attr.CHANNEL_NUMBER(self._numbers[peer]), attr.XOR_PEER_ADDRESS(peer))
            case (_, host):
                # RFC 8656 §9: of the address only the host counts.
                return Method.CREATE_PERMISSION, (attr.XOR_PEER_ADDRESS(Address(host, 0)),)

    def granted(self, tag: PeerTag, now: float) -> bool:
        """The server said yes; whether for the first time."""
        match tag:
            case (_, Address() as peer):
                entry, refresh = self._channels[peer], self._channel_refresh
                self._bound[peer] = self._numbers[peer]
            case (_, host):
                entry, refresh = self._permissions[host], self._permission_refresh
        first = not entry.granted
        entry.granted, entry.renew_at = True, now + refresh
        return first

    def refused(self, tag: PeerTag) -> None:
        """The server said no, or nothing. The next data to this peer asks again."""
        match tag:
            case (_, Address() as peer):
                del self._channels[peer]
                self._bound.pop(peer, None)
            case (_, host):
                del self._permissions[host]

    def take_due(self, now: float) -> list[PeerTag]:
        """The requests whose time has come; each is open from now on."""
        due: list[PeerTag] = [(Step.PERMISSION, host) for host, entry in self._permissions.items() if entry.is_due(now)]
        due += [(Step.CHANNEL, peer) for peer, entry in self._channels.items() if entry.is_due(now)]
        for entry in (*self._permissions.values(), *self._channels.values()):
            if entry.is_due(now):
                entry.renew_at = None
        return due

    def get_timer(self) -> float | None:
        """When ``take_due`` has something."""
        entries = (*self._permissions.values(), *self._channels.values())
        return min((entry.renew_at for entry in entries if entry.renew_at is not None), default=None)

    # Data. ``None``: it is not for this way, or not wanted.

    def frame(self, peer: Address, data: bytes, *, padded: bool) -> bytes | None:
        """``data`` as ChannelData, if ``peer`` has a channel; ConfigError if it is too long."""
        channel = self._bound.get(peer)
        if channel is None:
            channel = self._bound.get(canonical_peer(peer))
        return None if channel is None else ChannelData(channel, data).encode(padded=padded)

    def indication(self, peer: Address, data: bytes, transaction_id: bytes, dont_fragment: bool) -> bytes:
        """``data`` as a Send indication (RFC 8656 §11.1); ConfigError if it is too long."""
        items = [attr.XOR_PEER_ADDRESS(peer), attr.DATA(data)]
        if dont_fragment:
            items.append(attr.DONT_FRAGMENT(True))
        return indication(Method.SEND, transaction_id, *items).encode()

    def channel_data(self, message: bytes) -> DataReceived | None:
        """Read ChannelData; DecodeError if it is cut off."""
        frame = ChannelData.decode(message)
        # RFC 8656 §12.6: data on a channel that is not bound must be discarded. Data may overtake the answer to
        # ChannelBind, so a number counts from the time that we asked for it.
        peer = self._peers.get(frame.channel)
        return None if peer is None else DataReceived(peer, frame.data, frame.channel)

    def data_indication(self, message: Message) -> DataReceived | IcmpReceived | None:
        """Read a Data indication; DecodeError if one of its attributes is malformed."""
        # RFC 8489 §6.3.2: an indication with an attribute that we must know and do not is dropped.
        if message.method != Method.DATA or message.unknown_required():
            return None
        peer = message.get(attr.XOR_PEER_ADDRESS)
        # RFC 8656 §11.4: data from a peer for which we have no permission should be dropped.
        if peer is None or not self._permits(peer.host):
            return None
        data = message.get(attr.DATA)
        if data is not None:
            return DataReceived(peer, data, None)
        icmp = message.get(attr.ICMP)
        return None if icmp is None else IcmpReceived(peer, icmp.type, icmp.code)

    def _permits(self, host: str) -> bool:
        # A channel brings a permission with it.
        return host in self._permissions or any(peer.host == host for peer in self._channels)


def canonical_peer(peer: Address) -> Address:
    """The form in which addresses arrive; ConfigError if its host is not an IP address."""
    try:
        return Address(canonical_host(peer.host), peer.port)
    except ValueError:
        raise ConfigError(f"{peer.host!r} is not an IP address") from None
