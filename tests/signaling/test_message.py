from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.errors import DecodeError, SignalingError
from icekit.signaling.message import (
    MAX_CANDIDATE,
    MAX_MESSAGE,
    MAX_SDP,
    Ack,
    Answer,
    Bye,
    Fault,
    Message,
    Offer,
    Presence,
    Report,
    Shape,
    TrickledCandidate,
    decode,
    encode,
    without_envelope,
)
from tests.signaling.messages import answers, candidates, messages, offers

LINE = "candidate:842163049 1 udp 1677729535 192.168.1.2 56132 typ srflx raddr 192.168.1.2 rport 56132"


def test_the_messages_of_the_followed_call() -> None:
    assert json.loads(encode(Offer(sdp="v=0"))) == {"type": "offer", "offer": {"type": "offer", "sdp": "v=0"}}
    assert json.loads(encode(Answer(sdp="v=0"))) == {"type": "answer", "answer": {"type": "answer", "sdp": "v=0"}}
    candidate = TrickledCandidate(candidate=LINE, sdp_mid="audio", sdp_mline_index=0)
    assert json.loads(encode(candidate)) == {
        "type": "candidate",
        "candidate": {"candidate": LINE, "sdpMid": "audio", "sdpMLineIndex": 0},
    }
    assert decode(encode(candidate)) == candidate
    assert encode(Bye()) == '{"type":"bye"}'


def test_the_envelope_and_the_other_messages() -> None:
    assert json.loads(encode(Bye(reason="late", sender="a", to="b", seq=7, id="s"))) == {
        "type": "bye",
        "reason": "late",
        "from": "a",
        "to": "b",
        "seq": 7,
        "id": "s",
    }
    assert json.loads(encode(Ack(acked=7))) == {"type": "ack", "seq": 7}
    assert json.loads(encode(Ack(acked=7, of="s", sender="b"))) == {"type": "ack", "seq": 7, "of": "s", "from": "b"}
    assert json.loads(encode(Fault(code="room-full", text="8 people"))) == {
        "type": "error",
        "code": "room-full",
        "text": "8 people",
    }
    assert decode('{"type":"presence","joined":["a"],"peers":["a","b"]}') == Presence(joined=("a",), peers=("a", "b"))
    assert decode('{"type":"report","report":{"a":[1,null]}}') == Report(report={"a": [1, None]})
    assert repr(Report(report={"pwd": "x7Kq9vLmP2rT"}, seq=1)) == (
        "Report(report=<1 fields>, sender=None, to=None, seq=1, id=None)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "null",
        '{"type":"candidate","candidate":null}',
        '{"type":"candidate","candidate":""}',
        '{"type":"candidate","candidate":{"candidate":""}}',
        '{"type":"candidate","candidate":{"candidate":null}}',
        '{"candidate":""}',
        '{"candidate":null,"sdpMid":null,"sdpMLineIndex":null,"usernameFragment":null}',
    ],
)
def test_end_of_candidates(text: str) -> None:
    assert decode(text) == TrickledCandidate(candidate="")


def test_what_aiortc_writes() -> None:
    assert decode('{"sdp": "v=0", "type": "offer"}') == Offer(sdp="v=0")
    assert decode('{"sdp": "v=0", "type": "answer"}') == Answer(sdp="v=0")
    found = decode(json.dumps({"candidate": LINE, "id": "0", "label": 3, "type": "candidate"}))
    assert found == TrickledCandidate(candidate=LINE, sdp_mid="0", sdp_mline_index=3)
    assert decode('{"type": "bye"}') == Bye()


