from __future__ import annotations

import pytest

from icekit.net import Address, Datagram
from icekit.sim.timeline import Timeline, kind_of


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("", "empty"),
        ("000100002112a442", "STUN Binding request"),
        ("001100002112a442", "STUN Binding indication"),
        ("010300002112a442", "STUN Allocate success"),
        ("011300002112a442", "STUN Allocate error"),
        ("000100002112a443", "data"),
        ("16fefd", "DTLS"),
        ("40000004", "ChannelData"),
        ("8060", "RTP"),
        ("68656c6c6f", "data"),
    ],
)
def test_what_a_packet_is(data: str, kind: str) -> None:
    assert kind_of(bytes.fromhex(data)) == kind


def test_the_text_of_a_timeline() -> None:
    timeline = Timeline()
    datagram = Datagram(Address("192.168.1.1", 5000), Address("2001:db8::1", 3478), b"hello")
    timeline.add(0.025, "sent", "alice", datagram, "data")
    assert str(timeline) == "    0.025000 sent     192.168.1.1:5000 > [2001:db8::1]:3478 udp 5 data (alice)"
