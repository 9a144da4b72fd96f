"""Rules about what one side told the other: a set of candidates, one description, or an offer with its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from icekit.candidate import Candidate, CandidateType
from icekit.catalogue import new_finding
from icekit.generation import credential_flaw
from icekit.net import AddressClass
from icekit.pair_matrix import Reach, distinct, family_of, is_usable, networks_differ, pair_matrix
from icekit.report import Finding, Severity
from icekit.rules_candidates import candidate_findings
from icekit.sdp import SdpMedia, SessionDescription

_STUN_TURN = "Give this side a STUN and a TURN server, and look at why they gave it nothing."
_NARROW = (
    AddressClass.LOOPBACK,
    AddressClass.LINK_LOCAL,
    AddressClass.PRIVATE,
    AddressClass.CGNAT,
    AddressClass.ULA,
    AddressClass.MDNS,
)
MAX_EVIDENCE = 4


def told_findings(candidates: Sequence[Candidate], *, more: bool, who: str = "This side") -> Iterator[Finding]:
    """ICE009 and what else a set of candidates tells; ``more``: others may follow (trickle)."""
    if not candidates:
        if not more:
            fix = "Send the description when gathering is complete, or announce trickle and send every candidate."
            yield new_finding("ICE009", f"{who} tells no candidate, and announces none for later.", fix=fix)
        return
    for candidate in distinct(candidates):
        yield from candidate_findings(candidate)
    so_far = " so far" if more else ""
    usable = [candidate for candidate in candidates if is_usable(candidate)]
    if len(usable) < len(candidates):
        useless = distinct(candidate for candidate in candidates if not is_usable(candidate))
        message = f"{who} tells {_list(useless)}, where nobody can send to."
        severity = Severity.INFO if usable else None
        fix = "Let the program announce an address that it has, not the one that it listens on."
        yield new_finding("ICE009", message, *_lines(useless), fix=fix, severity=severity)
    if not usable:
        return
    kinds = {candidate.address_class for candidate in usable}
    if all(candidate.transport.lower() == "tcp" for candidate in usable):
        message = f"{who} tells only TCP candidates{so_far}: a side that has UDP alone, as aiortc, cannot use them."
        fix = "Find out what drops UDP there: a firewall, a VPN, a browser policy; or add a TURN server over TLS."
        yield new_finding("ICE009", message, *_lines(usable), fix=fix)
    elif kinds <= {AddressClass.MDNS}:
        message = f"{who} tells only .local names{so_far}: only devices in the same network can resolve them."
        yield new_finding("ICE009", message, *_lines(usable), fix=_STUN_TURN)
    elif kinds <= {AddressClass.LOOPBACK}:
        message = f"{who} tells only loopback addresses{so_far}: only programs on the same machine reach them."
        yield new_finding("ICE009", message, *_lines(usable), fix="Let it gather from a network interface.")
    elif kinds <= set(_NARROW):
        message = f"{who} tells only {_list(distinct(usable))}{so_far}: reached only from the same network."
        fix = f"{_STUN_TURN} In a container use the host's network, or announce the host's address."
        yield new_finding("ICE009", message, *_lines(usable), fix=fix)
    elif {family_of(candidate) for candidate in usable} == {6}:
        message = f"{who} tells only IPv6 addresses{so_far}: a side without IPv6 cannot reach it."
        fix = "Give this side a TURN server that relays over IPv4."
        yield new_finding("ICE009", message, *_lines(usable), fix=fix)
    nameless = [candidate for candidate in usable if not candidate.foundation]
    if nameless:
        message = f"{who} tells {_count(len(nameless), 'candidate')} without a foundation: strict stacks drop them."
        fix = "Send candidate lines as they were made; the foundation is the word after candidate:."
        yield new_finding("ICE009", message, *_lines(nameless), fix=fix)


def _list(candidates: Sequence[Candidate]) -> str:
    addresses = list(dict.fromkeys(candidate.address for candidate in candidates))
    more = len(addresses) - 3
    return ", ".join(addresses[:3]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _lines(candidates: Iterable[Candidate]) -> list[str]:
    return [str(candidate) for candidate in distinct(candidates)[:MAX_EVIDENCE]]


# --- one description -------------------------------------------------------------------------------------------------


def description_findings(description: SessionDescription, who: str = "This side") -> Iterator[Finding]:
    """What one description tells by itself."""
    yield from credential_findings(description, who)
    yield from told_findings(candidates_of(description), more=may_follow(description), who=who)
    yield from _other_session(description, who)
    live = [section for section in description.media if section.candidates]
    if live and not trickles(description) and not all(section.end_of_candidates for section in live):
        message = f"{who} neither ends its candidates (a=end-of-candidates) nor announces trickle: the other waits."
        fix = "Send a=end-of-candidates, or addIceCandidate(null) at the other side, when there are no more."
        yield new_finding("ICE009", message, fix=fix)
    if not any(is_wide(candidate) for candidate in candidates_of(description)):
        return
    if not has_relay(candidates_of(description)) and not may_follow(description) and _behind_nat(description):
        message = f"{who} has no relay candidate: it connects only where the NATs between let it."
        yield new_finding("ICE001", message)


def is_wide(candidate: Candidate) -> bool:
    """Whether it can be reached from outside its own network."""
    return is_usable(candidate) and candidate.address_class not in _NARROW


def candidates_of(description: SessionDescription) -> list[Candidate]:
    """All candidates of all sections."""
    return [candidate for _, candidate in description.candidates]


def trickles(description: SessionDescription) -> bool:
    """Whether trickle is announced (RFC 8838 §3)."""
    return any("trickle" in options for options in (description.options, *(each.options for each in description.media)))


def may_follow(description: SessionDescription) -> bool:
    """Whether candidates may follow: trickle is announced, and some section has not ended."""
    ended = [section.end_of_candidates for section in description.media if section.candidates]
    return trickles(description) and not (ended and all(ended))


def has_relay(candidates: Iterable[Candidate]) -> bool:
    """Whether a TURN server has given an address."""
    return any(candidate.type is CandidateType.RELAYED for candidate in candidates)


def _behind_nat(description: SessionDescription) -> bool:
    return any(candidate.type is CandidateType.SERVER_REFLEXIVE for candidate in candidates_of(description))


def _in_use(description: SessionDescription) -> list[SdpMedia]:
    """Sections that ICE is done for: not rejected, and not bundled with another one."""
    followers = {mid for group in description.bundle for mid in group[1:]}
    return [section for section in description.media if section.port != 0 and section.mid not in followers]


def credential_findings(description: SessionDescription, who: str) -> Iterator[Finding]:
    """ICE026: a section in which no check can be signed."""
    for section in _in_use(description):
        missing = [name for name, value in (("ice-ufrag", section.ufrag), ("ice-pwd", section.pwd)) if not value]
        if missing:
            message = f"{who} has no {' and no '.join(missing)} in {_name(section)}: no check can be signed."
            yield new_finding("ICE026", message)
            return
        if credential_flaw(section.ufrag or "", section.pwd or "") is not None:
            message = (
                f"{who} has an ice-ufrag or ice-pwd in {_name(section)} that is too short or too long, or has other "
                "characters than letters, digits, + and /: it was cut or made up."
            )
            yield new_finding("ICE026", message)
            return


def _name(section: SdpMedia) -> str:
    mid = "" if section.mid is None else f", mid {section.mid[:20]}"
    return f"section {section.index} ({section.kind[:20]}{mid})"


def _other_session(description: SessionDescription, who: str) -> Iterator[Finding]:
    for section in description.media:
        strangers = [
            candidate
            for candidate in section.candidates
            if section.ufrag is not None and candidate.extension("ufrag") not in (None, section.ufrag)
        ]
        if strangers:
            message = (
                f"{who} tells {_count(len(strangers), 'candidate')} of another ICE session in {_name(section)}: "
                "they are dropped."
            )
            fix = "Send candidates with the description that they were gathered for; after a restart, forget the old."
            yield new_finding("ICE009", message, *_lines(strangers), f"a=ice-ufrag:{section.ufrag}", fix=fix)
            return


# --- an offer and its answer -----------------------------------------------------------------------------------------


def exchange_findings(offer: SessionDescription, answer: SessionDescription) -> Iterator[Finding]:
    """What an offer and its answer tell together, what breaks them first."""
    yield from misfits(offer, answer)
    sides = [candidates_of(offer), candidates_of(answer)]
    more = may_follow(offer) or may_follow(answer)
    told = []
    for description, who in ((offer, "The offer"), (answer, "The answer")):
        told += [finding for finding in description_findings(description, who) if finding.code != "ICE001"]
    yield from _pairs(sides[0], sides[1], more)
    yield from told
    wide = all(any(is_wide(candidate) for candidate in side) for side in sides)
    if wide and not any(has_relay(side) for side in sides) and not more:
        found = pair_matrix(*sides).found
        if Reach.DIRECT not in found:
            message = "Neither side has a relay candidate: the call connects only where the NATs between let it."
            yield new_finding("ICE001", message)


def misfits(offer: SessionDescription, answer: SessionDescription) -> Iterator[Finding]:
    """ICE025 to ICE027: why they cannot be taken for one exchange, whatever the candidates are."""
    yield from _sections(offer, answer)
    yield from _shared_credentials(offer, answer)
    yield from _roles(offer, answer)


def _sections(offer: SessionDescription, answer: SessionDescription) -> Iterator[Finding]:
    if len(offer.media) != len(answer.media):
        message = (
            f"The offer has {_count(len(offer.media), 'media section')}, the answer {len(answer.media)}: "
            "it is the answer to another offer, or was edited."
        )
        yield new_finding("ICE025", message, f"offer: {_kinds(offer)}", f"answer: {_kinds(answer)}")
        return
    for one, other in zip(offer.media, answer.media, strict=True):
        if one.kind != other.kind or (one.mid is not None and other.mid is not None and one.mid != other.mid):
            message = f"Section {one.index} is {_mid(one)} in the offer and {_mid(other)} in the answer."
            yield new_finding("ICE025", message, f"offer: {_kinds(offer)}", f"answer: {_kinds(answer)}")
            return
    offered = {frozenset(group) for group in offer.bundle}
    for group in answer.bundle:
        if not any(set(group) <= whole for whole in offered):
            message = f"The answer bundles {' '.join(group)[:60]}, which the offer did not (RFC 9143 §7.3)."
            yield new_finding("ICE025", message)
            return


def _kinds(description: SessionDescription) -> str:
    return ", ".join(_mid(section) for section in description.media[:8]) or "no m= line"


def _mid(section: SdpMedia) -> str:
    return section.kind[:20] + ("" if section.mid is None else f" (mid {section.mid[:20]})")


def _shared_credentials(offer: SessionDescription, answer: SessionDescription) -> Iterator[Finding]:
    pairs = [{(item.ufrag, item.pwd) for item in side.media if item.ufrag and item.pwd} for side in (offer, answer)]
    if shared := pairs[0] & pairs[1]:
        ufrag = min(ufrag or "" for ufrag, _ in shared)
        message = "Offer and answer have the same ice-ufrag and ice-pwd: a side was given its own description back."
        fix = "Send the offer to the other side, and give this side what createAnswer() made there."
        yield new_finding("ICE026", message, f"a=ice-ufrag:{ufrag}", fix=fix)


def _roles(offer: SessionDescription, answer: SessionDescription) -> Iterator[Finding]:
    if offer.lite and answer.lite:
        # RFC 8445 §2.5: lite agents send no checks.
        yield new_finding("ICE027", "Both sides are ICE-lite: each waits for the checks of the other.")
    for one, other in zip(_in_use(offer), _in_use(answer), strict=False):
        # RFC 8842 §5.2, §5.3: the offer says actpass, the answer takes one of the two.
        if other.setup == "actpass":
            yield new_finding("ICE027", "The answer says a=setup:actpass: neither side begins the DTLS handshake.")
            return
        if one.setup == other.setup and one.setup in ("active", "passive"):
            yield new_finding("ICE027", f"Both sides say a=setup:{one.setup}: the DTLS handshake cannot begin.")
            return


def _pairs(one: Sequence[Candidate], other: Sequence[Candidate], more: bool) -> Iterator[Finding]:
    if not one or not other:
        return
    so_far = " so far" if more else ""
    found = pair_matrix(one, other).found - {Reach.NEVER}
    if not found:
        why = _why_no_pair(one, other)
        message = f"No candidate of one side can pair with one of the other{so_far}: {why}."
        fix = "Give both sides a TURN server: a relay has every family that the other side needs, over UDP."
        yield new_finding("ICE009", message, *_lines(one)[:2], *_lines(other)[:2], fix=fix, severity=Severity.ERROR)
        return
    shared = {item.address for item in one if item.type is CandidateType.HOST} & {item.address for item in other}
    private = [address for address in sorted(shared) if _is_narrow(one, address)]
    if found == {Reach.HOST} and private:
        message = (
            f"Both sides tell the same private address, {private[0]}{so_far}: unless they run on one machine, each "
            "has an address of its own that looks the same, such as Docker's."
        )
        fix = "Run the container in the host's network, or announce the host's address; or give it a TURN server."
        yield new_finding("ICE009", message, fix=fix, severity=Severity.ERROR)
    elif found <= {Reach.LAN, Reach.HOST} and networks_differ(one, other):
        message = f"Both sides tell only private addresses{so_far}, and they are of different networks."
        fix = "Give both sides a STUN server, and one of them a TURN server."
        yield new_finding("ICE009", message, *_lines(one)[:2], *_lines(other)[:2], fix=fix, severity=Severity.ERROR)


def _is_narrow(candidates: Sequence[Candidate], address: str) -> bool:
    return any(item.address == address and item.address_class in _NARROW for item in candidates)


def _why_no_pair(one: Sequence[Candidate], other: Sequence[Candidate]) -> str:
    transports = [{item.transport.lower() for item in side} for side in (one, other)]
    if not transports[0] & transports[1]:
        return f"one side has only {_upper(transports[0])}, the other only {_upper(transports[1])}"
    families = [{family_of(item) for item in side} - {None} for side in (one, other)]
    if all(families) and not families[0] & families[1]:
        return f"one side has only IPv{_upper(families[0])}, the other only IPv{_upper(families[1])}"
    if not all(any(is_usable(item) for item in side) for side in (one, other)):
        return "nobody can send to the addresses of one side"
    return "each fits only what the other side has not got"


def _upper(words: Iterable[object]) -> str:
    return " and ".join(sorted(str(word).upper() for word in words))
