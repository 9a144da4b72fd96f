"""Calls on one machine, where no network is waited for: what the programs themselves take, engines side by side.

    python benchmarks/bench_host.py [--runs 20] [ENGINE …]

Two processes an engine, calls in turn, as ``tests/interop/test_stacks.py`` makes them; medians in milliseconds from the
start of both to the offer, the answer, *connected* and *open* on the later side, and the CPU time of both for a call.
``ratio`` is icekit's time divided by the engine's. *floor* is an asyncio program that sends the same lines of signaling
and as many datagrams in as many flights, and computes nothing: no ICE, no DTLS, no SCTP, no SDP. Other work on the
machine is felt most by what runs longest: ``chrt -r 1`` before the command keeps it out.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from icekit.bench.call import CallConfig, CallReport, call
from icekit.bench.engines import ENGINES
from icekit.bench.lines import Start, TrickledCandidate
from icekit.bench.program import Program
from icekit.bench.programs.stdio import GREETING, Pair, Voice, run

FLOOR = "floor"
DEFAULT = ("icekit", "wrtc", "libdatachannel", "icekit_ice", "aiortc", FLOOR)
# Of the length of a description and of the flights of DTLS and SCTP.
DESCRIPTION = "v=0\r\na=x:" + 800 * "y" + "\r\na=port:"
FLIGHTS = (169, 781, 659, 75, 109, 137, 53)
COLUMNS = ("offer", "answer", "connected", "open", "CPU")


class FloorPeer(asyncio.DatagramProtocol):
    """Flights by their length: the answering side sends the first, each is answered by the next."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.offers = False
        self.valid = False
        self.peer = ("", 0)
        self.transport: Any = None

    async def start(self, start: Start) -> None:
        self.offers = start.role == "offer"
        if self.offers:
            await self.tell("offer")

    async def tell(self, kind: str) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        port = self.transport.get_extra_info("sockname")[1]
        self.voice.described(kind, f"{DESCRIPTION}{port}\r\n")
        for text in (2 * [f"candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host"]) + [""]:
            self.voice.candidate(text, "0", 0)

    async def describe(self, kind: str, sdp: str) -> None:
        self.peer = ("127.0.0.1", int(sdp.removeprefix(DESCRIPTION)))
        if kind == "offer":
            await self.tell("answer")
            self.transport.sendto(b"check", self.peer)

    async def add_candidate(self, item: TrickledCandidate) -> None:
        pass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peer = addr
        if data == b"check":
            self.transport.sendto(b"valid", addr)
            if not self.valid:
                self.transport.sendto(b"check", addr)
        elif data == b"valid":
            self.valid = True
            self.voice.state("ice", "connected")
            if not self.offers:
                self.fly(0)
        elif len(data) in FLIGHTS:
            self.fly(FLIGHTS.index(len(data)) + 1)
        else:
            if not self.offers:
                self.transport.sendto(data, addr)
            self.voice.echoed(data.decode())

    def fly(self, number: int) -> None:
        if number >= len(FLIGHTS) - 2:
            self.voice.opened()
        if number < len(FLIGHTS):
            self.transport.sendto(bytes(FLIGHTS[number]), self.peer)
        else:
            self.send(GREETING)

    def send(self, text: str) -> None:
        self.transport.sendto(text.encode(), self.peer)

    async def pair(self) -> Pair | None:
        return None

    async def close(self) -> None:
        self.transport.close()


def command(name: str) -> list[str]:
    return [sys.executable, __file__, "--floor"] if name == FLOOR else ENGINES[name].command()


def cpu(program: Program) -> float:
    """Seconds of CPU that its threads have used."""
    files = Path(f"/proc/{program.pid}/task").glob("*/schedstat")
    return sum(int(file.read_text(encoding="ascii").split()[0]) for file in files) / 1e9


def row(report: CallReport, used: float) -> tuple[float, ...]:
    assert report.offerer.described is not None
    assert report.answerer.described is not None
    assert report.connected is not None
    assert report.opened is not None
    return report.offerer.described, report.answerer.described, report.connected, report.opened, used


async def measure(names: Sequence[str], runs: int) -> dict[str, list[tuple[float, ...]]]:
    config = CallConfig(settled_after=0.05, settles_within=0.1)
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    async with AsyncExitStack() as stack:
        sides = {
            name: [await stack.enter_async_context(Program(name, command(name))) for _ in range(2)] for name in names
        }
        for number in range(runs + 1):
            for name, (one, other) in sides.items():
                before = cpu(one) + cpu(other)
                report = await call(one, other, config)
                # The first call of a program loads what it needs.
                if number and report.failure is None:
                    rows[name].append(row(report, cpu(one) + cpu(other) - before))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=DEFAULT, metavar="ENGINE", help=", ".join((*ENGINES, FLOOR)))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor:
        run(FLOOR, "0", FloorPeer)
        return
    names = tuple(dict.fromkeys(("icekit", *arguments.engines)))
    rows = asyncio.run(measure(names, arguments.runs))
    medians = {name: [statistics.median(column) for column in zip(*made, strict=True)] for name, made in rows.items()}
    print(f"{'ms':16}" + "".join(f"{name:>11}" for name in COLUMNS) + "   ratio connected, open")
    for name, values in medians.items():
        ratios = [mine / theirs for mine, theirs in zip(medians["icekit"], values, strict=True)][2:4]
        print(
            f"{name:16}"
            + "".join(f"{1e3 * value:11.1f}" for value in values)
            + "   "
            + "  ".join(map("{:.2f}".format, ratios))
        )


if __name__ == "__main__":
    main()
