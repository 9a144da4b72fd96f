from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from icekit.sim import Internet, Link
from tests.sim.sockets import connect, serve


@pytest.mark.parametrize("nat", [None, "port-restricted", "symmetric", "cgnat", "firewall", "udp-blocked"])
def test_a_stream_takes_two_round_trips_to_its_first_answer(nat: str | None) -> None:
    net = Internet(link=Link(delay=0.025))
    server, client = net.host("server"), net.host("client", nat=nat)

    async def main() -> None:
        await serve(server, 80)
        reader, writer = await connect(client, server.address, 80)
        assert net.now == pytest.approx(0.05)
        assert writer.get_extra_info("sockname")[0] == client.address
        assert writer.get_extra_info("peername") == (server.address, 80)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert net.now == pytest.approx(0.1)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(1)
        assert client.tcp.streams == server.tcp.streams == {}

    net.run(main())


def test_a_port_without_a_server_refuses() -> None:
    net = Internet(link=Link(delay=0.025))
    server, client = net.host("server"), net.host("client", nat="port-restricted")

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await connect(client, server.address, 80)
        assert net.now == pytest.approx(0.05)
        assert client.tcp.streams == {}

    net.run(main())


def test_a_run_may_end_in_the_middle_of_a_connection() -> None:
    net = Internet()
    server, client = net.host("server"), net.host("client")

    async def main() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await serve(server, 80)
        return await connect(client, server.address, 80)

    _, writer = net.run(main())
    assert writer.is_closing()


def test_only_the_allowed_port_passes() -> None:
    net = Internet()
    server, client = net.host("server"), net.host("client", nat="tcp-443-only")

    async def main() -> None:
        for port in (80, 443):
            await serve(server, port)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await connect(client, server.address, 80)
        _, writer = await connect(client, server.address, 443)
        writer.close()

    net.run(main())


def test_a_nat_lets_no_stranger_connect_in() -> None:
    net = Internet()
    home, stranger = net.host("home", nat="port-restricted"), net.host("stranger")

    async def main() -> None:
        await serve(home, 80)
        gateway = home.interfaces[0].network.nat.external_hosts[0]
        _, writer = await connect(home, home.address, 80)
        writer.close()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await connect(stranger, gateway, 80)

    net.run(main())


def test_a_listening_port_is_bound_once() -> None:
    net = Internet()
    server = net.host("server")

    async def main() -> None:
        listening = await serve(server, 80)
        assert listening.sockets[0].getsockname() == (server.address, 80)
        assert listening.is_serving()
        with pytest.raises(OSError, match=":80 on server"):
            await serve(server, 80)
        listening.close()
        await listening.wait_closed()
        listening = await serve(server, 0)
        assert listening.sockets[0].getsockname()[1] >= 32768

    net.run(main())


@pytest.mark.parametrize("upgrade", [False, True])
def test_tls_by_the_same_loop(upgrade: bool) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("turn.example.org")
    server_context, client_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    certificate.configure_cert(server_context)
    authority.configure_trust(client_context)
    net = Internet(link=Link(delay=0.025))
    server, client = net.host("server"), net.host("client", nat="symmetric")
    net.name("turn.example.org", server)
    net.name("wrong.example.org", server)

    async def main() -> None:
        await serve(server, 443, ssl=server_context)
        if upgrade:
            reader, writer = await connect(client, "turn.example.org", 443)
            await writer.start_tls(client_context, server_hostname="turn.example.org")
        else:
            reader, writer = await connect(client, "turn.example.org", 443, ssl=client_context)
        # TCP, then TLS 1.3.
        assert net.now == pytest.approx(0.1)
        writer.write(b"secret")
        assert await reader.readexactly(6) == b"secret"
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(client, "wrong.example.org", 443, ssl=client_context)
        await asyncio.sleep(1)
        assert client.tcp.streams == server.tcp.streams == {}

    net.run(main())


def test_a_cancelled_connection_leaves_nothing() -> None:
    net = Internet()
    server, client = net.host("server"), net.host("client")
    server.down()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await connect(client, server.address, 80)
        assert client.tcp.streams == {}

    net.run(main())
