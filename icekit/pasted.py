"""What a pasted text is: ``recognise`` looks at its form alone and judges nothing.

People paste what they have: JSON from a console or a log, JavaScript with single quotes and comments, an SDP whose line
ends became ``\\r\\n`` in a string or blanks in a mail, several of these one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from icekit.candidate import is_end_of_candidates
from icekit.loose_json import MAX_VALUES, read_literals, read_values, up_to_closing_bracket, why_no_json
from icekit.report import VerdictCode

if TYPE_CHECKING:
    from icekit.loglines import LogReading
    from icekit.rules_libraries import Pin

MAX_TEXT: Final = 10_000_000
"""Longest text that is looked at, in characters."""


# Named tuples: eleven frozen dataclasses would cost every start of the command 10 ms.


class EndText(NamedTuple):
    """The end of candidates."""


class CodeText(NamedTuple):
    """The code of a finding."""

    code: str


class VerdictText(NamedTuple):
    """The word on top of a report."""

    code: VerdictCode


class ServerText(NamedTuple):
    """One server URL."""

    url: str


class CandidateText(NamedTuple):
    """One candidate line, and what a browser's JSON says beside it."""

    line: str
    data: dict[str, Any] | None = None


class GatheredText(NamedTuple):
    """Several candidates, each a line or a browser's JSON, and errors of gathering as JSON; ``None`` is the end."""

    items: tuple[str | dict[str, Any] | None, ...]


class DescriptionText(NamedTuple):
    """One SDP; ``type`` is offer, answer, or ``None`` where nothing says so. ``trickled`` came beside it as JSON."""

    sdp: str
    type: str | None = None
    trickled: tuple[dict[str, Any], ...] = ()


class DescriptionsText(NamedTuple):
    """Two descriptions in the order in which they stood."""

    one: DescriptionText
    other: DescriptionText


class ServerListText(NamedTuple):
    """An ``iceServers`` list, as JSON values."""

    data: Any


class ReportsText(NamedTuple):
    """One or two documents with a schema of icekit."""

    documents: tuple[dict[str, Any], ...]


class PinsText(NamedTuple):
    """Versions of aioice and aiortc: requirements, or a list of what is installed."""

    pins: tuple[Pin, ...]


class StatisticsText(NamedTuple):
    """A webrtc-internals dump or a getStats() result, as JSON."""

    text: str


class LogText(NamedTuple):
    """Lines of a program; some of them are known."""

    text: str
    reading: LogReading


class UnknownText(NamedTuple):
    """Nothing that is known."""

    why: str


Pasted = (
    EndText
    | CodeText
    | VerdictText
    | ServerText
    | CandidateText
    | GatheredText
    | DescriptionText
    | DescriptionsText
    | ServerListText
    | ReportsText
    | PinsText
    | StatisticsText
    | LogText
    | UnknownText
)

_NO_PATTERN = UnknownText("No known pattern.")

_LONGEST_ERROR: Final = 80
_ERROR_WORDS = frozenset({"stun", "turn", "ice", "candidate", "icecandidateerror", "error", "errorcode", "code"})
_NOT_REACHED: Final = "701"

_is_code = re.compile(r"(ICE[0-9]+|(?:TURN|CALL)-[A-Z0-9-]+)", re.IGNORECASE | re.ASCII).fullmatch
_VERDICTS = frozenset(VerdictCode)
_is_server = re.compile(r"(stun|turn)s?:[^\s]*", re.IGNORECASE | re.ASCII).fullmatch
# Lines of logs begin with brackets, too: [WARN], [Tue May 21 10:00:00], [001:234].
_begins_as_json = re.compile(
    r"""[\[{\s]*(?:$|["'\]}]|(?:-?[0-9.]+(?:[eE][+-]?[0-9]+)?|true|false|null)\s*(?:,|\]\s*$)|(?<=\{)\s*[\w$]+\s*:)"""
).match
_is_candidate = re.compile(r"\s*(a=)?candidate:|[^\s]+(\s+[^\s]+){3,9}\s+typ(\s|$)", re.IGNORECASE).match


def recognise(text: str) -> Pasted:
    """What ``text`` is. Any text has an answer."""
    if len(text) > MAX_TEXT:
        return UnknownText(f"The text has {len(text)} characters; at most {MAX_TEXT} are read.")
    text = text.strip().removeprefix("\ufeff").strip()
    if text.startswith(('"', "{", "[")) or text == "null":
        values = read_values(text) or read_literals(text)
        if not values:
            if not _begins_as_json(text):
                return _of_text(text)
            log = _log(text)
            return UnknownText(f"It begins like JSON, but is none: {why_no_json(text)}.") if log is None else log
        return StatisticsText(text) if _is_statistics(values) else _of_values(values)
    return _of_text(text)


