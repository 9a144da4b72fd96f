"""The STUN codec against published vectors, against aioice, and against bytes that nobody should send."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from itertools import pairwise
from time import process_time
from typing import Any
from zlib import crc32

import aioice.stun
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit import stun
from icekit.attributes import ErrorCode, Item, PasswordAlgorithm
from icekit.errors import ConfigError, DecodeError
from icekit.net import Address
from icekit.stun import Class, Integrity, Message, Method, SecurityFeatures

ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")
LONG_TERM_ID = bytes.fromhex("78ad3433c6ad72c029da412e")
PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
KEY = stun.short_term_key(PASSWORD)
MATRIX = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
# RFC 5769 §2.4 prepares its password by SASLprep; this is the result, which OpaqueString leaves as it is.
MATRIX_PASSWORD = "TheMatrIX"

# RFC 5769 §2.1–2.4
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
# RFC 8489 Appendix B.1 with erratum 6268
SHA256 = bytes.fromhex(
    "000100902112a44278ad3433c6ad72c029da412e"
    "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39465354767936347341000000"
    "0014000b6578616d706c652e6f726700"
    "001d000400020000"
    "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"
)
VECTORS = {"request": REQUEST, "IPv4": RESPONSE_IPV4, "IPv6": RESPONSE_IPV6, "long-term": LONG_TERM, "SHA-256": SHA256}


def key_of(data: bytes) -> stun.IntegrityKey:
    if data is LONG_TERM:
        return stun.long_term_key(MATRIX, "example.org", MATRIX_PASSWORD)
    if data is SHA256:
        return stun.long_term_key(MATRIX, "example.org", MATRIX_PASSWORD, PasswordAlgorithm.SHA256, Integrity.SHA256)
    return KEY


def raw(kind: int, *attributes: tuple[int, bytes], transaction_id: bytes = ID) -> bytes:
    """A message from its parts, padded, without any of the codec."""
    body = b"".join(
        number.to_bytes(2) + len(value).to_bytes(2) + value + bytes(-len(value) % 4) for number, value in attributes
    )
    return kind.to_bytes(2) + len(body).to_bytes(2) + bytes.fromhex("2112a442") + transaction_id + body


def sign(data: bytes, number: int, secret: bytes, size: int | None = None) -> bytes:
    """``data`` with one more integrity attribute, by the standard library's HMAC."""
    name = "sha1" if number == 0x0008 else "sha256"
    size = size or hashlib.new(name).digest_size
    length = (len(data) - 20 + 4 + size).to_bytes(2)
    data = data[:2] + length + data[4:]
    return data + number.to_bytes(2) + size.to_bytes(2) + hmac.digest(secret, data, name)[:size]


def append(data: bytes, number: int, value: bytes) -> bytes:
    """``data`` with one more attribute whose length is a multiple of four."""
    return (
        data[:2]
        + (len(data) - 16 + len(value)).to_bytes(2)
        + data[4:]
        + number.to_bytes(2)
        + len(value).to_bytes(2)
        + value
    )


# Vectors


@pytest.mark.parametrize("data", VECTORS.values(), ids=VECTORS)
def test_vector_verifies_and_writes_the_same_attributes(data: bytes) -> None:
    message = stun.decode(data)
    key = key_of(data)
    assert message.verify(key)
    assert message.has_integrity()
    assert not message.verify(stun.short_term_key("another"))
    again = stun.decode(message.encode(key, fingerprint=True))
    assert again == message
    assert again.verify(key)


@pytest.mark.parametrize("data", [LONG_TERM, SHA256], ids=["long-term", "SHA-256"])
def test_vector_with_zero_padding_is_written_byte_for_byte(data: bytes) -> None:
    assert stun.decode(data).encode(key_of(data)) == data


def test_values_of_the_request() -> None:
    message = stun.decode(REQUEST)
    assert (message.method, message.message_class, message.transaction_id) == (Method.BINDING, Class.REQUEST, ID)
    assert message.get(attr.SOFTWARE) == "STUN test client"
    assert message.get(attr.PRIORITY) == 0x6E0001FF
    assert message.get(attr.ICE_CONTROLLED) == 0x932FF9B151263B36
    assert message.get(attr.USERNAME) == "evtj:h6vY"
    assert message.get(attr.ICE_CONTROLLING) is None
    assert len(message.attributes) == 4


