"""The signaling server beside a bare relay on ``websockets``, in one run: memory, joins and messages (Linux).

    python benchmarks/bench_rooms.py [ROOMS]

Two peers in each room (1,000). Each server is one process; the load comes from another one, which speaks WebSocket by
hand so that it costs less than what it measures. The bare relay knows nothing but rooms: no names, no presence, no
check of what it passes on. Ratios of processor time count; wall time depends on what else the machine does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = 50
ROUNDS = 10
WAIT = 200.0

CANDIDATE = {
    "candidate": "candidate:842163049 1 udp 1677729535 192.0.2.2 56132 typ srflx raddr 10.0.0.2 rport 56132",
    "sdpMid": "0",
    "sdpMLineIndex": 0,
}
MESSAGES = {
    "candidate": json.dumps({"type": "candidate", "candidate": CANDIDATE}),
    "offer of 6 kB": json.dumps(
        {"type": "offer", "offer": {"type": "offer", "sdp": "a=rtpmap:96 VP8/90000\r\n" * 250}}
    ),
}


async def bare() -> None:
    """The other server: what is left when everything but relaying is taken away."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)

    async def relay(connection: ServerConnection) -> None:
        assert connection.request is not None
        room = rooms[connection.request.path.partition("?")[0]]
        room.add(connection)
        await connection.send("welcome")
        with suppress(ConnectionClosed):
            async for message in connection:
                for other in room:
                    if other is not connection:
                        await other.send(message)

    async with serve(relay, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"signaling": f"ws://127.0.0.1:{port}/"}), flush=True)
        await asyncio.Event().wait()


SERVERS = {
    "bare relay": [sys.executable, __file__, "--bare"],
    "icekit": [sys.executable, "-m", "icekit", "serve", "--signaling-only", "--http-port", "0", "--json"],
}


class Peer:
    """A WebSocket client of a few lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def join(cls, port: int, path: str) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        key = base64.b64encode(bytes(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        peer = cls(reader, writer)
        await peer.receive()
        return peer

    async def receive(self) -> bytes:
        """The next message."""
        while True:
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            data = await self.reader.readexactly(size)
            if first == 0x81:
                return data
            assert first == 0x89, first
            self.send(b"\x8a" + bytes([0x80 | size]) + bytes(4) + data)

    def send(self, frame: bytes) -> None:
        self.writer.write(frame)


def masked(text: str) -> bytes:
    """A frame of a client whose mask is zero, so that it is the same each time."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


@dataclass(frozen=True)
class Process:
    pid: int
    port: int

    def memory(self) -> int:
        """Resident, in bytes."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    def processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str]) -> Iterator[Process]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Process(process.pid, int(ready["signaling"].rstrip("/").rpartition(":")[2]))
        finally:
            process.kill()


async def measure(server: Process, rooms: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    before = server.memory()
    latencies: list[float] = []
    peers: list[tuple[Peer, Peer]] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def fill(number: int) -> None:
        async with gate:
            pair = []
            for name in ("alice", "bob"):
                start = time.perf_counter()
                pair.append(await Peer.join(server.port, f"/room-{number}?name={name}&session=session-of-{name}-x"))
                latencies.append(time.perf_counter() - start)
            peers.append((pair[0], pair[1]))

    spent = server.processor()
    await gather(fill, range(rooms))
    figures["joins per CPU second"] = len(latencies) / (server.processor() - spent)
    figures["join latency, median, ms"] = statistics.median(latencies) * 1000
    figures["join latency, 99th percentile, ms"] = statistics.quantiles(latencies, n=100)[98] * 1000
    figures["memory for each peer, kB"] = (server.memory() - before) / len(latencies) / 1000
    figures["memory of the process, MB"] = server.memory() / 1e6
    # Where joining is told, alice has heard of bob.
    for alice, _ in peers:
        if server_tells := await waiting(alice):
            assert b"bob" in server_tells
    for kind, text in MESSAGES.items():
        frame = masked(text)

        async def talk(pair: tuple[Peer, Peer], frame: bytes = frame) -> None:
            for _ in range(ROUNDS):
                for sender, receiver in (pair, pair[::-1]):
                    sender.send(frame)
                    await receiver.receive()

        spent, start = server.processor(), time.perf_counter()
        await gather(talk, peers)
        count = rooms * ROUNDS * 2
        figures[f"{kind}: messages per second"] = count / (time.perf_counter() - start)
        figures[f"{kind}: messages per CPU second"] = count / (server.processor() - spent)
    figures["memory after it, MB"] = server.memory() / 1e6
    for pair in peers:
        for peer in pair:
            peer.writer.close()
    return figures


async def waiting(peer: Peer) -> bytes | None:
    try:
        async with asyncio.timeout(0.01):
            return await peer.receive()
    except TimeoutError:
        return None


async def gather(work: Callable[[Any], Awaitable[None]], items: Iterable[Any]) -> None:
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*map(work, items))


def main(rooms: int) -> None:
    wanted = 2 * rooms + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    found = {}
    for name, command in SERVERS.items():
        with running(command) as server:
            found[name] = asyncio.run(measure(server, rooms))
    print(f"{rooms} rooms × 2 peers, one server process\n")
    print(f"{'':40} {'bare relay':>12} {'icekit':>12} {'ratio':>7}")
    for row, first in found["bare relay"].items():
        second = found["icekit"][row]
        print(f"{row:40} {first:>12,.1f} {second:>12,.1f} {second / first:>7.2f}")


if __name__ == "__main__":
    if "--bare" in sys.argv:
        asyncio.run(bare())
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
