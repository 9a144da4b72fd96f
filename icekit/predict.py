"""Will these two connect, by which path, how soon, and why: ``predict(a, b)``.

``icekit.possibilities`` plays ICE over what is known of the two networks. Here the outcomes become one answer: the path
is ``maybe`` only if a measurement that is ``None`` decides it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar

from icekit.candidate import CandidateType
from icekit.connectivity import Neighbours, WorkingPair
from icekit.nat_presets import PRESETS
from icekit.net import Transport
from icekit.possibilities import Outcome, Unknown, decisive, neighbours, outcomes
from icekit.probe_observations import families
from icekit.report import Behavior, NatReport, PathKind
from icekit.sides import Relay, Side

__all__ = ["Change", "ChangeKind", "Matrix", "MatrixCell", "Prediction", "SetupTime", "matrix", "predict"]

_RELAYED = CandidateType.RELAYED
_DEPENDENT = (Behavior.ADDRESS_DEPENDENT, Behavior.ADDRESS_AND_PORT_DEPENDENT)
_BADNESS = {PathKind.DIRECT: 0, PathKind.RELAY: 1, PathKind.NONE: 2}


class ChangeKind(StrEnum):
    """What can be changed on one side."""

    TURN = "turn"
    TURN_TLS_443 = "turn-tls-443"
    PORT_MAPPING = "port-mapping"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class Change:
    """One change on one side (``a`` or ``b``), and the path that it gives for sure."""

    kind: ChangeKind
    side: str
    path: PathKind
    text: str


@dataclass(frozen=True, slots=True)
class SetupTime:
    """When data may flow on each side, in seconds after A, which offers and controls, began to gather."""

    a: float
    b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The answer. ``a`` and ``b`` are the two sides in the order in which they were given.

    ``possible``            every path that what was measured allows; more than one only if ``path`` is ``maybe``
    ``local``, ``remote``   kinds of the candidates of A and of B, as A sees them
    ``relays``              whose relay carries it
    ``family``              4 or 6
    ``peer_rtt``            round-trip time of the path, estimated (seconds)
    ``setup``               the limit that no agent beats, no promise
    ``reason``              why a field is ``None``
    """

    path: PathKind
    possible: tuple[PathKind, ...]
    local: CandidateType | None = None
    remote: CandidateType | None = None
    relays: tuple[str, ...] = ()
    family: int | None = None
    peer_rtt: float | None = None
    setup: SetupTime | None = None
    best_change: Change | None = None
    why: str = ""
    reason: dict[str, str] = field(default_factory=dict)

    _schema: ClassVar = "icekit/predict/1"


_CARRIED = ("local", "remote", "family", "peer_rtt", "setup")
_Choice = tuple[int, tuple[WorkingPair, ...]]  # the family and what works in it


def predict(a: Side, b: Side, *, signaling_rtt: float | None = None) -> Prediction:
    """What happens when ``a`` calls ``b``; ``signaling_rtt`` (seconds) is for the setup time. Never raises."""
    found = {family: outcomes(a, b, family) for family in (4, 6)}
    choices = _choices(found)
    possible = _paths(choices)
    result = Prediction(
        path=possible[0] if len(possible) == 1 else PathKind.MAYBE,
        possible=possible,
        best_change=_best_change(a, b, possible),
    )
    match result.path:
        case PathKind.MAYBE:
            unknown = [name for each in found.values() for name in decisive(each, lambda outcome: outcome.path)]
            why = f"It depends on what was not measured, {_fields(unknown)}: {_or(possible)}."
            return replace(result, why=why, reason=dict.fromkeys(_CARRIED, "the path is not certain"))
        case PathKind.NONE:
            why = _sentence(f"{_obstacle(a, b)}, and {_no_relay(a, b)}")
            return replace(result, why=why, reason=dict.fromkeys(_CARRIED, "there is no path"))
    if len(choices) > 1:
        unknown = [name for each in found.values() for name in decisive(each, lambda outcome: outcome.pairs)]
        families = {family for family, _ in choices}
        result = replace(
            result,
            family=families.pop() if len(families) == 1 else None,
            why=f"Whatever was not measured ({_fields(unknown)}) is like, there is a {_PATHS[result.path]} path.",
        )
        text = f"it depends on {_fields(unknown)}"
        return replace(result, reason={name: text for name in _CARRIED if getattr(result, name) is None})
    [(family, pairs)] = choices
    pair = min((pair for pair in pairs if pair.relays == pairs[0].relays), key=lambda pair: _far(pair, a, b, family))
    relays = tuple(name for name, kind in (("a", pair.local), ("b", pair.remote)) if kind is _RELAYED)
    result = replace(result, local=pair.local, remote=pair.remote, relays=relays, family=family)
    why = _why_relay(a, b, relays) if relays else _why_direct(a, b, pair, family)
    return _timed(replace(result, why=why), a, b, signaling_rtt)


