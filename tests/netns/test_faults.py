"""Faults of networks and of calls, injected in the laboratory with coturn: ``icekit`` names the same code first as in
the simulator.

Faults of one server that need no network are injected in ``tests/interop/test_faults.py``, closed relay ports in
``test_probe.py`` beside this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from icekit.candidate import Candidate
from icekit.lab.kernel_nat import KernelNat
from icekit.lab.namespaces import Namespace
from icekit.lab.topology import Lab, Place
from icekit.lab.tun_lab import SERVER_ADDRESSES, TunLab
from icekit.sim.link import Link
from tests.faults import OTHER_FINGERPRINT, OTHER_PASSWORD, Fault, broken_description, check_first
from tests.interop.coturn import PASSWORD, STANDARD_PORTS, USERNAME, Coturn, CoturnConfig
from tests.netns.conftest import REPOSITORY
from tests.requirements import require_netns, require_program

pytestmark = [pytest.mark.netns, pytest.mark.interop("turnserver"), pytest.mark.timeout(120)]

SERVER = SERVER_ADDRESSES[0]
URLS = (f"stun:{SERVER}", f"turn:{SERVER}?transport=udp", f"turn:{SERVER}?transport=tcp")
CREDENTIALS = ("--username", USERNAME, "--credential", PASSWORD)
HOME, SYMMETRIC = "port-restricted", "symmetric"
NATS = (HOME, HOME, SYMMETRIC, SYMMETRIC, "udp-blocked", "alg")
NARROW = ("900 bytes, a NAT that drops", "1100 bytes, a router without ICMP")
WIDE = "1280 bytes, a router without ICMP"
RELAY = "a relay behind that router"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}

SIGNALING = """
import asyncio
from icekit.signaling.server import serve

async def main():
    async with serve(hosts=["203.0.113.10"], port=8080):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
# One side of a call that hears the answer changed. Prints the findings, after 8 s if it does not fail.
CALL = """
import asyncio, json, re, sys
from contextlib import suppress
from dataclasses import replace
from icekit.call import Call, CallConfig
from icekit.errors import CallFailed
from icekit.phases import Deadlines
from icekit.servers import IceServer
from icekit.signaling import Answer, connect

room, name, pattern, text = sys.argv[1:]

class Changed:
    def __init__(self, channel):
        self.channel, self.name, self.send = channel, channel.name, channel.send
    async def __aiter__(self):
        async for message in self.channel:
            if pattern and isinstance(message, Answer):
                message = replace(message, sdp=re.sub(pattern, text, message.sdp))
            yield message

async def main():
    config = CallConfig(receive=(), deadlines=Deadlines(path=6, dtls=6, nomination=6))
    servers = [IceServer(urls="stun:203.0.113.10")]
    async with connect(f"ws://203.0.113.10:8080/{room}", name=name) as channel:
        async with Call(Changed(channel), ice_servers=servers, config=config) as call:
            with suppress(CallFailed, TimeoutError):
                await call.connected()
                async with asyncio.timeout(8):
                    await call.ended()
            found = [{"code": item.code, "message": item.message} for item in call.findings]
            print(json.dumps({"findings": found}))

asyncio.run(main())
"""
GATHER = """
import asyncio, json, sys
from icekit.aio.gatherer import gather
from icekit.gathering_events import CandidateGathered
from icekit.network_config import NetworkConfig
from icekit.servers import IceServer

async def main():
    servers = [IceServer(urls="stun:203.0.113.10")]
    events = gather(servers, network=NetworkConfig(tcp=True))
    print(json.dumps([str(event.candidate) async for event in events if isinstance(event, CandidateGathered)]))

asyncio.run(main())
"""
# No ICMP leaves this router.
DEAF = """
table ip deaf {
    chain out {
        type filter hook output priority 0; policy accept;
        meta l4proto icmp drop
    }
}
"""
# Knows no name.
NAMESERVER = """
import socket, dns.flags, dns.message, dns.rcode
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 53))
    print("ready", flush=True)
    while True:
        data, client = server.recvfrom(4096)
        answer = dns.message.make_response(dns.message.from_wire(data))
        answer.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(answer.to_wire(), client)
"""


@contextmanager
def laboratory(*nats: str, link: Link | None = None) -> Iterator[TunLab]:
    require_netns()
    require_program("turnserver")
    config = CoturnConfig(hosts=SERVER_ADDRESSES, ports=STANDARD_PORTS, tls=False)
    with TunLab(nats, link=link, seed=1) as lab, Coturn(config, command=lab.server.command):
        yield lab


@contextmanager
def running(place: Namespace, script: str) -> Iterator[None]:
    with place.popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def start(place: Namespace, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, *arguments]
    return place.popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=ENVIRONMENT)


def finish(process: subprocess.Popen[str]) -> Any:
    with process:
        try:
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out, error
    return json.loads(out)


def said(document: dict[str, Any]) -> list[tuple[str, str]]:
    # How long an entry takes (ICE012) is the machine's affair.
    return [(item["code"], item["message"]) for item in document["findings"] if item["code"] != "ICE012"]


