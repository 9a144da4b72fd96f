"""What a Binding response says, read with care: the server may be old, careless or hostile."""

from __future__ import annotations

from typing import TypeVar

from icekit import attributes as attr
from icekit.attributes import Attribute
from icekit.errors import DecodeError
from icekit.net import Address, AddressClass, classify_host
from icekit.stun import Message, decode

T = TypeVar("T")

# Bytes of the header and of the attribute.
_HEADER, _FINGERPRINT = 20, 8


def readable(message: Message, attribute: Attribute[T]) -> T | None:
    """The value of an attribute; one that cannot be read is not there."""
    try:
        return message.get(attribute)
    except DecodeError:
        return None


def without_fingerprint(data: bytes) -> Message | None:
    """The message as if it had no FINGERPRINT: for one whose FINGERPRINT is wrong, to see what was changed in it."""
    if len(data) < _HEADER + _FINGERPRINT:
        return None
    length = (len(data) - _HEADER - _FINGERPRINT).to_bytes(2)
    try:
        return decode(data[:2] + length + data[4:-_FINGERPRINT])
    except DecodeError:
        return None


def is_usable(address: Address) -> bool:
    """Whether a server's word for an address names one that packets can be sent to."""
    return address.port != 0 and classify_host(address.host) not in (AddressClass.UNSPECIFIED, AddressClass.MULTICAST)


def mapped_address(response: Message) -> Address | None:
    """The mapped address, if it is usable; RFC 3489 servers have only the plain attribute (RFC 8489 §14.1)."""
    mapped = readable(response, attr.XOR_MAPPED_ADDRESS) or readable(response, attr.MAPPED_ADDRESS)
    return mapped if mapped is not None and is_usable(mapped) else None
