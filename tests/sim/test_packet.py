from __future__ import annotations

from icekit.net import Address, Datagram, Transport
from icekit.sim.packet import ACK, SYN, PortUnreachable, Segment, readdressed, size_of

ONE, TWO, THREE = Address("192.168.1.2", 1), Address("203.0.113.1", 2), Address("198.51.100.1", 3)


def test_a_translated_packet_stays_what_it_is() -> None:
    translated = Datagram(THREE, TWO, b"x", Transport.TCP)
    assert readdressed(Datagram(ONE, TWO, b"x"), translated) is translated
    segment = Segment(ONE, TWO, b"x", flags=SYN | ACK, sequence=5, acknowledgment=7)
    assert readdressed(segment, translated) == Segment(THREE, TWO, b"x", flags=SYN | ACK, sequence=5, acknowledgment=7)
    assert readdressed(PortUnreachable(ONE, TWO, b""), Datagram(THREE, TWO, b"")) == PortUnreachable(THREE, TWO, b"")


def test_sizes_and_sequence_space() -> None:
    assert size_of(Datagram(ONE, TWO, bytes(100))) == 128
    assert size_of(Segment(ONE, TWO, bytes(100))) == 140
    assert size_of(Datagram(Address("::1", 1), Address("::2", 2), b"")) == 48
    assert [Segment(ONE, TWO, b"ab").length, Segment(ONE, TWO, b"", flags=SYN).length] == [2, 1]
    assert str(Segment(ONE, TWO, b"", flags=SYN | ACK)) == "TCP SYN ACK"
