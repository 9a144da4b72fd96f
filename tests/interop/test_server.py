"""Our server with clients that we did not write: those of coturn, and aioice. And coturn with our configuration."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aioice.stun
import aioice.turn
import pytest

from icekit.admission import LOOPBACK_PEERS
from icekit.aio.server import RunningServer, serve
from icekit.coturn import coturn_config
from icekit.net import Address
from icekit.server import AllocationDeleted, AllocationGranted, ServerConfig, ServerEvent, TurnServerConfig
from icekit.servers import make_credentials
from tests.requirements import require_program, require_two_loopback_addresses

RELAY: dict[str, Any] = {"relay_ipv4": "127.0.0.1", "relay_ports": (50000, 50199), "allow_peers": LOOPBACK_PEERS}
TURN = TurnServerConfig(users={"alice": "secret"}, **RELAY)


class Events(list[ServerEvent]):
    """What the server told; ``deleted`` is set when an allocation has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted = asyncio.Event()

    def add(self, event: ServerEvent) -> None:
        self.append(event)
        if isinstance(event, AllocationDeleted):
            self.deleted.set()


@pytest.fixture
async def events() -> Events:
    return Events()


@pytest.fixture
async def server(events: Events) -> AsyncIterator[RunningServer]:
    require_two_loopback_addresses()
    config = ServerConfig(turn=TURN)
    async with serve(config, hosts=["127.0.0.1", "127.0.0.2"], ports=(0, 0), on_event=events.add) as running:
        yield running


