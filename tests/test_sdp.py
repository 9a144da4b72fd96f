# ruff: noqa: E501 - real lines are as long as they are
from __future__ import annotations

import json

import pytest
from aiortc.sdp import SessionDescription as AiortcDescription
from hypothesis import given
from hypothesis import strategies as st

from icekit import Candidate
from icekit.errors import CandidateError, DecodeError
from icekit.sdp import (
    MAX_CANDIDATES,
    MAX_MEDIA,
    MAX_PROBLEMS,
    MAX_SDP,
    CandidateInit,
    GatheringError,
    SdpProblem,
    read_sdp,
)
from tests.test_candidate import REAL_LINES

CHROME = """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 data
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 56143 UDP/TLS/RTP/SAVPF 111 63
c=IN IP4 203.0.113.7
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:842163049 1 udp 2122260223 192.168.1.2 56143 typ host generation 0 network-id 1 network-cost 10
a=candidate:1853887674 1 udp 1686052607 203.0.113.7 56143 typ srflx raddr 192.168.1.2 rport 56143 generation 0 network-id 1 network-cost 10
a=ice-ufrag:EEtu
a=ice-pwd:MF1Ty6SCB3ZyVvGq3NBaDKZS
a=ice-options:trickle renomination
a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=candidate:842163049 1 udp 2122260223 192.168.1.2 9 typ host
a=end-of-candidates
a=ice-ufrag:EEtu
a=ice-pwd:MF1Ty6SCB3ZyVvGq3NBaDKZS
a=setup:actpass
a=mid:data
a=sctp-port:5000
""".replace("\n", "\r\n")

# Session-level attributes, no line end at the end, LF: Firefox and gateways write these.
GATEWAY = """v=0
a=ice-lite
a=ice-options:ice2
a=ice-pacing:5
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=setup:passive
a=end-of-candidates
m=video 0 UDP/TLS/RTP/SAVPF 96
a=mid:v
m=audio 49152/2 UDP/TLS/RTP/SAVPF 0
a=ice-ufrag:efgh
a=candidate:1 1 UDP 2130706431 198.51.100.9 49152 typ host"""


def test_a_browser_offer() -> None:
    sdp = read_sdp(CHROME)
    assert (sdp.ufrag, sdp.pwd, sdp.options, sdp.lite, sdp.pacing, sdp.setup) == (None, None, (), False, None, None)
    assert sdp.bundle == (("0", "data"),)
    assert sdp.mids == ("0", "data")
    assert not sdp.end_of_candidates
    audio, data = sdp.media
    assert (audio.index, audio.kind, audio.port, audio.mid) == (0, "audio", 56143, "0")
    assert (audio.ufrag, audio.pwd) == ("EEtu", "MF1Ty6SCB3ZyVvGq3NBaDKZS")
    assert audio.options == ("trickle", "renomination")
    assert (audio.setup, audio.rtcp_mux, audio.end_of_candidates) == ("actpass", True, False)
    assert (data.index, data.kind, data.mid, data.rtcp_mux, data.end_of_candidates) == (
        1,
        "application",
        "data",
        False,
        True,
    )
    lines = [line[2:] for line in CHROME.split("\r\n") if line.startswith("a=candidate:")]
    assert [str(candidate) for _, candidate in sdp.candidates] == lines
    assert [mid for mid, _ in sdp.candidates] == ["0", "0", "data"]
    assert sdp.problems == ()
    assert read_sdp(CHROME, strict=False) == sdp


def test_the_session_is_a_default_for_its_sections() -> None:
    sdp = read_sdp(GATEWAY)
    assert (sdp.lite, sdp.pacing, sdp.ufrag, sdp.setup, sdp.end_of_candidates) == (True, 5, "abcd", "passive", True)
    video, audio = sdp.media
    assert (video.port, video.ufrag, video.pwd, video.options, video.setup) == (
        0,
        "abcd",
        "0123456789012345678901",
        ("ice2",),
        "passive",
    )
    assert (audio.port, audio.ufrag, audio.mid, audio.end_of_candidates) == (49152, "efgh", None, True)
    assert sdp.candidates == ((None, Candidate.parse("1 1 UDP 2130706431 198.51.100.9 49152 typ host")),)
    assert sdp.mids == ("v",)


def test_aiortc_reads_the_same() -> None:
    ours, theirs = read_sdp(CHROME), AiortcDescription.parse(CHROME)
    assert [group.items for group in theirs.group] == [list(group) for group in ours.bundle]
    for section, media in zip(ours.media, theirs.media, strict=True):
        assert (section.kind, section.port, section.mid) == (media.kind, media.port, media.rtp.muxId)
        assert (section.ufrag, section.pwd) == (media.ice.usernameFragment, media.ice.password)
        assert section.end_of_candidates == media.ice_candidates_complete
        read = [(candidate.ip, candidate.port, candidate.priority) for candidate in media.ice_candidates]
        assert [(candidate.address, candidate.port, candidate.priority) for candidate in section.candidates] == read


