"""Calls in the simulator: the programs' own peers on simulated hosts, in virtual time; equal seeds, equal figures."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from icekit.aio.server import serve
from icekit.bench.call import CallConfig, CallReport, call
from icekit.bench.lines import Event, Failed, Ready, Request, Start, decode_event, encode
from icekit.bench.measure import Observed, Orders, by_condition, call_config, sample
from icekit.bench.networks import Network, read_network
from icekit.bench.packets import Watch
from icekit.bench.programs.stdio import Attendant, Voice
from icekit.bench.samples import Sample, Setting
from icekit.errors import ConfigError, ProgramError, SimulationTimeLimit
from icekit.net import Datagram
from icekit.pacing import Floor
from icekit.server import ServerConfig, TurnServerConfig
from icekit.sim import Host, Internet, Link, Timeline

ENGINES: Final[Mapping[str, str]] = MappingProxyType(
    {"icekit": "IcekitPeer", "aiortc": "AiortcPeer", "icekit_ice": "IcekitIcePeer", "aioice": "AioicePeer"}
)
"""Engines that are asyncio programs, with the peers of their programs."""

SERVER, NOBODY = "203.0.113.10", "203.0.113.99"
USERNAME, _PASSWORD = "icekit", "password"  # of a server that exists only here
# Virtual seconds.
_LIMIT, _FAILS_AFTER = 600.0, 60.0


def check(setting: Setting) -> None:
    """ConfigError for what the simulator cannot do."""
    reason = reason_against(setting)
    if reason is not None:
        raise ConfigError(reason)


def reason_against(setting: Setting) -> str | None:
    """Why the simulator cannot do this, in a sentence; ``None``: it can."""
    if setting.engine not in ENGINES:
        return f"{setting.engine} is no engine of the simulator, which has {', '.join(ENGINES)}; --lab has all"
    if setting.media:
        return "--media: sound is sent by the real clock, which the simulator has not; add --lab"
    if _is_ice_only(setting.engine):
        return None
    if setting.loss:
        return (
            f"{setting.engine} with loss: OpenSSL repeats a lost record of DTLS by the real clock; measure it "
            "with --lab, or take icekit_ice and aioice"
        )
    if setting.gathered:
        return f"{setting.engine} cannot gather before the call; icekit_ice and aioice can"
    return None


def _is_ice_only(engine: str) -> bool:
    return engine in ("icekit_ice", "aioice")


def measure_all(settings: Sequence[Setting], orders: Orders) -> None:
    """Take the samples, engines in turns. ConfigError as of ``check``, before anything is measured."""
    for setting in settings:
        check(setting)
    for share in by_condition(settings):
        orders.begins(share[0])
        for run in range(orders.runs):
            for setting in share:
                orders.take(measure(setting, run, orders.seed + run))


def measure(setting: Setting, run: int, seed: int) -> Sample:
    """One call in virtual time; ``seed`` draws everything that happens by chance. ConfigError as of ``check``."""
    check(setting)
    network = read_network(setting.network)
    net = Internet(seed, link=Link(delay=setting.rtt / 2, loss=setting.loss), limit=_LIMIT)
    server = net.host("server", addresses=[SERVER])
    hosts = []
    for name, nat in (("a", network.a), ("b", network.b)):
        host = net.host(name) if nat == "open" else net.network(nat, name=f"{name}-lan").host(name)
        if setting.dead == "interface":
            net.network(None).attach(host)
        hosts.append(host)
    watch = Watch(servers=(SERVER, NOBODY))
    net.timeline, net.is_watched = _Timeline({host.name for host in hosts}, watch), True
    try:
        report: CallReport | str = net.run(_run(setting, network, server, hosts))
    except (ProgramError, SimulationTimeLimit) as error:
        report = str(error).splitlines()[0]
    return sample(setting, run, seed, Observed(report, watch))


class _Timeline(Timeline):
    """Keeps nothing but what ``watch`` wants of these hosts."""

    def __init__(self, hosts: set[str], watch: Watch) -> None:
        super().__init__()
        self._hosts = hosts
        self._watch = watch

    def add(self, now: float, event: str, where: str, datagram: Datagram, kind: str) -> None:
        if event == "sent" and where in self._hosts:
            self._watch.see(datagram.destination.host, datagram.data, now)


class SimulatedProgram:
    """A program's peer on a simulated host, spoken to as to a process; used within ``async with``."""

    def __init__(self, engine: str, host: Host) -> None:
        module = importlib.import_module(f"icekit.bench.programs.{engine}")
        self._make: Callable[[Voice], Any] = getattr(module, ENGINES[engine])
        self._host = host
        self._clock = asyncio.get_running_loop().time
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._requests: asyncio.Queue[bytes] = asyncio.Queue()
        self._attendant = Attendant(self._hear, self._peer, self._clock)
        self._prepared: Any = None
        self._working: asyncio.Task[None] | None = None
        self.name = engine
        self.ready = Ready(engine=engine, version=versions()[engine], clock="monotonic", time=self._clock())

    async def __aenter__(self) -> SimulatedProgram:
        self._working = self._host.run(self._work())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)
        await self._host.run(self._attendant.close())

    async def gather(self, start: Start) -> None:
        """Find all candidates for the connection that is started next (ICE only)."""

        async def work() -> None:
            peer = self._peer(Voice(lambda _: None, self._clock))
            peer.connection = peer.make_connection(start.role == "offer", start)
            await peer.connection.gather_candidates()
            self._prepared = peer.connection

        await self._host.run(work())

    async def send(self, request: Request) -> None:
        """Say something to it."""
        self._requests.put_nowait(encode(request))

    async def next_event(self) -> Event:
        """The next thing that it says; ProgramError if it has failed."""
        event = await self._events.get()
        if isinstance(event, Failed):
            raise ProgramError(self.name, f"it has failed: {event.message}")
        return event

    def _peer(self, voice: Voice) -> Any:
        peer = self._make(voice)
        if self.name.startswith("icekit"):
            # Each host is a machine of its own.
            peer.floor = Floor()
        if self._prepared is not None:
            peer.connection, self._prepared = self._prepared, None
        return peer

    def _hear(self, line: bytes) -> None:
        event = decode_event(line)
        assert event is not None
        self._events.put_nowait(event)

    async def _work(self) -> None:
        while True:
            await self._attendant.heed(await self._requests.get())