@pytest.mark.parametrize(
    ("data", "host"), [(RESPONSE_IPV4, "192.0.2.1"), (RESPONSE_IPV6, "2001:db8:1234:5678:11:2233:4455:6677")]
)
def test_values_of_the_responses(data: bytes, host: str) -> None:
    message = stun.decode(data)
    assert (message.method, message.message_class) == (Method.BINDING, Class.SUCCESS)
    assert message.get(attr.SOFTWARE) == "test vector"
    assert message.get(attr.XOR_MAPPED_ADDRESS) == Address(host, 32853)


def test_values_of_the_long_term_request() -> None:
    message = stun.decode(LONG_TERM)
    assert message.get(attr.USERNAME) == MATRIX
    assert message.get(attr.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    assert message.get(attr.REALM) == "example.org"
    items = attr.USERNAME(MATRIX), attr.NONCE(b"f//499k954d6OL34oL9FSTvy64sA"), attr.REALM("example.org")
    assert stun.request(Method.BINDING, LONG_TERM_ID, *items).encode(key_of(LONG_TERM)) == LONG_TERM


def test_values_of_the_sha256_request() -> None:
    message = stun.decode(SHA256)
    assert message.get(attr.USERHASH) == stun.userhash(MATRIX, "example.org")
    assert message.get(attr.NONCE) == b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"
    assert message.get(attr.REALM) == "example.org"
    assert message.get(attr.PASSWORD_ALGORITHM) == (PasswordAlgorithm.SHA256, b"")
    assert not message.verify(stun.long_term_key(MATRIX, "example.org", MATRIX_PASSWORD, PasswordAlgorithm.SHA256))


def test_long_term_key_of_the_rfc() -> None:
    # RFC 8489 §9.2.2 gives the MD5 of user:realm:pass.
    key = stun.long_term_key("user", "realm", "pass")
    secret = bytes.fromhex("8493fbc53ba582fb4c044c456bdc40eb")
    assert key.digest(b"x") == hmac.digest(secret, b"x", "sha1")


# Integrity and fingerprint


@pytest.mark.parametrize("data", VECTORS.values(), ids=VECTORS)
def test_every_bit_counts(data: bytes) -> None:
    key = key_of(data)
    size = {"SHA1": 20, "SHA256": 32}[key.integrity.name]
    protected = data.index(bytes([0, key.integrity, 0, size])) + 4 + size
    for position in range(protected):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with suppress(DecodeError):
                assert not stun.decode(bytes(flipped)).verify(key), (position, bit)


def test_every_bit_counts_for_the_fingerprint() -> None:
    # A wrong length can hide the fingerprint in another attribute, and a wrong number makes it another attribute.
    lengths = {22, 23, 42, 43, 50, 51, 62, 63, 78, 79}
    number = {100, 101}
    for position in range(len(REQUEST)):
        for bit in range(8):
            flipped = bytearray(REQUEST)
            flipped[position] ^= 1 << bit
            try:
                message = stun.decode(bytes(flipped))
            except DecodeError:
                continue
            assert position in lengths | number, (position, bit)
            assert message.verify(KEY) == (position in number)


@given(secret=st.binary(max_size=200), data=st.binary(max_size=300))
@example(secret=b"x" * 64, data=b"")
@example(secret=b"x" * 65, data=b"")
def test_hmac_is_that_of_the_standard_library(secret: bytes, data: bytes) -> None:
    assert stun.IntegrityKey(secret).digest(data) == hmac.digest(secret, data, "sha1")
    assert stun.IntegrityKey(secret, Integrity.SHA256).digest(data) == hmac.digest(secret, data, "sha256")


def test_keys_do_not_show_their_secret() -> None:
    key = stun.short_term_key("hunter2secret")
    assert repr(key) == "IntegrityKey(SHA1)"
    assert not any("hunter2" in str(getattr(key, slot)) for slot in key.__slots__)


def test_absent_integrity_never_verifies() -> None:
    message = stun.request(Method.BINDING, ID, attr.PRIORITY(1))
    assert not message.verify(KEY)
    decoded = stun.decode(message.encode(fingerprint=True))
    assert not decoded.has_integrity()
    assert not decoded.verify(KEY)


def test_integrity_of_the_other_kind_does_not_verify() -> None:
    strong = stun.short_term_key(PASSWORD, Integrity.SHA256)
    message = stun.request(Method.BINDING, ID)
    assert not stun.decode(message.encode(KEY)).verify(strong)
    assert not stun.decode(message.encode(strong)).verify(KEY)
    assert stun.decode(message.encode(strong)).verify(strong)


def test_both_integrity_attributes() -> None:
    strong = stun.short_term_key(PASSWORD, Integrity.SHA256)
    data = sign(sign(raw(1, (0x0024, bytes(4))), 0x0008, PASSWORD.encode()), 0x001C, PASSWORD.encode())
    message = stun.decode(data)
    assert message.verify(KEY)
    assert message.verify(strong)
    # SHA-256 first: what follows it is ignored, MESSAGE-INTEGRITY too (RFC 8489 §9).
    data = sign(sign(raw(1), 0x001C, PASSWORD.encode()), 0x0008, PASSWORD.encode())
    message = stun.decode(data)
    assert message.verify(strong)
    assert not message.verify(KEY)


@pytest.mark.parametrize("number", [0x0008, 0x001C])
def test_only_the_first_integrity_attribute_counts(number: int) -> None:
    key = stun.short_term_key(PASSWORD, Integrity(number))
    wrong = sign(raw(1), number, b"wrong")
    assert not stun.decode(sign(wrong, number, PASSWORD.encode())).verify(key)
    right = sign(sign(raw(1), number, PASSWORD.encode()), number, b"wrong")
    assert stun.decode(right).verify(key)
    assert stun.decode(sign(right, 0x001C, PASSWORD.encode())).verify(key)


def test_a_second_weak_attribute_does_not_hide_the_strong_one() -> None:
    data = sign(sign(sign(raw(1), 0x0008, b"wrong"), 0x0008, b"wrong"), 0x001C, PASSWORD.encode())
    assert stun.decode(data).verify(stun.short_term_key(PASSWORD, Integrity.SHA256))


@pytest.mark.parametrize("size", [16, 20, 24, 28])
def test_truncated_sha256_is_read_and_does_not_verify(size: int) -> None:
    key = stun.short_term_key(PASSWORD, Integrity.SHA256)
    assert stun.decode(sign(raw(1), 0x001C, PASSWORD.encode())).verify(key)
    message = stun.decode(sign(raw(1), 0x001C, PASSWORD.encode(), size))
    assert message.has_integrity()
    assert not message.verify(key)
    # Nor when the header already counts the 32 bytes that are not there.
    full = sign(raw(1), 0x001C, PASSWORD.encode())
    assert not stun.decode(raw(1, (0x001C, full[24 : 24 + size]))).verify(key)


@pytest.mark.parametrize(
    ("number", "size"),
    [(0x0008, 0), (0x0008, 19), (0x0008, 24), (0x001C, 0), (0x001C, 12), (0x001C, 18), (0x001C, 36)],
)
def test_integrity_of_impossible_length(number: int, size: int) -> None:
    with pytest.raises(DecodeError, match="integrity"):
        stun.decode(raw(1, (number, bytes(size))))


def test_what_follows_the_integrity_is_ignored() -> None:
    data = stun.request(Method.BINDING, ID, attr.PRIORITY(1)).encode(KEY)
    message = stun.decode(append(append(data, 0x0025, b""), 0x7FFF, b"evil"))
    assert message.verify(KEY)
    assert not message.has(attr.USE_CANDIDATE)
    assert message.unknown_required() == ()
    # Between the two integrity attributes as well.
    message = stun.decode(sign(append(data, 0x0025, b""), 0x001C, PASSWORD.encode()))
    assert message.verify(stun.short_term_key(PASSWORD, Integrity.SHA256))
    assert not message.has(attr.USE_CANDIDATE)


def test_fingerprint_must_be_last_and_right() -> None:
    data = stun.request(Method.BINDING, ID).encode(fingerprint=True)
    assert stun.decode(data).attributes == ()
    with pytest.raises(DecodeError, match="FINGERPRINT is wrong"):
        stun.decode(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DecodeError, match="FINGERPRINT is not a last"):
        stun.decode(append(data, 0x0025, b""))
    with pytest.raises(DecodeError, match="FINGERPRINT is not a last"):
        stun.decode(raw(1, (0x8028, bytes(8))))
    with pytest.raises(DecodeError, match="FINGERPRINT is not a last"):
        stun.decode(raw(1, (0x8028, bytes(3))))
    assert int.from_bytes(data[-4:]) == crc32(data[:-8]) ^ 0x5354554E


# What is a message


@given(st.binary(max_size=200))
@example(b"")
@example(REQUEST)
@settings(max_examples=500)
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    with suppress(DecodeError):
        read_everything(stun.decode(data))
    with suppress(DecodeError):
        stun.ChannelData.decode(data)
    with suppress(DecodeError):
        stun.StreamDecoder().feed(data)


@given(
    kind=st.integers(0, 0x3FF),
    parts=st.lists(
        st.tuples(st.one_of(st.sampled_from(sorted(attr.BY_TYPE)), st.integers(0, 65535)), st.binary(max_size=36)),
        max_size=8,
    ),
)
@settings(max_examples=500)
def test_any_attributes_decode_or_raise_decode_error(kind: int, parts: list[tuple[int, bytes]]) -> None:
    with suppress(DecodeError):
        read_everything(stun.decode(raw(kind, *parts)))


@given(data=st.sampled_from(sorted(VECTORS.values())), cut=st.integers(0, 160), junk=st.binary(max_size=8))
def test_mutilated_vectors(data: bytes, cut: int, junk: bytes) -> None:
    broken = data[:cut] + junk + data[cut + len(junk) :]
    with suppress(DecodeError):
        read_everything(stun.decode(broken))
    if cut < len(data):
        with pytest.raises(DecodeError):
            stun.decode(data[:cut])


def read_everything(message: Message) -> None:
    for attribute in attr.BY_TYPE.values():
        for read in (message.get, message.all, message.has):
            with suppress(DecodeError):
                read(attribute)  # type: ignore[operator]
    message.verify(KEY)
    message.error()
    message.unknown_required()
    repr(message)
    assert message == stun.decode(message.encode())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a STUN message"),
        (REQUEST[:19], "not a STUN message"),
        (REQUEST[:-4], "not a STUN message"),
        (REQUEST + bytes(4), "not a STUN message"),
        (b"\x40" + REQUEST[1:], "not a STUN message"),
        (b"\x80" + REQUEST[1:], "not a STUN message"),
        (REQUEST[:4] + b"\x21\x12\xa4\x43" + REQUEST[8:], "not a STUN message"),
        (raw(1)[:2] + b"\0\1" + raw(1)[4:] + b"\0", "not a STUN message"),
        (raw(1)[:2] + b"\0\4" + raw(1)[4:] + b"\0\x24\0\4", "attribute 0x0024 at byte 20: 4 bytes do not fit"),
        (raw(1)[:2] + b"\0\4" + raw(1)[4:] + b"\0\x24\0\1", "attribute 0x0024 at byte 20: 1 bytes do not fit"),
        (raw(1)[:2] + b"\0\4" + raw(1)[4:] + b"\0\x24\xff\xff", "attribute 0x0024 at byte 20: 65535 bytes do not fit"),
    ],
)
def test_what_is_no_message(data: bytes, what: str) -> None:
    with pytest.raises(DecodeError, match=what):
        stun.decode(data)


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_first_byte_of_stun(first: int) -> None:
    assert stun.is_stun(raw(first << 8 | 1))


