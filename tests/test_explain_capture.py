"""A capture explained: conversations in order, and a sentence about the one that came farthest."""

from __future__ import annotations

from icekit.explain_capture import explain_capture
from icekit.explanation import Kind
from icekit.net import Datagram
from icekit.sim.capture import packet_bytes
from tests.test_conversations import CLIENT_HELLO, ENCRYPTED, ONE, OTHER, SERVER, STOPS, check, success
from tests.test_pcap import pcap

FIRST = packet_bytes(Datagram(ONE, SERVER, check(9)))


def test_the_conversation_that_came_farthest_speaks() -> None:
    messages = [
        (ONE, OTHER, check(1, nominate=True)),
        (OTHER, ONE, success(1)),
        (ONE, OTHER, CLIENT_HELLO),
        (ONE, SERVER, check(2)),
    ]
    explanation = explain_capture(pcap(*(packet_bytes(Datagram(*message)) for message in messages)))
    assert explanation.kind is Kind.CAPTURE
    assert explanation.summary == "A capture of 2 conversations: DTLS stopped: 1 ClientHello without an answer."
    [table] = explanation.tables
    assert table.rows == (
        ("0", f"{ONE} – {OTHER}", "1 of 1 / 0", "DTLS stopped: 1 ClientHello without an answer"),
        ("0", f"{ONE} – {SERVER}", "0 of 1 / 0", "1 check, nothing came back"),
    )


def test_every_outcome_is_told() -> None:
    for messages, _, text in STOPS:
        packets = [packet_bytes(Datagram(*message)) for message in messages]
        assert text in explain_capture(pcap(*packets)).summary


def test_a_call_that_works_is_said_first() -> None:
    works = [(ONE, OTHER, ENCRYPTED), (OTHER, ONE, ENCRYPTED)]
    packets = [packet_bytes(Datagram(*message)) for message in [(ONE, OTHER, check(1)), *works]]
    assert "works: encrypted both ways" in explain_capture(pcap(FIRST, *packets)).summary


def test_nothing_of_interest_and_no_capture() -> None:
    other = packet_bytes(Datagram(ONE, OTHER, b"\x00dns"))
    explanation = explain_capture(pcap(other, bytes(40)))
    assert explanation.problem is not None
    assert "capture on the host that runs ICE" in explanation.problem
    assert [fact.value for fact in explanation.facts] == ["1", "1"]
    assert explain_capture(b"nothing").kind is Kind.UNKNOWN
