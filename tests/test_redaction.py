"""What identifies somebody leaves no trace, and every rule still says the same."""

from __future__ import annotations

import ipaddress
import json
import re
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from icekit.candidate import Candidate
from icekit.findings import diagnose
from icekit.net import AddressClass, classify_host
from icekit.probe_observations import Observations
from icekit.redaction import PUBLIC_SERVERS, Redactor, read_tokens
from icekit.report import ProbeReport, from_dict, to_dict
from icekit.sdp import read_sdp
from tests.rule_cases import Case
from tests.test_findings import DIAGNOSED

SDP = """v=0
o=bob 4962303333179871722 1 IN IP4 8.8.4.4
s=-
t=0 0
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:F7gI
a=ice-pwd:x9cml/YzichV2+XlhiMu8g
a=mid:0
a=ssrc:1001 cname:bobs-laptop
a=candidate:842163049 1 udp 1677729535 8.8.4.4 56132 typ srflx raddr 192.168.1.2 rport 56132 ufrag F7gI
a=candidate:1 1 udp 2122260223 b8a1b3f0-0001-4c3e-9d53-1c2f5f0a7b11.local 5000 typ host
"""


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("10.1.2.3, 10.1.2.9 and 10.9.2.3", "private4-A, private4-A2 and private4-B"),
        ("8.8.8.8:53 is not 8.8.4.4.", "public4-A:53 is not public4-B."),
        ("[2606:4700::1111]:3478", "[public6-A]:3478"),
        ("100.64.3.4 169.254.9.9 fd12:3456::1", "cgnat4-A linklocal4-A ula6-A"),
        ("198.51.100.2 198.18.0.1 64:ff9b::808:808", "documentation4-A benchmark4-A nat646-A"),
        ("fe80::1%eth0", "linklocal6-A%eth0"),
        ("::ffff:8.8.8.8 and 8.8.8.8", "public4-A and public4-A"),
        ("127.0.0.1 ::1 0.0.0.0 :: [::]:80", "127.0.0.1 ::1 0.0.0.0 :: [::]:80"),
        ("12:34:56 coturn-4.6.1 1.2.3 300.1.1.1 :: a:b", "12:34:56 coturn-4.6.1 1.2.3 300.1.1.1 :: a:b"),
        ("00:1B:44:11:3A:B7 00:1b:44:11:3a:b7", "mac-A mac-A"),
        ("turn:turn.acme.com:443?transport=tcp: TURN.acme.com", "turn:name-A:443?transport=tcp: name-A"),
        ("turns:relay: relay does not answer", "turns:host-A: host-A does not answer"),
        ("stun:stun.l.google.com:19302 localhost", "stun:stun.l.google.com:19302 localhost"),
        ("https://x.acme.com/y bob@acme.com", "https://name-A/y name-B"),
        ("aioice.ice asyncio.Error turnserver.conf", "aioice.ice asyncio.Error turnserver.conf"),
        ('"username": "17:bob", "credential": "a b"', '"username": "17:user-A", "credential": "secret-A"'),
        ("session 1: user <bob>: incoming", "session 1: user <user-A>: incoming"),
        ("USERNAME='abcd:efgh' ufrag efgh", "USERNAME='ufrag-A:ufrag-B' ufrag ufrag-B"),
        ("a=ice-pwd:x9cml/YzichV2+XlhiMu8g", "a=ice-pwd:pwd-A"),
        ("ws://h/room?token=abc.def.ghi&x=1", "ws://h/room?token=secret-A&x=1"),
        ("Authorization: Bearer abcdef", "Authorization: Bearer secret-A"),
    ],
)  # fmt: skip
def test_hidden(text: str, hidden: str) -> None:
    redactor = Redactor()
    assert redactor.hide(text) == hidden
    # What is hidden stays as it is.
    assert redactor.hide(hidden) == hidden


def test_known_texts_are_hidden_wherever_they_stand() -> None:
    redactor = Redactor(secrets=["correct horse"], users=["alice"])
    assert redactor.hide("(correct horse) of Alice, not of malice") == "(secret-A) of user-A, not of malice"


def test_an_sdp_reads_as_before() -> None:
    hidden = Redactor().hide(SDP)
    for secret in ("8.8.4.4", "192.168.1.2", "F7gI", "x9cml", "bob", "b8a1b3f0"):
        assert secret not in hidden
    text, redactor = read_tokens(hidden)
    assert redactor.hide(text) == hidden
    before, after = read_sdp(SDP), read_sdp(text)
    for (one,), (other,) in [(before.media, after.media)]:
        assert len(other.candidates) == 2
        assert [c.type for c in one.candidates] == [c.type for c in other.candidates]
        assert [c.address_class for c in one.candidates] == [c.address_class for c in other.candidates]
        assert str(other.candidates[0]).endswith(f" ufrag {other.ufrag}")


@pytest.mark.parametrize("text", [str(number) for number in (1, 25, 26, 27, 702, 703)])
def test_tokens_count_like_columns_of_a_table(text: str) -> None:
    names = {"1": "A", "25": "Y", "26": "Z", "27": "AA", "702": "ZZ", "703": "AAA"}
    redactor = Redactor()
    for number in range(int(text)):
        last = redactor.hide(f"10.{number >> 8}.{number & 255}.1")
    assert last == f"private4-{names[text]}"
    assert read_tokens(last)[0] == f"10.{number >> 8}.{number & 255}.1"


