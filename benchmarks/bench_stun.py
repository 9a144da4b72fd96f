"""One ICE check and its answer: icekit against aioice in the same run. ``python benchmarks/bench_stun.py``

Both sides build a Binding request (USERNAME, PRIORITY, ICE-CONTROLLING, USE-CANDIDATE) and its success response
(XOR-MAPPED-ADDRESS), protect both with MESSAGE-INTEGRITY and FINGERPRINT, read them back, verify them and read every
attribute. The two are measured in turns, in CPU time, so that other load on the machine meets both; the median of the
ratios counts. The floor is what no STUN codec can avoid: two HMAC and two CRC for each of the two messages' ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import cycle
from statistics import median
from time import process_time
from zlib import crc32

import aioice.stun

from icekit import stun
from icekit.attributes import ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS
from icekit.net import Address

REQUIRED = 2.5
ROUNDS = 120
REPEATS = 60

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


def floor() -> None:
    """A request and a response, each written and read: a HMAC and a CRC every time."""
    for data in (REQUEST, REQUEST, REQUEST[:80], REQUEST[:80]):
        KEY.digest(data[:-8])
        crc32(data)


def channel_data() -> None:
    stun.ChannelData.decode(stun.ChannelData(0x4001, REQUEST).encode(padded=False))


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = process_time()
    for _ in range(REPEATS):
        work()
    return (process_time() - start) / REPEATS


def compare(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Medians: our seconds, their seconds, and how many times as fast ours is (the ratio of each round)."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    return (
        median(mine for mine, _ in pairs),
        median(other for _, other in pairs),
        median(other / mine for mine, other in pairs),
    )


def main() -> int:
    rows: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        ("check and answer", icekit_check, aioice_check),
        ("  encode request", lambda: icekit_request(CHECKS[0][0]), lambda: aioice_request(CHECKS[0][0])),
        ("  decode, verify, read", lambda: icekit_read(REQUEST), lambda: aioice_read(REQUEST)),
    ]
    ratio = 0.0
    print(f"{'':24}{'icekit µs':>10}{'aioice µs':>10}{'times as fast':>15}")
    for name, ours, theirs in rows:
        mine, other, times = compare(ours, theirs)
        ratio = ratio or times
        print(f"{name:24}{mine * 1e6:10.2f}{other * 1e6:10.2f}{times:15.2f}")
    for name, work in (("floor: 4 HMAC, 4 CRC", floor), ("ChannelData both ways", channel_data)):
        print(f"{name:24}{median(seconds(work) for _ in range(ROUNDS)) * 1e6:10.2f}")
    print(f"stun_check_ratio {ratio:.2f} (at least {REQUIRED})")
    return 0 if ratio >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
