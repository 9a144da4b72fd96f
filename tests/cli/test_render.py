"""Reports as people see them: exact text at two widths, nothing cut, nothing that steers a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from icekit.cli.probe_page import probe_page, turn_page
from icekit.cli.render import PIPE_WIDTH, console, print_json, print_page
from icekit.report import (
    Interface,
    NatReport,
    NatReports,
    PortmapReport,
    ProbeReport,
    Severity,
    StageName,
    StageResult,
    TurnReport,
    Verdict,
    VerdictCode,
    to_dict,
)
from icekit.rules_stages import turn_findings
from tests.cli.reports import BAD, GOOD, REPORT
from tests.observations import (
    NAT,
    server,
)

AT_80 = """\
OK  Calls work: direct to most peers, and a relay is there for the others.

Findings
  !  TURN-401  turn:203.0.113.10?transport=tcp: the time-limited credentials
               have expired.
               → Get fresh credentials; the number before the colon of the user
               name is when they end.
               allocate: 401 Unauthorized
               not tested: permission, echo
               works: turn:203.0.113.10?transport=udp
  i  ICE008    stun:stun.example.org:19302 does not answer at
               [2001:4860:4864:5:8000::1]:19302, but stun:203.0.113.10 does at
               203.0.113.10:3478: this error does not matter.
               → Ignore it and go by the verdict.
               [2001:4860:4864:5:8000::1]:19302: timeout

Outlook
  to a peer without a NAT             direct
  to a peer behind a home router      direct
  to a peer behind a "symmetric" NAT  relay   the peer's NAT uses another port
                                              for each peer, and this network
                                              filters by port
  to a peer whose network blocks UDP  relay   the peer reaches the relay only
                                              over TCP or TLS

NAT and firewall
                 IPv4
  UDP            works
  behind a NAT   yes
  seen as        198.51.100.2:40112
  mapping        endpoint-independent
  filtering      address-and-port-dependent
  hairpinning    no
  ports          sequential, step 2
  rewrites STUN  no

Servers
  ✓  stun:203.0.113.10            udp 203.0.113.10:3478, 20.0 ms, saw
                                  198.51.100.2:40112
  ✗  stun:stun.example.org:19302  udp [2001:4860:4864:5:8000::1]:19302, timeout

TURN turn:203.0.113.10?transport=udp
  relays as 203.0.113.10:50012, 40.0 ms through it and back
  ✓  resolve    0.001 s  203.0.113.10
  ✓  challenge  0.021 s  realm example.org
  ✓  allocate   0.022 s  lifetime 600 s

TURN turn:203.0.113.10?transport=tcp
  TURN-401: fails at allocate (expired)
  ✓  resolve     0.001 s  203.0.113.10
  ✗  allocate    0.020 s  401 Unauthorized
  –  permission           not tested
  –  echo                 not tested

DNS
  stun.example.org  A  8.8.8.8  10.0 ms

Interfaces
  eth0  192.168.1.2  private  ethernet

Candidates
  candidate:1 1 udp 2130706431 192.168.1.2 40112 typ host
  candidate:1 1 udp 1694498815 198.51.100.2 40112 typ srflx raddr 192.168.1.2 rport 40112

Measured in 0.4 s
"""

# What a wider terminal joins.
AT_120 = [
    (
        """\
  !  TURN-401  turn:203.0.113.10?transport=tcp: the time-limited credentials
               have expired.
               → Get fresh credentials; the number before the colon of the user
               name is when they end.
""",
        """\
  !  TURN-401  turn:203.0.113.10?transport=tcp: the time-limited credentials have expired.
               → Get fresh credentials; the number before the colon of the user name is when they end.
""",
    ),
    (
        """\
  i  ICE008    stun:stun.example.org:19302 does not answer at
               [2001:4860:4864:5:8000::1]:19302, but stun:203.0.113.10 does at
               203.0.113.10:3478: this error does not matter.
""",
        """\
  i  ICE008    stun:stun.example.org:19302 does not answer at [2001:4860:4864:5:8000::1]:19302, but stun:203.0.113.10
               does at 203.0.113.10:3478: this error does not matter.
""",
    ),
    (
        """\
  to a peer behind a "symmetric" NAT  relay   the peer's NAT uses another port
                                              for each peer, and this network
                                              filters by port
  to a peer whose network blocks UDP  relay   the peer reaches the relay only
                                              over TCP or TLS
""",
        """\
  to a peer behind a "symmetric" NAT  relay   the peer's NAT uses another port for each peer, and this network filters
                                              by port
  to a peer whose network blocks UDP  relay   the peer reaches the relay only over TCP or TLS
""",
    ),
    (
        """\
  ✓  stun:203.0.113.10            udp 203.0.113.10:3478, 20.0 ms, saw
                                  198.51.100.2:40112
""",
        """\
  ✓  stun:203.0.113.10            udp 203.0.113.10:3478, 20.0 ms, saw 198.51.100.2:40112
""",
    ),
]


def printed(report: ProbeReport, width: int) -> str:
    to = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    print_page(probe_page(report), to)
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def test_a_report_at_80_columns() -> None:
    assert printed(REPORT, 80) == AT_80


def test_a_report_at_120_columns() -> None:
    expected = AT_80
    for narrow, wide in AT_120:
        assert expected.count(narrow) == 1
        expected = expected.replace(narrow, wide)
    assert printed(REPORT, 120) == expected


def test_a_turn_report() -> None:
    to = Console(file=io.StringIO(), width=80)
    print_page(turn_page(BAD, turn_findings(BAD)), to)
    assert isinstance(to.file, io.StringIO)
    assert to.file.getvalue() == (
        """\
