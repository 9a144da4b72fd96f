"""``icekit`` behind the kernel's NATs: the probe reports what each of them declares, and relays are proven to work.

The server's own log is the second witness: what it relayed, and that every allocation was given back.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from icekit.lab import KernelNat, Place
from icekit.lab.topology import CLIENT_ADDRESS, NAT_ADDRESS, SERVER_ADDRESSES, SERVER_NAME
from icekit.report import to_dict
from tests.faults import FIRST, Fault, check_first
from tests.interop.coturn import STANDARD_PORTS, Coturn
from tests.netns.conftest import LabWithServer, StartLab, lab_with_server

# A busy machine may take its time; what hangs still ends.
PATIENCE = 45.0
pytestmark = [pytest.mark.netns, pytest.mark.interop("turnserver"), pytest.mark.timeout(120)]

SERVER = SERVER_ADDRESSES[0]
UDP, TCP, TLS = f"turn:{SERVER}?transport=udp", f"turn:{SERVER}?transport=tcp", f"turns:{SERVER_NAME}"
URLS = (f"stun:{SERVER}", UDP, TCP, TLS)

# From inside nobody can tell one NAT from two: what they see of each is the outermost address, which is public, and the
# address between the two (100.64.0.2) appears nowhere. So these stay unknown, whatever is declared.
UNSEEN = {
    "nats": "one at least; how many cannot be seen from here",
    "cgnat": "no shared address (100.64.0.0/10) is seen from here; the gateway may have one",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    report: dict[str, Any]
    exit_code: int
    stderr: str

    @property
    def nat(self) -> dict[str, Any]:
        nat: dict[str, Any] = self.report["nat"]["ipv4"]
        return nat


@dataclass(frozen=True, slots=True)
class Relayed:
    """One allocation in coturn's log. ``to_peer`` and ``from_peer`` are packets, ``None`` while it is open."""

    released: bool
    peers: frozenset[str]
    to_peer: int | None
    from_peer: int | None


def allocations(coturn: Coturn) -> list[Relayed]:
    log = coturn.log()
    found = []
    for session in dict.fromkeys(re.findall(r"session (\d+): new, realm", log)):
        lines = "\n".join(re.findall(rf"session {session}: (.*)", log))
        usage = re.search(r"peer usage: .*?rp=(\d+), rb=\d+, sp=(\d+)", lines)
        peers = frozenset(re.findall(r"peer (\S+) lifetime updated", lines))
        found.append(
            Relayed("lifetime=0" in lines, peers, usage and int(usage[2]), usage and int(usage[1])),
        )
    return found


def wait_for_log(coturn: Coturn, done: Callable[[list[Relayed]], bool]) -> list[Relayed]:
    """coturn answers first and writes afterwards."""
    deadline = time.monotonic() + PATIENCE
    while not done(found := allocations(coturn)):
        if time.monotonic() > deadline:
            pytest.fail(f"not in coturn's log: {found}")
        time.sleep(0.01)
    return found


def released(found: list[Relayed]) -> bool:
    return bool(found) and all(item.released for item in found)


def finish(process: subprocess.Popen[str]) -> Answer:
    with process:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert stdout, stderr
    return Answer(json.loads(stdout), process.returncode, stderr)


@cache
def probe(nat: KernelNat) -> tuple[Answer, list[Relayed]]:
    """One probe in a laboratory of its own: what an earlier one left in a NAT would be part of the next."""
    with lab_with_server(nat) as net:
        answer = finish(net.start_icekit("probe", "--json", *URLS, *net.credentials))
        return answer, wait_for_log(net.coturn, released)


@pytest.mark.parametrize("nat", KernelNat)
def test_it_reports_what_the_nat_declares(nat: KernelNat) -> None:
    seen = probe(nat)[0].nat
    declared = {name: value for name, value in to_dict(nat.declared).items() if value is not None}
    promised = {name: value for name, value in declared.items() if name not in UNSEEN and value not in ({}, [])}
    assert {name: seen[name] for name in promised} == promised
    if nat.declared.udp:
        assert {name: (seen[name], seen["reason"][name]) for name in UNSEEN} == {
            name: (None, reason) for name, reason in UNSEEN.items()
        }
        assert {address.rpartition(":")[0] for address in seen["mapped_addresses"]} == {NAT_ADDRESS}


@pytest.mark.parametrize("nat", KernelNat)
def test_what_it_does_not_know_has_a_reason(nat: KernelNat) -> None:
    seen = probe(nat)[0].nat
    unknown = {name for name, value in seen.items() if value is None and name != "port_step"}
    assert set(seen["reason"]) - {"udp"} == unknown
    assert probe(nat)[0].report["nat"]["ipv6"] is None


