"""The NAT model of ``icekit.nat`` for IP packets: a router with one side inside and one outside. Pure.

What the model knows nothing of is done here: ICMP errors and queries (RFC 5508), fragments, the time to live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from icekit.lab.ip import TIME_EXCEEDED, Packet, parse, refusal
from icekit.nat import Nat, NatConfig
from icekit.net import Address, Datagram, Transport
from icekit.report import Behavior

# Packets whose later fragments may still come.
_MAX_FRAGMENTED = 256


class Gateway:
    """A router that is a NAT. ``address`` is what it calls itself in ICMP errors to the inside.

    ``outbound`` and ``inbound`` take a packet and change it in place; ``None``: nothing leaves. ``now`` is in seconds
    and must not go back.
    """

    def __init__(
        self, config: NatConfig, external: Sequence[str], address: str, *, token_bytes: Callable[[int], bytes]
    ) -> None:
        self.nat = Nat(config, external, token_bytes=token_bytes)
        # RFC 5508 §3.1: queries are mapped by their identifier, whatever is done with UDP.
        self._queries = Nat(
            NatConfig(filtering=Behavior.ADDRESS_DEPENDENT, translates=config.translates, udp=config.udp),
            external,
            token_bytes=token_bytes,
        )
        self._address = address
        self._fragments: dict[object, tuple[str, str, bool]] = {}

    def outbound(self, data: bytearray, now: float) -> tuple[bytearray, bool] | None:
        """A packet from the inside: what leaves, and whether it goes back to the inside (hairpinning, ICMP errors)."""
        packet = parse(data)
        if packet is None:
            return None
        if packet.hops_left <= 1:
            return self._expired(packet)
        if packet.quoted is not None:
            return self._error_outbound(packet, packet.quoted, now)
        if not packet.is_first:
            return self._later_fragment(packet, outbound=True)
        nat, datagram = self._datagram(packet, packet.source, packet.destination, outbound=True)
        translated = nat.outbound(datagram, now)
        if translated is None:
            return None
        hairpins = translated.destination != datagram.destination
        return self._pass(packet, datagram, translated, hairpins, outbound=True)

    def inbound(self, data: bytearray, now: float) -> bytearray | None:
        """A packet from the outside: what arrives inside."""
        packet = parse(data)
        if packet is None or packet.hops_left <= 1:
            return None
        if packet.quoted is not None:
            return self._error_inbound(packet, packet.quoted, now)
        if not packet.is_first:
            passed = self._later_fragment(packet, outbound=False)
            return None if passed is None else passed[0]
        nat, datagram = self._datagram(packet, packet.source, packet.destination, outbound=False)
        translated = nat.inbound(datagram, now)
        if translated is None:
            return None
        return self._pass(packet, datagram, translated, to_inside=True, outbound=False)[0]

    def _datagram(
        self, packet: Packet, source: Address, destination: Address, *, outbound: bool
    ) -> tuple[Nat, Datagram]:
        if packet.transport is None:
            # The identifier is the inside's.
            if outbound:
                destination = Address(destination.host, 0)
            else:
                source = Address(source.host, 0)
            return self._queries, Datagram(source, destination, b"", Transport.UDP)
        payload = packet.payload if self.nat.config.alg and packet.fragment is None else b""
        return self.nat, Datagram(source, destination, payload, packet.transport)

    def _pass(
        self, packet: Packet, datagram: Datagram, translated: Datagram, to_inside: bool, *, outbound: bool
    ) -> tuple[bytearray, bool]:
        if packet.fragment is not None:
            if len(self._fragments) >= _MAX_FRAGMENTED:
                del self._fragments[next(iter(self._fragments))]
            self._fragments[outbound, packet.fragment] = (
                translated.source.host,
                translated.destination.host,
                to_inside,
            )
        packet.spend_hop()
        packet.readdress(translated.source, translated.destination)
        if translated.data != datagram.data:
            packet.replace_payload(translated.data)
        return packet.data, to_inside

    def _later_fragment(self, packet: Packet, *, outbound: bool) -> tuple[bytearray, bool] | None:
        # RFC 4787 §11, REQ-14a: fragments that come in order must pass.
        known = self._fragments.get((outbound, packet.fragment))
        if known is None:
            return None
        source, destination, to_inside = known
        packet.spend_hop()
        packet.readdress(Address(source, 0), Address(destination, 0))
        return packet.data, to_inside

    def _error_outbound(self, packet: Packet, quoted: Packet, now: float) -> tuple[bytearray, bool] | None:
        nat, datagram = self._datagram(quoted, quoted.destination, quoted.source, outbound=True)
        translated = nat.outbound(datagram, now)
        if translated is None:
            return None
        packet.spend_hop()
        target = translated.destination
        packet.readdress_error(translated.source.host, target.host, target, translated.source)
        return packet.data, target != datagram.destination

    def _error_inbound(self, packet: Packet, quoted: Packet, now: float) -> bytearray | None:
        # RFC 5508 §4.2, REQ-4: the quoted packet tells the mapping; whoever reports the error stays its source.
        nat, datagram = self._datagram(quoted, quoted.destination, quoted.source, outbound=False)
        translated = nat.inbound(datagram, now)
        if translated is None:
            return None
        packet.spend_hop()
        target = translated.destination
        packet.readdress_error(packet.source.host, target.host, target, quoted.destination)
        return packet.data

    def _expired(self, packet: Packet) -> tuple[bytearray, bool] | None:
        # RFC 1812 §4.3.2.7: no error about an error, nor about a later fragment.
        if packet.quoted is not None or not packet.is_first or packet.source.family == 6:
            return None
        return refusal(packet, self._address, TIME_EXCEEDED), True
