from __future__ import annotations

from icekit.signaling.message import Bye, Offer, TrickledCandidate
from icekit.signaling.own_messages import MAX_DIGESTS, MAX_UFRAGS, MEMORY, OwnMessages

SDP = "v=0\r\na=ice-ufrag:{}\r\na=ice-pwd:0123456789012345678901\r\n"


def test_the_sender_decides() -> None:
    own = OwnMessages("alice")
    own.remember(Offer(sdp=SDP.format("abcd"), sender="alice"), 0)
    assert own.recognises(Bye(sender="alice"), 0)
    assert not own.recognises(Offer(sdp=SDP.format("abcd"), sender="bob"), 0)


def test_our_ufrag_decides_where_no_sender_is_named() -> None:
    own = OwnMessages("alice")
    own.remember(Offer(sdp=SDP.format("abcd"), sender="alice"), 0)
    # A server may write the SDP anew, and the answer comes long after.
    assert own.recognises(Offer(sdp="v=0\na=ice-ufrag:abcd\n"), 1000)
    assert own.recognises(TrickledCandidate(candidate="candidate:1", username_fragment="abcd"), 1000)
    assert own.recognises(TrickledCandidate(candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag abcd"), 1000)
    assert not own.recognises(Offer(sdp=SDP.format("efgh")), 0)
    assert not own.recognises(TrickledCandidate(candidate="candidate:1", username_fragment="efgh"), 0)


def test_a_digest_decides_last_and_for_a_minute() -> None:
    own = OwnMessages("alice")
    candidate = TrickledCandidate(candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host", sdp_mid="0")
    own.remember(candidate, 0)
    own.remember(candidate, 50)
    assert own.recognises(candidate, MEMORY)
    assert own.recognises(candidate, MEMORY + 1)
    assert not own.recognises(candidate, MEMORY + 1), "two were sent, two came back"
    own.remember(candidate, 200)
    assert not own.recognises(candidate, 200 + MEMORY + 1)


def test_the_other_sides_bye_is_not_taken_for_ours() -> None:
    own = OwnMessages("alice")
    end = TrickledCandidate(candidate="")
    own.remember(end, 0)
    own.remember(Bye(sender="alice"), 0)
    assert not own.recognises(end, 0), "nothing was ever given back here"
    assert not own.recognises(Bye(), 0)

    # On a topic each of ours comes back once; what comes after that is the other's.
    assert own.recognises(Bye(sender="alice"), 1)
    assert own.recognises(end, 1)
    assert not own.recognises(end, 1)
    assert not own.recognises(Bye(), 1)


def test_memory_is_bounded() -> None:
    own = OwnMessages("alice")
    for number in range(MAX_DIGESTS + 10):
        own.remember(TrickledCandidate(candidate=str(number), username_fragment=f"u{number:05}"), 0)
    first = TrickledCandidate(candidate="0")
    assert not own.recognises(first, 0)
    assert own.recognises(TrickledCandidate(candidate=str(MAX_DIGESTS)), 0)
    assert not own.recognises(TrickledCandidate(candidate="", username_fragment="u00000"), 0)
    assert own.recognises(TrickledCandidate(candidate="", username_fragment=f"u{MAX_DIGESTS + 10 - MAX_UFRAGS:05}"), 0)
