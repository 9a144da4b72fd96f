"""Python as the other side of a page: ``icekit call`` that calls and is called, and ``Call`` that is called."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from icekit.call import Call
from icekit.signaling import connect
from tests.browser.serving import connected, sees_and_hears

if TYPE_CHECKING:
    from playwright.async_api import Page

SECONDS = 3
# Of two names the greater one offers as soon as it sees the other: the page is called browser-….
CALLER, CALLED_COMMAND, CALLED = "python", "adam", "alice"


async def both_directions(at: Page, url: str) -> None:
    """``at`` is a page in the room that is at ``url``: it is called, then it calls."""
    for name, side in ((CALLER, "A"), (CALLED_COMMAND, "B")):
        python = asyncio.create_task(icekit_call(url, name))
        if side == "B":
            await at.locator(f"#peers button[data-peer={name}]").click()
        await connected(at)
        await sees_and_hears(at)
        outcome = await python
        await at.locator("#status", has_text="The other side hung up.").wait_for()
        assert outcome["side"] == side
        frames = {level["kind"]: level["frames"] for level in outcome["levels"]}
        assert frames["video"] >= 10
        assert frames["audio"] >= 50

    async with connect(url, name=CALLED) as channel, Call(channel, media=["tone", "bars"]) as call:
        await at.locator(f"#peers button[data-peer={CALLED}]").click()
        await call.connected()
        await connected(at)
        await sees_and_hears(at)
        await hears_and_sees(call)
        assert not call.trace.offers
        await call.opened()
        call.send("from Python")
        await at.locator("#lines", has_text="from Python").wait_for()
        await at.fill("#line", "from the page")
        await at.press("#line", "Enter")
        while await call.receive() != "from the page":
            pass
        await at.click("#hang-up")
        assert "hung up" in await call.ended()


async def icekit_call(url: str, name: str) -> dict[str, Any]:
    """What ``icekit call --json`` says of a call that it ends itself."""
    command = ["call", url, "--name", name, "--duration", str(SECONDS), "--media", "tone,bars", "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "icekit", *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    found: dict[str, Any] = json.loads(output)
    return found


async def hears_and_sees(call: Call) -> None:
    """Decoded frames of the fake camera, and a beep of the fake microphone, which lasts a part of each second."""
    loudest, frames = 0.0, 0
    async with asyncio.timeout(20):
        while loudest < 0.01 or frames < 10:
            await asyncio.sleep(0.02)
            levels = {level.kind: level for level in call.levels}
            loudest = max(loudest, levels["audio"].level or 0.0) if "audio" in levels else 0.0
            frames = levels["video"].frames if "video" in levels else 0