def test_a_token_beyond_its_class_stays() -> None:
    # There are three documentation networks of IPv4, and no host 0.
    for text in (
        "documentation4-D",
        "documentation4-A300",
        "private4-A0",
        "ula4-A",
        "user-A",
        "secret-B",
        "private4-AAAAA",
    ):
        assert read_tokens(text)[0] == text


def test_new_things_beside_tokens_get_tokens_of_their_own() -> None:
    text, redactor = read_tokens("private4-B private4-B3 name-C")
    assert redactor.hide(f"{text} 10.99.0.1 x.acme.com") == "private4-B private4-B3 name-C private4-C name-D"


def test_interface_names() -> None:
    document = {"interfaces": [{"name": name} for name in ("eth0", "enp0s31f6", "docker0", "tun-acme", "Wi-Fi 2")]}
    hidden = Redactor().document(document | {"why": "tun-acme is down"})
    assert [item["name"] for item in hidden["interfaces"]] == ["eth0", "enp0s31f6", "docker0", "interface-A", "Wi-Fi 2"]
    assert hidden["why"] == "interface-A is down"


# --- the rules, before and after --------------------------------------------------------------------------------------


def conclusions(report: ProbeReport) -> list[object]:
    found = [(finding.code, finding.severity, len(finding.evidence)) for finding in report.findings]
    return [report.verdict.code, report.verdict.severity, *found, *[(item.peer, item.path) for item in report.outlook]]


@pytest.mark.parametrize("case", DIAGNOSED, ids=str)
def test_every_rule_says_the_same_of_a_redacted_report(case: Case) -> None:
    for original in (case.trigger, case.near_miss):
        hidden = Redactor().document(to_dict(original))
        text, _ = read_tokens(json.dumps(hidden))
        assert conclusions(diagnose(from_dict(Observations, json.loads(text)))) == conclusions(diagnose(original))


# --- whatever is put in -----------------------------------------------------------------------------------------------

OPEN = {AddressClass.LOOPBACK, AddressClass.UNSPECIFIED}
addresses = (st.ip_addresses(v=4) | st.ip_addresses(v=6)).map(str).filter(lambda host: classify_host(host) not in OPEN)
# Without vowels, so that none is a part of a token or of a field's name.
words = st.text("bcdfghjklmnpqrstvwxz0123456789", min_size=12, max_size=20).filter(lambda word: word[0].isalpha())
secrets = st.text("BCDFGHJKLMNPQRSTVWXZbcdfghjklmnpqrstvwxz0123456789+/", min_size=12, max_size=40)


@given(st.lists(addresses, min_size=1, max_size=8), words, secrets, secrets, words)
def test_nothing_that_identifies_is_left(hosts: list[str], name: str, password: str, pwd: str, user: str) -> None:
    assume(len({name, password.lower(), pwd.lower(), user}) == 4)
    report = {
        "servers": [{"url": f"turn:{name}.example.org:3478", "address": f"{hosts[0]}:1" if "." in hosts[0] else None}],
        "dns": [{"name": f"{name}.example.org", "answers": hosts}],
        "findings": [{"message": f"{name}.example.org ({hosts[-1]}) says 401", "evidence": [*hosts, f"user {user}"]}],
        "iceServers": [{"urls": f"stun:{user}", "username": f"1700000000:{user}", "credential": password}],
        "sdp": f"a=ice-pwd:{pwd}\r\na=ice-ufrag:{pwd[:8]}\r\n",
    }
    redactor = Redactor(users=[user])
    hidden = json.dumps(redactor.document(report))
    for secret in (name, password, pwd, user):
        assert secret.lower() not in hidden.lower()
    left = set(re.split(r"[^0-9A-Za-z:.-]+", hidden))
    assert left.isdisjoint(hosts)
    # One input, one output.
    assert json.dumps(redactor.document(report)) == hidden
    text, back = read_tokens(hidden)
    assert back.hide(text) == hidden


@given(st.lists(addresses, min_size=2, max_size=30, unique=True))
def test_tokens_keep_class_equality_and_network(hosts: list[str]) -> None:
    canonical = {Redactor().hide(host): host for host in hosts}
    assert canonical
    redactor = Redactor()
    tokens = [redactor.hide(host) for host in hosts]
    back = [read_tokens(token)[0] for token in tokens]
    for host, token, stand_in in zip(hosts, tokens, back, strict=True):
        assert token != host
        assert classify_host(stand_in) is classify_host(host)
        assert redactor.hide(host) == token

    def network(host: str) -> int:
        address = ipaddress.ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        return int(address) >> (8 if address.version == 4 else 64)

    for one, other in pairwise(hosts):
        same = network(one) == network(other) and classify_host(one) is classify_host(other)
        letters = [re.sub(r"[0-9]+$", "", redactor.hide(host)) for host in (one, other)]
        assert (letters[0] == letters[1]) == same


@given(st.text())
def test_any_text_can_be_hidden_and_read(text: str) -> None:
    redactor = Redactor()
    hidden = redactor.hide(text)
    assert redactor.hide(hidden) == hidden
    read_tokens(hidden)
    read_tokens(text)


def test_public_servers_are_names() -> None:
    assert all(classify_host(name) is AddressClass.NAME for name in PUBLIC_SERVERS)


def test_a_candidate_is_read_again() -> None:
    line = "candidate:1 1 tcp 1518149375 8.8.8.8 9 typ srflx raddr 10.0.0.7 rport 9 tcptype active ufrag abcd"
    text, redactor = read_tokens(Redactor().hide(line))
    candidate = Candidate.parse(text)
    assert candidate.related_address is not None
    assert redactor.hide(str(candidate)) == Redactor().hide(line)
