"""The page of a probe, and that of a TURN test.

The order is that of a reader in a hurry: the verdict, what to do, then the measurements that prove it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from icekit.outlook import PEER_WORDS
from icekit.page import (
    MARKS,
    TONES,
    UNKNOWN,
    Body,
    Cell,
    FindingList,
    Lines,
    Page,
    Section,
    Table,
    Tone,
    milliseconds,
    table,
)
from icekit.probe_observations import families
from icekit.report import (
    Behavior,
    DnsReport,
    Finding,
    NatReport,
    NatReports,
    Outlook,
    PathKind,
    PortmapReport,
    ProbeReport,
    ServerReport,
    TurnReport,
)


def probe_page(report: ProbeReport) -> Page:
    """Verdict, findings, and what was measured."""
    verdict = report.verdict
    return Page(
        Cell(verdict.code, TONES[verdict.severity]),
        verdict.summary,
        tuple(_probe_sections(report)),
        f"Measured in {report.duration:.1f} s",
    )


def turn_page(report: TurnReport, findings: Sequence[Finding]) -> Page:
    """The sentence, the findings, the stages."""
    word = "INTERRUPTED" if _is_interrupted(report) else report.code or "FAILED"
    code = Cell("OK", Tone.GOOD) if report.ok else Cell(word, Tone.BAD)
    sections = [Section("Findings", (FindingList(tuple(findings)),))] if findings else []
    return Page(code, f"{report.url} {_turn_summary(report)}", (*sections, Section("Stages", (_stages(report),))))


def _probe_sections(report: ProbeReport) -> Iterator[Section]:
    if report.findings:
        yield Section("Findings", (FindingList(report.findings),))
    if report.outlook:
        yield Section("Outlook", (_outlook(report.outlook),))
    if report.nat.ipv4 is not None or report.nat.ipv6 is not None:
        yield Section("NAT and firewall", tuple(_nat(report.nat)))
    if report.servers:
        yield Section("Servers", (_servers(report.servers),))
    for turn in report.turn:
        yield Section(f"TURN {turn.url}", (Lines((_turn_line(turn),)), _stages(turn)))
    if report.dns:
        yield Section("DNS", (_dns(report.dns),))
    if report.interfaces:
        rows = ((item.name, item.address, item.address_class, item.kind or "") for item in report.interfaces)
        yield Section("Interfaces", (table(rows),))
    if report.portmap is not None:
        yield Section("Port mapping", (_portmap(report.portmap),))
    if report.candidates:
        yield Section("Candidates", (Lines(tuple(map(Cell, report.candidates))),))


# --- pieces ----------------------------------------------------------------------------------------------------------


def _mark(ok: bool | None) -> Cell:
    if ok is None:
        return Cell(UNKNOWN, Tone.DIM)
    tone = Tone.GOOD if ok else Tone.BAD
    return Cell(MARKS[tone], tone)


PATHS = {
    PathKind.DIRECT: Tone.GOOD,
    PathKind.RELAY: Tone.WARNING,
    PathKind.MAYBE: Tone.WARNING,
    PathKind.NONE: Tone.BAD,
}


def _outlook(outlook: Iterable[Outlook]) -> Table:
    rows = (
        (f"to {PEER_WORDS.get(item.peer, item.peer)}", Cell(item.path, PATHS[item.path]), Cell(item.why, Tone.DIM))
        for item in outlook
    )
    return table(rows, labels=2)


_BEHAVIORS = {
    Behavior.ENDPOINT_INDEPENDENT: "endpoint-independent",
    Behavior.ADDRESS_DEPENDENT: "address-dependent",
    Behavior.ADDRESS_AND_PORT_DEPENDENT: "address-and-port-dependent",
}


def _yes_no(value: bool | None) -> str:
    return {True: "yes", False: "no", None: UNKNOWN}[value]


def _nat(reports: NatReports) -> Iterator[Body]:
    """One column per family; what was not measured says why, below."""
    columns = list(families(reports))
    rows: list[tuple[str | Cell, ...]] = [("", *(Cell(name, Tone.STRONG) for name, _ in columns))]
    for row in zip(*(_nat_rows(nat) for _, nat in columns), strict=True):
        if any(value != UNKNOWN for _, value in row) or row[0][0] in _ALWAYS:
            rows.append((row[0][0], *(value for _, value in row)))
    yield table(rows, labels=1, header=True)
    missing = tuple(
        Cell(f"{family} {_REASONS[field]}{' not measured' if getattr(nat, field) is None else ''}: {why}", Tone.DIM)
        for family, nat in columns
        for field, why in nat.reason.items()
        if field in _REASONS
    )
    if missing:
        yield Lines(missing)


_ALWAYS = ("UDP", "behind a NAT", "mapping", "filtering")
_REASONS = {"udp": "UDP", "behind_nat": "NAT", "mapping": "mapping", "filtering": "filtering"}


# Reasons that answer no question of the user's.
_NOT_ASKED = ("not asked for (--lifetime)", "no NAT")


def _lifetime(nat: NatReport) -> str:
    """The reason is the better half of the answer: it says between which times, or more than which."""
    why = nat.reason.get("binding_lifetime", UNKNOWN)
    if nat.binding_lifetime is None:
        return UNKNOWN if why in _NOT_ASKED else why
    return f"{nat.binding_lifetime:g} s" + (f" ({why})" if why != UNKNOWN else "")


def _nat_rows(nat: NatReport) -> list[tuple[str, str]]:
    ports = UNKNOWN if nat.port_assignment is None else nat.port_assignment.value
    if nat.port_step is not None:
        ports += f", step {nat.port_step}"
    return [
        ("UDP", {True: "works", False: "blocked", None: UNKNOWN}[nat.udp]),
        ("behind a NAT", _yes_no(nat.behind_nat)),
        ("seen as", ", ".join(nat.mapped_addresses) or UNKNOWN),
        ("mapping", UNKNOWN if nat.mapping is None else _BEHAVIORS[nat.mapping]),
        ("filtering", UNKNOWN if nat.filtering is None else _BEHAVIORS[nat.filtering]),
        ("hairpinning", _yes_no(nat.hairpinning)),
        ("ports", ports),
        ("keeps port parity", _yes_no(nat.parity)),
        ("addresses", UNKNOWN if nat.address_pooling is None else nat.address_pooling.value),
        ("binding lifetime", _lifetime(nat)),
        ("translations", UNKNOWN if nat.nats is None else str(nat.nats)),
        ("carrier's NAT", _yes_no(nat.cgnat)),
        ("rewrites STUN", _yes_no(nat.alg)),
    ]


def _servers(servers: Iterable[ServerReport]) -> Table:
    rows = []
    for server in servers:
        answer = milliseconds(server.rtt) if server.reachable else server.error or "no answer"
        where = f"{server.transport} {server.address or UNKNOWN}"
        if server.interface:
            where += f" from {server.interface}"
        saw = f"saw {server.mapped_address}" if server.mapped_address else ""
        rows.append((_mark(server.reachable), server.url, ", ".join(filter(None, (where, answer, saw)))))
    return table(rows, labels=1)


def _is_interrupted(report: TurnReport) -> bool:
    return not report.ok and report.failed_stage is None


# Words of the report that say little by themselves.
_CAUSES: Final = {
    "wrong": "wrong user name or password",
    "empty": "no user name or no password",
    "milliseconds": "a user name with milliseconds where seconds belong",
    "not-tls": "no TLS there",
    "hangs-up": "the server hangs up",
    "wants-tls": "the server wants TLS",
}


def _turn_summary(report: TurnReport) -> str:
    if _is_interrupted(report):
        return "was interrupted before it was tested to the end"
    if not report.ok:
        cause = f" ({_CAUSES.get(report.cause, report.cause)})" if report.cause else ""
        return f"fails at {report.failed_stage}{cause}"
    trip = f", {milliseconds(report.rtt)} through it and back" if report.rtt is not None else ""
    if report.packet_lost is not None:
        trip += f", packets of {report.packet_lost} bytes are lost"
    return f"relays as {report.relayed_address}{trip}"


def _turn_line(report: TurnReport) -> Cell:
    code = "" if report.ok or report.code is None else f"{report.code}: "
    return Cell(f"{code}{_turn_summary(report)}", Tone.GOOD if report.ok else Tone.BAD)


def _stages(report: TurnReport) -> Table:
    rows: list[tuple[str | Cell, ...]] = [
        (_mark(stage.ok), stage.name, f"{stage.seconds:.3f} s", stage.detail) for stage in report.stages
    ]
    rows += [(_mark(None), name, "", "not tested") for name in report.not_tested]
    return table(rows, labels=3)


def _dns(queries: Iterable[DnsReport]) -> Table:
    return table(
        (query.name, query.type, ", ".join(query.answers) or query.error or "no answer", milliseconds(query.seconds))
        for query in queries
    )


def _portmap(portmap: PortmapReport) -> Table:
    rows = [("gateway", portmap.gateway or UNKNOWN, "")]
    for name, value, field in (
        ("UPnP", portmap.upnp, "upnp"),
        ("NAT-PMP", portmap.nat_pmp, "nat_pmp"),
        ("PCP", portmap.pcp, "pcp"),
    ):
        rows.append((name, _yes_no(value), portmap.reason.get(field, "")))
    if portmap.external_address is not None:
        rows.append(("its address outside", portmap.external_address, ""))
    if portmap.description_url is not None:
        rows.append(("UPnP device", portmap.description_url, ""))
    return table(rows)
