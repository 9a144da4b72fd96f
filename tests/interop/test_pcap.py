"""Wireshark's dissectors over captures of the simulator."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from icekit.aio.prober import Prober
from icekit.aio.server import serve
from icekit.server import ServerConfig
from icekit.servers import IceServer
from icekit.sim import Internet, Link
from tests.requirements import require_program
from tests.sim.sockets import connect, open_ear
from tests.sim.sockets import serve as serve_echo

CHECKSUMS = ("ip", "udp", "tcp")
GOOD = "1"


def dissect(path: Path, host: str, wanted: str, *fields: str) -> list[tuple[str, ...]]:
    """These fields of the packets that match a display filter, after a look for anything wrong.

    Of one host only: where both ends of a TCP connection are in one file, Wireshark takes every segment for repeated.
    """
    tshark = str(require_program("tshark"))
    own = path.with_name(f"{host}.pcapng")
    subprocess.run([tshark, "-r", path, "-Y", f"frame.interface_name == {host}", "-w", own], check=True)

    def rows(display: str, names: tuple[str, ...]) -> list[tuple[str, ...]]:
        command = [tshark, "-r", str(own), "-Y", display, "-T", "fields"]
        for protocol in CHECKSUMS:
            command += ["-o", f"{protocol}.check_checksum:TRUE"]
        for name in names:
            command += ["-e", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

    wrong = " || ".join(f"{name}.checksum.status == 0" for name in (*CHECKSUMS, "icmp", "icmpv6"))
    assert rows(f"_ws.malformed || {wrong} || tcp.analysis.flags", ("frame.number", "_ws.col.Info")) == []
    return rows(wanted, fields)


@pytest.mark.interop("tshark")
@pytest.mark.parametrize(
    ("host", "url"), [("203.0.113.10", "stun:203.0.113.10"), ("2001:db8:1::10", "stun:[2001:db8:1::10]")]
)
def test_stun_is_dissected_with_right_checksums(host: str, url: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    net = Internet(7, link=Link(delay=0.025), capture=path)
    server = net.host("server", addresses=(host,))
    client = net.host("client", nat="port-restricted", ipv6=True)

    async def service() -> None:
        async with serve(ServerConfig(), hosts=server.addresses, ports=(3478,)):
            await asyncio.Event().wait()

    async def main() -> None:
        server.run(service())
        await asyncio.sleep(0.1)
        await client.run(Prober([IceServer(urls=url)]).run())

    net.run(main())
    six = ":" in host
    rows = dissect(
        path,
        "client",
        "stun.type == 0x0101",
        "ipv6.src" if six else "ip.src",
        "stun.att.ipv6" if six else "stun.att.ipv4",
        "udp.checksum.status",
    )
    outside = client.addresses[1] if six else "198.51.100.1"
    assert rows
    # MAPPED-ADDRESS may stand beside XOR-MAPPED-ADDRESS, and RESPONSE-ORIGIN behind both.
    assert {(source, addresses.split(",")[0], checksum) for source, addresses, checksum in rows} == {
        (host, outside, GOOD)
    }


@pytest.mark.interop("tshark")
def test_tcp_and_port_unreachable(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    net = Internet(capture=path)
    a, b = net.host("a", ipv6=True), net.host("b", ipv6=True)

    async def main() -> None:
        await serve_echo(b, 8080)
        reader, writer = await connect(a, b.address, 8080)
        writer.write(b"x" * 5000)
        assert len(await reader.readexactly(5000)) == 5000
        writer.close()
        for one, other in zip(a.addresses, b.addresses, strict=True):
            mouth = await open_ear(a, local_addr=(one, 9))
            mouth.transport.sendto(b"anybody?", (other, 9))
        await asyncio.sleep(1)

    net.run(main())
    segments = dissect(path, "a", "tcp", "tcp.flags", "tcp.checksum.status")
    assert segments[:3] == [("0x0002", GOOD), ("0x0012", GOOD), ("0x0010", GOOD)]
    assert {checksum for _, checksum in segments} == {GOOD}
    kinds = ("icmp.type", "icmp.code", "icmpv6.type", "icmpv6.code", "udp.dstport")
    assert dissect(path, "a", "icmp || icmpv6", *kinds) == [("3", "3", "", "", "9"), ("", "", "1", "4", "9")]


@pytest.mark.interop("tshark")
def test_what_is_lost_says_why(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    net = Internet(capture=path)
    a = net.host("a")

    async def main() -> None:
        mouth = await open_ear(a, local_addr=(a.address, 9))
        await asyncio.sleep(1.5)
        mouth.transport.sendto(b"anybody?", ("203.0.113.99", 9))

    net.run(main())
    fields = ("frame.time_epoch", "frame.comment", "data.data")
    assert dissect(path, "lost", "udp", *fields) == [("1.500000000", "internet: no route", b"anybody?".hex())]
