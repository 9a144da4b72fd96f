from __future__ import annotations

import pytest

from icekit.errors import ConfigError, SignalingError
from icekit.signaling import Offer, connect, without_secrets
from icekit.signaling.channel import Channel
from icekit.signaling.transport import Link, Traits


class Closed:
    traits = Traits()

    async def open(self) -> Link:
        raise ConnectionRefusedError(111, "Connection refused")


async def test_no_connection_at_the_start_is_an_error() -> None:
    with pytest.raises(SignalingError, match="ws://host/room: no connection: Connection refused"):
        async with Channel(Closed(), "alice", "ws://host/room"):
            raise AssertionError


def test_an_unknown_scheme() -> None:
    with pytest.raises(ConfigError, match="found the scheme 'pigeon', allowed: memory"):
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
