"""What ``icekit.server_list`` says that Chromium makes of a URL, asked of Chromium."""

from __future__ import annotations

from typing import Any

import pytest

from icekit.server_list import Use, read_list, uses
from tests.requirements import require_program

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

URLS = [
    *("stun:a.example", "stuns:a.example", "turn:a.example", "turns:a.example", "turns:a.example?transport=udp"),
    *("turn:a.example?transport=tcp", "turn:[2001:db8::1]", "stun:[2001:db8::1]:3478", "STUN:a.example"),
    *("stun:a.example?transport=udp", "turn:a.example?transport=tls", "turn:a.example?transport=sctp"),
    *("turn://a.example", "a.example", "turn:bob@a.example", "turn:a.example:0", "turn:a.example:99999", "stun:"),
    *("http://a.example", "stun:a.example:3478:1", "turn:a.example?ttl=3", "turn:a.example?transport=udp&x=1"),
]
USER = {"username": "bob", "credential": "x"}
ENTRIES: list[dict[str, Any]] = [
    *({"urls": url, **USER} for url in URLS),
    {"urls": "turn:a.example"},
    {"urls": "turn:a.example", "username": "bob"},
    {"urls": "turn:a.example", "username": "", "credential": ""},
    {"urls": "turn:a.example", "username": "u" * 509, "credential": "x"},
    {"urls": "turn:a.example", "username": "u" * 510, "credential": "x"},
    {"urls": ["stun:a.example", "bad"]},
    {"url": "stun:a.example"},
]
# True for each list that the constructor takes.
_ASK = """lists => lists.map(iceServers => {
    try { new RTCPeerConnection({iceServers}).close(); return true; } catch { return false; }
})"""


async def test_chromium_refuses_what_we_say_it_refuses() -> None:
    from playwright.async_api import async_playwright

    lists = [[entry] for entry in ENTRIES]
    async with async_playwright() as playwright:
        path = require_program("chromium")
        # Root has no sandbox.
        browser = await playwright.chromium.launch(executable_path=path, chromium_sandbox=False)
        taken = await (await browser.new_page()).evaluate(_ASK, lists)
        await browser.close()
    foretold = [
        all(item.chromium.use is not Use.REFUSED for item in uses(read_list(entries).servers)) for entries in lists
    ]
    wrong = [entries for entries, one, other in zip(lists, taken, foretold, strict=True) if one is not other]
    assert wrong == []