def _choices(found: dict[int, list[Outcome]]) -> set[_Choice]:
    """What carries the call, over every combination of what can happen in each family."""
    four, six = ({outcome.pairs for outcome in found[family]} for family in (4, 6))
    # RFC 8421 §4: between equals IPv6 goes first.
    return {
        (6, other) if other and (not one or other[0].relays <= one[0].relays) else (4, one)
        for one, other in itertools.product(four, six)
    }


def _paths(choices: set[_Choice]) -> tuple[PathKind, ...]:
    paths = {Outcome(pairs).path for _, pairs in choices}
    return tuple(path for path in _BADNESS if path in paths)


# --- how soon --------------------------------------------------------------------------------------------------------


def _relay_of(side: Side, family: int) -> tuple[float, Relay] | None:
    """The relay that is there first, and when: two round trips, one more over TCP, two over TLS 1.3."""
    more = {Transport.TCP: 1, Transport.TLS: 2, Transport.DTLS: 2}
    times = [
        (side.rtts[relay.host] * (2 + (more.get(relay.transport, 0) if relay.transport else 0)), relay)
        for relay in side.relays
        if relay.family == family and relay.host in side.rtts
    ]
    return min(times, key=lambda item: item[0], default=None)


def _far(pair: WorkingPair, a: Side, b: Side, family: int) -> float:
    """When the relays of a pair are there; equal pairs are told apart by it."""
    ready = [_relay_of(side, family) for side, kind in ((a, pair.local), (b, pair.remote)) if kind is _RELAYED]
    return max((float("inf") if item is None else item[0] for item in ready), default=0.0)


class _Unmeasured(Exception):
    """The sentence says which time was not measured."""


def _timed(result: Prediction, a: Side, b: Side, signaling: float | None) -> Prediction:
    try:
        peer, ready_a, ready_b = _round_trip(result, a, b)
    except _Unmeasured as error:
        return replace(result, reason=dict.fromkeys(("peer_rtt", "setup"), str(error)))
    result = replace(result, peer_rtt=peer)
    if signaling is None:
        return replace(result, reason={"setup": "the round-trip time of the signaling is not known (--signaling-rtt)"})
    try:
        return replace(result, setup=_setup(result, a, b, signaling, peer, (ready_a, ready_b)))
    except _Unmeasured as error:
        return replace(result, reason={"setup": str(error)})


def _round_trip(result: Prediction, a: Side, b: Side) -> tuple[float, float, float]:
    """The round-trip time of the path, and when the relays of A and B are there (0 without one)."""
    assert result.family is not None
    if not result.relays:
        if any(near is Neighbours.SAME_NETWORK for near, _ in neighbours(a, b, result.family)):
            raise _Unmeasured("no round trip inside the network that both share was measured")
        # A server at T of one and U of the other leaves |T − U| to T + U between the two; the middle is the larger.
        common = [max(a.rtts[host], b.rtts[host]) for host in a.rtts.keys() & b.rtts.keys()]
        if not common:
            raise _Unmeasured("the two sides measured no server in common")
        return min(common), 0.0, 0.0
    ready = {"a": 0.0, "b": 0.0}
    hosts = set()
    for name, side in (("a", a), ("b", b)):
        if name in result.relays:
            relay = _relay_of(side, result.family)
            if relay is None:
                raise _Unmeasured(f"{name.upper()} has not measured the round trip to its relay")
            ready[name] = relay[0]
            hosts.add(relay[1].host)
    if len(hosts) > 1:
        raise _Unmeasured("the round trip between the two relays was not measured")
    host = hosts.pop() or ""
    for name, side in (("A", a), ("B", b)):
        if host not in side.rtts:
            raise _Unmeasured(f"{name} has not measured the round trip to the other side's relay")
    return a.rtts[host] + b.rtts[host], ready["a"], ready["b"]


