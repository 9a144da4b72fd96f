"""``/local``: two peers in one page, with the keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.pages import browser, fits_a_phone, page, static_server

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]

# What both have decoded, and the colours of the middle of the picture: the fake camera's is green.
_RECEIVED = """async () => {
  const sides = {};
  for (const id of ["a-remote", "b-remote"]) {
    const video = document.getElementById(id);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [8, 8];
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0, 8, 8);
    const {totalVideoFrames} = video.getVideoPlaybackQuality();
    const kinds = video.srcObject.getTracks().map(({kind}) => kind).sort();
    sides[id] = {frames: totalVideoFrames, pixel: [...context.getImageData(1, 4, 1, 1).data], kinds};
  }
  return sides;
}"""


async def press(at: Page, name: str) -> None:
    """Go to a button with the Tab key, as somebody without a mouse."""
    for _ in range(20):
        await at.keyboard.press("Tab")
        if await at.evaluate("document.activeElement.textContent") == name:
            await at.keyboard.press("Enter")
            return
    pytest.fail(f"the Tab key never came to {name!r}")


async def received(at: Page) -> dict[str, Any]:
    """What both sides see, when each has decoded something."""
    sides: dict[str, Any] = {}
    for _ in range(200):
        sides = await at.evaluate(_RECEIVED)
        if all(side["frames"] >= 5 for side in sides.values()):
            break
        await at.wait_for_timeout(50)
    return sides


async def test_two_peers_in_one_page() -> None:
    with static_server() as origin:
        async with browser() as started, page(started, f"{origin}/local") as at:
            assert await at.locator("#steps li").count() == 13
            assert await at.locator("#steps [data-state=open]").count() == 13
            for _ in range(2):
                await press(at, "Start")
                await at.wait_for_selector("#call:enabled")
                await at.wait_for_selector("#call:focus")
                await at.keyboard.press("Enter")
                await at.locator("#status", has_text="Connected.").wait_for()
                await at.locator("#steps [data-state=done]").nth(12).wait_for()
                for side in (await received(at)).values():
                    assert side["kinds"] == ["audio", "video"]
                    assert side["frames"] >= 5
                    red, green, blue, _ = side["pixel"]
                    assert green > 60
                    assert green > red
                    assert green > blue
                await press(at, "Hang up")
                await at.locator("#b-state", has_text="idle").wait_for()
                assert await at.inner_text("#status") == "You hung up."
                assert await at.evaluate("document.getElementById('a-own').srcObject") is None
            await fits_a_phone(at)
