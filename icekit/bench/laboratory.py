"""Calls on real sockets: every engine as a program in the namespaces of a laboratory, with coturn. Linux, root."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

from icekit.bench.call import CallConfig, call
from icekit.bench.engines import OwnEngine, engine_of
from icekit.bench.measure import ICE_ONLY, Observed, Orders, by_condition, call_config, sample
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
# Seconds: until a call has failed, and until it has failed again; how long a pair has to stay.
_FAILS_AFTER, _FAILS_SOON, _SETTLED_AFTER = 15.0, 8.0, 0.25
_GIVES_UP_AFTER, _LEAST_RUNS, _WARM_UPS = 2, 3, 2


def check(settings: Iterable[Setting], own: Mapping[str, OwnEngine] | None = None) -> None:
    """ConfigError for what the laboratory cannot do, in a sentence."""
    check_privileges()
    for setting in settings:
        engine_of(setting.engine, own or {}).command()
        if setting.gathered:
            raise ConfigError("--gathered: programs gather when a call begins; the simulator can do it before")
        if setting.media and setting.engine in ICE_ONLY:
            raise ConfigError(f"--media: {setting.engine} is ICE only and has no sound; leave it out, or --media")


def measure_all(settings: Sequence[Setting], orders: Orders) -> None:
    """Take the samples, laboratory by laboratory; settings that ``check`` has passed.

    The programs of a laboratory stay for all its calls; before those, each makes two that are not counted. Engines take
    turns, so that those of one condition meet the same machine. One that fails twice in a row in a condition is not
    asked for it again.
    """
    began, conditions = time.monotonic(), len({setting.condition for setting in settings})
    done = 0
    for (network, dead_interface), share in _by_laboratory(settings).items():
        parts = by_condition(share)
        ends = [began + (orders.until - began) * (done + number) / conditions for number in range(1, len(parts) + 1)]
        done += len(parts)
        _measure_in(_Bench(read_network(network), orders), dead_interface, list(zip(parts, ends, strict=True)))


def _measure_in(bench: _Bench, dead_interface: bool, parts: Sequence[tuple[Sequence[Setting], float]]) -> None:
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        with ExitStack() as stack:
            bench.lab = stack.enter_context(
                TunLab(bench.nats, seed=bench.seed, dead_interface=dead_interface, see=bench.see)
            )
            stack.enter_context(running_servers(bench.lab.server, SERVER_ADDRESSES, _PASSWORD, coturn=True))
            # Runs first: nothing may disturb the removal.
            stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)
            asyncio.run(bench.run(parts))
    finally:
        signal.signal(signal.SIGINT, interrupts)


def _by_laboratory(settings: Sequence[Setting]) -> dict[tuple[str, bool], list[Setting]]:
    shares: dict[tuple[str, bool], list[Setting]] = {}
    for setting in settings:
        shares.setdefault((setting.network, setting.dead == "interface"), []).append(setting)
    return shares


@dataclass(eq=False, slots=True)
class _Pair:
    """The two programs of an engine; started when they are wanted, and again after they broke."""

    engine: str
    bench: _Bench
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    programs: tuple[Program, Program] | None = None
    # Why the caller's program has not started the first time.
    refusal: ProgramError | None = None
    was_ready: bool = False

    async def start(self) -> tuple[Program, Program]:
        if self.refusal is not None:
            # It has half a minute to become ready, which nobody wants to wait for in every run.
            raise self.refusal
        try:
            programs = await self._started()
        except ProgramError as error:
            if self.engine in self.bench.own and not self.was_ready:
                self.refusal = error
                self.bench.refused(str(error))
            raise
        self.was_ready = True
        return programs

    async def _started(self) -> tuple[Program, Program]:
        if self.programs is None:
            command = engine_of(self.engine, self.bench.own).command()
            one, other = (
                Program(self.engine, command, namespace=client.namespace) for client in self.bench.lab.clients
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

    def __init__(self, network: Network, orders: Orders) -> None:
        self.nats = (network.a, network.b)
        self.seed = orders.seed
        self.own, self.refused = orders.own, orders.refused
        self._network = network
        self._orders = orders
        self._watch = Watch(servers=())

    def see(self, packet: bytearray, now: float) -> None:
        """A client sends a packet."""
        self._watch.see_packet(packet, now)

    async def run(self, conditions: Sequence[tuple[Sequence[Setting], float]]) -> None:
        """All settings of each condition, and until when it gets more than the least number of runs."""
        names = dict.fromkeys(setting.engine for settings, _ in conditions for setting in settings)
        pairs = {name: _Pair(name, self) for name in names}
        try:
            # Most of it is loading the stacks, for which there are as many cores as there are.
            await asyncio.gather(*(pair.start() for pair in pairs.values()), return_exceptions=True)
            for pair in pairs.values():
                await self._warm_up(pair, replace(conditions[0][0][0], media=False))
            versions = {name: pair.programs[0].ready.version for name, pair in pairs.items() if pair.programs}
            self._orders.told(versions)
            knows_sound = False
            for settings, until in conditions:
                if settings[0].media and not knows_sound:
                    knows_sound = True
                    for setting in settings:
                        await self._warm_up(pairs[setting.engine], setting)
                self._orders.begins(settings[0])
                await self._take_turns(settings, pairs, until)
        finally:
            await asyncio.gather(*(pair.stop() for pair in pairs.values()), return_exceptions=True)

    async def _take_turns(self, settings: Sequence[Setting], pairs: Mapping[str, _Pair], until: float) -> None:
        failed = dict.fromkeys(settings, 0)
        for number in range(self._orders.runs):
            if time.monotonic() > until and number >= _LEAST_RUNS:
                return
            for setting in settings:
                if failed[setting] < _GIVES_UP_AFTER:
                    # Where nothing is lost it goes as it went before.
                    fails_after = _FAILS_SOON if failed[setting] and not setting.loss else _FAILS_AFTER
                    found = await self._measure(pairs[setting.engine], setting, number, fails_after)
                    failed[setting] = 0 if found.failure is None else failed[setting] + 1
                    self._orders.take(found)

    async def _warm_up(self, pair: _Pair, setting: Setting) -> None:
        """What a stack does once in its life is not a part of a call."""
        easy = replace(setting, engine=pair.engine, rtt=0.0, loss=0.0, dead=None, signaling=0.0, trickle=True)
        self._set_links(easy)
        config = replace(self._config(easy, fails_after=2.0), settled_after=0.0)
        try:
            for _ in range(_WARM_UPS):
                if (await call(*await pair.start(), config)).failure is not None:
                    return
        except ProgramError:
            await pair.stop()

    async def _measure(self, pair: _Pair, setting: Setting, number: int, fails_after: float) -> Sample:
        self._set_links(setting)
        self._watch = Watch(servers=(*SERVER_ADDRESSES, NOBODY))
        try:
            programs = await pair.start()
            observed = Observed(await call(*programs, self._config(setting, fails_after)), self._watch)
        except ProgramError as error:
            observed = Observed(str(error), self._watch)
            await pair.stop()
        return sample(setting, number, self._orders.seed, observed)

    def _config(self, setting: Setting, fails_after: float) -> CallConfig:
        config = call_config(setting, self._network, SERVER_ADDRESSES[0], NOBODY, USERNAME, _PASSWORD)
        return replace(config, fails_after=fails_after, settled_after=_SETTLED_AFTER, checks_again=not setting.loss)

    def _set_links(self, setting: Setting) -> None:
        # Every path, to the peer or to a server, crosses two links.
        link = Link(delay=setting.rtt / 4, loss=1 - math.sqrt(1 - setting.loss))
        self.lab.set_links(link, link)
