"""What a browser may conclude and the words for it, out of the tables and rules that ``icekit probe`` uses.

The page computes no verdict of its own: it puts what it has seen into one of a few hundred cases, and each case was
judged here, by ``icekit.outlook`` and ``icekit.verdict``.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Final

from icekit.catalogue import CODES, describe, stage_text
from icekit.outlook import outlook
from icekit.probe_observations import ConfiguredServer, Observations
from icekit.report import (
    Behavior,
    DnsReport,
    Interface,
    NatReport,
    NatReports,
    ServerReport,
    StageName,
    TurnReport,
    to_dict,
)
from icekit.stage_texts import CAUSES
from icekit.verdict import verdict

SCHEMA = "icekit/catalogue/1"

UDP: Final = {"yes": True, "no": False, "unknown": None}
"""Whether UDP passes."""

NATS: Final = ("none", "endpoint-independent", "dependent", "unknown")
"""The mapping; ``dependent`` on the destination, at least on its address."""

RELAYS: Final = {
    "unset": None,
    "broken": "turn:turn.example.org",
    "udp": "turn:turn.example.org",
    "tcp": "turn:turn.example.org?transport=tcp",
    "tls": "turns:turn.example.org",
}
"""Whether a TURN server is configured and carries data, and how it is reached."""

ASKED: Final = ("many", "one", "none", "unresolved", "offline")
"""The servers that were asked: on several hosts or one, none, only names that cannot be resolved; no network at all."""

_NO_MAPPING = "two STUN servers of different operators must answer"
_NO_FILTERING = "a browser cannot measure it"


def catalogue() -> dict[str, Any]:
    """``codes``, the texts of TURN ``stages`` by code or ``CODE/cause``, and ``conclusions`` by what was observed.

    A key of ``conclusions["by"]`` is a value of ``UDP``, ``NATS``, ``RELAYS`` and ``ASKED`` each, in this order, with
    spaces between; it leads to the places of a verdict and an outlook in their lists.
    """
    codes = {
        code: {
            "name": row.name,
            "severity": row.severity.value,
            "believed": row.believed,
            "meaning": row.meaning,
            "fix": row.fix,
        }
        for code, row in CODES.items()
    }
    stages = {code: to_dict(stage_text(code, None)) for code in CODES if code.startswith("TURN-")}
    stages |= {f"{code}/{cause}": to_dict(text) for (code, cause), text in CAUSES.items()}
    # Any number that a server answers with: one for all, with a place for the number.
    number = "699"
    assert describe(f"TURN-{number}") is not None
    unlisted = stage_text(f"TURN-{number}", None)
    stages["TURN-NUMBER"] = {"message": unlisted.message.replace(number, "{number}"), "fix": unlisted.fix}
    stages["UNKNOWN"] = to_dict(stage_text("", None))
    return {"schema": SCHEMA, "codes": codes, "stages": stages, "conclusions": _conclusions()}


def _conclusions() -> dict[str, Any]:
    verdicts: list[Any] = []
    outlooks: list[Any] = []
    by: dict[str, list[int]] = {}
    for case in product(UDP, NATS, RELAYS, ASKED):
        observed = _observations(*case)
        paths = outlook(observed)
        by[" ".join(case)] = [_place(verdicts, to_dict(verdict(observed, paths))), _place(outlooks, to_dict(paths))]
    return {"verdicts": verdicts, "outlooks": outlooks, "by": by}


def _place(values: list[Any], value: Any) -> int:
    if value not in values:
        values.append(value)
    return values.index(value)


def _observations(udp: str, nat: str, relay: str, asked: str) -> Observations:
    """A probe that would have seen the same."""
    mapping = {"endpoint-independent": Behavior.ENDPOINT_INDEPENDENT, "dependent": Behavior.ADDRESS_DEPENDENT}.get(nat)
    report = NatReport(
        mapping=mapping,
        behind_nat={"none": False, "unknown": None}.get(nat, True),
        udp=UDP[udp],
        reason={"mapping": _NO_MAPPING, "filtering": _NO_FILTERING},
    )
    hosts = {"many": ("203.0.113.1:3478", "203.0.113.2:3478"), "one": ("203.0.113.1:3478",)}.get(asked, ())
    url = RELAYS[relay]
    works = relay in ("udp", "tcp", "tls")
    silent = tuple(
        ServerReport("stun:stun.example.org", address, "udp", reachable=UDP[udp], error=None if UDP[udp] else "timeout")
        for address in hosts
    )
    failed = None if works else StageName.ALLOCATE
    return Observations(
        interfaces=() if asked == "offline" else (Interface("", "192.0.2.1", "private"),),
        nat=NatReports(ipv4=report),
        servers=silent,
        dns=(DnsReport("stun.example.org", "A", error="nxdomain"),) if asked == "unresolved" else (),
        turn=() if url is None else (TurnReport(url, works, failed_stage=failed),),
        configured=() if url is None else (ConfiguredServer(url),),
    )
