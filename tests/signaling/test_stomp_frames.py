from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.errors import DecodeError
from icekit.signaling.stomp_frames import MAX_HEAD, MAX_HEADERS, Frame, FrameReader

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(lambda text: text != "content-length")
frames = st.builds(
    Frame,
    st.sampled_from(["SEND", "MESSAGE", "ERROR", "RECEIPT"]),
    st.lists(st.tuples(names, texts), max_size=4).map(tuple),
    st.binary(max_size=50),
)


def read(data: bytes, limit: int = 1000) -> list[Frame]:
    return FrameReader(limit).feed(data)


def test_the_example_of_the_specification() -> None:
    data = b"MESSAGE\nsubscription:0\nmessage-id:007\ndestination:/queue/a\ncontent-type:text/plain\n\nhello queue a\0"
    (frame,) = read(data)
    assert (frame.command, frame.body) == ("MESSAGE", b"hello queue a")
    assert frame.header("message-id") == "007"
    assert frame.header("missing") is None
    assert bytes(Frame("SEND", (("destination", "/queue/a"),), b"hi\0")) == (
        b"SEND\ndestination:/queue/a\ncontent-length:3\n\nhi\0\0"
    )


def test_line_ends_heart_beats_and_repeated_headers() -> None:
    (frame,) = read(b"\n\r\n\nMESSAGE\r\na:1\r\na:2\r\n\r\nx\0\n\n")
    assert frame.body == b"x"
    assert frame.header("a") == "1"


def test_escapes_and_where_there_are_none() -> None:
    assert bytes(Frame("SEND", (("a:b", "c\\d\r\n"),))) == b"SEND\na\\cb:c\\\\d\\r\\n\n\n\0"
    assert bytes(Frame("CONNECT", (("passcode", "a:b\\c"),))) == b"CONNECT\npasscode:a:b\\c\n\n\0"
    assert read(b"CONNECTED\nserver:a\\b:c\n\n\0") == [Frame("CONNECTED", (("server", "a\\b:c"),))]
    with pytest.raises(DecodeError, match="line break"):
        bytes(Frame("CONNECT", (("passcode", "a\nb"),)))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"hello\n\n\0", "found the command 'hello'"),
        (b"SEND\nno colon\n\n\0", "found 'no colon'"),
        (b"SEND\na:\\t\n\n\0", "found the escape"),
        (b"SEND\na:\\\n\n\0", "found the escape"),
        (b"SEND\na:\xff\n\n\0", "not UTF-8"),
        (b"SEND\ncontent-length:x\n\n\0", "content-length: found 'x'"),
        (b"SEND\ncontent-length:1001\n\n\0", "content-length: found '1001'"),
        (b"SEND\ncontent-length:1\n\nab\0", "no NUL"),
        (b"SEND\n" + b"a:b\n" * (MAX_HEADERS + 1) + b"\n\0", "65 headers"),
        (b"SEND\na:" + b"b" * MAX_HEAD, "more than 16384"),
        (b"SEND\n\n" + b"b" * 1001, "more than 1000"),
        (b"SEND\n\n" + b"b" * 1001 + b"\0", "more than 1000"),
    ],
)
def test_what_is_no_stomp(data: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        read(data)


@given(st.lists(frames, max_size=3), st.data())
@settings(max_examples=40, deadline=None)
def test_round_trip_in_any_pieces(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"\n".join(map(bytes, sent))
    reader = FrameReader(1000)
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    wanted = [
        Frame(f.command, (*f.headers, ("content-length", str(len(f.body)))) if f.body else f.headers, f.body)
        for f in sent
    ]
    assert found == wanted


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda data: b"MESSAGE\n" + data + b"\n\n\0"))
def test_anything_is_read_or_is_a_decode_error(data: bytes) -> None:
    try:
        read(data)
    except DecodeError:
        return
