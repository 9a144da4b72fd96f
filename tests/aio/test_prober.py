"""The unmodified ``Prober`` on the simulated Internet: what it reports, and how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from icekit.aio.dns import Resolver
from icekit.aio.prober import Prober
from icekit.aio.server import serve
from icekit.allocation import TurnServerConfig
from icekit.nat import NatConfig
from icekit.nat_presets import PRESETS, declared
from icekit.report import Behavior, PathKind, ProbeReport, ServerReport, VerdictCode
from icekit.server import ServerConfig
from icekit.servers import IceServer
from icekit.sim import Internet, Link
from tests.fake_wire import SEEDS

HOSTS = ("203.0.113.10", "203.0.113.11")
DEAD = "203.0.113.66"
STUN = IceServer(urls=f"stun:{HOSTS[0]}")
TURN = IceServer(urls=f"turn:{HOSTS[0]}?transport=udp", username="user", credential="secret")
TURN_TCP = IceServer(urls=f"turn:{HOSTS[0]}?transport=tcp", username="user", credential="secret")
RTT = 0.05


@dataclass
class Scenario:
    """One host behind ``nat``, a server with RFC 5780 and TURN, and whatever else stands on the way."""

    nat: str | Sequence[NatConfig] = "port-restricted"
    servers: Sequence[IceServer] = (STUN, TURN)
    hosts: Sequence[str] = HOSTS
    seed: int = 1
    loss: float = 0.0
    ipv6: bool = False
    tcp: bool = True
    interrupted_after: float | None = None
    progress: list[str] = field(default_factory=list)

    def run(self) -> ProbeReport:
        net = Internet(seed=self.seed, link=Link(delay=RTT / 2, loss=self.loss))
        server = net.host("server", addresses=self.hosts)
        net.host("down", addresses=["203.0.113.67"])
        swallowing = net.host("swallowing", addresses=[DEAD])
        swallowing.down()
        if self.nat == "open":
            client = net.host("client", ipv6=self.ipv6)
        else:
            client = net.network(self.nat, nat66=self.ipv6).host("client", ipv6=self.ipv6)
        relay = next((item for item in self.hosts if "." in item), None)
        turn = TurnServerConfig(users={"user": "secret"}, relay_ipv4=relay) if relay else None
        config = ServerConfig(turn=turn, rate=1e6, burst=1e6)

        async def serving(ready: asyncio.Event) -> None:
            async with serve(config, hosts=self.hosts, tcp=self.tcp):
                ready.set()
                await asyncio.Event().wait()

        async def probing() -> ProbeReport:
            prober = Prober(self.servers, resolver=Resolver(system_only=True), on_progress=self.progress.append)
            if self.interrupted_after is None:
                return await prober.run()
            task = asyncio.create_task(prober.run())
            await asyncio.sleep(self.interrupted_after)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return prober.report

        async def main() -> ProbeReport:
            ready = asyncio.Event()
            server.run(serving(ready))
            await ready.wait()
            return await client.run(probing())

        return net.run(main())


def only(report: ProbeReport, address: str, transport: str = "udp") -> ServerReport:
    [found] = [server for server in report.servers if (server.address, server.transport) == (address, transport)]
    return found


@pytest.mark.parametrize(
    "name", ["full-cone", "restricted", "port-restricted", "symmetric", "firewall", "cgnat", "open"]
)
def test_a_full_classification_with_a_relay_stage_takes_at_most_a_second(name: str) -> None:
    report = Scenario("open" if name == "open" else PRESETS[name].chain).run()
    nat, true = report.nat.ipv4, declared(PRESETS[name].chain)
    assert nat is not None
    for field_name in ("mapping", "filtering", "hairpinning", "port_assignment", "behind_nat", "udp", "alg"):
        assert getattr(nat, field_name) == getattr(true, field_name), field_name
    assert [turn.ok for turn in report.turn] == [True]
    assert report.verdict.code is (VerdictCode.RELAY_ONLY if name == "symmetric" else VerdictCode.OK)
    # Measured: 0.40 s where nothing has to be silent, else 0.78 s.
    assert report.duration <= 1.0


@pytest.mark.parametrize("mapping", Behavior)
def test_ipv6_is_measured_alone(mapping: Behavior) -> None:
    hosts = ("2001:db8:1::10", "2001:db8:1::11")
    config = NatConfig(mapping=mapping, filtering=Behavior.ADDRESS_DEPENDENT)
    report = Scenario([config], servers=[IceServer(urls="stun:[2001:db8:1::10]")], hosts=hosts, ipv6=True).run()
    assert report.nat.ipv4 is None
    assert report.nat.ipv6 is not None
    assert (report.nat.ipv6.mapping, report.nat.ipv6.filtering) == (mapping, Behavior.ADDRESS_DEPENDENT)


@pytest.mark.parametrize("name", ["restricted", "symmetric"])
def test_five_percent_loss_each_way_does_not_mislead(name: str) -> None:
    true = declared(PRESETS[name].chain)
    wrong = []
    for seed in range(SEEDS):
        nat = Scenario(PRESETS[name].chain, servers=[STUN], seed=seed, loss=0.05).run().nat.ipv4
        found = nat and (nat.mapping, nat.filtering, nat.hairpinning, nat.port_assignment, nat.udp)
        if found != (true.mapping, true.filtering, true.hairpinning, true.port_assignment, True):
            wrong.append((seed, found))
    assert len(wrong) <= SEEDS // 1000, wrong


def test_blocked_udp_is_named_as_soon_as_tcp_has_answered() -> None:
    report = Scenario(PRESETS["udp-blocked"].chain, servers=[STUN, TURN_TCP]).run()
    assert report.nat.ipv4 is not None
    assert report.nat.ipv4.udp is False
    assert report.verdict.code is VerdictCode.UDP_BLOCKED
    assert [(turn.ok, turn.url) for turn in report.turn] == [(True, str(TURN_TCP.urls[0]))]
    assert only(report, f"{HOSTS[0]}:3478", "tcp").reachable is True
    assert report.duration <= 1.3


def test_a_stun_server_alone_shows_blocked_udp_by_its_own_tcp_port() -> None:
    report = Scenario(PRESETS["udp-blocked"].chain, servers=[STUN]).run()
    assert report.nat.ipv4 is not None
    assert report.nat.ipv4.udp is False
    assert report.duration <= 1.3


def test_everything_blocked_is_not_known_from_one_server_and_known_from_two() -> None:
    chain = PRESETS["blocked"].chain
    one = Scenario(chain, servers=[STUN]).run().nat.ipv4
    two = Scenario(chain, servers=[STUN, IceServer(urls=f"stun:{HOSTS[1]}")]).run().nat.ipv4
    assert one is not None
    assert two is not None
    assert (one.udp, two.udp) == (None, False)
    assert one.reason["udp"] == "one silent server: it may be down; name a second one"


def test_a_server_that_is_down_is_told_by_icmp_and_says_nothing_of_udp() -> None:
    report = Scenario(servers=[IceServer(urls="stun:203.0.113.67")]).run()
    assert (only(report, "203.0.113.67:3478").error or "").startswith("refused: ")
    assert report.nat.ipv4 is not None
    assert report.nat.ipv4.udp is None
    assert report.nat.ipv4.reason["udp"] == "the server is there and refuses (ICMP): it may be down"
    assert report.duration <= 1.3


def test_one_dead_server_among_good_ones_costs_little() -> None:
    report = Scenario(servers=[IceServer(urls=f"stun:{DEAD}"), STUN, TURN]).run()
    nat, true = report.nat.ipv4, declared(PRESETS["port-restricted"].chain)
    assert nat is not None
    assert (nat.mapping, nat.filtering, nat.udp) == (true.mapping, true.filtering, True)
    dead = only(report, f"{DEAD}:3478")
    assert (dead.reachable, dead.error) == (False, "timeout: no answer")
    # The second SYN to its TCP ports leaves after a second.
    assert report.duration <= 1.6


def test_a_server_without_rfc_5780() -> None:
    report = Scenario(hosts=HOSTS[:1], servers=[STUN]).run()
    nat = report.nat.ipv4
    assert nat is not None
    assert (nat.mapping, nat.filtering) == (None, None)
    assert nat.reason["filtering"] == f"server {HOSTS[0]}:3478 has no OTHER-ADDRESS (RFC 5780)"


def test_both_addresses_of_one_server_may_be_given() -> None:
    for name in ("full-cone", "restricted", "port-restricted"):
        report = Scenario(name, servers=[STUN, IceServer(urls=f"stun:{HOSTS[1]}:3479")]).run()
        assert report.nat.ipv4 is not None
        assert report.nat.ipv4.filtering is PRESETS[name].chain[0].filtering


def test_interrupted_it_reports_what_is_known() -> None:
    scenario = Scenario(interrupted_after=0.3)
    report = scenario.run()
    nat = report.nat.ipv4
    assert nat is not None
    assert (nat.udp, nat.behind_nat, nat.filtering) == (True, True, None)
    assert report.duration == pytest.approx(0.3, abs=0.2)
    assert only(report, f"{HOSTS[0]}:3478").reachable is True
    assert any(f"{HOSTS[0]}:3478 answers over UDP" in line for line in scenario.progress)
    early = Scenario(interrupted_after=0.01).run()
    assert early.nat.ipv4 is not None
    assert (early.nat.ipv4.udp, only(early, f"{HOSTS[0]}:3478").reachable) == (None, None)
    assert all(item.path is not PathKind.DIRECT for item in early.outlook)


def test_every_host_is_tried_on_tcp_443_and_on_its_own_port() -> None:
    report = Scenario(servers=[STUN]).run()
    tried = {(server.address, server.transport, server.reachable) for server in report.servers}
    host = HOSTS[0]
    assert tried == {(f"{host}:3478", "udp", True), (f"{host}:3478", "tcp", True), (f"{host}:443", "tcp", False)}
