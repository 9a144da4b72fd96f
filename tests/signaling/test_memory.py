from __future__ import annotations

import asyncio

import pytest

from icekit.errors import ConfigError
from icekit.signaling import connect, make_transport
from tests.signaling.contract import Place, RoomContract


async def inject(room: str, data: bytes) -> None:
    link = await make_transport(f"memory:{room}", name="stranger").open()
    await link.send(data.decode(errors="replace"))
    await link.close()


class TestMemory(RoomContract):
    @pytest.fixture
    def place(self) -> Place:
        return Place(lambda room: f"memory:{room}", inject=inject)


def test_a_room_is_needed() -> None:
    with pytest.raises(ConfigError, match="memory:ROOM"):
        connect("memory:")


async def test_who_leaves_holds_nobody_up() -> None:
    reader = await make_transport("memory:full", name="reader").open()
    writer = await make_transport("memory:full", name="writer").open()

    async def fill() -> None:
        for _ in range(1000):
            await writer.send("x")

    filling = asyncio.create_task(fill())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not filling.done()
    await reader.close()
    await filling
    await writer.close()
