"""What texts are taken for, in all the forms that people paste."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icekit.pasted import (
    MAX_TEXT,
    CandidateText,
    CodeText,
    DescriptionsText,
    DescriptionText,
    EndText,
    GatheredText,
    LogText,
    PinsText,
    ReportsText,
    ServerListText,
    ServerText,
    UnknownText,
    recognise,
)
from icekit.rules_libraries import Pin
from icekit.sdp import read_sdp
from tests.descriptions import ANSWER, HOST_LINE, OFFER, RELAY_LINE, SRFLX_LINE

HOST = HOST_LINE.removeprefix("a=")
JSON_OFFER = json.dumps({"type": "offer", "sdp": OFFER})
JSON_ANSWER = json.dumps({"type": "answer", "sdp": ANSWER})
JSON_CANDIDATE = {"candidate": HOST, "sdpMid": "0", "sdpMLineIndex": 0}
SERVERS = [{"urls": "stun:stun.example.org"}]
REPORT = {"schema": "icekit/probe/1"}
TURN_REPORT = {"schema": "icekit/turn/1", "url": "turn:turn.example.org"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EndText()),
        ("null", EndText()),
        ("a=end-of-candidates", EndText()),
        (" ice003 ", CodeText("ice003")),
        ("CALL-DTLS", CodeText("CALL-DTLS")),
        ("401", CodeText("TURN-401")),
        ("TURN error: 437", CodeText("TURN-437")),
        ("401 Unauthorized", CodeText("TURN-401")),
        ("error 486 (Allocation Quota Reached)", CodeText("TURN-486")),
        ("turns:turn.example.org:443", ServerText("turns:turn.example.org:443")),
        ('"stun:stun.example.org"', ServerText("stun:stun.example.org")),
        (HOST, CandidateText(HOST)),
        (json.dumps(HOST), CandidateText(HOST)),
        (json.dumps(JSON_CANDIDATE), CandidateText(HOST, JSON_CANDIDATE)),
        (json.dumps({"type": "candidate", "candidate": JSON_CANDIDATE}), CandidateText(HOST, JSON_CANDIDATE)),
        (f"{HOST_LINE}\n\n{SRFLX_LINE}\n", GatheredText((HOST_LINE, SRFLX_LINE))),
        (f"{HOST_LINE}\na=end-of-candidates", GatheredText((HOST_LINE, None))),
        (f"{HOST_LINE}\n{SRFLX_LINE}\na=end-of-candidates", GatheredText((HOST_LINE, SRFLX_LINE, None))),
        (json.dumps([HOST, SRFLX_LINE]), GatheredText((HOST, SRFLX_LINE))),
        (json.dumps([JSON_CANDIDATE, None]), GatheredText((JSON_CANDIDATE, None))),
        ('{"errorCode": 701, "url": "stun:a"}', GatheredText(({"errorCode": 701, "url": "stun:a"},))),
        (json.dumps(SERVERS), ServerListText(SERVERS)),
        (json.dumps({"iceServers": SERVERS}), ServerListText({"iceServers": SERVERS})),
        ('["stun:a.example"]', ServerListText(["stun:a.example"])),
        (json.dumps(REPORT), ReportsText((REPORT,))),
        (json.dumps([REPORT, REPORT]), ReportsText((REPORT, REPORT))),
        (json.dumps(TURN_REPORT), ReportsText((TURN_REPORT,))),
        (json.dumps([TURN_REPORT, TURN_REPORT]), ReportsText((TURN_REPORT, TURN_REPORT))),
        (json.dumps(REPORT) + "\n" + json.dumps(REPORT), ReportsText((REPORT, REPORT))),
        ("aioice==0.9.0", PinsText((Pin("aioice", "0.9.0"),))),
        ("numpy==1.0\n- aiortc  1.9.0 # pinned", PinsText((Pin("aiortc", "1.9.0"),))),
        ('"aioice[x]<0.13",', PinsText((Pin("aioice", "0.13", True),))),
        ('aiortc = "^1.9"', PinsText((Pin("aiortc", "1.9"),))),
    ],
)
def test_recognise(text: str, expected: object) -> None:
    found = recognise(text)
    assert type(found) is type(expected)
    assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        OFFER,
        OFFER.replace("\r\n", "\n"),
        f"here is my SDP:\n\n{OFFER}",
        OFFER.replace("\r\n", "\\r\\n"),
        json.dumps(OFFER),
        JSON_OFFER,
        # Line ends that became blanks, as in a mail or a tracker.
        OFFER.replace("\r\n", " "),
        json.dumps({"type": "offer", "sdp": OFFER.replace("\r\n", " ")}),
        "".join(f"> {line}\n" for line in OFFER.splitlines()),
        json.dumps({"type": "offer", "data": {"type": "offer", "sdp": OFFER}}),
        json.dumps({"offer": OFFER}),
        f"-- Please send this message --\n{JSON_OFFER}\n",
    ],
)
def test_every_form_of_a_description(text: str) -> None:
    found = recognise(text)
    assert isinstance(found, DescriptionText)
    read = read_sdp(found.sdp)
    assert [section.ufrag for section in read.media] == ["oHWq"]
    assert len(read.candidates) == 3


@pytest.mark.parametrize(
    ("text", "types"),
    [
        (OFFER + ANSWER, [None, None]),
        (f"Offer:\n{OFFER}\n\nAnswer:\n{ANSWER}", ["offer", "answer"]),
        (f"answer {ANSWER} offer\n{OFFER}", ["answer", "offer"]),
        (f"{JSON_OFFER}\n{JSON_ANSWER}", ["offer", "answer"]),
        (f"[{JSON_OFFER},{JSON_ANSWER}]", ["offer", "answer"]),
        (json.dumps({"offer": OFFER, "answer": ANSWER}), ["offer", "answer"]),
        (json.dumps({"answer": {"sdp": ANSWER}, "offer": {"sdp": OFFER}}), ["answer", "offer"]),
    ],
)
def test_an_offer_and_its_answer(text: str, types: list[str | None]) -> None:
    found = recognise(text)
    assert isinstance(found, DescriptionsText)
    assert [found.one.type, found.other.type] == types
    ufrags = [read_sdp(each.sdp).media[0].ufrag for each in (found.one, found.other)]
    assert ufrags == (["aBcD", "oHWq"] if types[0] == "answer" else ["oHWq", "aBcD"])


def test_a_part_of_a_description() -> None:
    assert isinstance(recognise(f"m=audio 9 X 0\n{HOST_LINE}"), DescriptionText)
    # Without a section its candidates are what can be judged.
    found = recognise(f"a=ice-ufrag:abcd\n{HOST_LINE}")
    assert isinstance(found, GatheredText)
    assert found.items == (HOST_LINE,)


def test_candidates_that_were_trickled_beside_a_description() -> None:
    found = recognise(f"{JSON_OFFER}\n{json.dumps(JSON_CANDIDATE)}\n" + '{"candidate": ""}')
    assert isinstance(found, DescriptionText)
    assert found.trickled == (JSON_CANDIDATE, {"candidate": ""})


SCRIPTS = [
    "[{urls: 'stun:stun.example.org'}]",
    "{ iceServers: [ { urls: 'stun:stun.example.org', }, ], } // ours",
    "const pc = new RTCPeerConnection({\n  iceServers: [{urls: `stun:stun.example.org`}] /* more? */\n});",
    "iceServers = [\n  {'urls': 'stun:stun.example.org', 'credential': None},  # python\n]",
]


@pytest.mark.parametrize("text", SCRIPTS)
def test_a_server_list_as_code(text: str) -> None:
    found = recognise(text)
    assert isinstance(found, ServerListText)
    entries = found.data["iceServers"] if isinstance(found.data, dict) else found.data
    assert entries[0]["urls"] == "stun:stun.example.org"


@pytest.mark.parametrize(
    "text",
    [
        *("hello", "{", "[", '{"a": 1}', "[1, 2]", "[[]]", f"{HOST}\nhello", "1.2.3.4:5", "typ host", "iceServers: x"),
        *("v=0", OFFER * 3, json.dumps([JSON_OFFER] * 3), json.dumps([REPORT] * 3), "x" * (MAX_TEXT + 1)),
    ],
)
def test_what_is_not_known_is_not_guessed(text: str) -> None:
    found = recognise(text)
    if text != "v=0":
        assert isinstance(found, UnknownText)
        assert found.why.endswith(".")


@pytest.mark.parametrize("start", ["[WARN] ", "[Tue May 21 10:00:00] ", "[1:2:ERROR:x.cc(1)] ", "[0.123] ", "{main} "])
def test_a_line_of_a_log_that_begins_with_a_bracket_is_no_json(start: str) -> None:
    assert recognise(f"{start}something else") == UnknownText("No known pattern.")
    found = recognise(f"{start}handling\n{OFFER}")
    assert isinstance(found, DescriptionText | DescriptionsText)


@pytest.mark.parametrize("text", ['{"a": ', "[1, 2", "{a: 1", '["stun:a"', "{", "[", '[{"urls"', "[true, "])
def test_json_that_is_broken_is_told_to_be(text: str) -> None:
    found = recognise(text)
    assert isinstance(found, UnknownText)
    assert found.why.startswith("It begins like JSON, but is none: ")


def test_a_name_in_a_string_stays_as_it_is() -> None:
    found = recognise("""[{urls: "turn:a.example", username: 'it"s // no: comment', credential: 'x'}]""")
    assert isinstance(found, ServerListText)
    assert found.data[0]["username"] == 'it"s // no: comment'


pieces: Any = st.sampled_from(
    [
        *(HOST, RELAY_LINE, OFFER, ANSWER, JSON_OFFER, JSON_ANSWER, json.dumps(JSON_CANDIDATE), json.dumps(SERVERS)),
        *(
            json.dumps(REPORT),
            '{"sdp":',
            '{"candidate":',
            "iceServers: [",
            "{",
            "}",
            "[",
            "]",
            "'",
            '"',
            "\n",
            ",",
            "v=0",
        ),
        *("null", "aioice==0.1", "ICE003", "turn:a", "/*", "//", "`", "\\"),
    ]
)


@pytest.mark.parametrize(
    "text", ["999", "487", "4013", "401 lines", "error 401 of 3", "port 443", "443 Forbidden", "the error 401", "٤٠١"]
)
def test_numbers_that_are_no_error(text: str) -> None:
    assert isinstance(recognise(text), UnknownText)


def test_the_number_of_the_browsers_is_explained_as_in_their_logs() -> None:
    pasted = recognise("icecandidateerror 701")
    assert isinstance(pasted, LogText)
    assert [line.pattern.code for line in pasted.reading.known] == ["ICE008"]


@settings(deadline=None)
@given(st.text(max_size=30) | st.lists(pieces | st.text(max_size=4), max_size=6).map("".join))
@example("[" * 3000)
@example('{"a":' * 3000)
@example("'" * 2000 + "[")
@example('{"offer": "v=0", "answer": 5}')
def test_any_text_has_an_answer(text: str) -> None:
    recognise(text)
