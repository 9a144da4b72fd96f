"""What one side of a call knows when it fails, and what two such reports say together: where the path broke.

The peers tell each other with a report message (``icekit/call-report/1``). What comes from a peer is judged field by
field, and what is not well-formed counts as not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from icekit.catalogue import CODES, describe, new_finding
from icekit.path_mtu import PathMtu
from icekit.report import Finding, Severity
from icekit.rules_pairs import narrow_path

SCHEMA: Final = "icekit/call-report/1"

_KINDS: Final = ("host", "srflx", "prflx", "relay")
_MAX_TEXT, _MAX_SERVERS = 300, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SideReport:
    """One side. ``code`` is ``None`` where it has not failed; ``phase`` what it waits for.

    ``local`` and ``remote`` count the candidates by kind that it has, and has been told. Checks are ICE's own:
    ``checks_sent``, ``answered`` of them, ``refused`` as wrongly signed, ``checks_received`` from the other side;
    ``None`` where the engine does not count. ``packet_passed`` and ``packet_lost``: IP packets in bytes that come
    through to its peer and that do not, as far as measured. ``servers`` are those that failed, with the reason.
    """

    code: str | None = None
    phase: str = ""
    reason: str = ""
    local: dict[str, int] = field(default_factory=dict)
    remote: dict[str, int] = field(default_factory=dict)
    checks_sent: int | None = None
    checks_received: int | None = None
    answered: int | None = None
    refused: int | None = None
    packet_passed: int | None = None
    packet_lost: int | None = None
    servers: tuple[str, ...] = ()

    @property
    def path_mtu(self) -> PathMtu | None:
        """What it has measured."""
        return None if self.packet_passed is None else PathMtu(self.packet_passed, self.packet_lost)

    def to_dict(self) -> dict[str, Any]:
        """What the peer is told."""
        return {
            "schema": SCHEMA,
            "code": self.code,
            "phase": self.phase,
            "reason": self.reason,
            "local": self.local,
            "remote": self.remote,
            "checks_sent": self.checks_sent,
            "checks_received": self.checks_received,
            "answered": self.answered,
            "refused": self.refused,
            "packet_passed": self.packet_passed,
            "packet_lost": self.packet_lost,
            "servers": list(self.servers),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> SideReport | None:
        """What a peer has told; ``None`` if it is no such report."""
        if value.get("schema") != SCHEMA:
            return None
        code = value.get("code")
        servers = value.get("servers")
        return cls(
            code=code if isinstance(code, str) and describe(code) is not None else None,
            phase=_text(value.get("phase")),
            reason=_text(value.get("reason")),
            local=_counts(value.get("local")),
            remote=_counts(value.get("remote")),
            checks_sent=_count(value.get("checks_sent")),
            checks_received=_count(value.get("checks_received")),
            answered=_count(value.get("answered")),
            refused=_count(value.get("refused")),
            packet_passed=_count(value.get("packet_passed")),
            packet_lost=_count(value.get("packet_lost")),
            servers=tuple(_text(item) for item in servers[:_MAX_SERVERS]) if isinstance(servers, list) else (),
        )


def findings(ours: SideReport, theirs: SideReport | None) -> tuple[Finding, ...]:
    """What failed, on which side, and where the path broke; the most telling first."""
    found: list[Finding] = []
    # Whoever was only hung up on has nothing to say about the cause.
    order = [("this side", ours), ("the other side", theirs)]
    if theirs is not None and theirs.code is not None and ours.code in (None, "CALL-BYE"):
        order.reverse()
    # Whatever is waited for then, and on whichever side: it is in vain for this.
    found += _refused("this side", "the other side", ours)
    found += _refused("the other side", "this side", theirs)
    # The encryption needs large packets; of any other failure a narrow path is not the cause.
    breaks = Severity.ERROR if "CALL-DTLS" in (ours.code, theirs and theirs.code) else None
    ways = {"from this side": ours.path_mtu, "from the other side": None if theirs is None else theirs.path_mtu}
    found += narrow_path(ways, breaks)
    seen: set[str] = set()
    for who, side in order:
        if side is None or side.code is None or side.code in seen or (side.code == "CALL-BYE" and found):
            continue
        seen.add(side.code)
        row = describe(side.code)
        assert row is not None
        evidence = [f"{who}: {_sentence(side)}"]
        if side.code == "CALL-PATH":
            evidence += _break(ours, theirs)
        found.append(new_finding(row.code, row.meaning, *evidence))
    for who, side in order:
        if side is not None and side.servers:
            found.append(_servers_failed(who, side))
    return tuple(found)


def _refused(who: str, other: str, side: SideReport | None) -> Iterator[Finding]:
    """Its peer does not take its signatures."""
    if side is not None and side.refused and not side.answered:
        sent = f"{side.refused} of {side.checks_sent or 0} checks of {who}"
        evidence = f"{other} has refused {sent}, and answered none"
        yield new_finding("CALL-PASSWORD", CODES["CALL-PASSWORD"].meaning, evidence)


def _sentence(side: SideReport) -> str:
    words = [side.reason or side.phase or "no reason given"]
    words.append(f"candidates {listed(side.local)}, of its peer {listed(side.remote)}")
    if side.checks_sent is not None:
        words.append(
            f"{side.checks_sent} checks sent, {side.answered or 0} answered, {side.checks_received or 0} received"
        )
    return "; ".join(words)


def _break(ours: SideReport, theirs: SideReport | None) -> list[str]:
    """Where checks got lost, as far as both sides together can tell."""
    if theirs is None:
        return ["the other side has not told what it saw"]
    lines = []
    for source, target, sender, receiver in (
        (ours, theirs, "this side", "the other side"),
        (theirs, ours, "the other side", "this side"),
    ):
        if source.checks_sent and target.checks_received == 0:
            lines.append(f"of {source.checks_sent} checks from {sender}, none reached {receiver}")
        elif source.checks_sent and target.checks_received and not source.answered:
            lines.append(f"checks from {sender} reach {receiver}, but no answer comes back")
        elif source.checks_sent == 0:
            lines.append(f"{sender} had nothing to check: it has no candidate that fits one of {receiver}")
    without = [who for who, side in (("this side", ours), ("the other side", theirs)) if not side.local.get("relay")]
    if without:
        lines.append(f"{' and '.join(without)} {'have' if len(without) > 1 else 'has'} no relay candidate")
    return lines


def _servers_failed(who: str, side: SideReport) -> Finding:
    # Which of them is to blame is for icekit probe to find out.
    return new_finding(
        "ICE008",
        f"Not every ICE server answered {who}.",
        *(f"{who}: {server}" for server in side.servers),
        fix="If the call needs this server, test it with icekit turn or icekit probe.",
        severity=Severity.INFO,
    )


def listed(counts: Mapping[str, int]) -> str:
    """Candidates by kind, for people."""
    return ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts.get(kind)) or "none"


def _counts(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        return {}
    return {kind: number for kind in _KINDS if (number := _count(value.get(kind)))}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value[:_MAX_TEXT])
