"""``serve`` on real sockets of this machine."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import trustme

from icekit.admission import LOOPBACK_PEERS
from icekit.aio.server import RunningServer, serve
from icekit.attributes import OTHER_ADDRESS, REQUESTED_TRANSPORT, XOR_MAPPED_ADDRESS
from icekit.errors import ConfigError
from icekit.net import Address
from icekit.server import ServerConfig, TurnServerConfig
from icekit.stun import Message, Method, StreamDecoder, decode, request
from tests.requirements import require_two_loopback_addresses

TURN = TurnServerConfig(users={"alice": "secret"}, relay_ipv4="127.0.0.1", allow_peers=LOOPBACK_PEERS)
BINDING = request(Method.BINDING, bytes(12)).encode()


class _Heard(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.data: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.data.put_nowait((data, addr))


async def ask_udp(server: Address, data: bytes) -> tuple[Message, Address]:
    """The answer, and our own address."""
    transport, heard = await asyncio.get_running_loop().create_datagram_endpoint(_Heard, local_addr=("127.0.0.1", 0))
    try:
        transport.sendto(data, server)
        async with asyncio.timeout(5):
            answer, source = await heard.data.get()
        assert source == server
        return decode(answer), Address(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


async def ask_stream(server: Address, data: bytes, context: ssl.SSLContext | None) -> tuple[Message, Address]:
    reader, writer = await asyncio.open_connection(
        *server, ssl=context, server_hostname="localhost" if context else None
    )
    try:
        writer.write(data)
        decoder = StreamDecoder()
        async with asyncio.timeout(5):
            while not (messages := decoder.feed(await reader.read(1000))):
                pass
        return decode(messages[0]), Address(*writer.get_extra_info("sockname"))
    finally:
        writer.close()
        await writer.wait_closed()


def is_free(address: Address) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


async def test_every_address_answers_and_is_closed_at_the_end() -> None:
    require_two_loopback_addresses()
    async with serve(ServerConfig(), hosts=["127.0.0.1", "127.0.0.2"], ports=(0, 0)) as server:
        assert len(set(server.udp)) == 4
        assert server.tcp == server.udp
        assert [address.host for address in server.udp] == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]
        assert [address.port for address in server.udp[:2]] == [address.port for address in server.udp[2:]]
        others = server.udp[::-1]
        for address, other in zip(server.udp, others, strict=True):
            for answer, local in (await ask_udp(address, BINDING), await ask_stream(address, BINDING, None)):
                assert answer.get(XOR_MAPPED_ADDRESS) == local
                assert answer.get(OTHER_ADDRESS) == other
        assert server.urls() == (f"stun:{server.udp[0]}",)
    assert all(is_free(address) for address in server.udp)
    with pytest.raises(ConnectionRefusedError):
        await ask_stream(server.tcp[0], BINDING, None)


async def test_over_tls() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    async with serve(
        ServerConfig(turn=TURN), hosts=["127.0.0.1"], ports=(0,), tcp=False, tls_port=0, ssl_context=theirs
    ) as server:
        answer, local = await ask_stream(server.tls[0], BINDING, ours)
        assert answer.get(XOR_MAPPED_ADDRESS) == local
        allocate = request(Method.ALLOCATE, bytes(12), REQUESTED_TRANSPORT(17)).encode()
        answer, _ = await ask_stream(server.tls[0], allocate, ours)
        assert answer.error().code == 401
        assert server.urls() == (
            f"stun:{server.udp[0]}",
            f"turn:{server.udp[0]}?transport=udp",
            f"turns:{server.tls[0]}?transport=tcp",
        )


async def test_a_client_that_hangs_up_is_forgotten() -> None:
    async with serve(ServerConfig(turn=TURN), hosts=["127.0.0.1"], ports=(0,)) as server:
        for _ in range(3):
            await ask_stream(server.tcp[0], BINDING, None)
        async with asyncio.timeout(5):
            while server.core.get_timer() is not None:
                # The timer of the idle check stays until it has looked; streams themselves are gone at once.
                if not server.core._streams:
                    break
                await asyncio.sleep(0)
        assert server.core._streams == {}


@pytest.mark.parametrize(
    ("hosts", "ports", "message"),
    [
        ([], (0,), "at least one host"),
        (["127.0.0.1"], (), "at least one host"),
        (["localhost"], (0,), "'localhost' is not an IP address"),
        (["0.0.0.0"], (0,), "one by one"),
        (["192.0.2.1"], (0,), "cannot bind UDP 192.0.2.1:0"),
    ],
)
async def test_what_cannot_be(hosts: list[str], ports: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        async with serve(ServerConfig(), hosts=hosts, ports=ports):
            pass


async def test_tls_needs_a_certificate() -> None:
    with pytest.raises(ConfigError, match="certificate"):
        async with serve(ServerConfig(), hosts=["127.0.0.1"], ports=(0,), tls_port=0):
            pass


async def test_a_port_that_is_taken() -> None:
    async with serve(ServerConfig(), hosts=["127.0.0.1"], ports=(0,)) as server:
        with pytest.raises(
            ConfigError,
            match=f"cannot bind UDP 127.0.0.1:{server.udp[0].port}: address already in use; stop what listens",
        ):
            async with serve(ServerConfig(), hosts=["127.0.0.1"], ports=(server.udp[0].port,)):
                pass


async def test_over_ipv6() -> None:
    from tests.requirements import require_ipv6_loopback

    require_ipv6_loopback()
    async with serve(ServerConfig(turn=TURN), hosts=["::1"], ports=(0,), tcp=False) as server:
        port = server.udp[0].port
        assert server.urls() == (f"stun:[::1]:{port}", f"turn:[::1]:{port}?transport=udp")
        running: RunningServer = server
        assert "secret" not in repr(running)
