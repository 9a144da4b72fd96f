"""Reads what browsers tell of a connection: a ``chrome://webrtc-internals`` dump, or the result of ``getStats()``.

Both spellings of the dump are known: JSON in the values (Chromium 130 and later), ``key: value, …`` before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from icekit.candidate import Candidate
from icekit.errors import CandidateError, DecodeError
from icekit.sdp import GatheringError

MAX_CONNECTIONS = 100
_MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class StatsCandidate:
    """One end of a pair as ``getStats()`` has it; the address is missing where the browser hides it."""

    type: str
    address: str | None
    port: int | None
    protocol: str | None
    url: str | None = None
    relay_protocol: str | None = None

    def __str__(self) -> str:
        host = self.address or "(hidden)"
        return f"{self.type} {f'[{host}]' if ':' in host else host}:{self.port if self.port is not None else '?'}"


@dataclass(frozen=True, slots=True)
class StatsPair:
    """One candidate pair; times in seconds."""

    local: StatsCandidate | None
    remote: StatsCandidate | None
    state: str
    nominated: bool
    selected: bool
    requests_sent: int
    responses_received: int
    requests_received: int
    bytes_sent: int
    bytes_received: int
    rtt: float | None


@dataclass(frozen=True, slots=True)
class BrowserConnection:
    """One ``RTCPeerConnection``: ``states`` are (Unix time, which, its value); ``offer`` and ``answer`` are SDP."""

    page: str
    servers: tuple[str, ...] = ()
    relay_only: bool = False
    local: tuple[Candidate, ...] = ()
    remote: tuple[Candidate, ...] = ()
    errors: tuple[GatheringError, ...] = ()
    states: tuple[tuple[float, str, str], ...] = ()
    pairs: tuple[StatsPair, ...] = ()
    offer: str | None = None
    answer: str | None = None
    problems: tuple[str, ...] = ()

    def last(self, kind: str) -> str | None:
        """The last value of a state such as ``iceconnectionstate``."""
        return next((value for _, name, value in reversed(self.states) if name == kind), None)

    def ever(self, kind: str, value: str) -> bool:
        """Whether that state had that value."""
        return any(name == kind and found == value for _, name, found in self.states)


def read_browser_stats(text: str) -> tuple[BrowserConnection, ...]:
    """The connections of a dump, or the one that a ``getStats()`` result is about; DecodeError if it is neither."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise DecodeError("not JSON, so no webrtc-internals dump and no getStats() result") from None
    if isinstance(data, dict) and isinstance(data.get("PeerConnections"), dict):
        connections = [item for item in data["PeerConnections"].values() if isinstance(item, dict)]
        return tuple(_from_dump(item) for item in connections[:MAX_CONNECTIONS])
    reports = _reports(data)
    if not reports:
        raise DecodeError(
            "neither a webrtc-internals dump (PeerConnections) nor a getStats() result (type: candidate-pair)"
        )
    return (BrowserConnection("", pairs=tuple(_pairs(reports)), problems=()),)


def _reports(data: Any) -> dict[str, dict[str, Any]]:
    """The result of ``getStats()``: a list of reports, or an object of them by identifier."""
    items: Iterable[Any] = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    found = {}
    for item in items:
        # A Map turned into a list has pairs of identifier and report.
        report = item[1] if isinstance(item, list) and len(item) == 2 else item
        if isinstance(report, dict) and isinstance(report.get("type"), str) and isinstance(report.get("id"), str):
            found[report["id"]] = report
    kinds = {report["type"] for report in found.values()}
    return found if kinds & {"candidate-pair", "local-candidate", "transport", "peer-connection"} else {}


def _from_dump(connection: dict[str, Any]) -> BrowserConnection:
    log = connection.get("updateLog")
    entries = [item for item in log if isinstance(item, dict)][:_MAX_ENTRIES] if isinstance(log, list) else []
    configuration = str(connection.get("rtcConfiguration") or "")
    local: list[Candidate] = []
    remote: list[Candidate] = []
    errors: list[GatheringError] = []
    states: list[tuple[float, str, str]] = []
    problems: list[str] = []
    descriptions: dict[str, str] = {}
    for entry in entries:
        kind = str(entry.get("type", "")).removeprefix("on").lower()
        value = _value(entry.get("value"))
        if kind == "icecandidateerror":
            errors += _error(value)
        elif kind in ("icecandidate", "addicecandidate"):
            (local if kind == "icecandidate" else remote).extend(_candidate(value))
        elif kind.endswith("statechange"):
            states.append((_time(entry), kind.removesuffix("change"), str(value).strip('"')))
        elif kind.endswith("onfailure") or (kind.endswith("failed") and value):
            problems.append(f"{entry.get('type')}: {value}")
        elif kind.startswith("set") and kind.removesuffix("onsuccess") in (
            "setlocaldescription",
            "setremotedescription",
        ):
            descriptions |= _description(value)
    return BrowserConnection(
        page=str(connection.get("url") or ""),
        servers=tuple(dict.fromkeys(re.findall(r"(?:stuns?|turns?):[^\s\"',\]}]+", configuration))),
        relay_only="relay" in re.findall(r"iceTransportPolicy\W+(\w+)", configuration),
        local=tuple(local),
        remote=tuple(remote),
        errors=tuple(errors),
        states=tuple(states),
        pairs=tuple(_pairs(_last_values(connection.get("stats")))),
        offer=descriptions.get("offer"),
        answer=descriptions.get("answer"),
        problems=tuple(problems),
    )


