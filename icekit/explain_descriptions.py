"""What ``icekit explain`` says of an SDP, and of an offer with its answer: who can reach whom, and what each lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from icekit.candidate import Candidate, CandidateType
from icekit.errors import DecodeError
from icekit.explain_gathering import CANDIDATE_COLUMNS, candidate_row, count
from icekit.explanation import Explanation, Fact, Kind, Table
from icekit.findings import ranked
from icekit.pair_matrix import MEANINGS, PairMatrix, Reach, distinct, family_of, pair_matrix
from icekit.pasted import DescriptionText
from icekit.rules_descriptions import (
    candidates_of,
    description_findings,
    exchange_findings,
    has_relay,
    is_wide,
    may_follow,
    trickles,
)
from icekit.sdp import CandidateInit, SessionDescription, read_sdp

MAX_SHOWN = 8
"""Most candidates of a side that get a row or a column of the matrix."""


def explain_description(text: DescriptionText) -> Explanation:
    """One description, with the candidates that were pasted beside it."""
    try:
        description = _read(text)
    except DecodeError as error:
        return Explanation(Kind.DESCRIPTION, "An SDP that cannot be read.", problem=str(error))
    candidates = candidates_of(description)
    what = f"An SDP {text.type}" if text.type else "An SDP"
    number = len(description.media)
    sections = f"{number} media section{'' if number == 1 else 's'}"
    rows = tuple(candidate_row(item) for item in distinct(candidates))
    facts = [*_side_facts(description), *_lacks(candidates)]
    return Explanation(
        Kind.DESCRIPTION,
        f"{what} with {sections} and {count(distinct(candidates))}.",
        tuple(facts),
        forgiven=_broken_lines(description),
        findings=ranked(description_findings(description)),
        tables=(*_section_table(description), *([Table("Candidates", CANDIDATE_COLUMNS, rows)] if rows else [])),
    )


def explain_exchange(one: DescriptionText, other: DescriptionText) -> Explanation:
    """An offer and its answer, in either order."""
    try:
        offer, answer = _read(one), _read(other)
    except DecodeError as error:
        return Explanation(Kind.EXCHANGE, "Two SDPs, one of which cannot be read.", problem=str(error))
    if one.type == "answer" or other.type == "offer" or (one.type is None and _is_offer(answer, offer)):
        offer, answer = answer, offer
    sides = candidates_of(offer), candidates_of(answer)
    matrix = pair_matrix(*sides)
    return Explanation(
        Kind.EXCHANGE,
        _best(matrix, more=may_follow(offer) or may_follow(answer)),
        forgiven=(*_broken_lines(offer, "offer: "), *_broken_lines(answer, "answer: ")),
        findings=ranked(exchange_findings(offer, answer)),
        tables=(_sides(offer, answer), *_matrix_tables(matrix)),
    )


def _read(text: DescriptionText) -> SessionDescription:
    """The description, with the trickled candidates and their end in its sections."""
    description = read_sdp(text.sdp, strict=False)
    if not description.media:
        raise DecodeError("there is no m= line in it: it is cut, or a part of an SDP without its media sections")
    ended = False
    media = list(description.media)
    for item in text.trickled:
        try:
            init = CandidateInit.from_dict(item, strict=False)
        except DecodeError:
            continue
        if init.candidate is None:
            ended = True
            continue
        places = [each.index for each in media if each.mid is not None and each.mid == init.sdp_mid]
        place = places[0] if places else min(init.sdp_mline_index or 0, len(media) - 1)
        media[place] = replace(media[place], candidates=(*media[place].candidates, init.candidate))
    if ended:
        media = [replace(section, end_of_candidates=True) for section in media]
    return replace(description, media=tuple(media))


def _is_offer(description: SessionDescription, other: SessionDescription) -> bool:
    """Whether this one is the offer, by a=setup: only an offer says actpass."""
    says = ["actpass" in {section.setup for section in side.media} for side in (description, other)]
    return says == [True, False]


def _broken_lines(description: SessionDescription, who: str = "") -> tuple[str, ...]:
    return tuple(f"{who}line {item.line}: {item.text}" for item in description.problems[:8])


# --- one side --------------------------------------------------------------------------------------------------------


def _side_facts(description: SessionDescription) -> list[Fact]:
    return [Fact(name, *_value(description, name)) for name in _PROPERTIES]


_PROPERTIES = ("trickle", "end of candidates", "ICE-lite", "setup")


def _value(description: SessionDescription, name: str) -> tuple[str, str]:
    ended = any(section.end_of_candidates for section in description.media)
    setup = next((section.setup for section in description.media if section.setup), None)
    match name:
        case "trickle":
            announced = trickles(description)
            return _yes(announced), "candidates may come later" if announced else "all candidates have to be in it"
        case "end of candidates":
            return _yes(ended), "there are no more" if ended else "others may follow" if trickles(description) else ""
        case "ICE-lite":
            return _yes(description.lite), "it waits for the checks of the other side" if description.lite else ""
        case _:
            return setup or "not said", _SETUP.get(setup or "", "")


_SETUP = {
    "actpass": "the answer chooses who begins DTLS",
    "active": "this side begins DTLS",
    "passive": "this side waits for the other to begin DTLS",
}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _lacks(candidates: Sequence[Candidate]) -> list[Fact]:
    lacking = _lacking(candidates)
    return [Fact("lacks", ", ".join(lacking))] if lacking else []


def _lacking(candidates: Sequence[Candidate]) -> list[str]:
    types = {candidate.type for candidate in candidates}
    families = {family_of(candidate) for candidate in candidates}
    lacking = []
    public = any(candidate.type is CandidateType.HOST and is_wide(candidate) for candidate in candidates)
    if CandidateType.SERVER_REFLEXIVE not in types and not public:
        lacking.append("an address from STUN")
    if not has_relay(candidates):
        lacking.append("a relay")
    if families and 4 not in families and None not in families:
        lacking.append("IPv4")
    if families and 6 not in families:
        lacking.append("IPv6")
    if candidates and all(candidate.transport.lower() != "udp" for candidate in candidates):
        lacking.append("UDP")
    return lacking


def _section_table(description: SessionDescription) -> tuple[Table, ...]:
    if len(description.media) < 2:
        return ()
    followers = {mid: group[0] for group in description.bundle for mid in group[1:]}
    rows = []
    for section in description.media:
        state = "rejected (port 0)" if section.port == 0 and section.mid not in followers else ""
        if section.mid in followers:
            state = f"bundled with mid {followers[section.mid]}"
        rows.append((str(section.index), section.kind, section.mid or "", str(len(section.candidates)), state))
    return (Table("Media sections", ("", "media", "mid", "candidates", ""), tuple(rows)),)


# --- both sides ------------------------------------------------------------------------------------------------------


def _sides(offer: SessionDescription, answer: SessionDescription) -> Table:
    rows = [(name, _value(offer, name)[0], _value(answer, name)[0]) for name in _PROPERTIES]
    told = [candidates_of(side) for side in (offer, answer)]
    rows.append(("candidates", count(distinct(told[0])), count(distinct(told[1]))))
    rows.append(("lacks", ", ".join(_lacking(told[0])) or "nothing", ", ".join(_lacking(told[1])) or "nothing"))
    return Table("The two sides", ("", "offer", "answer"), tuple(rows))


_SUMMARY = (
    (Reach.DIRECT, "These two can connect directly, if no firewall drops it"),
    (Reach.RELAY, "These two can connect through a relay at least"),
    (Reach.NAT, "These two connect only if the NATs between them let it"),
    (Reach.LAN, "These two connect only if they are in the same network"),
    (Reach.HAIRPIN, "These two connect only through the inside of their NAT"),
    (Reach.HOST, "These two connect only if they are on the same machine"),
)


def _best(matrix: PairMatrix, *, more: bool) -> str:
    text = next((text for kind, text in _SUMMARY if kind in matrix.found), "These two cannot connect: no pair works")
    return f"An offer and its answer. {text}{', by the candidates so far' if more else ''}."


def _matrix_tables(matrix: PairMatrix) -> tuple[Table, ...]:
    if not (matrix.rows and matrix.columns):
        return ()
    rows, columns = matrix.rows[:MAX_SHOWN], matrix.columns[:MAX_SHOWN]
    legend = [(f"O{number}", *candidate_row(item)) for number, item in enumerate(rows, 1)]
    legend += [(f"A{number}", *candidate_row(item)) for number, item in enumerate(columns, 1)]
    cells = [
        (f"O{number}", *(_cell(cell) for cell in line[:MAX_SHOWN]))
        for number, line in enumerate(matrix.cells[:MAX_SHOWN], 1)
    ]
    left_out = len(matrix.rows) + len(matrix.columns) - len(rows) - len(columns)
    title = "Pairs: offer (O) down, answer (A) across" + (f"; {left_out} candidates left out" if left_out else "")
    meanings = [(kind.value, MEANINGS[kind]) for kind in Reach if kind in matrix.found]
    if any(cell is None for line in matrix.cells for cell in line):
        meanings.append((_cell(None), "no pair: another transport or address family"))
    return (
        Table(title, ("", *(f"A{number}" for number in range(1, len(columns) + 1))), tuple(cells)),
        Table("What a pair needs", (), tuple(meanings)),
        Table("Candidates", ("", *CANDIDATE_COLUMNS), tuple(legend)),
    )


def _cell(reach: Reach | None) -> str:
    return "·" if reach is None else reach.value
