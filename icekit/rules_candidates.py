"""Rules about the candidates that one side has gathered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from icekit.candidate import Candidate, CandidateType
from icekit.catalogue import new_finding
from icekit.errors import CandidateError
from icekit.net import AddressClass, scope_of
from icekit.report import Finding

if TYPE_CHECKING:
    from icekit.probe_observations import Observations


def candidate_findings(candidate: Candidate) -> tuple[Finding, ...]:
    """What one line alone tells."""
    return (*_srflx_equals_related(candidate), *_narrow_relay(candidate))


def _srflx_equals_related(candidate: Candidate) -> Iterator[Finding]:
    same = candidate.address == candidate.related_address and candidate.port == candidate.related_port
    if candidate.type == CandidateType.SERVER_REFLEXIVE and same:
        message = "The server-reflexive address equals its related address: no NAT, or a made-up line."
        yield new_finding("ICE019", message, str(candidate))


def _narrow_relay(candidate: Candidate) -> Iterator[Finding]:
    """The related address of a relay is what the TURN server saw: a public one, so the server is on the Internet."""
    related = candidate.related_address
    if candidate.type is not CandidateType.RELAYED or related is None:
        return
    kind = candidate.address_class
    if scope_of(candidate.address) < scope_of(related) and kind not in (AddressClass.MDNS, AddressClass.NAME):
        message = (
            f"The relayed address {candidate.address} is {kind}, while the TURN server saw its client as {related}: "
            "from outside nobody reaches it."
        )
        fix = "Set external-ip on the server to its public address."
        yield new_finding("ICE006", message, str(candidate), fix=fix)


def _candidates(observed: Observations) -> Iterator[Candidate]:
    for line in observed.candidates:
        try:
            yield Candidate.parse(line, strict=False)
        except CandidateError:
            continue


def candidate_lines(observed: Observations) -> Iterator[Finding]:
    """ICE019 for what was gathered; relays are judged with their servers."""
    for candidate in _candidates(observed):
        yield from _srflx_equals_related(candidate)


def relay_unusable(observed: Observations) -> Iterator[Finding]:
    """A relayed address that reaches less far than every TURN server it can have come from."""
    from icekit.probe_observations import host_of, parse_url  # a single line does without it

    coded = {host_of(report.relayed_address) for report in observed.turn if not report.ok}
    turn = [(report.url, report.server_address) for report in observed.turn]
    turn += [(server.url, server.address) for server in observed.servers]
    hosts = [
        host
        for url, address in turn
        if (uri := parse_url(url)) is not None and uri.is_turn and (host := host_of(address)) is not None
    ]
    narrowest = min((scope_of(host) for host in hosts), default=0)
    for candidate in _candidates(observed):
        relayed = candidate.type == CandidateType.RELAYED and candidate.address not in coded
        if relayed and scope_of(candidate.address) < narrowest:
            message = f"The relayed address {candidate.address} cannot be reached from where the TURN server is."
            fix = "Set external-ip on the server to its public address."
            yield new_finding(
                "ICE006", message, str(candidate), f"TURN server: {', '.join(dict.fromkeys(hosts))}", fix=fix
            )