def _of_text(text: str) -> Pasted:
    if is_end_of_candidates(text):
        return EndText()
    if _is_code(text):
        return CodeText(text)
    if (number := _error_number(text)) is not None:
        return _log(f"errorCode: {number}") or _NO_PATTERN if number == _NOT_REACHED else CodeText(f"TURN-{number}")
    if text.upper() in _VERDICTS:
        return VerdictText(VerdictCode(text.upper()))
    if _is_server(text):
        return ServerText(text)
    if (descriptions := _descriptions(text)) is not None:
        return descriptions
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and _is_candidate(text):
        return CandidateText(text)
    if len(lines) > 1 and all(_is_candidate(line) or is_end_of_candidates(line) for line in lines):
        return GatheredText(tuple(None if is_end_of_candidates(line) else line for line in lines))
    if pins := tuple(_pins(lines)):
        return PinsText(pins)
    # A log of copy and paste, or of a console: JSON between lines that say something else.
    values = [value for line in lines if line.startswith(("{", "[")) for value in read_values(line)]
    if values and not isinstance(pasted := _of_values(values), UnknownText):
        return pasted
    return _after_ice_servers(text) or _log(text) or _NO_PATTERN


def _error_number(text: str) -> str | None:
    """The number in "401", "TURN error 437" or "486 Allocation Quota Reached"; 701 is the browsers' own."""
    found = re.fullmatch(r"(\D*)([3-7][0-9]{2})(\D*)", text, re.ASCII) if len(text) <= _LONGEST_ERROR else None
    if found is None or not _ERROR_WORDS.issuperset(re.findall(r"\w+", found[1].lower())):
        return None
    from icekit.catalogue import CODES
    from icekit.stun import REASONS

    number, said = found[2], " ".join(re.findall(r"\w+", found[3].lower()))
    # As RFC 5389 called it.
    reasons = {"", "unauthorized" if number == "401" else "", REASONS.get(int(number), "").lower()}
    return number if said in reasons and (number == _NOT_REACHED or f"TURN-{number}" in CODES) else None


def _log(text: str) -> LogText | None:
    from icekit.loglines import read_log  # a hundred patterns, which few texts need

    reading = read_log(text)
    return LogText(text, reading) if reading.known else None


# --- JSON ------------------------------------------------------------------------------------------------------------


def _after_ice_servers(text: str) -> ServerListText | None:
    """A list of servers inside code: ``new RTCPeerConnection({iceServers: [...]})``, ``iceServers = [...]``."""
    found = re.search(r"""ice_?servers["']?\s*[:=]\s*(?=\[|\{)""", text, re.IGNORECASE)
    if found is None:
        return None
    values = read_literals(up_to_closing_bracket(text[found.end() :]))
    return (
        ServerListText({"iceServers": values[0]}) if len(values) == 1 and isinstance(values[0], (list, dict)) else None
    )


def _of_values(values: list[Any]) -> Pasted:
    match values:
        case [None]:
            return EndText()
        case [str() as text]:
            return _of_text(text.strip())
        case [value] if _is_server_list(value):
            return ServerListText(value)
        case [list() as inner]:
            return _of_values(inner) if len(inner) > 1 or (inner and not isinstance(inner[0], list)) else _NO_PATTERN
    objects = [part for value in values if isinstance(value, dict) for part in _parts(value)]
    if reports := [value for value in objects if isinstance(value.get("schema"), str)]:
        known = len(reports) == len(values) <= 2
        return ReportsText(tuple(reports)) if known else UnknownText("Reports are read one at a time, or two of them.")
    told = [value for value in objects if "candidate" in value and "sdp" not in value]
    if descriptions := [_json_description(value) for value in objects if _has_sdp(value)]:
        return _with_trickled(descriptions, told)
    if len(values) == 1 and told:
        line = told[0]["candidate"]
        return CandidateText(line if isinstance(line, str) else "", told[0])
    return _gathered(values, objects) or _unknown(values, objects)


def _gathered(values: list[Any], objects: list[dict[str, Any]]) -> GatheredText | None:
    items = [value for value in objects if "candidate" in value or "errorCode" in value]
    lines = [value for value in values if isinstance(value, str) and _is_candidate(value)]
    ends = [None for value in values if value is None]
    return GatheredText((*items, *lines, *ends)) if items or lines else None


def _unknown(values: list[Any], objects: list[dict[str, Any]]) -> UnknownText:
    if len(values) > 1 or not objects:
        return _NO_PATTERN
    keys = ", ".join(str(key)[:20] for key in list(objects[0])[:6]) or "none"
    return UnknownText(f"It is a JSON object of an unknown sort; its keys: {keys}.")