@given(first=st.integers(4, 255), rest=st.binary(min_size=19, max_size=60))
def test_other_first_bytes_are_not_stun(first: int, rest: bytes) -> None:
    assert not stun.is_stun(bytes([first]) + rest)
    # Not even when everything behind the first byte is that of a STUN message (RFC 7983 §7).
    assert not stun.is_stun(bytes([first]) + REQUEST[1:])


@pytest.mark.parametrize(
    "data",
    [
        # RTP whose sequence number is its length less 20, which others take for STUN.
        bytes.fromhex("80000058") + bytes(104),
        bytes.fromhex("80c80006000000550000000000000000000000000000000000000000"),
        bytes.fromhex("16feff0000000000000000") + bytes(100),
        bytes.fromhex("17fefd00010000000000010020") + bytes(32),
        stun.ChannelData(0x4000, REQUEST).encode(padded=True),
        b"\x10\x00\x12\x34ZRTP" + bytes(40),
        b"\x00\x01\x00\x00" + bytes(16),
        b"\x00",
    ],
    ids=["RTP", "RTCP", "DTLS handshake", "DTLS data", "ChannelData", "ZRTP", "RFC 3489", "keepalive"],
)
def test_other_protocols_are_not_stun(data: bytes) -> None:
    assert not stun.is_stun(data)
    with pytest.raises(DecodeError):
        stun.decode(data)


