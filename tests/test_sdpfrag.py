from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.candidate import Candidate
from icekit.errors import DecodeError
from icekit.remote_candidates import RemoteCandidate
from icekit.sdp import MAX_SDP, read_sdp
from icekit.sdpfrag import Fragment, add_candidates, apply_fragment, collect, read_fragment

PWD = "P2uYro0UCOQ4zxjKXaWCBui1"
HOST = "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"
# The form of RFC 8840 §9 and RFC 9725 §4.3.2, also with a group and a real media line.
TRICKLE = f"""a=group:BUNDLE 0 1
a=ice-ufrag:EsAw
a=ice-pwd:{PWD}
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a={HOST}
a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host
a=end-of-candidates
"""
SDP = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a b\r\n"
    f"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=ice-ufrag:oldu\r\na=ice-pwd:{PWD}\r\na={HOST}\r\n"
    f"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:b\r\na=ice-ufrag:oldu\r\na=ice-pwd:{PWD}\r\na=end-of-candidates\r\n"
)

ice_text = st.text("abcXYZ019+/", min_size=4, max_size=20)
mids = st.text("abc019-_", min_size=1, max_size=5)
candidates = st.builds(
    lambda port, address: Candidate.parse(f"candidate:1 1 udp 1 {address} {port} typ host"),
    st.integers(1, 65535),
    st.ip_addresses(v=4),
)
fragments = st.builds(
    lambda ufrag, pwd, mid, kind, owners, ended: Fragment(
        ufrag, pwd, mid, kind, tuple((owner or mid, candidate) for owner, candidate in owners), ended
    ),
    ice_text,
    st.text("abcXYZ019+/", min_size=22, max_size=40),
    mids,
    st.sampled_from(["audio", "video", "application"]),
    st.lists(st.tuples(st.one_of(st.none(), mids), candidates), max_size=5),
    st.booleans(),
)


@settings(max_examples=50, deadline=None)
@given(fragments)
def test_what_is_written_is_read(fragment: Fragment) -> None:
    found = read_fragment(str(fragment))
    assert (found.ufrag, found.pwd, found.mid, found.kind) == (
        fragment.ufrag,
        fragment.pwd,
        fragment.mid,
        fragment.kind,
    )
    assert found.ended == fragment.ended
    assert sorted(map(str, found.candidates)) == sorted(map(str, fragment.candidates))


@settings(max_examples=50, deadline=None)
@given(st.text() | st.lists(st.sampled_from([*TRICKLE.splitlines(), "m=", "a=mid:\r", "a=ice-ufrag:"])).map("\n".join))
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        found = read_fragment(text)
    except DecodeError:
        return
    assert read_fragment(str(found)) == read_fragment(str(found))
    assert all(line.startswith(("a=", "m=")) for line in str(found).split("\r\n") if line)


def test_the_form_of_the_rfc() -> None:
    found = read_fragment(TRICKLE)
    assert (found.ufrag, found.pwd, found.mid, found.kind, found.ended) == ("EsAw", PWD, "0", "audio", True)
    assert str(found.candidates[0][1]) == HOST
    assert PWD not in repr(found)
    lines = str(found).split("\r\n")
    assert lines[:4] == ["a=ice-ufrag:EsAw", f"a=ice-pwd:{PWD}", "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0"]
    assert lines[-2:] == ["a=end-of-candidates", ""]


@pytest.mark.parametrize(
    "text", ["", "a=ice-ufrag:abcd\r\n", f"a=ice-pwd:{PWD}", f"a=ice-ufrag:abc\na=ice-pwd:{PWD}", "a" * (MAX_SDP + 1)]
)
def test_without_credentials_it_is_of_no_use(text: str) -> None:
    with pytest.raises(DecodeError):
        read_fragment(text)


def test_a_restart_changes_a_description() -> None:
    fresh = Fragment("newu", PWD[::-1], "a", "audio", (("b", Candidate.parse(HOST)),))
    found = read_sdp(apply_fragment(SDP, fresh))
    assert {section.ufrag for section in found.media} == {"newu"}
    assert {section.pwd for section in found.media} == {PWD[::-1]}
    assert [mid for mid, _ in found.candidates] == ["b"]
    assert not any(section.end_of_candidates for section in found.media)
    ended = read_sdp(add_candidates(SDP, Fragment("oldu", PWD, "a", "audio", (), True)))
    assert all(section.end_of_candidates for section in ended.media)


def test_only_the_generation_of_the_description_is_collected() -> None:
    description = read_fragment(SDP)
    trickled = [
        RemoteCandidate("candidate:1 1 udp 1 192.0.2.7 1 typ host", "b", None, "oldu"),
        RemoteCandidate("candidate:1 1 udp 1 192.0.2.8 1 typ host", None, 0, None),
        RemoteCandidate("candidate:1 1 udp 1 192.0.2.9 1 typ host", "a", None, "gone"),
        RemoteCandidate("candidate:nonsense", "a"),
        RemoteCandidate("", None, None, "oldu"),
    ]
    found = collect(description, trickled)
    assert [(mid, candidate.address) for mid, candidate in found.candidates] == [("b", "192.0.2.7"), ("a", "192.0.2.8")]
    assert found.ended
