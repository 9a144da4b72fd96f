"""What ``icekit explain`` says of a webrtc-internals dump or a getStats() result: how far each connection came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from icekit.browser_stats import BrowserConnection, StatsPair
from icekit.catalogue import new_finding
from icekit.errors import DecodeError
from icekit.explanation import Explanation, Fact, Kind, Table
from icekit.findings import ranked
from icekit.report import Finding
from icekit.rules_descriptions import exchange_findings, told_findings
from icekit.rules_gathering import gathering_findings
from icekit.sdp import read_sdp

_SLOW = 0.4


def explain_browser_stats(connections: Sequence[BrowserConnection]) -> Explanation:
    """One or more connections; findings are about those that did not connect, or about all if every one did."""
    bad = [item for item in connections if not _connected(item)]
    facts: list[Fact] = []
    tables: list[Table] = []
    found: list[Finding] = []
    for number, item in enumerate(connections, 1):
        name = f"connection {number}" if len(connections) > 1 else "connection"
        facts.append(Fact(name, _outcome(item), item.page))
        tables += _tables(item, f" of {name}" if len(connections) > 1 else "")
        if item in bad or not bad:
            found += _findings(item)
    problem = None if connections else "nothing was recorded: open chrome://webrtc-internals before the call"
    return Explanation(
        Kind.STATISTICS,
        _summary(connections, len(connections) - len(bad)),
        tuple(facts),
        problem=problem,
        findings=ranked(found),
        tables=tuple(tables),
    )


def _summary(connections: Sequence[BrowserConnection], good: int) -> str:
    if not connections:
        return "A dump of a browser without a connection."
    if len(connections) == 1:
        return f"Statistics of a browser: {_outcome(connections[0])}."
    return f"Statistics of a browser: {good} of {len(connections)} connections came up."


def _connected(item: BrowserConnection) -> bool:
    if item.states:
        return item.ever("iceconnectionstate", "connected") or item.ever("iceconnectionstate", "completed")
    return any(pair.selected or (pair.nominated and pair.state == "succeeded") for pair in item.pairs)


def _outcome(item: BrowserConnection) -> str:
    last = item.last("iceconnectionstate")
    chosen = next((pair for pair in item.pairs if pair.selected), None)
    if _connected(item):
        now = f", now {last}" if last in ("failed", "disconnected", "closed") else ""
        if item.ever("connectionstate", "failed") and not item.ever("connectionstate", "connected"):
            return "ICE connected, DTLS failed"
        return f"connected{f' over {chosen.local} – {chosen.remote}' if chosen is not None else ''}{now}"
    sent = sum(pair.requests_sent for pair in item.pairs)
    answered = sum(pair.responses_received for pair in item.pairs)
    if last in (None, "new"):
        return "ICE never began: one side has no description or no candidates of the other"
    return f"ICE {last}: {sent} checks sent on {len(item.pairs)} pairs, {answered} answered"


def _tables(item: BrowserConnection, suffix: str) -> Iterator[Table]:
    begin = item.states[0][0] if item.states else 0.0
    if item.states:
        states = tuple((f"{(time - begin) * 1000:.0f} ms", name, value) for time, name, value in item.states)
        yield Table(f"States{suffix}", (), states)
    if item.pairs:
        rows = tuple(_pair_row(pair) for pair in item.pairs)
        yield Table(f"Pairs{suffix}", ("local", "remote", "state", "checks answered", "RTT"), rows)
    if item.errors:
        columns = ("server", "code", "what the browser says")
        yield Table(
            f"Errors{suffix}", columns, tuple((error.url, str(error.code), error.text) for error in item.errors)
        )
    if item.problems:
        yield Table(f"Refused{suffix}", (), tuple((text,) for text in item.problems))


def _pair_row(pair: StatsPair) -> tuple[str, ...]:
    mark = " (selected)" if pair.selected else " (nominated)" if pair.nominated else ""
    return (
        str(pair.local or "?"),
        str(pair.remote or "?"),
        pair.state + mark,
        f"{pair.responses_received} of {pair.requests_sent}",
        "" if pair.rtt is None else f"{pair.rtt * 1000:.0f} ms",
    )


def _findings(item: BrowserConnection) -> Iterator[Finding]:
    yield from gathering_findings(item.local, item.errors)
    if not _connected(item):
        if item.servers and not any(url.startswith("turn") for url in item.servers):
            yield new_finding("ICE001", "No TURN server is configured, and no direct path was found.", *item.servers)
        elif not item.servers and item.local:
            yield new_finding("ICE001", "No STUN or TURN server is configured, and no direct path was found.")
        for who, told in (("This side", item.local), ("The other side", item.remote)):
            if told:
                yield from told_findings(told, more=True, who=who)
        if item.offer is not None and item.answer is not None:
            try:
                yield from exchange_findings(read_sdp(item.offer), read_sdp(item.answer))
            except DecodeError:
                return
    for pair in item.pairs:
        if pair.selected and pair.rtt is not None and pair.rtt > _SLOW:
            message = f"The selected path takes {pair.rtt * 1000:.0f} ms there and back."
            yield new_finding("ICE013", message, f"{pair.local} – {pair.remote}")
