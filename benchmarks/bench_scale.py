"""1,000 agents in one process on one core: memory, CPU, and what they cost the next pair. icekit beside stock aioice.

    python benchmarks/bench_scale.py [--agents 1000] [--arrivals 200] [--engine icekit|aioice] [--profile] [--json]

Real sockets on 127.0.0.1; each engine is a process of its own, pinned to one core. A pair is two agents that are made,
gather, exchange everything through memory and connect; its setup time ends when both sides have a valid pair.

1. *alone*: pairs arrive at 10 a second in a process that has nothing else to do, and leave at once.
2. *at once*: all agents start in the same instant, and the time until the last one is connected counts.
3. *steady*: nobody does anything; what is left are the consent checks (RFC 7675), each 4 to 6 s for each agent.
4. *in company*: pairs arrive at 10 a second as in 1, and all agents of 2 must still be connected afterwards.

Of 200 pairs two or three make the 99th percentile, and on a virtual machine they are those during which the host gave
the core to somebody else. The kernel knows when it did (steal time, proc(5)): in 1 and 4 such pairs are counted and
left out, and if they are more than half there is no percentile.

RFC 8445 §14.2 lets all agents of a process together start a transaction each 5 ms. A pair of host candidates needs
three: a check of each side, and the nomination. So n pairs at once have valid pairs after 10 ms × n at the earliest,
and 10 pairs a second use 15 % of the slots. Consent checks are outside of it: §14 paces gathering and connectivity
checks, RFC 7675 §5.1 has its own interval, randomised. aioice paces each agent by itself, so that many at once are
faster than the RFC allows.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
INTERVAL = 0.1
STEADY = 12.0
BAR = 2.0
SLOTS_UNTIL_VALID = 2
SLOT = 0.005


def maker(engine: str) -> Callable[[bool], Any]:
    """What makes one agent: with host candidates of one address, as both libraries can have them."""
    if engine == "icekit":
        from icekit.aio.connection import IceConnection

        return lambda role: IceConnection(role, use_ipv6=False, ice_servers=[], local_addresses=[HOST])
    import aioice.ice

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [HOST]
    return lambda role: aioice.Connection(role, use_ipv6=False)


async def connect(make: Callable[[bool], Any]) -> tuple[float, tuple[Any, Any]]:
    """A pair, and the seconds until both sides were connected."""
    began = perf_counter()
    one, other = make(True), make(False)
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    for source, sink in ((one, other), (other, one)):
        sink.remote_username, sink.remote_password = source.local_username, source.local_password
        for candidate in source.local_candidates:
            await sink.add_remote_candidate(candidate)
        await sink.add_remote_candidate(None)
    await asyncio.gather(one.connect(), other.connect())
    return perf_counter() - began, (one, other)


def stolen() -> int:
    """Ticks of 10 ms that the host has kept this process's one core from us, ever since it began."""
    (core,) = os.sched_getaffinity(0)
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[8]) for line in lines if line.startswith(f"cpu{core} "))


async def arrive(make: Callable[[bool], Any], count: int) -> list[float | None]:
    """Setup times of pairs that come one each ``INTERVAL``, whatever becomes of those before.

    ``None``: the host had the core meanwhile.
    """

    async def one() -> float | None:
        before = stolen()
        took, pair = await connect(make)
        interrupted = stolen() != before
        for agent in pair:
            await agent.close()
        return None if interrupted else took

    loop = asyncio.get_running_loop()
    began = loop.time()
    tasks = []
    for number in range(count):
        await asyncio.sleep(began + number * INTERVAL - loop.time())
        tasks.append(asyncio.create_task(one()))
    return await asyncio.gather(*tasks)


