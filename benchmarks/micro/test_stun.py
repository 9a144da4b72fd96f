"""One ICE check and its answer, and ChannelData: beside aioice, and beside the floor that no codec can avoid.

Both sides build a Binding request (USERNAME, PRIORITY, ICE-CONTROLLING, USE-CANDIDATE) and its success response
(XOR-MAPPED-ADDRESS), protect both with MESSAGE-INTEGRITY and FINGERPRINT, read them back, verify them and read every
attribute. The floor is ``hmac``, ``crc32`` and ``struct`` alone: for each message a HMAC and a CRC at either end, and
one header packed and unpacked.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from itertools import cycle
from struct import Struct
from zlib import crc32

import aioice.stun

from benchmarks.micro.conftest import Beside
from icekit import stun
from icekit.attributes import ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS
from icekit.net import Address

REPEATS = 100

PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
USER, RANK, TIE_BREAKER = "evtj:h6vY", 0x6E0001FF, 0x932FF9B151263B36
KEY = stun.short_term_key(PASSWORD)
# Every check has its own ID and address, so that nothing can be remembered from the one before.
CHECKS = [(bytes([index]) * 12, Address(f"203.0.113.{index}", 50000 + index)) for index in range(1, 255)]
_checks = {"icekit": cycle(CHECKS), "aioice": cycle(CHECKS)}


def icekit_request(transaction_id: bytes) -> bytes:
    message = stun.request(
        stun.Method.BINDING,
        transaction_id,
        USERNAME(USER),
        PRIORITY(RANK),
        ICE_CONTROLLING(TIE_BREAKER),
        USE_CANDIDATE(True),
    )
    return message.encode(KEY, fingerprint=True)


def icekit_read(data: bytes) -> stun.Message:
    message = stun.decode(data)
    assert message.verify(KEY)
    assert message.get(USERNAME) == USER
    assert message.get(PRIORITY) == RANK
    assert message.get(ICE_CONTROLLING) == TIE_BREAKER
    assert message.get(USE_CANDIDATE)
    return message


def icekit_check() -> None:
    transaction_id, address = next(_checks["icekit"])
    request = icekit_read(icekit_request(transaction_id))
    data = stun.success(request, XOR_MAPPED_ADDRESS(address)).encode(KEY, fingerprint=True)
    response = stun.decode(data)
    assert response.verify(KEY)
    assert response.get(XOR_MAPPED_ADDRESS) == address


def aioice_request(transaction_id: bytes) -> bytes:
    message = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST, transaction_id)
    message.attributes["USERNAME"] = USER
    message.attributes["PRIORITY"] = RANK
    message.attributes["ICE-CONTROLLING"] = TIE_BREAKER
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(PASSWORD.encode())
    return bytes(message)


def aioice_read(data: bytes) -> aioice.stun.Message:
    message = aioice.stun.parse_message(data)
    assert message.check_message_integrity(PASSWORD.encode())
    assert message.attributes["USERNAME"] == USER
    assert message.attributes["PRIORITY"] == RANK
    assert message.attributes["ICE-CONTROLLING"] == TIE_BREAKER
    assert "USE-CANDIDATE" in message.attributes
    return message


def aioice_check() -> None:
    transaction_id, address = next(_checks["aioice"])
    request = aioice_read(aioice_request(transaction_id))
    message = aioice.stun.Message(request.message_method, aioice.stun.Class.RESPONSE, request.transaction_id)
    message.attributes["XOR-MAPPED-ADDRESS"] = tuple(address)
    message.add_message_integrity(PASSWORD.encode())
    response = aioice.stun.parse_message(bytes(message))
    assert response.check_message_integrity(PASSWORD.encode())
    assert response.attributes["XOR-MAPPED-ADDRESS"] == tuple(address)


REQUEST = icekit_request(CHECKS[0][0])
RESPONSE = stun.success(stun.decode(REQUEST), XOR_MAPPED_ADDRESS(CHECKS[0][1])).encode(KEY, fingerprint=True)
HEADER = Struct("!HHI12s")
CHANNEL = Struct("!HH")


def floor() -> None:
    for data in (REQUEST, RESPONSE):
        for _ in range(2):
            hmac.digest(PASSWORD.encode(), data[:-8], "sha1")
            crc32(data)
        HEADER.pack(*HEADER.unpack_from(data))


def repeated(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(REPEATS):
            work()

    return run


def test_a_check_and_its_answer(beside: Beside) -> None:
    beside(repeated(icekit_check), repeated(aioice_check), units=REPEATS, rival="aioice", unit="check", bar=0.4)


def test_encode_a_check(beside: Beside) -> None:
    ours = repeated(lambda: icekit_request(CHECKS[0][0]))
    theirs = repeated(lambda: aioice_request(CHECKS[0][0]))
    beside(ours, theirs, units=REPEATS, rival="aioice", unit="message")


def test_decode_verify_and_read_a_check(beside: Beside) -> None:
    ours, theirs = repeated(lambda: icekit_read(REQUEST)), repeated(lambda: aioice_read(REQUEST))
    beside(ours, theirs, units=REPEATS, rival="aioice", unit="message")


def test_integrity_of_a_check(beside: Beside) -> None:
    ours, theirs = (
        repeated(lambda: KEY.digest(REQUEST[:-32])),
        repeated(lambda: hmac.digest(b"key", REQUEST[:-32], "sha1")),
    )
    beside(ours, theirs, units=REPEATS, rival="hmac.digest", unit="message")


def test_a_check_and_its_answer_over_the_floor(beside: Beside) -> None:
    beside(repeated(icekit_check), repeated(floor), units=REPEATS, rival="hmac+crc32+struct", unit="check")


def test_channel_data(beside: Beside) -> None:
    def ours() -> None:
        stun.ChannelData.decode(stun.ChannelData(0x4001, REQUEST).encode(padded=False))

    def theirs() -> None:
        data = CHANNEL.pack(0x4001, len(REQUEST)) + REQUEST
        _, length = CHANNEL.unpack_from(data)
        assert data[4 : 4 + length] == REQUEST

    beside(repeated(ours), repeated(theirs), units=REPEATS, rival="struct", unit="message")
