"""STUN attributes: number, name, and how a value is written (RFC 8489 §14, 8656 §18, 8445 §16.1, 5780 §7, 6062, 8016).

Every attribute is a typed constant. Calling one makes an item for a message, ``Message.get`` reads it back::

    stun.request(Method.ALLOCATE, transaction_id, REQUESTED_TRANSPORT(17), LIFETIME(600))
    message.get(LIFETIME)            # 600, or None
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Final, Generic, NamedTuple, TypeVar, cast

from icekit.errors import ConfigError, DecodeError
from icekit.net import Address, canonical_host

T = TypeVar("T")

MAGIC_COOKIE: Final = 0x2112A442

# An attribute before it is in a message: an Address is XORed there, because that needs the transaction ID.
Item = tuple[int, "bytes | Address"]

_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
_IPV4 = struct.Struct("!xBHI")
_TEXT = tuple(str(octet) for octet in range(256))
_OCTETS = {text: octet for octet, text in enumerate(_TEXT)}

# RFC 8489 §14.3, §14.8–14.10: at most 509 bytes of text are sent, and 763 must be readable (RFC 5389 allowed them).
_SENT_TEXT = 509
_READ_TEXT = 763


class Family(IntEnum):
    """Address families of REQUESTED-ADDRESS-FAMILY and its kin (RFC 8656 §18.6)."""

    IPV4 = 1
    IPV6 = 2


class Change(IntFlag):
    """What CHANGE-REQUEST asks the server to change in its answer's source (RFC 5780 §7.2)."""

    IP = 4
    PORT = 2


class PasswordAlgorithm(IntEnum):
    """How a long-term key is made (RFC 8489 §18.5)."""

    MD5 = 1
    SHA256 = 2


class ErrorCode(NamedTuple):
    """The value of ERROR-CODE: ``code`` 300–699 and a phrase for people (RFC 8489 §14.8)."""

    code: int
    reason: str


class AddressErrorCode(NamedTuple):
    """Why one of two requested families was refused (RFC 8656 §18.12)."""

    family: int
    code: int
    reason: str


class Icmp(NamedTuple):
    """An ICMP error that the relay received from a peer's host (RFC 8656 §18.13); ``data`` is 4 bytes (the MTU)."""

    type: int
    code: int
    data: bytes


class Attribute(Generic[T]):
    """One attribute: ``type`` is its number, ``name`` as in the registry."""

    __slots__ = ("_pack", "_unpack", "name", "type")

    def __init__(
        self, number: int, name: str, pack: Callable[[T], bytes | Address], unpack: Callable[[bytes, bytes], T]
    ) -> None:
        self.type = number
        self.name = name
        self._pack = pack
        self._unpack = unpack
        BY_TYPE[number] = cast("Attribute[object]", self)

    def __call__(self, value: T) -> Item:
        """An item for a message; ConfigError if the value does not fit the attribute."""
        try:
            return self.type, self._pack(value)
        except (struct.error, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.name}: {error}") from None

    def decode(self, value: bytes, transaction_id: bytes) -> T:
        """The typed value; DecodeError names the attribute."""
        try:
            return self._unpack(value, transaction_id)
        except (struct.error, ValueError, IndexError) as error:
            raise DecodeError(f"{self.name}: {error} (value of {len(value)} bytes)") from None

    def __repr__(self) -> str:
        return self.name


BY_TYPE: Final[dict[int, Attribute[object]]] = {}


def pack_address(address: Address) -> bytes:
    """The plain form of an address (RFC 8489 §14.1); ValueError if it is not one."""
    host, port = address
    if ":" not in host:
        try:
            a, b, c, d = host.split(".")
            return _IPV4.pack(1, port, _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d])
        except KeyError:
            raise ValueError(f"{host!r} is not an IP address") from None
    return struct.pack("!xBH", 2, port) + ipaddress.IPv6Address(host.partition("%")[0]).packed


def xor_address(address: Address, transaction_id: bytes) -> bytes:
    """The XORed form of an address (RFC 8489 §14.2); ConfigError if it is not one."""
    try:
        host, port = address
        if ":" not in host:
            a, b, c, d = host.split(".")
            number = _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
            return _IPV4.pack(1, port ^ 0x2112, number ^ MAGIC_COOKIE)
        packed = ipaddress.IPv6Address(host.partition("%")[0]).packed
        return struct.pack("!xBH", 2, port ^ 0x2112) + _xor128(packed, transaction_id)
    except (struct.error, ValueError, KeyError, TypeError):
        raise ConfigError(f"{address!r} is not an IP address and a port") from None