def _setup(
    result: Prediction, a: Side, b: Side, signaling: float, peer: float, ready: tuple[float, float]
) -> SetupTime:
    """The limit: trickle both ways, B starts when A's offer arrives, each check as early as it can pass.

    S is the signaling's round trip, P the path's. A relay is there after R (twice its T), a mapped address after T.
    """
    s, p = signaling, peer
    if result.local is result.remote is CandidateType.HOST:
        return SetupTime(s + p, s / 2 + p)
    match result.relays:
        case ("a",):
            r, start = ready[0], max(ready[0], s + _mapped_after(b, "B", result.remote))
        case ("b",):
            r, start = ready[1], s + ready[1]
        case ("a", "b"):
            return SetupTime(s + max(ready) + p, s + max(ready) + 1.5 * p)
        case _:
            r = max(_mapped_after(a, "A", result.local), _mapped_after(b, "B", result.remote))
            start = s + r
    # The answerer's first check already finds the way open, unless signaling is slow or the offerer's port is unknown.
    early = s <= p and CandidateType.PEER_REFLEXIVE not in ((result.local, result.remote) if not result.relays else ())
    return SetupTime(start + p, s / 2 + r + p if early else start + 1.5 * p)


def _mapped_after(side: Side, name: str, kind: CandidateType | None) -> float:
    if kind is CandidateType.HOST:
        return 0.0
    if not side.rtts:
        raise _Unmeasured(f"{name} has measured no round-trip time to a server")
    return min(side.rtts.values())


# --- what would help -------------------------------------------------------------------------------------------------


def _best_change(a: Side, b: Side, possible: Sequence[PathKind]) -> Change | None:
    """The first change in the order of ``_changes`` after which the worst that can happen is better than now."""
    worst = _BADNESS[possible[-1]]
    if not worst:
        return None
    # Where a relay is there for sure, only a direct path is worth a change; where nothing is, a relay is the surest.
    for kind in list(ChangeKind)[0 if worst == 2 else 2 :]:
        for name, side, other in (("a", a, b), ("b", b, a)):
            changed = _changed(kind, side, other)
            if changed is None:
                continue
            pair = (changed, b) if name == "a" else (a, changed)
            after = _paths(_choices({family: outcomes(*pair, family) for family in (4, 6)}))[-1]
            if _BADNESS[after] < worst:
                return Change(kind, name, after, _CHANGES[kind].format(name.upper(), "AB"[name == "a"]))
    return None


_CHANGES = {
    ChangeKind.TURN: "Give {0} a TURN server.",
    ChangeKind.TURN_TLS_443: "Give {0} a TURN server over TLS on port 443: UDP is blocked there.",
    ChangeKind.PORT_MAPPING: "Let the gateway of {0} open a port (UPnP, NAT-PMP or PCP), or forward one by hand.",
    ChangeKind.IPV6: "Give {0} IPv6, which {1} has.",
}


def _changed(kind: ChangeKind, side: Side, other: Side) -> Side | None:
    """The side after the change; ``None``: it cannot be made there."""
    four, blocked = side.nat.ipv4, _is_blocked(side)
    match kind:
        case ChangeKind.TURN | ChangeKind.TURN_TLS_443:
            if side.relays or blocked != (kind is ChangeKind.TURN_TLS_443) or (blocked and side.tcp is False):
                return None
            return replace(side, relays=(Relay(),))
        case ChangeKind.PORT_MAPPING:
            # A home's gateway cannot open a port of the carrier's NAT.
            if four is None or not four.udp or four.cgnat or (four.nats or 0) > 1 or side.port_mapping is False:
                return None
            free = Behavior.ENDPOINT_INDEPENDENT
            opened = replace(four, mapping=None if four.behind_nat is False else free, filtering=free)
            return replace(side, nat=replace(side.nat, ipv4=opened), reflexive=True)
        case ChangeKind.IPV6:
            if side.nat.ipv6 is not None or other.nat.ipv6 is None:
                return None
            usual = NatReport(behind_nat=False, udp=True, filtering=Behavior.ADDRESS_AND_PORT_DEPENDENT)
            return replace(side, nat=replace(side.nat, ipv6=usual))


# --- why -------------------------------------------------------------------------------------------------------------

_PATHS = {PathKind.DIRECT: "direct", PathKind.RELAY: "relayed"}
_FIELDS = {
    "udp": "whether UDP passes at {}",
    "behind_nat": "whether {} is behind a NAT",
    "mapping": "the mapping of the NAT of {}",
    "filtering": "the filtering at {}",
    "address_pooling": "the address pooling of the NAT of {}",
    "hairpinning": "whether the NAT that both share sends packets back inside",
    "network": "whether both are in the same network",
}


