"""Data over a connected pair: CPU time for each datagram, icekit against stock aioice in the same run.

    python benchmarks/bench_data.py [--profile]

Two connections of each kind in this process, over real sockets of this host; ``send`` on one, ``recv`` on the other,
1,000 datagrams of 1,000 bytes a round. *one by one*: the next is sent when the last has arrived, as in a game;
*bursts*: ten at a time, as in video. The two kinds take turns and CPU time counts; of each the best round, because
other load on the machine makes code slower, and longer code more so. ``--profile`` prints where icekit spends it.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
from time import process_time
from typing import Any

import aioice

from icekit.aio.connection import IceConnection

REQUIRED = 1.5
ROUNDS = 40
COUNT = 1000
DATA = bytes(1000)
PATTERNS = {"one by one": 1, "bursts": 10}


async def connect(one: Any, other: Any) -> None:
    """Exchange everything through memory, as both libraries can."""
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    for source, sink in ((one, other), (other, one)):
        sink.remote_username, sink.remote_password = source.local_username, source.local_password
        for candidate in source.local_candidates:
            await sink.add_remote_candidate(candidate)
        await sink.add_remote_candidate(None)
    await asyncio.gather(one.connect(), other.connect())


async def measure(sender: Any, receiver: Any, burst: int) -> float:
    """Microseconds of CPU for each datagram."""
    began = process_time()
    for _ in range(COUNT // burst):
        for _ in range(burst):
            await sender.send(DATA)
        for _ in range(burst):
            await receiver.recv()
    return 1e6 * (process_time() - began) / COUNT


async def main(profile: bool) -> int:
    ours = [IceConnection(ice_controlling=role, use_ipv6=False, ice_servers=[]) for role in (True, False)]
    theirs = [aioice.Connection(ice_controlling=role, use_ipv6=False) for role in (True, False)]
    await connect(*ours)
    await connect(*theirs)
    await ours[0].settled()
    missed = 0
    try:
        if profile:
            with cProfile.Profile() as recorded:
                await measure(ours[0], ours[1], 1)
            pstats.Stats(recorded).sort_stats("tottime").print_stats(25)
        print(f"{'us of CPU a datagram':24}icekit  aioice   ratio   at most {REQUIRED}")
        for name, burst in PATTERNS.items():
            pairs = [(await measure(*ours, burst), await measure(*theirs, burst)) for _ in range(ROUNDS)]
            mine, stock = (min(column) for column in zip(*pairs, strict=True))
            ratio = mine / stock
            missed += ratio > REQUIRED
            verdict = "MISSED" if ratio > REQUIRED else "holds"
            print(f"{name:24}{mine:6.1f}  {stock:6.1f}  {ratio:6.2f}   {verdict}")
    finally:
        for connection in (*ours, *theirs):
            await connection.close()
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(asyncio.run(main("--profile" in sys.argv)))
