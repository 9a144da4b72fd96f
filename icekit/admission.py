"""Who may use a server, how often, and whom it may reach: credentials, nonces, rate limit, peer policy, answer size.

Nothing here remembers a client before it has authenticated, except the bounded table of ``RateLimit``.
"""

from __future__ import annotations

import hmac
import ipaddress
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import ceil

from icekit.attributes import (
    ERROR_CODE,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    SOFTWARE,
    USERHASH,
    USERNAME,
    Item,
    PasswordAlgorithm,
)
from icekit.errors import ConfigError, DecodeError
from icekit.net import Address, AddressClass, Transport, classify_host
from icekit.stun import (
    Integrity,
    IntegrityKey,
    Message,
    SecurityFeatures,
    failure,
    long_term_key,
    make_nonce,
    nonce_features,
    opaque_string,
    userhash,
)

TokenBytes = Callable[[int], bytes]


@dataclass(slots=True)
class Counters:
    """What happened, in packets; each dropped packet is counted once."""

    answered: int = 0
    garbage: int = 0  # neither STUN nor ChannelData, or STUN that breaks its grammar
    unexpected: int = 0  # a well-formed message that a server never takes (a response, an unknown method)
    rate_limited: int = 0
    too_large: int = 0  # answers that would have amplified, and datagrams of peers that no indication can hold
    no_allocation: int = 0  # ChannelData or a Send indication from a client without an allocation
    no_channel: int = 0
    no_permission: int = 0  # in either direction
    refused_streams: int = 0
    relayed_to_peer: int = 0
    relayed_to_client: int = 0

    def to_dict(self) -> dict[str, int]:
        """Name to number."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class Request:
    """A request on its way through the server; ``size`` is that of the message, ``fingerprint`` whether it had one."""

    message: Message
    source: Address
    destination: Address
    transport: Transport
    size: int
    fingerprint: bool


def headers_size(address: Address) -> int:
    """Bytes of the IP and UDP headers."""
    return 48 if ":" in address.host else 28


def answer_budget(request: Request) -> int:
    """Bytes that an answer to an unauthenticated request may have, so that it stays within 2.5 times the request."""
    headers = headers_size(request.source)
    return 5 * (request.size + headers) // 2 - headers


def encode_within(response: Message, budget: int, *, fingerprint: bool) -> bytes | None:
    """The bytes of ``response``; SOFTWARE and then the reason phrase give way, and ``None`` if that is not enough."""
    data = response.encode(fingerprint=fingerprint)
    if len(data) <= budget:
        return data
    attributes = tuple(item for item in response.attributes if item[0] != SOFTWARE.type)
    data = Message(response.method, response.message_class, response.transaction_id, attributes).encode(
        fingerprint=fingerprint
    )
    if len(data) <= budget:
        return data
    attributes = tuple((kind, value[:4] if kind == ERROR_CODE.type else value) for kind, value in attributes)
    data = Message(response.method, response.message_class, response.transaction_id, attributes).encode(
        fingerprint=fingerprint
    )
    return data if len(data) <= budget else None


class RateLimit:
    """One token bucket for each source /24 (IPv4) or /56 (IPv6), in a table of bounded size."""

    __slots__ = ("_buckets", "_burst", "_rate", "_table_size")

    def __init__(self, rate: float, burst: float, table_size: int) -> None:
        self._rate = rate
        self._burst = burst
        self._table_size = table_size
        self._buckets: dict[str | bytes, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, host: str, now: float) -> bool:
        """Take one token of the network of ``host``; False when there is none."""
        key = source_network(host)
        # Taken out and put in again, so that the first key is the one that was silent for longest.
        tokens, then = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        if len(self._buckets) >= self._table_size:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        return allowed


def source_network(host: str) -> str | bytes:
    """The /24 or /56 that ``host`` is in, as a key."""
    if ":" not in host:
        return host.rpartition(".")[0]
    return ipaddress.IPv6Address(host.partition("%")[0]).packed[:7]


# RFC 8656 §21.1 and §21.4: a relay must not be a way to the server's own host and network, nor into tunnels.
_DENIED = frozenset(
    {
        AddressClass.UNSPECIFIED,
        AddressClass.LOOPBACK,
        AddressClass.LINK_LOCAL,
        AddressClass.PRIVATE,
        AddressClass.CGNAT,
        AddressClass.ULA,
        AddressClass.MULTICAST,
        AddressClass.RESERVED,
        AddressClass.NAT64,
        AddressClass.TUNNEL,
    }
)
# Never a peer of a relay, whatever is allowed: nothing there is one host that answers.
_NEVER = frozenset({AddressClass.UNSPECIFIED, AddressClass.MULTICAST})


# What a server that is tried out on one machine must allow.
LOOPBACK_PEERS = ("127.0.0.0/8", "::1/128")


class PeerPolicy:
    """Which peers a relay may reach: public addresses, and the networks in ``allowed`` (``10.0.0.0/8``)."""

    __slots__ = ("_allowed",)

    def __init__(self, allowed: tuple[str, ...]) -> None:
        try:
            self._allowed = tuple(ipaddress.ip_network(text, strict=False) for text in allowed)
        except ValueError as error:
            raise ConfigError(f"allowed peers: {error}; write a network such as 127.0.0.0/8") from None

    def allows(self, host: str) -> bool:
        """Whether ``host`` (an IP literal) may be a peer."""
        kind = classify_host(host)
        if kind not in _DENIED:
            return True
        if kind in _NEVER:
            return False
        address = ipaddress.ip_address(host)
        return any(address in network for network in self._allowed)


class Nonces:
    """Nonces that carry their own proof: an expiry, and an HMAC over it and the client's transport address.

    Nothing is stored, so a flood of first requests costs no memory. A nonce of one client is of no use to another.
    """

    __slots__ = ("_features", "_key", "_lifetime")

    def __init__(self, key: bytes, lifetime: float, features: SecurityFeatures) -> None:
        self._key = IntegrityKey(key, Integrity.SHA256)
        self._lifetime = ceil(lifetime)
        self._features = features

    def make(self, source: Address, transport: Transport, now: float) -> bytes:
        """A nonce for the client at ``source``."""
        expiry = (int(now) + self._lifetime & 0xFFFFFFFF).to_bytes(4)
        rest = b64encode(expiry + self._proof(expiry, source, transport))
        return make_nonce(self._features, rest) if self._features else rest

    def valid(self, nonce: bytes, source: Address, transport: Transport, now: float) -> bool:
        """Whether ``nonce`` was made for this client and has not expired."""
        prefix = len(make_nonce(self._features, b"")) if self._features else 0
        try:
            value = b64decode(nonce[prefix:], validate=True)
        except ValueError:
            return False
        if len(value) != 12 or nonce_features(nonce) != self._features:
            return False
        # Difference modulo 2^32, so that the end of the four bytes is no end of the server.
        left = (int.from_bytes(value[:4]) - int(now)) & 0xFFFFFFFF
        fresh = 0 < left <= self._lifetime
        return hmac.compare_digest(value[4:], self._proof(value[:4], source, transport)) and fresh

    def _proof(self, expiry: bytes, source: Address, transport: Transport) -> bytes:
        return self._key.digest(expiry + f"{transport.value} {source}".encode())[:8]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent an authenticated request; ``quota_name`` is what the limit for each user counts."""

    username: str
    quota_name: str
    key: IntegrityKey = field(repr=False)