def _parts(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The descriptions of ``{"offer": …, "answer": …}``, each with its name; else what is inside a wrapping."""
    inner = [(key, item) for key, item in value.items() if key not in ("sdp", "candidate")]
    texts = [{"type": key, "sdp": item} for key, item in inner if isinstance(item, str) and item.startswith("v=0")]
    objects = [{"type": key, **item} for key, item in inner if isinstance(item, dict) and _has_sdp(item)]
    yield from texts + objects if len(texts + objects) > 1 else [texts[0] if texts else _unwrapped(value)]


def _has_sdp(value: dict[str, Any]) -> bool:
    return isinstance(value.get("sdp"), str)


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """What signaling wraps: ``{"type": "offer", "data": {…}}``, ``{"candidate": {"candidate": …}}``."""
    for key in ("sdp", "description", "offer", "answer", "candidate", "data", "payload", "message", "ice"):
        inner = value.get(key)
        if isinstance(inner, dict) and any(isinstance(inner.get(name), str) for name in ("sdp", "candidate")):
            return inner
    return value


def _json_description(value: dict[str, Any]) -> DescriptionText:
    kind = value.get("type")
    kind = kind.lower() if isinstance(kind, str) else None
    return DescriptionText(_with_lines(value["sdp"]), kind if kind in ("offer", "answer", "pranswer") else None)


def _with_trickled(descriptions: list[DescriptionText], told: list[dict[str, Any]]) -> Pasted:
    if len(descriptions) > 2:
        return UnknownText("There are more than two descriptions; paste an offer and its answer.")
    if len(descriptions) == 2:
        return DescriptionsText(descriptions[0], descriptions[1])
    return DescriptionText(descriptions[0].sdp, descriptions[0].type, tuple(told))


def _is_statistics(values: list[Any]) -> bool:
    """Whether it is a dump of webrtc-internals, or reports of getStats()."""
    if len(values) != 1:
        return False
    value = values[0]
    if isinstance(value, dict) and "PeerConnections" in value:
        return True
    reports = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    listed = [item[1] if isinstance(item, list) and len(item) == 2 else item for item in reports]
    kinds = {str(item.get("type")) for item in listed if isinstance(item, dict) and "id" in item}
    return bool(kinds & {"candidate-pair", "local-candidate", "transport", "peer-connection"})


def _is_server_list(data: Any) -> bool:
    """Whether JSON looks like a server list: an entry, a list of entries, or an object with one in it."""
    if isinstance(data, dict):
        names = {"iceServers", "ice_servers", "urls", "url"}
        # Errors of gathering and reports of icekit have a "url", too.
        return bool(names & data.keys()) and not {"errorCode", "schema"} & data.keys()
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(item, (dict, str)) for item in data)
        and any(_is_server_list(item) if isinstance(item, dict) else _begins_server(item) is not None for item in data)
    )


_begins_server = re.compile(r"\s*(stun|turn)s?:", re.IGNORECASE).match


# --- SDP -------------------------------------------------------------------------------------------------------------


def _with_lines(text: str) -> str:
    """An SDP whose line ends became an escape in a string, or blanks."""
    if "\n" not in text and "\\n" in text:
        text = text.replace("\\r", "").replace("\\n", "\n")
    if len(text.splitlines()) < 3:
        text = re.sub(r"\s+(?=[a-z]=[^\s])", "\n", text).rstrip()
    return text


_begins = re.compile(r"(?<![\w=])v=0\s*$", re.MULTILINE)
_is_part = re.compile(
    r"^(m=(audio|video|application|image|text|message) |a=(candidate|ice-ufrag|ice-pwd):)", re.MULTILINE
)


def _descriptions(text: str) -> Pasted | None:
    """One or two SDPs, or a part of one, with anything around them; ``None``: there is none."""
    if "v=0" in text or "a=ice-" in text:
        text = _with_lines(text)
    # In a mail or a chat every line may be quoted.
    text = re.sub(r"^[ \t>|]+(?=[a-z]=)", "", text, flags=re.MULTILINE)
    starts = [match.start() for match in _begins.finditer(text)]
    if len(starts) == 2:
        one, other = text[starts[0] : starts[1]], text[starts[1] :]
        return DescriptionsText(
            DescriptionText(one, _said(text[: starts[0]])), DescriptionText(other, _said(one[-80:]))
        )
    if len(starts) > 2:
        return UnknownText("There are more than two descriptions; paste an offer and its answer.")
    if starts:
        return DescriptionText(text[starts[0] :], _said(text[: starts[0]]))
    marks = {match[1] for match in _is_part.finditer(text)}
    lines = tuple(line.strip() for line in text.splitlines() if line.strip().startswith("a=candidate:"))
    if lines and not any(mark.startswith("m=") for mark in marks):
        # Without a section to belong to, its candidates are what is left of it.
        return GatheredText(lines) if len(marks) > 1 else None
    has_more = any(not mark.startswith("a=candidate") for mark in marks)
    return DescriptionText(text) if has_more else None


def _said(before: str) -> str | None:
    """What the words before a description call it."""
    found = re.findall(r"offer|answer", before[-80:].lower())
    return found[-1] if found else None


# --- versions --------------------------------------------------------------------------------------------------------

_PIN = re.compile(
    r"[\s\"'-]*(aioice|aiortc)\s*(?:\[[^\]]*\])?\s*(==+|<=|<|=|\s)\s*[\"'^~v]*([0-9][0-9A-Za-z.+!-]*)", re.IGNORECASE
)


def _pins(lines: list[str]) -> Iterator[Pin]:
    from icekit.rules_libraries import Pin  # with its rules; few texts need it

    for line in lines[:MAX_VALUES]:
        if (found := _PIN.match(line)) is not None:
            yield Pin(found[1].lower(), found[3][:40], excluded=found[2] == "<")
