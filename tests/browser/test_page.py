"""The page of ``icekit serve``: calls between browsers, and what it says of networks that work and that do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.pages import browser, fits_a_phone, page
from tests.browser.serving import address, call_each_other, calls, connected, joined, sees_and_hears, serving

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NO_UDP = ("--webrtc-ip-handling-policy=disable_non_proxied_udp",)


async def report(at: Page) -> dict[str, Any]:
    """What "Check this network" finds."""
    await at.click("#check")
    await at.locator("#check-status", has_text="Done.").wait_for(timeout=45_000)
    assert await at.is_visible("#report")
    found: dict[str, Any] = await at.evaluate("icekitReport")
    return found


async def test_a_page_calls_a_page_and_is_called() -> None:
    async with serving() as running, browser() as started, joined(started, address(running)) as one:
        async with joined(started, address(running)) as other:
            for caller, called in ((one, other), (other, one)):
                await calls(caller)
                await connected(caller, called)
                for at in (caller, called):
                    await sees_and_hears(at)
                    assert "direct" in await at.inner_text("#path")
                for number in (1, 2, 3, 4, 10, 11, 12, 13):
                    assert await caller.locator(f"#steps li:nth-child({number})[data-state=open]").count() == 0
                await caller.fill("#line", "<b>hello</b>")
                await caller.press("#line", "Enter")
                await called.locator("#lines", has_text="<b>hello</b>").wait_for()
                await called.click("#hang-up")
                await caller.locator("#status", has_text="The other side hung up.").wait_for()
                assert not await caller.is_visible("#numbers")
            # Both call at once.
            await call_each_other(one, other)
            await connected(one, other)
        # The other page is closed: it has left the room.
        await one.locator("#peers button[data-peer='']").wait_for(state="attached")


async def test_a_network_that_works_and_servers_that_do_not() -> None:
    async with serving() as running, browser() as started, page(started, address(running)) as at:
        assert running.stun is not None
        found = await report(at)
        assert found["verdict"]["code"] == "OK"
        assert "ICE006" not in {item["code"] for item in found["findings"]}
        relays = [server for server in found["servers"] if server["entry"]["turn"]]
        assert all(server["rtt"] is not None for server in relays)
        assert len(relays) == 2
        assert "credential" not in json.dumps(found).replace('"credential": null', "")
        assert "Calls work: direct to most peers, and a relay is there" in await at.inner_text("#verdict")

        port = running.stun.udp[0].port
        servers = [
            {"urls": f"stun:127.0.0.1:{port}"},
            {"urls": f"turn:127.0.0.1:{port}?transport=tcp", "username": "1600000000:page", "credential": "x"},
            {"urls": f"turn:127.0.0.1:{port}?transport=udp", "username": "u", "credential": "wrong"},
        ]
        await at.click("text=STUN and TURN servers")
        await at.fill("#ice-servers", json.dumps(servers))
        found = await report(at)
        assert found["verdict"]["code"] == "DIRECT-ONLY"
        text = await at.inner_text("#findings")
        assert "the time-limited credentials have expired" in text
        assert "What to do: Get fresh credentials" in text
        assert "wrong password, unknown user" in text
        assert text.count("TURN-401") == 2
        assert "x" not in [server["entry"]["credential"] for server in found["servers"]]

        await at.fill("#ice-servers", "nonsense")
        await at.press("#ice-servers", "Tab")
        await fits_a_phone(at)
        assert "This is no list of servers" in await at.inner_text("#ice-servers-problem")


async def test_where_udp_is_blocked_the_call_takes_the_relay_and_without_one_the_page_says_what_to_do() -> None:
    async with serving() as running, browser() as open_network, browser(*NO_UDP) as blocked:
        async with joined(blocked, address(running)) as one, joined(open_network, address(running)) as other:
            await calls(one)
            await connected(one, other)
            await sees_and_hears(other)
            assert "through your relay (tcp)" in await one.inner_text("#path")
            await one.click("#hang-up")

        # Without a relay there is no path: both are told what is missing.
        async with (
            joined(blocked, address(running, "other")) as one,
            joined(open_network, address(running, "other")) as other,
        ):
            for at in (one, other):
                await at.click("#leave-button")
                await at.click("text=STUN and TURN servers")
                await at.fill("#ice-servers", "[]")
                await at.click("#join-button")
            await calls(one)
            await one.locator("#call-problems article").first.wait_for(timeout=40_000)
            text = await one.inner_text("#call-problems")
            assert "ICE001" in text
            assert "What to do: Add a TURN server, with one entry over TLS on port 443" in text
