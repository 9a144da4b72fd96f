from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.attributes import Item
from icekit.binding_response import is_usable, mapped_address, readable, without_fingerprint
from icekit.net import Address
from icekit.stun import Class, Message, Method, request, success

MAPPED, PLAIN = Address("198.51.100.2", 40_000), Address("192.0.2.7", 5000)
BROKEN = b"\xff"


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_which_addresses_can_be_sent_to(address: object, port: int) -> None:
    host = str(address)
    first = int(host.partition(".")[0])
    assert is_usable(Address(host, port)) == (port != 0 and first != 0 and not 224 <= first < 240)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((), None),
        ((attr.XOR_MAPPED_ADDRESS(MAPPED),), MAPPED),
        ((attr.MAPPED_ADDRESS(PLAIN),), PLAIN),
        ((attr.MAPPED_ADDRESS(PLAIN), attr.XOR_MAPPED_ADDRESS(MAPPED)), MAPPED),
        (((attr.XOR_MAPPED_ADDRESS.type, BROKEN), attr.MAPPED_ADDRESS(PLAIN)), PLAIN),
        ((attr.XOR_MAPPED_ADDRESS(MAPPED), (attr.MAPPED_ADDRESS.type, BROKEN)), MAPPED),
        (((attr.XOR_MAPPED_ADDRESS.type, BROKEN),), None),
        ((attr.XOR_MAPPED_ADDRESS(Address("198.51.100.2", 0)),), None),
        ((attr.XOR_MAPPED_ADDRESS(Address("0.0.0.0", 5000)),), None),
        ((attr.XOR_MAPPED_ADDRESS(Address("ff02::1", 5000)),), None),
    ],
)
def test_the_mapped_address(items: tuple[Item, ...], expected: Address | None) -> None:
    assert mapped_address(Message(1, Class.SUCCESS, bytes(12), items)) == expected


def test_what_cannot_be_read_is_not_there() -> None:
    message = Message(1, Class.SUCCESS, bytes(12), ((attr.OTHER_ADDRESS.type, BROKEN), attr.SOFTWARE("test")))
    assert (readable(message, attr.OTHER_ADDRESS), readable(message, attr.SOFTWARE)) == (None, "test")


def test_a_message_without_its_fingerprint() -> None:
    plain = success(request(Method.BINDING, bytes(12)), attr.MAPPED_ADDRESS(Address("192.0.2.1", 5)))
    data = plain.encode(fingerprint=True)
    for changed in (data, data[:-1] + bytes([data[-1] ^ 1])):
        message = without_fingerprint(changed)
        assert message is not None
        assert message.get(attr.MAPPED_ADDRESS) == Address("192.0.2.1", 5)
    assert without_fingerprint(data[:20]) is None


@given(st.binary(max_size=80), st.booleans())
def test_anything_without_its_fingerprint(rest: bytes, headed: bool) -> None:
    head = bytes.fromhex("0101") + len(rest).to_bytes(2) + bytes.fromhex("2112a442") + bytes(12)
    message = without_fingerprint(head + rest if headed else rest)
    assert message is None or message.transaction_id == bytes(12) or not headed
