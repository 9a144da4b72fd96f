"""Trickle and pacing in descriptions."""

from __future__ import annotations

import pytest

from icekit.call.description import Announced, announce, flaws, judged, read_announced
from icekit.errors import ConfigError, NegotiationError

SDP = "v=0\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:{}\r\n".format(
    "p" * 22
)


def test_announce_once() -> None:
    text = announce(SDP, 0.005)
    assert text.splitlines() == [
        "v=0",
        "t=0 0",
        "a=ice-pacing:5",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        f"a=ice-pwd:{'p' * 22}",
        "a=ice-options:trickle ice2 renomination",
    ]
    assert announce(text, 0.005) == text
    assert "a=ice-pacing:20\r\n" in announce(text, 0.02)


def test_what_a_description_announces_is_read() -> None:
    assert read_announced(SDP) == Announced(False, False, None, {"0": "abcd"})
    assert read_announced(announce(SDP, 0.05)) == Announced(True, True, 0.05, {"0": "abcd"})
    second = "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na=ice-ufrag:efgh\r\n"
    assert read_announced(announce(SDP, 0.05) + second) == Announced(False, False, 0.05, {"0": "abcd", "1": "efgh"})
    session = "v=0\r\na=ice-options:trickle\r\na=ice-ufrag:abcd\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    assert read_announced(session) == Announced(True, False, None, {"0": "abcd"})
    assert read_announced("") == Announced(False, False, None, {})
    assert read_announced("x" * 2**21) == Announced(False, False, None, {})


def test_credentials_that_can_be_none_are_read_as_a_flaw() -> None:
    for broken in ("p", "p" * 257):
        flaw = read_announced(SDP.replace("p" * 22, broken)).flaw
        assert flaw is not None
        assert f"has {len(broken)};" in flaw
        # A rejected section has no checks.
        assert read_announced(SDP.replace("p" * 22, broken).replace("m=audio 9", "m=audio 0")).flaw is None


OTHER = SDP.replace("abcd", "efgh").replace("pppp", "qqqq")


@pytest.mark.parametrize(
    ("offer", "answer", "codes"),
    [
        (SDP, OTHER, []),
        (SDP, OTHER.replace("a=mid:0", "a=mid:1"), ["ICE025"]),
        (SDP, SDP, ["ICE026"]),
        (SDP, OTHER.replace("a=ice-ufrag:efgh", "a=setup:actpass"), ["ICE027", "ICE026"]),
        (SDP.replace("a=ice-ufrag:abcd\r\n", ""), None, ["ICE026"]),
        (SDP.replace("a=ice-ufrag:abcd", "a=ice-ufrag:abc"), None, ["ICE026"]),
        (SDP.replace("p" * 22, "p"), None, ["ICE026"]),
        (SDP.replace("p" * 22, "p" * 257), None, ["ICE026"]),
        (SDP.replace("a=ice-ufrag:abcd", "a=ice-ufrag:" + "u" * 600), None, ["ICE026"]),
        (SDP.replace("a=ice-ufrag:abcd", "a=ice-ufrag:abçd"), None, ["ICE026"]),
        (SDP.replace("a=ice-ufrag:abcd", "a=ice-ufrag:a-_="), None, []),
        (SDP, None, []),
        (SDP, "x" * 2**21, []),
    ],
)
def test_what_is_wrong_with_a_description(offer: str, answer: str | None, codes: list[str]) -> None:
    assert [finding.code for finding in flaws(offer, answer)] == codes


def test_what_aiortc_raises_is_told_with_what_is_wrong() -> None:
    with pytest.raises(NegotiationError) as error, judged(SDP, SDP):
        raise KeyError("mid")
    assert error.value.reason == "KeyError: 'mid'"
    assert [finding.code for finding in error.value.findings] == ["ICE026"]
    assert str(error.value).endswith("a side was given its own description back. (KeyError: 'mid')")
    assert isinstance(error.value.__cause__, KeyError)
    with pytest.raises(ConfigError), judged(SDP):
        raise ConfigError("ours")
