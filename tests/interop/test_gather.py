"""Gathering from coturn: on loopback, and behind a NAT of the kernel, where every type of candidate exists."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import sys
from contextlib import aclosing

import pytest

from icekit import attributes as attr
from icekit.aio.gatherer import gather
from icekit.candidate import Candidate
from icekit.gathering import Gatherer
from icekit.gathering_events import (
    CandidateGathered,
    GatherEvent,
    GatheringComplete,
    ServerAnswered,
    ServerFailed,
    gather_report,
)
from icekit.gathering_plan import GatherConfig, GatherServer
from icekit.lab.kernel_nat import KernelNat
from icekit.lab.topology import CLIENT_ADDRESS, NAT_ADDRESS, SERVER_ADDRESSES, SERVER_NAME, Lab, Place
from icekit.net import Address, Datagram, Transport
from icekit.resolution import ServerEndpoint
from icekit.servers import IceServer, ServerUri
from icekit.stun import Method, decode, request
from tests.interop.coturn import STANDARD_PORTS, Coturn, CoturnConfig
from tests.requirements import require_netns

pytestmark = pytest.mark.interop("turnserver", "turnutils_stunclient", "openssl")


def turn(coturn: Coturn, url: str, password: str | None = None) -> IceServer:
    return IceServer(urls=url, username=coturn.username, credential=password or coturn.password)


async def collect(coturn: Coturn, *servers: IceServer, patience: float = 5.0) -> list[GatherEvent]:
    context = ssl.create_default_context(cafile=str(coturn.ca_file))
    gathering = gather(
        servers, local_addresses=["127.0.0.1"], ssl_context=context, config=GatherConfig(patience=patience)
    )
    async with aclosing(gathering) as events:
        return [event async for event in events]


def relays(events: list[GatherEvent]) -> dict[str | None, Candidate]:
    return {
        event.url: event.candidate
        for event in events
        if isinstance(event, CandidateGathered) and event.candidate.type == "relay"
    }


async def all_released(coturn: Coturn, before: str) -> None:
    """coturn writes of each session that ends with a Refresh of lifetime 0 (``delete``). ``before``: its log by then;
    what other tests left to time out is not ours."""
    async with asyncio.timeout(20):
        while True:
            log = coturn.log().removeprefix(before)
            created = set(re.findall(r"session (\d+): .*ALLOCATE processed, success", log))
            deleted = set(re.findall(r"session (\d+): delete: realm", log))
            if created and created <= deleted:
                return
            await asyncio.sleep(0.02)


async def test_udp_tcp_and_tls_side_by_side_and_released(coturn: Coturn) -> None:
    before = coturn.log()
    urls = [coturn.turn_uri("udp"), coturn.turn_uri("tcp"), coturn.turns_uri()]
    events = await collect(coturn, *(turn(coturn, url) for url in urls), IceServer(urls=coturn.stun_uri()))
    found = relays(events)
    assert set(found) == set(urls)
    for candidate in found.values():
        assert coturn.ports.first_relay <= candidate.port <= coturn.ports.last_relay
        assert candidate.address == coturn.relay_host
    assert len({candidate.priority for candidate in found.values()}) == 3
    assert [str(event.candidate.type) for event in events if isinstance(event, CandidateGathered)].count("host") == 1
    # On loopback a server sees the host candidate itself, so there is no other.
    answers = {event.url: event for event in events if isinstance(event, ServerAnswered)}
    assert set(answers) == {*urls, coturn.stun_uri()}
    assert all(event.mapped == event.base for event in answers.values())
    assert isinstance(events[-1], GatheringComplete)
    await all_released(coturn, before)


async def test_a_wrong_password_and_a_wrong_certificate_name(coturn: Coturn) -> None:
    wrong, misnamed = coturn.turn_uri("tcp"), coturn.turns_uri(host="127.0.0.2")
    events = await collect(
        coturn,
        turn(coturn, wrong, "not-the-password"),
        turn(coturn, misnamed),
        turn(coturn, coturn.turn_uri("udp")),
    )
    errors = {event.url: event.error for event in events if isinstance(event, ServerFailed)}
    assert set(errors) == {wrong, misnamed}
    assert errors[wrong] == "401 Unauthorized: the user name or the password is wrong, or has expired"
    assert errors[misnamed].startswith("the TLS handshake fails, tls-name: ")
    assert set(relays(events)) == {coturn.turn_uri("udp")}


async def test_dead_servers_delay_nobody(coturn: Coturn) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket() as closed:
        for each in (silent, closed):
            each.bind(("127.0.0.1", 0))
        dead = [
            f"stun:127.0.0.1:{silent.getsockname()[1]}",
            f"turn:127.0.0.1:{closed.getsockname()[1]}?transport=tcp",
        ]
        alive = coturn.turn_uri("udp")
        events = await collect(
            coturn, IceServer(urls=dead[0]), turn(coturn, dead[1]), turn(coturn, alive), patience=1.0
        )
    order = [event.url for event in events if isinstance(event, ServerAnswered | ServerFailed) and event.url != dead[1]]
    assert order == [alive, dead[0]]
    report = gather_report(events)
    # How long it was waited for is of the real clock.
    errors = {item.url: item.error and re.sub(r"in \d+\.\d s", "in some s", item.error) for item in report.servers}
    assert errors == {
        alive: None,
        dead[0]: "no answer to 2 transmissions in some s; it is down, or a firewall drops the packets",
        dead[1]: "cannot connect, refused: connection refused",
    }
    assert report.duration >= 1.0


async def test_coturn_answers_a_binding_request_while_an_allocation_is_made_there_and_after(coturn: Coturn) -> None:
    """From one socket, in the order that a round trip longer than a slot has: nothing waits for the clock."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(5.0)
        local, url = Address(*wire.getsockname()), ServerUri.parse(coturn.turn_uri("udp"))
        dead = ServerUri.parse("stun:192.0.2.1")
        core = Gatherer(
            [local.host],
            [GatherServer(dead), GatherServer(url, (coturn.username, coturn.password))],
            os.urandom,
        )
        server = Address(url.host, url.port or 3478)

        def ask(now: float) -> bytes:
            """The request to coturn that is due, and the answer to it."""
            core.handle_timer(now)
            (due,) = [item for item in core.datagrams_to_send() if item.destination == server]
            wire.sendto(due.data, server)
            return wire.recv(2048)

        core.start(0.0)
        core.socket_opened(0, local, 0.0)
        core.server_resolved(0, [ServerEndpoint(dead, Transport.UDP, Address("192.0.2.1", 3478), dead.host)], 0.0)
        core.server_resolved(1, [ServerEndpoint(url, Transport.UDP, server, url.host)], 0.0)
        core.handle_timer(0.0)
        challenge, mapped = ask(0.006), ask(0.012)
        assert [decode(data).method for data in (challenge, mapped)] == [Method.ALLOCATE, Method.BINDING]
        assert decode(mapped).get(attr.XOR_MAPPED_ADDRESS) == local
        for data in (mapped, challenge):
            core.receive_datagram(Datagram(server, local, data), 0.05)
        core.receive_datagram(Datagram(server, local, ask(0.05)), 0.1)
        (answer,) = [event for event in iter(core.next_event, None) if isinstance(event, ServerAnswered)]
        assert (answer.url, answer.mapped, len(answer.relayed)) == (str(url), local, 1)
        # There is an allocation on this 5-tuple now.
        wire.sendto(request(Method.BINDING, bytes(12)).encode(), server)
        assert decode(wire.recv(2048)).get(attr.XOR_MAPPED_ADDRESS) == local
        core.close(0.2)
        for datagram in core.datagrams_to_send():
            wire.sendto(datagram.data, datagram.destination)


