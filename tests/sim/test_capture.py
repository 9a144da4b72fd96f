from __future__ import annotations

import asyncio
import ipaddress
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit.aio.prober import Prober
from icekit.aio.server import serve as serve_stun
from icekit.net import Address, Datagram
from icekit.server import ServerConfig
from icekit.servers import IceServer
from icekit.sim import Internet, Link
from icekit.sim.capture import packet_bytes
from icekit.sim.packet import ACK, SYN, PortUnreachable, Segment, size_of
from icekit.sim.runner import run
from icekit.sim.scenario import Scenario
from tests.sim.sockets import connect, open_ear, serve

ONE, OTHER = Address("192.0.2.1", 5000), Address("198.51.100.2", 3478)
SIX, SEVEN = Address("2001:db8::6", 5000), Address("2001:db8::7", 3478)


@dataclass(frozen=True)
class Packet:
    interface: str
    nanoseconds: int
    data: bytes
    direction: int | None
    comment: str | None


def options(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        code, length = struct.unpack_from("<HH", data)
        found[code] = data[4 : 4 + length]
        data = data[4 + length + -length % 4 :]
    return found


def read(path: Path) -> list[Packet]:
    """The packets of a capture, by the block layout of the pcapng draft."""
    content, packets, names = path.read_bytes(), [], []
    while content:
        kind, length = struct.unpack_from("<II", content)
        body, trailer = content[8 : length - 4], content[length - 4 : length]
        assert length % 4 == 0
        assert trailer == struct.pack("<I", length)
        content = content[length:]
        if kind == 1:
            assert struct.unpack_from("<HHI", body) == (101, 0, 0)
            interface = options(body[8:])
            assert interface[9] == b"\x09"
            names.append(interface[2].decode())
        elif kind == 6:
            number, high, low, kept, original = struct.unpack_from("<5I", body)
            assert kept == original
            rest = options(body[20 + kept + -kept % 4 :])
            flags = struct.unpack("<I", rest[2])[0] if 2 in rest else None
            comment = rest[1].decode() if 1 in rest else None
            packets.append(Packet(names[number], high << 32 | low, body[20 : 20 + kept], flags, comment))
        else:
            assert (kind, body) == (0x0A0D0D0A, bytes.fromhex("4d3c2b1a01000000ffffffffffffffff"))
    return packets


def folded(data: bytes) -> int:
    """The sum of RFC 1071 §1 over the packet: 0xFFFF where the checksum inside is right."""
    total = int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF
    return total or 0xFFFF


def check(packet: bytes, source: Address, destination: Address) -> tuple[int, bytes]:
    """Verify the IP header and the checksum over what it carries; the protocol number and the payload."""
    one, other = (ipaddress.ip_address(address.host).packed for address in (source, destination))
    if source.family == 4:
        header, payload = packet[:20], packet[20:]
        assert folded(header) == 0xFFFF
        assert struct.unpack("!BBHHHB", header[:9]) == (0x45, 0, len(packet), 0, 0x4000, 64)
        assert header[12:] == one + other
        protocol = header[9]
    else:
        header, payload = packet[:40], packet[40:]
        assert struct.unpack("!IH", header[:6]) == (0x60000000, len(payload))
        assert header[7:] == b"\x40" + one + other
        protocol = header[6]
    pseudo = b"" if protocol == 1 else one + other + struct.pack("!II", len(payload), protocol)
    assert folded(pseudo + payload) == 0xFFFF
    return protocol, payload


pairs = st.sampled_from([(ONE, OTHER), (SEVEN, SIX)])


@given(pairs, st.binary(max_size=99), st.integers(0, 65535))
@settings(max_examples=50)
def test_udp(pair: tuple[Address, Address], data: bytes, port: int) -> None:
    source, destination = pair[0]._replace(port=port), pair[1]
    datagram = Datagram(source, destination, data)
    packet = packet_bytes(datagram)
    assert len(packet) == size_of(datagram)
    protocol, payload = check(packet, source, destination)
    assert protocol == 17
    assert struct.unpack("!HHH", payload[:6]) == (port, destination.port, 8 + len(data))
    assert payload[6:8] != b"\0\0"
    assert payload[8:] == data


@given(pairs, st.binary(max_size=99), st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 31))
@settings(max_examples=50)
def test_tcp(pair: tuple[Address, Address], data: bytes, number: int, acknowledgment: int, flags: int) -> None:
    segment = Segment(*pair, data, flags=flags, sequence=number, acknowledgment=acknowledgment)
    packet = packet_bytes(segment)
    assert len(packet) == size_of(segment)
    protocol, payload = check(packet, *pair)
    assert protocol == 6
    numbers = (number % 2**32, acknowledgment % 2**32)
    assert struct.unpack("!HHIIBBH", payload[:16]) == (pair[0].port, pair[1].port, *numbers, 0x50, flags, 65535)
    assert payload[18:] == b"\0\0" + data


