"""The NATs that the Linux kernel makes, and how each behaves (RFC 4787)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from icekit.report import Behavior, NatReport, Pooling, PortAssignment

# A NAT with one inside and one outside interface. Unsolicited packets to the router itself are dropped before conntrack
# keeps them, as home routers do. Without that, an inbound packet from the very address that an inside socket contacts
# later occupies the tuple, and the kernel maps that socket to another port.
_ROUTER = """
table ip icekit-router {{
    chain input {{
        type filter hook input priority filter; policy accept;
        meta l4proto {{ tcp, udp }} ct state new drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "{inside}" oifname "{outside}" accept
        ct status dnat accept
    }}
}}
"""

_MASQUERADE = """
table ip icekit-nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        oifname "{outside}" masquerade
    }}
}}
"""

_FULLY_RANDOM = _MASQUERADE.replace("masquerade", "masquerade fully-random")

# One inside host has all the UDP ports of the outside address, each at its own number, whoever sends.
_FULL_CONE = """
table ip icekit-nat {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        iifname "{outside}" ip daddr {address} udp dport 1024-65535 dnat to {host}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        oifname "{outside}" snat to {address}
    }}
}}
"""

# The same, but a sender must be an address that this inside port has sent to. Ports are preserved, so the inside port
# is the outside port.
_ADDRESS_RESTRICTED = """
table ip icekit-nat {{
    set contacted {{
        type inet_service . ipv4_addr
        flags dynamic, timeout
        size 65535
        timeout 120s
    }}
    chain remember {{
        type filter hook prerouting priority mangle;
        iifname "{inside}" meta l4proto udp update @contacted {{ udp sport . ip daddr }}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        iifname "{outside}" ip daddr {address} udp dport . ip saddr @contacted dnat to {host}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        oifname "{outside}" snat to {address}
    }}
}}
"""

_UDP_DROPPED = (
    _MASQUERADE
    + """
table ip icekit-firewall {{
    chain forward {{
        type filter hook forward priority filter - 10;
        meta l4proto udp drop
    }}
}}
"""
)

# RFC 4787 §6: a packet from inside to an outside mapping comes back in, from the sender's outside address.
_HAIRPIN = """
table ip icekit-nat {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        iifname "{inside}" ip daddr {address} udp dport 1024-65535 dnat to {host}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        oifname "{outside}" masquerade
        iifname "{inside}" oifname "{inside}" snat to {address}
    }}
}}
"""


class KernelNat(StrEnum):
    """A way to set up the kernel as a NAT. ``declared`` says how it behaves."""

    MASQUERADE = "masquerade"
    FULLY_RANDOM = "fully-random"
    FULL_CONE = "full-cone"
    ADDRESS_RESTRICTED = "address-restricted"
    UDP_DROPPED = "udp-dropped"
    DOUBLE = "double"
    HAIRPIN = "hairpin"

    @property
    def declared(self) -> NatReport:
        """What a probe has to find; ``None`` where nothing can be found (no UDP) or nothing is promised."""
        return _DESCRIPTIONS[self].declared

    @property
    def nats(self) -> int:
        """How many NATs stand in a row: 2 with a carrier's NAT behind the home's."""
        return _DESCRIPTIONS[self].declared.nats or 1

    def ruleset(self, *, inside: str, outside: str, address: str, host: str) -> str:
        """The nftables rules of one router.

        ``inside`` and ``outside`` are its interfaces, ``address`` its outside address, ``host`` the one inside host
        that the static variants (full cone, address-restricted, hairpin) give their ports to.
        """
        rules = _ROUTER + _DESCRIPTIONS[self].rules
        return rules.format(inside=inside, outside=outside, address=address, host=host)


@dataclass(frozen=True, slots=True)
class _Description:
    rules: str
    declared: NatReport


def _behaves(
    mapping: Behavior = Behavior.ENDPOINT_INDEPENDENT,
    filtering: Behavior = Behavior.ADDRESS_AND_PORT_DEPENDENT,
    port_assignment: PortAssignment = PortAssignment.PRESERVING,
    hairpinning: bool = False,
    nats: int = 1,
) -> NatReport:
    return NatReport(
        mapping=mapping,
        filtering=filtering,
        hairpinning=hairpinning,
        port_assignment=port_assignment,
        behind_nat=True,
        udp=True,
        # Each router has one outside address.
        address_pooling=Pooling.PAIRED,
        parity=True if port_assignment is PortAssignment.PRESERVING else None,
        alg=False,
        cgnat=nats > 1,
        nats=nats,
    )


# Masquerade keeps an inside port as long as no other connection of the outside address to the same remote address has
# it. So one socket has one mapping whatever it sends to, while replies must match address and port of a connection.
_DESCRIPTIONS = {
    KernelNat.MASQUERADE: _Description(_MASQUERADE, _behaves()),
    KernelNat.FULLY_RANDOM: _Description(
        _FULLY_RANDOM,
        _behaves(mapping=Behavior.ADDRESS_AND_PORT_DEPENDENT, port_assignment=PortAssignment.RANDOM),
    ),
    KernelNat.FULL_CONE: _Description(_FULL_CONE, _behaves(filtering=Behavior.ENDPOINT_INDEPENDENT)),
    KernelNat.ADDRESS_RESTRICTED: _Description(_ADDRESS_RESTRICTED, _behaves(filtering=Behavior.ADDRESS_DEPENDENT)),
    KernelNat.UDP_DROPPED: _Description(_UDP_DROPPED, NatReport(udp=False, nats=1)),
    KernelNat.DOUBLE: _Description(_MASQUERADE, _behaves(nats=2)),
    KernelNat.HAIRPIN: _Description(_HAIRPIN, _behaves(hairpinning=True)),
}
