"""Names of mDNS, answered by aioice's own responder; on loopback and where there is no mDNS at all."""

from __future__ import annotations

import asyncio

import pytest
from aioice import mdns

from icekit.aio.connection import IceConnection
from icekit.aio.remote_names import RemoteNames
from icekit.candidate import Candidate


async def test_a_published_name_connects() -> None:
    try:
        responder = await mdns.create_mdns_protocol()
    except OSError as error:
        pytest.skip(f"no mDNS here: {error}")
    one, other = (IceConnection(controlling, local_addresses=["127.0.0.1"]) for controlling in (True, False))
    try:
        try:
            await responder.publish("5f1f6bd2.local", "127.0.0.1")
        except OSError as error:
            pytest.skip(f"no mDNS here: {error}")
        await asyncio.gather(one.gather_candidates(), other.gather_candidates())
        one.remote_username, one.remote_password = other.local_username, other.local_password
        other.remote_username, other.remote_password = one.local_username, one.local_password
        # Only the name tells where the other one is.
        (known,) = other.gathered
        line = f"candidate:1 1 udp 2130706431 5f1f6bd2.local {known.port} typ host"
        async with asyncio.timeout(10):
            await one.add_remote_candidate(Candidate.parse(line))
            await one.add_remote_candidate(None)
            await asyncio.gather(one.connect(), other.connect())
        assert [candidate.host for candidate in one.remote_candidates] == ["5f1f6bd2.local"]
        assert one.selected_pair is not None
        assert one.selected_pair.address == (known.address, known.port)
    finally:
        await asyncio.gather(one.close(), other.close(), responder.close())


async def test_without_mdns_a_name_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse() -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(mdns, "create_mdns_protocol", refuse)
    names = RemoteNames()
    assert await names.resolve("5f1f6bd2.local") is None
    await names.close()


def test_a_peer_has_sixteen_names() -> None:
    names = RemoteNames()
    assert [names.take() for _ in range(18)] == [True] * 16 + [False] * 2