def test_a_password_is_never_shown() -> None:
    secret = "MF1Ty6SCB3ZyVvGq3NBaDKZS"
    sdp = read_sdp(CHROME)
    assert secret not in repr(sdp)
    assert secret not in repr(read_sdp(GATEWAY.replace("0123456789012345678901", secret)))
    short = GATEWAY.replace("0123456789012345678901", "hunter2")
    with pytest.raises(DecodeError) as caught:
        read_sdp(short)
    assert str(caught.value) == "SDP, line 6: ice-pwd wants 22 to 256 letters, digits, + or /, found 7 characters"
    assert "hunter2" not in repr(read_sdp(short, strict=False))
    assert read_sdp(short, strict=False).pwd == "hunter2"


HEAD = "v=0\nm=audio 9 x 0\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            HEAD + "a=candidate:1 1 udp 1 192.0.2.1 99999 typ host",
            "SDP, line 3: candidate, column 33, port: found '99999'",
        ),
        ("v=0\na=candidate:1 1 udp 1 192.0.2.1 9 typ host", "SDP, line 2: a candidate before the first m= line"),
        (HEAD + "a=ice-ufrag:abc", "SDP, line 3: ice-ufrag wants 4 to 256 letters, digits, + or /, found 'abc'"),
        (HEAD + "a=ice-ufrag:ab-d", "SDP, line 3: ice-ufrag wants"),
        (HEAD + "a=ice-pwd:", "SDP, line 3: ice-pwd wants 22 to 256"),
        ("a=ice-pacing:fast", "SDP, line 1: ice-pacing wants milliseconds, found 'fast'"),
        ("a=setup:maybe", "SDP, line 1: setup wants active, passive, actpass, holdconn, found 'maybe'"),
        (HEAD + "a=mid:a b", "SDP, line 3: mid wants a token, found 'a b'"),
        ("v=0\nm=audio", "SDP, line 2: m= wants a kind of media and a port from 0 to 65535, found 'audio'"),
        ("v=0\nm=audio 65536 x 0", "SDP, line 2: m= wants"),
        ("v=0\nm=audio ٣ x 0", "SDP, line 2: m= wants"),
    ],
)
def test_a_broken_line_is_named(text: str, error: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_sdp(text)
    assert str(caught.value).startswith(error)
    sdp = read_sdp(text, strict=False)
    assert len(sdp.problems) == 1
    assert error.startswith(f"SDP, line {sdp.problems[0].line}: ")
    assert f"SDP, line {sdp.problems[0].line}: {sdp.problems[0].text}".startswith(error)


def test_the_cause_is_the_candidate_error() -> None:
    with pytest.raises(DecodeError) as caught:
        read_sdp(HEAD + "a=candidate:1 0 udp 1 192.0.2.1 9 typ host")
    assert isinstance(caught.value.__cause__, CandidateError)
    assert caught.value.__cause__.field == "component"


def test_what_is_forgiven_in_a_candidate_is_on_the_candidate() -> None:
    sdp = read_sdp(HEAD + "a=candidate:1 1 UDP 0 192.0.2.1 9 typ host \na=ice-options:trickle,ice2", strict=False)
    ((_, candidate),) = sdp.candidates
    assert [text.partition(":")[0] for text in candidate.forgiven] == ["line", "priority"]
    assert sdp.problems == ()
    assert sdp.media[0].options == ("trickle", "ice2")


def test_the_rest_is_read_after_a_problem() -> None:
    sdp = read_sdp(HEAD + "a=candidate:x\na=candidate:1 1 udp 1 192.0.2.1 9 typ host", strict=False)
    assert len(sdp.candidates) == 1
    assert sdp.problems == (
        SdpProblem(3, "candidate, column 14, component: found nothing, allowed: a number from 1 to 256"),
    )


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "a" * (MAX_SDP + 1),
        "m=audio 9 x 0\n" * (MAX_MEDIA + 1),
        HEAD + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n" * (MAX_CANDIDATES + 1),
        HEAD + "a=candidate:x\n" * (MAX_CANDIDATES + 1),
    ],
    ids=["characters", "media", "candidates", "broken candidates"],
)
def test_it_is_bounded(text: str, strict: bool) -> None:
    with pytest.raises(DecodeError):
        read_sdp(text, strict=strict)


def test_the_bounds_themselves_are_read() -> None:
    assert len(read_sdp("m=audio 9 x 0\n" * MAX_MEDIA).media) == MAX_MEDIA
    many = HEAD + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n" * MAX_CANDIDATES
    assert len(read_sdp(many).candidates) == MAX_CANDIDATES


def test_the_list_of_problems_is_bounded() -> None:
    assert len(read_sdp("a=setup:x\n" * (MAX_PROBLEMS + 1), strict=False).problems) == MAX_PROBLEMS


def test_text_without_ice_is_empty() -> None:
    assert read_sdp("") == read_sdp("hello\nworld: a=candidate:") == read_sdp("v=0\r\n")
    assert read_sdp("").media == ()


words = st.sampled_from(
    [*CHROME.split("\r\n"), *GATEWAY.split("\n"), "a=candidate:", "a=mid:", "a=group:", "m=", "a=ice-ufrag:"]
)


