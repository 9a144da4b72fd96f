"""``icekit probe --portmap`` and ``--lifetime`` behind a kernel's NAT, with a real UPnP, NAT-PMP and PCP server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from icekit.lab import KernelNat, Lab, Place
from icekit.lab.topology import HOME_ADDRESS, HOME_CARRIER_ADDRESS, NAT_ADDRESS
from tests.netns.conftest import LabWithServer, StartLab
from tests.requirements import require_program

pytestmark = pytest.mark.netns


def open_router(lab: Lab) -> None:
    """The routers of the laboratory drop what is for themselves; a home router listens inside."""
    lab.namespace(Place.NAT).nft("insert rule ip icekit-router input iifname inside accept\n")


def probe(net: LabWithServer, *options: str) -> dict[str, Any]:
    done = net.run_icekit("probe", "--json", *options, net.coturn.stun_uri(), timeout=60)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@contextmanager
def running(lab: Lab, argv: list[str], ready: str) -> Iterator[None]:
    """A program on the router, from the line with ``ready`` on."""
    with lab.popen(Place.NAT, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if ready in line:
                    break
            else:
                raise AssertionError("".join(said))
            yield
        finally:
            process.kill()


@contextmanager
def miniupnpd(lab: Lab, folder: Path, *options: str) -> Iterator[None]:
    program = str(require_program("miniupnpd"))
    lines = ("ext_ifname=outside", "listening_ip=inside", "enable_upnp=yes", "enable_natpmp=yes", "http_port=5000")
    config = folder / "miniupnpd.conf"
    config.write_text("\n".join((*lines, "uuid=12345678-1234-1234-1234-123456789abc", *options)) + "\n")
    argv = [program, "-d", "-f", str(config), "-P", str(folder / "pid")]
    with running(lab, argv, "Listening for NAT-PMP/PCP"):
        yield


@contextmanager
def nat_pmp_gateway(lab: Lab, external: str) -> Iterator[None]:
    script = str(Path(__file__).with_name("nat_pmp_gateway.py"))
    with running(lab, [sys.executable, script, HOME_ADDRESS, external], "ready"):
        yield


def test_miniupnpd(start_lab: StartLab, tmp_path: Path) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    open_router(net.lab)
    # It tells no documentation address, which this NAT has; so it is told another one.
    with miniupnpd(net.lab, tmp_path, "ext_ip=9.9.9.9"):
        report = probe(net, "--portmap")
    assert report["portmap"] == {
        "gateway": HOME_ADDRESS,
        "upnp": True,
        "nat_pmp": True,
        "pcp": True,
        "reason": {},
        "external_address": "9.9.9.9",
        "description_url": f"http://{HOME_ADDRESS}:5000/rootDesc.xml",
    }
    nat = report["nat"]["ipv4"]
    assert (nat["nats"], nat["cgnat"]) == (None, None)
    assert nat["reason"]["nats"].startswith(f"the gateway says that its address is 9.9.9.9, a server saw {NAT_ADDRESS}")


def test_miniupnpd_without_a_public_address(start_lab: StartLab, tmp_path: Path) -> None:
    net = start_lab(KernelNat.DOUBLE)
    open_router(net.lab)
    with miniupnpd(net.lab, tmp_path):
        portmap = probe(net, "--portmap")["portmap"]
    assert (portmap["upnp"], portmap["nat_pmp"], portmap["pcp"]) == (True, True, True)
    assert portmap["external_address"] is None
    assert portmap["reason"] == {"nat_pmp": "it is there, but tells no address (result 3)"}


@pytest.mark.parametrize(
    ("kind", "external", "nats", "cgnat"),
    [(KernelNat.MASQUERADE, NAT_ADDRESS, 1, False), (KernelNat.DOUBLE, HOME_CARRIER_ADDRESS, 2, True)],
)
def test_the_gateway_tells_how_many_nats(
    start_lab: StartLab, kind: KernelNat, external: str, nats: int, cgnat: bool
) -> None:
    net = start_lab(kind)
    open_router(net.lab)
    with nat_pmp_gateway(net.lab, external):
        report = probe(net, "--portmap")
    portmap, nat = report["portmap"], report["nat"]["ipv4"]
    assert (portmap["nat_pmp"], portmap["pcp"], portmap["upnp"]) == (True, False, False)
    assert portmap["reason"]["pcp"] == "the gateway speaks NAT-PMP only"
    assert portmap["external_address"] == external
    assert (nat["nats"], nat["cgnat"]) == (nats, cgnat)
    assert ("ICE007" in [finding["code"] for finding in report["findings"]]) is cgnat


def test_a_gateway_without_any_of_it(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.MASQUERADE)
    open_router(net.lab)
    assert probe(net, "--portmap")["portmap"] == {
        "gateway": HOME_ADDRESS,
        "upnp": False,
        "nat_pmp": False,
        "pcp": False,
        "reason": {"upnp": "no answer to 4 requests", "nat_pmp": "refused (ICMP)", "pcp": "refused (ICMP)"},
        "external_address": None,
        "description_url": None,
    }


def test_the_lifetime_of_the_kernels_nat(start_lab: StartLab) -> None:
    net = start_lab(KernelNat.FULLY_RANDOM)
    # Linux counts one request and its answer as a short exchange (nf_conntrack_udp_timeout).
    net.lab.namespace(Place.NAT).sysctl("net.netfilter.nf_conntrack_udp_timeout", "8")
    nat = probe(net, "--lifetime-wait", "12")["nat"]["ipv4"]
    assert (nat["binding_lifetime"], nat["reason"]["binding_lifetime"]) == (5.0, "between 5 and 10 s")
