"""What is said of an SDP, and of an offer with its answer."""

from __future__ import annotations

import pytest

from icekit.explain_descriptions import MAX_SHOWN, explain_description, explain_exchange
from icekit.explanation import Explanation, Kind
from icekit.pasted import DescriptionText
from tests.descriptions import (
    ANSWER,
    CANDIDATES,
    HOST_LINE,
    MDNS_LINE,
    OFFER,
    RELAY_LINE,
    SRFLX_LINE,
    TCP_LINE,
    far_section,
    sdp,
    section,
)


def facts(explanation: Explanation) -> dict[str, str]:
    return {fact.name: fact.value for fact in explanation.facts}


def table(explanation: Explanation, title: str) -> tuple[tuple[str, ...], ...]:
    return next(item.rows for item in explanation.tables if item.title.startswith(title))


def test_a_modern_offer() -> None:
    explanation = explain_description(DescriptionText(OFFER, "offer"))
    assert explanation.kind is Kind.DESCRIPTION
    assert explanation.summary == "An SDP offer with 1 media section and 1 host, 1 srflx, 1 relay."
    assert explanation.findings == ()
    assert facts(explanation) == {
        "trickle": "yes",
        "end of candidates": "yes",
        "ICE-lite": "no",
        "setup": "actpass",
        "lacks": "IPv6",
    }
    assert [item.title for item in explanation.tables] == ["Candidates"]


@pytest.mark.parametrize(
    ("lines", "lacks"),
    [
        ((HOST_LINE,), "an address from STUN, a relay, IPv6"),
        ((HOST_LINE.replace("192.168.1.8", "8.8.4.4"),), "a relay, IPv6"),
        ((HOST_LINE.replace("192.168.1.8", "2a00::1"),), "a relay, IPv4"),
        ((MDNS_LINE,), "an address from STUN, a relay, IPv6"),
        ((TCP_LINE,), "an address from STUN, a relay, IPv6, UDP"),
        ((), "an address from STUN, a relay"),
    ],
)
def test_what_a_side_lacks(lines: tuple[str, ...], lacks: str) -> None:
    assert facts(explain_description(DescriptionText(sdp(section(*lines)))))["lacks"] == lacks


def test_media_sections_say_what_became_of_them() -> None:
    text = sdp(
        section(*CANDIDATES), section(mid="1", kind="video"), section(mid="2", kind="audio", port=0), bundle="0 1"
    )
    explanation = explain_description(DescriptionText(text))
    assert table(explanation, "Media sections") == (
        ("0", "application", "0", "3", ""),
        ("1", "video", "1", "0", "bundled with mid 0"),
        ("2", "audio", "2", "0", "rejected (port 0)"),
    )


def test_candidates_that_came_beside_it_count() -> None:
    lines = ({"candidate": SRFLX_LINE, "sdpMid": "0"}, {"candidate": RELAY_LINE, "sdpMLineIndex": 7}, {"candidate": ""})
    explanation = explain_description(DescriptionText(sdp(section(HOST_LINE, ends=False)), "offer", lines))
    assert explanation.summary.endswith("1 host, 1 srflx, 1 relay.")
    assert explanation.findings == ()
    assert facts(explanation)["end of candidates"] == "yes"
    broken = DescriptionText(OFFER, None, ({"candidate": "x"}, {"candidate": 5}))
    assert explain_description(broken).findings == ()


def test_what_most_readers_forgive_is_said() -> None:
    explanation = explain_description(DescriptionText(OFFER.replace("a=mid:0", "a=mid: 0")))
    assert explanation.forgiven == ("line 16: mid wants a token, found ' 0'",)


@pytest.mark.parametrize("text", ["v=0\n", "m=audio 9 x 0\n" * 1001])
def test_what_cannot_be_read(text: str) -> None:
    assert not explain_description(DescriptionText(text)).understood
    assert not explain_exchange(DescriptionText(OFFER), DescriptionText(text)).understood


def test_a_modern_exchange() -> None:
    explanation = explain_exchange(DescriptionText(OFFER), DescriptionText(ANSWER))
    assert explanation.kind is Kind.EXCHANGE
    assert explanation.summary == "An offer and its answer. These two can connect through a relay at least."
    assert explanation.findings == ()
    sides = {row[0]: row[1:] for row in table(explanation, "The two sides")}
    assert sides["candidates"] == ("1 host, 1 srflx, 1 relay", "1 host, 1 srflx")
    assert sides["lacks"] == ("IPv6", "a relay, IPv6")
    assert table(explanation, "Pairs") == (("O1", "LAN", "NAT"), ("O2", "NAT", "NAT"), ("O3", "relay", "relay"))
    assert [row[0] for row in table(explanation, "What a pair needs")] == ["NAT", "LAN", "relay"]
    assert [row[0] for row in table(explanation, "Candidates")] == ["O1", "O2", "O3", "A1", "A2"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DescriptionText(ANSWER), DescriptionText(OFFER)),
        (DescriptionText(ANSWER, "answer"), DescriptionText(OFFER)),
        (DescriptionText(ANSWER), DescriptionText(OFFER, "offer")),
    ],
)
def test_the_order_does_not_matter(one: DescriptionText, other: DescriptionText) -> None:
    assert explain_exchange(one, other) == explain_exchange(other, one)
    assert explain_exchange(one, other) == explain_exchange(DescriptionText(OFFER), DescriptionText(ANSWER))


@pytest.mark.parametrize(
    ("offer", "answer", "words"),
    [
        (HOST_LINE.replace("192.168.1.8", "8.8.4.4"), HOST_LINE.replace("192.168.1.8", "1.1.1.1"), "directly"),
        (HOST_LINE, HOST_LINE.replace("192.168.1.8", "192.168.1.9"), "only if they are in the same network"),
        (HOST_LINE, HOST_LINE, "only if they are on the same machine"),
        (SRFLX_LINE, SRFLX_LINE, "only through the inside of their NAT"),
        (SRFLX_LINE, SRFLX_LINE.replace("8.8.4.4", "1.1.1.1"), "only if the NATs between them let it"),
        (HOST_LINE, TCP_LINE, "cannot connect: no pair works"),
    ],
)
def test_the_best_that_the_candidates_allow(offer: str, answer: str, words: str) -> None:
    explanation = explain_exchange(DescriptionText(sdp(section(offer))), DescriptionText(sdp(far_section(answer))))
    assert words in explanation.summary
    assert "so far" not in explanation.summary
    trickling = explain_exchange(DescriptionText(sdp(section(offer, ends=False))), DescriptionText(ANSWER))
    assert trickling.summary.endswith(", by the candidates so far.")


def test_a_large_matrix_is_cut_and_says_so() -> None:
    lines = [HOST_LINE.replace("192.168.1.8", f"192.168.1.{number}") for number in range(1, 20)]
    explanation = explain_exchange(DescriptionText(sdp(section(*lines))), DescriptionText(ANSWER))
    pairs = next(item for item in explanation.tables if item.title.startswith("Pairs"))
    assert len(pairs.rows) == MAX_SHOWN
    assert pairs.title.endswith("; 11 candidates left out")


def test_without_candidates_there_is_no_matrix() -> None:
    explanation = explain_exchange(DescriptionText(sdp(section())), DescriptionText(ANSWER))
    assert [item.title for item in explanation.tables] == ["The two sides"]
