"""What ``icekit explain`` says of servers: one URL, or an ``iceServers`` list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icekit.explanation import Explanation, Fact, Kind, Table
from icekit.findings import ranked
from icekit.net import Transport
from icekit.rules_configuration import list_findings, url_finding
from icekit.server_list import ServerUse, Treatment, Use, read_list, uses
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
    number = len(used)
    return Explanation(
        Kind.SERVER_LIST,
        f"A list of ICE servers with {number} URL{'' if number == 1 else 's'}.",
        _offers(used),
        problem=None if used else "there is no URL in it",
        findings=ranked(list_findings(servers, unix_time)),
        tables=tuple(table for table in _who_uses_what(used) if table.rows),
    )


def _offers(used: Sequence[ServerUse]) -> tuple[Fact, ...]:
    """How many servers of which sort, and whether a network without UDP reaches one."""
    uris = [(item.url, item.uri) for item in used if item.uri is not None]
    turn = [(url, uri) for url, uri in uris if uri.is_turn]
    hosts = len({uri.host for _, uri in turn})
    on_443 = [url for url, uri in turn if uri.transport is Transport.TLS and uri.port == 443]
    return (
        Fact("STUN", str(len(uris) - len(turn)), "tells a side its address outside"),
        Fact("TURN", f"{len(turn)} on {hosts} host{'' if hosts == 1 else 's'}", "relays where nothing else works"),
        Fact("blocked UDP", "passes", f"{on_443[0]} looks like a web site to a firewall")
        if on_443
        else Fact("blocked UDP", "fails", "a network that passes only web traffic needs turns:HOST:443?transport=tcp"),
    )


def _who_uses_what(used: Sequence[ServerUse]) -> tuple[Table, Table]:
    treatments = [(item.icekit, item.aiortc, item.chromium) for item in used]
    notes = list(dict.fromkeys(each.why for row in treatments for each in row if each.why))
    columns = ("URL", "icekit", "aiortc alone", "Chromium")
    rows = tuple((item.url, *(_said(each, notes) for each in row)) for item, row in zip(used, treatments, strict=True))
    return (
        Table("Who uses what", columns, rows),
        Table("Why", (), tuple((f"({number})", why) for number, why in enumerate(notes, 1))),
    )


_WORDS = {Use.USED: "yes", Use.IGNORED: "ignored", Use.REFUSED: "refuses all"}


def _said(treatment: Treatment, notes: list[str]) -> str:
    word = _WORDS[treatment.use]
    return f"{word} ({notes.index(treatment.why) + 1})" if treatment.why else word