@given(
    st.lists(
        st.one_of(words, st.text(max_size=30), st.builds("a={}:{}".format, st.text(max_size=8), st.text(max_size=20)))
    )
)
def test_any_text_is_read_or_a_decode_error(lines: list[str]) -> None:
    text = "\n".join(lines)
    loosely = read_sdp(text, strict=False)
    try:
        strictly = read_sdp(text)
    except DecodeError:
        assert loosely.problems or any(candidate.forgiven for _, candidate in loosely.candidates)
        return
    assert loosely.problems == ()
    assert [str(candidate) for _, candidate in loosely.candidates] == [
        str(candidate) for _, candidate in strictly.candidates
    ]


BROWSER = {
    "candidate": REAL_LINES["chrome srflx"],
    "sdpMid": "audio",
    "sdpMLineIndex": 0,
    "usernameFragment": "EEtu",
}


def test_browser_json_round_trip() -> None:
    init = CandidateInit.from_dict(BROWSER)
    assert init == CandidateInit(Candidate.parse(REAL_LINES["chrome srflx"]), "audio", 0, "EEtu")
    assert init.to_dict() == BROWSER
    assert CandidateInit.from_json(init.to_json()) == init
    assert json.loads(init.to_json()) == BROWSER


def test_other_keys_are_ignored_and_missing_ones_are_none() -> None:
    init = CandidateInit.from_dict({"candidate": REAL_LINES["aioice"], "foundation": "1", "port": None})
    assert init == CandidateInit(Candidate.parse(REAL_LINES["aioice"]))


@pytest.mark.parametrize("value", [None, {"candidate": ""}, {"candidate": None}, {"candidate": "a=end-of-candidates"}])
def test_end_of_candidates(value: dict[str, str] | None) -> None:
    init = CandidateInit.from_dict(value)
    assert init == CandidateInit(None)
    assert CandidateInit.from_json(json.dumps(value)) == init
    assert init.to_dict() == {"candidate": "", "sdpMid": None, "sdpMLineIndex": None, "usernameFragment": None}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "candidate JSON: "),
        ("[]", "candidate JSON: found list, allowed: an object or null"),
        ("{}", "candidate JSON: the key candidate is missing"),
        ('{"candidate": 1}', "candidate JSON, candidate: found int, allowed: a string or null"),
        ('{"candidate": "", "sdpMid": 0}', "candidate JSON, sdpMid: found int, allowed: a string or null"),
        (
            '{"candidate": "", "sdpMLineIndex": "0"}',
            "candidate JSON, sdpMLineIndex: found str, allowed: a number or null",
        ),
        (
            '{"candidate": "", "sdpMLineIndex": true}',
            "candidate JSON, sdpMLineIndex: found bool, allowed: a number or null",
        ),
        (
            '{"candidate": "", "sdpMLineIndex": -1}',
            "candidate JSON, sdpMLineIndex: found -1, allowed: 0 to 65535 or null",
        ),
        ('{"candidate": "", "usernameFragment": []}', "candidate JSON, usernameFragment: found list"),
        ('{"candidate": "1 0 udp"}', "candidate, column 3, component: found '0'"),
        ("[" * 100_000, "candidate JSON: "),
    ],
    ids=range(11),
)
def test_broken_browser_json(text: str, error: str) -> None:
    with pytest.raises(DecodeError) as caught:
        CandidateInit.from_json(text)
    assert str(caught.value).startswith(error)


def test_browser_json_is_bounded() -> None:
    with pytest.raises(DecodeError, match="at most"):
        CandidateInit.from_json(" " * (MAX_SDP + 1))


def test_browser_json_forgives_when_asked() -> None:
    value = {"candidate": REAL_LINES["aioice"] + "\r\n"}
    with pytest.raises(CandidateError):
        CandidateInit.from_dict(value)
    assert CandidateInit.from_dict(value, strict=False).candidate == Candidate.parse(REAL_LINES["aioice"])


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(BROWSER)), inner),
        ).map(json.dumps),
    )
)
def test_any_json_is_read_or_a_decode_error(text: str) -> None:
    try:
        init = CandidateInit.from_json(text)
    except DecodeError:
        return
    assert CandidateInit.from_json(init.to_json()) == init


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"errorCode": 701}, GatheringError("", 701)),
        (
            {"errorCode": 401, "url": "turn:a", "errorText": "no", "address": "192.0.2.1", "port": 5, "type": "x"},
            GatheringError("turn:a", 401, "no", "192.0.2.1", 5),
        ),
        ({"errorCode": 701, "url": None, "address": None}, GatheringError("", 701)),
    ],
)
def test_an_error_of_gathering(value: dict[str, object], expected: GatheringError) -> None:
    assert GatheringError.from_dict(value) == expected


@pytest.mark.parametrize("value", [{}, {"errorCode": None}, {"errorCode": "701"}, {"errorCode": 701, "url": 5}])
def test_a_broken_error_of_gathering(value: dict[str, object]) -> None:
    with pytest.raises(DecodeError, match=r"errorCode|url"):
        GatheringError.from_dict(value)
