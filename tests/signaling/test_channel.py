from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from icekit import signaling
from icekit.errors import ConfigError, SignalingError
from icekit.signaling import Bye, Offer, connect, without_secrets
from icekit.signaling.channel import PATIENCE, Channel
from icekit.signaling.transport import Link, Traits, Transport
from icekit.sim import Internet


class Closed:
    traits = Traits()

    async def open(self) -> Link:
        raise ConnectionRefusedError(111, "Connection refused")


async def test_no_connection_at_the_start_is_an_error() -> None:
    with pytest.raises(SignalingError, match="ws://host/room: no connection: nothing listens there"):
        async with Channel(Closed(), "alice", "ws://host/room"):
            raise AssertionError


def test_an_unknown_scheme() -> None:
    with pytest.raises(
        ConfigError, match=r"found the scheme 'pigeon', allowed: http, https, memory.*; most write ws://"
    ):
        connect("pigeon://roof")


def test_a_name_for_everybody() -> None:
    assert connect("memory:x", name="alice").name == "alice"
    assert connect("memory:x").name != connect("memory:x").name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://host:1/room?token=secret", "ws://host:1/room"),
        ("mqtt://user:secret@host/room", "mqtt://host/room"),
        ("memory:room", "memory:room"),
        ("unix:/tmp/x?a=secret", "unix:/tmp/x"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


async def test_a_message_that_cannot_be_written_harms_nothing() -> None:
    async with connect("memory:unwritable") as channel:
        with pytest.raises(SignalingError, match="at most"):
            await channel.send(Offer(sdp="x" * 3_000_000))
        await channel.send(Offer(sdp="x"))


class Flaky:
    """One connection after the other; ``fail`` breaks it, ``down`` refuses the next."""

    traits = Traits()

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.opened = 0
        self.closed = 0
        self.down = False
        self.broken = asyncio.Event()
        self.failure: Callable[[], BaseException] = ConnectionResetError

    async def open(self) -> Link:
        if self.down:
            raise ConnectionRefusedError(111, "Connection refused")
        self.opened += 1
        self.broken = asyncio.Event()
        return FlakyLink(self)

    def fail(self) -> None:
        self.broken.set()


class FlakyLink:
    def __init__(self, transport: Flaky) -> None:
        self.transport = transport
        self.broken = transport.broken

    async def send(self, line: str) -> None:
        self.transport.sent.append(line)

    async def receive(self) -> str:
        await self.broken.wait()
        raise self.transport.failure()

    async def close(self) -> None:
        self.transport.closed += 1


def in_virtual_time(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    Internet(seed=1).run(program())


def test_a_server_that_is_away_for_a_minute() -> None:
    async def program() -> None:
        flaky = Flaky()
        async with Channel(flaky, "alice", "flaky:") as channel:
            await asyncio.sleep(0)
            flaky.down = True
            flaky.fail()
            await asyncio.sleep(10)
            await channel.send(Bye(reason="meanwhile"))
            await asyncio.sleep(50)
            assert not any("meanwhile" in line for line in flaky.sent)
            flaky.down = False
            await asyncio.sleep(6)
            assert flaky.opened == 2
            assert any("meanwhile" in line for line in flaky.sent)
        assert flaky.closed == 2

    in_virtual_time(program)


def test_a_server_that_never_comes_back() -> None:
    async def program() -> None:
        loop = asyncio.get_running_loop()
        flaky = Flaky()
        async with Channel(flaky, "alice", "flaky:") as channel:
            await asyncio.sleep(0)
            flaky.down = True
            flaky.fail()
            start = loop.time()
            with pytest.raises(SignalingError, match="for 120 s none could be made: nothing listens there"):
                await anext(channel)
            assert PATIENCE <= loop.time() - start < PATIENCE + 10
            with pytest.raises(SignalingError, match="closed"):
                await channel.send(Bye())

    in_virtual_time(program)


def test_whatever_a_library_raises_is_told_to_who_waits() -> None:
    async def program() -> None:
        flaky = Flaky()
        flaky.failure = lambda: ValueError("of the library")
        async with Channel(flaky, "alice", "flaky:") as channel:
            await asyncio.sleep(0)
            flaky.fail()
            with pytest.raises(SignalingError, match="flaky:: ValueError: of the library"):
                await anext(channel)

    in_virtual_time(program)


def test_a_library_that_swallows_a_cancellation() -> None:
    class Stubborn(FlakyLink):
        async def receive(self) -> str:
            try:
                await self.broken.wait()
            except asyncio.CancelledError:
                await self.broken.wait()
            raise AssertionError

    class StubbornTransport(Flaky):
        async def open(self) -> Link:
            return Stubborn(self)

    async def program() -> None:
        async with Channel(StubbornTransport(), "alice", "stubborn:"):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    in_virtual_time(program)


def test_other_peoples_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    def transport(url: str, *, name: str, token: str | None) -> Transport:
        assert (url, name, token) == ("pigeon://roof", "alice", "secret")
        return Flaky()

    entry = EntryPoint("pigeon", "somewhere:transport", signaling.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: transport)
    monkeypatch.setattr(signaling, "entry_points", lambda **selection: EntryPoints([entry]).select(**selection))
    assert connect("pigeon://roof", name="alice", token="secret").name == "alice"
    with pytest.raises(ConfigError, match="pigeon"):
        connect("dove://roof")
