"""What descriptions tell: every rule with what triggers it, and a near miss that must not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.candidate import Candidate
from icekit.report import Finding, Severity
from icekit.rules_descriptions import description_findings, exchange_findings, may_follow, told_findings, trickles
from icekit.sdp import read_sdp
from tests.descriptions import (
    ANSWER,
    CANDIDATES,
    FAR_CANDIDATES,
    HOST_LINE,
    MDNS_LINE,
    OFFER,
    RELAY_LINE,
    SRFLX_LINE,
    TCP_LINE,
    far_section,
    sdp,
    section,
)
from tests.rule_cases import FindingCase, check_finding_case

IPV6_LINE = "a=candidate:6 1 udp 2122260223 2a00::1 62076 typ host"
NOWHERE_LINE = "a=candidate:9 1 udp 2122260223 0.0.0.0 62076 typ host"
LOOPBACK_LINE = "a=candidate:9 1 udp 2122260223 127.0.0.1 62076 typ host"
DOCKER_LINE = "a=candidate:7 1 udp 2130706431 172.17.0.2 40000 typ host"
OTHER_UFRAG_LINE = f"{HOST_LINE} ufrag zzzz"


def one(*lines: str, **changes: Any) -> list[Finding]:
    return list(description_findings(read_sdp(sdp(section(*lines, **changes)), strict=False)))


def both(offer: str, answer: str) -> list[Finding]:
    return list(exchange_findings(read_sdp(offer, strict=False), read_sdp(answer, strict=False)))


CLEAN = one(*CANDIDATES)
FINE = both(OFFER, ANSWER)

CASES = [
    FindingCase("ICE009", "no candidate and no trickle", one(options="", ends=False), one(ends=False)),
    FindingCase("ICE009", "an end without a candidate", one(options=""), one(ends=False)),
    FindingCase("ICE009", "0.0.0.0", one(NOWHERE_LINE), CLEAN),
    FindingCase("ICE009", "only .local", one(MDNS_LINE), one(MDNS_LINE, SRFLX_LINE, RELAY_LINE)),
    FindingCase("ICE009", "only TCP", one(TCP_LINE), one(*CANDIDATES, TCP_LINE)),
    FindingCase("ICE009", "only private", one(HOST_LINE), one(HOST_LINE, RELAY_LINE)),
    FindingCase("ICE009", "only loopback", one(LOOPBACK_LINE), one(LOOPBACK_LINE, *CANDIDATES)),
    FindingCase("ICE009", "only IPv6", one(IPV6_LINE), one(IPV6_LINE, *CANDIDATES)),
    FindingCase("ICE009", "no foundation", one(HOST_LINE.replace(":1 1", ": 1"), *CANDIDATES[1:]), one(*CANDIDATES)),
    FindingCase(
        "ICE009", "another session's", one(OTHER_UFRAG_LINE, *CANDIDATES), one(f"{HOST_LINE} ufrag oHWq", *CANDIDATES)
    ),
    FindingCase(
        "ICE009", "no end and no trickle", one(*CANDIDATES, options="", ends=False), one(*CANDIDATES, options="")
    ),
    FindingCase(
        "ICE009",
        "an end that trickle brings",
        one(*CANDIDATES, options="ice2", ends=False),
        one(*CANDIDATES, ends=False),
    ),
    FindingCase(
        "ICE001",
        "a NAT and no relay",
        one(HOST_LINE, SRFLX_LINE),
        one("a=candidate:6 1 udp 2122260223 8.8.4.4 62076 typ host"),
    ),
    FindingCase("ICE001", "a relay may follow", one(HOST_LINE, SRFLX_LINE), one(HOST_LINE, SRFLX_LINE, ends=False)),
    FindingCase(
        "ICE006",
        "a relay on a private address",
        one(HOST_LINE, RELAY_LINE.replace("9.9.9.9", "10.0.0.9")),
        one(HOST_LINE, RELAY_LINE.replace("9.9.9.9", "10.0.0.9").replace("8.8.4.4", "10.0.0.5")),
    ),
    FindingCase("ICE026", "no ufrag", one(*CANDIDATES, ufrag=""), CLEAN),
    FindingCase("ICE026", "a password that was cut", one(*CANDIDATES, pwd="short"), one(*CANDIDATES, pwd="x" * 22)),
    FindingCase(
        "ICE026",
        "a rejected section needs none",
        one(*CANDIDATES, pwd=""),
        list(
            description_findings(
                read_sdp(sdp(section(*CANDIDATES), section(mid="1", port=0, ufrag="", pwd="")), strict=False)
            )
        ),
    ),
    # An offer and its answer.
    FindingCase("ICE025", "one section more", both(sdp(section(*CANDIDATES), section(mid="1")), ANSWER), FINE),
    FindingCase("ICE025", "other kinds", both(OFFER, sdp(far_section(kind="audio"))), FINE),
    FindingCase("ICE025", "other mids", both(OFFER, sdp(far_section(mid="data"), bundle="data")), FINE),
    FindingCase(
        "ICE025",
        "a bundle that was not offered",
        both(sdp(section(*CANDIDATES), bundle=""), ANSWER),
        both(OFFER, sdp(far_section(), bundle="")),
    ),
    FindingCase("ICE026", "its own description back", both(OFFER, OFFER.replace("actpass", "active")), FINE),
    FindingCase(
        "ICE027",
        "both lite",
        both(sdp(section(*CANDIDATES), lite=True), sdp(far_section(), lite=True)),
        both(OFFER, sdp(far_section(), lite=True)),
    ),
    FindingCase("ICE027", "an answer that decides nothing", both(OFFER, sdp(far_section(setup="actpass"))), FINE),
    FindingCase(
        "ICE027",
        "both active",
        both(sdp(section(*CANDIDATES, setup="active")), ANSWER),
        both(sdp(section(*CANDIDATES, setup="passive")), ANSWER),
    ),
    FindingCase(
        "ICE001",
        "neither side has a relay",
        both(sdp(section(HOST_LINE, SRFLX_LINE)), ANSWER),
        both(sdp(section(HOST_LINE, SRFLX_LINE)), sdp(far_section(RELAY_LINE))),
    ),
    FindingCase(
        "ICE001",
        "a direct path needs none",
        both(sdp(section(HOST_LINE, SRFLX_LINE)), ANSWER),
        both(
            sdp(section(HOST_LINE.replace("192.168.1.8", "8.8.4.4"))),
            sdp(far_section(HOST_LINE.replace("192.168.1.8", "1.1.1.1"))),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trigger_and_near_miss(case: FindingCase) -> None:
    check_finding_case(case)


def test_a_modern_description_and_a_modern_exchange_have_no_finding() -> None:
    assert CLEAN == []
    assert FINE == []
    # A browser that trickles: nothing is told yet, and nothing is wrong.
    assert one(ends=False) == []
    assert both(sdp(section(ends=False)), sdp(far_section(ends=False))) == []


@pytest.mark.parametrize(
    ("offer", "answer", "words"),
    [
        # go2rtc#68, node-webrtc#591: a container tells its own address.
        ((DOCKER_LINE,), (DOCKER_LINE,), "the same private address, 172.17.0.2"),
        ((HOST_LINE,), (DOCKER_LINE,), "they are of different networks"),
        ((IPV6_LINE,), (HOST_LINE,), "one side has only IPv6, the other only IPv4"),
        ((TCP_LINE,), (HOST_LINE,), "one side has only TCP, the other only UDP"),
        ((TCP_LINE,), (TCP_LINE,), "each fits only what the other side has not got"),
        ((NOWHERE_LINE,), (HOST_LINE,), "nobody can send to the addresses of one side"),
    ],
)
def test_two_sides_that_cannot_meet(offer: tuple[str, ...], answer: tuple[str, ...], words: str) -> None:
    found = both(sdp(section(*offer)), sdp(far_section(*answer)))
    assert found[0].code == "ICE009"
    assert found[0].severity is Severity.ERROR
    assert words in found[0].message


def test_the_same_network_is_no_error() -> None:
    near = HOST_LINE.replace("192.168.1.8", "192.168.1.9")
    found = both(sdp(section(HOST_LINE)), sdp(far_section(near)))
    assert [finding.severity for finding in found] == [Severity.WARNING, Severity.WARNING]
    assert [finding.message.split()[1] for finding in found] == ["offer", "answer"]


def test_what_may_follow_is_said() -> None:
    (finding,) = one(HOST_LINE, ends=False)
    assert finding.message == "This side tells only 192.168.1.8 so far: reached only from the same network."
    description = read_sdp(sdp(section(HOST_LINE, ends=False)))
    assert trickles(description)
    assert may_follow(description)
    assert not may_follow(read_sdp(OFFER))


def test_a_useless_address_beside_good_ones_is_harmless() -> None:
    (finding,) = one(NOWHERE_LINE, *CANDIDATES)
    assert (finding.code, finding.severity) == ("ICE009", Severity.INFO)


def test_a_long_list_is_cut() -> None:
    lines = [HOST_LINE.replace("192.168.1.8", f"192.168.1.{number}") for number in range(1, 40)]
    (finding,) = one(*lines)
    assert finding.message == (
        "This side tells only 192.168.1.1, 192.168.1.2, 192.168.1.3 and 36 more: reached only from the same network."
    )
    assert len(finding.evidence) == 4


lines = st.sampled_from([*CANDIDATES, *FAR_CANDIDATES, MDNS_LINE, TCP_LINE, IPV6_LINE, NOWHERE_LINE, OTHER_UFRAG_LINE])
some_sdp = st.builds(
    lambda sections, bundle, lite: sdp(*sections, bundle=bundle, lite=lite),
    st.lists(
        st.builds(
            lambda given, values: section(*given, **values),
            st.lists(lines, max_size=4),
            st.fixed_dictionaries(
                {},
                optional={
                    "kind": st.sampled_from(["audio", "video", ""]),
                    "mid": st.sampled_from(["0", "1", "\N{SNOWMAN}"]),
                    "ufrag": st.sampled_from(["", "a", "oHWq"]),
                    "pwd": st.sampled_from(["", "b"]),
                    "setup": st.sampled_from(["active", "passive", "nonsense"]),
                    "port": st.integers(0, 9),
                    "ends": st.booleans(),
                    "options": st.sampled_from(["", "ice2"]),
                },
            ),
        ),
        max_size=3,
    ),
    st.sampled_from(["", "0", "0 1", "x"]),
    st.booleans(),
)


@settings(deadline=None)
@given(some_sdp, some_sdp)
def test_any_two_descriptions_have_sentences(offer: str, answer: str) -> None:
    for finding in both(offer, answer):
        assert finding.message.endswith(".")
        assert finding.fix


def test_candidates_without_a_description() -> None:
    candidate = Candidate.parse(HOST_LINE)
    assert [finding.code for finding in told_findings([candidate], more=False)] == ["ICE009"]
    assert list(told_findings([], more=True)) == []
