"""The STUN codec: messages, integrity, fingerprint, ChannelData and stream framing (RFC 8489, 8656 §12.4).

``decode`` checks what every message must obey (cookie, top bits, length, bounds, fingerprint); an attribute's value is
decoded when it is asked for. Nothing here keeps state, except the buffer of ``StreamDecoder``.
"""

from __future__ import annotations

import hashlib
import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from hmac import compare_digest
from typing import Final, TypeVar
from zlib import crc32

from icekit import attributes as attr
from icekit.attributes import MAGIC_COOKIE, Attribute, ErrorCode, Item, PasswordAlgorithm, xor_address
from icekit.errors import ConfigError, DecodeError

T = TypeVar("T")

HEADER_LENGTH: Final = 20
# 65,535 rounded down to four, less the largest integrity attribute and FINGERPRINT
MAX_BODY: Final = 65532 - 36 - 8
_HEADER = struct.Struct("!HHI12s")
_TLV = struct.Struct("!HH")
_LENGTH = struct.Struct("!H")
_U32 = struct.Struct("!I")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_FINGERPRINT_XOR = 0x5354554E
_SHA1 = attr.MESSAGE_INTEGRITY.type
_SHA256 = attr.MESSAGE_INTEGRITY_SHA256.type
_FINGERPRINT = attr.FINGERPRINT.type
_CLOSING = frozenset((_SHA1, _SHA256, _FINGERPRINT))


class Method(IntEnum):
    """STUN methods (RFC 8489, 8656, 6062); an unknown one stays an int."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    CONNECT = 0x00A
    CONNECTION_BIND = 0x00B
    CONNECTION_ATTEMPT = 0x00C


class Class(IntEnum):
    """The class bits of the message type (RFC 8489 §5)."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


_METHODS: dict[int, Method] = {method.value: method for method in Method}


def _split(kind: int) -> tuple[int, Class]:
    """Method and class of a message type; their bits are mixed (RFC 8489 §5)."""
    method = kind & 0x00F | kind >> 1 & 0x070 | kind >> 2 & 0x080
    return _METHODS.get(method, method), Class(kind & 0x110)


_KINDS = tuple(_split(kind) for kind in range(0x400))

REASONS: Final[dict[int, str]] = {
    300: "Try Alternate",
    400: "Bad Request",
    401: "Unauthenticated",
    403: "Forbidden",
    405: "Mobility Forbidden",
    420: "Unknown Attribute",
    437: "Allocation Mismatch",
    438: "Stale Nonce",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    446: "Connection Already Exists",
    447: "Connection Timeout or Failure",
    486: "Allocation Quota Reached",
    487: "Role Conflict",
    500: "Server Error",
    508: "Insufficient Capacity",
}


class Integrity(IntEnum):
    """Which attribute protects a message; the value is its number."""

    SHA1 = _SHA1
    SHA256 = _SHA256