DIRECT = {"open": "direct", "endpoint-independent": "direct", "udp-blocked": "relay"}
WORKS = "Calls work: direct to most peers, and a relay is there for the others."
FILTERED = ("OK", WORKS, DIRECT | {"address-and-port-dependent": "relay"}, [])
OPEN = ("OK", WORKS, DIRECT | {"address-and-port-dependent": "direct"}, [])
CONCLUSIONS = {
    KernelNat.MASQUERADE: FILTERED,
    KernelNat.FULLY_RANDOM: (
        "RELAY-ONLY",
        "Calls work through the relay over UDP; direct ones fail to most peers, because the NAT here is symmetric.",
        dict.fromkeys(DIRECT, "relay") | {"open": "direct", "address-and-port-dependent": "relay"},
        [],
    ),
    KernelNat.FULL_CONE: OPEN,
    KernelNat.ADDRESS_RESTRICTED: OPEN,
    KernelNat.UDP_DROPPED: (
        "UDP-BLOCKED",
        "UDP is blocked here, but calls work through the relay over TCP.",
        dict.fromkeys((*DIRECT, "address-and-port-dependent"), "relay"),
        [("TURN-NO-ANSWER", "warning"), ("ICE002", "warning"), ("ICE024", "info")],
    ),
    KernelNat.DOUBLE: FILTERED,
    KernelNat.HAIRPIN: FILTERED,
}


@pytest.mark.parametrize("nat", KernelNat)
def test_its_verdict_and_its_outlook(nat: KernelNat) -> None:
    done, _ = probe(nat)
    verdict = done.report["verdict"]
    outlook = {item["peer"]: item["path"] for item in done.report["outlook"]}
    # How long things take (ICE012) is the machine's affair.
    findings = [(item["code"], item["severity"]) for item in done.report["findings"] if item["code"] != "ICE012"]
    assert (verdict["code"], verdict["summary"], outlook, findings) == CONCLUSIONS[nat]
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("nat", KernelNat)
def test_it_reaches_the_servers(nat: KernelNat) -> None:
    servers = probe(nat)[0].report["servers"]
    reached = {(item["transport"], item["address"]): item["reachable"] for item in servers}
    assert reached == {
        ("udp", f"{SERVER}:3478"): nat.declared.udp,
        ("tcp", f"{SERVER}:3478"): True,
        ("tls", f"{SERVER}:5349"): True,
        ("tcp", f"{SERVER}:443"): False,
    }
    for item in servers:
        if item["reachable"]:
            assert item["mapped_address"].startswith(f"{NAT_ADDRESS}:")
            assert item["behavior_discovery"] is True
            assert 0 < item["rtt"] < 1
        else:
            assert item["error"].startswith("timeout" if item["transport"] == "udp" else "refused")


AFTER_CONNECTING = ["challenge", "allocate", "relay-address", "permission", "channel", "echo", "refresh", "release"]
STAGES = {
    UDP: ["resolve", *AFTER_CONNECTING],
    TCP: ["resolve", "connect", *AFTER_CONNECTING],
    TLS: ["resolve", "connect", "tls", *AFTER_CONNECTING],
}
# Where UDP passes the peer is a socket behind the same NAT, else a second allocation.
BY_SOCKET = rf"both ways with an independent socket at {re.escape(NAT_ADDRESS)}:\d+"
BY_RELAY = rf"both ways with a second allocation at {re.escape(SERVER)}:49\d\d\d"


def check_relay(report: dict[str, Any], url: str, *, udp: bool) -> None:
    """Every stage passed, with data both ways; over UDP where that is dropped, the first stage failed."""
    stages = {item["name"]: item for item in report["stages"]}
    if url == UDP and not udp:
        assert (report["ok"], report["failed_stage"], report["code"]) == (False, "challenge", "TURN-NO-ANSWER")
        assert {name: item["ok"] for name, item in stages.items()} == {"resolve": True, "challenge": False}
        return
    assert (report["ok"], report["failed_stage"], report["code"], report["cause"]) == (True, None, None, None)
    assert {name: item["ok"] for name, item in stages.items()} == dict.fromkeys(STAGES[url], True)
    assert list(stages) == STAGES[url]
    assert (report["not_tested"], report["warnings"], report["lifetime"]) == ([], [], 600)
    host, _, port = report["relayed_address"].rpartition(":")
    assert host == SERVER
    assert STANDARD_PORTS.first_relay <= int(port) <= STANDARD_PORTS.last_relay
    assert re.fullmatch(BY_SOCKET if udp else BY_RELAY, stages["echo"]["detail"])