# Messages


@pytest.mark.parametrize("method", range(0x100))
def test_method_and_class_bits(method: int) -> None:
    for message_class in Class:
        data = Message(method, message_class, ID).encode()
        # aioice has the mixed bits as well, for the methods that it knows.
        if method in aioice.stun.Method._value2member_map_:
            theirs = aioice.stun.parse_message(data)
            assert (theirs.message_method, theirs.message_class) == (method, message_class)
        message = stun.decode(data)
        assert (message.method, message.message_class) == (method, message_class)
        assert isinstance(message.method, Method) == (method in Method._value2member_map_)


@pytest.mark.parametrize(("method", "transaction_id"), [(-1, ID), (0x100, ID), (1, b""), (1, ID + b"x"), (1, ID[:11])])
def test_impossible_header(method: int, transaction_id: bytes) -> None:
    with pytest.raises(ConfigError, match="transaction ID"):
        Message(method, Class.REQUEST, transaction_id)


def test_unknown_attributes_are_kept_and_listed() -> None:
    items: tuple[Item, ...] = ((0x7FFF, b"abc"), attr.PRIORITY(7), (0xFFFF, b""), (0x0002, b"x"), (0x7FFF, b"2"))
    message = stun.decode(stun.request(Method.BINDING, ID, *items).encode(KEY, fingerprint=True))
    assert message.attributes == items
    assert stun.decode(message.encode()).attributes == items
    assert message.unknown_required() == (0x7FFF, 0x0002)
    answer = stun.failure(message, 420, attr.UNKNOWN_ATTRIBUTES(message.unknown_required()))
    answer = stun.decode(answer.encode())
    assert answer.error() == ErrorCode(420, "Unknown Attribute")
    assert answer.get(attr.UNKNOWN_ATTRIBUTES) == (0x7FFF, 0x0002)