@pytest.mark.netns
def test_every_type_behind_a_nat_of_the_kernel() -> None:
    require_netns()
    config = CoturnConfig(hosts=SERVER_ADDRESSES, ports=STANDARD_PORTS, certificate_names=(SERVER_NAME,))
    urls = [
        f"stun:{SERVER_NAME}",
        f"turn:{SERVER_NAME}?transport=udp",
        f"turn:{SERVER_ADDRESSES[1]}?transport=tcp",
        f"turns:{SERVER_NAME}",
        "stun:203.0.113.99",
    ]
    with Lab(KernelNat.MASQUERADE) as lab, Coturn(config, command=lab.namespace(Place.SERVER).command) as coturn:
        command = [sys.executable, "-m", "icekit", "gather", "--json", *urls]
        command += ["--username", coturn.username, "--credential", coturn.password]
        done = lab.run(Place.CLIENT, command, timeout=40, env={"SSL_CERT_FILE": str(coturn.ca_file)})
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    found = [Candidate.parse(item["candidate"]) for item in document["candidates"]]
    assert sorted(str(item.type) for item in found) == ["host", "relay", "relay", "relay", "srflx"]
    host, reflexive = found[0], next(item for item in found if item.type == "srflx")
    relayed = [item for item in found if item.type == "relay"]
    assert host.address == CLIENT_ADDRESS
    assert reflexive.address == NAT_ADDRESS
    assert (reflexive.related_address, reflexive.related_port) == (CLIENT_ADDRESS, host.port)
    assert {item.address for item in relayed} == {SERVER_ADDRESSES[0]}
    assert {item.related_address for item in relayed} == {NAT_ADDRESS}
    assert {item["url"] for item in document["candidates"] if item["type"] == "relay"} == set(urls[1:4])
    assert [item["url"] for item in document["servers"] if item["outcome"] == "failed"] == [urls[4]]


@pytest.mark.netns
def test_coturn_tells_the_mapped_address_where_the_password_is_wrong() -> None:
    require_netns()
    config = CoturnConfig(hosts=SERVER_ADDRESSES, ports=STANDARD_PORTS, certificate_names=(SERVER_NAME,))
    url = f"turn:{SERVER_NAME}?transport=udp"
    with Lab(KernelNat.MASQUERADE) as lab, Coturn(config, command=lab.namespace(Place.SERVER).command) as coturn:
        command = [sys.executable, "-m", "icekit", "gather", "--json", url]
        command += ["--username", coturn.username, "--credential", "not-the-password"]
        done = lab.run(Place.CLIENT, command, timeout=40)
    document = json.loads(done.stdout)
    found = {item["type"]: (Candidate.parse(item["candidate"]).address, item["url"]) for item in document["candidates"]}
    assert found == {"host": (CLIENT_ADDRESS, None), "srflx": (NAT_ADDRESS, url)}
    assert [item["error"] for item in document["servers"]] == [
        "401 Unauthorized: the user name or the password is wrong, or has expired"
    ]