TURN-401  turn:203.0.113.10?transport=tcp fails at allocate (expired)

Findings
  ✗  TURN-401  turn:203.0.113.10?transport=tcp: the time-limited credentials
               have expired.
               → Get fresh credentials; the number before the colon of the user
               name is when they end.
               allocate: 401 Unauthorized
               not tested: permission, echo

Stages
  ✓  resolve     0.001 s  203.0.113.10
  ✗  allocate    0.020 s  401 Unauthorized
  –  permission           not tested
  –  echo                 not tested
"""
    )


def test_an_interrupted_turn_test_has_not_failed() -> None:
    to = Console(file=io.StringIO(), width=80)
    unfinished = TurnReport("turn:203.0.113.10", False, stages=BAD.stages[:1], not_tested=(StageName.ALLOCATE,))
    print_page(turn_page(unfinished, ()), to)
    assert isinstance(to.file, io.StringIO)
    assert to.file.getvalue() == (
        """\
INTERRUPTED  turn:203.0.113.10 was interrupted before it was tested to the end

Stages
  ✓  resolve   0.001 s  203.0.113.10
  –  allocate           not tested
"""
    )


def test_both_families_stand_side_by_side_and_say_what_is_not_known() -> None:
    six = NatReport(udp=True, behind_nat=False, reason={"mapping": "no NAT", "filtering": "no OTHER-ADDRESS"})
    text = printed(ProbeReport(0.1, REPORT.verdict, nat=NatReports(NAT, six)), 80)
    assert (
        """\
NAT and firewall
                IPv4                        IPv6
  UDP           works                       works
  behind a NAT  yes                         no
  seen as       198.51.100.2:40112          –
  mapping       endpoint-independent        –
  filtering     address-and-port-dependent  –
  IPv6 mapping not measured: no NAT
  IPv6 filtering not measured: no OTHER-ADDRESS
"""
        in text
    )


def test_port_mapping() -> None:
    portmap = PortmapReport("192.168.1.1", upnp=True, nat_pmp=False, reason={"pcp": "no answer"})
    assert """\
Port mapping
  gateway  192.168.1.1
  UPnP     yes
  NAT-PMP  no
  PCP      –            no answer
""" in printed(ProbeReport(0.1, REPORT.verdict, portmap=portmap), 80)


def test_a_terminal_gets_colours_and_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    coloured = Console(file=io.StringIO(), force_terminal=True, width=80, color_system="standard")
    print_page(probe_page(REPORT), coloured)
    assert isinstance(coloured.file, io.StringIO)
    assert "\x1b[1;32mOK" in coloured.file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Console(file=io.StringIO(), force_terminal=True, width=80, color_system="standard")
    print_page(probe_page(REPORT), plain)
    assert isinstance(plain.file, io.StringIO)
    assert "\x1b[1mOK" in plain.file.getvalue()
    assert "\x1b[32m" not in plain.file.getvalue()


def test_no_line_ends_in_blanks_which_a_narrow_terminal_would_wrap() -> None:
    narrow = Console(file=io.StringIO(), force_terminal=True, width=60, no_color=True)
    print_page(probe_page(REPORT), narrow)
    assert isinstance(narrow.file, io.StringIO)
    assert [line for line in narrow.file.getvalue().splitlines() if line.endswith(" ")] == []


def test_how_wide_the_terminal_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == PIPE_WIDTH
    assert console(width=33).width == 33
    monkeypatch.setenv("COLUMNS", "133")
    assert console().width == 133
    print_page(probe_page(REPORT))
    captured = capsys.readouterr()
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 133
    assert "\x1b" not in captured.out


def test_json_is_ascii_and_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    report = replace(REPORT, candidates=("\x1b[31m\u202e",))
    print_json(report)
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.endswith("}\n")
    assert json.loads(out) == to_dict(report)


def test_what_a_server_says_cannot_steer_the_terminal() -> None:
    evil = replace(GOOD, stages=(StageResult(StageName.CHALLENGE, True, 0.1, "realm \x1b]0;owned\x07\r\u202e[red]"),))
    text = printed(replace(REPORT, turn=(evil,)), 120)
    assert "realm \\x1b]0;owned\\x07\\r\\u202e[red]" in text
    assert not any(ord(character) < 32 and character != "\n" for character in text)


words = st.text(min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(words, words, words, st.integers(20, 140))
def test_nothing_is_cut_at_any_width(url: str, name: str, line: str, width: int) -> None:
    verdict = Verdict(VerdictCode.UNKNOWN, Severity.WARNING, "Nothing is known.")
    report = ProbeReport(
        0.1,
        verdict,
        interfaces=(Interface(name, "192.0.2.1", "documentation"),),
        servers=(server(url, "203.0.113.10:3478"),),
        turn=(replace(BAD, url=url),),
        candidates=(line,),
    )
    at_width = printed(report, width)
    everything = printed(report, 10_000)
    # The same characters, only broken at other places.
    assert sorted(at_width.replace("\n", "").replace(" ", "")) == sorted(everything.replace("\n", "").replace(" ", ""))
    assert all(not row.endswith(" ") for row in at_width.split("\n"))
