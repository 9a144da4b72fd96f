"""Every NAT of the laboratory behaves as it declares: seen by ``stun`` of vovida with coturn, and by plain sockets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from icekit.lab import KernelNat, Lab, Place
from icekit.lab.topology import CLIENT_ADDRESS, HOME_CARRIER_ADDRESS, NAT_ADDRESS, SERVER_ADDRESSES
from icekit.net import AddressClass, classify_host
from icekit.report import Behavior, PortAssignment
from tests.netns.conftest import LabWithServer, StartLab

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop("turnserver", "turnutils_uclient", "turnutils_stunclient", "stun", "conntrack"),
]

MIRRORS = [f"{host}:{port}" for host in SERVER_ADDRESSES for port in (7000, 7001)]

# How RFC 4787 sorts them: who may answer a socket that has sent to the first mirror only.
HEARD = {
    Behavior.ENDPOINT_INDEPENDENT: MIRRORS,
    Behavior.ADDRESS_DEPENDENT: MIRRORS[:2],
    Behavior.ADDRESS_AND_PORT_DEPENDENT: MIRRORS[:1],
}

VERDICTS = {
    KernelNat.MASQUERADE: "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin",
    KernelNat.FULLY_RANDOM: "Dependent Mapping, random port, no hairpin",
    KernelNat.FULL_CONE: "Independent Mapping, Independent Filter, preserves ports, no hairpin",
    KernelNat.ADDRESS_RESTRICTED: "Independent Mapping, Address Dependent Filter, preserves ports, no hairpin",
    KernelNat.UDP_DROPPED: "Blocked or could not reach STUN server",
    KernelNat.DOUBLE: "Independent Mapping, Port Dependent Filter, preserves ports, no hairpin",
    KernelNat.HAIRPIN: "Independent Mapping, Port Dependent Filter, preserves ports, will hairpin",
}


@contextmanager
def mirrors(lab: Lab) -> Iterator[None]:
    script = str(Path(__file__).with_name("udp_mirror.py"))
    with lab.popen(Place.SERVER, [sys.executable, script, *MIRRORS], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def observe(lab: Lab, tcp: str) -> dict[str, Any]:
    script = str(Path(__file__).with_name("nat_observer.py"))
    with mirrors(lab):
        done = lab.run(Place.CLIENT, [sys.executable, script, *MIRRORS, tcp])
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("nat", KernelNat)
def test_the_verdict_of_a_foreign_client(start_lab: StartLab, nat: KernelNat) -> None:
    done = start_lab(nat).lab.run(Place.CLIENT, ["stun", SERVER_ADDRESSES[0]])
    verdict = re.search(r"^Primary: (.*?)\s*$", done.stdout, re.MULTILINE)
    assert verdict is not None, done.stdout
    assert verdict[1] == VERDICTS[nat]


@pytest.mark.parametrize("nat", KernelNat)
def test_the_declared_behavior_with_plain_sockets(start_lab: StartLab, nat: KernelNat) -> None:
    net = start_lab(nat)
    seen = observe(net.lab, str(net.coturn.address))
    declared = nat.declared

    assert seen["tcp"]
    if not declared.udp:
        assert seen["mapped"] == [None] * 4
        assert seen["heard"] == []
        assert (declared.mapping, declared.filtering, declared.hairpinning) == (None, None, None)
        return
    assert declared.mapping is not None
    assert declared.filtering is not None
    assert all(mapped.startswith(f"{NAT_ADDRESS}:") for mapped in seen["mapped"])
    assert (
        len(set(seen["mapped"]))
        == {
            Behavior.ENDPOINT_INDEPENDENT: 1,
            Behavior.ADDRESS_AND_PORT_DEPENDENT: 4,
        }[declared.mapping]
    )
    preserved = seen["mapped"] == [f"{NAT_ADDRESS}:{seen['local_port']}"] * 4
    assert preserved == (declared.port_assignment is PortAssignment.PRESERVING)
    assert seen["heard"] == HEARD[declared.filtering]
    # RFC 4787 §6: the external source address and port.
    assert seen["hairpin"] == (seen["hairpin_other"] if declared.hairpinning else None)
    assert seen["hairpin_self"] == (seen["mapped"][0] if declared.hairpinning else None)


def test_two_nats_in_a_row_translate_twice(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.DOUBLE)
    seen = observe(net.lab, str(net.coturn.address))
    assert seen["mapped"][0].startswith(NAT_ADDRESS)

    def sources(place: Place) -> set[str]:
        flows = net.lab.run(place, ["conntrack", "-L", "-p", "udp", "--orig-port-dst", "7000"]).stdout
        return set(re.findall(r"^udp .*?src=(\S+)", flows, re.MULTILINE))

    assert sources(Place.NAT) == {CLIENT_ADDRESS}
    assert sources(Place.CARRIER) == {HOME_CARRIER_ADDRESS}
    assert classify_host(HOME_CARRIER_ADDRESS) is AddressClass.CGNAT
    assert (KernelNat.DOUBLE.declared.nats, KernelNat.DOUBLE.declared.cgnat) == (2, True)


def relay_command(net: LabWithServer, *options: str) -> list[str]:
    ports = net.coturn.ports
    command = ["turnutils_uclient", "-y", "-c", "-n", "1", "-m", "1", *options]
    command += ["-p", str(ports.tls if "-S" in options else ports.plain)]
    return [*command, "-u", net.coturn.username, "-w", net.coturn.password, SERVER_ADDRESSES[0]]


def test_the_relay_is_reached_over_udp(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    done = net.lab.run(Place.CLIENT, relay_command(net))
    assert "Total lost packets 0 " in done.stdout, done.stdout


def test_where_udp_is_dropped_the_relay_is_reached_over_tcp_and_tls(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.UDP_DROPPED)

    def start(*options: str) -> subprocess.Popen[str]:
        return net.lab.popen(Place.CLIENT, relay_command(net, *options), stdout=subprocess.PIPE)

    # Over UDP and DTLS this client waits for ever.
    with start() as udp, start("-S") as dtls, start("-t") as tcp, start("-t", "-S") as tls:
        for working in (tcp, tls):
            output = working.communicate(timeout=30)[0]
            assert "Total lost packets 0 " in output, output
        for waiting in (udp, dtls):
            assert waiting.poll() is None
            waiting.kill()
