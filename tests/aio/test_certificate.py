"""The end of a certificate, trusted or not."""

from __future__ import annotations

import asyncio
import datetime
import ssl

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


async def test_no_tls_and_nobody_there() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        address = Address(*server.sockets[0].getsockname())
        assert await certificate_expiry(address, "turn.example.org") is None
    assert await certificate_expiry(address, "turn.example.org") is None