@pytest.mark.parametrize("nat", KernelNat)
def test_it_proves_every_relay_and_gives_it_back(nat: KernelNat) -> None:
    done, relayed = probe(nat)
    udp = nat.declared.udp is True
    assert [item["url"] for item in done.report["turn"]] == [UDP, TCP, TLS]
    for report in done.report["turn"]:
        check_relay(report, report["url"], udp=udp)
    # For its proof each URL has one allocation, or two where a second one is the peer; for the candidates one more.
    assert all(item.released for item in relayed)
    assert [item.peers for item in relayed if item.peers] == ([{NAT_ADDRESS}] * 3 if udp else [{SERVER}] * 4)
    offered = [line for line in done.report["candidates"] if " typ relay " in line]
    assert len([item for item in relayed if not item.peers]) == len(offered) == (3 if udp else 2)


def check_turn(answer: Answer, url: str, *, udp: bool) -> None:
    report = answer.report
    assert (report["schema"], report["url"]) == ("icekit/turn/1", url)
    check_relay(report, url, udp=udp)
    assert [item["code"] for item in report["findings"]] == ([] if report["ok"] else ["TURN-NO-ANSWER"])
    assert (answer.exit_code, answer.stderr) == (0 if report["ok"] else 1, "")


def counted(found: list[Relayed]) -> bool:
    """coturn looks at its allocations once a second, and counts when it is done with one."""
    return released(found) and all(item.to_peer is not None for item in found)


@pytest.mark.parametrize("nat", [KernelNat.MASQUERADE, KernelNat.DOUBLE])
def test_one_turn_server_over_each_transport(start_lab: StartLab, nat: KernelNat) -> None:
    net = start_lab(nat)
    running = {url: net.start_icekit("turn", "--json", url, *net.credentials) for url in (UDP, TCP, TLS)}
    for url, process in running.items():
        check_turn(finish(process), url, udp=True)
    relayed = wait_for_log(net.coturn, counted)
    assert len(relayed) == 3
    assert all(item.to_peer and item.from_peer for item in relayed)


@cache
def without_udp() -> tuple[dict[str, Answer], list[Relayed]]:
    """Side by side, because each waits some seconds for what never comes; they share no state in that NAT."""
    with lab_with_server(KernelNat.UDP_DROPPED) as net, ExitStack() as stack:
        commands = {url: ("turn", "--json", url) for url in (UDP, TCP, TLS)}
        commands["gather"] = ("gather", "--json", *URLS)
        commands["udp"] = ("probe", "--json", "--require", "udp", *URLS[:3])
        commands["relay"] = ("probe", "--json", "--require", "relay", *URLS[:3])
        running = {name: net.start_icekit(*command, *net.credentials) for name, command in commands.items()}
        for process in running.values():
            stack.enter_context(process)
        answers = {name: finish(process) for name, process in running.items()}
        return answers, wait_for_log(net.coturn, counted)


@pytest.mark.parametrize("url", [UDP, TCP, TLS])
def test_one_turn_server_where_udp_is_dropped(url: str) -> None:
    check_turn(without_udp()[0][url], url, udp=False)


@pytest.mark.parametrize(("required", "exit_code"), [("udp", 1), ("relay", 0)])
def test_what_is_required_where_udp_is_dropped(required: str, exit_code: int) -> None:
    answer = without_udp()[0][required]
    assert answer.report["verdict"]["code"] == "UDP-BLOCKED"
    assert answer.exit_code == exit_code


def offers(report: dict[str, Any]) -> Counter[tuple[str, str, str | None]]:
    """Type, address and server of each candidate."""
    return Counter((item["type"], item["candidate"].split()[4], item["url"]) for item in report["candidates"])


def test_candidates_where_udp_is_dropped() -> None:
    answer = without_udp()[0]["gather"]
    assert offers(answer.report) == Counter(
        [("host", CLIENT_ADDRESS, None), ("relay", SERVER, TCP), ("relay", SERVER, TLS)]
    )
    assert {item["url"]: item["outcome"] for item in answer.report["servers"]} == {
        URLS[0]: "failed",
        UDP: "failed",
        TCP: "answered",
        TLS: "answered",
    }
    assert (answer.exit_code, answer.stderr) == (0, "")


