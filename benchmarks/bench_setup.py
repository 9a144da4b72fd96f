"""Setup time against the limit: when data may flow on the later side, in milliseconds above the oracle.

    python benchmarks/bench_setup.py [--fast] [--no-aioice] [pacing] [silent] [dead] [loss-5] [loss-10]

Virtual time. Five sets of round trips (signaling, server, direct), skews 0 to 300 ms in steps of 15, trickle, one host
address a side; ``tests/ice_world.py`` drives two ``IceSession`` cores, ``icekit.bench.limit`` is the limit under the
same skew, stock aioice runs on ``icekit.sim`` over the same paths, as aiortc drives it (no trickle). For each set the
median and the 99th percentile over the skews; printed are the worst of the five sets. ``--fast``: steps of 60 ms.
Names choose parts: one address a side, two more that swallow packets, a dead server that is asked first (against the
same run without it, in slots of Ta; the worst single run counts), loss.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aioice

from icekit.aio.server import serve
from icekit.bench.limit import Oracle, formulas
from icekit.errors import SimulationTimeLimit
from icekit.ice import IceConfig
from icekit.server import ServerConfig, TurnServerConfig
from icekit.sim import Host, Internet, Link
from tests.ice_world import IceWorld, Network

LOSS_SEEDS = 5
SETS = ((60, 30, 40), (100, 40, 20), (200, 60, 100), (400, 50, 50), (30, 50, 20))


@dataclass(frozen=True)
class Case:
    name: str
    nats: tuple[str | None, str | None]
    turn: bool = False
    relay_only: bool = False


CASES = (
    Case("host–host", (None, None)),
    Case("port-restricted", ("port-restricted", "port-restricted")),
    Case("port-restricted, TURN", ("port-restricted", "port-restricted"), turn=True),
    Case("symmetric–restricted", ("symmetric", "restricted")),
    Case("restricted–symmetric, relay", ("port-restricted", "symmetric"), turn=True),
    Case("relay only", ("port-restricted", "port-restricted"), turn=True, relay_only=True),
)


@dataclass
class Row:
    """Milliseconds above the limit, by set."""

    excess: dict[tuple[int, int, int], list[float]] = field(default_factory=dict)

    def add(self, key: tuple[int, int, int], value: float) -> None:
        self.excess.setdefault(key, []).append(value)

    def worst(self, pick: Callable[[list[float]], float]) -> float:
        return max(pick(values) for values in self.excess.values())

    @property
    def median(self) -> float:
        return self.worst(statistics.median)

    @property
    def tail(self) -> float:
        return self.worst(lambda values: sorted(values)[math.ceil(0.99 * len(values)) - 1])


def limit(case: Case, key: tuple[int, int, int], skew: float) -> float:
    s, t, p = (item / 1000 for item in key)
    return max(Oracle(s, t, p, case.nats, skew=skew, turn=case.turn, relay_only=case.relay_only).run())


def measure(case: Case, key: tuple[float, float, float], skew: float, ta: float, seed: int = 0, **extra: Any) -> float:
    s, t, p = (item / 1000 for item in key)
    network = Network(
        signaling=s,
        server=t,
        direct=p,
        nats=case.nats,
        turn=case.turn,
        relay_only=case.relay_only,
        skew=skew,
        **extra,
    )
    world = IceWorld(network, seed=seed, config=IceConfig(ta=ta))
    world.run(60.0, lambda: world.a.first_valid is not None and world.b.first_valid is not None)
    times = (world.a.first_valid, world.b.first_valid)
    return max(math.inf if when is None else when for when in times)


def measure_aioice(
    case: Case, key: tuple[int, int, int], skew: float, seed: int = 0, loss: float = 0.0, dead_hosts: int = 0
) -> float:
    """When the later ``connect()`` returns; infinity if one fails, or after two minutes."""
    s, t, p = (item / 1000 for item in key)
    access = Link(delay=p / 4, loss=loss / 2)
    net = Internet(seed, limit=120.0)
    server = net.host("server", link=Link(delay=t / 2 - p / 4, loss=loss / 2))
    hosts = []
    for name, nat in zip("ab", case.nats, strict=True):
        if nat is None:
            host = net.host(name, link=access)
        else:
            host = net.network(nat, link=access).host(name)
        for _ in range(dead_hosts):
            net.network(None).attach(host)
        hosts.append(host)
    # Without a NAT no server is configured: aioice would wait for its answer before it offers anything.
    options: dict[str, Any] = {} if case.nats == (None, None) else {"stun_server": (server.address, 3478)}
    if case.turn:
        options |= {"turn_server": (server.address, 3478), "turn_username": "alice", "turn_password": "secret"}
    if case.relay_only:
        options["transport_policy"] = aioice.TransportPolicy.RELAY
    try:
        return net.run(_call(server, hosts[0], hosts[1], s, skew, options))
    except (ConnectionError, SimulationTimeLimit):
        return math.inf


async def _call(server: Host, alice: Host, bob: Host, s: float, skew: float, options: dict[str, Any]) -> float:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    running = server.run(_serve(server.address, ready))
    await ready
    began = loop.time()
    one, other = (
        aioice.Connection(ice_controlling=True, **options),
        aioice.Connection(ice_controlling=False, **options),
    )
    connected: list[float] = []

    async def take(source: aioice.Connection, sink: aioice.Connection) -> None:
        for candidate in source.local_candidates:
            await sink.add_remote_candidate(candidate)
        await sink.add_remote_candidate(None)
        sink.remote_username, sink.remote_password = source.local_username, source.local_password

    async def answer() -> None:
        await take(one, other)
        await other.gather_candidates()
        answered.set_result(loop.time())
        await other.connect()
        connected.append(loop.time() - began)

    async def offer() -> None:
        await one.gather_candidates()
        # The offer is half the signaling time on its way, and B begins late.
        await asyncio.sleep(max(s / 2, s / 2 + skew - (loop.time() - began)))
        task = bob.run(answer())
        await asyncio.sleep(max(0.0, await answered + s / 2 - loop.time()))
        await take(other, one)
        await one.connect()
        connected.append(loop.time() - began)
        await task

    answered: asyncio.Future[float] = loop.create_future()
    try:
        await alice.run(offer())
    finally:
        await alice.run(one.close())
        await bob.run(other.close())
        running.cancel()
    return max(connected)


async def _serve(host: str, ready: asyncio.Future[None]) -> None:
    turn = TurnServerConfig(users={"alice": "secret"}, relay_ipv4=host)
    async with serve(ServerConfig(turn=turn, rate=1e6, burst=1e6), hosts=[host], ports=(3478,), tcp=False):
        ready.set_result(None)
        await asyncio.Event().wait()


def rows(cases: Iterable[Case], skews: Iterable[float], run: Callable[..., float]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for case in cases:
        row = found[case.name] = Row()
        for key in SETS:
            for skew in skews:
                row.add(key, 1000 * (run(case, key, skew) - limit(case, key, skew)))
    return found


def verdict(holds: bool) -> str:
    return "holds" if holds else "MISSED"


def number(value: float) -> str:
    return "   never" if math.isinf(value) else f"{value:8.0f}"


def table(
    title: str, found: dict[str, Row], theirs: dict[str, Row], bars: Callable[[Case], tuple[float, float]] | None
) -> int:
    print(f"\n{title}")
    print(f"{'ms above the limit':28}  median    99 %   bars            aioice: median    99 %")
    missed = 0
    for case in CASES:
        row, other = found[case.name], theirs.get(case.name)
        text = ""
        if bars is not None:
            median, tail = bars(case)
            holds = row.median <= median + 1e-6 and row.tail <= tail + 1e-6
            missed += not holds
            text = f"{median:4.0f} / {'–' if math.isinf(tail) else f'{tail:.0f}':4} {verdict(holds)}"
        stock = f"{number(other.median)}{number(other.tail)}" if other is not None else ""
        print(f"{case.name:28}{number(row.median)}{number(row.tail)}   {text:22} {stock}")
    return missed


def lossy(loss: float, skews: list[float], aioice_too: bool) -> int:
    found, stock = {}, {}
    for case in CASES:
        ours, theirs = found[case.name], stock[case.name] = Row(), Row()
        for key in SETS:
            for skew in skews:
                bound = limit(case, key, skew)
                # Seeds of its own for each skew: what is lost in one run must not be lost in all of them.
                for seed in range(LOSS_SEEDS * round(1000 * skew), LOSS_SEEDS * round(1000 * skew + 1)):
                    ours.add(key, 1000 * (measure(case, key, skew, 0.02, seed, loss=loss) - bound))
                    if aioice_too:
                        theirs.add(key, 1000 * (measure_aioice(case, key, skew, seed, loss) - bound))
    title = f"Ta = 20 ms, {loss:.0%} loss each way, {LOSS_SEEDS} runs for each skew"
    return table(title, found, stock if aioice_too else {}, lambda case: (100, math.inf))


DEAD_BAR = 2.0
# Where no STUN server answers, TURN tells the mapped address two Ta later; a repetition may miss a NAT just opened.
ONLY_BAR = {5: 4.0, 20: math.inf}
# The same run without the dead server and with it.
DEAD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "STUN": ({}, {"dead_server": "stun"}),
    "TURN": ({}, {"dead_server": "turn"}),
    "the only STUN": ({"turn_apart": True}, {"turn_apart": True, "stun": False, "dead_server": "stun"}),
}
DRAWN_TIMES = 50


def dead_servers(title: str, runs: list[tuple[tuple[float, float, float], float]], bar: float) -> int:
    """What a server costs that never answers and comes first in the list, or is the only one for STUN: each run without
    it and with it.
    """
    print(f"\nwhat a dead server costs, in Ta: {title}\n{'':52}  median    99 %   worst   bar for every run")
    missed = 0
    for ta in (5, 20):
        for case in CASES:
            if not case.turn or case.relay_only:
                continue
            for kind, (without, dead) in DEAD.items():
                costs = []
                for key, skew in runs:
                    usual = measure(case, key, skew, ta / 1000, **without)
                    costs.append(1000 * (measure(case, key, skew, ta / 1000, **dead) - usual) / ta)
                costs.sort()
                tail = costs[math.ceil(0.99 * len(costs)) - 1]
                most = max(bar, ONLY_BAR[ta]) if without else bar
                holds = costs[-1] <= most + 1e-6
                missed += not holds
                name = f"Ta = {ta:2} ms, {case.name}, {kind}"
                text = "–" if math.isinf(most) else f"{most:.0f} {verdict(holds)}"
                print(f"{name:52}{statistics.median(costs):8.2f}{tail:8.2f}{costs[-1]:8.2f}   {text}")
    return missed


def drawn(dice: random.Random) -> tuple[tuple[float, float, float], float]:
    """Round trips and a skew that are no whole slots."""
    return (dice.uniform(30, 400), dice.uniform(30, 60), dice.uniform(20, 100)), dice.uniform(0, 0.3)


PARTS = ("pacing", "silent", "dead", "loss-5", "loss-10")


def main(fast: bool, aioice_too: bool, parts: set[str]) -> int:
    began = time.perf_counter()
    step = 60 if fast else 15
    skews = [ms / 1000 for ms in range(0, 301, step)]
    for case in CASES:
        for key in SETS:
            assert abs(limit(case, key, 0.0) - max(formulas(case.name, *(ms / 1000 for ms in key)))) < 1e-6
    print(f"the oracle equals the formulas without skew ({len(CASES) * len(SETS)} of {len(CASES) * len(SETS)})")
    missed = 0
    if "pacing" in parts:
        stock = rows(CASES, skews, measure_aioice) if aioice_too else {}
        for ta in (5, 20, 50):
            found = rows(CASES, skews, lambda case, key, skew, ta=ta: measure(case, key, skew, ta / 1000))

            def bars(case: Case, ta: int = ta) -> tuple[float, float]:
                return (5 if case.turn else 3) * ta, 6 * ta

            missed += table(f"Ta = {ta} ms", found, stock, bars if ta < 50 else None)
    if "silent" in parts:
        stock = rows(CASES, skews, lambda *run: measure_aioice(*run, dead_hosts=2)) if aioice_too else {}
        for ta in (5, 20, 50):
            found = rows(CASES, skews, lambda case, key, skew, ta=ta: measure(case, key, skew, ta / 1000, dead_hosts=2))
            title = f"Ta = {ta} ms, two addresses a side that swallow packets"
            missed += table(title, found, stock, (lambda case: (50, 80)) if ta == 5 else None)
    if "dead" in parts:
        swept = [((s, t, p), skew) for s, t, p in SETS for skew in skews]
        missed += dead_servers(f"{len(swept)} runs each", [*swept], DEAD_BAR)
        dice = random.Random("dead")
        times = [drawn(dice) for _ in range(DRAWN_TIMES)]
        missed += dead_servers(f"{DRAWN_TIMES} runs each, times drawn at random", times, math.inf)
    for percent in (5, 10):
        if f"loss-{percent}" in parts:
            missed += lossy(percent / 100, skews, aioice_too)
    print(f"\n{missed} bars missed, {time.perf_counter() - began:.0f} s")
    return min(missed, 1)


if __name__ == "__main__":
    chosen = {argument for argument in sys.argv[1:] if not argument.startswith("--")}
    if unknown := chosen - {*PARTS}:
        sys.exit(f"no part {', '.join(sorted(unknown))}; parts: {' '.join(PARTS)}")
    sys.exit(main("--fast" in sys.argv, "--no-aioice" not in sys.argv, chosen or {*PARTS}))