def test_first_of_duplicates_counts() -> None:
    message = stun.decode(stun.request(Method.BINDING, ID, attr.LIFETIME(1), attr.LIFETIME(2)).encode())
    assert message.get(attr.LIFETIME) == 1
    assert message.all(attr.LIFETIME) == [1, 2]
    assert message.all(attr.PRIORITY) == []


def test_an_answer_has_method_and_identifier_of_its_request() -> None:
    asked = stun.request(Method.ALLOCATE, ID)
    answer = stun.success(asked, attr.LIFETIME(600))
    assert (answer.method, answer.message_class, answer.transaction_id) == (Method.ALLOCATE, Class.SUCCESS, ID)
    refusal = stun.failure(asked, 486)
    assert (refusal.method, refusal.message_class, refusal.transaction_id) == (Method.ALLOCATE, Class.ERROR, ID)
    assert refusal.error() == ErrorCode(486, "Allocation Quota Reached")
    assert stun.failure(asked, 600, reason="own words").error() == ErrorCode(600, "own words")
    assert stun.failure(asked, 600).error() == ErrorCode(600, "Error")
    assert stun.indication(Method.SEND, ID).message_class is Class.INDICATION


def test_error_response_without_a_readable_code_is_500() -> None:
    message = stun.decode(raw(0x0111))
    assert message.error() == ErrorCode(500, "error response without ERROR-CODE")
    message = stun.decode(raw(0x0111, (0x0009, b"\0\0\x09\0")))
    assert message.error() == ErrorCode(500, "ERROR-CODE: code 1/0 (value of 4 bytes)")


def test_equality_and_text() -> None:
    one = stun.request(Method.BINDING, ID, attr.PRIORITY(1))
    assert one == stun.decode(one.encode(KEY))
    assert hash(one) == hash(stun.decode(one.encode()))
    assert one != stun.request(Method.BINDING, ID, attr.PRIORITY(2))
    assert one != "text"
    assert repr(one) == "<BINDING REQUEST b7e7a701bc34d686fa87dfae [PRIORITY]>"
    other = Message(0x55, Class.INDICATION, ID, ((0x7FFF, b""),))
    assert repr(other) == "<0x055 INDICATION b7e7a701bc34d686fa87dfae [0x7fff]>"


def test_too_much_for_a_message() -> None:
    data = attr.DATA(bytes(30000))
    assert stun.decode(stun.request(Method.SEND, ID, data, data).encode(KEY, fingerprint=True)).verify(KEY)
    with pytest.raises(ConfigError, match="90012 bytes of attributes, at most 65488 fit"):
        stun.request(Method.SEND, ID, data, data, data).encode()
    with pytest.raises(ConfigError, match="65535"):
        stun.request(Method.SEND, ID, (0x0013, bytes(70000))).encode()
    with pytest.raises(ConfigError, match="65535"):
        stun.request(Method.SEND, ID, (0x10000, b"")).encode()


