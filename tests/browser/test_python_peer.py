"""The page and Python: each calls the other, over the rooms of ``icekit serve``."""

from __future__ import annotations

import pytest

from tests.browser.pages import browser
from tests.browser.python_peer import both_directions
from tests.browser.serving import address, joined, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def test_over_rooms() -> None:
    async with serving() as running, browser() as started, joined(started, address(running)) as at:
        assert running.signaling is not None
        await both_directions(at, running.signaling.url("room"))
