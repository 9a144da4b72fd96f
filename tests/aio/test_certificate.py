"""The end of a certificate, trusted or not."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
import trustme

from icekit.aio.certificate import certificate_expiry
from icekit.net import Address

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@pytest.mark.parametrize("end", [NOW + datetime.timedelta(days=20), NOW - datetime.timedelta(days=2)])
async def test_the_end_of_a_certificate_that_nobody_trusts(end: datetime.datetime) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("turn.example.org", not_after=end, not_before=NOW - datetime.timedelta(days=9)).configure_cert(
        context
    )
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        address = Address(*server.sockets[0].getsockname())
        assert await certificate_expiry(address, "turn.example.org") == end.timestamp()
        assert await certificate_expiry(address, None) == end.timestamp()


async def test_a_certificate_that_breaks_its_grammar(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("turn.example.org")
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    version_3 = bytes.fromhex("a003020102")
    assert der.count(version_3) == 1
    (tmp_path / "cert.pem").write_text(ssl.DER_cert_to_PEM_cert(der.replace(version_3, bytes.fromhex("a003020105"))))
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        address = Address(*server.sockets[0].getsockname())
        assert await certificate_expiry(address, "turn.example.org") is None


async def test_no_tls_and_nobody_there() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        address = Address(*server.sockets[0].getsockname())
        assert await certificate_expiry(address, "turn.example.org") is None
    assert await certificate_expiry(address, "turn.example.org") is None
