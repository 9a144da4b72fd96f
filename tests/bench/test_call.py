from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from icekit.bench.call import CallConfig, CallReport, call
from icekit.bench.program import Program, ProgramConfig
from icekit.errors import ProgramError
from tests.bench.peers import HOST, RELAY, command

CONFIG = CallConfig(settled_after=0.0)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


async def made(offerer: str, answerer: str, config: CallConfig = CONFIG, times: int = 1) -> CallReport:
    ending = ProgramConfig(ends_within=0.5)
    async with (
        Program("a", command(offerer), config=ending) as a,
        Program("b", command(answerer), config=ending) as b,
    ):
        for _ in range(times):
            report = await call(a, b, config)
        return report


async def test_a_call() -> None:
    report = await made("", "", times=3)
    assert (report.failure, report.path, report.relays, report.same_pair) == (None, "direct", (0, 0), True)
    assert (report.offerer.engine, report.offerer.version) == ("test", "1.0")
    assert (report.offerer.local, report.offerer.remote) == (HOST, HOST)
    moments = (report.offerer.described, report.answerer.described, report.connected, report.opened, report.echoed)
    assert None not in moments
    assert min(moment or 0 for moment in moments) > 0
    assert report.answerer.described is not None
    assert report.answerer.connected is not None
    assert report.answerer.opened is not None
    assert report.offerer.connected is not None
    # Nobody asks for it.
    assert report.answerer.sounded is None
    assert report.answerer.described < report.answerer.connected < report.answerer.opened
    assert report.connected == max(report.offerer.connected, report.answerer.connected)


async def test_sound() -> None:
    config = replace(CONFIG, media=True)
    report = await made("", "", config)
    assert report.failure is None
    assert report.answerer.sounded is not None
    assert report.offerer.sounded is None
    silent = await made("", "hears nothing", replace(config, fails_after=0.2))
    assert (silent.failure, silent.path, silent.answerer.sounded) == ("no sound after 0.2 s", "none", None)
    assert silent.answerer.heard is not None
    both = await made("mute", "hears nothing", replace(config, fails_after=0.2))
    assert both.failure == "no echo after 0.2 s"


async def test_a_candidate_that_is_told_at_the_end() -> None:
    # Whom it is for has been told to end, too, and must not be found broken in the next call.
    assert (await made("tells late", "ends slowly", times=2)).failure is None


async def test_a_program_without_sound() -> None:
    with pytest.raises(ProgramError, match=r'the program b: it has no sound: its ready event does not say "media"'):
        await made("", "no sound", replace(CONFIG, media=True))
    assert (await made("no sound", "no sound")).failure is None


async def test_signaling_takes_its_time() -> None:
    report = await made("", "", CallConfig(settled_after=0.0, signaling_delay=0.05))
    assert report.offerer.described is not None
    assert report.answerer.described is not None
    assert report.offerer.connected is not None
    assert report.answerer.described - report.offerer.described >= 0.05
    assert report.offerer.connected - report.answerer.described >= 0.05


# What the two sides see, the relays that each of them sends through, and whether that is one pair.
SEEN = [
    ("relayed", "sees a relay", (1, 1), True),
    ("relayed", "sees nothing", (1, 1), True),
    ("relayed", "", (1, 0), False),
    ("", "sees a relay", (0, 1), False),
    ("moves", "", (0, 0), True),
]


@pytest.mark.parametrize(("offerer", "answerer", "relays", "same"), SEEN)
async def test_pairs(offerer: str, answerer: str, relays: tuple[int, int], same: bool) -> None:
    report = await made(offerer, answerer)
    assert (report.relays, report.same_pair, report.failure) == (relays, same, None)
    assert report.path == ("relay" if any(relays) else "direct")
    if offerer == "relayed":
        assert report.offerer.local == RELAY


async def test_a_pair_that_is_not_told() -> None:
    report = await made("no pair", "")
    assert (report.path, report.relays[0], report.same_pair, report.failure) == ("unknown", None, None, None)


@pytest.mark.parametrize(("offerer", "answerer"), [("mute", ""), ("", "mute")])
async def test_no_echo(offerer: str, answerer: str) -> None:
    report = await made(offerer, answerer, CallConfig(fails_after=0.3))
    assert (report.failure, report.path, report.echoed) == ("no echo after 0.3 s", "none", None)
    assert report.connected is not None


async def test_a_program_that_does_not_answer() -> None:
    with pytest.raises(ProgramError, match=r"the program b: no answer to a request for 0\.2 s"):
        await made("", "silent", CallConfig(answers_within=0.2))


@pytest.mark.parametrize(("offerer", "answerer"), [("raises", ""), ("", "raises"), ("dies", ""), ("", "dies")])
async def test_a_program_that_breaks(offerer: str, answerer: str) -> None:
    with pytest.raises(ProgramError):
        await made(offerer, answerer)
