"""What ``icekit explain`` says of servers: one URL, or an ``iceServers`` list."""

from __future__ import annotations

from typing import Any

from icekit.explanation import Explanation, Fact, Kind, Table
from icekit.findings import ranked
from icekit.net import Transport
from icekit.rules_configuration import list_findings, url_finding
from icekit.server_list import Treatment, Use, read_list, uses
from icekit.servers import ServerUri


def explain_server(text: str) -> Explanation:
    """One URL."""
    finding = url_finding(text)
    if finding is not None:
        return Explanation(Kind.SERVER, finding.message, problem="Nothing can use it.", findings=(finding,))
    uri = ServerUri.parse(text)
    job = "a TURN server, which relays" if uri.is_turn else "a STUN server, which tells a host its public address"
    port = uri.port or uri.default_port
    facts = [
        Fact("host", uri.host, "" if uri.is_literal else "a name, which DNS resolves"),
        Fact("port", str(port), "" if uri.port else "the default, because none is written"),
    ]
    transport = uri.transport
    if transport is None:
        problem = f"the transport {uri.transport_token} is not known"
        return Explanation(Kind.SERVER, f"The URL of {job}.", tuple(facts), problem=problem)
    facts.append(Fact("transport", transport, _TO_SERVER[transport]))
    return Explanation(Kind.SERVER, f"The URL of {job}.", tuple(facts), canonical=str(uri))


_TO_SERVER = {
    Transport.UDP: "the fastest, and what strict networks block",
    Transport.TCP: "to the server only; from there to the other side the relay uses UDP",
    Transport.TLS: "passes most firewalls on port 443; from the server to the other side the relay uses UDP",
    Transport.DTLS: "encrypted UDP to the server",
}


def explain_server_list(data: Any, unix_time: float | None) -> Explanation:
    """What icekit, aiortc and browsers make of a list, and what is wrong with it."""
    servers = read_list(data)
    used = uses(servers.servers)
    findings = ranked(list_findings(servers, unix_time))
    stun = [item for item in used if item.uri is not None and not item.is_turn]
    turn = [item for item in used if item.is_turn]
    hosts = {item.uri.host for item in turn if item.uri is not None}
    on_443 = [item for item in turn if item.uri is not None and item.uri.transport is Transport.TLS]
    on_443 = [item for item in on_443 if item.uri is not None and item.uri.port == 443]
    facts = (
        Fact("STUN", str(len(stun)), "tells a side its address outside"),
        Fact(
            "TURN",
            f"{len(turn)} on {len(hosts)} host{'' if len(hosts) == 1 else 's'}",
            "relays where nothing else works",
        ),
        Fact(
            "blocked UDP",
            "passes" if on_443 else "fails",
            f"{on_443[0].url} looks like a web site to a firewall"
            if on_443
            else "a network that passes only web traffic needs turns:HOST:443?transport=tcp",
        ),
    )
    treatments = [(item.icekit, item.aiortc, item.chromium) for item in used]
    notes = list(dict.fromkeys(each.why for row in treatments for each in row if each.why))
    columns = ("URL", "icekit", "aiortc alone", "Chromium")
    rows = tuple((item.url, *(_said(each, notes) for each in row)) for item, row in zip(used, treatments, strict=True))
    tables = [
        Table("Who uses what", columns, rows),
        Table("Why", (), tuple((f"({number})", why) for number, why in enumerate(notes, 1))),
    ]
    number = len(used)
    return Explanation(
        Kind.SERVER_LIST,
        f"A list of ICE servers with {number} URL{'' if number == 1 else 's'}.",
        facts,
        problem=None if used else "there is no URL in it",
        findings=findings,
        tables=tuple(table for table in tables if table.rows),
    )


_WORDS = {Use.USED: "yes", Use.IGNORED: "ignored", Use.REFUSED: "refuses all"}


def _said(treatment: Treatment, notes: list[str]) -> str:
    word = _WORDS[treatment.use]
    return f"{word} ({notes.index(treatment.why) + 1})" if treatment.why else word
