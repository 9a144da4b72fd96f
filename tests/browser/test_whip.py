"""A page with a WHIP and WHEP client of its own, in Chromium, against icekit's server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from icekit.call import Call
from icekit.call.config import CallConfig
from icekit.signaling.whip_server import RunningWhip, WhipChannel, WhipServerConfig, serve
from icekit.tokens import RoomGrant, make_token
from tests.browser.pages import browser, static_server
from tests.browser.python_peer import hears_and_sees

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CLIENT = (Path(__file__).parent / "whip.js").read_text(encoding="utf-8")
SECRET = "0123456789abcdef0123456789abcdef"


def blank(path: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "text/html"}, b"<!doctype html><title>WHIP</title>"


class Stage:
    """One call after the other, by WHIP what it hears and sees, by WHEP a tone and bars."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.ends: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, channel: WhipChannel) -> None:
        media = ["tone", "bars"] if channel.egress else []
        async with Call(channel, media=media, config=CallConfig(local_addresses=("127.0.0.1",))) as call:
            self.calls.put_nowait(call)
            self.ends.put_nowait(await call.ended())


@asynccontextmanager
async def page_at_stage(stage: Stage) -> AsyncIterator[tuple[Page, RunningWhip]]:
    # The page is of another origin than the server: all of its requests need CORS.
    with static_server(blank) as origin:
        config = WhipServerConfig(origins=(origin,), secrets=(SECRET,))
        async with serve(stage, config, port=0) as running, browser() as started:
            page = await started.new_page()
            await page.goto(origin)
            await page.evaluate(CLIENT + "\nwindow.begin = begin;")
            yield page, running


async def until(page: Page, expression: str) -> None:
    await page.wait_for_function(expression, timeout=20_000)


async def test_a_page_publishes() -> None:
    stage = Stage()
    token = make_token(SECRET, RoomGrant(room="stage", expires_at=int(time.time() + 300)))
    async with page_at_stage(stage) as (page, running), asyncio.timeout(100):
        assert await page.evaluate("url => begin(url, true, null)", running.url("/whip/stage")) == 401

        assert await page.evaluate("a => begin(a[0], true, a[1])", [running.url("/whip/stage"), token]) == 201
        call = await stage.calls.get()
        await call.connected()
        await hears_and_sees(call)
        assert await page.evaluate("whip.directions()") == ["sendonly", "sendonly"]
        patched = await page.evaluate("whip.patched")
        assert patched
        assert set(patched) == {204}

        assert await page.evaluate("whip.restart()") == 200
        await until(page, "whip.connection.iceConnectionState === 'connected'")
        seen = {level.kind: level.frames for level in call.levels}["video"]
        for _ in range(500):
            if {level.kind: level.frames for level in call.levels}["video"] > seen + 20:
                break
            await asyncio.sleep(0.02)
        assert {level.kind: level.frames for level in call.levels}["video"] > seen + 20
        assert await page.evaluate("whip.end()") == 200
        assert "ended the session" in await stage.ends.get()

        assert running.sessions == {}


async def test_a_page_watches() -> None:
    stage = Stage()
    token = make_token(SECRET, RoomGrant(room="stage", expires_at=int(time.time() + 300)))
    async with page_at_stage(stage) as (page, running), asyncio.timeout(60):
        assert await page.evaluate("a => begin(a[0], false, a[1])", [running.url("/whep/stage"), token]) == 201
        while min(await page.evaluate("Promise.all([whip.sees(), whip.hears()])")) < 10:
            await page.wait_for_timeout(50)
        assert await page.evaluate("whip.directions()") == ["recvonly", "recvonly"]
        assert await page.evaluate("whip.end()") == 200
        assert "ended the session" in await stage.ends.get()
        assert running.sessions == {}
