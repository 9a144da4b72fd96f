"""What two ends of one path saw of each other's checks, put together: ``icekit probe --with``.

Each end tells its pairs with numbers (``EndChecks``). Two pairs are of the same path when they join the same two bases
(RFC 8445 §5.1.1): a check of A to the srflx candidate of B arrives at the host candidate of B, from an address that is
the srflx candidate of A, or a new one. Both ends merge the same two documents, and so come to the same verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from icekit.candidate import Candidate, CandidateType
from icekit.catalogue import new_finding
from icekit.errors import CandidateError, DecodeError
from icekit.findings import ranked
from icekit.ice_events import PairStats
from icekit.net import AddressClass
from icekit.path_mtu import PathMtu
from icekit.predict import predict
from icekit.probe_observations import udp_works
from icekit.report import Finding, PathKind, ProbeReport, from_dict
from icekit.rules_pairs import narrow_path
from icekit.rules_sides import sides_findings
from icekit.sides import Side

MAX_PAIRS = 200
"""Most pairs of one end that are read; an agent checks 100."""

_MAX_EVIDENCE = 12
_SUCCEEDED = "succeeded"
# Host addresses that others reach, too; laboratories use documentation ranges as public ones.
_REACHED_FROM_OUTSIDE = (
    *(AddressClass.GLOBAL, AddressClass.LOOPBACK),
    *(AddressClass.DOCUMENTATION, AddressClass.BENCHMARK),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPair:
    """One pair as one end saw it: ``local`` and ``remote`` are candidate lines, ``rtt`` is in seconds.

    ``packet_passed`` and ``packet_lost``: IP packets in bytes that come through to the other end and that do not;
    ``None``: not measured, as on all but the pair in use.
    """

    local: str
    remote: str
    state: str
    selected: bool = False
    rtt: float | None = None
    checks_sent: int = 0
    checks_received: int = 0
    responses_received: int = 0
    packet_passed: int | None = None
    packet_lost: int | None = None

    @property
    def path_mtu(self) -> PathMtu | None:
        """What this end has measured."""
        return None if self.packet_passed is None else PathMtu(self.packet_passed, self.packet_lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChecks:
    """What one end tells when its checks are over: its candidates as lines, and its pairs."""

    candidates: tuple[str, ...] = ()
    pairs: tuple[CheckedPair, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedPath:
    """Everything between two bases: ``a`` and ``b`` name them, the views are the pairs of each end.

    ``selected``: A, which is controlling, would use it for a call. ``seen``: what became of the checks, in sentences.
    """

    a: str
    b: str
    works: bool
    selected: bool = False
    seen: tuple[str, ...] = ()
    a_view: tuple[CheckedPair, ...] = ()
    b_view: tuple[CheckedPair, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSidedReport:
    """``path`` is what the checks found, ``predicted`` what the two probes alone would say; ``this_side`` is A or B."""

    this_side: str
    path: PathKind
    summary: str
    predicted: PathKind
    predicted_why: str
    findings: tuple[Finding, ...]
    pairs: tuple[MergedPath, ...]
    a: ProbeReport
    b: ProbeReport

    _schema: ClassVar = "icekit/probe-with/1"


def plain_line(candidate: Candidate) -> str:
    """The line without extensions: they hold a ufrag, and nothing that is needed here."""
    related = (candidate.related_address, candidate.related_port)
    extra = "" if None in related else f" raddr {related[0]} rport {related[1]}"
    tcp = "" if candidate.tcptype is None else f" tcptype {candidate.tcptype}"
    return (
        f"candidate:{candidate.foundation} {candidate.component} {candidate.transport} {candidate.priority} "
        f"{candidate.address} {candidate.port} typ {candidate.type}{extra}{tcp}"
    )


def end_checks(candidates: Iterable[Candidate], stats: Iterable[PairStats]) -> EndChecks:
    """What to tell the other end."""
    return EndChecks(
        candidates=tuple(map(plain_line, candidates)),
        pairs=tuple(
            CheckedPair(
                local=plain_line(pair.local),
                remote=plain_line(pair.remote),
                state=pair.state,
                selected=pair.selected,
                rtt=pair.rtt,
                checks_sent=pair.checks_sent,
                checks_received=pair.checks_received,
                responses_received=pair.responses_received,
                packet_passed=None if pair.mtu is None else pair.mtu.passed,
                packet_lost=None if pair.mtu is None else pair.mtu.lost,
            )
            for pair in stats
        )[:MAX_PAIRS],
    )


def read_end_checks(value: Mapping[str, Any]) -> EndChecks:
    """What the other end told; DecodeError names what is wrong."""
    checks = from_dict(EndChecks, dict(value), "checks")
    if len(checks.pairs) > MAX_PAIRS or len(checks.candidates) > MAX_PAIRS:
        raise DecodeError(f"checks: found more than {MAX_PAIRS} pairs or candidates")
    for pair in checks.pairs:
        for number in (pair.checks_sent, pair.checks_received, pair.responses_received):
            if not 0 <= number < 10**9:
                raise DecodeError("checks.pairs: a number of checks is out of range")
        for size in (pair.packet_passed, pair.packet_lost):
            if not 0 <= (size or 0) <= 65535:
                raise DecodeError("checks.pairs: the size of a packet is out of range")
    for line in (*checks.candidates, *(line for pair in checks.pairs for line in (pair.local, pair.remote))):
        try:
            Candidate.parse(line, strict=False)
        except CandidateError as error:
            raise DecodeError(f"checks: {error}") from None
    return checks


def merge(this_side: str, a: ProbeReport, b: ProbeReport, a_checks: EndChecks, b_checks: EndChecks) -> TwoSidedReport:
    """Both views as one; the same on both ends but for ``this_side``."""
    groups = _grouped(a_checks, b_checks)
    pairs = tuple(
        MergedPath(
            a=_named(base_a),
            b=_named(base_b),
            works=any(pair.state == _SUCCEEDED for pair in (*views[0], *views[1])),
            selected=any(pair.selected for pair in views[0]),
            seen=tuple(_seen(views, (a, b))),
            a_view=tuple(views[0]),
            b_view=tuple(views[1]),
        )
        for (base_a, base_b), views in groups.items()
    )
    pairs = tuple(sorted(pairs, key=lambda pair: (not pair.works, not pair.selected)))
    prediction = predict(Side.from_report(a), Side.from_report(b))
    path, summary = _verdict(a_checks, b_checks)
    findings = list(sides_findings(a, b))
    if path is PathKind.NONE:
        evidence = [
            f"{name} has no candidate" for name, end in (("A", a_checks), ("B", b_checks)) if not end.candidates
        ]
        evidence += [line for pair in pairs for line in pair.seen]
        if prediction.path is PathKind.NONE:
            evidence.insert(0, f"the two probes say why: {prediction.why}")
        findings.insert(0, new_finding("CALL-PATH", summary, *evidence[:_MAX_EVIDENCE]))
    findings += narrow_path({"from A to B": _mtu_in_use(a_checks), "from B to A": _mtu_in_use(b_checks)})
    return TwoSidedReport(
        this_side=this_side,
        path=path,
        summary=summary,
        predicted=prediction.path,
        predicted_why=prediction.why,
        findings=ranked(findings),
        pairs=pairs,
        a=a,
        b=b,
    )


_Base = tuple[str, str, int]
_Views = tuple[list[CheckedPair], list[CheckedPair]]


def _verdict(a: EndChecks, b: EndChecks) -> tuple[PathKind, str]:
    # The pair that A, which is controlling, has chosen; without one, the best that works.
    working = [(pair, "A", "B") for pair in a.pairs if pair.state == _SUCCEEDED]
    working += [(pair, "B", "A") for pair in b.pairs if pair.state == _SUCCEEDED]
    if not working:
        return PathKind.NONE, "No pair of candidates works between A and B."
    pair, near, far = next((item for item in working if item[0].selected), working[0])
    local, remote = _parsed(pair.local), _parsed(pair.remote)
    relays = [name for name, candidate in ((near, local), (far, remote)) if candidate.type is CandidateType.RELAYED]
    if not relays:
        return PathKind.DIRECT, "A and B reach each other directly."
    whose = f"the relay of {relays[0]}" if len(relays) == 1 else "the relays of both"
    return PathKind.RELAY, f"A and B reach each other through {whose}."


def _mtu_in_use(end: EndChecks) -> PathMtu | None:
    return next((pair.path_mtu for pair in end.pairs if pair.selected), None)


def _grouped(a: EndChecks, b: EndChecks) -> dict[tuple[_Base, _Base], _Views]:
    """The pairs of both ends by the bases that they join."""
    of_a, of_b = _bases(a), _bases(b)
    groups: dict[tuple[_Base, _Base], _Views] = {}
    for index, end, other in ((0, a, of_b), (1, b, of_a)):
        for pair in end.pairs:
            near, far = _base(_parsed(pair.local)), _far_base(_parsed(pair.remote), other)
            key = (near, far) if index == 0 else (far, near)
            groups.setdefault(key, ([], []))[index].append(pair)
    return groups


def _parsed(line: str) -> Candidate:
    return Candidate.parse(line, strict=False)


def _base(candidate: Candidate) -> _Base:
    if candidate.type in (CandidateType.HOST, CandidateType.RELAYED):
        kind = "relay" if candidate.type is CandidateType.RELAYED else "host"
        return kind, candidate.address, candidate.port
    if candidate.related_address is not None and candidate.related_port is not None:
        return "host", candidate.related_address, candidate.related_port
    return str(candidate.type), candidate.address, candidate.port


def _bases(end: EndChecks) -> dict[tuple[str, int], _Base]:
    """The base of each address under which an end is known, those of its pairs included."""
    lines = (*end.candidates, *(pair.local for pair in end.pairs))
    return {(item.address, item.port): _base(item) for item in map(_parsed, lines)}


def _far_base(remote: Candidate, known: Mapping[tuple[str, int], _Base]) -> _Base:
    """Where the checks to ``remote`` arrive. A peer-reflexive one is a new port of a NAT that its end cannot see."""
    told = known.get((remote.address, remote.port))
    if told is not None:
        return told
    six = ":" in remote.address
    hosts = {base for base in known.values() if base[0] == "host" and (":" in base[1]) == six}
    same = {base for (host, _), base in known.items() if host == remote.address and base[0] == "host"} or hosts
    return same.pop() if len(same) == 1 else _base(remote)


def _named(base: _Base) -> str:
    kind, host, port = base
    return f"{kind} [{host}]:{port}" if ":" in host else f"{kind} {host}:{port}"


def _seen(views: _Views, reports: tuple[ProbeReport, ProbeReport]) -> Iterator[str]:
    """One sentence for each candidate that was checked: how many were sent, and what became of them."""
    for near, far, x, y in ((0, 1, "A", "B"), (1, 0, "B", "A")):
        sent_from, arrived = views[near], sum(pair.checks_received for pair in views[far])
        works = any(pair.state == _SUCCEEDED for pair in sent_from)
        for pair in sent_from:
            remote = _parsed(pair.remote)
            target = f"{y}'s {_named((str(remote.type), remote.address, remote.port))}"
            count = f"{pair.checks_sent} check{'' if pair.checks_sent == 1 else 's'}"
            if pair.checks_sent == 0:
                continue
            if pair.state == _SUCCEEDED:
                yield f"{x} sent {count} to {target}: {pair.responses_received} answered."
            elif not arrived:
                heard = any(item.checks_received for item in sent_from)
                yield f"{x} sent {count} to {target}, {y} saw none: {_culprit(remote, x, y, reports[near], heard)}."
            elif not works:
                yield f"{x} sent {count} to {target}; {y} saw checks of {x}, but no answer came back to {x}."


def _culprit(remote: Candidate, x: str, y: str, report: ProbeReport, heard: bool) -> str:
    """Who drops what ``x`` sent, as far as it is known; ``heard``: checks of ``y`` do arrive at ``x`` on this path."""
    if remote.type is CandidateType.HOST and remote.address_class not in _REACHED_FROM_OUTSIDE:
        return "an address of a local network, which only that network reaches"
    if udp_works(report) is False:
        return f"the network of {x} lets no UDP out"
    if remote.type is CandidateType.RELAYED:
        return f"the relay of {y}, or a firewall before it, dropped them"
    if udp_works(report):
        also = f"; those of {y} do arrive at {x}" if heard else ""
        return f"the firewall or NAT of {y} dropped them{also}"
    return f"a firewall or NAT between {x} and {y} dropped them"
