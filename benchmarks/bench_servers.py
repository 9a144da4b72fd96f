"""The embedded STUN and TURN server beside coturn, in one run: what one second of the server's processor buys (Linux).

    PYTHONPATH=. python benchmarks/bench_servers.py [--rounds 5] [--json]

Both servers are processes of their own on 127.0.0.1, with one user, and with no limit of requests; the load comes from
this process and is the same for both, round by round in turns. Counted is the processor time of the server alone, of
all its threads, so that other load on the machine and the speed of the client do not matter.

*Binding*: requests answered. *allocations*: challenge, signed Allocate, signed Refresh with lifetime 0, each from a
socket of its own; three requests each. *relayed*: packets of 200 bytes through one channel, half of them in each
direction.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from icekit import stun
from icekit.attributes import (
    CHANNEL_NUMBER,
    LIFETIME,
    NONCE,
    REALM,
    REQUESTED_TRANSPORT,
    USERNAME,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
)
from icekit.net import Address

HOST = "127.0.0.1"
USER, PASSWORD = "bench", "a password of the benchmark"
CHANNEL = 0x4001
WINDOW = 16
# Below the ports that the kernel gives to clients, which must not meet those of relays.
RELAY_PORTS = (20000, 29999)
# Each client port is used once: coturn remembers one for a while after its allocation was given back (437).
_ports = iter(range(10000, RELAY_PORTS[0]))
COUNTS = {"Binding": 8000, "allocations": 600, "relayed": 12000}


async def serve() -> None:
    """Our server, as ``icekit serve`` runs it, but for the limit of requests of one network."""
    from icekit.aio.server import serve
    from icekit.server import ServerConfig, TurnServerConfig

    turn = TurnServerConfig(
        users={USER: PASSWORD}, relay_ipv4=HOST, allow_peers=("127.0.0.0/8",), relay_ports=RELAY_PORTS
    )
    config = ServerConfig(turn=turn, rate=1e9, burst=1e9)
    async with serve(config, hosts=[HOST], ports=(0,), tcp=False) as server:
        print(json.dumps(server.udp[0].port), flush=True)
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Process:
    """A running server."""

    pid: int
    address: Address

    def processor(self) -> float:
        """Seconds of processor time of all its threads so far."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(item.read_text(encoding="ascii").split()[0]) for item in threads) / 1e9


@contextmanager
def icekit() -> Iterator[Process]:
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Process(process.pid, Address(HOST, json.loads(process.stdout.readline())))
        finally:
            process.send_signal(signal.SIGKILL)


@contextmanager
def coturn() -> Iterator[Process]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        address = Address(*taken.getsockname())
    program = shutil.which("turnserver") or "/usr/sbin/turnserver"
    with tempfile.TemporaryDirectory() as folder:
        options = ["-n", "--no-cli", "--no-tcp", "--no-tls", "--no-dtls", "--lt-cred-mech", "--allow-loopback-peers"]
        options += [f"--listening-ip={HOST}", f"--relay-ip={HOST}", f"--listening-port={address.port}"]
        options += [f"--user={USER}:{PASSWORD}", "--realm=icekit", "--log-file=stdout", f"--pidfile={folder}/pid"]
        options += [f"--userdb={folder}/db", f"--min-port={RELAY_PORTS[0]}", f"--max-port={RELAY_PORTS[1]}"]
        with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield Process(process.pid, address)
            finally:
                process.send_signal(signal.SIGKILL)


def client() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(1.0)
    while True:
        with suppress(OSError):
            made.bind((HOST, next(_ports)))
            return made


def ask(sender: socket.socket, server: Address, message: stun.Message, key: stun.IntegrityKey | None) -> stun.Message:
    """Send until an answer comes."""
    data = message.encode(key)
    for _ in range(5):
        sender.sendto(data, server)
        with suppress(TimeoutError):
            return stun.decode(sender.recv(2048))
    raise TimeoutError(f"{server} does not answer")


def binding(server: Address, count: int) -> int:
    """Requests in windows, so that no buffer overflows."""
    requests = [stun.request(stun.Method.BINDING, os.urandom(12)).encode() for _ in range(WINDOW)]
    answered = 0
    with client() as sender:
        for _ in range(count // WINDOW):
            for data in requests:
                sender.sendto(data, server)
            with suppress(TimeoutError):
                for _ in requests:
                    sender.recv(2048)
                    answered += 1
    return answered


class Allocation:
    """An allocation, made and given back by hand."""

    def __init__(self, server: Address) -> None:
        self.server, self.socket = server, client()
        transport = REQUESTED_TRANSPORT(17)
        challenge = ask(self.socket, server, stun.request(stun.Method.ALLOCATE, os.urandom(12), transport), None)
        realm, nonce = challenge.get(REALM), challenge.get(NONCE)
        assert realm is not None, challenge.error()
        assert nonce is not None
        self.key = stun.long_term_key(USER, realm, PASSWORD)
        self.credential = (USERNAME(USER), REALM(realm), NONCE(nonce))
        relayed = self.signed(stun.Method.ALLOCATE, transport).get(XOR_RELAYED_ADDRESS)
        assert relayed is not None
        self.relayed = relayed

    def signed(self, method: stun.Method, *items: tuple[int, bytes]) -> stun.Message:
        message = stun.request(method, os.urandom(12), *items, *self.credential)
        answer = ask(self.socket, self.server, message, self.key)
        assert answer.message_class is stun.Class.SUCCESS, answer
        return answer

    def release(self) -> None:
        self.signed(stun.Method.REFRESH, LIFETIME(0))
        self.socket.close()


def allocations(server: Address, count: int) -> int:
    for _ in range(count):
        Allocation(server).release()
    return count


def relayed(server: Address, count: int) -> int:
    allocation, through = Allocation(server), 0
    with client() as peer:
        there = Address(*peer.getsockname())
        allocation.signed(stun.Method.CHANNEL_BIND, CHANNEL_NUMBER(CHANNEL), XOR_PEER_ADDRESS(there))
        data = bytes(200)
        framed = stun.ChannelData(CHANNEL, data).encode(padded=False)
        ways = ((allocation.socket, framed, server, peer), (peer, data, allocation.relayed, allocation.socket))
        for turn in range(count // WINDOW):
            sender, payload, target, receiver = ways[turn % 2]
            for _ in range(WINDOW):
                sender.sendto(payload, target)
            with suppress(TimeoutError):
                for _ in range(WINDOW):
                    receiver.recv(2048)
                    through += 1
    allocation.release()
    return through


WORK: dict[str, Callable[[Address, int], int]] = {"Binding": binding, "allocations": allocations, "relayed": relayed}


def measure(server: Process, work: str) -> float:
    """Pieces of work for each second of the server's processor."""
    spent = server.processor()
    done = WORK[work](server.address, COUNTS[work])
    # What it still does for the last one.
    time.sleep(0.05)
    return done / (server.processor() - spent)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    with icekit() as ours, coturn() as theirs:
        for server in (ours, theirs):
            binding(server.address, 4 * WINDOW)
        found = {}
        for work in WORK:
            pairs = [(measure(ours, work), measure(theirs, work)) for _ in range(options.rounds)]
            mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
            found[work] = (mine, other, statistics.median(left / right for left, right in pairs))
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'for each CPU second':20}{'icekit':>10}{'coturn':>10}{'icekit / coturn':>18}")
    for work, (mine, other, ratio) in found.items():
        print(f"{work:20}{mine:10,.0f}{other:10,.0f}{ratio:18.3f}")


if __name__ == "__main__":
    main()