def _time(entry: dict[str, Any]) -> float:
    stamp = entry.get("timestamp")
    return stamp / 1000 if isinstance(stamp, (int, float)) else 0.0


def _value(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(("{", '"')):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _field(value: Any, *names: str) -> str:
    """A field of a value, by either spelling."""
    if isinstance(value, dict):
        return next((str(value[name]) for name in names if value.get(name) is not None), "")
    for name in names:
        if found := re.search(rf"\b{name}: (.*?)(?:, [A-Za-z_]+: |$)", str(value), re.DOTALL):
            return found.group(1)
    return ""


def _candidate(value: Any) -> Iterator[Candidate]:
    try:
        yield Candidate.parse(_field(value, "candidate"))
    except CandidateError:
        return


def _error(value: Any) -> Iterator[GatheringError]:
    code = _field(value, "errorCode", "error_code")
    if code.isdigit():
        text = _field(value, "errorText", "error_text")
        yield GatheringError(_field(value, "url"), int(code), text)


def _description(value: Any) -> dict[str, str]:
    kind, sdp = _field(value, "type"), _field(value, "sdp")
    if not isinstance(value, dict):
        # Before: "type: offer, sdp: v=0…" with an SDP that holds whatever it likes.
        sdp = str(value).partition("sdp: ")[2]
    return {kind: sdp} if kind in ("offer", "answer") and sdp else {}


def _last_values(stats: Any) -> dict[str, dict[str, Any]]:
    """The series of a dump (``ID-name`` to a list of values) as reports with the last of each."""
    reports: dict[str, dict[str, Any]] = {}
    if not isinstance(stats, dict):
        return reports
    for key, series in list(stats.items())[: _MAX_ENTRIES * 10]:
        if not isinstance(series, dict) or not isinstance(series.get("values"), str):
            continue
        owner, _, name = key.rpartition("-")
        values = _value(f'{{"values": {series["values"]}}}')
        listed = values.get("values") if isinstance(values, dict) else None
        if owner and isinstance(listed, list) and listed:
            report = reports.setdefault(owner, {"id": owner, "type": series.get("statsType")})
            if name != "type":
                report[name] = listed[-1]
    return reports


def _pairs(reports: dict[str, dict[str, Any]]) -> Iterator[StatsPair]:
    chosen = {report.get("selectedCandidatePairId") for report in reports.values() if report.get("type") == "transport"}
    for report in reports.values():
        if report.get("type") != "candidate-pair":
            continue
        rtt = report.get("currentRoundTripTime")
        yield StatsPair(
            local=_end(reports.get(str(report.get("localCandidateId")))),
            remote=_end(reports.get(str(report.get("remoteCandidateId")))),
            state=str(report.get("state", "")),
            nominated=report.get("nominated") is True,
            # Firefox has `selected` in the pair itself.
            selected=report.get("id") in chosen or report.get("selected") is True,
            requests_sent=_count(report, "requestsSent"),
            responses_received=_count(report, "responsesReceived"),
            requests_received=_count(report, "requestsReceived"),
            bytes_sent=_count(report, "bytesSent"),
            bytes_received=_count(report, "bytesReceived"),
            rtt=float(rtt) if isinstance(rtt, (int, float)) else None,
        )


def _end(report: dict[str, Any] | None) -> StatsCandidate | None:
    if report is None:
        return None
    address = report.get("address", report.get("ip"))
    port = report.get("port")
    return StatsCandidate(
        type=str(report.get("candidateType", "?")),
        address=str(address) if address else None,
        port=port if isinstance(port, int) else None,
        protocol=_text(report, "protocol"),
        url=_text(report, "url"),
        relay_protocol=_text(report, "relayProtocol"),
    )


def _text(report: dict[str, Any], name: str) -> str | None:
    value = report.get(name)
    return value if isinstance(value, str) and value else None


def _count(report: dict[str, Any], name: str) -> int:
    value = report.get(name)
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 2**63 else 0
