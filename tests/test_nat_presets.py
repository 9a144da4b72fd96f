from __future__ import annotations

import pytest

from icekit.errors import ConfigError
from icekit.nat_presets import PRESETS, declared, instead_of, preset
from icekit.report import Behavior, NatReport, Pooling, PortAssignment

EI = Behavior.ENDPOINT_INDEPENDENT
AD = Behavior.ADDRESS_DEPENDENT
APD = Behavior.ADDRESS_AND_PORT_DEPENDENT


def _nat_report(mapping: Behavior, filtering: Behavior, assignment: PortAssignment, **others: object) -> NatReport:
    return NatReport(
        mapping=mapping,
        filtering=filtering,
        port_assignment=assignment,
        behind_nat=True,
        udp=True,
        address_pooling=Pooling.PAIRED,
        **{"hairpinning": True, "alg": False, "cgnat": False, "nats": 1, **others},  # type: ignore[arg-type]
    )


_PRESERVING, _RANDOM = PortAssignment.PRESERVING, PortAssignment.RANDOM
_UNTRANSLATED = dict.fromkeys(("mapping", "hairpinning", "port_assignment", "address_pooling"), "no NAT")
_BLOCKED = NatReport(
    udp=False,
    reason=dict.fromkeys(
        ("mapping", "filtering", "hairpinning", "port_assignment", "address_pooling"), "UDP is blocked"
    ),
)
DECLARED = {
    "open": NatReport(filtering=EI, behind_nat=False, udp=True, alg=False, cgnat=False, nats=0, reason=_UNTRANSLATED),
    "full-cone": _nat_report(EI, EI, _PRESERVING),
    "restricted": _nat_report(EI, AD, _PRESERVING),
    "port-restricted": _nat_report(EI, APD, _PRESERVING),
    "symmetric": _nat_report(APD, APD, _RANDOM),
    "symmetric-sequential": _nat_report(APD, APD, PortAssignment.SEQUENTIAL, port_step=1),
    "cgnat": _nat_report(EI, APD, _RANDOM, cgnat=True, nats=2),
    "firewall": NatReport(
        filtering=APD, behind_nat=False, udp=True, alg=False, cgnat=False, nats=0, reason=_UNTRANSLATED
    ),
    "alg": _nat_report(EI, APD, _PRESERVING, alg=True),
    "udp-blocked": _BLOCKED,
    "tcp-443-only": _BLOCKED,
    "blocked": _BLOCKED,
}


def test_presets_declare_what_they_do() -> None:
    assert {name: declared(PRESETS[name].chain) for name in PRESETS} == DECLARED


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'round' is no NAT preset; there are: open, full-cone"):
        preset("round")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("symetric", "did you mean symmetric?"),
        ("Symmetric", "did you mean symmetric?"),
        ("none", "for no NAT write open"),
        ("moon", "there are: open, symmetric"),
        ("", "there are: open, symmetric"),
        ("x" * 5000, "there are: open, symmetric"),
    ],
)
def test_what_to_write_instead(name: str, said: str) -> None:
    assert instead_of(name, ["open", "symmetric"]) == said
