"""What a pasted text is, and what it means, for everything that people paste.

``explain`` recognises the text and hands it to whoever knows its sort; what it does not know it says so, and never
guesses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from icekit.catalogue import describe
from icekit.explanation import Explanation, Fact, Kind, Table
from icekit.pasted import (
    CandidateText,
    CodeText,
    DescriptionsText,
    DescriptionText,
    EndText,
    GatheredText,
    LogText,
    PinsText,
    ReportsText,
    ServerListText,
    ServerText,
    StatisticsText,
    UnknownText,
    VerdictText,
    recognise,
)
from icekit.report import Code
from icekit.stage_texts import CAUSES

if TYPE_CHECKING:
    from icekit.rules_libraries import Pin

UNDERSTOOD = (
    "one candidate line (bare, candidate:…, a=candidate:…, or browser JSON), or many",
    "the end of candidates",
    "errors of icecandidateerror, as JSON, with the candidates that came",
    "an SDP, or an offer and its answer, as text or browser JSON",
    "an iceServers list, as JSON or JavaScript",
    "a stun: or turn: URL",
    "a report of icekit probe --json (or two, one of each side) or icekit turn --json",
    "a log of aioice, aiortc, pion, coturn, Chrome or Firefox",
    "a webrtc-internals dump, or the result of getStats(), as JSON",
    "a packet capture (pcap or pcapng), as a file",
    "requirements or a list of installed packages with aioice or aiortc in it",
    "a code of a report, such as ICE003, TURN-401 or UDP-BLOCKED, or the number of an error, such as 437 or 701",
)


def explain(text: str, *, unix_time: float | None = None) -> Explanation:
    """What ``text`` is and means. Any text has an answer.

    ``unix_time`` (seconds) tells whether time-limited credentials have ended.
    """
    if _may_have_tokens(text):
        from icekit.redaction import read_tokens
        from icekit.report import from_dict, to_dict

        text, redactor = read_tokens(text)
        # What stands for a token is judged; the answer speaks of the token.
        return from_dict(Explanation, redactor.document(to_dict(_explain(text, unix_time))))
    return _explain(text, unix_time)


# Of a redacted text, as icekit.redaction writes it: private4-A, public6-B2, name-C.
_may_have_tokens = re.compile(r"\b(?:[a-z]+[46]|name|host|mdns|ufrag|pwd)-[A-Z]{1,4}[0-9]*\b").search


def _explain(text: str, unix_time: float | None) -> Explanation:
    # Each sort of text loads only what it needs: people wait for the start of a command.
    match recognise(text):
        case EndText():
            from icekit.explain_candidates import END

            return END
        case CodeText(code):
            row = describe(code)
            return _unknown(f"There is no finding {code[:40].upper()}.") if row is None else _explain_code(row)
        case VerdictText(verdict):
            from icekit.verdict import VERDICTS

            meaning, what = VERDICTS[verdict]
            return Explanation(
                Kind.FINDING,
                f"{verdict}: {meaning}",
                (Fact("where", "on top of icekit probe"), Fact("what to do", what)),
            )
        case ServerText(url):
            from icekit.explain_servers import explain_server

            return explain_server(url)
        case ServerListText(data):
            from icekit.explain_servers import explain_server_list

            return explain_server_list(data, unix_time)
        case CandidateText(line, data):
            from icekit.explain_candidates import explain_candidate_json, explain_line

            return explain_line(line) if data is None else explain_candidate_json(data)
        case GatheredText(items):
            from icekit.explain_gathering import explain_gathered

            return explain_gathered(items)
        case DescriptionText() as description:
            from icekit.explain_descriptions import explain_description

            return explain_description(description)
        case DescriptionsText(one, other):
            from icekit.explain_descriptions import explain_exchange

            return explain_exchange(one, other)
        case ReportsText(documents):
            from icekit.explain_reports import explain_reports

            return explain_reports(documents)
        case PinsText(pins):
            return _explain_pins(pins)
        case StatisticsText(dump):
            from icekit.browser_stats import read_browser_stats
            from icekit.explain_browser_stats import explain_browser_stats

            return explain_browser_stats(read_browser_stats(dump))
        case LogText(log, reading):
            from icekit.explain_log import explain_log

            return explain_log(log, reading)
        case UnknownText(why):
            return _unknown(why)


def _explain_pins(pins: Sequence[Pin]) -> Explanation:
    from icekit.findings import ranked
    from icekit.rules_libraries import library_findings

    facts = tuple(Fact(pin.name, f"below {pin.version}" if pin.excluded else pin.version) for pin in pins)
    findings = ranked(library_findings(pins))
    what = "have bugs that are fixed" if findings else "have no known bug that a later one fixed"
    return Explanation(Kind.LIBRARIES, f"Versions of ICE libraries; they {what}.", facts, findings=findings)


def _unknown(why: str) -> Explanation:
    return Explanation(
        Kind.UNKNOWN, why, tuple(Fact("understood", item) for item in UNDERSTOOD), problem="no known pattern"
    )


def _explain_code(row: Code) -> Explanation:
    facts = [Fact("severity", row.severity)]
    if row.believed:
        facts.append(Fact("believed", row.believed))
    # On a page the names in a text stand for any server.
    names = {"host": "HOST", "port": "PORT", "transport": "UDP or TCP"}
    facts += [Fact("true", row.meaning.format_map(names)), Fact("fix", row.fix.format_map(names))]
    facts += [Fact("seen in", f"https://github.com/{place.replace('#', '/issues/')}") for place in row.seen]
    causes = [
        (cause, text.message.format_map(names), text.fix.format_map(names))
        for (code, cause), text in CAUSES.items()
        if code == row.code
    ]
    tables = (
        (Table("Causes that are told apart", ("cause", "it means", "what to do"), tuple(causes)),) if causes else ()
    )
    return Explanation(Kind.FINDING, f"{row.code}: {row.name}", tuple(facts), tables=tables)
