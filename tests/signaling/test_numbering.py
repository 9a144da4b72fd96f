from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icekit.signaling.message import Bye, Message
from icekit.signaling.numbering import ReadStream, WrittenStream


def numbers(messages: list[Message]) -> list[int | None]:
    return [message.seq for message in messages]


@given(st.lists(st.integers(1, 8), max_size=30), st.integers(0, 8))
def test_every_message_comes_out_once_and_in_order(arrivals: list[int], skipped: int) -> None:
    stream = ReadStream("a")
    found: list[Message] = []
    for seq in arrivals:
        if not stream.has(seq):
            found += stream.add(seq, Bye(seq=seq), 1, now=0)
        assert (stream.gap_since is None) == (not stream.held)
        assert stream.size == len(stream.held)
    first = 1
    while first in arrivals:
        first += 1
    assert numbers(found) == list(range(1, first))
    found += stream.skip(skipped, now=0)
    assert numbers(found) == sorted(set(numbers(found)), key=lambda seq: seq or 0)
    assert stream.taken >= skipped
    assert stream.taken + 1 not in stream.held


def test_a_gap_is_as_old_as_the_last_progress() -> None:
    stream = ReadStream("a")
    stream.add(2, Bye(seq=2), 1, now=1)
    stream.add(4, Bye(seq=4), 1, now=2)
    assert stream.gap_since == 1
    stream.add(1, Bye(seq=1), 1, now=3)
    assert (stream.taken, stream.gap_since) == (2, 3)
    stream.skip(3, now=4)
    assert (stream.taken, stream.gap_since) == (4, None)


def test_acknowledgements_are_never_put_off() -> None:
    stream = ReadStream("a")
    stream.acknowledge_by(2)
    stream.acknowledge_by(3)
    assert stream.ack_due == 2
    stream.acknowledge_by(1)
    assert stream.ack_due == 1


def test_what_is_written_is_kept_until_it_is_read() -> None:
    stream = WrittenStream("a", None)
    assert stream.settled == 0
    for seq in range(1, 5):
        stream.last = seq
        stream.keep(Bye(seq=seq), 10)
    assert (stream.settled, stream.size) == (0, 40)
    stream.settle(2)
    assert (stream.settled, stream.size) == (2, 20)
    stream.drop_oldest()
    assert stream.settled == 3
    stream.settle(9)
    assert (stream.settled, stream.size) == (4, 0)
