"""Calls on real sockets: every engine as a program in the namespaces of a laboratory, with coturn. Linux, root."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

from icekit.bench.call import CallConfig, call
from icekit.bench.engines import ENGINES
from icekit.bench.measure import Observed, call_config, sample
from icekit.bench.networks import Network, read_network
from icekit.bench.packets import Watch
from icekit.bench.program import Program
from icekit.bench.samples import Sample, Setting
from icekit.errors import ConfigError, ProgramError
from icekit.lab.namespaces import check_privileges
from icekit.lab.servers import USERNAME, running_servers
from icekit.lab.tun_lab import SERVER_ADDRESSES, TunLab
from icekit.sim.link import Link

NOBODY: Final = "203.0.113.99"
_PASSWORD = "password"  # noqa: S105  # of a server that exists only here
# Seconds: until a call has failed; how long a pair has to stay.
_FAILS_AFTER, _SETTLED_AFTER = 15.0, 0.25
_GIVES_UP_AFTER = 2


def check(settings: Iterable[Setting]) -> None:
    """ConfigError for what the laboratory cannot do, in a sentence."""
    check_privileges()
    for setting in settings:
        if setting.engine not in ENGINES:
            raise ConfigError(f"there is no engine {setting.engine!r}; there are {', '.join(ENGINES)}")
        ENGINES[setting.engine].command()
        if setting.gathered:
            raise ConfigError("--gathered: programs gather when a call begins; the simulator can do it before")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One sample to take."""

    setting: Setting
    number: int


def measure(
    runs: Sequence[Run], *, seed: int, take: Callable[[Sample], None], told: Callable[[Mapping[str, str]], None]
) -> None:
    """Take the samples in their order, laboratory by laboratory; ``take`` gets each, ``told`` the engines' versions.

    The programs of a laboratory stay for all its calls; before those, each makes one that is not counted. An engine
    that fails twice in a row in a setting is not asked for it again.
    """
    for (network, dead_interface), share in _by_laboratory(runs).items():
        _measure_one(read_network(network), dead_interface, share, seed, take, told)


def _by_laboratory(runs: Sequence[Run]) -> dict[tuple[str, bool], list[Run]]:
    shares: dict[tuple[str, bool], list[Run]] = {}
    for run in runs:
        shares.setdefault((run.setting.network, run.setting.dead == "interface"), []).append(run)
    return shares


def _measure_one(
    network: Network,
    dead_interface: bool,
    runs: Sequence[Run],
    seed: int,
    take: Callable[[Sample], None],
    told: Callable[[Mapping[str, str]], None],
) -> None:
    bench = _Bench(network, seed, take)
    with ExitStack() as stack:
        bench.lab = stack.enter_context(
            TunLab((network.a, network.b), seed=seed, dead_interface=dead_interface, see=bench.see)
        )
        stack.enter_context(running_servers(bench.lab.server, SERVER_ADDRESSES, _PASSWORD, coturn=True))
        asyncio.run(bench.run(runs, told))


@dataclass(eq=False, slots=True)
class _Pair:
    """The two programs of an engine; started when they are wanted, and again after they broke."""

    engine: str
    bench: _Bench
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    programs: tuple[Program, Program] | None = None

    async def start(self) -> tuple[Program, Program]:
        if self.programs is None:
            one, other = (
                Program(self.engine, ENGINES[self.engine].command(), namespace=client.namespace)
                for client in self.bench.lab.clients
            )
            entering = (self.stack.enter_async_context(item) for item in (one, other))
            # Both have started or failed before a failure is told: none comes up behind the back of the stack.
            for started in await asyncio.gather(*entering, return_exceptions=True):
                if isinstance(started, BaseException):
                    raise started
            self.programs = one, other
        return self.programs

    async def stop(self) -> None:
        stack, self.stack, self.programs = self.stack, AsyncExitStack(), None
        await stack.aclose()


class _Bench:
    """The calls of one laboratory."""

    lab: TunLab

    def __init__(self, network: Network, seed: int, take: Callable[[Sample], None]) -> None:
        self._network = network
        self._seed = seed
        self._take = take
        self._watch = Watch(servers=())
        self._link: float | None = None

    def see(self, packet: bytearray, now: float) -> None:
        """A client sends a packet."""
        self._watch.see_packet(packet, now)

    async def run(self, runs: Sequence[Run], told: Callable[[Mapping[str, str]], None]) -> None:
        pairs = {name: _Pair(name, self) for name in dict.fromkeys(run.setting.engine for run in runs)}
        failed: dict[Setting, int] = {}
        try:
            # Most of it is loading the stacks, for which there are as many cores as there are.
            await asyncio.gather(*(pair.start() for pair in pairs.values()))
            for name, pair in pairs.items():
                await self._warm_up(pair, next(run.setting for run in runs if run.setting.engine == name))
            told({name: pair.programs[0].ready.version for name, pair in pairs.items() if pair.programs is not None})
            for run in runs:
                if failed.get(run.setting, 0) >= _GIVES_UP_AFTER:
                    continue
                found = await self._measure(pairs[run.setting.engine], run)
                failed[run.setting] = 0 if found.failure is None else failed.get(run.setting, 0) + 1
                self._take(found)
        finally:
            await asyncio.gather(*(pair.stop() for pair in pairs.values()), return_exceptions=True)

    async def _warm_up(self, pair: _Pair, setting: Setting) -> None:
        """What a stack does once in its life is not a part of a call."""
        easy = replace(setting, rtt=0.0, loss=0.0, dead=None, signaling=0.0, trickle=True)
        self._set_links(easy)
        try:
            await call(*await pair.start(), replace(self._config(easy), fails_after=2.0, settled_after=0.0))
        except ProgramError:
            await pair.stop()

    async def _measure(self, pair: _Pair, run: Run) -> Sample:
        self._set_links(run.setting)
        self._watch = Watch(servers=(*SERVER_ADDRESSES, NOBODY))
        try:
            observed = Observed(await call(*await pair.start(), self._config(run.setting)), self._watch)
        except ProgramError as error:
            observed = Observed(str(error), self._watch)
            await pair.stop()
        return sample(run.setting, run.number, self._seed, observed)

    def _config(self, setting: Setting) -> CallConfig:
        config = call_config(setting, self._network, SERVER_ADDRESSES[0], NOBODY, USERNAME, _PASSWORD)
        return replace(config, fails_after=_FAILS_AFTER, settled_after=_SETTLED_AFTER, checks_again=not setting.loss)

    def _set_links(self, setting: Setting) -> None:
        # Every path, to the peer or to a server, crosses two links.
        link = Link(delay=setting.rtt / 4, loss=1 - math.sqrt(1 - setting.loss))
        self.lab.set_links(link, link)


def interleaved(settings: Sequence[Setting], runs: int) -> Iterator[Run]:
    """Every setting ``runs`` times: those of one condition take turns, so that they meet the same machine."""
    conditions: dict[str, list[Setting]] = {}
    for setting in settings:
        conditions.setdefault(setting.condition, []).append(setting)
    for share in conditions.values():
        for number in range(runs):
            for setting in share:
                yield Run(setting=setting, number=number)
