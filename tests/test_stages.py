"""TURN stages in virtual time against our own server on a simulated Internet, and against servers that lie."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icekit import attributes as attr
from icekit.aio.relay_check import drive
from icekit.aio.server import serve
from icekit.net import (
    Address,
    Datagram,
    SocketFailure,
    SocketReleased,
    SocketWanted,
    StreamFailure,
    StreamReleased,
    StreamWanted,
    Transport,
)
from icekit.reachability import Target
from icekit.relay_user import RelayUser
from icekit.report import StageName, StageResult, TurnReport
from icekit.server import ServerConfig, TurnServerConfig
from icekit.sim import Host, Internet, Link
from icekit.stage_allocations import StageAllocations
from icekit.stage_record import StagePassed, TurnTested
from icekit.stages import TurnStages
from icekit.stun import Message, Method, decode, failure, is_channel_data, long_term_key, success

SEEDS = int(os.environ.get("ICEKIT_SEEDS", "20"))
SERVER = "203.0.113.10"
OTHER = "203.0.113.20"
UDP_STAGES = ["challenge", "allocate", "relay-address", "permission", "channel", "echo", "refresh", "release"]
TCP_STAGES = ["connect", *UDP_STAGES]


@dataclass
class Result:
    report: TurnReport
    seconds: float
    told: list[StageResult]
    left: int = 0


def turn(address: str = SERVER) -> TurnServerConfig:
    return TurnServerConfig(users={"alice": "secret"}, relay_ipv4=address)


async def serving(config: ServerConfig, host: str = SERVER, cores: list[Any] | None = None) -> None:
    async with serve(config, hosts=[host], ports=(3478,)) as running:
        if cores is not None:
            cores.append(running.core)
        await asyncio.Event().wait()


async def check(
    host: Host, transport: Transport, *, server: str = SERVER, password: str = "secret", token: Any = os.urandom
) -> Result:
    loop = asyncio.get_running_loop()
    target = Target(f"turn:{server}?transport={transport}", Address(server, 3478), transport)
    core = TurnStages(RelayUser(target, host.addresses[0], "alice", password, token))
    told: list[StageResult] = []
    ended: list[TurnReport] = []

    def take(event: object) -> None:
        match event:
            case StagePassed(stage=stage):
                told.append(stage)
            case TurnTested(report=report):
                ended.append(report)

    began = loop.time()
    await drive(core, TurnTested, take)
    (report,) = ended
    return Result(report, loop.time() - began, told)


def simulate(
    transport: Transport = Transport.UDP,
    *,
    seed: int = 1,
    link: Link | None = None,
    nat: Any = None,
    config: ServerConfig | None = None,
    password: str = "secret",
) -> Result:
    net = Internet(seed, link=link or Link(delay=0.025))
    server, client = net.host("server", addresses=[SERVER]), net.host("client", nat=nat)
    cores: list[Any] = []

    async def main() -> Result:
        server.run(serving(config or ServerConfig(turn=turn()), cores=cores))
        await asyncio.sleep(0.1)
        result: Result = await client.run(check(client, transport, password=password))
        await asyncio.sleep(1.0)
        result.left = cores[0].allocations
        return result

    return net.run(main())


def names(report: TurnReport) -> list[str]:
    return [stage.name.value for stage in report.stages]


# --- what a good server gives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "stages", "limit"), [(Transport.UDP, UDP_STAGES, 0.7), (Transport.TCP, TCP_STAGES, 0.8)]
)
def test_all_stages_pass_at_50_ms_without_a_fixed_wait(transport: Transport, stages: list[str], limit: float) -> None:
    result = simulate(transport)
    report = result.report
    assert report.ok, report
    assert names(report) == stages
    assert all(stage.ok for stage in report.stages)
    assert (report.code, report.cause, report.failed_stage, report.warnings, report.not_tested) == (
        *(None, None, None),
        *((), ()),
    )
    assert report.lifetime == 600
    assert result.left == 0
    # Client to peer and back through the relay: two round trips to the server.
    assert report.rtt == pytest.approx(0.1, abs=0.005)
    assert result.seconds <= limit
    # What is told on the way is what the report has in the end; the farewell is only in the report.
    assert [stage.name.value for stage in result.told] == stages[:-1]


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_satellite_is_slow_but_works(transport: Transport) -> None:
    result = simulate(transport, link=Link(delay=0.3))
    assert result.report.ok, result.report
    assert result.report.rtt == pytest.approx(1.2, abs=0.005)


@pytest.mark.parametrize(
    "nat", ["open", "full-cone", "restricted", "port-restricted", "symmetric", "symmetric-sequential", "cgnat"]
)
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_behind_every_nat(nat: str, transport: Transport) -> None:
    result = simulate(transport, nat=nat)
    assert result.report.ok, result.report
    assert result.seconds <= 1.0
    assert result.left == 0


def test_at_five_percent_loss_the_stages_still_pass() -> None:
    bad = []
    for seed in range(SEEDS):
        result = simulate(seed=seed, link=Link(delay=0.025, loss=0.05), nat="port-restricted")
        if not result.report.ok:
            bad.append((seed, result.report))
    assert len(bad) <= SEEDS // 1000, bad


# --- a server that remembers who had the port before ------------------------------------------------------------------


def remember(core: Any, ports: int, *, only_signed: bool) -> list[Address]:
    """Make ``core`` answer 437 to the first ``ports`` addresses that ask for an allocation, as coturn does for a second
    after a release, with or without looking at the credentials; the list fills with all that ask.
    """
    receive, drain = core.receive_datagram, core.datagrams_to_send
    asked: list[Address] = []
    answers: list[Datagram] = []
    key = long_term_key("alice", "icekit", "secret")

    def receive_datagram(datagram: Datagram, now: float) -> None:
        if datagram.data[:2] == b"\x00\x03":
            request = decode(datagram.data)
            signed = request.has(attr.USERNAME)
            if datagram.source not in asked:
                asked.append(datagram.source)
            if asked.index(datagram.source) < ports and (signed or not only_signed):
                data = failure(request, 437).encode(key if signed else None)
                answers.append(Datagram(datagram.destination, datagram.source, data, datagram.transport))
                return
        receive(datagram, now)

    def datagrams_to_send() -> list[Datagram]:
        out: list[Datagram] = drain() + answers
        answers.clear()
        return out

    core.receive_datagram, core.datagrams_to_send = receive_datagram, datagrams_to_send
    return asked


def simulate_memory(transport: Transport, ports: int, *, only_signed: bool) -> tuple[Result, list[Address]]:
    net = Internet(1, link=Link(delay=0.025))
    server, client = net.host("server", addresses=[SERVER]), net.host("client")
    cores: list[Any] = []

    async def main() -> tuple[Result, list[Address]]:
        server.run(serving(ServerConfig(turn=turn()), cores=cores))
        await asyncio.sleep(0.1)
        asked = remember(cores[0], ports, only_signed=only_signed)
        result: Result = await client.run(check(client, transport))
        await asyncio.sleep(1.0)
        result.left = cores[0].allocations
        return result, asked

    return net.run(main())


@pytest.mark.parametrize("only_signed", [False, True])
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
@pytest.mark.parametrize("ports", [1, 2])
def test_a_port_that_the_server_still_knows_costs_another_try(
    transport: Transport, ports: int, only_signed: bool
) -> None:
    result, asked = simulate_memory(transport, ports, only_signed=only_signed)
    assert result.report.ok, result.report
    assert names(result.report) == (UDP_STAGES if transport is Transport.UDP else TCP_STAGES)
    allocate = next(stage for stage in result.report.stages if stage.name is StageName.ALLOCATE)
    assert allocate.detail.endswith("from another port: the first one is in use at the server (437)")
    assert len(asked) == ports + 1
    assert result.left == 0


@pytest.mark.parametrize(("only_signed", "stage"), [(False, "challenge"), (True, "allocate")])
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_after_three_ports_the_server_is_given_up(transport: Transport, only_signed: bool, stage: str) -> None:
    result, asked = simulate_memory(transport, 9, only_signed=only_signed)
    assert (result.report.failed_stage, result.report.code) == (stage, "TURN-437")
    assert len(asked) == 3
    assert result.left == 0


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP, Transport.TLS])
def test_what_belongs_to_a_port_that_is_given_up_is_released(transport: Transport) -> None:
    server = Address("192.0.2.1", 3478)
    core = TurnStages(
        RelayUser(Target("turn:192.0.2.1", server, transport), "192.0.2.9", "alice", "secret", os.urandom)
    )
    world = World(core, transport)
    core.start(world.now)
    world.pump()
    for _ in range(20):
        while world.sent:
            respond(world, world.sent.pop(0), ("error", 437, ()))
            world.pump()
        world.tick()
    assert world.report is not None
    assert world.report.code == "TURN-437"
    assert world.open == set()


# --- what a server can do otherwise ----------------------------------------------------------------------------------


def test_a_wrong_password_ends_it() -> None:
    report = simulate(password="guess").report
    assert (report.ok, report.failed_stage, report.code, report.cause) == (False, "allocate", "TURN-401", "wrong")
    assert names(report) == ["challenge", "allocate"]
    assert [name.value for name in report.not_tested] == UDP_STAGES[2:-1]


def test_a_stun_server_is_no_turn_server() -> None:
    report = simulate(config=ServerConfig()).report
    assert (report.failed_stage, report.code) == ("challenge", "TURN-NOT-TURN")


Answer = Callable[[Message, Address], Message | None]


class Scripted(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self.answer(decode(data), Address(*addr[:2]))
        if answer is not None:
            self.transport.sendto(answer.encode(), addr)


def simulate_script(answer: Answer, *, second: bool = True) -> Result:
    net = Internet(1, link=Link(delay=0.025))
    server, other = net.host("server", addresses=[SERVER]), net.host("other", addresses=[OTHER])
    client = net.host("client")
    cores: list[Any] = []

    async def script() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: Scripted(answer), local_addr=(SERVER, 3478))
        await asyncio.Event().wait()

    async def main() -> Result:
        server.run(script())
        if second:
            other.run(serving(ServerConfig(turn=turn(OTHER)), OTHER, cores))
        await asyncio.sleep(0.1)
        result: Result = await client.run(check(client, Transport.UDP))
        await asyncio.sleep(1.0)
        result.left = sum(core.allocations for core in cores)
        return result

    return net.run(main())


def binding(message: Message, source: Address) -> Message | None:
    if message.method == Method.BINDING:
        return success(message, attr.XOR_MAPPED_ADDRESS(source))
    return None


@pytest.mark.parametrize("code", [400, 404, 405, 501])
@pytest.mark.parametrize(
    ("bindings", "expected"),
    [("answered", "TURN-NOT-TURN"), ("refused", None), ("silent", None)],
)
def test_a_refusal_means_stun_only_if_binding_works(code: int, bindings: str, expected: str | None) -> None:
    def answer(message: Message, source: Address) -> Message | None:
        if message.method == Method.BINDING and bindings != "refused":
            return binding(message, source) if bindings == "answered" else None
        return failure(message, code)

    result = simulate_script(answer)
    report = result.report
    assert (report.failed_stage, report.code) == ("challenge", expected or f"TURN-{code}")
    # The answer to Binding is waited for, but not until it is given up.
    assert result.seconds == pytest.approx(0.65 if bindings == "silent" else 0.05, abs=0.02)


def test_an_answer_to_binding_that_is_late_counts() -> None:
    asked: list[Address] = []

    def second(message: Message, source: Address) -> Message | None:
        asked.append(source)
        lost = message.method == Method.BINDING and asked.count(source) == 1
        return None if lost else binding(message, source) or failure(message, 400)

    report = simulate_script(second).report
    assert (report.failed_stage, report.code) == ("challenge", "TURN-NOT-TURN")


def test_a_redirect_is_followed() -> None:
    def redirect(message: Message, source: Address) -> Message | None:
        return binding(message, source) or failure(message, 300, attr.ALTERNATE_SERVER(Address(OTHER, 3478)))

    result = simulate_script(redirect)
    report = result.report
    assert report.ok, report
    assert report.warnings == ("TURN-300",)
    assert report.server_address == f"{OTHER}:3478"
    assert report.relayed_address is not None
    assert report.relayed_address.startswith(OTHER)
    assert names(report) == UDP_STAGES
    assert result.left == 0


def test_after_a_redirect_the_named_domain_is_what_certificates_are_checked_for() -> None:
    """Also by the stream that another port is tried on, and by that of the echo peer (RFC 8489 §10)."""
    first, second = Address("192.0.2.1", 5349), Address("192.0.2.7", 5349)
    target = Target("turns:one.example", first, Transport.TLS, "one.example")
    core = TurnStages(RelayUser(target, "192.0.2.9", "alice", "secret", os.urandom))
    world = World(core, Transport.TLS)
    core.start(world.now)
    world.pump()
    redirect = (attr.ALTERNATE_SERVER(second), attr.ALTERNATE_DOMAIN("two.example"))
    for answer in (("error", 300, redirect), ("error", 437, ()), ("good", 600)):
        allocate = next(item for item in world.sent if item.data[:2] == b"\x00\x03")
        world.sent.remove(allocate)
        respond(world, allocate, answer)
        world.pump()
    while StageAllocations.FIRST_PEER_STREAM not in world.opened:
        assert world.tick()
    # The check is a plain Binding request, of the server that was asked for.
    names = [(wanted.remote, wanted.server_name) for wanted in world.streams if wanted.id >= 100]
    assert names == [(first, "one.example"), *[(second, "two.example")] * 3]
    core.close(world.now)
    while world.tick():
        pass
    assert world.report is not None
    assert [stage.detail for stage in world.report.stages if stage.name is StageName.TLS] == [
        "certificate for two.example"
    ]


def test_redirects_come_to_an_end() -> None:
    asked: list[Address] = []

    def redirect(message: Message, source: Address) -> Message | None:
        if message.method == Method.ALLOCATE:
            asked.append(source)
            return failure(message, 300, attr.ALTERNATE_SERVER(Address(SERVER, 3478)))
        return binding(message, source)

    # To itself: that is a circle, and not followed at all.
    report = simulate_script(redirect).report
    assert (report.failed_stage, report.code, len(asked)) == ("challenge", "TURN-300", 1)


def test_a_server_that_wants_no_credentials() -> None:
    def open_house(message: Message, source: Address) -> Message | None:
        if message.method == Method.ALLOCATE:
            relayed = attr.XOR_RELAYED_ADDRESS(Address(SERVER, 50000))
            return success(message, relayed, attr.XOR_MAPPED_ADDRESS(source), attr.LIFETIME(600))
        if message.method == Method.REFRESH:
            return success(message, attr.LIFETIME(message.get(attr.LIFETIME) or 0))
        return binding(message, source) or failure(message, 403)

    report = simulate_script(open_house).report
    assert (report.failed_stage, report.code) == ("permission", "TURN-403")
    stages = {stage.name.value: stage for stage in report.stages}
    assert list(stages) == ["challenge", "allocate", "relay-address", "permission", "release"]
    assert (stages["challenge"].seconds, stages["challenge"].detail) == (0.0, "the server asks for no credentials")
    assert stages["allocate"].seconds == pytest.approx(0.05, abs=0.005)
    assert stages["release"].ok


def test_a_server_without_binding_gets_a_second_allocation() -> None:
    net = Internet(1, link=Link(delay=0.025))
    server, client = net.host("server", addresses=[SERVER]), net.host("client")

    # Binding is lost on the way, whoever asks.
    def deaf(core: Any) -> None:
        receive = core.receive_datagram

        def without_binding(datagram: Datagram, now: float) -> None:
            data = datagram.data
            if data[:2] != b"\x00\x01":
                receive(datagram, now)

        core.receive_datagram = without_binding

    async def main() -> tuple[TurnReport, int]:
        cores: list[Any] = []
        server.run(serving(ServerConfig(turn=turn()), cores=cores))
        await asyncio.sleep(0.1)
        deaf(cores[0])
        result: Result = await client.run(check(client, Transport.UDP))
        await asyncio.sleep(1.0)
        return result.report, cores[0].allocations

    report, left = net.run(main())
    assert report.ok, report
    echo = next(stage for stage in report.stages if stage.name is StageName.ECHO)
    assert "a second allocation" in echo.detail
    assert left == 0


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_whenever_it_is_cancelled_nothing_is_left(transport: Transport) -> None:
    net = Internet(1, link=Link(delay=0.025))
    server = net.host("server", addresses=[SERVER])
    clients = [net.host(f"client{step}") for step in range(30)]
    cores: list[Any] = []
    most: list[int] = []

    async def main() -> int:
        server.run(serving(ServerConfig(turn=turn()), cores=cores))
        await asyncio.sleep(0.1)
        tasks = [client.run(check(client, transport)) for client in clients]
        for task in tasks:
            await asyncio.sleep(0.02)
            most.append(cores[0].allocations)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(5.0)
        return int(cores[0].allocations)

    assert net.run(main()) == 0
    assert max(most) > 10


# --- as an endpoint, against anything --------------------------------------------------------------------------------


@dataclass
class World:
    """Opens what the core asks for, at once, and answers as ``draw`` likes."""

    core: TurnStages
    transport: Transport
    server: Address = field(default_factory=lambda: Address("192.0.2.1", 3478))
    now: float = 1000.0
    port: int = 40000
    report: TurnReport | None = None
    open: set[object] = field(default_factory=set)
    opened: set[int] = field(default_factory=set)
    streams: list[StreamWanted] = field(default_factory=list)
    sent: list[Datagram] = field(default_factory=list)

    def pump(self) -> None:
        for _ in range(100):
            self.sent += self.core.datagrams_to_send()
            event = self.core.next_event()
            if event is None:
                break
            match event:
                case SocketWanted(id=id):
                    self.port += 1
                    local = Address("192.0.2.9", self.port)
                    self.open.add(local)
                    self.opened.add(id)
                    self.core.socket_opened(id, local, self.now)
                case StreamWanted(id=id, transport=transport):
                    self.streams.append(event)
                    self.port += 1
                    self.open.add(id)
                    self.opened.add(id)
                    if transport is Transport.TLS:
                        self.core.stream_connected(id, self.now)
                    self.core.stream_opened(id, Address("192.0.2.9", self.port), self.server, self.now)
                case SocketReleased(local=local):
                    self.open.discard(local)
                case StreamReleased(id=id):
                    self.open.discard(id)
                case TurnTested(report=report):
                    assert self.report is None
                    self.report = report
        else:
            raise AssertionError("the core does not come to rest")
        self.sent += self.core.datagrams_to_send()

    def tick(self) -> bool:
        when = self.core.get_timer()
        if when is None:
            return False
        self.now = max(self.now, when)
        self.core.handle_timer(self.now)
        later = self.core.get_timer()
        assert later is None or later > self.now
        self.pump()
        return True


ADDRESSES = st.sampled_from(
    [
        *(Address("192.0.2.1", 50000), Address("192.0.2.9", 40002), Address("2001:db8::1", 50000)),
        *(Address("10.0.0.1", 50000), Address("0.0.0.0", 0), Address("192.0.2.1", 3478), Address("192.0.2.7", 3478)),
    ]
)
ITEMS = st.one_of(
    ADDRESSES.map(attr.XOR_RELAYED_ADDRESS),
    ADDRESSES.map(attr.XOR_MAPPED_ADDRESS),
    ADDRESSES.map(attr.ALTERNATE_SERVER),
    st.sampled_from([0, 1, 2, 600, 2**32 - 1]).map(attr.LIFETIME),
    st.sampled_from(["", "example.org"]).map(attr.REALM),
    st.just(attr.NONCE(b"nonce")),
)
ITEM_LISTS = st.lists(ITEMS, max_size=5).map(tuple)
CODES = st.sampled_from([300, 400, 401, 403, 437, 438, 486, 500, 508])
ACTIONS = st.one_of(
    st.tuples(st.just("success"), ITEM_LISTS),
    st.tuples(st.just("good"), st.sampled_from([1, 2, 600])),
    st.tuples(st.just("error"), CODES, ITEM_LISTS),
    st.tuples(st.just("echo")),
    st.tuples(st.just("raw"), st.binary(max_size=40)),
    st.tuples(st.just("malformed"), st.integers(0, 2**16 - 1), st.binary(max_size=12)),
    st.tuples(st.just("timer")),
    st.tuples(st.just("hang-up"), st.sampled_from([1, 2, 3, 4, 100, 101, 104, 108, 200])),
    st.tuples(st.just("icmp"), st.sampled_from([1, 2, 3])),
)


def respond(world: World, request: Datagram, action: tuple[Any, ...]) -> None:
    """Answer one packet of the core, well or badly."""
    data: bytes | None = None
    message = None
    if not is_channel_data(request.data):
        with suppress(ValueError):
            message = decode(request.data)
    match action:
        case ("success", items) if message is not None:
            data = success(message, *items).encode()
        case ("good", lifetime) if message is not None:
            items = (attr.XOR_RELAYED_ADDRESS(Address("192.0.2.1", 50000)), attr.LIFETIME(lifetime))
            data = success(message, attr.XOR_MAPPED_ADDRESS(request.source), *items).encode()
        case ("error", code, items) if message is not None:
            data = failure(message, code, *items).encode()
        case ("malformed", kind, value) if message is not None:
            body = kind.to_bytes(2) + len(value).to_bytes(2) + value + bytes(-len(value) % 4)
            header = (0x0100 | int(message.method)).to_bytes(2) + len(body).to_bytes(2) + bytes.fromhex("2112a442")
            data = header + message.transaction_id + body
        case ("echo",):
            data = request.data
        case ("raw", raw):
            data = raw
        case _:
            pass
    if data is not None:
        back = Datagram(request.destination, request.source, data, request.transport)
        world.core.receive_datagram(back, world.now)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(Transport), st.lists(ACTIONS, max_size=60), st.integers(0, 60), st.integers(0, 2**32))
def test_whatever_a_server_says_it_ends_in_one_report(
    transport: Transport, actions: list[tuple[Any, ...]], close_after: int, seed: int
) -> None:
    dice = random.Random(seed)
    server = Address("192.0.2.1", 3478)
    target = Target("turn:192.0.2.1", server, transport)
    core = TurnStages(RelayUser(target, "192.0.2.9", "alice", "secret", dice.randbytes))
    world = World(core, transport)
    core.start(world.now)
    world.pump()
    for number, action in enumerate(actions):
        if number == close_after:
            core.close(world.now)
            world.pump()
        if action[0] in ("hang-up", "icmp") and action[1] not in world.opened:
            continue
        if action[0] == "hang-up":
            core.stream_closed(action[1], StreamFailure.RESET, world.now, "gone")
        elif action[0] == "icmp":
            core.socket_failed(action[1], SocketFailure.REFUSED, world.now)
        elif action[0] == "timer" or not world.sent:
            world.tick()
        else:
            respond(world, world.sent.pop(dice.randrange(len(world.sent))), action)
        world.pump()
        assert len(world.sent) < 5000
    for _ in range(2000):
        if not world.tick():
            break
    assert core.get_timer() is None
    assert world.report is not None
    report = world.report
    assert report.ok is (report.code is None and not report.not_tested)
    # One failure at most beside the farewell, and every stage once.
    failed = [stage for stage in report.stages if not stage.ok and stage.name is not StageName.RELEASE]
    assert len(failed) == (1 if report.code is not None and report.failed_stage is not StageName.RELEASE else 0)
    assert len(names(report)) == len(set(names(report)))
    assert core.next_event() is None
    assert core.datagrams_to_send() == []
    core.close(world.now)
    assert core.next_event() is None


def test_a_loop_that_stood_still_has_not_waited_for_the_echo() -> None:
    server, relayed = Address("192.0.2.1", 3478), Address("192.0.2.1", 50000)
    core = TurnStages(
        RelayUser(Target("turn:192.0.2.1", server, Transport.UDP), "192.0.2.9", "alice", "secret", os.urandom)
    )
    world = World(core, Transport.UDP)
    core.start(world.now)
    world.pump()
    peer, question = None, None
    while question is None:
        if not world.sent:
            world.tick()
        datagram = world.sent.pop(0)
        if datagram.destination == relayed:
            peer = datagram.source
        elif is_channel_data(datagram.data):
            question = datagram
        else:
            respond(world, datagram, ("good", 600))
            world.pump()
    assert peer is not None
    # One question is out; the process gets no time, and then takes one packet of each socket before its timers.
    world.sent.clear()
    world.now += 3.0
    core.receive_datagram(Datagram(relayed, peer, question.data[4:]), world.now)
    core.handle_timer(world.now)
    world.pump()
    answer = next(item for item in world.sent if item.source == peer)
    core.receive_datagram(
        Datagram(server, question.source, question.data[:2] + len(answer.data).to_bytes(2) + answer.data), world.now
    )
    core.close(world.now)
    while world.tick():
        pass
    assert world.report is not None
    assert [stage.ok for stage in world.report.stages if stage.name is StageName.ECHO] == [True]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 12), st.integers(0, 2**32))
def test_closed_at_any_step_it_drains(steps: int, seed: int) -> None:
    dice = random.Random(seed)
    server = Address("192.0.2.1", 3478)
    core = TurnStages(
        RelayUser(Target("turn:192.0.2.1", server, Transport.UDP), "192.0.2.9", "alice", "secret", dice.randbytes)
    )
    world = World(core, Transport.UDP)
    core.start(world.now)
    world.pump()
    for _ in range(steps):
        if world.sent:
            respond(world, world.sent.pop(0), ("good", 600))
        else:
            world.tick()
        world.pump()
    core.close(world.now)
    core.close(world.now)
    world.pump()
    end = world.now + 10
    while world.tick():
        assert world.now < end
    assert world.report is not None
    assert world.open == set()


def test_a_url_is_never_more_than_the_target() -> None:
    core = TurnStages(
        RelayUser(
            Target("turn:192.0.2.1", Address("192.0.2.1", 3478), Transport.UDP),
            "192.0.2.9",
            "alice",
            "s3cret",
            os.urandom,
        )
    )
    world = World(core, Transport.UDP)
    core.start(world.now)
    world.pump()
    while world.tick():
        pass
    assert world.report is not None
    assert world.report.url == "turn:192.0.2.1"
    assert "s3cret" not in repr(world.report)
    assert (world.report.code, world.report.cause) == ("TURN-NO-ANSWER", None)
    # A silent server costs four seconds.
    assert world.now - 1000.0 == pytest.approx(4.0)


# Over UDP what is garbled is asked for again; a stream is lost with its first wrong border.
@pytest.mark.parametrize(("transport", "share"), [(Transport.UDP, 0.6), (Transport.TCP, 0.1)])
def test_a_server_that_garbles_what_it_says(transport: Transport, share: float) -> None:
    """It is one of ours up to there, so that every stage is reached with a server that cannot be trusted."""
    reached = set()
    for seed in range(SEEDS):
        net = Internet(seed, link=Link(delay=0.025))
        server, client = net.host("server", addresses=[SERVER]), net.host("client")
        reached.add(net.run(garbled(server, client, transport, share, random.Random(seed))))
    assert len(reached) >= 3


async def garbled(
    server: Host, client: Host, transport: Transport, share: float, dice: random.Random
) -> StageName | None:
    cores: list[Any] = []
    server.run(serving(ServerConfig(turn=turn()), cores=cores))
    await asyncio.sleep(0.1)
    (core,) = cores
    honest = core.datagrams_to_send

    def garble(datagram: Datagram) -> Datagram:
        data = bytearray(datagram.data)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        cut = data[: dice.randrange(len(data) + 1)] if dice.random() < 0.2 else data
        return Datagram(datagram.source, datagram.destination, bytes(cut) * dice.choice((1, 1, 2)), datagram.transport)

    core.datagrams_to_send = lambda: [
        garble(datagram) if datagram.data and dice.random() < share else datagram for datagram in honest()
    ]
    result: Result = await client.run(check(client, transport))
    assert result.seconds < 30
    assert result.report.ok is (result.report.code is None)
    return result.report.failed_stage


# --- a port that does not speak TURN over TCP ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "cause"),
    [
        *((StreamFailure.TLS_NAME, "wants-tls"), (StreamFailure.TLS_EXPIRED, "wants-tls")),
        *((StreamFailure.TLS_ISSUER, "wants-tls"), (StreamFailure.TLS_OTHER, "hangs-up")),
        *((StreamFailure.NOT_TLS, "hangs-up"), (StreamFailure.RESET, "hangs-up")),
        (None, "wants-tls"),
    ],
)
def test_a_port_speaks_tls_if_it_shows_a_certificate(failed: StreamFailure | None, cause: str) -> None:
    server = Address("192.0.2.1", 3478)
    core = TurnStages(RelayUser(Target("turn:x", server, Transport.TCP), "192.0.2.9", "alice", "secret", os.urandom))
    core.start(1000.0)
    answers: dict[Transport, StreamFailure | None] = {Transport.TCP: StreamFailure.CLOSED, Transport.TLS: failed}
    reports: list[TurnReport] = []
    port = 40000
    while (event := core.next_event()) is not None:
        match event:
            case StreamWanted(id=id, transport=transport):
                port += 1
                if transport is Transport.TCP or failed is None:
                    core.stream_opened(id, Address("192.0.2.9", port), server, 1000.0)
                answer = answers[transport]
                if answer is not None:
                    core.stream_closed(id, answer, 1000.0, "words")
            case TurnTested(report=report):
                reports.append(report)
            case _:
                pass
    while not reports and (when := core.get_timer()) is not None:
        core.handle_timer(when)
        while (event := core.next_event()) is not None:
            if isinstance(event, TurnTested):
                reports.append(event.report)
    [report] = reports
    assert (report.failed_stage, report.code, report.cause) == ("challenge", "TURN-NO-ANSWER", cause)
