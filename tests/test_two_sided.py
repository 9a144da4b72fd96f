"""What two ends saw, merged: pairs of one path, sentences, the verdict, and what a peer may not tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.errors import DecodeError
from icekit.path_mtu import PathMtu
from icekit.report import (
    NatReport,
    NatReports,
    PathKind,
    ProbeReport,
    Severity,
    Verdict,
    VerdictCode,
    from_dict,
    to_dict,
)
from icekit.two_sided import MAX_PAIRS, CheckedPair, EndChecks, TwoSidedReport, merge, read_end_checks

A_HOST = "candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host"
A_SRFLX = "candidate:2 1 udp 1694498815 198.51.100.1 6000 typ srflx raddr 192.168.1.2 rport 5000"
A_PRFLX = "candidate:9 1 udp 1862270975 198.51.100.1 6111 typ prflx"
B_HOST = "candidate:1 1 udp 2130706431 192.168.2.2 5001 typ host"
B_SRFLX = "candidate:2 1 udp 1694498815 198.51.100.2 6001 typ srflx raddr 192.168.2.2 rport 5001"
B_RELAY = "candidate:3 1 udp 16777215 203.0.113.20 50000 typ relay raddr 198.51.100.2 rport 6001"


def probe(udp: bool | None = True) -> ProbeReport:
    nat = NatReport(udp=udp, behind_nat=True)
    return ProbeReport(0.5, Verdict(VerdictCode.OK, Severity.OK, "fine"), nat=NatReports(ipv4=nat))


def pair(local: str, remote: str, sent: int, received: int = 0, *, works: bool = False, **more: Any) -> CheckedPair:
    return CheckedPair(
        local=local,
        remote=remote,
        state="succeeded" if works else "in-progress",
        checks_sent=sent,
        checks_received=received,
        responses_received=sent if works else 0,
        **more,
    )


def merged(*a: CheckedPair, b: tuple[CheckedPair, ...] = (), udp: bool | None = True) -> TwoSidedReport:
    ends = EndChecks(candidates=(A_HOST, A_SRFLX), pairs=a), EndChecks(candidates=(B_HOST, B_SRFLX, B_RELAY), pairs=b)
    return merge("A", probe(udp), probe(), *ends)


def test_the_firewall_of_one_end() -> None:
    report = merged(pair(A_HOST, B_SRFLX, 6, 4), b=(pair(B_HOST, A_SRFLX, 5, 0),))
    assert report.path is PathKind.NONE
    [path] = report.pairs
    assert (path.a, path.b, path.works) == ("host 192.168.1.2:5000", "host 192.168.2.2:5001", False)
    assert path.seen == (
        (
            "A sent 6 checks to B's srflx 198.51.100.2:6001, B saw none: the firewall or NAT of B dropped them; "
            "those of B do arrive at A."
        ),
        "B sent 5 checks to A's srflx 198.51.100.1:6000; A saw checks of B, but no answer came back to B.",
    )
    assert report.findings[0].code == "CALL-PATH"
    assert set(path.seen) <= set(report.findings[0].evidence)


def test_a_new_port_of_a_nat_belongs_to_the_host_behind_it() -> None:
    # A check to the srflx of B arrives at its host, from a port that A does not know.
    report = merged(
        pair(A_HOST, B_SRFLX, 1, 2, works=True, selected=True), b=(pair(B_HOST, A_PRFLX, 2, 1, works=True),)
    )
    [path] = report.pairs
    assert (path.works, path.selected, len(path.a_view), len(path.b_view)) == (True, True, 1, 1)
    assert (report.path, report.findings) == (PathKind.DIRECT, ())


def test_a_relay_that_works_is_named_and_the_rest_is_no_finding() -> None:
    report = merged(
        pair(A_HOST, B_SRFLX, 6),
        pair(A_HOST, B_RELAY, 1, 1, works=True, selected=True),
        b=(pair(B_HOST, A_SRFLX, 6), pair(B_RELAY, A_SRFLX, 1, 1, works=True)),
    )
    assert (report.path, report.summary) == (PathKind.RELAY, "A and B reach each other through the relay of B.")
    assert report.findings == ()
    assert [path.works for path in report.pairs] == [True, False]


@pytest.mark.parametrize(
    ("remote", "udp", "why"),
    [
        (B_HOST, True, "an address of a local network, which only that network reaches"),
        (B_HOST.replace("192.168.2.2", "2001:db8::2"), True, "the firewall or NAT of B dropped them"),
        (B_SRFLX, False, "the network of A lets no UDP out"),
        (B_SRFLX, None, "a firewall or NAT between A and B dropped them"),
        (B_RELAY, True, "the relay of B, or a firewall before it, dropped them"),
    ],
)
def test_who_drops_the_checks(remote: str, udp: bool | None, why: str) -> None:
    [path] = merged(pair(A_HOST, remote, 1), udp=udp).pairs
    [sentence] = path.seen
    assert sentence.startswith("A sent 1 check to B's ")
    assert sentence.endswith(f", B saw none: {why}.")


def test_an_end_without_candidates() -> None:
    report = merge("B", probe(), probe(), EndChecks(), EndChecks(candidates=(B_HOST,)))
    assert (report.path, report.this_side) == (PathKind.NONE, "B")
    assert "A has no candidate" in report.findings[0].evidence


def test_the_document_can_be_read_again() -> None:
    report = merged(pair(A_HOST, B_SRFLX, 6, rtt=0.04), b=(pair(B_HOST, A_SRFLX, 6),))
    document = to_dict(report)
    assert document["schema"] == "icekit/probe-with/1"
    assert from_dict(TwoSidedReport, document) == report


GOOD = to_dict(EndChecks(candidates=(A_HOST,), pairs=(pair(A_HOST, B_HOST, 1),)))


@pytest.mark.parametrize(
    "told",
    [
        {"pairs": [{**GOOD["pairs"][0], "checks_sent": -1}]},
        {"pairs": [{**GOOD["pairs"][0], "local": "no candidate"}]},
        {"pairs": GOOD["pairs"] * (MAX_PAIRS + 1)},
        {"candidates": [5]},
        {"pairs": "all"},
    ],
)
def test_what_a_peer_may_not_tell(told: dict[str, Any]) -> None:
    assert read_end_checks(GOOD) == from_dict(EndChecks, GOOD)
    with pytest.raises(DecodeError):
        read_end_checks(told)


LINES = st.sampled_from([A_HOST, A_SRFLX, A_PRFLX, B_HOST, B_SRFLX, B_RELAY])
PAIRS = st.builds(
    CheckedPair,
    local=LINES,
    remote=LINES,
    state=st.sampled_from(["succeeded", "failed", "anything"]),
    checks_sent=st.integers(0, 99),
    checks_received=st.integers(0, 99),
)
ENDS = st.builds(
    EndChecks, candidates=st.lists(LINES, max_size=3).map(tuple), pairs=st.lists(PAIRS, max_size=6).map(tuple)
)


@settings(max_examples=50)
@given(ENDS, ENDS)
def test_both_ends_come_to_the_same_and_no_pair_is_lost(a: EndChecks, b: EndChecks) -> None:
    one, other = (merge(side, probe(), probe(), a, b) for side in "AB")
    assert replace(other, this_side="A") == one
    assert sum(len(path.a_view) for path in one.pairs) == len(a.pairs)
    assert sum(len(path.b_view) for path in one.pairs) == len(b.pairs)
    works = any(item.state == "succeeded" for item in (*a.pairs, *b.pairs))
    assert (one.path is not PathKind.NONE) == works == any(path.works for path in one.pairs)


@pytest.mark.parametrize("size", [-1, 65536])
def test_the_size_of_a_packet_has_its_bounds(size: int) -> None:
    told = to_dict(EndChecks(pairs=(pair(A_HOST, B_HOST, 1, packet_passed=size, packet_lost=1200),)))
    with pytest.raises(DecodeError, match="size of a packet"):
        read_end_checks(told)
    told["pairs"][0]["packet_passed"] = 900
    assert read_end_checks(told).pairs[0].path_mtu == PathMtu(900, 1200)
