"""One URL from its name to the released relay, on a simulated Internet; what happens before a server is found."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from icekit.aio.dns import Resolver
from icekit.aio.relay_check import RelayCheck
from icekit.aio.server import serve
from icekit.net import Address
from icekit.report import StageName, StageResult, TurnReport
from icekit.resolution import QueryFailure, Resolution, ServerEndpoint
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import ServerUri
from icekit.sim import Internet, Link

SERVER, DEAD, DEAD6 = "203.0.113.10", "203.0.113.99", "2001:db8::99"
AFTER_RESOLVE = ["challenge", "allocate", "relay-address", "permission", "channel", "echo", "refresh"]


class Known:
    """A resolver that takes 10 ms and knows the answer."""

    def __init__(self, *hosts: str, sinkhole: bool = False, failure: QueryFailure | None = None) -> None:
        self.hosts, self.sinkhole, self.failure = hosts, sinkhole, failure

    async def resolve(self, uri: ServerUri) -> Resolution:
        await asyncio.sleep(0.01)
        transport = uri.require_transport()
        endpoints = tuple(
            ServerEndpoint(uri, transport, Address(host, uri.port or 3478), uri.host, self.sinkhole)
            for host in self.hosts
        )
        return Resolution(uri, endpoints, self.failure)


def check(
    known: Known, url: str = "turn:turn.example.org", *, cancel_after: float | None = None, ipv6: bool = False
) -> tuple[TurnReport, list[StageResult], int]:
    net = Internet(1, link=Link(delay=0.025))
    server, client = net.host("server", addresses=[SERVER]), net.host("client", ipv6=ipv6)
    told: list[StageResult] = []
    left: list[int] = []

    async def service() -> None:
        turn = TurnServerConfig(users={"alice": "secret"}, relay_ipv4=SERVER)
        async with serve(ServerConfig(turn=turn), hosts=[SERVER], ports=(3478,)) as running:
            try:
                await asyncio.Event().wait()
            finally:
                left.append(running.core.allocations)

    async def main() -> TurnReport:
        serving = server.run(service())
        await asyncio.sleep(0.1)
        relay = RelayCheck(
            ServerUri.parse(url),
            "alice",
            "secret",
            cast(Resolver, known),
            on_stage=lambda uri, stage: told.append(stage),
        )
        task: asyncio.Task[Any] = client.run(relay.run())
        if cancel_after is not None:
            await asyncio.sleep(cancel_after)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(1.0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return relay.report

    report = net.run(main())
    return report, told, left[0]


def test_a_good_server() -> None:
    report, told, left = check(Known(SERVER))
    assert report.ok
    assert [stage.name.value for stage in report.stages] == ["resolve", *AFTER_RESOLVE, "release"]
    assert report.stages[0].seconds == pytest.approx(0.01)
    assert report.stages[0].detail == f"{SERVER}:3478"
    assert [stage.name.value for stage in told] == ["resolve", *AFTER_RESOLVE]
    assert left == 0


@pytest.mark.parametrize("failure", QueryFailure)
def test_a_name_that_does_not_resolve(failure: QueryFailure) -> None:
    report, told, _ = check(Known(failure=failure))
    assert (report.failed_stage, report.code, report.cause) == ("resolve", "TURN-RESOLVE", failure.value)
    assert [name.value for name in report.not_tested] == AFTER_RESOLVE
    assert [(stage.name.value, stage.ok) for stage in told] == [("resolve", False)]


def test_a_sinkhole_with_nobody_there_is_a_matter_of_the_name() -> None:
    report, _, _ = check(Known(DEAD, sinkhole=True))
    assert (report.failed_stage, report.code, report.cause) == ("resolve", "TURN-RESOLVE", "sinkhole")
    assert [name.value for name in report.not_tested] == AFTER_RESOLVE


def test_what_looks_like_a_sinkhole_and_works_is_a_server() -> None:
    assert check(Known(SERVER, sinkhole=True))[0].ok


def test_an_address_without_a_route() -> None:
    report, _, _ = check(Known("2001:db8::1"), "turn:turn.example.org?transport=tcp")
    assert (report.failed_stage, report.code, report.cause) == ("connect", "TURN-CONNECT", "unreachable")
    assert [name.value for name in report.not_tested] == AFTER_RESOLVE


def test_an_address_with_a_route_is_preferred() -> None:
    report, _, _ = check(Known("2001:db8::1", SERVER))
    assert report.ok
    assert report.server_address == f"{SERVER}:3478"


def test_where_nobody_is_at_the_address_of_one_family_that_of_the_other_is_tested() -> None:
    # As turn:localhost is of a server on 127.0.0.1 alone, or a name with an AAAA record that nobody serves.
    report, told, left = check(Known(DEAD6, DEAD, SERVER), ipv6=True)
    assert (report.failed_stage, report.server_address) == ("challenge", f"[{DEAD6}]:3478")
    assert left == 0
    report, told, left = check(Known(DEAD6, SERVER), ipv6=True)
    assert report.ok
    assert report.server_address == f"{SERVER}:3478"
    assert report.stages[0].detail == f"{SERVER}:3478; nobody at [{DEAD6}]:3478: no answer to 5 transmissions in 4.0 s"
    assert [stage.name.value for stage in report.stages] == ["resolve", *AFTER_RESOLVE, "release"]
    assert [stage.name.value for stage in told] == ["resolve", "challenge", "resolve", *AFTER_RESOLVE]
    assert left == 0


@pytest.mark.parametrize(
    ("url", "missing"),
    [
        ("turn:turn.example.org", {"connect", "tls"}),
        ("turn:turn.example.org?transport=tcp", {"tls"}),
        ("turns:turn.example.org", set()),
        ("turns:turn.example.org?transport=udp", {"connect"}),
    ],
)
def test_before_anything_is_known_the_stages_of_the_transport_are_not_tested(url: str, missing: set[str]) -> None:
    report, told, left = check(Known(SERVER), url, cancel_after=0.001)
    assert (report.ok, report.code, report.stages, told, left) == (False, None, (), [], 0)
    assert {name.value for name in StageName} - {name.value for name in report.not_tested} == missing | {"release"}


def test_cancelled_in_the_middle_it_gives_back_what_it_has() -> None:
    report, _, left = check(Known(SERVER), cancel_after=0.2)
    assert (report.ok, report.code) == (False, None)
    assert report.stages[-1].name is StageName.RELEASE
    assert report.stages[-1].ok
    assert report.not_tested[-1] is StageName.REFRESH
    assert left == 0