class IntegrityKey:
    """A key for MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6).

    It keeps the two padded hash states of HMAC (RFC 2104) instead of the key, so a message costs two state copies.
    """

    __slots__ = ("_inner", "_outer", "head", "integrity", "size")

    def __init__(self, secret: bytes, integrity: Integrity = Integrity.SHA1) -> None:
        make = hashlib.sha1 if integrity is Integrity.SHA1 else hashlib.sha256
        if len(secret) > 64:
            secret = make(secret).digest()
        block = secret.ljust(64, b"\0")
        self._inner = make(block.translate(_INNER))
        self._outer = make(block.translate(_OUTER))
        self.integrity = integrity
        self.size = self._inner.digest_size
        self.head = _TLV.pack(integrity, self.size)

    def digest(self, data: bytes) -> bytes:
        """HMAC of ``data``."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        return f"IntegrityKey({self.integrity.name})"


_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def opaque_string(text: str) -> str:
    """A user name or password by the OpaqueString profile (RFC 8265 §4.2); ASCII passes unchanged.

    ConfigError if the profile forbids the text (control characters, unassigned code points). Empty text passes although
    the profile forbids it: there are servers with an empty realm.
    """
    if text.isascii() and text.isprintable():
        return text
    import precis_i18n  # 40 ms that only a name outside ASCII needs

    try:
        return str(precis_i18n.get_profile("OpaqueString").enforce(text))
    except UnicodeError as error:
        # The text may be a password: the error does not repeat it.
        reason = getattr(error, "reason", "not allowed")
        raise ConfigError(
            f"this user name or password has a character that RFC 8265 forbids ({reason}); "
            "look for a tab or a line end in it"
        ) from None


def short_term_key(password: str, integrity: Integrity = Integrity.SHA1) -> IntegrityKey:
    """The key of a short-term credential (RFC 8489 §9.1.1)."""
    return IntegrityKey(opaque_string(password).encode(), integrity)


def long_term_key(
    username: str,
    realm: str,
    password: str,
    algorithm: PasswordAlgorithm = PasswordAlgorithm.MD5,
    integrity: Integrity = Integrity.SHA1,
) -> IntegrityKey:
    """The key of a long-term credential: hash of ``username:realm:password`` (RFC 8489 §9.2.2, §18.5)."""
    text = f"{opaque_string(username)}:{opaque_string(realm)}:{opaque_string(password)}".encode()
    make = hashlib.md5 if algorithm is PasswordAlgorithm.MD5 else hashlib.sha256
    return IntegrityKey(make(text).digest(), integrity)


def userhash(username: str, realm: str) -> bytes:
    """The value of USERHASH (RFC 8489 §14.4)."""
    return hashlib.sha256(f"{opaque_string(username)}:{opaque_string(realm)}".encode()).digest()


class SecurityFeatures(IntFlag):
    """The security feature bits of a nonce; bit 0 is the leftmost of 24 (RFC 8489 §9.2, §18.1)."""

    PASSWORD_ALGORITHMS = 1 << 23
    USERNAME_ANONYMITY = 1 << 22


_NONCE_COOKIE = b"obMatJos2"


def make_nonce(features: SecurityFeatures, rest: bytes) -> bytes:
    """A nonce that announces ``features`` and cannot lose them unnoticed (RFC 8489 §9.2)."""
    return _NONCE_COOKIE + b64encode(features.to_bytes(3)) + rest


def nonce_features(nonce: bytes) -> SecurityFeatures:
    """The features that a nonce announces; none when it has no cookie."""
    if nonce.startswith(_NONCE_COOKIE):
        try:
            bits = int.from_bytes(b64decode(nonce[9:13], validate=True))
        except ValueError:
            return SecurityFeatures(0)
        return SecurityFeatures(bits & 0xC00000)
    return SecurityFeatures(0)


class Message:
    """A STUN message; treat it as immutable. ``attributes`` are (number, value) in order, unknown ones included."""

    __slots__ = ("_integrity_at", "_raw", "attributes", "message_class", "method", "transaction_id")

    def __init__(self, method: int, message_class: Class, transaction_id: bytes, items: tuple[Item, ...] = ()) -> None:
        # RFC 8489 §18.2: methods end at 0xFF, which keeps the first byte of a message below 4 (RFC 7983 §7).
        if len(transaction_id) != 12 or not 0 <= method <= 0xFF:
            raise ConfigError(f"method {method} (0 to 255) with a transaction ID of {len(transaction_id)} bytes (12)")
        self.method = method
        self.message_class = message_class
        self.transaction_id = transaction_id
        self.attributes: tuple[tuple[int, bytes], ...] = tuple(
            [
                item if item[1].__class__ is bytes else (item[0], xor_address(item[1], transaction_id))  # type: ignore[arg-type,misc]
                for item in items
            ]
        )
        self._raw = b""
        self._integrity_at: dict[int, int] | None = None

    def get(self, attribute: Attribute[T]) -> T | None:
        """The first value of ``attribute`` (RFC 8489 §14: later ones may be ignored); DecodeError if malformed."""
        wanted = attribute.type
        for number, value in self.attributes:
            if number == wanted:
                return attribute.decode(value, self.transaction_id)
        return None

    def all(self, attribute: Attribute[T]) -> list[T]:
        """Every value of ``attribute``, in order."""
        wanted = attribute.type
        return [attribute.decode(value, self.transaction_id) for number, value in self.attributes if number == wanted]

    def has(self, attribute: Attribute[T]) -> bool:
        """Whether the attribute is there at all."""
        wanted = attribute.type
        return any(number == wanted for number, _ in self.attributes)

    def error(self) -> ErrorCode:
        """The code of an error response; one without a readable code counts as 500."""
        try:
            return self.get(attr.ERROR_CODE) or ErrorCode(500, "error response without ERROR-CODE")
        except DecodeError as error:
            return ErrorCode(500, str(error))

    def unknown_required(self) -> tuple[int, ...]:
        """Comprehension-required attributes that we do not know; a request with any is answered 420."""
        known = attr.BY_TYPE
        # Each once: a message may repeat one thousands of times.
        return tuple(
            dict.fromkeys([number for number, _ in self.attributes if number < 0x8000 and number not in known])
        )

    def encode(self, key: IntegrityKey | None = None, *, fingerprint: bool = False) -> bytes:
        """The bytes on the wire, protected with ``key`` and closed with FINGERPRINT if wanted."""
        parts = []
        try:
            for number, value in self.attributes:
                length = len(value)
                part = _TLV.pack(number, length) + value
                parts.append(part + _PADDING[length & 3] if length & 3 else part)
        except struct.error as error:
            raise ConfigError(f"{self!r}: {error}") from None
        body = b"".join(parts)
        if len(body) > MAX_BODY:
            raise ConfigError(f"{self!r} has {len(body)} bytes of attributes, at most {MAX_BODY} fit")
        method = self.method
        kind = (method & 0x080) << 2 | (method & 0x070) << 1 | method & 0x00F | self.message_class
        transaction_id = self.transaction_id
        if key is not None:
            # RFC 8489 §14.5: the length in the protected header must count the integrity attribute, not what follows.
            head = _HEADER.pack(kind, len(body) + 4 + key.size, MAGIC_COOKIE, transaction_id)
            body += key.head + key.digest(head + body)
        if not fingerprint:
            return _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction_id) + body
        # RFC 8489 §14.7: FINGERPRINT must be the last attribute, and the length in the header counts it.
        data = _HEADER.pack(kind, len(body) + 8, MAGIC_COOKIE, transaction_id) + body
        return data + _FINGERPRINT_HEAD + _U32.pack(crc32(data) ^ _FINGERPRINT_XOR)

    def verify(self, key: IntegrityKey) -> bool:
        """Whether a decoded message carries the integrity attribute of ``key``, and a right one. Absent is False."""
        position = None if self._integrity_at is None else self._integrity_at.get(key.integrity)
        if position is None:
            return False
        raw = self._raw
        # RFC 8489 §14.6: the full 32 bytes are a must where the usage does not allow less, and neither ICE nor TURN
        # does. A shorter value never equals the digest.
        start = position + 4
        covered = raw[:2] + _LENGTH.pack(start + key.size - HEADER_LENGTH) + raw[4:position]
        (size,) = _LENGTH.unpack_from(raw, position + 2)
        return compare_digest(key.digest(covered), raw[start : start + size])

    def has_integrity(self, integrity: Integrity | None = None) -> bool:
        """Whether a decoded message carries an integrity attribute (that one, or any), right or wrong."""
        return self._integrity_at is not None and (integrity is None or integrity in self._integrity_at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.method, self.message_class, self.transaction_id, self.attributes) == (
            other.method,
            other.message_class,
            other.transaction_id,
            other.attributes,
        )

    def __hash__(self) -> int:
        return hash((self.method, self.message_class, self.transaction_id))

    def __repr__(self) -> str:
        method = self.method.name if isinstance(self.method, Method) else f"0x{self.method:03x}"
        names = [
            attr.BY_TYPE[number].name if number in attr.BY_TYPE else f"0x{number:04x}"
            for number, _ in self.attributes[:20]
        ]
        # A hostile message has up to 16,000 of them, and this text goes into logs.
        if len(self.attributes) > 20:
            names.append(f"{len(self.attributes) - 20} more")
        return f"<{method} {self.message_class.name} {self.transaction_id.hex()} [{', '.join(names)}]>"


_FINGERPRINT_HEAD = _TLV.pack(_FINGERPRINT, 4)


def request(method: Method, transaction_id: bytes, *items: Item) -> Message:
    """A request; ``transaction_id`` is 12 random bytes."""
    return Message(method, Class.REQUEST, transaction_id, items)


def indication(method: Method, transaction_id: bytes, *items: Item) -> Message:
    """An indication: nobody answers it."""
    return Message(method, Class.INDICATION, transaction_id, items)


def success(asked: Message, *items: Item) -> Message:
    """The success response to ``asked``."""
    return Message(asked.method, Class.SUCCESS, asked.transaction_id, items)


def failure(asked: Message, code: int, *items: Item, reason: str | None = None) -> Message:
    """The error response to ``asked``."""
    error = attr.ERROR_CODE(ErrorCode(code, REASONS.get(code, "Error") if reason is None else reason))
    return Message(asked.method, Class.ERROR, asked.transaction_id, (error, *items))


def is_stun(data: bytes) -> bool:
    """Whether ``data`` is a STUN message and not RTP, DTLS or ChannelData (RFC 7983 §7): first byte, cookie, length."""
    return (
        len(data) >= HEADER_LENGTH
        and data[0] < 4
        and data[4:8] == _COOKIE
        and (data[2] << 8 | data[3]) + HEADER_LENGTH == len(data)
        and not data[3] & 3
    )


_COOKIE = _U32.pack(MAGIC_COOKIE)


def decode(data: bytes) -> Message:
    """Read one message. DecodeError on anything that is not one, never another exception.

    A FINGERPRINT that is there must be right. Attributes behind an integrity attribute are dropped, because nothing
    protects them (RFC 8489 §9), except the stronger integrity attribute and FINGERPRINT.
    """
    if not is_stun(data):
        raise DecodeError(f"not a STUN message ({len(data)} bytes)")
    end = len(data)
    position = HEADER_LENGTH
    integrity_at: dict[int, int] | None = None
    found: list[tuple[int, bytes]] = []
    unpack = _TLV.unpack_from
    while position < end:
        number, length = unpack(data, position)
        start = position + 4
        stop = start + length
        if stop > end:
            raise DecodeError(f"attribute 0x{number:04x} at byte {position}: {length} bytes do not fit")
        if number not in _CLOSING:
            if integrity_at is None:
                found.append((number, data[start:stop]))
        elif number == _FINGERPRINT:
            if length != 4 or stop != end:
                raise DecodeError("FINGERPRINT is not a last attribute of 4 bytes")
            if _U32.unpack_from(data, start)[0] != crc32(data[:position]) ^ _FINGERPRINT_XOR:
                raise DecodeError("FINGERPRINT is wrong")
        else:
            if length != 20 if number == _SHA1 else (length & 3 or not 16 <= length <= 32):
                raise DecodeError(f"an integrity attribute has {length} bytes")
            if integrity_at is None:
                integrity_at = {number: position}
            elif number == _SHA256 and _SHA256 not in integrity_at:
                integrity_at[_SHA256] = position
        position = stop + (-length & 3)
    message = Message.__new__(Message)
    message.method, message.message_class = _KINDS[data[0] << 8 | data[1]]
    message.transaction_id = data[8:HEADER_LENGTH]
    message.attributes = tuple(found)
    message._raw = data  # noqa: SLF001  # this is its second constructor
    message._integrity_at = integrity_at  # noqa: SLF001
    return message


FIRST_CHANNEL: Final = 0x4000
LAST_CHANNEL: Final = 0x4FFF


@dataclass(frozen=True, slots=True)
class ChannelData:
    """Application data on a channel (RFC 8656 §12.4)."""

    channel: int
    data: bytes

    def encode(self, *, padded: bool) -> bytes:
        """The bytes on the wire; over a stream they must be ``padded`` to four (RFC 8656 §12.5)."""
        length = len(self.data)
        if not FIRST_CHANNEL <= self.channel <= LAST_CHANNEL or length > 65535:
            raise ConfigError(f"channel {self.channel:#x} with {length} bytes; 0x4000 to 0x4fff and 65535 are allowed")
        message = _TLV.pack(self.channel, length) + self.data
        return message + _PADDING[length & 3] if padded else message

    @classmethod
    def decode(cls, data: bytes) -> ChannelData:
        """Read one message; padding is dropped."""
        if not is_channel_data(data):
            raise DecodeError(f"not a ChannelData message ({len(data)} bytes)")
        channel, length = _TLV.unpack_from(data)
        if length > len(data) - 4:
            raise DecodeError(f"ChannelData says {length} bytes and has {len(data) - 4}")
        return cls(channel, data[4 : 4 + length])


def is_channel_data(data: bytes) -> bool:
    """Whether the first byte is that of a channel number (RFC 8656 §12: 0x4000–0x4FFF)."""
    return len(data) >= 4 and 0x40 <= data[0] <= 0x4F


class StreamDecoder:
    """Cuts a byte stream into STUN and ChannelData messages (RFC 8489 §6.2.2, 8656 §12.5).

    Between two calls it holds less than one message (65,552 bytes) of a good stream.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now; DecodeError when the stream goes on with something else.

        What came whole before that is returned first; the error follows with the next call, and with each one after it.
        """
        buffer = self._buffer
        buffer += data
        end = len(buffer)
        position = 0
        messages: list[bytes] = []
        while end - position >= 4:
            first, length = _TLV.unpack_from(buffer, position)
            if first < 0x400 and not length & 3 and _COOKIE.startswith(buffer[position + 4 : position + 8]):
                size = stop = HEADER_LENGTH + length
            elif FIRST_CHANNEL <= first <= LAST_CHANNEL:
                size = 4 + length
                stop = size + (-length & 3)
            else:
                # The eight bytes at fault stay, and nothing behind them: the stream cannot be read on.
                del buffer[position + 8 :], buffer[:position]
                if messages:
                    return messages
                raise DecodeError(f"the stream is not STUN: it goes on with {buffer.hex()}")
            if end - position < stop:
                break
            messages.append(bytes(buffer[position : position + size]))
            position += stop
        del buffer[:position]
        return messages