async def output(program: str, *arguments: object) -> str:
    """What it prints; it must end with 0 within 30 seconds."""
    process = await asyncio.create_subprocess_exec(
        require_program(program), *map(str, arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(30):
            text = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, text
    return text


@pytest.mark.interop("turnutils_stunclient")
async def test_turnutils_stunclient(server: RunningServer) -> None:
    text = await output("turnutils_stunclient", "-p", server.udp[0].port, "127.0.0.1")
    # Three answers: plain, change port, change both. Each tells where it came from and the alternate address.
    origins = [Address.parse(found) for found in re.findall(r"Response origin: : (\S+)", text)]
    assert origins[0] == server.udp[0]
    assert set(re.findall(r"Other addr: : (\S+)", text)) <= {str(address) for address in server.udp}
    assert len(re.findall(r"UDP reflexive addr: 127\.0\.0\.1:\d+", text)) == 3


@pytest.mark.interop("turnutils_natdiscovery")
async def test_turnutils_natdiscovery(server: RunningServer) -> None:
    text = await output("turnutils_natdiscovery", "-m", "-f", "-p", server.udp[0].port, "-L", "127.0.0.1", "127.0.0.1")
    assert "NAT with Endpoint Independent Filtering!" in text
    assert "No ALG: Mapped == XOR-Mapped" in text


# Channels are left to aioice: turnutils_uclient takes numbers up to 0x7FFF, which RFC 8656 §12 no longer allows.
@pytest.mark.interop("turnutils_uclient")
@pytest.mark.parametrize("arguments", [(), ("-t",), ("-c",), ("-t", "-c"), ("-X",)], ids="-".join)
async def test_turnutils_uclient(server: RunningServer, events: Events, arguments: tuple[str, ...]) -> None:
    text = await output(
        "turnutils_uclient",
        *("-u", "alice", "-w", "secret", "-y", "-s", "-n", "20", "-z", "5", "-p", server.udp[0].port),
        *arguments,
        "127.0.0.1",
    )
    assert "Total lost packets 0 " in text
    clients = 2 if "-c" in arguments else 4
    sent = clients * 20
    assert f"tot_send_msgs={sent}, tot_recv_msgs={sent}" in text
    assert server.counters.relayed_to_peer == server.counters.relayed_to_client == sent
    assert server.counters.garbage == server.counters.rate_limited == server.counters.too_large == 0
    created = [event for event in events if isinstance(event, AllocationGranted)]
    assert {event.transport for event in created} == {"tcp" if "-t" in arguments else "udp"}


@pytest.mark.interop("turnutils_uclient")
async def test_turnutils_uclient_with_a_shared_secret() -> None:
    turn = TurnServerConfig(secret="top", **RELAY)
    async with serve(ServerConfig(turn=turn), hosts=["127.0.0.1"], ports=(0,)) as server:
        arguments = ("-u", "carol", "-y", "-s", "-c", "-n", "3", "-p", server.udp[0].port, "127.0.0.1")
        text = await output("turnutils_uclient", "-W", "top", *arguments)
        assert "Total lost packets 0 " in text
        # Its user name has a time that is over.
        username, password = make_credentials("top", "carol", 1_000_000_000)
        with pytest.raises(AssertionError, match="Cannot complete Allocation"):
            await output("turnutils_uclient", "-w", password, "-u", username, *arguments[2:])


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(b"echo " + data, addr)


class _Relayed(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.put_nowait((data, addr))


@pytest.mark.interop
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_aioice(server: RunningServer, events: Events, transport: str) -> None:
    loop = asyncio.get_running_loop()
    peer, _ = await loop.create_datagram_endpoint(_Echo, local_addr=("127.0.0.1", 0))
    turn, relayed = await aioice.turn.create_turn_endpoint(
        _Relayed, server.udp[0], username="alice", password="secret", lifetime=700, transport=transport
    )
    address = peer.get_extra_info("sockname")
    for size in (1, 2, 3, 4, 1200):
        turn.sendto(bytes(size), address)
        async with asyncio.timeout(5):
            assert await relayed.heard.get() == (b"echo " + bytes(size), address)
    (created,) = [event for event in events if isinstance(event, AllocationGranted)]
    assert created.relayed == (Address(*turn.get_extra_info("sockname")),)
    assert created.username == "alice"
    assert (server.counters.relayed_to_peer, server.counters.relayed_to_client) == (5, 5)
    turn.close()
    async with asyncio.timeout(5):
        await events.deleted.wait()
    assert server.core.allocations == 0
    peer.close()


@pytest.mark.interop
async def test_aioice_with_a_wrong_password(server: RunningServer) -> None:
    with pytest.raises(aioice.stun.TransactionFailed, match="401"):
        await aioice.turn.create_turn_endpoint(_Relayed, server.udp[0], username="alice", password="wrong")
    assert server.core.allocations == 0


@pytest.mark.interop("turnserver", "turnutils_uclient", "turnutils_stunclient")
@pytest.mark.parametrize("kind", ["users", "secret", "stun"])
async def test_coturn_takes_the_configuration_that_we_print(kind: str, tmp_path: Path) -> None:
    require_two_loopback_addresses()
    turns = {
        "users": TURN,
        "secret": TurnServerConfig(secret="top", **RELAY),
        "stun": None,
    }
    # Free ports, found by our own server and given up.
    async with serve(ServerConfig(), hosts=["127.0.0.1", "127.0.0.2"], ports=(0, 0)) as ours:
        port, alternate = ours.udp[0].port, ours.udp[1].port
    text = coturn_config(turns[kind], hosts=["127.0.0.1", "127.0.0.2"], port=port, alternate_port=alternate)
    (tmp_path / "turnserver.conf").write_text(text)
    process = await asyncio.create_subprocess_exec(
        require_program("turnserver"),
        *("-c", "turnserver.conf", "-v", "--log-file", "stdout", "--pidfile", "pid", "--userdb", "db"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    log: list[str] = []
    opened = asyncio.Event()

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            log.append(line.decode(errors="replace"))
            # 127.0.0.2 comes after 127.0.0.1, and its second port last.
            if re.search(rf"UDP listener opened on ?: 127\.0\.0\.2:{alternate}\b", log[-1]):
                opened.set()
        opened.set()

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(15):
            await opened.wait()
        answer = await output("turnutils_stunclient", "-p", port, "127.0.0.1")
        assert f"Other addr: : 127.0.0.2:{alternate}" in answer
        if kind != "stun":
            who = ("-u", "alice", "-w", "secret") if kind == "users" else ("-u", "carol", "-W", "top")
            answer = await output("turnutils_uclient", *who, "-y", "-c", "-n", "3", "-p", port, "127.0.0.1")
            assert "Total lost packets 0 " in answer
    finally:
        if process.returncode is None:
            process.terminate()
        await reading
        await process.wait()
    # What coturn says to an option that it does not know or cannot read.
    assert [line for line in log if re.search("Bad configuration|bad configuration|CONFIG ERROR|Unknown", line)] == []
