"""Several people in a room, each with each."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from icekit.call.mesh import MAX_PEOPLE, Mesh, PeerChannel, _file_of
from icekit.phases import Deadlines
from icekit.signaling import Bye, Message, Offer, Presence
from tests.call.calls import until
from tests.call.rooms import config, room


async def test_three_people_each_with_each() -> None:
    async with room("alice", "bob", "carl") as channels, AsyncExitStack() as stack:
        meshes = [
            await stack.enter_async_context(Mesh(channel, media=["tone"], config=config(receive=("audio",))))
            for channel in channels
        ]
        await asyncio.gather(*(mesh.connected(2) for mesh in meshes))
        assert [sorted(mesh.calls) for mesh in meshes] == [["bob", "carl"], ["alice", "carl"], ["alice", "bob"]]
        await asyncio.gather(*(call.first_media() for mesh in meshes for call in mesh.calls.values()))
        await until(lambda: all(call.can_send for mesh in meshes for call in mesh.calls.values()))
        meshes[0].send("to all")
        for mesh in meshes[1:]:
            assert await mesh.calls["alice"].receive() == "to all"
        meshes[0].mute("audio")
        assert all(call._tracks[0].muted for call in meshes[0].calls.values())
        # One goes, the others stay.
        await meshes[2].hang_up()
        await asyncio.gather(*(mesh.until_ended() for mesh in meshes[:2]))
        assert [list(mesh.ended) for mesh in meshes[:2]] == [["carl"], ["carl"]]
        assert meshes[0].ended["carl"].ok
        meshes[1].send("still here")
        assert await meshes[0].calls["bob"].receive() == "still here"


async def test_who_comes_again_is_called_again() -> None:
    async with room("alice", "bob") as (one, other), Mesh(one, config=config(receive=())) as mesh:
        for _ in range(2):
            async with Mesh(other, config=config(receive=())) as guest:
                guest._meet("alice")
                await asyncio.gather(mesh.connected(), guest.connected())
            await until(lambda: not mesh.calls)
        assert mesh.ended["bob"].ok


async def test_a_call_that_fails_is_no_failure_of_the_others() -> None:
    settings = config(receive=(), deadlines=Deadlines(answer=0.3))
    async with room("alice", "silent") as (one, _), Mesh(one, config=settings) as mesh:
        await mesh.until_ended()
        assert mesh.ended["silent"].code in ("CALL-OFFER", "CALL-ANSWER")
        assert not mesh.ended["silent"].ok


class Deaf:
    """A channel that nobody listens to."""

    name = "me"

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        await asyncio.Event().wait()
        yield


async def test_a_room_is_full_at_eight(caplog: pytest.LogCaptureFixture) -> None:
    async with Mesh(Deaf(), config=config(receive=())) as mesh:
        names = tuple(f"peer{number}" for number in range(12))
        mesh._take(Presence(peers=("me", *names)))
        assert len(mesh.calls) == MAX_PEOPLE - 1
        assert len(mesh.left_out) == 12 - 7
        mesh._take(Presence(left=(names[-1],)))
        assert names[-1] not in mesh.left_out
        mesh._take(Bye(sender="nobody"))
        mesh._take(Offer(sdp="x"))
    assert "is left out: a call like this one is for 8 people" in caplog.text
    assert len(mesh.ended) <= 7


async def test_messages_of_one_peer_and_only_so_many() -> None:
    channel = Deaf()
    part = PeerChannel(channel, "bob")
    assert part.name == "me"
    await part.send(Bye())
    assert [message.to for message in channel.sent] == ["bob"]
    for number in range(2000):
        part.give(Bye(reason=str(number)))
    assert part._messages.qsize() == 1000


def test_a_name_is_no_path() -> None:
    assert _file_of(Path("a/call.mp4"), "Bob") == Path("a/call-Bob.mp4")
    assert _file_of(Path("call.mp4"), "../../etc/passwd") == Path("call-______etc_passwd.mp4")
