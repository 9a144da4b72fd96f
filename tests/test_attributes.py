"""Every attribute: what is written is read back, what does not fit is refused, any bytes are a value or DecodeError."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit import stun
from icekit.attributes import AddressErrorCode, Attribute, Change, ErrorCode, Icmp
from icekit.errors import ConfigError, DecodeError
from icekit.net import Address, canonical_host

TRANSACTION_ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")

addresses = st.builds(
    lambda host, port: Address(canonical_host(str(host)), port), st.ip_addresses(), st.integers(0, 65535)
)
u8 = st.integers(0, 255)
u16 = st.integers(0, 65535)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
yes = st.just(True)
codes = st.integers(300, 699)
phrases = st.text(st.characters(codec="utf-8"), max_size=127)
algorithms = st.tuples(u16, st.binary(max_size=20))


def text(limit: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8"), max_size=limit).filter(lambda value: len(value.encode()) <= limit)


VALUES: dict[Attribute[Any], st.SearchStrategy[Any]] = {
    attr.MAPPED_ADDRESS: addresses,
    attr.CHANGE_REQUEST: st.sampled_from([Change(0), Change.IP, Change.PORT, Change.IP | Change.PORT]),
    attr.SOURCE_ADDRESS: addresses,
    attr.CHANGED_ADDRESS: addresses,
    attr.USERNAME: text(513),
    attr.ERROR_CODE: st.builds(ErrorCode, codes, phrases),
    attr.UNKNOWN_ATTRIBUTES: st.lists(u16, max_size=50).map(tuple),
    attr.CHANNEL_NUMBER: u16,
    attr.LIFETIME: u32,
    attr.XOR_PEER_ADDRESS: addresses,
    attr.DATA: st.binary(max_size=1500),
    attr.REALM: text(763),
    attr.NONCE: st.binary(max_size=763),
    attr.XOR_RELAYED_ADDRESS: addresses,
    attr.REQUESTED_ADDRESS_FAMILY: u8,
    attr.EVEN_PORT: st.booleans(),
    attr.REQUESTED_TRANSPORT: u8,
    attr.DONT_FRAGMENT: yes,
    attr.PASSWORD_ALGORITHM: algorithms,
    attr.USERHASH: st.binary(min_size=32, max_size=32),
    attr.XOR_MAPPED_ADDRESS: addresses,
    attr.RESERVATION_TOKEN: st.binary(min_size=8, max_size=8),
    attr.PRIORITY: u32,
    attr.USE_CANDIDATE: yes,
    attr.PADDING: st.binary(max_size=1500),
    attr.FILLER: st.binary(max_size=1500),
    attr.RESPONSE_PORT: u16,
    attr.CONNECTION_ID: u32,
    attr.ADDITIONAL_ADDRESS_FAMILY: u8,
    attr.ADDRESS_ERROR_CODE: st.builds(AddressErrorCode, u8, codes, phrases),
    attr.PASSWORD_ALGORITHMS: st.lists(algorithms, max_size=5).map(tuple),
    attr.ALTERNATE_DOMAIN: text(255),
    attr.ICMP: st.builds(Icmp, st.integers(0, 127), st.integers(0, 511), st.binary(min_size=4, max_size=4)),
    attr.SOFTWARE: text(509),
    attr.ALTERNATE_SERVER: addresses,
    attr.CACHE_TIMEOUT: u32,
    attr.ICE_CONTROLLED: u64,
    attr.ICE_CONTROLLING: u64,
    attr.RESPONSE_ORIGIN: addresses,
    attr.OTHER_ADDRESS: addresses,
    attr.MOBILITY_TICKET: st.binary(max_size=500),
    attr.NOMINATION: u32,
}
CLOSING = (attr.MESSAGE_INTEGRITY, attr.MESSAGE_INTEGRITY_SHA256, attr.FINGERPRINT)

# Number and name as in the registry of IANA, which RFCs 8489, 8656, 8445, 5780, 6062 and 8016 (and 3489) filled.
REGISTRY = """
0001 MAPPED-ADDRESS          0003 CHANGE-REQUEST            0004 SOURCE-ADDRESS         0005 CHANGED-ADDRESS
0006 USERNAME                0008 MESSAGE-INTEGRITY         0009 ERROR-CODE             000A UNKNOWN-ATTRIBUTES
000C CHANNEL-NUMBER          000D LIFETIME                  0012 XOR-PEER-ADDRESS       0013 DATA
0014 REALM                   0015 NONCE                     0016 XOR-RELAYED-ADDRESS    0017 REQUESTED-ADDRESS-FAMILY
0018 EVEN-PORT               0019 REQUESTED-TRANSPORT       001A DONT-FRAGMENT          001C MESSAGE-INTEGRITY-SHA256
001D PASSWORD-ALGORITHM      001E USERHASH                  0020 XOR-MAPPED-ADDRESS     0022 RESERVATION-TOKEN
0024 PRIORITY                0025 USE-CANDIDATE             0026 PADDING                0027 RESPONSE-PORT
002A CONNECTION-ID           8000 ADDITIONAL-ADDRESS-FAMILY 8001 ADDRESS-ERROR-CODE     8002 PASSWORD-ALGORITHMS
8003 ALTERNATE-DOMAIN        8004 ICMP                      8022 SOFTWARE               8023 ALTERNATE-SERVER
8027 CACHE-TIMEOUT           8028 FINGERPRINT               8029 ICE-CONTROLLED         802A ICE-CONTROLLING
802B RESPONSE-ORIGIN         802C OTHER-ADDRESS             8030 MOBILITY-TICKET
"""
# Not there: the number that libwebrtc takes for a draft (draft-thatcher-ice-renomination), and one that nobody reads.
DRAFTS = """C001 NOMINATION  FFF0 FILLER"""


def test_numbers_and_names_are_those_of_the_registry() -> None:
    words = (REGISTRY + DRAFTS).split()
    assert {number: item.name for number, item in attr.BY_TYPE.items()} == {
        int(number, 16): name for number, name in zip(words[::2], words[1::2], strict=True)
    }
    for item in attr.BY_TYPE.values():
        assert getattr(attr, item.name.replace("-", "_")) is item
        assert repr(item) == item.name


def test_every_attribute_has_values_here() -> None:
    assert {item.type for item in (*VALUES, *CLOSING)} == set(attr.BY_TYPE)


@pytest.mark.parametrize("attribute", VALUES, ids=repr)
@given(data=st.data(), transaction_id=st.binary(min_size=12, max_size=12))
@settings(max_examples=25)
def test_round_trip(attribute: Attribute[Any], data: st.DataObject, transaction_id: bytes) -> None:
    values = data.draw(st.lists(VALUES[attribute], min_size=1, max_size=2))
    message = stun.request(stun.Method.BINDING, transaction_id, *[attribute(value) for value in values])
    decoded = stun.decode(message.encode())
    assert decoded == message
    assert decoded.get(attribute) == values[0]
    assert decoded.all(attribute) == values
    assert decoded.has(attribute)
    assert not decoded.unknown_required()


@pytest.mark.parametrize("attribute", attr.BY_TYPE.values(), ids=repr)
@given(value=st.binary(max_size=40))
@settings(max_examples=50)
def test_any_bytes_are_a_value_or_decode_error(attribute: Attribute[Any], value: bytes) -> None:
    with suppress(DecodeError):
        attribute.decode(value, TRANSACTION_ID)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (attr.PRIORITY, b"\0\0\0"),
        (attr.PRIORITY, b"\0\0\0\0\0"),
        (attr.ICE_CONTROLLED, b"\0" * 7),
        (attr.CHANNEL_NUMBER, b"\x40\0"),
        (attr.REQUESTED_TRANSPORT, b"\x11"),
        (attr.USERNAME, b"\xff\xfe"),
        (attr.USERNAME, b"a" * 764),
        (attr.SOFTWARE, b"a" * 764),
        (attr.ALTERNATE_DOMAIN, b"a" * 256),
        (attr.NONCE, b"a" * 764),
        (attr.USERHASH, b"a" * 31),
        (attr.RESERVATION_TOKEN, b"a" * 9),
        (attr.USE_CANDIDATE, b"\0"),
        (attr.EVEN_PORT, b""),
        (attr.UNKNOWN_ATTRIBUTES, b"\0\x24\0"),
        (attr.ERROR_CODE, b"\0\0\x04"),
        (attr.ERROR_CODE, b"\0\0\x02\x00"),
        (attr.ERROR_CODE, b"\0\0\x07\x00"),
        (attr.ERROR_CODE, b"\0\0\x04\x64"),
        (attr.ADDRESS_ERROR_CODE, b"\x02\0\x04"),
        (attr.ICMP, b"\0\0\6\4\0\0\5"),
        (attr.MAPPED_ADDRESS, b""),
        (attr.MAPPED_ADDRESS, b"\0\3" + b"\0" * 6),
        (attr.MAPPED_ADDRESS, b"\0\2" + b"\0" * 6),
        (attr.MAPPED_ADDRESS, b"\0\1" + b"\0" * 18),
        (attr.XOR_MAPPED_ADDRESS, b""),
        (attr.XOR_MAPPED_ADDRESS, b"\0\2" + b"\0" * 6),
        (attr.XOR_MAPPED_ADDRESS, b"\0\1" + b"\0" * 18),
        (attr.XOR_MAPPED_ADDRESS, b"\0\1" + b"\0" * 5),
        (attr.PASSWORD_ALGORITHMS, b"\0\1\0"),
        (attr.PASSWORD_ALGORITHMS, b"\0\1\0\4abc"),
        (attr.PASSWORD_ALGORITHM, b""),
        (attr.PASSWORD_ALGORITHM, b"\0\1\0\0\0\2\0\0"),
    ],
)
def test_malformed_values(attribute: Attribute[Any], value: bytes) -> None:
    item = (attribute.type, value)
    message = stun.decode(stun.request(stun.Method.BINDING, TRANSACTION_ID, item).encode())
    with pytest.raises(DecodeError, match=attribute.name):
        message.get(attribute)
    with pytest.raises(DecodeError, match=attribute.name):
        message.all(attribute)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (attr.PRIORITY, -1),
        (attr.PRIORITY, 2**32),
        (attr.PRIORITY, "1"),
        (attr.PRIORITY, None),
        (attr.ICE_CONTROLLING, 2**64),
        (attr.CHANNEL_NUMBER, 65536),
        (attr.REQUESTED_TRANSPORT, 256),
        (attr.CHANGE_REQUEST, -1),
        (attr.USERNAME, "x" * 514),
        (attr.USERNAME, "\ud800"),
        (attr.USERNAME, b"x"),
        (attr.REALM, "é" * 382),
        (attr.SOFTWARE, "x" * 510),
        (attr.ALTERNATE_DOMAIN, "x" * 256),
        (attr.NONCE, b"x" * 764),
        (attr.NONCE, "text"),
        (attr.DATA, b"x" * 65536),
        (attr.DATA, 5),
        (attr.USERHASH, b"x" * 33),
        (attr.RESERVATION_TOKEN, b""),
        (attr.ERROR_CODE, ErrorCode(299, "")),
        (attr.ERROR_CODE, ErrorCode(700, "")),
        (attr.ERROR_CODE, ErrorCode(400, "x" * 128)),
        (attr.ERROR_CODE, ErrorCode(400, "\ud800")),
        (attr.ERROR_CODE, 400),
        (attr.ADDRESS_ERROR_CODE, AddressErrorCode(256, 440, "")),
        (attr.ADDRESS_ERROR_CODE, AddressErrorCode(2, 1440, "")),
        (attr.UNKNOWN_ATTRIBUTES, (65536,)),
        (attr.PASSWORD_ALGORITHMS, ((65536, b""),)),
        (attr.PASSWORD_ALGORITHMS, ((1, b"x" * 65536),)),
        (attr.PASSWORD_ALGORITHM, (1, "x")),
        (attr.ICMP, Icmp(128, 0, bytes(4))),
        (attr.ICMP, Icmp(3, 512, bytes(4))),
        (attr.ICMP, Icmp(3, 4, b"")),
        (attr.USE_CANDIDATE, False),
        (attr.DONT_FRAGMENT, False),
        (attr.MAPPED_ADDRESS, Address("example.org", 1)),
        (attr.MAPPED_ADDRESS, Address("::", 65536)),
        (attr.MAPPED_ADDRESS, None),
        (attr.MESSAGE_INTEGRITY, bytes(20)),
        (attr.MESSAGE_INTEGRITY_SHA256, bytes(32)),
        (attr.FINGERPRINT, bytes(4)),
    ],
)
def test_what_does_not_fit_is_refused(attribute: Attribute[Any], value: object) -> None:
    with pytest.raises(ConfigError, match=attribute.name):
        attribute(value)


@pytest.mark.parametrize(
    "address",
    [
        Address("1.2.3", 1),
        Address("1.2.3.4.5", 1),
        Address("1.2.3.256", 1),
        Address("1.2.3.-4", 1),
        Address("1.2.3.+4", 1),
        Address("1.2.3.04", 1),
        Address("1.2.3.٤", 1),
        Address("1.2.3.4", -1),
        Address("1.2.3.4", 65536),
        Address("example.org", 1),
        Address("", 1),
        Address("1::2::3", 1),
        Address("::1", 65536),
        Address("::1", -1),
        None,
    ],
)
def test_what_is_no_address_is_refused(address: Address) -> None:
    with pytest.raises(ConfigError, match="is not an IP address and a port"):
        stun.request(stun.Method.BINDING, TRANSACTION_ID, attr.XOR_MAPPED_ADDRESS(address))


@pytest.mark.parametrize("attribute", [attr.MAPPED_ADDRESS, attr.XOR_MAPPED_ADDRESS], ids=repr)
def test_zone_is_not_sent_and_mapped_ipv4_reads_as_ipv4(attribute: Attribute[Address]) -> None:
    items = attribute(Address("fe80::1%eth0", 7)), attribute(Address("::ffff:192.0.2.1", 8))
    message = stun.decode(stun.request(stun.Method.BINDING, TRANSACTION_ID, *items).encode())
    assert message.all(attribute) == [Address("fe80::1", 7), Address("192.0.2.1", 8)]


@given(host=st.ip_addresses(v=6), port=u16, transaction_id=st.binary(min_size=12, max_size=12))
def test_xor_of_ipv6_is_cookie_and_transaction_id(
    host: ipaddress.IPv6Address, port: int, transaction_id: bytes
) -> None:
    mask = bytes.fromhex("2112a442") + transaction_id
    expected = b"\0\2" + (port ^ 0x2112).to_bytes(2) + bytes(a ^ b for a, b in zip(host.packed, mask, strict=True))
    assert attr.xor_address(Address(str(host), port), transaction_id) == expected


@pytest.mark.parametrize(
    ("attribute", "value", "wire"),
    [
        (attr.MAPPED_ADDRESS, Address("192.0.2.1", 32853), "00018055c0000201"),
        (attr.CHANGE_REQUEST, Change.IP | Change.PORT, "00000006"),
        (attr.ERROR_CODE, ErrorCode(487, "Role Conflict"), "00000457" + b"Role Conflict".hex()),
        (attr.UNKNOWN_ATTRIBUTES, (0x24, 0x7FFF), "00247fff"),
        (attr.CHANNEL_NUMBER, 0x4001, "40010000"),
        (attr.REQUESTED_TRANSPORT, 17, "11000000"),
        (attr.REQUESTED_ADDRESS_FAMILY, attr.Family.IPV6, "02000000"),
        (attr.ADDITIONAL_ADDRESS_FAMILY, attr.Family.IPV6, "02000000"),
        (attr.ADDRESS_ERROR_CODE, AddressErrorCode(2, 440, "no"), "020004286e6f"),
        (attr.EVEN_PORT, True, "80"),
        (attr.EVEN_PORT, False, "00"),
        (attr.ICMP, Icmp(3, 4, (1400).to_bytes(4)), "0000060400000578"),
        (attr.PASSWORD_ALGORITHMS, ((2, b""), (9, b"abc")), "000200000009000361626300"),
        (attr.PASSWORD_ALGORITHM, (2, b""), "00020000"),
        (attr.RESPONSE_PORT, 50000, "c3500000"),
        (attr.USE_CANDIDATE, True, ""),
        (attr.PRIORITY, 0x6E0001FF, "6e0001ff"),
    ],
)
def test_wire_form(attribute: Attribute[Any], value: object, wire: str) -> None:
    assert attribute(value) == (attribute.type, bytes.fromhex(wire))


def test_reserved_bits_are_ignored() -> None:
    assert attr.ERROR_CODE.decode(b"\xff\xff\xfc\x01?", TRANSACTION_ID) == ErrorCode(401, "?")
    assert attr.CHANGE_REQUEST.decode(b"\xff\xff\xff\xf9", TRANSACTION_ID) == Change(0)
    assert attr.REQUESTED_TRANSPORT.decode(b"\x11\xff\xff\xff", TRANSACTION_ID) == 17
    assert attr.EVEN_PORT.decode(b"\x7f", TRANSACTION_ID) is False
    assert attr.ICMP.decode(b"\xff\xff\x06\x04abcd", TRANSACTION_ID) == Icmp(3, 4, b"abcd")
    assert attr.MAPPED_ADDRESS.decode(b"\xff\1\0\1\1\2\3\4", TRANSACTION_ID) == Address("1.2.3.4", 1)


def test_broken_reason_phrase_is_shown_and_long_one_cut() -> None:
    assert attr.ERROR_CODE.decode(b"\0\0\4\1a\xff", TRANSACTION_ID) == ErrorCode(401, "a\ufffd")
    assert len(attr.ERROR_CODE.decode(b"\0\0\4\1" + b"a" * 5000, TRANSACTION_ID).reason) == 763
