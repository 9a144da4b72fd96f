"""RFC 4571: a length of two bytes before each datagram."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import ConfigError, DecodeError
from icekit.framing import MAX_FRAME, FrameDecoder, frame


def test_what_the_bytes_are() -> None:
    assert frame(b"abc") == b"\x00\x03abc"
    assert frame(bytes(MAX_FRAME))[:2] == b"\xff\xff"


def test_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="65536 bytes do not fit into a frame; 65535 do"):
        frame(bytes(MAX_FRAME + 1))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_gives_the_same_datagrams(datagrams: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, datagrams))
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    decoder = FrameDecoder()
    found = [item for start, end in itertools.pairwise(places) for item in decoder.feed(stream[start:end])]
    assert found == datagrams


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 100))
def test_no_bytes_make_it_hold_more_than_a_frame(pieces: list[bytes], limit: int) -> None:
    decoder = FrameDecoder(limit)
    for piece in pieces:
        try:
            found = decoder.feed(piece)
        except DecodeError:
            assert len(decoder._buffer) == 2
            continue
        assert all(1 <= len(item) <= limit for item in found)
        # A frame that is too long waits for the next call, when its error is due.
        assert len(decoder._buffer) < 2 + limit


def test_empty_frames_are_left_out() -> None:
    assert FrameDecoder().feed(b"\x00\x00\x00\x01a\x00\x00") == [b"a"]


def test_a_frame_that_is_too_long_ends_the_stream() -> None:
    decoder = FrameDecoder(8)
    assert decoder.feed(frame(b"12345678") + b"\x00\x09" + bytes(9)) == [b"12345678"]
    for _ in range(2):
        with pytest.raises(DecodeError, match="a frame of 9 bytes on a stream that may have 8"):
            decoder.feed(b"\x00\x01a")


def test_the_limit_may_grow() -> None:
    decoder = FrameDecoder(2)
    assert decoder.feed(frame(b"ab") + b"\x00") == [b"ab"]
    decoder.limit = MAX_FRAME
    assert decoder.feed(b"\x03abc") == [b"abc"]