def _xor128(packed: bytes, transaction_id: bytes) -> bytes:
    mask = MAGIC_COOKIE << 96 | int.from_bytes(transaction_id)
    return (int.from_bytes(packed) ^ mask).to_bytes(16)


def _unpack_address(value: bytes, _transaction_id: bytes) -> Address:
    family, port = struct.unpack_from("!xBH", value)
    if (family, len(value)) not in ((1, 8), (2, 20)):
        raise ValueError(f"address family {family}")
    return Address(_host(value[4:]), port)


def _host(packed: bytes) -> str:
    return canonical_host(str(ipaddress.ip_address(packed)))


def _unpack_xor_address(value: bytes, transaction_id: bytes) -> Address:
    if len(value) == 8:
        family, port, number = _IPV4.unpack(value)
        if family == 1:
            number ^= MAGIC_COOKIE
            host = f"{_TEXT[number >> 24]}.{_TEXT[number >> 16 & 255]}.{_TEXT[number >> 8 & 255]}.{_TEXT[number & 255]}"
            return Address(host, port ^ 0x2112)
    elif len(value) == 20 and value[1] == 2:
        port = int.from_bytes(value[2:4]) ^ 0x2112
        return Address(_host(_xor128(value[4:], transaction_id)), port)
    raise ValueError("not an IPv4 or IPv6 address")


def _address(number: int, name: str) -> Attribute[Address]:
    return Attribute(number, name, pack_address, _unpack_address)


def _xored(number: int, name: str) -> Attribute[Address]:
    return Attribute(number, name, lambda address: address, _unpack_xor_address)


def _text(number: int, name: str, sent: int, read: int = _READ_TEXT) -> Attribute[str]:
    def pack(text: str) -> bytes:
        value = text.encode()
        if len(value) > sent:
            raise ValueError(f"{len(value)} bytes, at most {sent} are allowed")
        return value

    def unpack(value: bytes, _transaction_id: bytes) -> str:
        if len(value) > read:
            raise ValueError(f"more than {read} bytes")
        return value.decode()

    return Attribute(number, name, pack, unpack)


def _opaque(number: int, name: str, lowest: int, highest: int) -> Attribute[bytes]:
    def check(value: bytes) -> bytes:
        if not lowest <= len(value) <= highest:
            raise ValueError(f"{len(value)} bytes, {lowest} to {highest} are allowed")
        return bytes(value)

    return Attribute(number, name, check, lambda value, _: check(value))


def _closing(number: int, name: str) -> Attribute[bytes]:
    """An attribute that protects what stands before it: ``Message.encode`` writes it, ``decode`` takes it out."""

    def pack(_value: bytes) -> bytes:
        raise ValueError("Message.encode writes it")

    return Attribute(number, name, pack, lambda value, _: value)


def _u32(number: int, name: str) -> Attribute[int]:
    return Attribute(number, name, _U32.pack, lambda value, _: int(_U32.unpack(value)[0]))


def _u64(number: int, name: str) -> Attribute[int]:
    return Attribute(number, name, _U64.pack, lambda value, _: int(_U64.unpack(value)[0]))


def _u16_rffu(number: int, name: str) -> Attribute[int]:
    layout = struct.Struct("!H2x")
    return Attribute(number, name, layout.pack, lambda value, _: int(layout.unpack(value)[0]))


def _u8_rffu(number: int, name: str) -> Attribute[int]:
    layout = struct.Struct("!B3x")
    return Attribute(number, name, layout.pack, lambda value, _: int(layout.unpack(value)[0]))


def _flag(number: int, name: str) -> Attribute[bool]:
    """An attribute without a value: ``True`` when present."""

    def unpack(value: bytes, _transaction_id: bytes) -> bool:
        if value:
            raise ValueError("no value is allowed")
        return True

    def pack(value: bool) -> bytes:
        if not value:
            raise ValueError("it has no false form, leave it out")
        return b""

    return Attribute(number, name, pack, unpack)


def _pack_error(error: ErrorCode) -> bytes:
    # RFC 8489 §14.8: a code is 300 to 699, and the phrase must be shorter than 128 characters.
    if not 300 <= error.code <= 699 or len(error.reason) > 127:
        raise ValueError(f"code {error.code} with {len(error.reason)} characters; 300 to 699 and 127 are allowed")
    return struct.pack("!xxBB", *divmod(error.code, 100)) + error.reason.encode()


