"""What ``icekit explain`` says of icekit's own reports that are pasted back: of probes, a TURN test, a gathering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from icekit.errors import DecodeError
from icekit.explain_gathering import explain_gathered
from icekit.explanation import NOT_JUDGED, Explanation, Fact, Kind, Table
from icekit.findings import ranked
from icekit.gathering_events import GatherReport, ServerOutcome
from icekit.outlook import PEER_WORDS
from icekit.probe_observations import families
from icekit.report import Behavior, Finding, NatReport, ProbeReport, TurnReport, from_dict
from icekit.rules_sides import sides_findings


def explain_reports(documents: Sequence[dict[str, Any]]) -> Explanation:
    """One or two documents, by their schema."""
    names = [str(document.get("schema")) for document in documents]
    try:
        match names:
            case ["icekit/probe/1"]:
                return _probe(from_dict(ProbeReport, documents[0]))
            case ["icekit/turn/1"]:
                found = documents[0].get("findings", [])
                findings = [from_dict(Finding, item) for item in found] if isinstance(found, list) else []
                return _turn(from_dict(TurnReport, documents[0]), findings)
            case ["icekit/gather/1"]:
                return _gathering(from_dict(GatherReport, documents[0]))
            case ["icekit/probe-with/1"]:
                return _both_sides(documents[0])
            case ["icekit/probe/1", "icekit/probe/1"]:
                return _two_probes(*(from_dict(ProbeReport, document) for document in documents))
    except DecodeError as error:
        return Explanation(Kind.REPORT, "A report of icekit, with a mistake.", problem=str(error))
    shown = " and ".join(name[:40] for name in names)
    known = "icekit/probe/1, two of them, icekit/probe-with/1, icekit/turn/1 and icekit/gather/1"
    problem = f"explained are {known}; upgrade icekit if it is a newer one"
    return Explanation(Kind.REPORT, f"A document of icekit: {shown}.", problem=problem)


def _probe(report: ProbeReport) -> Explanation:
    tables = [
        Table(
            "Outlook",
            (),
            tuple((f"to {PEER_WORDS.get(item.peer, item.peer)}", item.path, item.why) for item in report.outlook),
        ),
        Table(
            "TURN servers",
            (),
            tuple(
                (
                    turn.url,
                    "works" if turn.ok else f"fails at {turn.failed_stage or 'an unknown stage'}",
                    turn.code or "",
                )
                for turn in report.turn
            ),
        ),
    ]
    return Explanation(
        Kind.REPORT,
        f"A probe report: {report.verdict.code}. {report.verdict.summary}",
        tuple(fact for name, nat in families(report.nat) for fact in _nat_facts(name, nat)),
        findings=ranked(report.findings),
        tables=tuple(table for table in tables if table.rows),
    )


_MAPPINGS = {
    Behavior.ENDPOINT_INDEPENDENT: "the NAT keeps one port for all peers: direct paths are possible",
    Behavior.ADDRESS_DEPENDENT: 'the NAT uses another port for each address ("symmetric")',
    Behavior.ADDRESS_AND_PORT_DEPENDENT: 'the NAT uses another port for each peer ("symmetric"): few paths are direct',
}
_FILTERS = {
    Behavior.ENDPOINT_INDEPENDENT: "anybody may send to an open port",
    Behavior.ADDRESS_DEPENDENT: "only addresses that were sent to may answer",
    Behavior.ADDRESS_AND_PORT_DEPENDENT: "only the address and port that was sent to may answer: the usual router",
}


def _nat_facts(name: str, nat: NatReport) -> list[Fact]:
    udp = {True: "works", False: "blocked", None: "not measured"}[nat.udp]
    facts = [Fact(f"{name} UDP", udp, nat.reason.get("udp", ""))]
    if nat.mapping is not None or nat.behind_nat is not False:
        facts.append(_behavior(f"{name} mapping", nat.mapping, _MAPPINGS, nat.reason.get("mapping", "")))
    facts.append(_behavior(f"{name} filtering", nat.filtering, _FILTERS, nat.reason.get("filtering", "")))
    return facts


def _behavior(name: str, value: Behavior | None, meanings: dict[Behavior, str], reason: str) -> Fact:
    return Fact(name, "not measured", reason) if value is None else Fact(name, value, meanings[value])


def _turn(report: TurnReport, findings: Sequence[Finding]) -> Explanation:
    if report.ok:
        summary = f"A TURN test: {report.url} works and relays as {report.relayed_address or 'an address not told'}."
    else:
        summary = f"A TURN test: {report.url} fails at {report.failed_stage or 'an unknown stage'}."
    rows = [(stage.name, "passed" if stage.ok else "failed", stage.detail) for stage in report.stages]
    rows += [(name, "not tested", "") for name in report.not_tested]
    table = Table("Stages", (), tuple(rows))
    return Explanation(Kind.REPORT, summary, findings=ranked(findings), tables=(table,) if rows else ())


def _gathering(report: GatherReport) -> Explanation:
    lines = [item.candidate for item in report.candidates]
    gathered = explain_gathered([*lines, None] if report.complete else lines)
    rows = [
        (
            item.url,
            item.outcome.value,
            item.error or ", ".join((*filter(None, (item.mapped_address,)), *item.relayed_addresses)),
        )
        for item in report.servers
    ]
    rows += [(item.address, "no candidate", item.error) for item in report.unusable_addresses]
    answered = sum(item.outcome is ServerOutcome.ANSWERED for item in report.servers)
    facts = gathered.facts
    if failed := len(report.servers) - answered:
        facts += (Fact(NOT_JUDGED, f"why {failed} did not", "icekit probe URL… finds out"),)
    return replace(
        gathered,
        kind=Kind.REPORT,
        facts=facts,
        summary=f"A gathering. {gathered.summary} {answered} of {len(report.servers)} servers answered.",
        tables=(*gathered.tables, Table("Servers", (), tuple(rows))) if rows else gathered.tables,
    )


def _two_probes(a: ProbeReport, b: ProbeReport) -> Explanation:
    # What a prediction needs is not loaded for everything else.
    from icekit.predict import predict
    from icekit.sides import Side

    prediction = predict(Side.from_report(a), Side.from_report(b))
    change = prediction.best_change
    facts = [
        Fact("path", prediction.path, prediction.why),
        Fact("A alone", a.verdict.code, a.verdict.summary),
        Fact("B alone", b.verdict.code, b.verdict.summary),
    ]
    if change is not None:
        facts.insert(1, Fact("would help", change.kind, change.text))
    return Explanation(
        Kind.REPORT,
        f"Two probe reports. Between these two: {prediction.path}.",
        tuple(facts),
        findings=ranked(sides_findings(a, b)),
    )


def _both_sides(document: dict[str, Any]) -> Explanation:
    # As above: it brings what a prediction needs.
    from icekit.two_sided import TwoSidedReport

    report = from_dict(TwoSidedReport, document)
    facts = (
        Fact("path", report.path, "what the checks between the two have found"),
        Fact("predicted", report.predicted, report.predicted_why),
        Fact("A alone", report.a.verdict.code, report.a.verdict.summary),
        Fact("B alone", report.b.verdict.code, report.b.verdict.summary),
    )
    rows = tuple(
        (f"A {path.a}, B {path.b}", "works" if path.works else "does not work", sentence)
        for path in report.pairs
        for sentence in path.seen or ("",)
    )
    return Explanation(
        Kind.REPORT,
        f"A two-sided probe: {report.path}. {report.summary}",
        facts,
        findings=ranked(report.findings),
        tables=(Table("Pairs", (), rows),) if rows else (),
    )
