"""The HTML report on a phone and on paper: what is too wide says so, and the bars of the stages are seen whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from icekit.cli.probe_html import html
from icekit.cli.probe_page import probe_page
from tests.browser.pages import browser
from tests.cli.reports import REPORT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]

# For every drawing: what is asked of the reader before it, and how much of its width is out of sight.
_DRAWINGS = """() => [...document.querySelectorAll("figure")].map(figure => [
  getComputedStyle(figure, "::before").content, figure.scrollWidth - figure.clientWidth,
])"""


async def test_a_drawing_that_is_wider_than_the_screen_says_so(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(html(probe_page(REPORT), REPORT), encoding="utf-8")
    async with browser() as chromium:
        at = await chromium.new_page(viewport={"width": 390, "height": 844})
        await at.goto(file.as_uri())
        topology, *bars = await at.evaluate(_DRAWINGS)
        assert "scroll sideways" in topology[0]
        assert topology[1] > 100
        assert bars == [["none", 0]] * len(REPORT.turn)
        assert bars
        # The page itself never scrolls sideways.
        assert await at.evaluate("document.documentElement.scrollWidth") == 390
        await at.set_viewport_size({"width": 1000, "height": 800})
        assert await at.evaluate(_DRAWINGS) == [["none", 0]] * (1 + len(bars))
        # Paper cannot be scrolled.
        await at.set_viewport_size({"width": 390, "height": 844})
        await at.emulate_media(media="print")
        assert await at.evaluate(_DRAWINGS) == [["none", 0]] * (1 + len(bars))
