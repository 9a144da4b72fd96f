"""Headless Chromium inside a laboratory, and calls between two of them. Playwright talks to it through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icekit.lab import Namespace

if TYPE_CHECKING:
    # Not on every machine that collects the tests.
    from playwright.async_api import Page, Playwright

_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    # A host candidate is an address and not a name that only multicast would resolve.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
_FAILS_AFTER = 20.0
_SETTLED_AFTER = 2.0
_SETTLES_WITHIN = 20.0

_PAGE = (Path(__file__).parent / "call.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Selected:
    """The pair that carries the data, as one side sees it: two kinds, and how it reaches its own relay."""

    local: str
    remote: str
    relay_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a call: the pairs of both sides, ``None`` if it failed, and seconds until the echo or failure."""

    a: Selected | None
    b: Selected | None
    seconds: float

    @property
    def path(self) -> str:
        if self.a is None or self.b is None:
            return "none"
        kinds = (self.a.local, self.a.remote, self.b.local, self.b.remote)
        return "relay" if "relay" in kinds else "direct"


@asynccontextmanager
async def chromium(playwright: Playwright, program: Path, namespace: Namespace, folder: Path) -> AsyncIterator[Page]:
    """A page of a browser in ``namespace``. ``folder`` is for the script that starts ``program`` there."""
    starter = folder / f"{namespace.name}.sh"
    starter.write_text(f'#!/bin/sh\nexec {shlex.join(namespace.command([str(program)]))} "$@"\n', encoding="utf-8")
    starter.chmod(0o700)
    # Root has no sandbox; Playwright makes a profile of its own for every browser.
    browser = await playwright.chromium.launch(
        executable_path=starter, args=_ARGUMENTS, chromium_sandbox=False, timeout=60_000
    )
    try:
        # As a page that calls: without it Chromium does not look at the interfaces.
        page = await browser.new_page(permissions=["microphone"])
        await page.evaluate(_PAGE)
        yield page
    finally:
        await browser.close()


async def call(name: str, a: Page, b: Page, servers: Sequence[Mapping[str, Any]]) -> Ended:
    """``a`` calls ``b``, opens a data channel and has a message echoed.

    Descriptions hold the candidates of the first second.
    """
    began = time.monotonic()
    await b.evaluate("arguments => start(...arguments)", [name, list(servers), False])
    await a.evaluate("arguments => start(...arguments)", [name, list(servers), True])
    pumps = [asyncio.create_task(_carry(name, one, other)) for one, other in ((a, b), (b, a))]
    try:
        echoed = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAILS_AFTER):
                echoed = await a.evaluate("name => echoed(name)", name)
        seconds = time.monotonic() - began
        if not echoed:
            return Ended(None, None, seconds)
        return Ended(*await _settled(name, a, b), seconds)
    finally:
        await asyncio.gather(*(page.evaluate("name => close(name)", name) for page in (a, b)))
        # A page that is closed has nothing more to say.
        await asyncio.gather(*pumps)


async def _carry(name: str, source: Page, target: Page) -> None:
    while (message := await source.evaluate("name => next(name)", name)) is not None:
        await target.evaluate("([name, message]) => deliver(name, message)", [name, message])


async def _settled(name: str, a: Page, b: Page) -> tuple[Selected, Selected]:
    """Chromium sends as soon as any pair works and moves to better ones: the pairs that both have kept for a while."""
    began = since = time.monotonic()
    pairs: list[Any] | None = None
    while (now := time.monotonic()) < began + _SETTLES_WITHIN:
        seen = [await page.evaluate("name => selected(name)", name) for page in (a, b)]
        if seen != pairs:
            pairs, since = seen, now
        elif now - since > _SETTLED_AFTER and all(pairs):
            break
        await asyncio.sleep(0.1)
    assert pairs is not None
    one, other = (Selected(**pair) for pair in pairs)
    return one, other
