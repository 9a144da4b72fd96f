"""``examples/ping.py``: both signalings, with one engine and with one at each end."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.examples.programs import OURS, STOCK, Running, program, running
from tests.pages import shown

COUNT = ("--count", "3")


def ends(engines: tuple[str, str], folder: Path) -> list[Path]:
    """The program of the caller and that of the callee."""
    found = []
    for role, engine in zip(("caller", "callee"), engines, strict=True):
        (folder / role).mkdir()
        found.append(program("ping.py", engine, folder / role))
    return found


async def check(caller: Running, callee: Running) -> None:
    said, nothing = await asyncio.gather(caller.ended(), callee.ended())
    assert re.fullmatch("".join(rf"ping {number}: [0-9.]+ ms\n" for number in range(3)), said)
    assert nothing == ""


@pytest.mark.parametrize("engines", [("icekit", "icekit"), ("aiortc", "aiortc")], ids="-".join)
async def test_over_a_unix_socket(engines: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A relative name: that of the folder may be longer than the name of a socket may be.
    monkeypatch.chdir(tmp_path)
    one, other = ends(engines, tmp_path)
    async with running(one, "call", "--socket", "ping.socket", *COUNT) as caller:
        while not await asyncio.to_thread(Path("ping.socket").exists):  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
        async with running(other, "answer", "--socket", "ping.socket") as callee:
            await check(caller, callee)


def test_the_line_that_differs() -> None:
    text = shown("examples/README.md", "tests/examples/test_ping.py::test_the_line_that_differs")
    assert [line.partition("#")[0].rstrip() + "\n" for line in text.splitlines()] == [STOCK, OURS]


async def carry(source: Running, target: Running) -> None:
    """Copy and paste: what one prints as JSON is given to the other."""
    async for line in source.stdout:
        if line.startswith(b"{"):
            target.stdin.write(line)


@pytest.mark.parametrize("engines", [("icekit", "aiortc"), ("aiortc", "icekit")], ids="-".join)
async def test_by_copy_and_paste(engines: tuple[str, str], tmp_path: Path) -> None:
    one, other = ends(engines, tmp_path)
    async with running(one, "call", *COUNT) as caller, running(other, "answer") as callee:
        await asyncio.gather(carry(caller, callee), carry(callee, caller), check(caller, callee))
