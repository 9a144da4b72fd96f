"""A server for the tests of commands, which have the event loop of their thread for themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from icekit.aio.server import RunningServer, serve
from icekit.server import ServerConfig, TurnServerConfig


@contextmanager
def serving(turn: TurnServerConfig) -> Iterator[RunningServer]:
    """The server on 127.0.0.1, in a thread with an event loop of its own."""
    loop = asyncio.new_event_loop()
    up: list[RunningServer] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        async with serve(ServerConfig(turn=turn), hosts=["127.0.0.1"], ports=(0,)) as running:
            up.append(running)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[main()])
    thread.start()
    assert ready.wait(10)
    yield up[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()
