"""A server of everything for the tests of its page, and what they all do there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from icekit.server import ServerConfig, TurnServerConfig
from icekit.signaling.server import SignalingServerConfig
from icekit.web.server import Running, serve
from tests.browser.pages import page

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

HOSTS = ("127.0.0.1", "127.0.0.2")
# To whatever addresses this machine has; nothing listens there but the two browsers.
ALLOWED = ("0.0.0.0/0", "::/0")


@asynccontextmanager
async def serving(page_signaling: Sequence[str] = ()) -> AsyncIterator[Running]:
    turn = TurnServerConfig(users={"u": "p"}, relay_ipv4=HOSTS[0], allow_peers=ALLOWED)
    config = ServerConfig(turn=turn)
    async with serve(
        stun=config,
        signaling=SignalingServerConfig(),
        hosts=HOSTS,
        ports=(0, 0),
        http_port=0,
        page_signaling=page_signaling,
    ) as running:
        yield running


def address(running: Running, room: str = "room") -> str:
    assert running.signaling is not None
    return f"{running.signaling.page()}#room={room}"


@asynccontextmanager
async def joined(owner: Browser | BrowserContext, url: str, *, signaling: str | None = None) -> AsyncIterator[Page]:
    """A page that has joined its room, over one of the channels that it offers."""
    async with page(owner, url) as at:
        if signaling is not None:
            await at.select_option("#signaling", signaling)
        await at.click("#join-button")
        await at.locator("#status", has_text="In the room.").wait_for()
        yield at


async def calls(at: Page) -> None:
    """Call the one who is there."""
    await at.locator("#peers button:not([data-peer=''])").click()


async def call_each_other(*pages: Page) -> None:
    """All call at one moment. Whoever has heard of the other's call before that does not call any more."""
    script = """() => new Promise((done) => setTimeout(() => {
        const button = document.querySelector("#peers button:not([data-peer=''])");
        if (button?.checkVisibility()) button.click();
        done();
    }, 500 - Date.now() % 500))"""
    await asyncio.gather(*(at.evaluate(script) for at in pages))


async def connected(*pages: Page) -> None:
    for at in pages:
        await at.locator("#status", has_text="connected.").wait_for(timeout=20_000)


async def sees_and_hears(at: Page) -> None:
    """Frames of the other side are decoded and its beeps are heard, within a few seconds."""
    heard = 0.0
    for _ in range(300):
        frames, level = await at.evaluate(
            "[document.getElementById('remote').getVideoPlaybackQuality().totalVideoFrames,"
            " document.getElementById('level-remote').value]"
        )
        heard = max(heard, level)
        if frames >= 10 and heard > 0.001:
            return
        await at.wait_for_timeout(50)
    pytest.fail(f"{frames} frames, level {heard}")
