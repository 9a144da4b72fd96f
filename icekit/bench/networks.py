"""The networks that calls are measured in: a NAT for each side, by ``icekit.nat_presets``, and servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from icekit.errors import ConfigError
from icekit.nat_presets import PRESETS, instead_of, preset

BETWEEN: Final = "--"


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """``a`` and ``b``: the NAT presets of the offering and of the answering side.

    Both know a STUN server and a TURN server over UDP, behind a NAT that blocks UDP also one over TCP.
    ``relay_only``: nothing but relays is a candidate.
    """

    name: str
    a: str
    b: str
    relay_only: bool = False

    @property
    def blocked(self) -> tuple[bool, bool]:
        """Whether no UDP leaves a side."""
        return _blocks(self.a), _blocks(self.b)


def _blocks(name: str) -> bool:
    return not all(config.udp for config in preset(name).chain)


_NAMED = (
    Network(name="host", a="open", b="open"),
    Network(name="port-restricted", a="port-restricted", b="port-restricted"),
    Network(name="symmetric--port-restricted", a="symmetric", b="port-restricted"),
    Network(name="symmetric--symmetric", a="symmetric", b="symmetric"),
    Network(name="relay-only", a="port-restricted", b="port-restricted", relay_only=True),
    Network(name="udp-blocked--open", a="udp-blocked", b="open"),
)

NETWORKS: Final[Mapping[str, Network]] = MappingProxyType({network.name: network for network in _NAMED})
"""Those of the comparison, by name; ``read_network`` knows more."""


def read_network(name: str) -> Network:
    """A name of ``NETWORKS``, ``NAT`` (both sides alike) or ``NAT--NAT``; ConfigError lists what there is."""
    if name in NETWORKS:
        return NETWORKS[name]
    a, dashes, b = name.partition(BETWEEN)
    b = b if dashes else a
    unknown = next((side for side in (a, b) if side not in PRESETS), None)
    if unknown is not None:
        hint = instead_of(unknown, [*NETWORKS, *PRESETS])
        if hint.startswith("there are"):
            hint = f"there are {', '.join(NETWORKS)}, and NAT--NAT with the NATs of icekit lab list"
        raise ConfigError(f"{name[:60]!r} is no network; {hint}")
    if a == b:
        name = "host" if a == "open" else a
        return NETWORKS.get(name) or Network(name=name, a=a, b=b)
    return Network(name=name, a=a, b=b)
