from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from icekit.errors import ConfigError
from icekit.signaling import Answer, Bye, Offer, TrickledCandidate, connect, encode
from icekit.signaling.channel import Channel
from icekit.signaling.paste import MARK, pack
from icekit.signaling.stdio import StdioTransport
from tests.signaling.contract import PATIENCE, take

OFFER = Offer(sdp="v=0\r\na=ice-ufrag:abcd\r\n")
CANDIDATE = TrickledCandidate(candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host", sdp_mid="0")
END = TrickledCandidate(candidate="")


class Person:
    """Types into stdin, and reads what is printed."""

    def __init__(self) -> None:
        read, self._write = os.pipe()
        self.stdin = os.fdopen(read)
        self.stdout = io.StringIO()
        self.stderr = io.StringIO()

    @property
    def channel(self) -> Channel:
        return Channel(StdioTransport(self.stdin, self.stdout, self.stderr), "alice", "stdio:")

    def type(self, text: str) -> None:
        os.write(self._write, text.encode())

    def end(self) -> None:
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    @property
    def printed(self) -> list[str]:
        return self.stdout.getvalue().splitlines()


@pytest.fixture
def person() -> Iterator[Person]:
    found = Person()
    yield found
    found.end()
    found.stdin.close()


async def until(person: Person, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(person.printed) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_one_line_each_way(person: Person) -> None:
    async with person.channel as channel:
        for message in (OFFER, CANDIDATE, END):
            await channel.send(message)
        await until(person, 1)
        assert person.printed[0].startswith(MARK)
        theirs = (Answer(sdp="v=0", sender="bob"), replace(CANDIDATE, sender="bob"), replace(END, sender="bob"))
        person.type(pack([encode(message) for message in theirs]) + "\n")
        assert [type(message) for message in await take(channel, 3)] == [Answer, TrickledCandidate, TrickledCandidate]
    assert len(person.printed) == 1
    assert person.stderr.getvalue().splitlines() == [
        "Paste here what the other side gives you, and press Enter:",
        "Give this line to the other side:",
    ]


async def test_a_description_with_all_candidates_is_not_held(person: Person) -> None:
    async with person.channel as channel:
        await channel.send(Offer(sdp="v=0\r\na=end-of-candidates\r\n"))
        await until(person, 1)


async def test_who_pastes_its_own_line_is_told_nothing_new(person: Person) -> None:
    async with person.channel as channel:
        await channel.send(OFFER)
        await channel.send(END)
        await until(person, 1)
        person.type(person.printed[0] + "\n" + encode(Bye()) + "\n")
        assert await take(channel, 1) == [Bye()]


async def test_what_is_held_comes_out_at_the_end(person: Person) -> None:
    async with person.channel as channel:
        await channel.send(OFFER)
        person.type("hello\n")
        person.end()
        async with asyncio.timeout(PATIENCE):
            async for message in channel:
                raise AssertionError(message)
    assert "This was not understood: message: not JSON" in person.stderr.getvalue()
    assert len(person.printed) == 1


async def test_a_file_instead_of_a_person(tmp_path: Path) -> None:
    file = tmp_path / "line"
    file.write_text(encode(Bye()))
    with file.open() as stdin:
        async with Channel(StdioTransport(stdin, io.StringIO(), io.StringIO()), "a", "stdio:") as channel:
            assert await take(channel, 1) == [Bye()]


def test_stdout_has_only_the_line() -> None:
    program = """
import asyncio
from icekit.signaling import Offer, connect
async def main():
    async with connect("stdio:", name="alice") as channel:
        await channel.send(Offer(sdp="v=0\\r\\na=end-of-candidates\\r\\n"))
        async for message in channel:
            print(type(message).__name__)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=encode(Answer(sdp="v=0")) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    line, answer = done.stdout.splitlines()
    assert line.startswith(MARK)
    assert answer == "Answer"


def test_nothing_behind_it() -> None:
    assert connect("stdio:").name
    with pytest.raises(ConfigError, match="takes nothing"):
        connect("stdio:room")
