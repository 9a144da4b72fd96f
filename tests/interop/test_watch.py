"""A fleet on coturn: many checks leave nothing behind, and the codes are those of ``icekit turn``."""

from __future__ import annotations

import os
import ssl
from contextlib import aclosing

import pytest

from icekit.servers import ServerUri
from icekit.watch.fleet import Fleet
from icekit.watch.fleet_file import FleetConfig, WatchedServer
from tests.interop.coturn import Coturn
from tests.interop.test_faults import left_over, made

pytestmark = pytest.mark.interop("turnserver")

# scripts/soak asks for a thousand.
CHECKS = 1000 if int(os.environ.get("ICEKIT_SEEDS", "20")) >= 1000 else 40


@pytest.mark.timeout(600)
async def test_many_checks_leave_no_allocation(coturn: Coturn) -> None:
    urls = [coturn.turn_uri("udp"), coturn.turn_uri("tcp"), coturn.turns_uri("tcp")]
    entries = [(url, url, coturn.password) for url in urls] + [(urls[0], "wrong", "wrong")]
    servers = tuple(
        WatchedServer(uri=ServerUri.parse(url), name=name, username=coturn.username, credential=password)
        for url, name, password in entries
    )
    trusted = ssl.create_default_context(cafile=str(coturn.ca_file))
    log, before = coturn.log(), made(coturn)
    codes: dict[str, set[tuple[str, str]]] = {}
    passed = 0
    config = FleetConfig(servers=servers, interval=0.01, max_allocations=8)
    async with aclosing(Fleet(config, ssl_context=trusted).results()) as results:
        for _ in range(CHECKS):
            result = await anext(results)
            passed += result.ok
            codes.setdefault(result.server.name, set()).add((result.code, result.cause))
            if result.server.uri.scheme == "turns":
                assert result.certificate_expires is not None
                assert result.certificate_expires > result.at
    assert codes == {**{url: {("OK", "")} for url in urls}, "wrong": {("TURN-401", "wrong")}}
    assert made(coturn) - before >= passed
    assert left_over(coturn, log) == []
