"""Rules about the stages of TURN servers: one ``TURN-`` code for each that failed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from icekit.catalogue import describe, new_finding, stage_text
from icekit.path_mtu import WANTED_PACKET
from icekit.probe_observations import Observations, parse_url
from icekit.report import Finding, Severity, TurnReport


def turn_findings(report: TurnReport, siblings: Collection[TurnReport] = ()) -> tuple[Finding, ...]:
    """The finding of the stage that failed, and of what was found on the way.

    A failure is only a warning when one of ``siblings`` works: then a call does not fail for it.
    """
    found = []
    working = [sibling.url for sibling in siblings if sibling.ok and sibling is not report]
    if not report.ok and report.code is not None:
        finding = _stage_finding(report, report.code, report.cause)
        if working and finding.severity is Severity.ERROR:
            evidence = (*finding.evidence, f"works: {', '.join(working)}")
            finding = Finding(finding.code, Severity.WARNING, finding.message, finding.fix, evidence)
        found.append(finding)
    found += [_stage_finding(report, code, None) for code in report.warnings]
    if report.packet_lost is not None:
        message = f"{report.url}: packets of {WANTED_PACKET} bytes are lost on the way to the relay and back."
        passed = f"IP packets of {report.packet_passed} bytes pass, those of {report.packet_lost} are lost"
        found.append(new_finding("ICE029", message, passed))
    return tuple(found)


def _stage_finding(report: TurnReport, code: str, cause: str | None) -> Finding:
    uri = parse_url(report.url)
    transport = None if uri is None else uri.transport
    names = {
        "host": report.url if uri is None else uri.host,
        "port": "" if uri is None else str(uri.port or uri.default_port),
        "transport": "UDP" if transport is None else transport.upper(),
    }
    text = stage_text(code, cause)
    row = describe(code)
    evidence = [f"{stage.name}: {stage.detail or 'failed'}" for stage in report.stages if not stage.ok]
    if report.not_tested:
        evidence.append(f"not tested: {', '.join(report.not_tested)}")
    message = f"{report.url}: {text.message.format_map(names)}."
    severity = Severity.ERROR if row is None else row.severity
    return Finding(code, severity, message, text.fix.format_map(names), tuple(evidence))


def failed_stages(observed: Observations) -> Iterator[Finding]:
    """The ``TURN-`` codes of the TURN servers that were tested."""
    for report in observed.turn:
        yield from turn_findings(report, observed.turn)
