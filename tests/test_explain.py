"""What a pasted text is taken for, and what is said about it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icekit.catalogue import CODES
from icekit.explain import MAX_TEXT, UNDERSTOOD, Explanation, Kind, explain
from icekit.net import AddressClass
from icekit.report import to_dict

HOST = "candidate:1 1 udp 2130706431 192.168.1.9 54321 typ host"
SRFLX = (
    "candidate:842163049 1 udp 1677729535 8.8.4.4 46154 typ srflx raddr 10.0.0.2 rport 46154 "
    "generation 0 ufrag abcd network-cost 10"
)
RELAY = "candidate:3 1 udp 16777215 10.0.0.9 50000 typ relay raddr 203.0.113.5 rport 40000"
MDNS = "candidate:1 1 udp 2113937151 2f9e0e7c-6b5e-4d3c-9d8e-0a1b2c3d4e5f.local 54321 typ host"


def facts(explanation: Explanation) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.meaning) for fact in explanation.facts}


@pytest.mark.parametrize(
    "text",
    [
        HOST,
        HOST.removeprefix("candidate:"),
        f"a={HOST}",
        f"  a={HOST}\r\n",
        json.dumps(HOST),
        json.dumps({"candidate": HOST}),
        json.dumps({"candidate": HOST, "sdpMid": None, "foundation": "1"}),
        f"\ufeff{HOST}",
    ],
)
def test_every_form_of_a_candidate(text: str) -> None:
    explanation = explain(text)
    assert explanation.kind is Kind.CANDIDATE
    assert explanation.summary == "A host candidate: an address of the device itself."
    assert explanation.canonical == HOST
    assert explanation.understood
    assert explanation.forgiven == ()
    assert facts(explanation) == {
        "type": ("host", ""),
        "address": ("192.168.1.9", "private: only devices in the same network reach it"),
        "port": ("54321", ""),
        "transport": ("udp", ""),
        "component": ("1", "RTP, and everything else where it is multiplexed"),
        "priority": (
            "2130706431",
            (
                "type preference 126, local preference 65535, component 1: "
                "as RFC 8445 with one address (aioice, pion, werift) computes it"
            ),
        ),
        "foundation": ("1", "candidates with the same one are tested together"),
    }


def test_a_server_reflexive_candidate_of_a_browser() -> None:
    explanation = explain(SRFLX)
    found = facts(explanation)
    assert "outside of its NAT" in explanation.summary
    assert found["related address"] == ("10.0.0.2 port 46154", "the device's own address behind the NAT")
    assert found["address"][1].startswith("public: ")
    assert found["interface"] == ("wifi", "Wi-Fi")
    assert found["ufrag"] == ("abcd", "the ICE session that it belongs to")
    assert explanation.findings == ()


def test_a_private_relay_is_of_use_only_inside() -> None:
    assert facts(explain(RELAY))["address"][1].endswith("a relay there is of use only inside")
    assert not facts(explain(HOST))["address"][1].endswith("inside")


def test_an_mdns_name_and_a_hidden_related_address() -> None:
    assert facts(explain(MDNS))["address"][1].startswith("an mDNS name")
    hidden = SRFLX.replace("raddr 10.0.0.2 rport 46154", "raddr 0.0.0.0 rport 0")
    assert facts(explain(hidden))["related address"] == ("0.0.0.0 port 0", "hidden by the browser")


def test_tcp_types() -> None:
    found = facts(explain("candidate:1 1 tcp 1518280447 192.168.1.9 9 typ host tcptype active"))
    assert found["transport"] == ("tcp", "active: it connects to the other side and takes no connections")
    assert found["port"] == ("9", "a placeholder: an active TCP candidate has no port of its own")


def test_browser_json_says_where_the_candidate_belongs() -> None:
    found = facts(explain(json.dumps({"candidate": HOST, "sdpMid": "0", "sdpMLineIndex": 1, "usernameFragment": "x"})))
    assert found["sdpMid"][0] == "0"
    assert found["sdpMLineIndex"][0] == "1"
    assert found["usernameFragment"][0] == "x"


@pytest.mark.parametrize(
    "text", ["", "null", '""', "a=end-of-candidates", "end-of-candidates", '{"candidate": ""}', '{"candidate": null}']
)
def test_end_of_candidates(text: str) -> None:
    explanation = explain(text)
    assert explanation.kind is Kind.END_OF_CANDIDATES
    assert explanation.understood


def test_what_is_forgiven_is_said() -> None:
    explanation = explain("a=candidate:1 1 UDP 2130706431  192.168.1.9 54321 typ HOST")
    assert explanation.understood
    assert [text.partition(":")[0] for text in explanation.forgiven] == ["line", "type"]
    assert explanation.canonical == HOST.replace("udp", "UDP")


def test_a_useless_line_says_where() -> None:
    explanation = explain(HOST.replace("54321", "99999"))
    assert not explanation.understood
    assert explanation.problem == "candidate, column 42, port: found '99999', allowed: a number from 0 to 65535"
    line, caret = explanation.pointer
    assert line == HOST.replace("54321", "99999")
    assert line[len(caret) - 1 :].startswith("99999")


def test_the_pointer_into_a_long_line_stays_at_its_place() -> None:
    explanation = explain(f"{SRFLX} {'x y ' * 30}network-id \x1b[31m {'y z ' * 20}w v")
    line, caret = explanation.pointer
    assert len(line) <= 80
    assert line[len(caret) - 1] == "�"
    assert "\x1b" not in line


def test_srflx_that_equals_its_related_address() -> None:
    [finding] = explain("candidate:1 1 udp 1694498815 8.8.4.4 5000 typ srflx raddr 8.8.4.4 rport 5000").findings
    assert finding.code == "ICE019"


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_a_page(code: str) -> None:
    explanation = explain(f" {code.lower()}\n")
    assert explanation.kind is Kind.FINDING
    assert explanation.summary == f"{code}: {CODES[code].name}"
    assert {"severity", "true", "fix"} <= facts(explanation).keys()
    assert "{" not in "".join(fact.meaning + fact.value for fact in explanation.facts)


@pytest.mark.parametrize("text", ["ICE999", "TURN-7", "TURN-299"])
def test_a_code_that_does_not_exist(text: str) -> None:
    explanation = explain(text)
    assert explanation.summary == f"There is no finding {text}."
    assert not explanation.understood


def test_a_server_url() -> None:
    explanation = explain("turns:turn.example.org")
    assert explanation.kind is Kind.SERVER
    assert explanation.understood
    assert facts(explanation)["port"] == ("5349", "the default, because none is written")
    assert facts(explanation)["transport"][0] == "tls"


def test_a_bad_server_url_is_a_finding() -> None:
    explanation = explain("turn://turn.example.org")
    assert not explanation.understood
    assert [finding.code for finding in explanation.findings] == ["ICE018"]


def test_a_transport_that_nothing_speaks() -> None:
    assert explain("turn:turn.example.org?transport=sctp").problem == "the transport sctp is not known"


@pytest.mark.parametrize("text", ["hello", "stun", "{", '{"a": 1}', "[1]", f"{HOST}\n{HOST}", "1.2.3.4:5", "typ host"])
def test_what_is_not_known_is_not_guessed(text: str) -> None:
    explanation = explain(text)
    assert explanation.kind is Kind.UNKNOWN
    assert explanation.problem == "no known pattern"
    assert tuple(fact.value for fact in explanation.facts) == UNDERSTOOD


def test_a_text_beyond_the_bound() -> None:
    assert explain("x" * (MAX_TEXT + 1)).kind is Kind.UNKNOWN


def test_json_contract() -> None:
    written = to_dict(explain(HOST))
    assert list(written) == [
        *("schema", "kind", "summary", "facts", "forgiven", "canonical", "problem", "pointer", "findings"),
    ]
    assert written["schema"] == "icekit/explain/1"
    assert written["facts"][0] == {"name": "type", "value": "host", "meaning": ""}
    assert type(written["facts"][0]["value"]) is str


@pytest.mark.parametrize("address_class", list(AddressClass))
def test_every_address_class_has_a_meaning(address_class: AddressClass) -> None:
    examples = {
        AddressClass.UNSPECIFIED: "0.0.0.0",
        AddressClass.LOOPBACK: "127.0.0.1",
        AddressClass.LINK_LOCAL: "169.254.1.1",
        AddressClass.PRIVATE: "10.0.0.1",
        AddressClass.CGNAT: "100.64.0.1",
        AddressClass.ULA: "fd00::1",
        AddressClass.MULTICAST: "224.0.0.1",
        AddressClass.RESERVED: "240.0.0.1",
        AddressClass.DOCUMENTATION: "192.0.2.1",
        AddressClass.BENCHMARK: "198.18.0.1",
        AddressClass.NAT64: "64:ff9b::1",
        AddressClass.TUNNEL: "2002::1",
        AddressClass.MDNS: "abc.local",
        AddressClass.NAME: "abc.example",
        AddressClass.GLOBAL: "8.8.8.8",
    }
    assert facts(explain(f"candidate:1 1 udp 1 {examples[address_class]} 5000 typ host"))["address"][1]


pieces = st.sampled_from(
    [HOST, SRFLX, RELAY, "candidate:", "a=", "typ", "ICE003", "turn:", '{"candidate":', "}", "\n", '"']
)
pasted = st.text(max_size=40) | st.lists(pieces | st.text(max_size=5), max_size=6).map("".join)


@settings(max_examples=300, deadline=None)
@given(pasted)
@example('{"candidate": {"candidate": 1}}')
@example("[" * 2000)
@example('{"candidate":' * 3000)
@example('"' + "9" * 5000 + '"')
def test_any_text_has_an_answer(text: str) -> None:
    explanation = explain(text)
    assert explanation.summary
    assert (explanation.problem is None) == explanation.understood
    json.dumps(to_dict(explanation))
    if explanation.canonical is not None and explanation.kind is Kind.CANDIDATE:
        assert explain(explanation.canonical).understood
