"""Programs that we did not write, behind the NAT model: UDP, TCP and ICMP pass, and sums are right for the kernel."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from icekit.lab.servers import USERNAME, running_servers
from icekit.lab.tun_lab import SERVER_ADDRESSES, Client, TunLab
from icekit.sim.link import Link
from tests.requirements import require_netns, require_program

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop("turnserver", "turnutils_uclient", "stun"),
    pytest.mark.timeout(180),
]

PASSWORD = "secret"
# What stun of vovida says of each (its names are of RFC 3489).
VERDICTS = {
    "open": "Open",
    "full-cone": "Independent Mapping, Independent Filter, preserves ports, will hairpin",
    "restricted": "Independent Mapping, Address Dependent Filter, preserves ports, will hairpin",
    "port-restricted": "Independent Mapping, Port Dependent Filter, preserves ports, will hairpin",
    "symmetric": "Dependent Mapping, random port, will hairpin",
    "symmetric-sequential": "Dependent Mapping, random port, will hairpin",
    "cgnat": "Independent Mapping, Port Dependent Filter, random port, will hairpin",
    "firewall": "Firewall",
    "udp-blocked": "Blocked or could not reach STUN server",
    "kernel:masquerade": "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin",
    # What the outer one sends back comes from a port that the inner one has not seen.
    "kernel:masquerade+symmetric": "Dependent Mapping, random port, no hairpin",
}

STREAM = """
import socket, sys
with socket.create_connection((sys.argv[1], 8000), timeout=20) as client:
    client.sendall(bytes(range(256)) * 8000)
    client.shutdown(socket.SHUT_WR)
    print(client.makefile().read())
"""
LISTENER = """
import hashlib, socket
with socket.create_server(("203.0.113.10", 8000)) as server:
    print("ready", flush=True)
    while True:
        client, address = server.accept()
        with client:
            digest = hashlib.sha256()
            while data := client.recv(65536):
                digest.update(data)
            client.sendall(f"{digest.hexdigest()} {address[0]}".encode())
"""
REFUSED = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(2)
    client.connect(("203.0.113.10", 9))
    client.send(b"x")
    try:
        client.recv(1)
    except ConnectionRefusedError:
        print("refused")
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[TunLab]:
    require_netns()
    require_program("turnserver")
    with (
        TunLab(list(VERDICTS), seed=1) as built,
        running_servers(built.server, SERVER_ADDRESSES, PASSWORD, coturn=True),
    ):
        yield built


def client_of(lab: TunLab, nat: str) -> Client:
    return lab.clients[list(VERDICTS).index(nat)]


@pytest.mark.parametrize("nat", VERDICTS)
def test_the_verdict_of_a_foreign_client(lab: TunLab, nat: str) -> None:
    client = client_of(lab, nat)
    done = client.namespace.run(["stun", SERVER_ADDRESSES[0]], timeout=60)
    verdict = re.search(r"^Primary: (.*?)\s*$", done.stdout, re.MULTILINE)
    assert verdict is not None, done.stdout
    assert verdict[1] == VERDICTS[client.nat]


@pytest.mark.parametrize("nat", ["symmetric", "cgnat", "firewall", "kernel:masquerade+symmetric"])
def test_a_stream_of_two_megabytes(lab: TunLab, nat: str) -> None:
    client = client_of(lab, nat)
    with lab.server.popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
            done = client.namespace.run([sys.executable, "-c", STREAM, SERVER_ADDRESSES[0]], timeout=60)
        finally:
            listener.kill()
    digest = hashlib.sha256(bytes(range(256)) * 8000).hexdigest()
    assert done.stdout.split() == [digest, client.external], done.stderr


@pytest.mark.parametrize("nat", VERDICTS)
def test_icmp_tells_that_nobody_listens(lab: TunLab, nat: str) -> None:
    done = client_of(lab, nat).namespace.run([sys.executable, "-c", REFUSED], timeout=60)
    assert (done.stdout == "refused\n") == (nat != "udp-blocked"), done.stderr


@pytest.mark.parametrize("nat", ["symmetric", "cgnat", "udp-blocked"])
def test_a_relay_of_coturn(lab: TunLab, nat: str) -> None:
    transport = ["-t"] if nat == "udp-blocked" else []
    command = ["turnutils_uclient", "-y", "-c", "-n", "1", "-m", "1", *transport, "-u", USERNAME, "-w", PASSWORD]
    done = client_of(lab, nat).namespace.run([*command, SERVER_ADDRESSES[0]], timeout=60)
    assert "Total lost packets 0 " in done.stdout, done.stdout


ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("203.0.113.10", 7000))
    print("ready", flush=True)
    while True:
        data, sender = server.recvfrom(65535)
        server.sendto(data, sender)
"""
ASK = """
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.connect(("203.0.113.10", 7000))
    times = []
    for size in (1, 4000, 1):
        started = time.monotonic()
        client.send(b"x" * size)
        assert len(client.recv(65535)) == size
        times.append(time.monotonic() - started)
    print(min(times))
"""


def test_fragments_and_delay() -> None:
    with TunLab(["cgnat"], link=Link(delay=0.04)) as lab:
        with lab.server.popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE) as echo:
            try:
                assert echo.stdout is not None
                assert echo.stdout.readline() == "ready\n"
                done = lab.clients[0].namespace.run([sys.executable, "-c", ASK], timeout=60)
            finally:
                echo.kill()
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) >= 0.08


def test_ipv6_is_filtered() -> None:
    script = ASK.replace("AF_INET", "AF_INET6").replace("203.0.113.10", "2001:db8:1::10").replace("4000", "1000")
    with TunLab(["symmetric"], ipv6=True) as lab:
        server = ECHO.replace("AF_INET", "AF_INET6").replace("203.0.113.10", "2001:db8:1::10")
        with lab.server.popen([sys.executable, "-c", server], stdout=subprocess.PIPE) as echo:
            try:
                assert echo.stdout is not None
                assert echo.stdout.readline() == "ready\n"
                done = lab.clients[0].namespace.run([sys.executable, "-c", script], timeout=60)
            finally:
                echo.kill()
        assert done.returncode == 0, done.stderr


# Binds to each address that it is told and asks the server from there; prints what comes back, or that nothing does.
ASKS_FROM = """
import socket, sys, time
for address in sys.argv[1:]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.bind((address, 0))
        began = time.monotonic()
        client.sendto(b"here", ("203.0.113.10", 7000))
        try:
            client.recv(100)
            print(address, time.monotonic() - began)
        except TimeoutError:
            print(address, "nothing")
"""


def test_a_dead_interface_other_links_and_who_sees_packets() -> None:
    require_netns()
    seen: list[bytes] = []
    with TunLab(("open",), dead_interface=True, see=lambda data, _: seen.append(bytes(data))) as lab:
        client = lab.clients[0]
        mirror = [sys.executable, str(Path(__file__).parent / "udp_mirror.py"), "203.0.113.10:7000"]
        with lab.server.popen(mirror, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            ask = [sys.executable, "-c", ASKS_FROM, client.address]
            with_both = client.namespace.run([*ask, "10.99.0.2"])
            (alive, _), (dead, answer) = (line.split() for line in with_both.stdout.splitlines())
            assert (alive, dead, answer) == (client.address, "10.99.0.2", "nothing")
            slow = Link(delay=0.025)
            lab.set_links(slow, slow)
            assert float(client.namespace.run(ask).stdout.split()[1]) >= 0.1
            process.kill()
    assert {item[12:16] for item in seen if item[0] >> 4 == 4} == {bytes(map(int, client.address.split(".")))}
