"""Rules about two probe reports, one from each side of a call."""

from __future__ import annotations

from collections.abc import Iterator

from icekit.catalogue import new_finding
from icekit.probe_observations import udp_works
from icekit.report import Finding, ProbeReport


def sides_findings(a: ProbeReport, b: ProbeReport) -> Iterator[Finding]:
    """ICE014: one side has a relay, and the other one's network lets no UDP out to it."""
    for name, side, other_name, other in (("A", a, "B", b), ("B", b, "A", a)):
        relays = [turn for turn in side.turn if turn.ok]
        if relays and udp_works(other) is False and not any(turn.ok for turn in other.turn):
            message = f"Only {name} has a working relay, and the network of {other_name} lets no UDP out to reach it."
            evidence = [f"{name}: {turn.url} relays as {turn.relayed_address}" for turn in relays]
            evidence.append(f"{other_name}: UDP is blocked, and no relay works")
            yield new_finding("ICE014", message, *evidence)
