"""What ``diagnose`` of icekit.js says behind real NATs: Chromium in namespaces, each with the verdict it deserves."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from icekit.lab.servers import USERNAME, running_servers, urls
from icekit.lab.tun_lab import SERVER_ADDRESSES, TunLab
from icekit.sim.link import Link
from icekit.web.conclusions import catalogue
from tests.browser.chromium import chromium
from tests.requirements import require_program
from tests.web.node import STATIC

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(120)]

PASSWORD = "secret"
STUN, *TURN = urls(SERVER_ADDRESSES[0])
OTHER_STUN, *_ = urls(SERVER_ADDRESSES[1])
TURN_SERVER = {"urls": TURN, "username": USERNAME, "credential": PASSWORD}
# Seconds that a silent server gets: a round trip takes 0.04.
PATIENCE = 4

_DIAGNOSE = """async ([source, servers, catalogue, patience]) => {
  const {diagnose} = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
  return diagnose(servers, {catalogue, patience});
}"""

# The NAT, with a relay or without; what is observed, and concluded.
CASES = {
    ("port-restricted", True): ("yes endpoint-independent udp many", "OK"),
    ("port-restricted", False): ("yes endpoint-independent unset many", "DIRECT-ONLY"),
    ("symmetric", True): ("yes dependent udp many", "RELAY-ONLY"),
    ("symmetric", False): ("yes dependent unset many", "DIRECT-ONLY"),
    ("open", True): ("yes none udp many", "OK"),
    ("udp-blocked", True): ("no unknown tcp many", "UDP-BLOCKED"),
    ("udp-blocked", False): ("no unknown unset many", "BLOCKED"),
}
NATS = tuple(dict.fromkeys(nat for nat, _ in CASES))

Reports = dict[tuple[str, bool], dict[str, Any]]


async def diagnose_all(lab: TunLab, folder: Path) -> Reports:
    from playwright.async_api import async_playwright

    program = require_program("chromium")
    source = (STATIC / "icekit.js").read_text(encoding="utf-8")
    texts = catalogue()
    async with async_playwright() as playwright, AsyncExitStack() as stack:
        pages = await asyncio.gather(
            *(
                stack.enter_async_context(chromium(playwright, program, client.namespace, folder))
                for client in lab.clients
            )
        )

        async def one(nat: str, relayed: bool) -> dict[str, Any]:
            servers = [{"urls": [STUN, OTHER_STUN]}, *([TURN_SERVER] if relayed else [])]
            found: dict[str, Any] = await pages[NATS.index(nat)].evaluate(_DIAGNOSE, [source, servers, texts, PATIENCE])
            return found

        reports = await asyncio.gather(*(one(*case) for case in CASES))
    return dict(zip(CASES, reports, strict=True))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    with (
        TunLab(NATS, seed=1, link=Link(delay=0.01)) as lab,
        running_servers(lab.server, SERVER_ADDRESSES, PASSWORD, coturn=False),
    ):
        return asyncio.run(diagnose_all(lab, tmp_path_factory.mktemp("browsers")))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'relay' if case[1] else 'stun'}")
def test_the_verdict(reports: Reports, case: tuple[str, bool]) -> None:
    observed, code = CASES[case]
    report = reports[case]
    servers = [(item["entry"]["url"], item["ok"], item["errors"], item["mapped"]) for item in report["servers"]]
    assert (" ".join(report["observed"].values()), report["verdict"]["code"]) == (observed, code), servers
    # Whoever has a problem is told what to do.
    codes = {finding["code"] for finding in report["findings"]}
    assert ("ICE001" in codes) == (not case[1])
    assert PASSWORD not in json.dumps(report)
