"""``explain(call)``: how a call is, or why it ended, in the words of ``icekit explain``."""

from __future__ import annotations

from collections.abc import Iterator

from icekit.call.call import Call
from icekit.call.side import SideReport, listed
from icekit.explanation import Explanation, Fact, Kind
from icekit.findings import ranked


def explain(call: Call) -> Explanation:
    """What is known now, of a call that goes on, that has failed, or that is over; it has to have been entered."""
    return Explanation(Kind.REPORT, _summary(call), tuple(_facts(call)), findings=ranked(call.findings))


def _summary(call: Call) -> str:
    if call.failure is not None:
        return f"A call that failed: {call.failure}"
    if call.end is not None:
        return f"A call that is over: {call.end}."
    if call.is_connected:
        return "A call that is connected."
    return f"A call that is not connected: {call.phase}."


def _facts(call: Call) -> Iterator[Fact]:
    if call.peer is not None:
        yield Fact("peer", call.peer)
    stats = next((item for item in reversed(call.history) if item.pair is not None), None)
    if stats is not None and stats.pair is not None:
        how = "through a relay" if stats.pair.is_relayed else "direct"
        yield Fact("path", f"{stats.pair.local} to {stats.pair.remote}", how)
        if stats.rtt is not None:
            yield Fact("round trip", f"{stats.rtt * 1000:.0f} ms")
    for name, side in (("this side", call.own_side), ("the other side", call.peer_side)):
        if side is not None:
            yield from _side_facts(name, side)


def _side_facts(name: str, side: SideReport) -> Iterator[Fact]:
    yield Fact(f"{name}: candidates", listed(side.local), f"it was told of {listed(side.remote)}")
    if side.checks_sent is not None:
        told = f"{side.answered or 0} answered, {side.checks_received or 0} received from its peer"
        yield Fact(f"{name}: checks", f"{side.checks_sent} sent", told)
    for server in side.servers:
        yield Fact(f"{name}: server", server)
