"""DTLS against a server of twenty lines on the same OpenSSL, and what a certificate is good for."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from cryptography import x509
from OpenSSL import SSL

from icekit.aio.dtls import DtlsTransport, is_certificate_for, open_dtls
from icekit.aio.failures import stream_failure
from icekit.net import StreamFailure

AUTHORITY = trustme.CA()


class Server(asyncio.DatagramProtocol):
    """Echoes the content of every record; one client. ``losses``: so many packets of the client it does not hear."""

    def __init__(self, certificate: trustme.LeafCert, losses: int = 0) -> None:
        context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        context.set_verify(SSL.VERIFY_NONE)
        context.use_certificate(x509_of(certificate))
        context.use_privatekey(key_of(certificate))
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()
        self.losses = losses
        self.sizes: list[int] = []
        self.goodbye = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.client = addr
        self.sizes.append(len(data))
        if self.losses:
            self.losses -= 1
            return
        self.connection.bio_write(data)
        try:
            while True:
                self.connection.send(self.connection.recv(65536))
        except SSL.ZeroReturnError:
            self.goodbye.set()
        except SSL.Error:
            pass
        self.flush()

    def flush(self) -> None:
        try:
            data = self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return
        while data:
            end = 13 + int.from_bytes(data[11:13])
            self.transport.sendto(data[:end], self.client)
            data = data[end:]


def x509_of(certificate: trustme.LeafCert) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())


def key_of(certificate: trustme.LeafCert) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(certificate.private_key_pem.bytes(), None)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")
    finally:
        transport.close()


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: Any = None
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def trusting(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


async def connect(
    address: tuple[str, int], name: str = "turn.example.org", context: ssl.SSLContext | None = None
) -> Client:
    client = Client()
    try:
        await open_dtls(
            client, address, local_host="127.0.0.1", server_name=name, ssl_context=context or trusting(AUTHORITY)
        )
    except BaseException:
        client.transport.abort()
        await client.lost.wait()
        raise
    return client


def issue(*names: str, authority: trustme.CA = AUTHORITY, days: float = 1) -> trustme.LeafCert:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return authority.issue_cert(*(names or ("turn.example.org",)), not_after=end)


@pytest.mark.parametrize("name", ["turn.example.org", "TURN.example.org.", "127.0.0.1"])
async def test_records_go_both_ways_one_for_each_message(name: str) -> None:
    server = Server(issue("turn.example.org", "127.0.0.1"))
    async with serving(server) as address:
        client = await connect(address, name)
        assert client.transport.get_extra_info("peername") == address
        for size in (1, 100, 1000):
            client.transport.write(bytes(size))
            assert await client.received.get() == bytes(size)
        client.transport.close()
        client.transport.close()
        assert client.transport.is_closing()
        await client.lost.wait()
        await server.goodbye.wait()


async def test_a_lost_hello_is_sent_again() -> None:
    server = Server(issue(), losses=1)
    async with serving(server) as address:
        client = await connect(address)
        client.transport.write(b"x")
        assert await client.received.get() == b"x"
        # The hello came twice.
        assert server.sizes[0] == server.sizes[1]
        client.transport.abort()
        await client.lost.wait()


@pytest.mark.parametrize(
    ("certificate", "name", "failure"),
    [
        (lambda: issue("other.example.org"), "turn.example.org", StreamFailure.TLS_NAME),
        (lambda: issue("turn.example.org"), "127.0.0.1", StreamFailure.TLS_NAME),
        (lambda: issue(days=-1), "turn.example.org", StreamFailure.TLS_EXPIRED),
        (lambda: issue(authority=trustme.CA()), "turn.example.org", StreamFailure.TLS_ISSUER),
    ],
)
async def test_a_bad_certificate_fails_as_with_tls(certificate: Any, name: str, failure: StreamFailure) -> None:
    async with serving(Server(certificate())) as address:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            await connect(address, name)
    kind, detail = stream_failure(caught.value)
    assert kind is failure
    assert detail


async def test_the_systems_authorities_are_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serving(Server(issue())) as address:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        client = Client()
        await open_dtls(client, address, local_host=None, server_name="turn.example.org", ssl_context=None)
        client.transport.abort()
        await client.lost.wait()


async def test_a_closed_port_is_refused() -> None:
    async with serving(Server(issue())) as address:
        pass
    # The socket closes in the next turn of the loop.
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await connect(address)


async def test_garbage_during_and_after_the_handshake_is_dropped() -> None:
    server = Server(issue())
    async with serving(server) as address:
        client = await connect(address)
        for garbage in (b"", b"\0", bytes(13), b"\x17\xfe\xfd" + bytes(100), b"\xff" * 1400):
            server.transport.sendto(garbage, server.client)
        client.transport.write(b"still there")
        assert await client.received.get() == b"still there"
        client.transport.abort()
        await client.lost.wait()


async def test_a_server_that_says_goodbye_is_lost() -> None:
    server = Server(issue())
    async with serving(server) as address:
        client = await connect(address)
        client.transport.write(b"x")
        await client.received.get()
        server.connection.shutdown()
        server.flush()
        await client.lost.wait()
        # What is written into a lost connection goes nowhere.
        client.transport.write(b"y")


async def test_a_big_flight_is_cut_into_packets_that_pass() -> None:
    sent: list[bytes] = []

    class Wire:
        def is_closing(self) -> bool:
            return False

        def sendto(self, data: bytes) -> None:
            sent.append(data)

    transport = DtlsTransport(Client(), "turn.example.org", trusting())
    records = [b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2) + bytes(size) for size in (500, 600, 300, 1187, 10)]

    class Bio:
        def bio_read(self, size: int) -> bytes:
            return b"".join(records)

    transport._udp, transport._connection = Wire(), Bio()  # type: ignore[assignment]
    transport._flush()
    transport.opened.cancel()
    assert sent == [records[0] + records[1], records[2], records[3], records[4]]


@pytest.mark.parametrize(
    ("names", "name", "good"),
    [
        (["turn.example.org"], "turn.example.org", True),
        (["turn.example.org"], "example.org", False),
        (["*.example.org"], "turn.example.org", True),
        (["*.example.org"], "a.turn.example.org", False),
        (["*.example.org"], "example.org", False),
        (["*.org"], "example.org", False),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["2001:db8::1"], "2001:DB8:0::1", True),
        (["turn.example.org"], "192.0.2.1", False),
        (["a.example.org", "192.0.2.1"], "a.example.org", True),
    ],
)
def test_which_names_a_certificate_is_for(names: list[str], name: str, good: bool) -> None:
    assert is_certificate_for(x509_of(AUTHORITY.issue_cert(*names)), name) is good


def test_a_certificate_without_alternative_names_is_for_nobody() -> None:
    authority = x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes())
    assert not is_certificate_for(authority, "turn.example.org")
