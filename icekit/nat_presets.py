"""Networks as people call them ("symmetric", "cgnat"): which NATs each name stands for, and what it measures like.

The names are a gloss; what counts is the ``NatConfig`` of each NAT on the way out (RFC 4787). ``icekit.nat`` plays it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from icekit.errors import ConfigError
from icekit.nat import Hairpinning, NatConfig
from icekit.report import Behavior, NatReport, PortAssignment

__all__ = ["Preset", "PRESETS", "declared", "instead_of", "preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A network as people call it: ``chain`` from the inside out; ``gloss`` for a table or a help text."""

    name: str
    gloss: str
    chain: tuple[NatConfig, ...]


_EI = Behavior.ENDPOINT_INDEPENDENT
_AD = Behavior.ADDRESS_DEPENDENT
_APD = Behavior.ADDRESS_AND_PORT_DEPENDENT
_RANDOM = PortAssignment.RANDOM
_HOME = NatConfig(filtering=_APD)
_NO_NAT = ("none", "no", "no-nat", "nonat", "public")

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("open", "no NAT and no firewall", ()),
        Preset("full-cone", "one external port, anyone may send to it", (NatConfig(),)),
        Preset("restricted", "one external port, only contacted addresses may answer", (NatConfig(filtering=_AD),)),
        Preset("port-restricted", "one external port, only contacted addresses and ports may answer", (_HOME,)),
        Preset(
            "symmetric",
            "another random external port for every destination",
            (NatConfig(mapping=_APD, filtering=_APD, port_assignment=_RANDOM),),
        ),
        Preset(
            "symmetric-sequential",
            "the next external port for every destination",
            (NatConfig(mapping=_APD, filtering=_APD, port_assignment=PortAssignment.SEQUENTIAL),),
        ),
        Preset(
            "cgnat",
            "a home router behind the NAT of the carrier",
            (_HOME, NatConfig(filtering=_APD, port_assignment=_RANDOM)),
        ),
        Preset(
            "firewall",
            "public address, only contacted addresses and ports may answer",
            (NatConfig(filtering=_APD, translates=False),),
        ),
        Preset("alg", "a home router that rewrites addresses inside packets", (NatConfig(filtering=_APD, alg=True),)),
        Preset("udp-blocked", "a firewall that lets only TCP out", (NatConfig(filtering=_APD, udp=False),)),
        Preset(
            "tcp-443-only",
            "a firewall that lets only TCP to port 443 out",
            (NatConfig(filtering=_APD, udp=False, tcp_ports=frozenset({443})),),
        ),
        Preset("blocked", "a firewall that lets nothing out", (NatConfig(filtering=_APD, udp=False, tcp=False),)),
    )
}


def preset(name: str) -> Preset:
    """The preset of that name; ConfigError says which names there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(f"{name[:60]!r} is no NAT preset; {instead_of(name)}") from None


def instead_of(name: str, known: Iterable[str] = PRESETS) -> str:
    """What to write for a ``name`` that is none of ``known``, for a message."""
    if name.lower() in _NO_NAT:
        return "for no NAT write open"
    names = list(known)
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"


def declared(chain: Sequence[NatConfig]) -> NatReport:
    """What a right measurement from behind ``chain`` (inside out) reports; ``None`` with the reason, as there."""
    translating = [config for config in chain if config.translates]
    known = NatReport(
        behind_nat=bool(translating),
        udp=all(config.udp for config in chain),
        nats=len(translating),
        cgnat=len(translating) > 1,
        alg=any(config.alg for config in chain),
    )
    if not known.udp:
        reason = "UDP is blocked"
        return NatReport(
            udp=False,
            reason=dict.fromkeys(("mapping", "filtering", "hairpinning", "port_assignment", "address_pooling"), reason),
        )
    filtering = max((config.filtering for config in chain), key=lambda behavior: behavior.strictness, default=_EI)
    if not translating:
        fields = ("mapping", "hairpinning", "port_assignment", "address_pooling")
        return NatReport(
            filtering=filtering,
            behind_nat=False,
            udp=True,
            alg=known.alg,
            cgnat=False,
            nats=0,
            reason=dict.fromkeys(fields, "no NAT"),
        )
    outermost = translating[-1]
    assignments = {config.port_assignment for config in translating}
    assignment = next(
        kind
        for kind in (PortAssignment.RANDOM, PortAssignment.SEQUENTIAL, PortAssignment.PRESERVING)
        if kind in assignments
    )
    sequential = [config for config in translating if config.port_assignment is PortAssignment.SEQUENTIAL]
    return NatReport(
        mapping=max((config.mapping for config in translating), key=lambda behavior: behavior.strictness),
        filtering=filtering,
        hairpinning=outermost.hairpinning is not Hairpinning.NONE,
        port_assignment=assignment,
        port_step=sequential[-1].port_step if assignment is PortAssignment.SEQUENTIAL else None,
        address_pooling=outermost.pooling,
        behind_nat=True,
        udp=True,
        alg=known.alg,
        cgnat=known.cgnat,
        nats=known.nats,
    )
