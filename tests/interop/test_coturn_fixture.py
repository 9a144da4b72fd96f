"""Each configuration of ``tests/interop/coturn.py`` behaves as its name says, seen by clients that we did not write."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aioice.stun
import aioice.turn
import pytest

from icekit.net import Address
from tests.interop.coturn import Coturn, CoturnConfig, Ports, relay_firewall

pytestmark = pytest.mark.interop("turnserver", "turnutils_uclient", "turnutils_stunclient", "openssl")

StartCoturn = Callable[[CoturnConfig], Coturn]

BINDING_REQUEST = bytes.fromhex("000100002112a442") + b"twelve bytes"


class Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.received.put_nowait((data, Address(*source[:2])))

    async def next(self) -> tuple[bytes, Address]:
        return await asyncio.wait_for(self.received.get(), 5)

    async def drain_until(self, data: bytes) -> list[bytes]:
        """What arrives before ``data``."""
        earlier = []
        while (found := (await self.next())[0]) != data:
            earlier.append(found)
        return earlier


@asynccontextmanager
async def allocation(
    coturn: Coturn, username: str = "", password: str = ""
) -> AsyncIterator[tuple[aioice.turn.TurnTransport, Inbox, Address]]:
    """An allocation made by aioice, and its relayed address; its failure is ``aioice.stun.TransactionFailed``."""
    transport, inbox = await aioice.turn.create_turn_endpoint(
        Inbox, coturn.address, username=username or coturn.username, password=password or coturn.password
    )
    try:
        yield transport, inbox, Address(*transport.get_extra_info("sockname"))
    finally:
        transport.close()
        # It releases the allocation in a task of its own.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


@asynccontextmanager
async def peer() -> AsyncIterator[tuple[asyncio.DatagramTransport, Inbox, Address]]:
    loop = asyncio.get_running_loop()
    transport, inbox = await loop.create_datagram_endpoint(Inbox, local_addr=("127.0.0.1", 0))
    try:
        yield transport, inbox, Address(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


async def refusal(coturn: Coturn, username: str = "", password: str = "") -> int:
    """The error code of the answer to the signed Allocate request."""
    with pytest.raises(aioice.stun.TransactionFailed) as failure:
        async with allocation(coturn, username, password):
            pass
    code: int = failure.value.response.attributes["ERROR-CODE"][0]
    return code


def ask_over_udp(address: Address, timeout: float) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect(address)
        client.send(BINDING_REQUEST)
        try:
            return client.recv(2048)
        except TimeoutError:
            return None


def ask_over_tcp(address: Address) -> bytes:
    """What comes back for a plain Binding request; nothing if the server closes."""
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(BINDING_REQUEST)
        try:
            return client.recv(2048)
        except ConnectionResetError:
            return b""


def tls_client(address: Address, *options: str, timeout: float = 10.0) -> subprocess.CompletedProcess[str]:
    command = ["openssl", "s_client", "-connect", str(address), "-brief", "-verify_return_error", *options]
    return subprocess.run(command, input="", timeout=timeout, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [(), ("-t",), ("-t", "-S"), ("-S",)], ids=["udp", "tcp", "tls", "dtls"])
async def test_a_good_server_relays_over_every_transport(coturn: Coturn, options: tuple[str, ...]) -> None:
    port = coturn.ports.tls if "-S" in options else coturn.ports.plain
    command = ["turnutils_uclient", "-y", "-c", "-n", "2", "-m", "1", *options, "-p", str(port)]
    command += ["-u", coturn.username, "-w", coturn.password, coturn.address.host]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert "tot_send_msgs=4, tot_recv_msgs=4" in output
    assert "Total lost packets 0 " in output


async def test_a_good_server_relays_both_ways_on_its_first_address(coturn: Coturn) -> None:
    async with allocation(coturn) as (relay, relayed, relayed_address), peer() as (echo, received, address):
        assert relayed_address.host == "127.0.0.1"
        assert coturn.ports.first_relay <= relayed_address.port <= coturn.ports.last_relay
        relay.sendto(b"out", address)
        assert await received.next() == (b"out", relayed_address)
        echo.sendto(b"in", relayed_address)
        assert await relayed.next() == (b"in", address)


def test_a_good_server_discovers_nat_behavior(coturn: Coturn) -> None:
    command = ["turnutils_stunclient", "-p", str(coturn.ports.plain), coturn.address.host]
    output = subprocess.run(command, timeout=10, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"RFC 5780 response (\d)", output) == ["1", "2", "3"]
    assert set(re.findall(r"Other addr: : (\S+)", output)) == {str(coturn.alternate_address)}
    assert set(re.findall(r"Response origin: : (\S+)", output)) == {str(coturn.address), str(coturn.alternate_address)}


def test_a_good_server_has_a_certificate_for_its_name(coturn: Coturn) -> None:
    for transport in ((), ("-dtls",)):
        done = tls_client(
            coturn.tls_address, *transport, "-CAfile", str(coturn.ca_file), "-verify_hostname", "localhost"
        )
        assert done.returncode == 0, done.stderr
        assert "Verified peername: localhost" in done.stderr


def test_it_answers_plain_tcp(coturn: Coturn) -> None:
    assert ask_over_tcp(coturn.address)[8:20] == b"twelve bytes"


async def test_wrong_password(coturn: Coturn) -> None:
    assert await refusal(coturn, password="wrong") == 401


async def test_unknown_user(coturn: Coturn) -> None:
    assert await refusal(coturn, username="mallory") == 401


async def test_time_limited_user(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(auth_secret="shared"))
    async with allocation(coturn, *coturn.time_limited(600)):
        pass
    assert await refusal(coturn, *coturn.time_limited(-600)) == 401
    assert await refusal(coturn, "alice", "shared") == 401


async def test_empty_realm(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(realm=None))
    challenge = asyncio.get_running_loop().create_future()

    class Client(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            request = aioice.stun.Message(aioice.stun.Method.ALLOCATE, aioice.stun.Class.REQUEST)
            request.attributes["REQUESTED-TRANSPORT"] = 17 << 24
            transport.sendto(bytes(request))  # type: ignore[attr-defined]

        def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
            challenge.set_result(aioice.stun.parse_message(data))

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=coturn.address)
    answer = await asyncio.wait_for(challenge, 5)
    transport.close()
    assert answer.attributes["ERROR-CODE"][0] == 401
    assert answer.attributes["REALM"] == ""
    async with allocation(coturn):
        pass


async def test_denied_peer(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(denied_peers=("127.0.0.1",)))
    command = ["turnutils_uclient", "-e", "127.0.0.1", "-c", "-n", "1", "-m", "1", "-p", str(coturn.ports.plain)]
    command += ["-u", coturn.username, "-w", coturn.password, coturn.address.host]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output = (await process.communicate())[0].decode()
    assert "error 403 (Forbidden IP)" in output
    assert "error 401" not in output.split("error 403")[1]


@pytest.mark.netns
@pytest.mark.parametrize("direction", ["in", "out"])
async def test_relay_ports_firewalled(start_coturn: StartCoturn, direction: str) -> None:
    coturn = start_coturn(CoturnConfig())
    async with allocation(coturn) as (relay, relayed, relayed_address), peer() as (echo, received, address):
        # The control: they talk without the firewall, and the permission and the channel are there.
        relay.sendto(b"before", address)
        await received.drain_until(b"before")
        echo.sendto(b"before", relayed_address)
        await relayed.drain_until(b"before")
        with relay_firewall(coturn, direction):
            relay.sendto(b"during", address)
            echo.sendto(b"during", relayed_address)
            if direction == "in":
                await received.drain_until(b"during")
            else:
                await relayed.drain_until(b"during")
        # Loopback keeps the order: what was not dropped would come first.
        relay.sendto(b"after", address)
        assert await received.drain_until(b"after") == []
        echo.sendto(b"after", relayed_address)
        assert await relayed.drain_until(b"after") == []


def test_the_firewall_is_gone(firewalled: Coturn) -> None:
    table = f"icekit-test-{os.getpid()}-{firewalled.ports.plain}"
    assert table in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


@pytest.mark.netns
def test_private_relay(private_relay: Coturn) -> None:
    command = ["turnutils_uclient", "-v", "-y", "-c", "-n", "1", "-m", "1", "-u", private_relay.username]
    command = private_relay.command([*command, "-w", private_relay.password, private_relay.address.host])
    output = subprocess.run(command, timeout=30, capture_output=True, text=True, check=False).stdout
    assert "Connected to: 203.0.113.10:3478" in output
    assert "Received relay addr: 10.0.0.5:" in output


def test_tls_name_mismatch(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(certificate_names=("other.icekit.test",)))
    trusted = ("-CAfile", str(coturn.ca_file))
    assert "hostname mismatch" in tls_client(coturn.tls_address, *trusted, "-verify_hostname", "localhost").stderr
    assert tls_client(coturn.tls_address, *trusted, "-verify_hostname", "other.icekit.test").returncode == 0


def test_unknown_issuer(coturn: Coturn, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = tls_client(coturn.tls_address, "-no-CAfile", "-CApath", str(tmp_path / "empty"))
    assert "verify error:num=19" in done.stderr or "verify error:num=20" in done.stderr
    assert done.returncode != 0


def test_plain_tcp_on_a_tls_only_port(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(plain_tcp=False))
    assert ask_over_tcp(coturn.tls_address) == b""
    trusted = ("-CAfile", str(coturn.ca_file), "-verify_hostname", "localhost")
    assert tls_client(coturn.tls_address, *trusted).returncode == 0


def test_tls_on_a_plain_port(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(tls=False))
    try:
        done = tls_client(coturn.address, timeout=1.0)
    except subprocess.TimeoutExpired:
        pass  # silence
    else:
        assert done.returncode != 0
        assert "CONNECTION ESTABLISHED" not in done.stderr
    assert ask_over_tcp(coturn.address)[8:20] == b"twelve bytes"


def test_port_closed(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(tls=False))
    with pytest.raises(ConnectionRefusedError):
        ask_over_tcp(coturn.tls_address)
    with pytest.raises(ConnectionRefusedError):
        ask_over_udp(coturn.tls_address, 5.0)


def test_stun_only(start_coturn: StartCoturn) -> None:
    coturn = start_coturn(CoturnConfig(stun_only=True))
    answer = ask_over_udp(coturn.address, 5.0)
    assert answer is not None
    assert answer[:2] == b"\x01\x01"
    request = aioice.stun.Message(aioice.stun.Method.ALLOCATE, aioice.stun.Class.REQUEST)
    request.attributes["REQUESTED-TRANSPORT"] = 17 << 24
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.sendto(bytes(request), coturn.address)
        with pytest.raises(TimeoutError):
            client.recv(2048)


def test_servers_have_ports_of_their_own(coturn: Coturn, start_coturn: StartCoturn) -> None:
    def block(ports: Ports) -> set[int]:
        return {*ports[:4], *range(ports.first_relay, ports.last_relay + 1)}

    others = [start_coturn(CoturnConfig()) for _ in range(3)]
    blocks = [block(server.ports) for server in (coturn, *others)]
    assert len(set().union(*blocks)) == sum(map(len, blocks))


def test_nothing_stays_after_a_stop() -> None:
    with Coturn() as coturn:
        address, folder = coturn.address, coturn.ca_file.parent
        assert ask_over_udp(address, 5.0) is not None
    with pytest.raises(ConnectionRefusedError):
        ask_over_udp(address, 5.0)
    assert not folder.exists()
    assert coturn not in Coturn.running


def test_a_server_that_cannot_start_shows_its_log() -> None:
    with (
        pytest.raises(AssertionError, match=r"turnserver did not come up:\n(.*\n)*.*Cannot bind"),
        Coturn(CoturnConfig(hosts=("192.0.2.1",))),
    ):
        pass
