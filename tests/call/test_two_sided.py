"""Two ends that probe together, in virtual time: NATs, a firewall, and another end that does not do its part."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from icekit.aio.server import serve
from icekit.call.two_sided import SCHEMA, TwoSidedConfig, TwoSidedProbe
from icekit.cli.output import Form, Output
from icekit.cli.probe_with import print_two_sided
from icekit.errors import ConfigError, ConnectivityError, IcekitError
from icekit.net import Datagram
from icekit.report import PathKind, to_dict
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer
from icekit.signaling import Bye, Offer, Report, connect
from icekit.signaling.message import Message
from icekit.sim import Gateway, Host, Internet, Link
from icekit.two_sided import TwoSidedReport
from tests.pages import like, shown

SERVER = "203.0.113.10"
SECRET = "x7Kq9vLmP2rT"
STUN = IceServer(urls=f"stun:{SERVER}")
TURN = IceServer(urls=f"turn:{SERVER}?transport=udp", username="user", credential=SECRET)


class World:
    """A server, A and B behind their NATs; B comes 3 s later."""

    def __init__(self, a: str, b: str, *servers: IceServer, mtu: int | None = None) -> None:
        self.net = Internet(1, link=Link(delay=0.02, mtu=mtu), limit=300.0)
        self.server = self.net.host("server", addresses=[SERVER, "203.0.113.11"])
        self.hosts = self.net.host("a", nat=a), self.net.host("b", nat=b)
        self.servers = servers

    def run(self) -> tuple[TwoSidedReport, TwoSidedReport]:
        async def service() -> None:
            turn = TurnServerConfig(users={"user": SECRET}, relay_ipv4=SERVER)
            async with serve(ServerConfig(turn=turn), hosts=self.server.addresses, ports=(3478, 443)):
                await asyncio.Event().wait()

        async def end(name: str, later: float) -> TwoSidedReport:
            await asyncio.sleep(later)
            async with connect("memory:room", name=name) as channel:
                return await TwoSidedProbe(channel, self.servers).run()

        async def main() -> tuple[TwoSidedReport, TwoSidedReport]:
            self.server.run(service())
            await asyncio.sleep(0.01)
            a, b = self.hosts
            one, other = await asyncio.gather(a.run(end("alice", 0)), b.run(end("bob", 3)))
            return one, other

        one, other = self.net.run(main())
        # Both know who is who, and agree on the rest.
        assert (one.this_side, other.this_side) == ("A", "B")
        assert replace(other, this_side="A") == one
        return one, other


@pytest.mark.parametrize(
    ("a", "b", "servers", "path"),
    [
        ("port-restricted", "port-restricted", (STUN, TURN), PathKind.DIRECT),
        ("symmetric", "symmetric", (STUN, TURN), PathKind.RELAY),
        ("symmetric", "port-restricted", (STUN,), PathKind.NONE),
    ],
)
def test_nats(a: str, b: str, servers: tuple[IceServer, ...], path: PathKind) -> None:
    report, _ = World(a, b, *servers).run()
    assert (report.path, report.predicted) == (path, path)
    assert [finding.code for finding in report.findings] == (["CALL-PATH"] if path is PathKind.NONE else [])
    assert all(item.a_view and item.b_view for item in report.pairs)
    document = json.dumps(to_dict(report))
    assert SECRET not in document
    assert "ufrag" not in document
    assert "pwd" not in document


def test_every_pair_is_checked_though_the_first_one_works() -> None:
    report, _ = World("port-restricted", "port-restricted", STUN, TURN).run()
    # Host or relay of A with host or relay of B.
    assert [item.works for item in report.pairs] == [True] * 4
    assert all(view.checks_sent for item in report.pairs for view in (*item.a_view, *item.b_view))


@pytest.mark.parametrize(("mtu", "codes"), [(900, ["ICE029"]), (1199, ["ICE029"]), (1280, [])])
def test_a_narrow_path_is_measured_in_both_directions(mtu: int, codes: list[str]) -> None:
    report, _ = World("port-restricted", "port-restricted", STUN, TURN, mtu=mtu).run()
    assert [finding.code for finding in report.findings] == codes
    assert report.path is PathKind.DIRECT
    for views in zip(*((item.a_view, item.b_view) for item in report.pairs if item.selected), strict=True):
        [used] = [view for pairs in views for view in pairs if view.selected]
        assert used.packet_passed is not None
        assert used.packet_passed <= mtu < (used.packet_lost or 1200 + mtu)
    for finding in report.findings:
        assert [line.partition(":")[0] for line in finding.evidence] == ["from A to B", "from B to A"]


def test_a_firewall_that_lets_nothing_of_the_other_end_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World("full-cone", "full-cone", STUN)
    enter = Gateway.enter

    def rule(self: Gateway, datagram: Datagram, *rest: Any) -> None:
        if (datagram.source.host, datagram.destination.host) != ("198.51.100.1", "198.51.100.2"):
            enter(self, datagram, *rest)

    monkeypatch.setattr(Gateway, "enter", rule)
    report, _ = world.run()
    assert (report.path, report.predicted) == (PathKind.NONE, PathKind.DIRECT)
    told = "\n".join(report.findings[0].evidence)
    assert "checks to B's srflx 198.51.100.2:" in told
    assert "B saw none: the firewall or NAT of B dropped them; those of B do arrive at A." in told
    assert "A saw checks of B, but no answer came back to B." in told
    monkeypatch.delenv("COLUMNS", raising=False)
    print_two_sided(report, Output(Form.TEXT, redact=False), ())
    name = "tests/call/test_two_sided.py::test_a_firewall_that_lets_nothing_of_the_other_end_in"
    assert like(shown("docs/probe.md", name), capsys.readouterr().out)


def alone(*messages: Message, wait: float = 30.0) -> tuple[str, float]:
    """The sentence of one end whose other one only sends these messages, and the virtual seconds until then."""
    net = Internet(1, link=Link(delay=0.02), limit=10_000.0)
    host: Host = net.host("a")

    async def main() -> tuple[str, float]:
        async with connect("memory:room", name="alice") as channel, connect("memory:room", name="mallory") as other:
            for message in messages:
                await other.send(message)
            config = TwoSidedConfig(wait=wait)
            with pytest.raises(ConnectivityError) as caught:
                await TwoSidedProbe(channel, [STUN], config=config).run()
            return str(caught.value), net.now

    async def on_host() -> tuple[str, float]:
        return await host.run(main())

    return net.run(on_host())


def step(name: str, **content: Any) -> Report:
    return Report(report={"schema": SCHEMA, "step": name, **content})


def test_nobody_comes() -> None:
    sentence, seconds = alone(wait=30)
    assert sentence.startswith("the other end did not come within 30 s: run icekit probe --with on the other machine")
    assert 30 <= seconds < 32


def test_an_end_that_cannot_go_on_tells_the_other_one() -> None:
    net = Internet(1, link=Link(delay=0.02), limit=300.0)
    a, b = net.host("a"), net.host("b")

    async def end(name: str, server: IceServer) -> BaseException | None:
        async with connect("memory:room", name=name) as channel:
            try:
                await TwoSidedProbe(channel, [server]).run()
            except IcekitError as error:
                return error
        return None

    async def main() -> list[BaseException | None]:
        wrong = IceServer(urls="turn:203.0.113.10")
        return list(await asyncio.gather(a.run(end("alice", STUN)), b.run(end("bob", wrong))))

    one, other = net.run(main())
    assert isinstance(other, ConfigError), other
    assert str(one) == "the other end has left before both were done"
    assert net.now < 20


PROBE = {"schema": "icekit/probe/1", "duration": 1.0, "verdict": {"code": "OK", "severity": "ok", "summary": ""}}


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ((Offer(sdp="v=0"),), "the other end is in a call"),
        ((step("hello"), Bye()), "the other end has left"),
        ((step("hello"), step("probe", report=[])), "the report of the other end cannot be read"),
        ((step("hello"), step("probe", report={**PROBE, "duration": "long"})), "cannot be read: report.duration"),
        ((step("hello"), step("probe", report=PROBE)), "fell silent before it told its candidates"),
        ((step("hello"), step("probe", report=PROBE), step("ice", ufrag=5)), "no ufrag and password"),
        ((step("hello"), step("probe", report=PROBE), step("ice", ufrag="abcd", pwd="p")), "no ufrag and password"),
        (
            (
                step("hello"),
                step("probe", report=PROBE),
                step("ice", ufrag="abcd", pwd="p" * 22, candidates=["nonsense", 7, None]),
                step("checks", checks={"pairs": [{}]}),
            ),
            "the checks of the other end cannot be read",
        ),
    ],
)
def test_an_end_that_does_not_do_its_part(messages: tuple[Message, ...], sentence: str) -> None:
    assert sentence in alone(*messages)[0]
