"""``diagnose``: every code has its rule, the worst comes first, and anything at all has a verdict."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.catalogue import CODES
from icekit.findings import diagnose
from icekit.probe_observations import ConfiguredServer, Observations
from icekit.report import (
    Behavior,
    DnsReport,
    NatReport,
    NatReports,
    NatTest,
    Pooling,
    ProbeReport,
    ServerReport,
    StageName,
    TurnReport,
    VerdictCode,
)
from icekit.verdict import Requirement, exit_code, verdict
from tests import (
    test_rules_candidates,
    test_rules_configuration,
    test_rules_descriptions,
    test_rules_gathering,
    test_rules_libraries,
    test_rules_nat,
    test_rules_pairs,
    test_rules_servers,
    test_rules_sides,
    test_rules_stages,
)
from tests.observations import (
    HEALTHY,
    HOST,
    NAT,
    NOW,
    REFUSED,
    STUN,
    TURN,
    TURN_TCP,
    TURNS,
    observed,
    relay_line,
    srflx,
)
from tests.test_catalogue import STAGE_CODES


def codes(report: ProbeReport) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_healthy_network_has_no_finding() -> None:
    report = diagnose(HEALTHY)
    assert report.findings == ()
    assert report.verdict.code is VerdictCode.OK


# Rules of ``diagnose``, and rules that look at other things than the observations of a probe.
DIAGNOSED = [
    *test_rules_candidates.CASES,
    *test_rules_configuration.CASES,
    *test_rules_nat.CASES,
    *test_rules_servers.CASES,
    *test_rules_stages.CASES,
]
OTHERS = [
    *test_rules_configuration.LIST_CASES,
    *test_rules_descriptions.CASES,
    *test_rules_gathering.CASES,
    *test_rules_libraries.CASES,
    *test_rules_pairs.CASES,
    *test_rules_sides.CASES,
]


def test_every_code_of_the_table_has_a_rule_and_a_near_miss() -> None:
    tested = {case.code for case in (*DIAGNOSED, *OTHERS) if case.code.startswith("ICE")}
    assert {code for code in CODES if code.startswith("ICE")} == tested


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
