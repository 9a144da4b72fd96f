"""Load tests in virtual time, where every figure can be told beforehand."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from icekit.aio.dns import Resolver
from icekit.aio.server import serve
from icekit.bench.load import LoadTest, allow_files, busy_seconds, find_server
from icekit.bench.load_plan import LoadPlan
from icekit.bench.load_report import LimitKind
from icekit.errors import ConfigError, ConnectivityError
from icekit.net import Address, Transport
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.report import Severity
from icekit.resolution import Resolution, ServerEndpoint
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import ServerUri
from icekit.sim import Link
from tests.bench.load_world import DELAY, SERVER, World


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_server_that_holds(transport: Transport) -> None:
    world = World(transport=transport)
    report = world.run(LoadPlan(allocations=7, rate=50, size=100, duration=3))
    assert (report.ok, report.verdict.code, report.held, report.limit) == (True, "OK", 7, None)
    (step,) = report.steps
    assert (step.allocations, step.sent, step.received) == (7, 1050, 1050)
    assert (step.lost_out, step.lost_back, step.duplicates, step.unsent) == (0, 0, 0, 0)
    # To the server, from there to the peer beside the client, and both ways back.
    assert step.latency.max == pytest.approx(4 * DELAY)
    assert step.latency.p50 == pytest.approx(4 * DELAY, rel=0.01)
    assert step.jitter.max == pytest.approx(0, abs=1e-9)
    assert step.loss.max == 0
    assert step.throughput.min == step.throughput.p50 == 7 * 50 * 100 * 8
    assert step.late.max == 0
    # TCP, challenge, allocation.
    assert report.setup.p99 == pytest.approx((3 if transport is Transport.TCP else 2) * 2 * DELAY)
    assert (report.opened, report.released, report.unconfirmed, report.lost) == (7, 7, 0, 0)
    assert world.left == 0
    assert report.findings == ()
    assert "all 7 allocations are released" in report.verdict.summary
    assert world.log[-1] == "giving everything back"


def test_jitter_is_that_of_the_link() -> None:
    report = World(link=Link(delay=DELAY, jitter=0.01)).run(LoadPlan(allocations=5, rate=20, duration=8))
    (step,) = report.steps
    assert step.latency.p50 is not None
    assert 4 * DELAY < step.latency.p50 < 4 * (DELAY + 0.01)
    # The mean difference of two sums of four even draws from 0 to 10 ms is about 6.6 ms.
    assert step.jitter.p50 == pytest.approx(0.0066, rel=0.5)


def test_loss_is_too_much() -> None:
    report = World(link=Link(delay=DELAY, loss=0.02)).run(LoadPlan(allocations=5, rate=50, duration=5))
    assert (report.verdict.code, report.verdict.severity, report.held) == ("LOSS", Severity.ERROR, 0)
    (step,) = report.steps
    # Four links that lose 2 % each, half of them on each way.
    assert step.total_loss == pytest.approx(1 - 0.98**4, abs=0.02)
    assert step.lost_out + step.lost_back == step.sent - step.received
    assert step.lost_out == pytest.approx(step.lost_back, rel=0.35)
    assert report.limit is not None
    assert "on the way to the peer" in report.limit.detail
    assert (report.opened, report.released, report.unconfirmed) == (5, 5, 0)


def test_what_arrives_twice_is_counted_once() -> None:
    report = World(link=Link(delay=DELAY, duplicate=0.2)).run(LoadPlan(allocations=2, rate=20, duration=5))
    (step,) = report.steps
    assert (step.sent, step.received, step.total_loss) == (200, 200, 0)
    assert step.duplicates > 20
    assert report.ok


def test_slowness_is_too_much() -> None:
    report = World(link=Link(delay=0.1)).run(LoadPlan(allocations=2, duration=2))
    assert (report.verdict.code, report.held) == ("LATENCY", 0)
    assert "400 ms" in report.verdict.summary
    assert "more than 250 ms" in report.verdict.summary


@pytest.mark.parametrize(
    ("bound", "code"), [("max_allocations_per_user", 486), ("max_allocations", 508)], ids=["user", "server"]
)
def test_a_ramp_until_the_server_refuses(bound: str, code: int) -> None:
    world = World(**{bound: 12})
    report = world.run(LoadPlan(allocations=5, rate=10, duration=2, ramp=True))
    assert [step.allocations for step in report.steps] == [5, 10]
    assert report.limit is not None
    assert (report.limit.kind, report.limit.allocations, report.limit.code) == (LimitKind.REFUSED, 12, code)
    # The limit is what was looked for.
    assert (report.ok, report.verdict.code, report.held) == (True, "OK", 10)
    assert f"with 12 allocations open the server refused another one ({code} " in report.verdict.summary
    assert [finding.code for finding in report.findings] == [f"TURN-{code}"]
    assert report.findings[0].fix
    assert (report.opened, report.released, world.left) == (12, 12, 0)


def test_a_ramp_until_the_line_is_full() -> None:
    # 10 packets a second of 1000 bytes and 28 of headers, four of channel data: 83 kbit/s each, one way to the server.
    link = Link(delay=DELAY, rate=1_000_000, queue=20_000)
    report = World(link=link).run(LoadPlan(allocations=2, rate=10, size=1000, duration=3, ramp=True))
    assert report.ok
    assert report.limit is not None
    assert report.limit.kind in (LimitKind.LOSS, LimitKind.LATENCY)
    # The client's line carries what goes to the server and what its peer sends back, so half of it is for each.
    assert 2 <= report.held <= 6
    assert report.limit.allocations == report.held + 2
    assert report.unconfirmed == 0


def test_a_ramp_without_a_limit() -> None:
    report = World().run(LoadPlan(allocations=2, duration=1, ramp=True, max_allocations=5))
    assert [step.allocations for step in report.steps] == [2, 4, 5]
    assert (report.ok, report.limit, report.held) == (True, None, 5)
    assert "no limit was found up to --max-allocations 5" in report.verdict.summary


def test_fewer_than_asked_for_are_measured_all_the_same() -> None:
    report = World(max_allocations_per_user=3).run(LoadPlan(allocations=10, duration=2))
    assert (report.ok, report.verdict.code, report.held) == (False, "REFUSED", 3)
    assert [step.allocations for step in report.steps] == [3]
    assert (report.opened, report.released) == (3, 3)


def test_a_wrong_password() -> None:
    report = World(password="guess").run(LoadPlan(duration=1))
    assert (report.verdict.code, report.steps, report.opened) == ("REFUSED", (), 0)
    assert "the server gave no allocation at all (401" in report.verdict.summary
    assert [finding.code for finding in report.findings] == ["TURN-401"]


def test_nobody_there() -> None:
    world = World()
    world.machine.kill()
    world._target = Target("turn:x", Address("203.0.113.77", 3478), Transport.UDP)
    report = world.run(LoadPlan(duration=1))
    assert (report.verdict.code, report.opened) == ("NO-PATH", 0)
    assert [finding.code for finding in report.findings] == ["TURN-NO-ANSWER"]


def test_the_peer_is_a_second_allocation_where_udp_does_not_pass() -> None:
    world = World(nat="udp-blocked", transport=Transport.TCP)
    report = world.run(LoadPlan(allocations=3, duration=2))
    assert report.ok, report.verdict
    assert report.peer.startswith("a second allocation")
    (step,) = report.steps
    assert (step.sent, step.received) == (120, 120)
    assert (report.opened, report.released, world.left) == (6, 6, 0)


@pytest.mark.parametrize("nat", ["port-restricted", "symmetric", "cgnat"])
def test_behind_a_nat(nat: str) -> None:
    world = World(nat=nat)
    report = world.run(LoadPlan(allocations=3, duration=2))
    assert report.ok, report.verdict
    assert report.steps[0].received == 120
    assert (report.opened, report.released, world.left) == (3, 3, 0)


@pytest.mark.parametrize("when", [0.001, 0.03, 0.05, 0.1, 1.5])
def test_interrupted_at_any_time_it_gives_everything_back(when: float) -> None:
    world = World(interrupt_at=when)
    report = world.run(LoadPlan(allocations=15, duration=5))
    assert (report.ok, report.verdict.code) == (False, "INTERRUPTED")
    assert "interrupted before anything was measured" in report.verdict.summary
    assert world.left == 0
    assert report.released == report.opened


def test_interrupted_while_it_gives_back_it_gives_everything_back() -> None:
    plan = LoadPlan(allocations=120, duration=1)
    undisturbed = World(max_allocations_per_user=200)
    assert undisturbed.run(plan).released == 120
    end = undisturbed.net.now
    for before in (0.058, 0.05, 0.03, 0.01):
        world = World(interrupt_at=end - before, max_allocations_per_user=200)
        report = world.run(plan)
        assert world.log[-1] == "giving everything back"
        assert (report.opened, report.released, world.left) == (120, 120, 0)


def test_an_interrupted_ramp_tells_what_was_known() -> None:
    report = World(interrupt_at=3).run(LoadPlan(allocations=2, duration=1, ramp=True))
    assert (report.ok, report.held) == (True, 4)
    assert "interrupted before the end" in report.verdict.summary
    assert report.released == report.opened > 0


def test_a_server_that_dies() -> None:
    report = World(kill_at=2).run(LoadPlan(allocations=4, duration=4))
    assert (report.verdict.code, report.opened, report.released, report.unconfirmed) == ("LOSS", 4, 0, 4)
    assert "4 allocations were not confirmed as released and end by themselves within 600 s" in report.verdict.summary


def test_connections_that_break() -> None:
    world = World(transport=Transport.TCP, kill_at=2)
    report = world.run(LoadPlan(allocations=4, duration=40))
    assert report.limit is not None
    assert not report.ok
    assert report.opened == report.lost + report.unconfirmed == 4


def test_credentials_that_cannot_be_are_told_before_anything_is_sent() -> None:
    async def make() -> None:
        target = Target("turn:x", Address(SERVER, 3478), Transport.UDP)
        with pytest.raises(ConfigError):
            LoadTest(RelayUser(target, "127.0.0.1", "ali\x00ce", "secret", os.urandom), LoadPlan())

    asyncio.run(make())


async def test_a_server_is_found() -> None:
    config = ServerConfig(turn=TurnServerConfig(users={"a": "b"}, relay_ipv4="127.0.0.1"))
    async with serve(config, hosts=["127.0.0.1"], ports=(0,)) as running:
        target, host = await find_server(ServerUri.parse(f"turn:{running.udp[0]}"))
        assert (target.address, target.transport, host) == (running.udp[0], Transport.UDP, "127.0.0.1")
    with pytest.raises(ConnectivityError, match=r"cannot be resolved .*; check its spelling"):
        await find_server(ServerUri.parse("turn:nobody.invalid"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_of_two_families_the_one_that_answers(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServerConfig(turn=TurnServerConfig(users={"a": "b"}, relay_ipv4="127.0.0.1"))
    async with serve(config, hosts=["127.0.0.1"], ports=(0,)) as running:
        port = (running.udp if transport == "udp" else running.tcp)[0].port
        uri = ServerUri.parse(f"turn:localhost:{port}?transport={transport}")
        places = [Address("::1", port), Address("127.0.0.1", port)]
        endpoints = tuple(ServerEndpoint(uri, uri.require_transport(), place, uri.host) for place in places)

        async def both(_resolver: Resolver, _uri: ServerUri) -> Resolution:
            return Resolution(uri, endpoints)

        monkeypatch.setattr(Resolver, "resolve", both)
        target, host = await find_server(uri)
        assert (target.address, host) == (places[1], "127.0.0.1")


async def test_without_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(remote: Address) -> str | None:
        return None

    monkeypatch.setattr("icekit.bench.load.source_address", nowhere)
    with pytest.raises(ConnectivityError, match=r"no route to 192\.0\.2\.1:3478; check this host's network"):
        await find_server(ServerUri.parse("turn:192.0.2.1"))


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 1000))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    allow_files(10)
    assert asked == []
    allow_files(100)
    allow_files(4000)
    assert asked == [(264, 1000), (1000, 1000)]


def test_a_thread_knows_for_how_long_it_was_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["2000000000 500000000 17\n", "nonsense"])
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: next(texts))
    assert busy_seconds() == 2.5
    # Where the system does not tell, it is what was computed.
    assert 0 < busy_seconds() <= time.thread_time()