def _unpack_error(value: bytes, _transaction_id: bytes) -> ErrorCode:
    hundreds, rest = struct.unpack_from("!xxBB", value)
    # RFC 8489 §14.8: the class is 3 to 6, the number 0 to 99; the phrase is for people only, so broken UTF-8 is shown.
    if not 3 <= hundreds & 7 <= 6 or rest > 99:
        raise ValueError(f"code {hundreds & 7}/{rest}")
    return ErrorCode((hundreds & 7) * 100 + rest, value[4 : 4 + _READ_TEXT].decode(errors="replace"))


def _pack_address_error(error: AddressErrorCode) -> bytes:
    return struct.pack("!B", error.family) + _pack_error(ErrorCode(error.code, error.reason))[1:]


def _unpack_address_error(value: bytes, transaction_id: bytes) -> AddressErrorCode:
    code, reason = _unpack_error(value, transaction_id)
    return AddressErrorCode(value[0], code, reason)


def _unpack_types(value: bytes, _transaction_id: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{len(value) // 2}H", value)


def _pack_algorithms(algorithms: tuple[tuple[int, bytes], ...]) -> bytes:
    return b"".join(
        struct.pack("!HH", number, len(parameters)) + parameters + bytes(-len(parameters) & 3)
        for number, parameters in algorithms
    )


def _unpack_algorithms(value: bytes, _transaction_id: bytes) -> tuple[tuple[int, bytes], ...]:
    algorithms = []
    position = 0
    while position < len(value):
        number, length = struct.unpack_from("!HH", value, position)
        parameters = value[position + 4 : position + 4 + length]
        if len(parameters) != length:
            raise ValueError("parameters are cut off")
        algorithms.append((number, parameters))
        position += 4 + length + (-length & 3)
    return tuple(algorithms)


def _unpack_algorithm(value: bytes, transaction_id: bytes) -> tuple[int, bytes]:
    (algorithm,) = _unpack_algorithms(value, transaction_id)
    return algorithm


def _unpack_even_port(value: bytes, _transaction_id: bytes) -> bool:
    return bool(value[0] & 0x80)


_ICMP = struct.Struct("!xxH4s")


def _pack_icmp(icmp: Icmp) -> bytes:
    # RFC 8656 §18.13: seven bits of type, nine bits of code, then exactly four bytes.
    if not 0 <= icmp.type <= 127 or not 0 <= icmp.code <= 511 or len(icmp.data) != 4:
        raise ValueError("type 0 to 127, code 0 to 511 and 4 bytes of data are allowed")
    return _ICMP.pack(icmp.type << 9 | icmp.code, icmp.data)


def _unpack_icmp(value: bytes, _transaction_id: bytes) -> Icmp:
    number, data = _ICMP.unpack(value)
    return Icmp(number >> 9, number & 511, data)


# RFC 8489
MAPPED_ADDRESS: Final = _address(0x0001, "MAPPED-ADDRESS")
# 513 and not the 508 of RFC 8489 §14.3: a check carries two ufrags of up to 256 characters (RFC 8839 §5.4) and a colon.
USERNAME: Final = _text(0x0006, "USERNAME", 513)
MESSAGE_INTEGRITY: Final = _closing(0x0008, "MESSAGE-INTEGRITY")
ERROR_CODE: Final = Attribute(0x0009, "ERROR-CODE", _pack_error, _unpack_error)
UNKNOWN_ATTRIBUTES: Final = Attribute[tuple[int, ...]](
    0x000A, "UNKNOWN-ATTRIBUTES", lambda types: struct.pack(f"!{len(types)}H", *types), _unpack_types
)
# What a client sends in these two is what the server gave it: what can be read can be written.
REALM: Final = _text(0x0014, "REALM", _READ_TEXT)
NONCE: Final = _opaque(0x0015, "NONCE", 0, _READ_TEXT)
MESSAGE_INTEGRITY_SHA256: Final = _closing(0x001C, "MESSAGE-INTEGRITY-SHA256")
PASSWORD_ALGORITHM: Final = Attribute[tuple[int, bytes]](
    0x001D, "PASSWORD-ALGORITHM", lambda algorithm: _pack_algorithms((algorithm,)), _unpack_algorithm
)
USERHASH: Final = _opaque(0x001E, "USERHASH", 32, 32)
XOR_MAPPED_ADDRESS: Final = _xored(0x0020, "XOR-MAPPED-ADDRESS")
PASSWORD_ALGORITHMS: Final = Attribute(0x8002, "PASSWORD-ALGORITHMS", _pack_algorithms, _unpack_algorithms)
ALTERNATE_DOMAIN: Final = _text(0x8003, "ALTERNATE-DOMAIN", 255, 255)
SOFTWARE: Final = _text(0x8022, "SOFTWARE", _SENT_TEXT)
ALTERNATE_SERVER: Final = _address(0x8023, "ALTERNATE-SERVER")
FINGERPRINT: Final = _closing(0x8028, "FINGERPRINT")
# RFC 3489, still sent by old servers beside or instead of their successors
SOURCE_ADDRESS: Final = _address(0x0004, "SOURCE-ADDRESS")
CHANGED_ADDRESS: Final = _address(0x0005, "CHANGED-ADDRESS")
# RFC 8656
CHANNEL_NUMBER: Final = _u16_rffu(0x000C, "CHANNEL-NUMBER")
LIFETIME: Final = _u32(0x000D, "LIFETIME")
XOR_PEER_ADDRESS: Final = _xored(0x0012, "XOR-PEER-ADDRESS")
DATA: Final = _opaque(0x0013, "DATA", 0, 65535)
XOR_RELAYED_ADDRESS: Final = _xored(0x0016, "XOR-RELAYED-ADDRESS")
REQUESTED_ADDRESS_FAMILY: Final = _u8_rffu(0x0017, "REQUESTED-ADDRESS-FAMILY")
EVEN_PORT: Final = Attribute[bool](
    0x0018, "EVEN-PORT", lambda reserve: b"\x80" if reserve else b"\x00", _unpack_even_port
)
REQUESTED_TRANSPORT: Final = _u8_rffu(0x0019, "REQUESTED-TRANSPORT")
DONT_FRAGMENT: Final = _flag(0x001A, "DONT-FRAGMENT")
RESERVATION_TOKEN: Final = _opaque(0x0022, "RESERVATION-TOKEN", 8, 8)
ADDITIONAL_ADDRESS_FAMILY: Final = _u8_rffu(0x8000, "ADDITIONAL-ADDRESS-FAMILY")
ADDRESS_ERROR_CODE: Final = Attribute(0x8001, "ADDRESS-ERROR-CODE", _pack_address_error, _unpack_address_error)
ICMP: Final = Attribute(0x8004, "ICMP", _pack_icmp, _unpack_icmp)
# RFC 8445
PRIORITY: Final = _u32(0x0024, "PRIORITY")
USE_CANDIDATE: Final = _flag(0x0025, "USE-CANDIDATE")
# Not in an RFC: draft-thatcher-ice-renomination, as libwebrtc writes it. The later nomination has the larger number.
NOMINATION: Final = _u32(0xC001, "NOMINATION")
ICE_CONTROLLED: Final = _u64(0x8029, "ICE-CONTROLLED")
ICE_CONTROLLING: Final = _u64(0x802A, "ICE-CONTROLLING")
# RFC 5780
CHANGE_REQUEST: Final = Attribute[Change](
    0x0003, "CHANGE-REQUEST", _U32.pack, lambda value, _: Change(_U32.unpack(value)[0] & 6)
)
PADDING: Final = _opaque(0x0026, "PADDING", 0, 65535)
# Not in an RFC: makes a request longer. All ignore it, as they have to (RFC 8489 §14), and answer as always. PADDING is
# refused by who does not know it (420), and coturn, which does, answers with 1,500 bytes of it.
FILLER: Final = _opaque(0xFFF0, "FILLER", 0, 65535)
RESPONSE_PORT: Final = _u16_rffu(0x0027, "RESPONSE-PORT")
CACHE_TIMEOUT: Final = _u32(0x8027, "CACHE-TIMEOUT")
RESPONSE_ORIGIN: Final = _address(0x802B, "RESPONSE-ORIGIN")
OTHER_ADDRESS: Final = _address(0x802C, "OTHER-ADDRESS")
# RFC 6062 and RFC 8016
CONNECTION_ID: Final = _u32(0x002A, "CONNECTION-ID")
MOBILITY_TICKET: Final = _opaque(0x8030, "MOBILITY-TICKET", 0, 65535)