def resident() -> int:
    """Bytes of memory that this process has now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def spread(times: Sequence[float | None]) -> dict[str, float | None]:
    """Median and 99th percentile in milliseconds, and how many the host had interrupted."""
    seconds = [took for took in times if took is not None]
    if 2 * len(seconds) < len(times):
        return {"p50": None, "p99": None, "interrupted": len(times) - len(seconds)}
    return {
        "p50": 1e3 * statistics.median(seconds),
        "p99": 1e3 * statistics.quantiles(seconds, n=100, method="inclusive")[98],
        "interrupted": len(times) - len(seconds),
    }


async def measure(engine: str, agents: int, arrivals: int, profile: bool) -> dict[str, Any]:
    """All four parts."""
    make = maker(engine)
    await arrive(make, 5)
    alone = await arrive(make, arrivals)
    gc.collect()
    memory, cpu, began = resident(), process_time(), perf_counter()
    made = await asyncio.gather(*(connect(make) for _ in range(agents // 2)))
    at_once, cpu = perf_counter() - began, process_time() - cpu
    gc.collect()
    memory = resident() - memory
    # Nominations are over, paths are measured, and the first consent checks have spread.
    await asyncio.sleep(15.0)
    recorded = cProfile.Profile()
    if profile:
        recorded.enable()
    idle = process_time()
    await asyncio.sleep(STEADY)
    idle = (process_time() - idle) / STEADY
    if profile:
        recorded.disable()
        pstats.Stats(recorded, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    company = await arrive(make, arrivals)
    kept = await asyncio.gather(*(talks(*pair) for _, pair in made))
    for _, pair in made:
        for agent in pair:
            await agent.close()
    first, then = spread(alone), spread(company)
    return {
        "alone": first,
        "company": then,
        "ratio": None if first["p99"] is None or then["p99"] is None else then["p99"] / first["p99"],
        "at_once": at_once,
        "at_once_cpu": cpu,
        "at_once_each": spread([took for took, _ in made]),
        "memory": memory / agents,
        "cpu": idle / agents,
        "kept": 2 * sum(kept),
    }


async def talks(one: Any, other: Any) -> bool:
    """Whether data still crosses in both directions."""
    try:
        async with asyncio.timeout(5.0):
            for sender, receiver in ((one, other), (other, one)):
                await sender.send(b"still here")
                if await receiver.recv() != b"still here":
                    return False
    except (TimeoutError, ConnectionError):
        return False
    return True


def run(engine: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one engine, from a process of its own."""
    command = [sys.executable, __file__, "--engine", engine, "--json"]
    command += ["--agents", str(options.agents), "--arrivals", str(options.arrivals)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def show(found: dict[str, dict[str, Any]], agents: int, arrivals: int) -> int:
    """The table, and 1 if a bar is missed."""
    rows: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "setup alone, p50, ms": lambda item: item["alone"]["p50"],
        "setup alone, p99, ms": lambda item: item["alone"]["p99"],
        "setup in company, p50, ms": lambda item: item["company"]["p50"],
        "setup in company, p99, ms": lambda item: item["company"]["p99"],
        "p99 in company / alone": lambda item: item["ratio"],
        "interrupted by the host": lambda item: item["alone"]["interrupted"] + item["company"]["interrupted"],
        "all at once, s": lambda item: item["at_once"],
        "  of it CPU, s": lambda item: item["at_once_cpu"],
        "  median pair, s": lambda item: item["at_once_each"]["p50"] / 1e3,
        "memory of an agent, kB": lambda item: item["memory"] / 1e3,
        "CPU of an agent, µs/s": lambda item: 1e6 * item["cpu"],
        "agents still connected": lambda item: item["kept"],
    }
    print(f"{agents} agents, {arrivals} pairs arriving at {1 / INTERVAL:.0f} a second, one core")
    print(f"{'':28}" + "".join(f"{name:>10}" for name in found))
    for row, pick in rows.items():
        shown = ("–" if (value := pick(figures)) is None else f"{value:.2f}" for figures in found.values())
        print(f"{row:28}" + "".join(f"{text:>10}" for text in shown))
    ours = found["icekit"]
    ratio, floor = ours["ratio"], agents // 2 * SLOTS_UNTIL_VALID * SLOT
    measured = "not measured: the host interrupted most pairs" if ratio is None else f"{ratio:.2f}"
    print(f"scale_setup_p99_ratio {measured} (at most {BAR})")
    print(f"scale_connected {ours['kept']} (all {agents})")
    print(f"scale_at_once {ours['at_once']:.2f} s (the shared pace alone takes {floor:.2f} s)")
    return 0 if ratio is not None and ratio <= BAR and ours["kept"] == agents else 1


def main() -> int:
    """Both engines, or the one that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--arrivals", type=int, default=200)
    parser.add_argument("--engine", choices=("icekit", "aioice"))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.engine is None:
        found = {engine: run(engine, options) for engine in ("icekit", "aioice")}
        if options.json:
            print(json.dumps(found))
            return 0
        return show(found, options.agents, options.arrivals)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * options.agents + 1000
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures = asyncio.run(measure(options.engine, options.agents, options.arrivals, options.profile))
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
