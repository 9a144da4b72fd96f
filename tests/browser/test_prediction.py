"""Prediction against a browser: two Chromiums behind two NATs end on the path that ``icekit.predict`` foretells.

All calls are made at once, in one laboratory; the tests look at how they ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from itertools import combinations
from pathlib import Path

import pytest

from icekit.lab.servers import USERNAME, running_servers, urls
from icekit.lab.tun_lab import SERVER_ADDRESSES, TunLab
from icekit.predict import Prediction, predict
from icekit.report import PathKind
from icekit.sides import Side
from icekit.sim.link import Link
from tests.browser.chromium import Ended, call, chromium
from tests.requirements import require_program

# The first test waits for all calls, on a machine that may be busy.
pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(300)]

NATS = (
    "open",
    "full-cone",
    "port-restricted",
    "port-restricted",
    "symmetric",
    "symmetric",
    "firewall",
    "udp-blocked",
    "tcp-443-only",
)
STUN, *TURN = urls(SERVER_ADDRESSES[0])
PASSWORD = "secret"
AT_ONCE = 8
LINK = Link(delay=0.05)

Case = tuple[int, int]  # the places of A, which offers, and B in NATS

# Every pair of NATs once.
WITH_TURN = list({tuple(NATS[number] for number in case): case for case in combinations(range(len(NATS)), 2)}.values())
# Chromium needs its time to give up, so these are few.
WITHOUT_TURN = [(0, 4), (1, 4), (2, 3), (2, 4), (4, 5), (4, 6), (0, 7)]


CASES = {"stun": WITHOUT_TURN, "turn": WITH_TURN}

Outcomes = dict[tuple[Case, str], Ended]


def names(case: Case) -> str:
    return "×".join(NATS[number] for number in case)


async def call_all(lab: TunLab, folder: Path) -> Outcomes:
    from playwright.async_api import async_playwright

    program = require_program("chromium")
    turn = {"urls": TURN, "username": USERNAME, "credential": PASSWORD}
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case, kind: str) -> Ended:
        a, b = (pages[number] for number in case)
        servers = [{"urls": STUN}] if kind == "stun" else [{"urls": STUN}, turn]
        # Those that fail wait, which disturbs nobody.
        async with contextlib.nullcontext() if kind == "stun" else slots:
            return await call(f"{kind} {case}", a, b, servers)

    async with async_playwright() as playwright, AsyncExitStack() as stack:
        pages = await asyncio.gather(
            *(
                stack.enter_async_context(chromium(playwright, program, client.namespace, folder))
                for client in lab.clients
            )
        )
        todo = [(case, kind) for kind, cases in CASES.items() for case in cases]
        ended = await asyncio.gather(*(one(case, kind) for case, kind in todo))
    return dict(zip(todo, ended, strict=True))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """All calls in one laboratory: each client has a NAT and a browser of its own."""
    with (
        TunLab(NATS, seed=1, link=LINK) as lab,
        running_servers(lab.server, SERVER_ADDRESSES, PASSWORD, coturn=False),
    ):
        return asyncio.run(call_all(lab, tmp_path_factory.mktemp("browsers")))


def foretold(case: Case, relayed: bool) -> Prediction:
    a, b = (Side.from_preset(NATS[number], TURN if relayed else ()) for number in case)
    return predict(a, b)


@pytest.mark.parametrize("case", WITH_TURN, ids=names)
def test_with_turn(outcomes: Outcomes, case: Case) -> None:
    expected, ended = foretold(case, True), outcomes[case, "turn"]
    assert ended.path == expected.path, ended
    assert ended.a is not None
    assert ended.b is not None
    if expected.path is PathKind.DIRECT:
        assert expected.local is not None
        assert expected.remote is not None
        # The same address: a peer-reflexive candidate keeps its name if the check was there first.
        assert ended.a.local in (expected.local, "prflx" if expected.local == "srflx" else None)
        assert ended.a.remote in (expected.remote, "prflx" if expected.remote == "srflx" else None)
    for number, selected in zip(case, (ended.a, ended.b), strict=True):
        if NATS[number] in ("udp-blocked", "tcp-443-only"):
            assert (selected.local, selected.relay_protocol) == ("relay", "tcp")


@pytest.mark.parametrize("case", WITHOUT_TURN, ids=names)
def test_without_turn(outcomes: Outcomes, case: Case) -> None:
    assert outcomes[case, "stun"].path == foretold(case, False).path, outcomes[case, "stun"]


def test_the_cases_show_every_path() -> None:
    assert {foretold(case, True).path for case in WITH_TURN} == {PathKind.DIRECT, PathKind.RELAY}
    assert {foretold(case, False).path for case in WITHOUT_TURN} == {PathKind.DIRECT, PathKind.NONE}