@pytest.mark.parametrize(("pair", "kind"), [((ONE, OTHER), (1, 3, 3)), ((SIX, SEVEN), (58, 1, 4))])
def test_port_unreachable_quotes_the_packet_that_was_refused(
    pair: tuple[Address, Address], kind: tuple[int, int, int]
) -> None:
    protocol, payload = check(packet_bytes(PortUnreachable(*pair, b"")), *pair)
    assert (protocol, payload[0], payload[1]) == kind
    assert payload[8:] == packet_bytes(Datagram(pair[1], pair[0], b""))


def test_a_checksum_of_zero_is_sent_as_ones() -> None:
    # The sum of everything else, put into the data, makes the checksum zero.
    packet = packet_bytes(Datagram(ONE, OTHER, b"\0\0"))
    zeroing = packet[26:28]
    assert packet_bytes(Datagram(ONE, OTHER, zeroing))[26:28] == b"\xff\xff"


def test_what_a_host_sees_and_what_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    net = Internet(capture=path, link=Link(delay=0.025))
    server = net.host("server")
    alice = net.host("alice", nat="port-restricted")

    async def main() -> None:
        ear = await open_ear(server, local_addr=(server.address, 3478))
        mouth = await open_ear(alice, local_addr=(alice.address, 5000))
        mouth.transport.sendto(b"hello", (server.address, 3478))
        await asyncio.sleep(1)
        stranger = await open_ear(server, local_addr=(server.address, 9))
        stranger.transport.sendto(b"let me in", ear.heard[0][2])
        await asyncio.sleep(1)

    net.run(main())
    sent, received, asked, lost = read(path)
    assert (sent.interface, sent.nanoseconds, sent.direction) == ("alice", 0, 2)
    assert (received.interface, received.nanoseconds, received.direction) == ("server", 25_000_000, 1)
    assert sent.data == packet_bytes(Datagram(Address(alice.address, 5000), Address(server.address, 3478), b"hello"))
    mapped = Address("198.51.100.1", 5000)
    assert received.data == packet_bytes(Datagram(mapped, Address(server.address, 3478), b"hello"))
    assert (asked.interface, asked.direction) == ("server", 2)
    assert (lost.interface, lost.direction, lost.data) == ("lost", None, asked.data)
    assert lost.comment is not None
    assert lost.comment.startswith("alice-lan-nat: ")


def test_tcp_with_its_handshake_and_several_runs_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    net = Internet(capture=path)
    a, b = net.host("a"), net.host("b")

    async def main() -> None:
        await serve(b, 80)
        _, writer = await connect(a, b.address, 80)
        writer.close()
        await asyncio.sleep(1)

    net.run(main())
    once = read(path)
    assert [packet.data[33] for packet in once if packet.direction == 2][:3] == [SYN, SYN | ACK, ACK]
    net.run(main())
    assert read(path)[: len(once)] == once
    assert len(read(path)) == 2 * len(once)


def test_the_capture_is_complete_when_the_program_fails(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    net = Internet(capture=path)
    a = net.host("a")

    async def main() -> None:
        ear = await open_ear(a, local_addr=(a.address, 1))
        ear.transport.sendto(b"last words", ("203.0.113.200", 9))
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        net.run(main())
    assert [packet.interface for packet in read(path)] == ["a", "lost"]


def probe(seed: int, path: Path) -> None:
    """icekit's own prober and server behind a NAT, with loss."""
    net = Internet(seed, link=Link(delay=0.01, loss=0.05), capture=path)
    server = net.host("server", addresses=("203.0.113.10", "203.0.113.11"))
    client = net.host("client", nat="symmetric")

    async def service() -> None:
        async with serve_stun(ServerConfig(), hosts=server.addresses, ports=(3478, 3479)):
            await asyncio.Event().wait()

    async def main() -> None:
        server.run(service())
        await asyncio.sleep(0.1)
        await client.run(Prober([IceServer(urls="stun:203.0.113.10")]).run())

    net.run(main())


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        probe(seed, tmp_path / name)
    one, again, two = ((tmp_path / name).read_bytes() for name in ("one", "again", "two"))
    assert one == again
    assert one != two
    assert len(read(tmp_path / "one")) > 20


@pytest.mark.parametrize("turn", ["none", "udp", "tcp"])
def test_equal_calls_of_our_own_ice_have_equal_bytes(turn: str, tmp_path: Path) -> None:
    scenario = Scenario(a="port-restricted", b="symmetric", loss=0.05, seed=3).changed({"turn": turn})
    paths = [tmp_path / name for name in ("one", "again", "other")]
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        run(scenario.changed({"seed": seed}), capture=path)
    one, again, other = (path.read_bytes() for path in paths)
    assert one == again
    assert one != other