def test_what_a_browser_writes() -> None:
    init = {"candidate": LINE, "sdpMid": "0", "sdpMLineIndex": 3, "usernameFragment": "abcd", "port": 5}
    wanted = TrickledCandidate(candidate=LINE, sdp_mid="0", sdp_mline_index=3, username_fragment="abcd")
    assert decode(json.dumps(init)) == wanted
    assert decode(json.dumps(init | {"type": "candidate"})) == wanted
    assert decode('{"type":"offer","sdp":"v=0"}') == Offer(sdp="v=0")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "message: not JSON"),
        (b"\xff{}", "message: not JSON"),
        ("[" * 100_000, "message: not JSON (nested too deeply)"),
        ([], "message: found an array"),
        ({}, "type: missing"),
        ({"type": None}, "type: missing"),
        ({"type": 5}, "type: found a number"),
        ({"type": "hello"}, "type: found 'hello', allowed: offer,"),
        ({"type": "offer"}, "offer: found nothing, allowed: an object"),
        ({"type": "offer", "offer": "v=0"}, "offer: found a string, allowed: an object"),
        ({"type": "offer", "offer": {"sdp": "v=0"}}, "offer.type: found nothing"),
        ({"type": "offer", "offer": {"type": "answer", "sdp": "v=0"}}, "offer.type: found 'answer', allowed: offer"),
        ({"type": "answer", "answer": {"type": "answer", "sdp": 1}}, "answer.sdp: found a number"),
        ({"type": "offer", "sdp": "v" * (MAX_SDP + 1)}, f"sdp: found {MAX_SDP + 1} characters, at most"),
        ({"type": "candidate"}, "candidate: found nothing"),
        ({"type": "candidate", "candidate": 3}, "candidate: found a number, allowed: an object, a string or null"),
        ({"type": "candidate", "candidate": {"candidate": False}}, "candidate.candidate: found true or false"),
        ({"candidate": "a\r\nm=audio"}, "candidate: found a control character"),
        ({"candidate": "x" * (MAX_CANDIDATE + 1)}, "candidate: found 4097 characters"),
        ({"candidate": "", "sdpMid": "\ud800"}, "sdpMid: found half of a surrogate pair"),
        ({"candidate": "", "sdpMLineIndex": 1.5}, "sdpMLineIndex: found a number, allowed: a whole number"),
        ({"candidate": "", "sdpMLineIndex": True}, "sdpMLineIndex: found true or false"),
        ({"candidate": "", "sdpMLineIndex": -1}, "sdpMLineIndex: found a number out of range, allowed: 0 to 65535"),
        ({"type": "bye", "from": 1}, "from: found a number"),
        ({"type": "bye", "to": "a\nb"}, "to: found a control character"),
        ({"type": "bye", "seq": 0}, "seq: found a number out of range"),
        ({"type": "bye", "seq": 2**53}, "seq: found a number out of range"),
        ({"type": "bye", "id": "x" * 257}, "id: found 257 characters"),
        ({"type": "ack"}, "seq: found nothing, allowed: a whole number"),
        ({"type": "ack", "seq": -1}, "seq: found a number out of range"),
        ({"type": "presence", "peers": "a"}, "peers: found a string, allowed: an array of strings"),
        ({"type": "presence", "left": ["a", 1]}, "left: found an array"),
        ({"type": "presence", "left": ["a"] * 5000}, "left: found 5000 names"),
        ({"type": "report", "report": []}, "report: found an array, allowed: an object"),
        ({"type": "error", "code": "x"}, "text: found nothing"),
        ('{"type":"bye","type":"bye"}', "a key appears twice"),
        ('{"type":"report","report":{"a":NaN}}', "NaN is no JSON number"),
        ('{"type":"report","report":{"a":1e999}}', "a number is too large"),
        ('{"type":"report","report":{"a":' + "1" * 5000 + "}}", "message: not JSON"),
    ],
)
def test_errors_name_the_field(value: Any, complaint: str) -> None:
    text = value if isinstance(value, str | bytes) else json.dumps(value)
    with pytest.raises(DecodeError) as caught:
        decode(text)
    assert complaint.replace(", at most", ", allowed: at most") in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_limit_holds_for_characters_and_bytes() -> None:
    assert decode('{"type":"bye"}', limit=14) == Bye()
    for text in ('{"type":"bye"} ', b'{"type":"bye"} '):
        with pytest.raises(DecodeError, match="15 characters, at most 14"):
            decode(text, limit=14)


def test_an_sdp_of_a_megabyte_fits() -> None:
    line = "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n"
    offer = Offer(sdp=(line * (MAX_SDP // len(line) + 1))[:MAX_SDP], sender="a", seq=1, id="s")
    assert decode(encode(offer)) == offer


def test_what_is_too_long_to_be_read_is_not_written() -> None:
    with pytest.raises(SignalingError, match=f"at most {MAX_MESSAGE} can be sent"):
        encode(Offer(sdp="\0" * MAX_SDP))


def test_what_json_cannot_hold_is_not_written() -> None:
    for value in (float("nan"), object(), {1, 2}):
        with pytest.raises(SignalingError, match="Report cannot be written"):
            encode(Report(report={"a": value}))


def test_no_secret_in_the_repr() -> None:
    sdp = "a=ice-pwd:0123456789012345678901\r\n"
    for message in (Offer(sdp=sdp, sender="a"), Answer(sdp=sdp, sender="a")):
        assert "0123456789" not in repr(message)
        assert "sender='a'" in repr(message)


@given(messages)
def test_round_trip(message: Message) -> None:
    line = encode(message)
    assert line.isascii()
    assert line.isprintable()
    assert decode(line) == message
    assert decode(line.encode()) == message


@given(offers | answers | candidates.filter(lambda message: message.candidate != ""))
def test_round_trip_in_foreign_shapes(message: Message) -> None:
    assert decode(encode(message, Shape.BROWSER)) == without_envelope(message)
    aiortc = decode(encode(message, Shape.AIORTC))
    match message:
        case TrickledCandidate(candidate=line, sdp_mid=mid, sdp_mline_index=index):
            assert aiortc == TrickledCandidate(candidate=line, sdp_mid=mid, sdp_mline_index=index)
        case _:
            assert aiortc == without_envelope(message)


def test_what_foreign_shapes_cannot_say() -> None:
    assert decode(encode(Bye(reason="late"), Shape.AIORTC)) == Bye()
    assert decode(encode(TrickledCandidate(candidate=""), Shape.BROWSER)) == TrickledCandidate(candidate="")
    with pytest.raises(SignalingError, match="end-of-candidates"):
        encode(TrickledCandidate(candidate=""), Shape.AIORTC)
    with pytest.raises(SignalingError, match="no Ack"):
        encode(Ack(acked=1), Shape.AIORTC)
    with pytest.raises(SignalingError, match="no object for Bye"):
        encode(Bye(), Shape.BROWSER)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_anything_decodes_or_is_a_decode_error(text: bytes | str) -> None:
    with contextlib.suppress(DecodeError):
        decode(text)


_WORDS = """
    type offer answer candidate bye ack presence report error sdp from to seq id label sdpMid sdpMLineIndex
    usernameFragment reason joined left peers code text of
"""
_words = st.sampled_from(_WORDS.split())
_values = st.recursive(
    _words | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=6),
    max_leaves=12,
)


@given(st.dictionaries(_words, _values, max_size=6))
def test_anything_of_our_words_decodes_or_is_a_decode_error(value: dict[str, Any]) -> None:
    try:
        found = decode(json.dumps(value))
    except DecodeError:
        return
    assert decode(encode(found)) == found