def test_the_largest_message_with_everything() -> None:
    key = stun.short_term_key(PASSWORD, Integrity.SHA256)
    data = stun.request(Method.SEND, ID, attr.DATA(bytes(stun.MAX_BODY - 4))).encode(key, fingerprint=True)
    assert len(data) == 65552
    assert stun.decode(data).verify(key)


def test_sixteen_thousand_attributes_cost_little() -> None:
    data = raw(1, *[(0x7FFF - number % 3, b"") for number in range(16000)])
    start = process_time()
    message = stun.decode(data)
    assert message.unknown_required() == (0x7FFF, 0x7FFE, 0x7FFD)
    assert message.get(attr.PRIORITY) is None
    assert stun.decode(message.encode(KEY)).verify(KEY)
    # 40 ms on a slow machine; a quadratic step takes seconds.
    assert process_time() - start < 1.0
    assert repr(message).endswith("0x7fff, 0x7ffe, 15980 more]>")


# Against another implementation


SAMPLES: list[tuple[str, Any, Item]] = [
    ("USERNAME", "evtj:h6vY é", attr.USERNAME("evtj:h6vY é")),
    ("PRIORITY", 0x6E0001FF, attr.PRIORITY(0x6E0001FF)),
    ("USE-CANDIDATE", None, attr.USE_CANDIDATE(True)),
    ("ICE-CONTROLLING", 2**63 + 1, attr.ICE_CONTROLLING(2**63 + 1)),
    ("ICE-CONTROLLED", 1, attr.ICE_CONTROLLED(1)),
    ("SOFTWARE", "x", attr.SOFTWARE("x")),
    ("REALM", "example.org", attr.REALM("example.org")),
    ("NONCE", b"\x00\xff1", attr.NONCE(b"\x00\xff1")),
    ("DATA", b"12345", attr.DATA(b"12345")),
    ("LIFETIME", 600, attr.LIFETIME(600)),
    ("CHANNEL-NUMBER", 0x4001, attr.CHANNEL_NUMBER(0x4001)),
    ("REQUESTED-TRANSPORT", 0x11000000, attr.REQUESTED_TRANSPORT(17)),
    ("CHANGE-REQUEST", 6, attr.CHANGE_REQUEST(attr.Change.IP | attr.Change.PORT)),
    ("ERROR-CODE", (438, "Stale Nonce"), attr.ERROR_CODE(ErrorCode(438, "Stale Nonce"))),
    ("MAPPED-ADDRESS", ("192.0.2.1", 1), attr.MAPPED_ADDRESS(Address("192.0.2.1", 1))),
    ("XOR-MAPPED-ADDRESS", ("192.0.2.1", 65535), attr.XOR_MAPPED_ADDRESS(Address("192.0.2.1", 65535))),
    ("XOR-PEER-ADDRESS", ("2001:db8::1", 0), attr.XOR_PEER_ADDRESS(Address("2001:db8::1", 0))),
    ("XOR-RELAYED-ADDRESS", ("2001:db8::", 9), attr.XOR_RELAYED_ADDRESS(Address("2001:db8::", 9))),
    ("RESPONSE-ORIGIN", ("198.51.100.1", 3478), attr.RESPONSE_ORIGIN(Address("198.51.100.1", 3478))),
    ("OTHER-ADDRESS", ("2001:db8::2", 3479), attr.OTHER_ADDRESS(Address("2001:db8::2", 3479))),
]


@given(
    chosen=st.lists(st.sampled_from(SAMPLES), unique_by=lambda row: row[0]),
    transaction_id=st.binary(min_size=12, max_size=12),
)
def test_aioice_and_we_write_the_same_and_read_each_other(
    chosen: list[tuple[str, Any, Item]], transaction_id: bytes
) -> None:
    ours = stun.request(Method.BINDING, transaction_id, *[item for _, _, item in chosen])
    data = ours.encode(KEY, fingerprint=True)

    theirs = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST, transaction_id)
    theirs.attributes.update({name: value for name, value, _ in chosen})
    theirs.add_message_integrity(PASSWORD.encode())
    assert bytes(theirs) == data

    read = aioice.stun.parse_message(data)
    assert read.check_message_integrity(PASSWORD.encode())
    assert {name: read.attributes[name] for name, _, _ in chosen} == {name: value for name, value, _ in chosen}

    message = stun.decode(bytes(theirs))
    assert message.verify(KEY)
    assert message == ours


