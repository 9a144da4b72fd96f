"""The page over a topic of RabbitMQ: with another page, and with Python in both directions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.pages import browser
from tests.browser.python_peer import both_directions
from tests.browser.serving import address, calls, connected, joined, sees_and_hears, serving
from tests.interop.brokers import rabbitmq

pytestmark = [pytest.mark.browser, pytest.mark.interop("rabbitmq-server"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """The URL of a broker, with a place for the room."""
    with rabbitmq() as running:
        yield f"stomp+ws://guest:guest@127.0.0.1:{running.ports['web_stomp']}/ws?topic={{room}}"


async def test_over_a_topic(broker: str) -> None:
    async with (
        serving(page_signaling=[broker]) as running,
        browser() as started,
        joined(started, address(running), signaling=broker) as at,
    ):
        async with joined(started, address(running), signaling=broker) as other:
            await calls(at)
            await connected(at, other)
            await sees_and_hears(at)
            await sees_and_hears(other)
            await at.click("#hang-up")
        await at.locator("#peers button[data-peer='']").wait_for()
        await both_directions(at, broker.replace("{room}", "room"))
