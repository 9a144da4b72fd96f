"""One candidate, part by part."""

from __future__ import annotations

import pytest

from icekit.explain_candidates import explain_candidate_json, explain_line
from icekit.net import AddressClass
from tests.explained import HOST, MDNS, RELAY, SRFLX, facts


def test_a_server_reflexive_candidate_of_a_browser() -> None:
    explanation = explain_line(SRFLX)
    found = facts(explanation)
    assert "outside of its NAT" in explanation.summary
    assert found["related address"] == ("10.0.0.2 port 46154", "the device's own address behind the NAT")
    assert found["address"][1].startswith("public: ")
    assert found["interface"] == ("wifi", "Wi-Fi")
    assert found["ufrag"] == ("abcd", "the ICE session that it belongs to")
    assert explanation.findings == ()


def test_a_private_relay_is_of_use_only_inside() -> None:
    assert facts(explain_line(RELAY))["address"][1].endswith("a relay there is of use only inside")
    assert not facts(explain_line(HOST))["address"][1].endswith("inside")


def test_an_mdns_name_and_a_hidden_related_address() -> None:
    assert facts(explain_line(MDNS))["address"][1].startswith("an mDNS name")
    hidden = SRFLX.replace("raddr 10.0.0.2 rport 46154", "raddr 0.0.0.0 rport 0")
    assert facts(explain_line(hidden))["related address"] == ("0.0.0.0 port 0", "hidden by the browser")


def test_tcp_types() -> None:
    found = facts(explain_line("candidate:1 1 tcp 1518280447 192.168.1.9 9 typ host tcptype active"))
    assert found["transport"] == ("tcp", "active: it connects to the other side and takes no connections")
    assert found["port"] == ("9", "a placeholder: an active TCP candidate has no port of its own")


def test_browser_json_says_where_the_candidate_belongs() -> None:
    found = facts(
        explain_candidate_json({"candidate": HOST, "sdpMid": "0", "sdpMLineIndex": 1, "usernameFragment": "x"})
    )
    assert found["sdpMid"][0] == "0"
    assert found["sdpMLineIndex"][0] == "1"
    assert found["usernameFragment"][0] == "x"


def test_what_is_forgiven_is_said() -> None:
    explanation = explain_line("a=candidate:1 1 UDP 2130706431  192.168.1.9 54321 typ HOST")
    assert explanation.understood
    assert [text.partition(":")[0] for text in explanation.forgiven] == ["line", "type"]
    assert explanation.canonical == HOST.replace("udp", "UDP")


def test_a_useless_line_says_where() -> None:
    explanation = explain_line(HOST.replace("54321", "99999"))
    assert not explanation.understood
    assert explanation.problem == "candidate, column 42, port: found '99999', allowed: a number from 0 to 65535"
    line, caret = explanation.pointer
    assert line == HOST.replace("54321", "99999")
    assert line[len(caret) - 1 :].startswith("99999")


def test_the_pointer_into_a_long_line_stays_at_its_place() -> None:
    explanation = explain_line(f"{SRFLX} {'x y ' * 30}network-id \x1b[31m {'y z ' * 20}w v")
    line, caret = explanation.pointer
    assert len(line) <= 80
    assert line[len(caret) - 1] == "�"
    assert "\x1b" not in line


def test_srflx_that_equals_its_related_address() -> None:
    [finding] = explain_line("candidate:1 1 udp 1694498815 8.8.4.4 5000 typ srflx raddr 8.8.4.4 rport 5000").findings
    assert finding.code == "ICE019"


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
    assert facts(explain_line(f"candidate:1 1 udp 1 {examples[address_class]} 5000 typ host"))["address"][1]
