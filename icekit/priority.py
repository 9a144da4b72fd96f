"""Priorities and foundations of candidates: computed, and explained (RFC 8445 §5.1.1.3, §5.1.2, RFC 8421 §4)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icekit.candidate import MAX_COMPONENT, Candidate, CandidateType
from icekit.net import AddressClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# RFC 8445 §5.1.2.2
TYPE_PREFERENCES: dict[str, int] = {
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}
MAX_LOCAL_PREFERENCE = 65535


def compute_priority(
    type: CandidateType,
    component: int = 1,
    local_preference: int = MAX_LOCAL_PREFERENCE,
    type_preference: int | None = None,
) -> int:
    """The priority of a candidate (RFC 8445 §5.1.2.1); ValueError for a part out of its range.

    ``component`` is 1–256, ``local_preference`` 0–65535 (``local_preferences``), ``type_preference`` 0–126 and by
    default the recommended one of the type.
    """
    preference = TYPE_PREFERENCES[type] if type_preference is None else type_preference
    for name, value, low, high in (
        ("type preference", preference, 0, 126),
        ("local preference", local_preference, 0, MAX_LOCAL_PREFERENCE),
        ("component", component, 1, MAX_COMPONENT),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} {value} is not from {low} to {high}")
    return (preference << 24) + (local_preference << 8) + 256 - component


def compute_foundation(type: CandidateType, base: str, transport: str, server: str | None = None) -> str:
    """Eight ice-chars, the same for the same type, base address, transport and server (RFC 8445 §5.1.1.3).

    ``base`` and ``server`` are IP literals without port: candidates of one interface share the foundation whatever
    their port, which is what lets ICE thaw them together. ``server`` is the STUN or TURN server that the candidate
    was learned from, ``transport`` is compared without case. The value is a digest, so it is the same in every
    process; who can guess an address can confirm it.
    """
    key = "|".join((type, base.lower(), transport.lower(), (server or "").lower()))
    # Six bytes in base64 are exactly eight characters of the ice-char alphabet, without padding.
    return base64.b64encode(hashlib.blake2s(key.encode(), digest_size=6).digest()).decode()


def local_preferences(addresses: Iterable[str]) -> dict[str, int]:
    """A local preference of its own for each address, 65535 downwards; the order within a family is kept.

    The families are mixed so that a broken one costs little (RFC 8421 §4): with N4 IPv4 and N6 IPv6 addresses, one
    IPv4 address follows each (N4 + N6) / N4 IPv6 addresses, rounded down. Addresses named twice count once.
    """
    unique = list(dict.fromkeys(addresses))
    if len(unique) > MAX_LOCAL_PREFERENCE + 1:
        raise ValueError(f"{len(unique)} addresses, a local preference has only {MAX_LOCAL_PREFERENCE + 1} values")
    ipv6 = [address for address in unique if ":" in address]
    ipv4 = [address for address in unique if ":" not in address]
    order: list[str] = []
    if ipv4:
        head_start = len(unique) // len(ipv4)
        for number, address in enumerate(ipv4):
            order += ipv6[number * head_start : (number + 1) * head_start]
            order.append(address)
        ipv6 = ipv6[len(ipv4) * head_start :]
    order += ipv6
    return {address: MAX_LOCAL_PREFERENCE - index for index, address in enumerate(order)}


@dataclass(frozen=True, slots=True)
class PriorityExplanation:
    """A priority taken apart: ``formulas`` are the stacks that would write it, best known first, maybe none."""

    priority: int
    type_preference: int
    local_preference: int
    component: int
    formulas: tuple[str, ...]
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def explain_priority(candidate: Candidate) -> PriorityExplanation:
    """Take the priority of ``candidate`` apart and say whose formula it looks like."""
    type_preference = candidate.priority >> 24
    local_preference = candidate.priority >> 8 & 0xFFFF
    component = 256 - (candidate.priority & 0xFF)
    formulas: tuple[str, ...] = ()
    if component == candidate.component:
        formulas = tuple(name for name, fits in _FORMULAS.items() if fits(candidate, type_preference, local_preference))
    recommended = TYPE_PREFERENCES.get(candidate.type)
    if component != candidate.component:
        verdict = f"the line says component {candidate.component}, so this is not the formula of RFC 8445"
    elif type_preference > 126:
        verdict = "a type preference above 126 is not allowed (RFC 8445 §5.1.2.1)"
    elif formulas:
        verdict = f"as {' or '.join(formulas)} computes it"
    elif recommended is None:
        verdict = f"nothing is known about type {candidate.type}"
    elif type_preference == recommended:
        verdict = "the type preference that RFC 8445 recommends, with a local preference of its own"
    else:
        verdict = f"no formula that is known here; RFC 8445 recommends type preference {recommended}"
    sentence = (
        f"type preference {type_preference}, local preference {local_preference}, component {component}: {verdict}"
    )
    return PriorityExplanation(candidate.priority, type_preference, local_preference, component, formulas, sentence)


def _recommended(candidate: Candidate, type_preference: int, local_preference: int) -> bool:
    return local_preference == MAX_LOCAL_PREFERENCE and type_preference == TYPE_PREFERENCES.get(candidate.type)


# How libwebrtc ranks the address itself, after RFC 6724; a name may hide either family.
_WEBRTC_IPV6: dict[AddressClass, tuple[int, ...]] = {
    AddressClass.LOOPBACK: (60,),
    AddressClass.ULA: (50,),
    AddressClass.TUNNEL: (10, 20),
}
_WEBRTC_TYPES: dict[str, tuple[int, ...]] = {"host": (126, 90), "prflx": (110, 80), "srflx": (100,), "relay": (2, 1, 0)}


def _libwebrtc(candidate: Candidate, type_preference: int, local_preference: int) -> bool:
    network, address = local_preference >> 8, local_preference & 0xFF
    address_class = candidate.address_class
    ranks: tuple[int, ...] = (30,)
    if address_class in (AddressClass.MDNS, AddressClass.NAME):
        ranks = (30, 40, 50)
    elif ":" in candidate.address:
        ranks = _WEBRTC_IPV6.get(address_class, (40,))
    # Relays add the place of their server in the list of at most 32.
    extra = 31 if candidate.type == CandidateType.RELAYED else 0
    return (
        candidate.transport.islower()
        and type_preference in _WEBRTC_TYPES.get(candidate.type, ())
        and network <= 127
        and any(rank <= address <= rank + extra for rank in ranks)
    )


_FIREFOX_TYPES: dict[str, tuple[int, int]] = {
    "host": (126, 125),
    "prflx": (110, 109),
    "srflx": (100, 99),
    "relay": (5, 0),
}


def _firefox(candidate: Candidate, type_preference: int, local_preference: int) -> bool:
    if candidate.type not in _FIREFOX_TYPES or not candidate.transport.isupper():
        return False
    udp, tcp = _FIREFOX_TYPES[candidate.type]
    interface, direction, server = local_preference >> 8, local_preference >> 5 & 7, local_preference & 0x1F
    # The five low bits count servers down from 31; without a server they are 0. The direction is for TCP only.
    counted = server >= 16 if candidate.type in ("srflx", "relay") else server == 0
    if not (64 <= interface <= 128 and counted):
        return False
    if type_preference == tcp and candidate.type != CandidateType.RELAYED:
        return direction in (2, 4, 6)
    return type_preference in (udp, tcp) and direction == 0


_NICE_TYPES: dict[str, tuple[int, ...]] = {"host": (120,), "prflx": (110,), "srflx": (100, 105), "relay": (30, 20)}


def _libnice(candidate: Candidate, type_preference: int, local_preference: int) -> bool:
    udp = _NICE_TYPES.get(candidate.type, ())
    match candidate.transport:
        case "TCP":
            return type_preference in {preference // 2 for preference in udp}
        case "UDP":
            # The top three bits are a direction, 0 or 1 for UDP; the low ones count addresses.
            return type_preference in udp and 0 < local_preference < 0x4000 and local_preference & 0x1FFF < 0x800
        case _:
            return False


def _libjuice(candidate: Candidate, type_preference: int, local_preference: int) -> bool:
    first = MAX_LOCAL_PREFERENCE if ":" in candidate.address else 32767
    return (
        candidate.transport == "UDP"
        and type_preference == TYPE_PREFERENCES.get(candidate.type)
        and 0 <= first - local_preference < 32
    )


def _pion(candidate: Candidate, type_preference: int, local_preference: int) -> bool:
    return (
        candidate.transport.lower() == "tcp"
        and type_preference == TYPE_PREFERENCES.get(candidate.type, 0) - 27
        and local_preference & 0x1FFF == 0x1FFF
    )


def _icekit(candidate: Candidate, type_preference: int, local_preference: int) -> bool:
    # RFC 6544 §4.2: the direction in the upper three bits; the rest counts addresses down.
    direction, other = local_preference >> 13, local_preference & 0x1FFF
    return (
        candidate.transport == "tcp"
        and (candidate.type, candidate.tcptype, type_preference, direction)
        in (
            ("host", "active", 90, 6),
            ("host", "passive", 90, 4),
            ("srflx", "passive", 70, 2),
        )
        and 0x1FFF - other < 32
    )


# The number alone fits several; how a stack spells the transport (udp or UDP) tells most of them apart.
_FORMULAS: dict[str, Callable[[Candidate, int, int], bool]] = {
    "RFC 8445 with one address (aioice, pion, werift)": _recommended,
    "libwebrtc (Chrome, Edge, Safari)": _libwebrtc,
    "Firefox": _firefox,
    "libnice (GStreamer, Janus)": _libnice,
    "libjuice (libdatachannel)": _libjuice,
    "pion over TCP": _pion,
    "icekit over TCP": _icekit,
}
