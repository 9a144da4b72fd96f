"""The shared pace: one per loop, none outside."""

from __future__ import annotations

import asyncio

import pytest

from icekit.aio.connection import IceConnection
from icekit.aio.floor import shared_floor
from icekit.session import IceSession
from icekit.sim import Host, Internet, Link


def test_one_for_each_loop() -> None:
    async def both() -> tuple[object, object]:
        return shared_floor(), shared_floor()

    first, again = asyncio.run(both())
    assert first is again
    assert asyncio.run(both())[0] is not first
    assert shared_floor() is not shared_floor()


async def test_two_transactions_are_five_milliseconds_apart() -> None:
    shared_floor().take(7.0, None)
    assert shared_floor().next_at == 7.005


PAIRS = 50
SLOT = 0.005


async def connect(one: Host, other: Host) -> tuple[IceConnection, ...]:
    async def made(controlling: bool) -> IceConnection:
        connection = IceConnection(controlling)
        await connection.gather_candidates()
        return connection

    pair = await asyncio.gather(one.run(made(True)), other.run(made(False)))
    for source, sink in (pair, pair[::-1]):
        sink.remote_username, sink.remote_password = source.local_username, source.local_password
        for candidate in source.gathered:
            await sink.add_remote_candidate(candidate)
        await sink.add_remote_candidate(None)
    await asyncio.gather(one.run(pair[0].connect()), other.run(pair[1].connect()))
    return pair


def test_many_agents_of_a_process_share_the_slots_and_a_new_pair_is_as_fast_as_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = Internet(1, link=Link(delay=0.001))
    one, other = net.host(), net.host()
    woken = 0
    handle_timer = IceSession.handle_timer

    def counted(session: IceSession, now: float) -> None:
        nonlocal woken
        woken += 1
        handle_timer(session, now)

    monkeypatch.setattr(IceSession, "handle_timer", counted)

    async def timed() -> tuple[tuple[IceConnection, ...], float]:
        began = net.now
        return await connect(one, other), net.now - began

    async def main() -> None:
        first, alone = await timed()
        await asyncio.sleep(1.0)
        began = net.now
        many = await asyncio.gather(*(connect(one, other) for _ in range(PAIRS)))
        for pair in many:
            for connection in pair:
                await connection.settled()
        # A check of each side and the nomination, and no slot is left empty.
        assert net.now - began <= 3 * PAIRS * SLOT + 0.02
        # Each slot wakes up one agent, and hardly another one.
        assert woken <= 3 * 3 * PAIRS
        # RFC 7675: connected agents take no slots. They measure their paths once.
        await asyncio.sleep(10.0)
        latest, in_company = await timed()
        assert in_company == pytest.approx(alone, abs=1e-6)
        for pair in (first, latest, *many):
            for connection in pair:
                await connection.close()

    net.run(main())
