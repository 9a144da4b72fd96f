"""Rules about the pairs of an ICE connection: why it has failed, as its own side sees it, and how narrow it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from icekit.candidate import Candidate, CandidateType
from icekit.catalogue import CODES, new_finding
from icekit.ice_events import PairStats
from icekit.path_mtu import WANTED_PACKET, PathMtu
from icekit.report import Finding, Severity


def pair_findings(local: Collection[Candidate], pairs: Collection[PairStats]) -> Iterator[Finding]:
    """CALL-LOST for a path that once worked, CALL-PASSWORD where checks were refused, else CALL-PATH."""
    worked = any(pair.responses_received for pair in pairs)
    refused = any(pair.checks_refused for pair in pairs)
    code = "CALL-LOST" if worked else "CALL-PASSWORD" if refused else "CALL-PATH"
    yield new_finding(code, CODES[code].meaning, *_evidence(local, pairs))


def _evidence(local: Collection[Candidate], pairs: Collection[PairStats]) -> Iterator[str]:
    if not local:
        yield "this side has no candidate"
    elif not pairs:
        yield "nothing was checked: no candidate of the peer fits one of this side"
    else:
        sent, answered, received, refused = (
            sum(getattr(pair, name) for pair in pairs)
            for name in ("checks_sent", "responses_received", "checks_received", "checks_refused")
        )
        on = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
        yield f"{sent} checks sent on {on}, {answered} answered, {received} received from the peer"
        if not answered and refused:
            yield f"the peer has refused {refused} of them: ice-ufrag or ice-pwd are not what it has"
        elif not answered and not received:
            yield "nothing came from the peer: NATs or firewalls drop the checks, or it has not begun"
        elif not answered:
            yield "checks of the peer arrive, but no answer to those of this side"
    if not any(candidate.type is CandidateType.RELAYED for candidate in local):
        yield "this side has no relay candidate"
    if pairs and not any(pair.remote.type is CandidateType.RELAYED for pair in pairs):
        yield "the peer has no relay candidate"


def narrow_path(measured: Mapping[str, PathMtu | None], severity: Severity | None = None) -> Iterator[Finding]:
    """ICE029: the path loses packets that it should take. The keys say where from and where to."""
    narrow = {way: mtu for way, mtu in measured.items() if mtu is not None and mtu.is_narrow}
    if narrow:
        message = f"The path loses packets of {WANTED_PACKET} bytes, and smaller ones pass."
        evidence = (
            f"{way}: IP packets of {mtu.passed} bytes pass, those of {mtu.lost} are lost" for way, mtu in narrow.items()
        )
        yield new_finding("ICE029", message, *evidence, severity=severity)
