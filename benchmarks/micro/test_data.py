"""Data over a connected pair: CPU time for each datagram, icekit beside stock aioice.

Two connections of each kind in this process, over real sockets of this host; ``send`` on one, ``recv`` on the other,
datagrams of 1,000 bytes. *one by one*: the next is sent when the last has arrived, as in a game; *bursts*: ten at a
time, as in video.

asyncio asks for 256 KiB of memory for each datagram that it receives. Whether glibc has them at hand (*heap*) or maps
them anew each time (*mapped*, 30 microseconds more) hangs on what the process has allocated before; so it is set here.
icekit's sockets ask for less and do not care; *heap* is the best that aioice can have.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator
from typing import Any

import aioice
import pytest

from benchmarks.micro.conftest import Beside
from icekit.aio.connection import IceConnection

COUNT = 500
DATA = bytes(1000)

# mallopt(3): M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in bytes. Of the second 128 KiB is the default, at first.
TRIM, MAP = -1, -3
ALLOCATOR = {"heap": (1 << 30, 1 << 24), "mapped": (128 << 10, 128 << 10)}
BARS = {"heap": 1.5, "mapped": 1.0}

Pairs = tuple[asyncio.Runner, list[Any], list[Any]]


async def connect(one: Any, other: Any) -> None:
    """Exchange everything through memory, as both libraries can."""
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    for source, sink in ((one, other), (other, one)):
        sink.remote_username, sink.remote_password = source.local_username, source.local_password
        for candidate in source.local_candidates:
            await sink.add_remote_candidate(candidate)
        await sink.add_remote_candidate(None)
    await asyncio.gather(one.connect(), other.connect())


async def send(pair: list[Any], burst: int) -> None:
    sender, receiver = pair
    for _ in range(COUNT // burst):
        for _ in range(burst):
            await sender.send(DATA)
        for _ in range(burst):
            await receiver.recv()


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    async def connected() -> tuple[list[Any], list[Any]]:
        ours: list[Any] = [IceConnection(role, use_ipv6=False, ice_servers=[]) for role in (True, False)]
        theirs: list[Any] = [aioice.Connection(role, use_ipv6=False) for role in (True, False)]
        await connect(*ours)
        await connect(*theirs)
        await ours[0].settled()
        return ours, theirs

    async def closed(connections: list[Any]) -> None:
        for connection in connections:
            await connection.close()

    with asyncio.Runner() as runner:
        ours, theirs = runner.run(connected())
        yield runner, ours, theirs
        runner.run(closed(ours + theirs))


@pytest.mark.parametrize("burst", [1, 10], ids=["one by one", "bursts"])
@pytest.mark.parametrize("memory", ["heap", "mapped"])
def test_datagrams(beside: Beside, pairs: Pairs, memory: str, burst: int) -> None:
    runner, ours, theirs = pairs
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        pytest.skip("no glibc")
    for what, threshold in zip((TRIM, MAP), ALLOCATOR[memory], strict=True):
        mallopt(what, threshold)
    beside(
        lambda: runner.run(send(ours, burst)),
        lambda: runner.run(send(theirs, burst)),
        units=COUNT,
        rival="aioice",
        unit="datagram",
        bar=BARS[memory],
        rounds=30,
    )
