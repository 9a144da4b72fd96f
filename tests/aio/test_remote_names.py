"""Names of mDNS, answered by aioice's own responder; on loopback and where there is no mDNS at all."""

from __future__ import annotations

import asyncio

import pytest
from aioice import mdns

from icekit.aio.connection import IceConnection
from icekit.aio.remote_names import RemoteNames
from icekit.candidate import Candidate
from icekit.pacing import Floor
from icekit.sim import Internet, Link


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


class _Silence:
    """An mDNS where nobody answers."""

    async def resolve(self, name: str, timeout: float) -> None:  # noqa: ASYNC109 - as aioice has it
        await asyncio.sleep(timeout)

    async def close(self) -> None:
        pass


def test_a_name_that_nobody_answers_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it comes first, and until it is given up; in virtual time, with a round trip of 20 ms."""

    async def silence() -> _Silence:
        return _Silence()

    monkeypatch.setattr("icekit.aio.remote_names._open", silence)
    net = Internet(seed=1, link=Link(delay=0.01))
    hosts = [net.host("alice"), net.host("bob")]

    async def one(index: int, offers: asyncio.Queue[IceConnection], answers: asyncio.Queue[IceConnection]) -> float:
        loop = asyncio.get_running_loop()
        connection = IceConnection(index == 0, floor=Floor(), pacing=0.005)
        await connection.gather_candidates()
        await offers.put(connection)
        peer = await answers.get()
        began = loop.time()
        connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
        for name in ("5f1f6bd2.local", "5f1f6bd3.local"):
            line = f"candidate:1 1 udp 2130706431 {name} 5000 typ host"
            await connection.add_remote_candidate(Candidate.parse(line))
        for candidate in (*peer.gathered, None):
            await connection.add_remote_candidate(candidate)
        await connection.connect()
        connected = loop.time() - began
        await connection.settled()
        assert loop.time() - began < 4 * 0.02
        await asyncio.sleep(5)
        await connection.close()
        return connected

    async def main() -> None:
        queues: list[asyncio.Queue[IceConnection]] = [asyncio.Queue(), asyncio.Queue()]
        tasks = [host.run(one(index, queues[index], queues[1 - index])) for index, host in enumerate(hosts)]
        assert await asyncio.gather(*tasks) == pytest.approx([0.02, 0.02])

    net.run(main())
