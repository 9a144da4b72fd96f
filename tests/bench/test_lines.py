from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.bench.lines import (
    MAX_LINE,
    AskPair,
    Description,
    Echoed,
    End,
    Ended,
    Event,
    Failed,
    Opened,
    PairEnd,
    PairTold,
    Ready,
    Request,
    Selected,
    Send,
    Sounded,
    Start,
    StateChanged,
    TrickledCandidate,
    decode_event,
    decode_request,
    encode,
)
from icekit.errors import DecodeError
from tests.pages import shown

SIGNALED = [
    Description(kind="offer", sdp="v=0\r\n"),
    Description(kind="answer", sdp="v=0\r\n"),
    TrickledCandidate(candidate="candidate:1 1 udp 1 192.0.2.1 5000 typ host", sdp_mid="0", sdp_mline_index=0),
    TrickledCandidate(candidate="", username_fragment="abcd"),
]
REQUESTS: list[Request] = [
    Start(role="offer"),
    Start(role="answer", ice_servers=({"urls": ["stun:192.0.2.1"]},), trickle=False, relay_only=True),
    Start(role="offer", media=True),
    Send(text="a\nb"),
    AskPair(),
    End(),
    *SIGNALED,
]
EVENTS: list[Event] = [
    Ready(engine="wrtc", version="0.1.0", clock="monotonic", time=1.5),
    Ready(engine="wrtc", version="0.1.0", clock="monotonic", time=1.5, media=True),
    TrickledCandidate(candidate="", sdp_mid="0", time=2.5),
    Description(kind="offer", sdp="v=0\r\n", time=2.0),
    StateChanged(of="ice", state="connected", time=0.0),
    Selected(time=3.125),
    Opened(time=3.25),
    Echoed(text="ä", time=3.0),
    Sounded(time=3.5),
    PairTold(local=None, remote=None, time=1.0),
    PairTold(
        local=PairEnd(kind="host", address="192.0.2.1", port=5000), remote=PairEnd(kind="prflx"), time=123456.123456
    ),
    Ended(time=9.0),
    Failed(message="no", time=9.0),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_request_survives(request_: Request) -> None:
    line = encode(request_)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_request(line) == request_


@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_an_event_survives(event: Event) -> None:
    line = encode(event)
    assert line.count(b"\n") == 1
    assert decode_event(line) == event


def test_candidates_and_descriptions_look_as_in_a_browser() -> None:
    assert json.loads(encode(SIGNALED[0])) == {"type": "offer", "sdp": "v=0\r\n"}
    assert json.loads(encode(SIGNALED[2])) == {
        "type": "candidate",
        "candidate": "candidate:1 1 udp 1 192.0.2.1 5000 typ host",
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    }


def test_start_has_defaults() -> None:
    start = Start(role="offer", trickle=True, relay_only=False, media=False)
    assert decode_request(b'{"type":"start","role":"offer"}') == start
    # What a program of before is told is what it was told before.
    assert "media" not in json.loads(encode(start))


def test_credentials_are_not_shown() -> None:
    assert "hunter2" not in repr(Start(role="offer", ice_servers=({"urls": "turn:x", "credential": "hunter2"},)))


def test_an_unknown_event_is_none() -> None:
    assert decode_event(b'{"type":"sunrise","time":1}') is None


WRONG_REQUESTS = [
    (b"hello", "no JSON"),
    (b"[1]", "object"),
    (b"[" * 100_000, "no JSON"),
    (b"\xff", "no JSON"),
    (b"{}", "type"),
    (b'{"type":"sunrise"}', "sunrise"),
    (b'{"type":"start"}', "role"),
    (b'{"type":"start","role":"boss"}', "boss"),
    (b'{"type":"start","role":"offer","iceServers":[1]}', "iceServers"),
    (b'{"type":"start","role":"offer","trickle":1}', "trickle"),
    (b'{"type":"candidate","candidate":"","sdpMLineIndex":-1}', "sdpMLineIndex"),
    (b'{"type":"candidate","candidate":"","sdpMLineIndex":true}', "sdpMLineIndex"),
    (b'{"type":"candidate","candidate":"' + b"x" * 5000 + b'"}', "candidate"),
    (b'{"type":"offer","sdp":1}', "sdp"),
    (b'{"type":"send","text":"' + b"x" * MAX_LINE + b'"}', "bytes"),
]


@pytest.mark.parametrize(("line", "word"), WRONG_REQUESTS, ids=[str(line[:40]) for line, _ in WRONG_REQUESTS])
def test_a_wrong_request(line: bytes, word: str) -> None:
    with pytest.raises(DecodeError, match=word):
        decode_request(line)


WRONG_EVENTS = [
    (b'{"type":"open"}', "time"),
    (b'{"type":"open","time":true}', "time"),
    (b'{"type":"open","time":NaN}', "time"),
    (b'{"type":"open","time":Infinity}', "time"),
    (b'{"type":"open","time":1e999}', "time"),
    (b'{"type":"open","time":' + b"9" * 400 + b"}", "time"),
    (b'{"type":"ready","time":1,"protocol":2}', "protocol: 1 is wanted, not 2"),
    (b'{"type":"pair","time":1,"local":7}', "local"),
    (b'{"type":"pair","time":1,"local":{"type":"cosmic"}}', "cosmic"),
    (b'{"type":"pair","time":1,"local":{"type":"host","port":70000}}', "local.port"),
]


@pytest.mark.parametrize(("line", "word"), WRONG_EVENTS, ids=[str(line[:40]) for line, _ in WRONG_EVENTS])
def test_a_wrong_event(line: bytes, word: str) -> None:
    with pytest.raises(DecodeError, match=word):
        decode_event(line)


VALUES = st.sampled_from(
    [None, True, 0, -1, 10**400, 0.5, float("inf"), "", "offer", "host", [], [{}], [1], {}, {"type": "host"}]
) | st.text(max_size=10)
NAMES = ["role", "sdp", "candidate", "text", "message", "time", "local", "remote", "of", "state", "sdpMLineIndex"]
KINDS = ["start", "send", "pair", "end", "offer", "candidate", "ready", "state", "open", "echo", "ended", "error"]


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5))
def test_any_fields_are_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    line = json.dumps({"time": 1.0} | fields | {"type": kind}).encode()
    for decode in (decode_request, decode_event):
        try:
            item = decode(line)
        except DecodeError:
            continue
        if item is not None:
            assert encode(item).endswith(b"\n")


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_read(line: bytes) -> None:
    for decode in (decode_request, decode_event):
        try:
            decode(line)
        except DecodeError:
            continue


def test_the_example_of_the_documentation_is_a_conversation() -> None:
    this = "tests/bench/test_lines.py::test_the_example_of_the_documentation_is_a_conversation"
    example = shown("docs/programs.md", this)
    decoders = {"<": decode_event, ">": decode_request}
    items = [decoders[line[0]](line[2:].encode()) for line in example.splitlines()]
    assert None not in items
    assert {type(item) for item in items} >= {Ready, Start, Description, TrickledCandidate, Opened, Echoed, PairTold}


def test_the_documentation_has_every_type() -> None:
    page = (Path(__file__).parents[2] / "docs" / "programs.md").read_text(encoding="utf-8")
    for item in (*REQUESTS, *EVENTS):
        kind = json.loads(encode(item))["type"]
        assert re.search(rf"^\| (`\w+`, )*`{kind}`", page, re.MULTILINE), kind
