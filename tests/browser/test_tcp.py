"""ICE-TCP with Chromium where UDP is dropped: it connects to our listening socket (RFC 6544: it is active, always)."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from icekit.lab import Namespace
from tests.browser.chromium import chromium
from tests.requirements import require_program

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(120)]

_PEER = Path(__file__).parent / "tcp_peer.py"
_ROOT = Path(__file__).parent.parent.parent
_NO_UDP = """
table inet lab {
    chain out { type filter hook output priority 0; meta l4proto udp drop; }
    chain in { type filter hook input priority 0; meta l4proto udp drop; }
}
"""


@pytest.mark.parametrize("offers", ["icekit", "chromium"])
async def test_chromium_connects_over_tcp_where_udp_is_dropped(offers: str, tmp_path: Path) -> None:
    from playwright.async_api import async_playwright

    program = require_program("chromium")
    with Namespace("browser") as browser, Namespace("peer") as other:
        browser.connect("eth0", other, "eth0")
        browser.ip("addr add 10.77.0.1/24 dev eth0", "route add default via 10.77.0.2")
        other.ip("addr add 10.77.0.2/24 dev eth0", "route add default via 10.77.0.1")
        browser.nft(_NO_UDP)
        command = other.command([sys.executable, str(_PEER), "offer" if offers == "icekit" else "answer"])
        peer = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            env={"PYTHONPATH": str(_ROOT)},
        )
        assert peer.stdin is not None
        assert peer.stdout is not None
        try:
            async with async_playwright() as playwright, chromium(playwright, program, browser, tmp_path) as page:
                await page.evaluate("arguments => start(...arguments)", ["tcp", [], offers == "chromium"])

                async def carry() -> None:
                    while (message := await page.evaluate("name => next(name)", "tcp")) is not None:
                        peer.stdin.write(json.dumps(message).encode() + b"\n")

                async def heard(name: str) -> Any:
                    while line := await peer.stdout.readline():
                        message = json.loads(line)
                        if "description" in message:
                            await page.evaluate("([name, message]) => deliver(name, message)", ["tcp", message])
                        if name in message:
                            return message[name]
                    raise AssertionError("the program of the peer has ended")

                carrying = asyncio.create_task(carry())
                async with asyncio.timeout(60):
                    if offers == "icekit":
                        assert await heard("echoed") is True
                    else:
                        await heard("description")
                        assert await page.evaluate("name => echoed(name)", "tcp") is True
                    peer.stdin.write(b'{"selected": true}\n')
                    assert await heard("selected") == [["tcp", "tcp"]]
                selected = await page.evaluate("name => selected(name)", "tcp")
                assert (selected["local"], selected["remote"]) == ("prflx", "host")
                await page.evaluate("name => close(name)", "tcp")
                await carrying
        finally:
            peer.kill()
            await peer.wait()