# Credentials


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 8265 §4.3, table 2
        ("correct horse battery staple", "correct horse battery staple"),
        ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
        ("\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5"),
        ("Jack of \u2666s", "Jack of \u2666s"),
        ("foo\u1680bar", "foo bar"),
        # a space at either end and every printable ASCII character stay as they are
        (" x ", " x "),
        ("".join(map(chr, range(32, 127))), "".join(map(chr, range(32, 127)))),
        # composed (NFC), and not folded for compatibility or case
        ("e\u0301", "\u00e9"),
        ("\u212b", "\u00c5"),
        ("\ufb01", "\ufb01"),
        (MATRIX, MATRIX),
        ("", ""),
    ],
)
def test_opaque_string(text: str, prepared: str) -> None:
    assert stun.opaque_string(text) == prepared
    assert stun.short_term_key(text).digest(b"x") == hmac.digest(prepared.encode(), b"x", "sha1")


@pytest.mark.parametrize(
    "text", ["my cat is a \tby", "secret\0", "secret\n", "secret\x7f", "secret\u2028é", "secret\ud800", "secret\u0378"]
)
def test_forbidden_text_is_refused_and_not_repeated(text: str) -> None:
    for use in (
        stun.opaque_string,
        stun.short_term_key,
        lambda secret: stun.long_term_key("user", "realm", secret),
        lambda secret: stun.userhash("user", secret),
    ):
        with pytest.raises(ConfigError, match="RFC 8265 forbids") as caught:
            use(text)
        assert "secret" not in str(caught.value)
        assert "cat" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


@given(st.text(max_size=20))
def test_any_text_is_prepared_or_refused(text: str) -> None:
    try:
        prepared = stun.opaque_string(text)
    except ConfigError:
        return
    assert stun.opaque_string(prepared) == prepared


@pytest.mark.parametrize("algorithm", PasswordAlgorithm)
def test_long_term_key_is_the_hash_of_prepared_text(algorithm: PasswordAlgorithm) -> None:
    name = {PasswordAlgorithm.MD5: "md5", PasswordAlgorithm.SHA256: "sha256"}[algorithm]
    secret = hashlib.new(name, "J\u00e9: example :pa ss".encode()).digest()
    key = stun.long_term_key("Je\u0301", " example ", "pa\u1680ss", algorithm, Integrity.SHA256)
    assert key.digest(b"x") == hmac.digest(secret, b"x", "sha256")


@pytest.mark.parametrize(
    ("nonce", "features"),
    [
        (b"obMatJos2gAAArest", SecurityFeatures.PASSWORD_ALGORITHMS),
        (b"obMatJos2QAAArest", SecurityFeatures.USERNAME_ANONYMITY),
        (b"obMatJos2wAAA", SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY),
        (b"obMatJos2AAAArest", SecurityFeatures(0)),
        (b"obMatJos2////rest", SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY),
        (b"obMatJos2", SecurityFeatures(0)),
        (b"obMatJos2gA", SecurityFeatures(0)),
        (b"obMatJos2g\xff\0A", SecurityFeatures(0)),
        (b"obMatJos2gA==", SecurityFeatures(0)),
        (b"obmatjos2gAAA", SecurityFeatures(0)),
        (b"gAAA", SecurityFeatures(0)),
        (b"", SecurityFeatures(0)),
    ],
)
def test_nonce_cookie(nonce: bytes, features: SecurityFeatures) -> None:
    assert stun.nonce_features(nonce) == features


@given(st.binary(max_size=40), st.sampled_from([SecurityFeatures(bits << 22) for bits in range(4)]))
def test_nonce_round_trip(rest: bytes, features: SecurityFeatures) -> None:
    nonce = stun.make_nonce(features, rest)
    assert len(nonce) == 13 + len(rest)
    assert stun.nonce_features(nonce) == features
    assert stun.nonce_features(rest) in SecurityFeatures(0xC00000)


# ChannelData and streams


