"""Headless Chromium with fake devices on the pages of ``icekit.web``."""

from __future__ import annotations

import http.server
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from icekit.web.pages import pages
from tests.requirements import require_program

if TYPE_CHECKING:
    # Not on every machine that collects the tests.
    from playwright.async_api import Browser, BrowserContext, Page

_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--auto-select-desktop-capture-source=Entire screen",
    # A host candidate is an address and not a name that only multicast would resolve.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)


@asynccontextmanager
async def browser(*arguments: str) -> AsyncIterator[Browser]:
    """A browser without a sandbox, which root has not got, with more ``arguments``."""
    from playwright.async_api import async_playwright

    program = require_program("chromium")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=program, args=(*_ARGUMENTS, *arguments), chromium_sandbox=False, timeout=60_000
        )
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def page(owner: Browser | BrowserContext, url: str) -> AsyncIterator[Page]:
    """A page that must neither throw nor write an error to the console (a breach of its Content-Security-Policy)."""
    opened = await owner.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    await opened.goto(url)
    await opened.locator("html[data-ready]").wait_for()
    yield opened
    await opened.close()
    origin = "/".join(url.split("/")[:3])
    assert [item for item in asked if not item.startswith(origin)] == []
    assert wrong == []


async def fits_a_phone(at: Page) -> None:
    """Nothing is wider than a narrow screen; every control has a name, and is large enough for a finger."""
    await at.set_viewport_size({"width": 320, "height": 640})
    assert await at.evaluate("document.documentElement.scrollWidth") <= 320
    for control in await at.locator("button:visible, input:visible, select:visible, summary:visible").all():
        assert await control.evaluate("node => node.textContent.trim() || node.labels[0].textContent.trim()")
        box = await control.bounding_box()
        assert box is not None
        assert box["height"] >= 40


@contextmanager
def static_server(hook: Callable[[str], tuple[int, dict[str, str], bytes]] | None = None) -> Iterator[str]:
    """The pages alone, on a thread; gives their origin."""
    give = hook or pages()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = give(self.path.partition("?")[0])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
