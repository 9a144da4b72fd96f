"""Every fault, injected in the simulator: the tool that a person takes for it names exactly its code first."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icekit.aio.dns import Resolver
from icekit.aio.gatherer import gather
from icekit.aio.prober import Prober
from icekit.aio.relay_check import RelayCheck
from icekit.aio.server import serve
from icekit.call import Call
from icekit.candidate import Candidate
from icekit.errors import CallFailed
from icekit.gathering_events import CandidateGathered
from icekit.network_config import NetworkConfig
from icekit.rules_stages import turn_findings
from icekit.server import ServerConfig, TurnServerConfig
from icekit.servers import IceServer, ServerUri, make_credentials
from icekit.signaling import Answer, Message
from icekit.sim import Host, Internet, Link
from tests.faults import FIRST, OTHER_FINGERPRINT, OTHER_PASSWORD, Fault, broken_description, check_first, said
from tests.sim.test_call import STUN, simulated

SERVERS = ("203.0.113.10", "203.0.113.11")
SERVER = SERVERS[0]
USER, PASSWORD = "alice", "correct-horse"
URLS = (f"stun:{SERVER}", f"turn:{SERVER}?transport=udp", f"turn:{SERVER}?transport=tcp")
ICE_SERVERS = [IceServer(urls=URLS[0]), *(IceServer(urls=url, username=USER, credential=PASSWORD) for url in URLS[1:])]
HOME = "port-restricted"
# None that a client takes by itself.
RELAY_PORTS = (40000, 40010)

Program = Callable[[Host], Awaitable[Any]]


def served(
    program: Program,
    *,
    nat: str | None = HOME,
    link: Link | None = None,
    drops: Callable[[Any], bool] | None = None,
    **turn: Any,
) -> Any:
    """What ``program`` gives on a host behind ``nat``, with a server on the Internet; ``nat`` None: beside it."""
    net = Internet(seed=5, link=link or Link(delay=0.01), limit=600)
    place = net.root if nat is not None else net.network(None)
    server = place.host("server", addresses=SERVERS if nat is not None else None)
    client = net.host("client", nat=nat) if nat is not None else place.host("client")
    net.name("turn.icekit.test", server)
    if drops is not None:
        passes = net.pass_through

        def firewall(channel: Any, datagram: Any, then: Any, *more: Any) -> None:
            if not drops(datagram):
                passes(channel, datagram, then, *more)

        net.pass_through = firewall  # type: ignore[method-assign]
    config = {"users": {USER: PASSWORD}, "relay_ipv4": server.addresses[0]} | turn

    async def service() -> None:
        async with serve(ServerConfig(turn=TurnServerConfig(**config)), hosts=server.addresses, ports=(3478, 3479)):
            await asyncio.Event().wait()

    async def main() -> Any:
        server.run(service())
        await asyncio.sleep(0.1)
        return await client.run(program(server))

    return net.run(main())


def turn(uri: str | None = None, username: str = USER, credential: str = PASSWORD) -> Program:
    """``icekit turn``."""

    async def program(server: Host) -> list[tuple[str, str]]:
        resolver = Resolver(system_only=True, hosts_file=Path("/dev/null"))
        url = ServerUri.parse(uri or f"turn:{server.addresses[0]}")
        return said(turn_findings(await RelayCheck(url, username, credential, resolver).run()))

    return program


async def probe(server: Host) -> list[tuple[str, str]]:
    """``icekit probe``."""
    return said((await Prober(ICE_SERVERS).run()).findings)


async def candidates(server: Host) -> list[Candidate]:
    """``icekit gather``, over UDP and TCP."""
    events = gather(ICE_SERVERS, network=NetworkConfig(tcp=True))
    return [event.candidate async for event in events if isinstance(event, CandidateGathered)]


def to_relay_ports(datagram: Any) -> bool:
    (first, last), ports = RELAY_PORTS, (datagram.source.port, datagram.destination.port)
    return any(first <= port <= last for port in ports)


def expired() -> tuple[str, str]:
    return make_credentials("secret", USER, 1_000_000_000)


TURN: dict[Fault, Callable[[], Any]] = {
    Fault.DNS: lambda: served(turn("turn:trun.icekit.test")),
    Fault.UNAUTHORIZED: lambda: served(turn(credential="wrong")),
    Fault.EXPIRED: lambda: served(turn(None, *expired()), users={}, secret="secret"),
    Fault.FORBIDDEN: lambda: served(turn(), nat=None),
    Fault.PRIVATE_RELAY: lambda: served(turn(), external_ipv4="10.0.0.5"),
    Fault.RELAY_PORTS: lambda: served(turn(), relay_ports=RELAY_PORTS, drops=to_relay_ports),
    Fault.UDP_DROPPED: lambda: served(probe, nat="udp-blocked"),
    Fault.RTT: lambda: served(probe, link=Link(delay=0.55)),
    Fault.ALG: lambda: served(probe, nat="alg"),
}


@pytest.mark.parametrize("fault", TURN)
def test_servers_and_networks(fault: Fault) -> None:
    findings = TURN[fault]()
    check_first(fault, findings)
    assert [code for code, _ in findings].count(FIRST[fault][0]) == 1


def test_without_a_fault_nothing_is_found() -> None:
    assert served(turn()) == served(probe) == []


@pytest.mark.parametrize(("mtu", "codes"), [(576, ["ICE029"]), (1100, ["ICE029"]), (1280, [])])
@pytest.mark.parametrize("program", [turn(), probe], ids=["turn", "probe"])
def test_a_narrow_path_to_a_relay(program: Program, mtu: int, codes: list[str]) -> None:
    findings = served(program, link=Link(delay=0.01, mtu=mtu))
    assert [code for code, _ in findings] == codes
    if codes:
        check_first(Fault.MTU, findings)


@pytest.mark.parametrize("fault", [Fault.NO_END, Fault.TCP_ONLY, Fault.MDNS_ONLY])
def test_descriptions(fault: Fault) -> None:
    check_first(fault, broken_description(fault, served(candidates)))


# Calls.


def other_fingerprint(message: Message) -> list[Message]:
    return _edited(message, *OTHER_FINGERPRINT)


def other_password(message: Message) -> list[Message]:
    return _edited(message, *OTHER_PASSWORD)


def _edited(message: Message, pattern: str, text: str) -> list[Message]:
    if isinstance(message, Answer):
        changed = re.sub(pattern, text, message.sdp)
        assert changed != message.sdp
        return [replace(message, sdp=changed)]
    return [message]


async def fail(one: Call, other: Call, _: Host) -> list[list[tuple[str, str]]]:
    found = await asyncio.gather(one.connected(), other.ended(), return_exceptions=True)
    assert all(isinstance(error, CallFailed) for error in found), found
    return [said(error.findings) for error in found if isinstance(error, CallFailed)]


async def talk(one: Call, other: Call, _: Host) -> list[list[tuple[str, str]]]:
    """What is said of a call that goes on for ten seconds, or for as long as it does."""
    await asyncio.gather(one.connected(), other.connected(), return_exceptions=True)
    if one.failure is None and other.failure is None:
        await asyncio.sleep(10.0)
    return [said(call.findings) for call in (one, other)]


CALLS: dict[Fault, Callable[[], Any]] = {
    Fault.SYMMETRIC: lambda: simulated(("symmetric", "symmetric"), STUN, fail),
    Fault.FINGERPRINT: lambda: simulated((HOME, HOME), STUN, fail, change=other_fingerprint),
    Fault.ICE_PASSWORD: lambda: simulated((HOME, HOME), STUN, fail, change=other_password),
    Fault.MTU: lambda: simulated((HOME, HOME), STUN, talk, link=Link(delay=0.02, mtu=1100)),
}


@pytest.mark.parametrize("fault", CALLS)
def test_calls(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    # What OpenSSL would send again is lost again.
    monkeypatch.setattr(Internet, "_real_clock_wanted", lambda net: None)
    for findings in CALLS[fault]():
        check_first(fault, findings)


def test_every_fault_is_here() -> None:
    assert {*TURN, *CALLS, Fault.NO_END, Fault.TCP_ONLY, Fault.MDNS_ONLY} == set(Fault) == set(FIRST)
    assert len(set(FIRST.values())) == len(Fault)


@pytest.mark.parametrize(
    ("mtu", "codes"),
    [
        (576, ["ICE029", "CALL-DTLS"]),
        (700, ["ICE029", "CALL-DTLS"]),
        (900, ["ICE029"]),
        (1199, ["ICE029"]),
        (1200, []),
        (1280, []),
    ],
)
def test_how_narrow_a_path_may_be(mtu: int, codes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Internet, "_real_clock_wanted", lambda net: None)
    for findings in simulated((HOME, HOME), STUN, talk, link=Link(delay=0.02, mtu=mtu)):
        assert [code for code, _ in findings] == codes
