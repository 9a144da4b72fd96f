"""The pages of ``examples/`` in Chromium, with its own test picture as the camera, on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.examples.programs import ENGINES, program, serving
from tests.requirements import require_program

if TYPE_CHECKING:
    # Not on every machine that collects the tests.
    from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

_ARGUMENTS = (
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    # A host candidate is an address and not a name that only multicast would resolve.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
_CONNECTED = "text=connected"
# The picture has arrived and moves.
_MOVES = "([id, after]) => document.getElementById(id).currentTime > after"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        # Root has no sandbox.
        path = require_program("chromium")
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS, chromium_sandbox=False)
        yield browser
        await browser.close()


async def moves(page: Page, picture: str) -> None:
    """Frames of the picture are shown; the time of a stream is that of its last frame."""
    await page.wait_for_selector(_CONNECTED)
    await page.wait_for_function(_MOVES, arg=[picture, 0.2])


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_browser_calls_the_server(engine: str, browser: Browser, tmp_path: Path) -> None:
    async with serving(program("echo_server.py", engine, tmp_path)) as url:
        page = await browser.new_page()
        response = await page.goto(f"{url}other")
        assert response is not None
        assert response.status == 404
        await page.goto(url)
        await page.click("#call")
        await page.wait_for_selector("text=you said: hello")
        await moves(page, "back")


@pytest.mark.parametrize("engine", ENGINES)
async def test_one_browser_looks_at_another(engine: str, browser: Browser, tmp_path: Path) -> None:
    async with serving(program("media_relay.py", engine, tmp_path)) as url:
        sender, viewer = await browser.new_page(), await browser.new_page()
        await viewer.goto(url)
        await viewer.click("#look")
        await viewer.wait_for_selector("text=nobody sends a picture yet")
        await sender.goto(url)
        await sender.click("#send")
        await sender.wait_for_selector(_CONNECTED)
        await viewer.goto(url)
        await viewer.click("#look")
        await moves(viewer, "picture")
