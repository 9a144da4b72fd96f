from __future__ import annotations

from typing import Any

import pytest

from icekit.errors import ConfigError
from icekit.sim import Bursts, Link, is_dtls
from tests.sim.sockets import send_many


def test_loss_of_a_seed_is_exact_and_near_its_probability() -> None:
    heard = send_many(Link(loss=0.05), 10_000)
    assert heard == send_many(Link(loss=0.05), 10_000)
    assert heard != send_many(Link(loss=0.05), 10_000, seed=2)
    # Four standard deviations: sqrt(10000 · 0.05 · 0.95) = 21.8.
    assert abs(10_000 - len(heard) - 500) < 88


def test_bursts_lose_in_a_row() -> None:
    heard = {number for _, number in send_many(Link(bursts=Bursts(enter=0.01, leave=0.25)), 20_000)}
    lost = [number for number in range(20_000) if number not in heard]
    runs = sum(number - 1 in heard or number == 0 for number in lost)
    # Gilbert: the share of bad is enter / (enter + leave), a burst lasts 1 / leave packets.
    assert len(lost) / 20_000 == pytest.approx(0.01 / 0.26, rel=0.2)
    assert len(lost) / runs == pytest.approx(4, rel=0.15)


def test_jitter_keeps_the_order_and_reordering_does_not() -> None:
    jittered = send_many(Link(delay=0.02, jitter=0.05), 500)
    assert [number for _, number in jittered] == list(range(500))
    assert all(0.02 <= time - number * 0.001 <= 0.07 + 1e-9 for time, number in jittered)
    assert len({round(time - number * 0.001, 6) for time, number in jittered}) > 100
    swapped = [number for _, number in send_many(Link(delay=0.02, reorder=0.1), 500)]
    assert sorted(swapped) == list(range(500)) != swapped


def test_duplicates_arrive_twice() -> None:
    assert [number for _, number in send_many(Link(duplicate=1.0), 3)] == [0, 0, 1, 1, 2, 2]


def test_what_is_larger_than_the_mtu_is_lost() -> None:
    assert len(send_many(Link(mtu=1500), 1, size=1472)) == 1
    assert len(send_many(Link(mtu=1500), 1, size=1473)) == 0


def test_a_rate_spreads_packets_and_a_full_queue_loses() -> None:
    # 100 bytes of UDP and IP at 8000 bit/s: 0.1 s each.
    heard = send_many(Link(rate=8000, queue=250), 10, size=72, interval=0.0)
    assert [number for _, number in heard] == [0, 1, 2]
    assert [time for time, _ in heard] == pytest.approx([0.1, 0.2, 0.3])


def test_lossless_packets_are_never_lost() -> None:
    def is_even(data: bytes) -> bool:
        return data[3] % 2 == 0

    assert [number for _, number in send_many(Link(loss=1.0, lossless=is_even), 6)] == [0, 2, 4]


@pytest.mark.parametrize("wrong", [{"loss": 1.5}, {"duplicate": -0.1}, {"delay": -1.0}, {"rate": 0.0}])
def test_a_link_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Link(**wrong)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x16\xfe\xfd", True),
        (b"\x17\xfe\xfd", True),
        (b"\x40\x00\x00\x03\x16\xfe\xfd", True),
        (b"\x40\x00\x00\x03\x80\x60\x00", False),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42", False),
        (b"\x80\x60", False),
        (b"", False),
    ],
)
def test_which_packets_are_dtls(data: bytes, expected: bool) -> None:
    assert is_dtls(data) is expected
