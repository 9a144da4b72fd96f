"""Headless Chromium, driven by Playwright: ``python -m icekit.bench.programs.chromium``.

Times are those of the page's own clock, moved onto CLOCK_MONOTONIC; the two are compared at the start and agree within
the time that a call into the page takes (a millisecond or two).
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from icekit.bench.lines import PairEnd, Start, TrickledCandidate
from icekit.bench.programs.stdio import GREETING, LABEL, Pair, Voice, Write, run_main, serve

_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    # Sound without anybody who clicks.
    "--autoplay-policy=no-user-gesture-required",
    # A host candidate is an address and not a name that only multicast would resolve.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
_PAGE = (Path(__file__).parent / "chromium.js").read_text(encoding="utf-8")
_COMPARISONS = 20


class Clock:
    """The page's clock, and where its zero is on CLOCK_MONOTONIC."""

    def __init__(self, zero: float) -> None:
        self.zero = zero

    @classmethod
    async def compare(cls, page: Page) -> Clock:
        """The comparison that took the least time is the best one."""
        found: list[tuple[float, float]] = []
        for _ in range(_COMPARISONS):
            before = time.monotonic()
            inside = await page.evaluate("performance.now()") / 1000
            after = time.monotonic()
            found.append((after - before, (before + after) / 2 - inside))
        return cls(min(found)[1])


class ChromiumPeer:
    """A peer connection of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._sending: set[asyncio.Task[Any]] = set()

    async def start(self, start: Start) -> None:
        """Make it; if it offers, open the channel and tell the offer."""
        configuration: dict[str, Any] = {"iceServers": list(start.ice_servers)}
        if start.relay_only:
            configuration["iceTransportPolicy"] = "relay"
        await self.page.evaluate(
            "arguments => start(arguments)",
            {
                "role": start.role,
                "configuration": configuration,
                "trickle": start.trickle,
                "label": LABEL,
                "greeting": GREETING,
                "media": start.media,
            },
        )

    async def describe(self, kind: str, sdp: str) -> None:
        """The other side's description; an offer is answered."""
        await self.page.evaluate("([kind, sdp]) => describe(kind, sdp)", [kind, sdp])

    async def add_candidate(self, item: TrickledCandidate) -> None:
        """A candidate of the other side, or the end of them."""
        candidate = {"candidate": item.candidate, "sdpMid": item.sdp_mid, "sdpMLineIndex": item.sdp_mline_index}
        if item.candidate or item.sdp_mid is not None:
            await self.page.evaluate("candidate => addCandidate(candidate)", candidate)

    def send(self, text: str) -> None:
        """Send over the channel."""
        task = asyncio.ensure_future(self.page.evaluate("text => send(text)", text))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def pair(self) -> Pair | None:
        """The pair in use, from the statistics."""
        pair = await self.page.evaluate("() => pair()")
        return None if pair is None else (_end(pair[0]), _end(pair[1]))

    async def close(self) -> None:
        """End it."""
        await self.page.evaluate("() => close()")


def _hear(voice: Voice, clock: Clock, fields: dict[str, Any]) -> None:
    """Hand on what the page tells."""
    at = clock.zero + fields["at"] / 1000
    match fields["type"]:
        case "state":
            voice.state(fields["of"], fields["state"], at)
        case "selected":
            voice.selected(at)
        case "open":
            voice.opened(at)
        case "echo":
            voice.echoed(fields["text"], at)
        case "media":
            voice.sounded(at)
        case "candidate":
            voice.candidate(fields["candidate"], fields.get("sdpMid"), fields.get("sdpMLineIndex"), at)
        case "error":
            voice.failed(fields["message"])
        case kind:
            voice.described(kind, fields["sdp"], at)


def _end(fields: dict[str, Any]) -> PairEnd:
    return PairEnd(kind=fields["type"], address=fields["address"], port=fields["port"])


async def main(write: Write) -> None:
    """Start a browser and serve the driver."""
    async with async_playwright() as playwright:
        # Root has no sandbox.
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=_ARGUMENTS, chromium_sandbox=False, timeout=60_000
        )
        try:
            # As a page that calls: without it Chromium does not look at the interfaces.
            page = await browser.new_page(permissions=["microphone"])
            clock = await Clock.compare(page)
            # What the page tells belongs to the connection that is under way.
            voices: list[Voice] = []
            await page.expose_function("tell", lambda fields: _hear(voices[0], clock, fields))
            await page.evaluate(_PAGE)

            def make_peer(voice: Voice) -> ChromiumPeer:
                voices[:] = [voice]
                return ChromiumPeer(page)

            await serve(write, "chromium", browser.version, make_peer, media=True)
        finally:
            await browser.close()


if __name__ == "__main__":
    run_main(main)