def rest_password(secret: str, username: str) -> str:
    """The password of a time-limited user name: base64 of HMAC-SHA1 with the shared secret."""
    return b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()


class Authenticator:
    """The long-term credential mechanism of a server (RFC 8489 §9.2.4), with fixed users and a shared secret."""

    __slots__ = ("_algorithms", "_hashes", "_nonces", "_realm", "_secret", "_unix_offset", "_users")

    def __init__(
        self,
        *,
        realm: str,
        users: Mapping[str, str],
        secret: str | None,
        password_algorithms: bool,
        nonce_lifetime: float,
        nonce_key: bytes,
        unix_offset: float,
    ) -> None:
        self._realm = realm
        self._users = {opaque_string(name): password for name, password in users.items()}
        self._secret = secret
        self._unix_offset = unix_offset
        self._hashes: dict[bytes, str] = {}
        self._algorithms: tuple[tuple[int, bytes], ...] = ()
        features = SecurityFeatures(0)
        if password_algorithms:
            features = SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY
            self._algorithms = ((PasswordAlgorithm.SHA256, b""), (PasswordAlgorithm.MD5, b""))
            self._hashes = {userhash(name, realm): name for name in self._users}
        self._nonces = Nonces(nonce_key, nonce_lifetime, features)

    def authenticate(self, request: Request, current: Identity | None, now: float) -> Identity | Message:
        """The sender, or the error response. ``current`` is the owner of the sender's allocation, if there is one.

        A time-limited user name must be in time only to begin: with ``current`` its expiry is not looked at, because
        a call may outlive its credentials.
        """
        message = request.message
        try:
            # RFC 8489 §9.2.4: a request without integrity is answered 401 with everything needed to come again.
            if not message.has_integrity():
                return self._challenge(request, 401, now)
            nonce = message.get(NONCE)
            username = self._username(message)
            # RFC 8489 §9.2.4: integrity without user name, realm or nonce is a bad request.
            if username is None or message.get(REALM) is None or nonce is None:
                return failure(message, 400)
            algorithm = self._algorithm(message, nonce)
        except DecodeError:
            return failure(message, 400)
        if algorithm is None:
            return failure(message, 400)
        identity = self._identify(message, username, algorithm, current, now)
        if identity is None or not message.verify(identity.key):
            return self._challenge(request, 401, now)
        # RFC 8489 §9.2.4: a stale nonce is 438 only when the integrity is right, else it was 401 above.
        if not self._nonces.valid(nonce, request.source, request.transport, now):
            return self._challenge(request, 438, now)
        return identity

    def _username(self, message: Message) -> str | None:
        """The user name; ``""`` for a hash that nobody has."""
        if self._algorithms:
            digest = message.get(USERHASH)
            if digest is not None:
                return self._hashes.get(digest, "")
        return message.get(USERNAME)

    def _algorithm(self, message: Message, nonce: bytes) -> PasswordAlgorithm | None:
        """How the client made its key; ``None`` when somebody tampered with the offer (RFC 8489 §9.2.4)."""
        if SecurityFeatures.PASSWORD_ALGORITHMS not in nonce_features(nonce) or not self._algorithms:
            return PasswordAlgorithm.MD5
        offered, chosen = message.get(PASSWORD_ALGORITHMS), message.get(PASSWORD_ALGORITHM)
        if offered is None and chosen is None:
            return PasswordAlgorithm.MD5
        # RFC 8489 §9.2.4: the offer must come back as it was made, and the choice must be one of it.
        if offered != self._algorithms or chosen not in self._algorithms:
            return None
        return PasswordAlgorithm(chosen[0])

    def _identify(
        self, message: Message, username: str, algorithm: PasswordAlgorithm, current: Identity | None, now: float
    ) -> Identity | None:
        # RFC 8489 §9.2.4: with both integrity attributes the stronger one counts.
        integrity = Integrity.SHA256 if message.has_integrity(Integrity.SHA256) else Integrity.SHA1
        started = current is not None and current.username == username
        if started and current is not None and current.key.integrity is integrity and not self._algorithms:
            return current
        password = self._users.get(username)
        quota_name = username
        if password is None:
            if self._secret is None:
                return None
            timestamp, _, name = username.partition(":")
            # At most 11 digits: int() of a long text is slow, and Python refuses one of 4,300.
            if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 11:
                return None
            if not started and int(timestamp) <= now + self._unix_offset:
                return None
            quota_name = name or username
            password = rest_password(self._secret, username)
        try:
            key = long_term_key(username, self._realm, password, algorithm, integrity)
        except ConfigError:
            return None
        return Identity(username, quota_name, key)

    def _challenge(self, request: Request, code: int, now: float) -> Message:
        items: list[Item] = [REALM(self._realm), NONCE(self._nonces.make(request.source, request.transport, now))]
        if self._algorithms:
            items.append(PASSWORD_ALGORITHMS(self._algorithms))
        return failure(request.message, code, *items)