@given(st.integers(0x4000, 0x4FFF), st.binary(max_size=100), st.booleans())
def test_channel_data_round_trip(channel: int, data: bytes, padded: bool) -> None:
    message = stun.ChannelData(channel, data)
    encoded = message.encode(padded=padded)
    assert encoded[: 4 + len(data)] == channel.to_bytes(2) + len(data).to_bytes(2) + data
    assert len(encoded) == (4 + (len(data) + 3) // 4 * 4 if padded else 4 + len(data))
    assert stun.is_channel_data(encoded)
    assert not stun.is_stun(encoded)
    assert stun.ChannelData.decode(encoded) == message


@pytest.mark.parametrize(
    "data", [b"", b"\x40", b"\x40\0\0", b"\x3f\xff\0\0", b"\x50\0\0\0", b"\x40\0\0\1", b"\x4f\xff\xff\xff", REQUEST]
)
def test_what_is_no_channel_data(data: bytes) -> None:
    with pytest.raises(DecodeError, match="ChannelData"):
        stun.ChannelData.decode(data)


@pytest.mark.parametrize("first", range(256))
def test_first_byte_of_channel_data(first: int) -> None:
    assert stun.is_channel_data(bytes([first, 0, 0, 0])) == (0x40 <= first <= 0x4F)
    assert not stun.is_channel_data(bytes([first, 0, 0]))


@pytest.mark.parametrize(("channel", "size"), [(0x3FFF, 0), (0x5000, 0), (-1, 0), (0x14000, 0), (0x4000, 65536)])
def test_impossible_channel_data(channel: int, size: int) -> None:
    with pytest.raises(ConfigError, match="channel"):
        stun.ChannelData(channel, bytes(size)).encode(padded=False)


PIECES = [
    REQUEST,
    RESPONSE_IPV6,
    raw(1),
    stun.ChannelData(0x4000, b"").encode(padded=True),
    stun.ChannelData(0x4FFF, b"12345").encode(padded=True),
    stun.ChannelData(0x4001, bytes(2000)).encode(padded=True),
]
BAD = [
    b"POST / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"\0\1\0\2" + REQUEST[4:],
    REQUEST[:7] + b"\0" + REQUEST[8:],
]


def feed(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """All messages, and whether the stream was found bad."""
    decoder = stun.StreamDecoder()
    found: list[bytes] = []
    for piece in pieces:
        try:
            found += decoder.feed(piece)
        except DecodeError:
            return found, True
    try:
        found += decoder.feed(b"")
    except DecodeError:
        return found, True
    return found, False


@given(
    messages=st.lists(st.sampled_from(PIECES), max_size=6),
    bad=st.sampled_from([b"", *BAD]),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
)
def test_stream_is_the_same_however_it_is_cut(messages: list[bytes], bad: bytes, cuts: list[int]) -> None:
    stream = b"".join(messages) + bad
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found, broken = feed([stream[start:stop] for start, stop in pairwise(borders)])
    unpadded = [
        data[: 4 + int.from_bytes(data[2:4])] if data[0] == 0x40 or data[0] == 0x4F else data for data in messages
    ]
    assert found == unpadded
    assert broken == bool(bad)


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_stream(pieces: list[bytes]) -> None:
    feed(pieces)


@pytest.mark.parametrize("bad", BAD)
def test_a_lost_stream_stays_lost_and_small(bad: bytes) -> None:
    decoder = stun.StreamDecoder()
    assert decoder.feed(REQUEST + bad) == [REQUEST]
    for _ in range(3):
        with pytest.raises(DecodeError, match="the stream is not STUN"):
            decoder.feed(REQUEST * 1000)
        assert len(decoder._buffer) <= 8


def test_stream_holds_less_than_one_message() -> None:
    decoder = stun.StreamDecoder()
    data = b"\0\1\xff\xfc" + raw(1)[4:] + bytes(0xFFFC)
    assert decoder.feed(data[:-1]) == []
    assert len(decoder._buffer) == 65551
    assert decoder.feed(data[-1:]) == [data]
    assert len(decoder._buffer) == 0


def test_stream_in_single_bytes_and_in_one_piece_costs_little() -> None:
    start = process_time()
    decoder = stun.StreamDecoder()
    data = stun.ChannelData(0x4000, bytes(65532)).encode(padded=True)
    assert sum(len(decoder.feed(data[index : index + 1])) for index in range(len(data))) == 1
    assert len(decoder.feed(stun.ChannelData(0x4000, b"").encode(padded=True) * 50000)) == 50000
    # 0.2 s on a slow machine; a quadratic step takes tens of seconds.
    assert process_time() - start < 5.0