def _fields(unknown: Sequence[Unknown]) -> str:
    return _and([_FIELDS[name].format(side.upper()) for side, name in dict.fromkeys(unknown)])


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _or(possible: Sequence[PathKind]) -> str:
    words = [
        {PathKind.DIRECT: "a direct path", PathKind.RELAY: "a relay", PathKind.NONE: "no path"}[p] for p in possible
    ]
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _is_blocked(side: Side) -> bool:
    reports = [nat for _, nat in families(side.nat)]
    return bool(reports) and all(nat.udp is False for nat in reports)


def _why_direct(a: Side, b: Side, pair: WorkingPair, family: int) -> str:
    over = " over IPv6" if family == 6 else ""
    host, prflx = CandidateType.HOST, CandidateType.PEER_REFLEXIVE
    if any(near is Neighbours.SAME_NETWORK for near, _ in neighbours(a, b, family)):
        return f"Both are in the same network and reach each other there{over}."
    if pair.local is pair.remote is host:
        return f"Both have public addresses and open their own firewalls by sending{over}."
    for name, other, kind in (("A", "B", pair.local), ("B", "A", pair.remote)):
        if kind is prflx:
            return f"The NAT of {name} uses another port for each peer, but {other} lets any of them in{over}."
    for name, other, kind in (("A", "B", pair.local), ("B", "A", pair.remote)):
        if kind is host:
            return f"{name} has a public address, and the NAT of {other} keeps one port for every peer{over}."
    return f"Both NATs keep one port for every peer, so each side opens its own for the other{over}."


def _why_relay(a: Side, b: Side, relays: tuple[str, ...]) -> str:
    whose = "both relays carry" if len(relays) == 2 else f"the relay of {relays[0].upper()} carries"
    return _sentence(f"{_obstacle(a, b)}; {whose} the call")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _obstacle(a: Side, b: Side) -> str:
    """Why there is no direct path."""
    if blocked := [name for name, side in (("A", a), ("B", b)) if _is_blocked(side)]:
        return f"UDP is blocked at {_and(blocked)}"
    common = [family for family in (6, 4) if a.nat_of(family) is not None and b.nat_of(family) is not None]
    if not common:
        return "A and B have no family of addresses in common"
    family = next((f for f in common if all((nat := s.nat_of(f)) is not None and nat.udp for s in (a, b))), common[-1])
    if any(near is Neighbours.SAME_NAT for near, _ in neighbours(a, b, family)):
        return "both are behind one NAT, which does not send packets back inside (hairpinning)"
    reports = [(name, side.nat_of(family)) for name, side in (("A", a), ("B", b))]
    changing = [name for name, nat in reports if nat is not None and nat.mapping in _DEPENDENT]
    if len(changing) == 2:
        return "both NATs use another port for each peer"
    if changing:
        other = "B" if changing == ["A"] else "A"
        return f"the NAT of {changing[0]} uses another port for each peer, which {other} does not let in"
    return "neither side learns an address at which the other can reach it"


def _no_relay(a: Side, b: Side) -> str:
    if not a.relays and not b.relays:
        return "no relay works"
    if a.relays and b.relays:
        return "the relays of the two sides cannot reach each other"
    return "B cannot reach the relay of A" if a.relays else "A cannot reach the relay of B"


# --- all presets -----------------------------------------------------------------------------------------------------

_TURN_SERVER = ("turn:192.0.2.1?transport=udp", "turns:192.0.2.1:443?transport=tcp")


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """Two presets, and their path when neither and when both have a TURN server (over UDP, and over TLS on 443)."""

    a: str
    b: str
    without_turn: PathKind
    with_turn: PathKind


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every preset with every other, row by row."""

    cells: tuple[MatrixCell, ...]

    _schema: ClassVar = "icekit/predict-matrix/1"


def matrix() -> Matrix:
    """The prediction for every pair of presets."""
    return Matrix(tuple(_cells()))


def _cells() -> Iterator[MatrixCell]:
    for a, b in itertools.product(PRESETS, repeat=2):
        plain, relayed = (
            predict(Side.from_preset(a, relay), Side.from_preset(b, relay)).path for relay in ((), _TURN_SERVER)
        )
        yield MatrixCell(a, b, plain, relayed)
