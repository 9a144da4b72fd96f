"""A fleet on the embedded server: codes are those of a probe, and bounds hold."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import aclosing
from unittest import mock

import pytest

from icekit.aio.dns import Resolver
from icekit.aio.relay_check import RelayCheck
from icekit.aio.server import RunningServer, serve
from icekit.allocation import AllocationDeleted, AllocationGranted
from icekit.net import Address
from icekit.report import TurnReport
from icekit.resolution import Resolution, ServerEndpoint
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import ServerUri
from icekit.watch.fleet import Fleet
from icekit.watch.fleet_file import FleetConfig, WatchedServer

TURN = TurnServerConfig(users={"alice": "secret word"}, relay_ipv4="127.0.0.1", allow_peers=("127.0.0.0/8",))


class Relays:
    """Counts what a server opened and ended."""

    def __init__(self) -> None:
        self.made = self.ended = 0

    def take(self, event: object) -> None:
        self.made += isinstance(event, AllocationGranted)
        self.ended += isinstance(event, AllocationDeleted)


def watched(url: str, name: str = "", **changes: str) -> WatchedServer:
    values = {"username": "alice", "credential": "secret word"} | changes
    return WatchedServer(uri=ServerUri.parse(url), name=name or url, **values)


def url_of(running: RunningServer, scheme: str = "turn") -> str:
    return f"{scheme}:{running.udp[0]}"


async def test_each_server_once_with_the_codes_of_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: None, *, family: int, type: int) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    relays = Relays()
    async with serve(ServerConfig(turn=TURN), hosts=["127.0.0.1"], ports=(0,), on_event=relays.take) as running:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        turn = url_of(running)
        servers = (
            watched(turn, "good"),
            watched(turn, "wrong", credential="other"),
            watched(turn, "old", username=f"{int(time.time()) - 60}:bob"),
            watched(url_of(running, "stun"), "stun"),
            watched(f"stun:127.0.0.1:{port}", "closed"),
            watched("stun:does-not-exist.invalid", "unnamed"),
        )
        fleet = Fleet(FleetConfig(servers=servers))
        results = {item.server.name: item async for item in fleet.results(once=True)}
        assert {name: (item.code, item.cause) for name, item in results.items()} == {
            "good": ("OK", ""),
            "wrong": ("TURN-401", "wrong"),
            "old": ("TURN-401", "expired"),
            "stun": ("OK", ""),
            "closed": ("NO-ANSWER", "refused"),
            "unnamed": ("NO-ANSWER", "nxdomain"),
        }
        good = results["good"]
        assert good.ok
        assert good.turn is not None
        assert good.turn.rtt is not None
        assert good.credentials_expire is None
        assert results["old"].credentials_expire == pytest.approx(time.time() - 60, abs=30)
    assert relays.made == relays.ended >= 1


async def test_no_more_relays_at_a_time_than_allowed() -> None:
    running = most = 0

    async def run(self: RelayCheck) -> TurnReport:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        return TurnReport("turn:192.0.2.1", ok=True)

    servers = tuple(watched("turn:192.0.2.1", str(number)) for number in range(40))
    with mock.patch.object(RelayCheck, "run", run):
        fleet = Fleet(FleetConfig(servers=servers, max_allocations=7, concurrency=20))
        results = [item async for item in fleet.results(once=True)]
    assert len(results) == 40
    # Two allocations may belong to one check.
    assert most == 3


async def test_a_check_that_hangs_is_given_up() -> None:
    async def run(self: RelayCheck) -> TurnReport:
        await asyncio.Event().wait()
        raise AssertionError

    with mock.patch.object(RelayCheck, "run", run):
        fleet = Fleet(FleetConfig(servers=(watched("turn:192.0.2.1"),), timeout=0.05))
        [result] = [item async for item in fleet.results(once=True)]
    assert (result.code, result.cause, result.turn) == ("TIMEOUT", "not done in 0.05 s", None)


async def test_a_check_that_fails_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def run(self: RelayCheck) -> TurnReport:
        raise ZeroDivisionError

    with mock.patch.object(RelayCheck, "run", run):
        fleet = Fleet(FleetConfig(servers=(watched("turn:192.0.2.1"), watched("turn:192.0.2.2")), timeout=60))
        async with asyncio.timeout(10):
            results = [item async for item in fleet.results(once=True)]
    assert [(item.code, item.cause, item.ok) for item in results] == [("UNKNOWN", "ZeroDivisionError", False)] * 2
    assert "the check of turn:192.0.2.1 failed" in caplog.text


@pytest.mark.parametrize("scheme", ["stun", "turn"])
async def test_each_check_asks_for_the_name_anew(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that was away for one check is not the end of a server, and one that moves is followed."""
    answers: list[list[str]] = [[], ["127.0.0.1"]]

    async def getaddrinfo(host: str, port: None, *, family: int, type: int) -> list[object]:
        found = answers[0] if host == "watched" and family == socket.AF_INET else []
        if not found:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(family, type, 17, "", (item, 0)) for item in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with serve(ServerConfig(turn=TURN), hosts=["127.0.0.1"], ports=(0,)) as running:
        server = watched(f"{scheme}:watched:{running.udp[0].port}")
        fleet = Fleet(FleetConfig(servers=(server,)))
        assert (await fleet.check(server)).cause == "the name server failed"
        del answers[0]
        assert (await fleet.check(server)).ok


@pytest.mark.parametrize("elsewhere", ["fe80::1", "::1"], ids=["no route", "nobody there"])
async def test_an_address_of_the_other_family_is_enough(elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(self: Resolver, uri: ServerUri) -> Resolution:
        hosts = (elsewhere, "127.0.0.1")
        transport = uri.require_transport()
        places = (ServerEndpoint(uri, transport, Address(host, uri.port or 0), uri.host, False) for host in hosts)
        return Resolution(uri, tuple(places))

    monkeypatch.setattr(Resolver, "resolve", resolve)
    async with serve(ServerConfig(), hosts=["127.0.0.1"], ports=(0,)) as running:
        url = f"stun:stun.example.org:{running.udp[0].port}"
        fleet = Fleet(FleetConfig(servers=(watched(url),)))
        (result,) = [item async for item in fleet.results(once=True)]
    assert (result.code, result.cause) == ("OK", "")
    assert result.stun is not None
    assert result.stun.address == str(running.udp[0])


async def test_for_ever_and_stopped_in_the_middle() -> None:
    relays = Relays()
    async with serve(ServerConfig(turn=TURN), hosts=["127.0.0.1"], ports=(0,), on_event=relays.take) as running:
        config = FleetConfig(servers=(watched(url_of(running)),), interval=0.01)
        before = asyncio.all_tasks()
        seen = 0
        async with aclosing(Fleet(config).results()) as results:
            async for result in results:
                assert result.ok
                seen += 1
                if seen == 5:
                    break
        assert asyncio.all_tasks() == before
    # The one that was interrupted has been released, too.
    assert relays.made == relays.ended >= 5