def call_each_other(ends: Sequence[Namespace], room: str, *change: str) -> list[subprocess.Popen[str]]:
    """Only the first of the two hears something else than was said; the greater name offers, and hears the answer."""
    pairs = zip(ends, ("bob", "alice"), (change or ("", ""), ("", "")), strict=True)
    return [start(end, "-c", CALL, room, name, *what) for end, name, what in pairs]


@pytest.fixture(scope="module")
def lab() -> Iterator[TunLab]:
    with laboratory(*NATS) as built, running(built.server, SIGNALING):
        yield built


@contextmanager
def narrow_laboratory(mtu: int) -> Iterator[list[Namespace]]:
    """Two ends; larger packets are lost, and TCP is told to send none, as behind many a PPPoE router."""
    with laboratory(HOME, HOME, link=Link(delay=0.01, mtu=mtu)) as lab:
        for client in lab.clients:
            gateway = f"{client.address.rpartition('.')[0]}.1"
            client.namespace.ip(f"route change default via {gateway} dev eth0 advmss 480")
        lab.server.ip("route change 198.51.100.0/24 dev eth0 advmss 480")
        with running(lab.server, SIGNALING):
            yield [client.namespace for client in lab.clients]


@contextmanager
def black_hole(mtu: int) -> Iterator[list[Namespace]]:
    """The same by the kernel: the interface of a router is too narrow, and nobody hears the ICMP that says so."""
    with Lab(KernelNat.MASQUERADE) as lab:
        client, router, server = (lab.namespace(place) for place in (Place.CLIENT, Place.NAT, Place.SERVER))
        router.ip(f"link set outside mtu {mtu}")
        router.nft(DEAF)
        client.ip("route change default via 192.168.77.1 dev eth0 advmss 480")
        server.ip("route change 203.0.113.0/24 dev eth0 advmss 480")
        config = CoturnConfig(hosts=SERVER_ADDRESSES, ports=STANDARD_PORTS, tls=False)
        with Coturn(config, command=server.command), running(server, SIGNALING):
            yield [client, server]


@pytest.fixture(scope="module")
def told(lab: TunLab) -> dict[Fault | str, list[list[tuple[str, str]]]]:
    """What the tools say of each fault: all side by side, because each waits some seconds for what never comes."""
    home, other, one, two, udp_blocked, alg = (client.namespace for client in lab.clients)
    probe = ("-m", "icekit", "probe", "--json", *URLS, *CREDENTIALS)
    with ExitStack() as stack:
        paths = {
            NARROW[0]: narrow_laboratory(900),
            NARROW[1]: black_hole(1100),
            WIDE: black_hole(1280),
        }
        narrow = {name: stack.enter_context(path) for name, path in paths.items()}
        slow = stack.enter_context(laboratory(HOME, link=Link(delay=0.55)))
        stack.enter_context(running(home, NAMESERVER))
        processes: dict[Fault | str, list[subprocess.Popen[str]]] = {
            Fault.SYMMETRIC: call_each_other((one, two), "symmetric"),
            Fault.FINGERPRINT: call_each_other((home, other), "fingerprint", *OTHER_FINGERPRINT),
            Fault.ICE_PASSWORD: call_each_other((home, other), "password", *OTHER_PASSWORD),
            **{name: call_each_other(ends, "mtu") for name, ends in narrow.items()},
            RELAY: [start(narrow[NARROW[1]][0], "-m", "icekit", "turn", "--json", URLS[1], *CREDENTIALS)],
            Fault.UDP_DROPPED: [start(udp_blocked, *probe)],
            Fault.ALG: [start(alg, *probe)],
            Fault.RTT: [start(slow.clients[0].namespace, *(word for word in probe if word != URLS[2]))],
            Fault.DNS: [start(home, "-m", "icekit", "turn", "--json", "turn:trun.example.org", *CREDENTIALS)],
        }
        for started in processes.values():
            for process in started:
                stack.callback(process.kill)
        return {fault: [said(finish(process)) for process in started] for fault, started in processes.items()}


CALLS = (Fault.SYMMETRIC, Fault.FINGERPRINT, Fault.ICE_PASSWORD)
Told = dict[Fault | str, list[list[tuple[str, str]]]]


@pytest.mark.parametrize("fault", [*CALLS, Fault.UDP_DROPPED, Fault.ALG, Fault.RTT, Fault.DNS])
def test_networks_and_calls(told: Told, fault: Fault) -> None:
    assert len(told[fault]) == (2 if fault in CALLS else 1)
    for findings in told[fault]:
        check_first(fault, findings)


@pytest.mark.parametrize("path", [*NARROW, RELAY])
def test_narrow_paths(told: Told, path: str) -> None:
    assert len(told[path]) == (1 if path == RELAY else 2)
    for findings in told[path]:
        check_first(Fault.MTU, findings)


def test_a_path_that_is_wide_enough(told: Told) -> None:
    assert told[WIDE] == [[], []]


@pytest.mark.parametrize("fault", [Fault.NO_END, Fault.TCP_ONLY, Fault.MDNS_ONLY])
def test_descriptions(lab: TunLab, fault: Fault) -> None:
    lines = finish(start(lab.clients[0].namespace, "-c", GATHER))
    check_first(fault, broken_description(fault, [Candidate.parse(line) for line in lines]))