def test_every_relay_is_used_and_given_back_where_udp_is_dropped() -> None:
    relayed = without_udp()[1]
    proofs = [item for item in relayed if item.peers]
    # Two for each proof: over TCP and over TLS by themselves, and over TCP in two probes.
    assert len(proofs) == 8
    assert all(item.to_peer and item.from_peer for item in proofs)
    # One for each relayed candidate: of two servers, and of one in two probes.
    assert len(relayed) - len(proofs) == 4


def test_candidates_behind_a_nat(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    answer = finish(net.start_icekit("gather", "--json", *URLS, *net.credentials))
    assert offers(answer.report) == Counter(
        [
            ("host", CLIENT_ADDRESS, None),
            ("srflx", NAT_ADDRESS, URLS[0]),
            ("relay", SERVER, UDP),
            ("relay", SERVER, TCP),
            ("relay", SERVER, TLS),
        ]
    )
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert len(wait_for_log(net.coturn, released)) == 3


def drop_relay_ports(net: LabWithServer) -> None:
    """A firewall beside the client that knows the TURN server's ports, but not where it relays."""
    ports = f"{STANDARD_PORTS.first_relay}-{STANDARD_PORTS.last_relay}"
    chain = f"type filter hook forward priority filter - 20\nudp dport {ports} drop\nudp sport {ports} drop"
    net.lab.namespace(Place.NAT).nft(f"table ip icekit-test {{\nchain forward {{\n{chain}\n}}\n}}")


def test_relay_ports_that_are_dropped(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    drop_relay_ports(net)
    answer = finish(net.start_icekit("probe", "--json", "--require", "direct", *URLS, *net.credentials))
    assert [(item["failed_stage"], item["code"]) for item in answer.report["turn"]] == [
        ("echo", FIRST[Fault.RELAY_PORTS][0])
    ] * 3
    check_first(Fault.RELAY_PORTS, [(item["code"], item["message"]) for item in answer.report["findings"]])
    assert answer.report["verdict"]["code"] == "DIRECT-ONLY"
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert len(wait_for_log(net.coturn, released)) == 6


def start_and_allocate(net: LabWithServer) -> subprocess.Popen[str]:
    """A probe that waits in vain for its echoes: there is time to do something to it."""
    drop_relay_ports(net)
    process = net.start_icekit("probe", "--json", *URLS, *net.credentials)
    wait_for_log(net.coturn, lambda found: len(found) == 6)
    return process


def test_ctrl_c_gives_the_relays_back_and_prints_what_is_known(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    process = start_and_allocate(net)
    process.send_signal(signal.SIGINT)
    answer = finish(process)
    assert (answer.exit_code, answer.stderr) == (130, "icekit: interrupted; this is what was known by then\n")
    assert [(item["ok"], item["failed_stage"], item["code"]) for item in answer.report["turn"]] == [
        (False, None, None)
    ] * 3
    assert len(wait_for_log(net.coturn, released)) == 6


def test_an_interface_that_goes_down_meanwhile(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    process = start_and_allocate(net)
    net.lab.namespace(Place.CLIENT).ip("link set eth0 down")
    answer = finish(process)
    assert all(item["code"] for item in answer.report["turn"])
    # How much of the NAT was seen before decides between 0 and 1.
    assert answer.exit_code in (0, 1)
    assert answer.stderr == ""


@pytest.mark.parametrize(
    ("change", "code", "summary"),
    [
        (
            "link set eth0 down",
            "UNKNOWN",
            (
                "Not enough could be measured: there is no route from here to any of the servers; "
                "check this host's network."
            ),
        ),
        (
            # What is left is fe80::…
            "addr flush dev eth0 scope global",
            "BLOCKED",
            "Calls cannot work from here: this host has no network address; connect it to a network.",
        ),
    ],
    ids=["no-route", "link-local-only"],
)
def test_a_host_without_a_network(start_lab: StartLab, change: str, code: str, summary: str) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    net.lab.namespace(Place.CLIENT).ip(change)
    answer = finish(net.start_icekit("probe", "--json", *URLS[:3], *net.credentials))
    assert (answer.report["verdict"]["code"], answer.report["verdict"]["summary"]) == (code, summary)
    assert [(item["failed_stage"], item["code"], item["cause"]) for item in answer.report["turn"]] == [
        ("connect", "TURN-CONNECT", "unreachable")
    ] * 2
    assert {item["error"] for item in answer.report["servers"]} == {"unreachable: no route to the server"}
    assert (answer.exit_code, answer.stderr) == (1, "")
