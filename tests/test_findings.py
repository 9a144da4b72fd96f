"""Every rule with what triggers it and a near miss, and the sentences of failed stages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.catalogue import CODES, describe
from icekit.findings import diagnose, turn_findings, url_finding
from icekit.outlook import ConfiguredServer, Observations, Requirement, exit_code, verdict
from icekit.report import (
    Behavior,
    DnsReport,
    NatReport,
    NatReports,
    NatTest,
    Pooling,
    ProbeReport,
    ServerReport,
    Severity,
    StageName,
    StageResult,
    TurnReport,
    VerdictCode,
    to_dict,
)
from icekit.stage_texts import CAUSES
from tests.observations import (
    ANSWER,
    EI,
    HEALTHY,
    HOST,
    NAT,
    NOW,
    REFUSED,
    RELAY_OK,
    RELAY_TCP_OK,
    SILENT,
    STUN,
    TURN,
    TURN_TCP,
    TURNS,
    configured,
    dns,
    observed,
    relay_line,
    server,
    srflx,
)
from tests.test_catalogue import STAGE_CODES


def codes(report: ProbeReport) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_healthy_network_has_no_finding() -> None:
    report = diagnose(HEALTHY)
    assert report.findings == ()
    assert report.verdict.code is VerdictCode.OK


TLS_URL = "stuns:stun.example.org"


def stuns(error: str, **changes: Any) -> tuple[ServerReport, ...]:
    values: dict[str, Any] = {"reachable": False, "rtt": None, "error": error} | changes
    return (ANSWER, server(TLS_URL, "192.0.2.9:5349", "tls", **values))


# code, what triggers it, the near miss that must not
RULES: list[tuple[str, str, Observations, Observations]] = [
    (
        "ICE001",
        "no turn URL",
        observed(turn=(), configured=configured(STUN)),
        observed(turn=(), configured=configured(STUN, TURN)),
    ),
    (
        "ICE003",
        "one server address",
        observed(replace(NAT, mapping=None, reason={"mapping": "only one server address answered"})),
        observed(replace(NAT, mapping=None, behind_nat=False, reason={"mapping": "no NAT"})),
    ),
    (
        "ICE003",
        "nothing known about a network that blocks UDP is no unproven mapping",
        observed(replace(NAT, mapping=None, behind_nat=None)),
        observed(replace(NAT, mapping=None, behind_nat=None, udp=False)),
    ),
    (
        "ICE004",
        "no OTHER-ADDRESS",
        observed(replace(NAT, filtering=None, reason={"filtering": "server 203.0.113.10 has no OTHER-ADDRESS"})),
        observed(replace(NAT, filtering=None, udp=False)),
    ),
    (
        "ICE006",
        "a private relayed address from a public server",
        observed(turn=(replace(RELAY_OK, server_address="203.0.113.10:3478"),), candidates=(relay_line("10.0.0.5"),)),
        observed(turn=(replace(RELAY_OK, server_address="10.0.0.1:3478"),), candidates=(relay_line("10.0.0.5"),)),
    ),
    (
        "ICE006",
        "a loopback server may relay on loopback",
        observed(turn=(replace(RELAY_OK, server_address="192.168.1.9:3478"),), candidates=(relay_line("127.0.0.1"),)),
        observed(turn=(replace(RELAY_OK, server_address="127.0.0.1:3478"),), candidates=(relay_line("127.0.0.1"),)),
    ),
    (
        "ICE006",
        "what a stage code says is not said again",
        observed(turn=(replace(RELAY_OK, server_address="203.0.113.10:3478"),), candidates=(relay_line("10.0.0.5"),)),
        observed(
            turn=(
                TurnReport(
                    TURN,
                    False,
                    StageName.RELAY_ADDRESS,
                    "TURN-RELAY-PRIVATE",
                    relayed_address="10.0.0.5:50012",
                    server_address="203.0.113.10:3478",
                ),
            ),
            candidates=(relay_line("10.0.0.5"),),
        ),
    ),
    (
        "ICE007",
        "a public server saw a private address",
        observed(servers=(replace(ANSWER, mapped_address="100.64.3.4:40112"),)),
        observed(servers=(server(STUN, "10.0.0.1:3478", mapped_address="10.0.0.2:40112"),)),
    ),
    (
        "ICE007",
        "two servers disagree",
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.77:40112"))),
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.2:50000"))),
    ),
    (
        "ICE007",
        "a pool of addresses explains a disagreement",
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.77:40112"))),
        observed(
            replace(NAT, address_pooling=Pooling.ARBITRARY),
            servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", mapped_address="198.51.100.77:40112")),
        ),
    ),
    (
        "ICE007",
        "a carrier's NAT",
        observed(replace(NAT, cgnat=True)),
        observed(replace(NAT, cgnat=False)),
    ),
    (
        "ICE022",
        "the server saw the host's own address",
        observed(replace(NAT, mapping=None, behind_nat=False, filtering=EI)),
        observed(replace(NAT, behind_nat=None)),
    ),
    (
        "ICE008",
        "another address of the server answers",
        observed(servers=(ANSWER, server(STUN, "[2001:db8::1]:3478", reachable=False, error="timeout"))),
        observed(servers=(SILENT, server(STUN, "[2001:db8::1]:3478", reachable=False, error="timeout"))),
    ),
    (
        "ICE008",
        "another server of the kind answers",
        observed(servers=(ANSWER, server("stun:192.0.2.7", "192.0.2.7:3478", reachable=False))),
        observed(servers=(ANSWER, server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False))),
    ),
    (
        "ICE008",
        "an attempt on another port is no failed entry",
        observed(servers=(ANSWER, server("stun:192.0.2.7:3478", "192.0.2.7:3478", reachable=False))),
        observed(servers=(ANSWER, server("stun:192.0.2.7:3478", "192.0.2.7:443", "tcp", reachable=False))),
    ),
    ("ICE010", "wrong name", observed(servers=stuns("tls-name: for other.org")), observed(servers=stuns("timeout"))),
    ("ICE010", "expired", observed(servers=stuns("tls-expired")), observed(servers=stuns("", reachable=True))),
    (
        "ICE023",
        "plain text on the TLS port",
        observed(servers=stuns("not-tls")),
        observed(servers=stuns("tls-expired")),
    ),
    (
        "ICE024",
        "the only relay is over TCP",
        observed(turn=(RELAY_TCP_OK,)),
        observed(turn=(RELAY_TCP_OK, RELAY_OK)),
    ),
    (
        "ICE011",
        "0.0.0.0",
        observed(dns=dns("stun.example.org", "0.0.0.0")),
        observed(dns=dns("localhost", "127.0.0.1")),
    ),
    (
        "ICE011",
        "a literal is never a sinkhole",
        observed(dns=dns("stun.example.org", "192.0.2.1")),
        observed(dns=dns("192.0.2.1", "192.0.2.1")),
    ),
    (
        "ICE011",
        "a private address is a server in the own network",
        observed(dns=dns("stun.example.org", "::1")),
        observed(dns=dns("stun.example.org", "10.0.0.1")),
    ),
    (
        "ICE011",
        "a laboratory's STUN server answers on a documentation address",
        observed(dns=dns("stun.example.org", "192.0.2.7"), servers=(server("stun:192.0.2.8", "192.0.2.8:3478"),)),
        observed(
            dns=dns("stun.example.org", "192.0.2.7"),
            servers=(replace(ANSWER, address="192.0.2.7:3478", mapped_address="198.51.100.2:40112"),),
        ),
    ),
    (
        "ICE012",
        "one server costs more than a second",
        observed(servers=(replace(ANSWER, seconds=0.02), server("stun:192.0.2.7", "192.0.2.7:3478", seconds=4.9))),
        observed(servers=(replace(ANSWER, seconds=2.0), server("stun:192.0.2.7", "192.0.2.7:3478", seconds=4.9))),
    ),
    (
        "ICE012",
        "slow DNS",
        observed(dns=dns("stun.example.org", "8.8.8.8", seconds=1.0)),
        observed(dns=dns("stun.example.org", "8.8.8.8", seconds=0.99)),
    ),
    (
        "ICE012",
        "a relay that is slow to set up",
        observed(
            turn=(
                RELAY_OK,
                replace(RELAY_TCP_OK, stages=(StageResult(StageName.CONNECT, True, 1.5),)),
            )
        ),
        observed(turn=(RELAY_OK, replace(RELAY_TCP_OK, stages=(StageResult(StageName.ECHO, True, 1.5),)))),
    ),
    (
        "ICE013",
        "every path is slow",
        observed(servers=(replace(ANSWER, rtt=0.41),), turn=(replace(RELAY_OK, rtt=0.9),)),
        observed(servers=(replace(ANSWER, rtt=0.4),), turn=(replace(RELAY_OK, rtt=0.4),)),
    ),
    (
        "ICE013",
        "the relay is slow",
        observed(turn=(replace(RELAY_OK, rtt=0.41),)),
        observed(turn=(replace(RELAY_OK, rtt=0.41), replace(RELAY_TCP_OK, rtt=0.1))),
    ),
    (
        "ICE015",
        "five servers",
        observed(configured=configured(TURN, "stun:a.example", "stun:b.example", "stun:c.example", "stun:d.example")),
        observed(configured=configured(TURN, "stun:a.example", "stun:b.example", "stun:c.example", "stun:c.example")),
    ),
    (
        "ICE016",
        "a lifetime of less than 300 s",
        observed(turn=(replace(RELAY_OK, lifetime=299),)),
        observed(turn=(replace(RELAY_OK, lifetime=300),)),
    ),
    (
        "ICE016",
        "credentials that end in ten minutes",
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 600}:bob")),
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 86400}:bob")),
    ),
    (
        "ICE016",
        "expired ones are a stage code",
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) + 1}:bob")),
        observed(unix_time=NOW, configured=configured(TURN, username=f"{int(NOW) - 600}:bob")),
    ),
    (
        "ICE018",
        "no URL",
        observed(configured=configured("turn://turn.example.org")),
        observed(configured=configured("turn:turn.example.org")),
    ),
    (
        "ICE018",
        "a host without a dot that does not resolve",
        observed(configured=configured(TURN, "stun:stunserver"), dns=dns("stunserver", error="no such name")),
        observed(configured=configured(TURN, "stun:stunserver"), dns=dns("stunserver", "10.0.0.1")),
    ),
    (
        "ICE008",
        "a TURN server with a stage code needs no second finding",
        observed(
            servers=(server(TURN, "203.0.113.10:3478"), server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False))
        ),
        observed(
            servers=(server(TURN, "203.0.113.10:3478"), server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False)),
            turn=(RELAY_OK, TurnReport("turn:192.0.2.7", False, StageName.CHALLENGE, "TURN-NO-ANSWER")),
        ),
    ),
    (
        "ICE008",
        "where UDP is blocked the verdict speaks",
        observed(
            servers=(
                server(TURN_TCP, "203.0.113.10:3478", "tcp"),
                server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False),
            )
        ),
        observed(
            NatReport(udp=False),
            turn=(RELAY_TCP_OK,),
            servers=(
                server(TURN_TCP, "203.0.113.10:3478", "tcp"),
                server("turn:192.0.2.7", "192.0.2.7:3478", reachable=False),
            ),
        ),
    ),
    (
        "ICE011",
        "a TURN server that did not resolve has its stage code",
        observed(dns=dns("turn.example.org", "0.0.0.0")),
        observed(
            dns=dns("turn.example.org", "0.0.0.0"),
            turn=(RELAY_OK, TurnReport(TURNS, False, StageName.RESOLVE, "TURN-RESOLVE", "sinkhole")),
        ),
    ),
    (
        "ICE012",
        "where UDP is blocked every UDP entry is slow",
        observed(servers=(replace(ANSWER, seconds=0.02), server("stun:192.0.2.7", "192.0.2.7:3478", seconds=4.9))),
        observed(
            NatReport(udp=False),
            turn=(RELAY_TCP_OK,),
            servers=(server(TURN_TCP, "203.0.113.10:3478", "tcp", seconds=0.02), replace(SILENT, seconds=4.9)),
        ),
    ),
    (
        "ICE018",
        "a TURN server that did not resolve has its stage code",
        observed(configured=configured("turn:turnserver"), dns=dns("turnserver", error="no such name")),
        observed(
            configured=configured("turn:turnserver"),
            dns=dns("turnserver", error="no such name"),
            turn=(TurnReport("turn:turnserver", False, StageName.RESOLVE, "TURN-RESOLVE", "no such name"),),
        ),
    ),
    (
        "ICE019",
        "srflx equal to its related address",
        observed(candidates=(srflx("198.51.100.2", "198.51.100.2"),)),
        observed(candidates=(srflx("198.51.100.2", "192.168.1.2"),)),
    ),
    ("ICE020", "rewritten", observed(replace(NAT, alg=True)), observed(replace(NAT, alg=False))),
    (
        "ICE021",
        "a STUN URL with a user name",
        observed(turn=(), configured=configured(STUN, username="bob")),
        observed(turn=(), configured=configured(STUN, username="bob") + configured(TURN)),
    ),
    (
        "ICE021",
        "a public STUN server as TURN",
        observed(configured=configured("turn:stun.l.google.com:19302")),
        observed(
            configured=configured("turn:stun.l.google.com:19302"),
            turn=(TurnReport("turn:stun.l.google.com:19302", False, StageName.CHALLENGE, "TURN-NOT-TURN"),),
        ),
    ),
    ("TURN-401", "a failed stage", observed(turn=(REFUSED,)), observed(turn=(RELAY_OK,))),
    (
        "TURN-REALM-EMPTY",
        "a warning on the way",
        observed(turn=(replace(RELAY_OK, warnings=("TURN-REALM-EMPTY",)),)),
        observed(turn=(RELAY_OK,)),
    ),
]


@pytest.mark.parametrize(
    ("code", "trigger"), [(row[0], row[2]) for row in RULES], ids=[f"{r[0]}-{r[1]}" for r in RULES]
)
def test_trigger(code: str, trigger: Observations) -> None:
    [finding] = [finding for finding in diagnose(trigger).findings if finding.code == code]
    assert finding.message.endswith(".")
    assert finding.fix
    assert all(isinstance(item, str) for item in finding.evidence)


@pytest.mark.parametrize(
    ("code", "near_miss"), [(row[0], row[3]) for row in RULES], ids=[f"{r[0]}-{r[1]}" for r in RULES]
)
def test_near_miss(code: str, near_miss: Observations) -> None:
    assert code not in codes(diagnose(near_miss))


LATER = {"ICE002", "ICE005", "ICE009", "ICE014", "ICE017"}


def test_every_code_of_the_table_has_a_rule() -> None:
    assert {code for code in CODES if code.startswith("ICE")} - LATER == {
        row[0] for row in RULES if row[0].startswith("ICE")
    }


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*STAGE_CODES, "TURN-300", "TURN-699"])
def test_every_stage_code_has_a_sentence_and_a_fix(code: str) -> None:
    for cause in (None, "unheard of", *(cause for other, cause in CAUSES if other == code)):
        [finding] = turn_findings(TurnReport(TURNS, False, StageName.ALLOCATE, code, cause))
        assert finding.code == code
        assert finding.message.startswith(f"{TURNS}: ")
        assert "{" not in finding.message + finding.fix
        row = describe(code)
        assert row is not None
        assert finding.severity is row.severity


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("expired", ["have expired", "fresh"]),
        ("milliseconds", ["milliseconds", "seconds"]),
        ("empty", ["empty", "--credential"]),
        # They look alike from outside, so all three are said.
        ("wrong", ["wrong password", "unknown user", "shared secret"]),
    ],
)
def test_401_speaks_by_its_cause(cause: str, words: list[str]) -> None:
    [finding] = turn_findings(replace(REFUSED, cause=cause))
    assert all(word in finding.message + finding.fix for word in words)


def test_a_stage_finding_names_what_failed_and_what_was_not_tested() -> None:
    report = TurnReport(
        TURN,
        False,
        StageName.ECHO,
        "TURN-ECHO-IN",
        stages=(
            StageResult(StageName.ALLOCATE, True, 0.1),
            StageResult(StageName.ECHO, False, 2.0, "0 of 4 came back"),
        ),
        not_tested=(StageName.REFRESH,),
    )
    [finding] = turn_findings(report)
    assert finding.evidence == ("echo: 0 of 4 came back", "not tested: refresh")
    assert finding.severity is Severity.ERROR


def test_a_stage_failure_is_a_warning_when_another_entry_works() -> None:
    report = diagnose(observed(turn=(REFUSED, RELAY_TCP_OK)))
    [finding] = [finding for finding in report.findings if finding.code == "TURN-401"]
    assert finding.severity is Severity.WARNING
    assert finding.evidence[-1] == f"works: {TURN_TCP}"


def test_hostile_braces_in_a_url_are_text() -> None:
    [finding] = turn_findings(TurnReport("turn:{host}{0}", False, StageName.RESOLVE, "TURN-RESOLVE", "no such name"))
    assert finding.message == "turn:{host}{0}: the name turn:{host}{0} does not exist."


def test_bad_url_prints_the_corrected_one() -> None:
    finding = url_finding("turn://turn.example.org")
    assert finding is not None
    assert finding.fix == "Write turn:turn.example.org"
    assert url_finding("turn:turn.example.org") is None


def test_a_password_in_a_url_is_not_repeated() -> None:
    finding = url_finding("turn:bob:hunter2@turn.example.org")
    assert finding is not None
    assert "hunter2" not in str(to_dict(finding))


def test_slow_name_servers_are_one_finding_and_not_the_entry_s_fault() -> None:
    slow = replace(RELAY_TCP_OK, url=TURNS, stages=(StageResult(StageName.RESOLVE, True, 5.0),))
    questions = (*dns("turn.example.org", seconds=5.0), *dns("stun.example.org", seconds=2.5))
    (finding,) = diagnose(observed(dns=questions, turn=(RELAY_OK, slow))).findings
    assert (finding.code, finding.message) == ("ICE012", "2 DNS questions cost up to 5.0 s each.")
    assert finding.fix == "Check this host's DNS servers, or write the server's address."
    assert finding.evidence == ("A turn.example.org: 5.0 s", "A stun.example.org: 2.5 s")


def test_the_worst_comes_first_and_nothing_twice() -> None:
    nat = replace(NAT, alg=True)
    report = diagnose(observed(nat, turn=(REFUSED, REFUSED), candidates=(srflx("198.51.100.2", "198.51.100.2"),) * 2))
    assert codes(report) == ["TURN-401", "ICE020", "ICE019"]


# --- anything at all -------------------------------------------------------------------------------------------------

urls = st.sampled_from([STUN, TURN, TURN_TCP, TURNS, "stuns:a", "turn:a?transport=sctp", "nonsense", "", "stun:{0}"])
addresses = st.sampled_from(["203.0.113.10:3478", "[2001:db8::1]:3478", "10.0.0.1:1", "nonsense", ""])
maybe = st.sampled_from([None, False, True])
numbers = st.none() | st.floats(0, 1e4)
some_nat = st.builds(
    NatReport,
    mapping=st.none() | st.sampled_from(Behavior),
    filtering=st.none() | st.sampled_from(Behavior),
    behind_nat=maybe,
    udp=maybe,
    alg=maybe,
    cgnat=maybe,
    address_pooling=st.none() | st.sampled_from(Pooling),
    tests=st.lists(st.builds(NatTest, st.text(max_size=9), st.integers(0, 9), st.integers(0, 9), st.just(0.1))).map(
        tuple
    ),
)
anything = st.builds(
    Observations,
    interfaces=st.sampled_from([(), (HOST,)]),
    nat=st.builds(NatReports, st.none() | some_nat, st.none() | some_nat),
    servers=st.lists(
        st.builds(
            ServerReport,
            urls,
            st.none() | addresses,
            st.sampled_from(["udp", "tcp", "tls", "dtls"]),
            maybe,
            numbers,
            st.none() | addresses,
            error=st.none() | st.sampled_from(["timeout", "tls-name: x", "not-tls", "{host}"]),
            seconds=numbers,
        ),
        max_size=3,
    ).map(tuple),
    dns=st.lists(
        st.builds(DnsReport, st.text(max_size=5), st.just("A"), st.lists(st.text(max_size=4)).map(tuple), numbers)
    ).map(tuple),
    turn=st.lists(
        st.builds(
            TurnReport,
            urls,
            st.booleans(),
            st.none() | st.sampled_from(StageName),
            st.none() | st.sampled_from([*STAGE_CODES, "TURN-999", "{x}"]),
            st.none() | st.text(max_size=4),
            lifetime=st.none() | st.integers(0, 999),
            relayed_address=st.none() | addresses,
            rtt=numbers,
            server_address=st.none() | addresses,
            warnings=st.sampled_from([(), ("TURN-REALM-EMPTY",)]),
        ),
        max_size=3,
    ).map(tuple),
    candidates=st.lists(st.sampled_from([srflx("1.2.3.4", "1.2.3.4"), relay_line("10.0.0.1"), "", "x"])).map(tuple),
    configured=st.lists(st.builds(ConfiguredServer, urls, st.none() | st.text(max_size=12))).map(tuple),
    local=st.booleans(),
    unix_time=st.none() | st.just(NOW),
)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_any_observation_has_a_verdict_of_one_sentence(observations: Observations) -> None:
    report = diagnose(observations)
    assert report.verdict == verdict(observations, report.outlook)
    assert report.verdict.summary.endswith(".")
    assert exit_code(report, list(Requirement)) in (0, 1)
    # A stage failure has exactly one finding, and only failed stages have one.
    stages = {item.code for item in report.turn if not item.ok and item.code}
    warned = {code for item in report.turn for code in item.warnings}
    assert {code for code in codes(report) if not code.startswith("ICE")} == stages | warned