def versions() -> Mapping[str, str]:
    """Of the engines."""
    import aioice
    import aiortc

    from icekit import __version__

    return {
        "icekit": __version__,
        "aiortc": aiortc.__version__,
        "icekit_ice": __version__,
        "aioice": aioice.__version__,
    }


async def _run(setting: Setting, network: Network, server: Host, hosts: list[Host]) -> CallReport:
    ready = asyncio.Event()
    service = server.run(_serve(ready))
    await ready.wait()
    config = replace(
        call_config(setting, network, SERVER, NOBODY, USERNAME, _PASSWORD),
        fails_after=_FAILS_AFTER,
        checks_again=not setting.loss,
        settled_after=1.0,
    )
    try:
        async with SimulatedProgram(setting.engine, hosts[0]) as a, SimulatedProgram(setting.engine, hosts[1]) as b:
            if setting.gathered:
                await asyncio.gather(*(item.gather(start) for item, start in _starts(a, b, config)))
            return await call(a, b, config)
    finally:
        service.cancel()


def _starts(a: SimulatedProgram, b: SimulatedProgram, config: CallConfig) -> list[tuple[SimulatedProgram, Start]]:
    return [
        (item, Start(role=role, ice_servers=config.ice_servers, trickle=config.trickle, relay_only=config.relay_only))
        for item, role in ((a, "offer"), (b, "answer"))
    ]


async def _serve(ready: asyncio.Event) -> None:
    turn = TurnServerConfig(users={USERNAME: _PASSWORD}, relay_ipv4=SERVER)
    async with serve(ServerConfig(turn=turn, rate=1e6, burst=1e6), hosts=[SERVER], ports=(3478, 443)):
        ready.set()
        await asyncio.Event().wait()
