"""``Prober``: everything that ``icekit probe`` measures, side by side; the conclusions are ``icekit.findings``'."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from icekit.aio.default_gateway import default_gateway
from icekit.aio.dns import Resolver
from icekit.aio.driver import Driver
from icekit.aio.gatherer import gather, local_addresses
from icekit.aio.interfaces import interfaces, source_address
from icekit.aio.relay_check import RelayCheck, drive
from icekit.findings import diagnose
from icekit.gathering_events import CandidateGathered
from icekit.gathering_plan import gather_servers
from icekit.lifetime import LifetimeConfig, LifetimeObserved, LifetimeProbe, TrialEnded, idle_times
from icekit.nat_classification import classify
from icekit.nat_observations import NatObservations
from icekit.net import Address, AddressClass, SocketFailure, Transport, classify_host
from icekit.portmap import PORT as PORTMAP_PORT
from icekit.portmap import PortmapObserved, PortmapProbe
from icekit.probe import NatObserved, NatProbe
from icekit.probe_observations import ConfiguredServer, Observations
from icekit.reachability import ServerCheck, ServerChecked, Target
from icekit.report import Interface, NatReport, NatReports, PortmapReport, ProbeReport, ServerReport, StageResult
from icekit.resolution import Resolution
from icekit.servers import IceServer, ServerUri

# From how many local addresses every server is tried: a host with dozens of them is a router, not a caller.
MAX_HOSTS = 8
_LOOPBACK = ("127.0.0.1",)
_NOT_TRIED = (AddressClass.LOOPBACK, AddressClass.LINK_LOCAL, AddressClass.UNSPECIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberConfig:
    """What to measure. ``local``: the servers are on loopback, and only they are judged.

    ``lifetime``: measure the binding lifetime, too, and wait so long for it, 5 to 3600 seconds (else ConfigError).
    ``portmap``: ask the default gateway what it offers for opening ports; that search is a multicast.
    """

    local: bool = False
    lifetime: float | None = None
    portmap: bool = False

    def __post_init__(self) -> None:
        if self.lifetime is not None:
            idle_times(self.lifetime)


class Prober:
    """Probes from this host with ``servers``. ``on_progress`` gets a short line whenever something is known.

    ``run`` may be cancelled: allocations are released, and ``report`` tells what was known by then.
    """

    def __init__(
        self,
        servers: Sequence[IceServer],
        *,
        config: ProberConfig | None = None,
        resolver: Resolver | None = None,
        on_progress: Callable[[str], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._servers = tuple(servers)
        self._config = config or ProberConfig()
        self._resolver = resolver or Resolver()
        self._progress = on_progress or (lambda _: None)
        self._ssl_context = ssl_context
        self._interfaces: tuple[Interface, ...] = ()
        self._resolutions: list[Resolution] = []
        self._checked: list[ServerReport] = []
        self._ports: list[ServerReport] = []
        self._nat: dict[int, NatObservations] = {}
        self._probes: dict[int, tuple[NatProbe, Driver[NatObserved]]] = {}
        self._checks: dict[ServerCheck, Driver[ServerChecked]] = {}
        self._relays: list[RelayCheck] = []
        self._candidates: tuple[str, ...] = ()
        self._portmap: PortmapReport | None = None
        self._gateway_path: str | None = None
        self._began = 0.0
        self._seconds: float | None = None

    @property
    def report(self) -> ProbeReport:
        """What is known, with its conclusions."""
        seconds = self._seconds
        order = [str(uri) for server in self._servers for uri in server.urls]
        # As configured, not as they happened to answer; within one URL the sort keeps the order of answers.
        by_place = {url: place for place, url in enumerate(order)}
        checked = sorted(self._checked, key=lambda server: by_place.get(server.url, len(order)))
        ports = sorted(self._ports, key=lambda server: (by_place.get(server.url, len(order)), server.address))
        servers = (*checked, *ports)
        observed = Observations(
            duration=seconds or 0.0,
            interfaces=self._interfaces,
            nat=NatReports(self._nat_report(4, servers), self._nat_report(6, servers)),
            servers=servers,
            dns=self._resolver.reports,
            portmap=self._portmap,
            turn=tuple(relay.report for relay in self._relays),
            candidates=self._candidates,
            configured=tuple(
                ConfiguredServer(str(uri), server.username) for server in self._servers for uri in server.urls
            ),
            local=self._config.local,
            unix_time=time.time(),
        )
        return diagnose(observed)

    async def run(self) -> ProbeReport:
        """Measure. Takes as long as its slowest part: a second where all answers, some four where a server is dead.

        ConfigError for a server that cannot be asked, as one without credentials.
        """
        self._resolver.prepare(server.uri for server in gather_servers(self._servers))
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        gathering = asyncio.create_task(self._gather(), name="icekit-gather")
        try:
            self._interfaces = interfaces()
            uris = [(server, uri) for server in self._servers for uri in server.urls]
            async with asyncio.TaskGroup() as tasks:
                for server, uri in uris:
                    if uri.is_turn:
                        tasks.create_task(self._check_relay(server, uri))
                tasks.create_task(self._measure([uri for _, uri in uris]))
                if self._config.portmap:
                    tasks.create_task(self._ask_gateway())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            # A server that is still silent, when everything else is known, would have no candidate to add.
            gathering.cancel()
            await asyncio.wait([gathering])
            self._seconds = loop.time() - self._began
        if not gathering.cancelled():
            gathering.result()
        return self.report

    async def _gather(self) -> None:
        """What this host would offer in a call, with these servers."""
        hosts = _LOOPBACK if self._config.local else local_addresses()
        if not hosts:
            return
        events = gather(
            self._servers,
            local_addresses=hosts,
            resolver=self._resolver,
            ssl_context=self._ssl_context,
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, CandidateGathered):
                    self._candidates += (str(event.candidate),)

    async def _ask_gateway(self) -> None:
        gateway, why = default_gateway()
        host = None if gateway is None else await source_address(Address(gateway, PORTMAP_PORT))
        if gateway is None or host is None:
            why = why or f"no route to the gateway {gateway}"
            self._portmap = PortmapReport(gateway, reason=dict.fromkeys(("upnp", "nat_pmp", "pcp"), why))
            return
        self._gateway_path = host

        def take(event: object) -> None:
            if isinstance(event, PortmapObserved):
                self._portmap = event.report
                self._progress(f"gateway {gateway}: asked for UPnP, NAT-PMP and PCP")

        await drive(PortmapProbe(host, gateway), PortmapObserved, take)

    async def _check_relay(self, server: IceServer, uri: ServerUri) -> None:
        username, credential = server.require_credentials()
        relay = RelayCheck(
            uri, username, credential, self._resolver, on_stage=self._stage_passed, ssl_context=self._ssl_context
        )
        self._relays.append(relay)
        await relay.run()

    def _stage_passed(self, uri: ServerUri, stage: StageResult) -> None:
        self._progress(f"{uri}: {stage.name} {'passed' if stage.ok else 'failed'}")

    async def _measure(self, uris: Sequence[ServerUri]) -> None:
        self._progress("resolving names")
        self._resolutions = list(await asyncio.gather(*(self._resolver.resolve(uri) for uri in uris)))
        targets = self._targets()
        sources = {target.address.host: await source_address(target.address) for target in targets}
        if not any(sources.values()):
            # No route in one family is an everyday thing, no route at all is the answer.
            self._checked += [_unreachable(target) for target in targets if not target.connect_only]
        async with asyncio.TaskGroup() as tasks:
            for family in (4, 6):
                servers = [
                    target.address
                    for target in targets
                    if target.transport is Transport.UDP and target.address.family == family
                ]
                source = next((host for server in servers if (host := sources[server.host])), None)
                if source is not None:
                    same = [server for server in servers if sources[server.host] == source]
                    tasks.create_task(self._probe_nat(family, source, same))
            for target in targets:
                for host in self._hosts(target.address, sources[target.address.host]):
                    tasks.create_task(self._check(target, host))

    def _targets(self) -> list[Target]:
        """Every address and transport once; whether its port and 443 take TCP tells a dead server from blocked UDP."""
        found: dict[tuple[Address, Transport], Target] = {}
        for resolution in self._resolutions:
            for endpoint in resolution.endpoints:
                target = Target(str(endpoint.uri), endpoint.address, endpoint.transport, endpoint.server_name)
                found.setdefault((endpoint.address, endpoint.transport), target)
        if not self._config.local:
            for target in list(found.values()):
                ports = (target.address.port, 443) if target.transport is Transport.UDP else (443,)
                for address in (Address(target.address.host, port) for port in ports):
                    if not {(address, Transport.TCP), (address, Transport.TLS)} & found.keys():
                        found[address, Transport.TCP] = replace(
                            target, address=address, transport=Transport.TCP, connect_only=True
                        )
        return list(found.values())

    def _hosts(self, server: Address, source: str | None) -> list[str]:
        """The local addresses to try a server from: the system's choice first, then what else may reach it."""
        if source is None:
            return []
        if self._config.local or classify_host(server.host) is AddressClass.LOOPBACK:
            return [source]
        others = [
            item.address
            for item in self._interfaces
            if item.address != source
            and Address(item.address, 0).family == server.family
            and classify_host(item.address) not in _NOT_TRIED
            and item.kind != "bridge"
        ]
        return [source, *others][:MAX_HOSTS]

    async def _probe_nat(self, family: int, source: str, servers: Sequence[Address]) -> None:
        hosts = [item.address for item in self._interfaces]
        core = NatProbe(source, servers, os.urandom, local_hosts=hosts)

        def started(driver: Driver[NatObserved]) -> None:
            self._probes[family] = core, driver

        def take(event: object) -> None:
            if isinstance(event, NatObserved):
                self._nat[family] = event.observations
                self._progress(f"IPv{family}: NAT behaviour measured")

        await drive(core, NatObserved, take, started=started)
        self._probes.pop(family, None)
        if self._config.lifetime is not None:
            # Not side by side: its many sockets would disturb the test of the port assignment.
            await self._watch_bindings(family, source, self._config.lifetime)

    async def _watch_bindings(self, family: int, source: str, longest: float) -> None:
        seen = self._nat[family]
        given = dict.fromkeys(sample.server for sample in seen.samples if sample.test == "mapping")
        # A server that knows RFC 5780 is likely to know RESPONSE-PORT as well.
        discovering = {server for server, _ in seen.others}
        servers = sorted(given, key=lambda server: server not in discovering)
        core = LifetimeProbe(source, servers, os.urandom, config=LifetimeConfig(longest=longest))

        def take(event: object) -> None:
            match event:
                case TrialEnded(idle=idle, alive=alive):
                    word = {True: "still there", False: "gone", None: "not known"}[alive]
                    self._progress(f"IPv{family}: binding after {idle:g} s of silence: {word}")
                case LifetimeObserved(trials=trials, reason=reason):
                    self._nat[family] = replace(seen, lifetime=trials, lifetime_reason=reason)

        self._progress(f"IPv{family}: binding lifetime, waiting up to {longest:g} s")
        await drive(core, LifetimeObserved, take)

    async def _check(self, target: Target, host: str) -> None:
        names = {item.address: item.name for item in self._interfaces}
        core = ServerCheck(target, host, os.urandom, interface=names.get(host))

        def take(event: object) -> None:
            if isinstance(event, ServerChecked):
                self._server_checked(target, event)

        def started(driver: Driver[ServerChecked]) -> None:
            self._checks[core] = driver

        try:
            await drive(core, ServerChecked, take, started=started, ssl_context=self._ssl_context)
        finally:
            self._checks.pop(core, None)

    def _server_checked(self, target: Target, event: ServerChecked) -> None:
        (self._ports if target.connect_only else self._checked).append(event.report)
        answered = event.report.reachable or (event.report.error or "").startswith("refused")
        if answered and event.report.seconds is not None:
            self._expect_rtt(target.address, event.report.rtt or event.report.seconds)
        word = "answers" if event.report.reachable else "does not answer"
        self._progress(f"{event.report.address} {word} over {event.report.transport.upper()}")

    def _expect_rtt(self, server: Address, rtt: float) -> None:
        """An answer shows how far the servers are: the silence of another one can be believed sooner."""
        if (running := self._probes.get(server.family)) is not None:
            core, driver = running
            core.expect_rtt(rtt)
            driver.wake()
        for check, driving in list(self._checks.items()):
            check.expect_rtt(server, rtt)
            driving.wake()

    def _nat_report(self, family: int, servers: Sequence[ServerReport]) -> NatReport | None:
        observations = self._nat.get(family)
        if observations is None:
            return None
        same = [
            server
            for server in servers
            if server.address is not None and Address.parse(server.address).family == family
        ]
        # With a VPN the packets to the servers do not go through this gateway.
        if self._portmap is not None and self._gateway_path == observations.local_hosts[0]:
            observations = replace(observations, gateway_address=self._portmap.external_address)
        return classify(observations, same)


def _unreachable(target: Target) -> ServerReport:
    return ServerReport(
        url=target.url,
        address=str(target.address),
        transport=target.transport.value,
        reachable=False,
        error=f"{SocketFailure.UNREACHABLE}: no route to the server",
    )
