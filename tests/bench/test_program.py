from __future__ import annotations

import asyncio
import os
import sys

import pytest

from icekit.bench.lines import (
    MAX_LINE,
    AskPair,
    Description,
    End,
    Ended,
    Event,
    PairTold,
    Start,
    StateChanged,
    TrickledCandidate,
)
from icekit.bench.program import Program, ProgramConfig
from icekit.errors import InvalidState, ProgramError
from tests.bench.peers import HOST, RELAYED, command

READY = '{"type":"ready","protocol":1,"engine":"x","version":"1","clock":"monotonic","time":1}'
DEADLINE = 30.0


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def script(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys, time, signal\n{code}"]


def program(argv: list[str], ready_within: float = DEADLINE, ends_within: float = DEADLINE) -> Program:
    return Program("x", argv, config=ProgramConfig(ready_within=ready_within, ends_within=ends_within))


async def events(source: Program, count: int) -> list[Event]:
    async with asyncio.timeout(DEADLINE):
        return [await source.next_event() for _ in range(count)]


async def test_a_conversation() -> None:
    async with program(command()) as peer:
        assert (peer.ready.engine, peer.ready.version, peer.ready.clock) == ("test", "1.0", "monotonic")
        await peer.send(Start(role="offer"))
        offer, candidate = await events(peer, 2)
        assert isinstance(offer, Description)
        assert isinstance(candidate, TrickledCandidate)
        assert (offer.kind, candidate.candidate) == ("offer", RELAYED)
        await peer.send(AskPair())
        (told,) = await events(peer, 1)
        assert isinstance(told, PairTold)
        assert (told.local, told.remote) == (HOST, HOST)
        await peer.send(End())
        (ended,) = await events(peer, 1)
        assert isinstance(ended, Ended)
        # And again.
        await peer.send(Start(role="answer"))
        await peer.send(Description(kind="offer", sdp="v=0\r\n"))
        answer, state, *_ = await events(peer, 4)
        assert isinstance(answer, Description)
        assert isinstance(state, StateChanged)


async def test_times_are_those_of_the_machine() -> None:
    async with program(command()) as peer:
        before = asyncio.get_running_loop().time()
        await peer.send(Start(role="offer"))
        (offer,) = await events(peer, 1)
        assert isinstance(offer, Description)
        assert offer.time is not None
        # To the microsecond that a line has.
        assert before - 1e-6 <= offer.time <= asyncio.get_running_loop().time() + 1e-6


async def test_what_is_unknown_is_passed_over() -> None:
    code = f"""
print('{READY}')
print('{{"type":"sunrise","time":1}}')
print('{{"type":"open","time":2}}', flush=True)
sys.stdin.read()
"""
    async with program(script(code)) as peer:
        (event,) = await events(peer, 1)
        assert type(event).__name__ == "Opened"


async def test_an_exception_is_told_without_secrets() -> None:
    async with program(command("raises")) as peer:
        server = {"urls": "turn:192.0.2.1", "username": "u", "credential": "hunter2"}
        await peer.send(Start(role="offer", ice_servers=(server,)))
        with pytest.raises(ProgramError, match="ValueError: no such server") as caught:
            await events(peer, 1)
        assert "hunter2" not in str(caught.value)


async def test_the_end_of_its_stderr_is_told_without_secrets() -> None:
    async with program(command("dies")) as peer:
        await peer.send(Start(role="answer", ice_servers=({"urls": "turn:x", "credential": "hunter2"},)))
        with pytest.raises(ProgramError, match=r"it has ended; it said: .*out of memory, secret …"):
            await events(peer, 1)


BROKEN = [
    ("pass", "it has ended"),
    ("print('hello')", "no event: no JSON"),
    ("print('{}')", "no event: type"),
    (f"print('x' * {MAX_LINE + 1})", "more than"),
    ("print('{', end='')", "has ended"),
    ('print(\'{"type":"open","time":1}\')', "no ready event but Opened"),
    ("print('oh', file=sys.stderr); sys.exit(1)", "it has ended; it said: oh"),
    ('print(\'{"type":"error","time":1,"message":"no camera"}\')', "no camera"),
]


@pytest.mark.parametrize(("code", "reason"), BROKEN, ids=[code[:30] for code, _ in BROKEN])
async def test_a_program_that_does_not_become_ready(code: str, reason: str) -> None:
    with pytest.raises(ProgramError, match=reason):
        async with program(script(code)):
            pass


async def test_a_program_that_says_nothing() -> None:
    with pytest.raises(ProgramError, match=r"not ready after 0\.1 s"):
        async with program(script("sys.stdin.read()"), ready_within=0.1):
            pass


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ProgramError, match="cannot be started"):
        async with program(["/nowhere/program"]):
            pass


async def test_a_program_that_does_not_want_to_end() -> None:
    code = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('{READY}', flush=True)\ntime.sleep(600)"
    async with program(script(code), ends_within=0.1) as peer:
        pid = peer.pid
        assert _alive(pid)
    assert not _alive(pid)


async def test_what_it_has_started_ends_with_it() -> None:
    code = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print('{READY}')
print('{{"type":"echo","text":"%d","time":1}}' % child.pid, flush=True)
time.sleep(600)
"""
    async with program(script(code), ends_within=0.1) as peer:
        (event,) = await events(peer, 1)
        pid = int(getattr(event, "text", ""))
    async with asyncio.timeout(DEADLINE):
        while _alive(pid):  # noqa: ASYNC110  # it is nobody's child any more
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_one_that_talks_without_end_is_stopped() -> None:
    code = f'print(\'{READY}\')\nwhile True: print(\'{{"type":"open","time":1}}\')'
    async with program(script(code), ends_within=0.1) as peer:
        pid = peer.pid
        await events(peer, 3)
    assert not _alive(pid)


async def test_cancelling_loses_nothing() -> None:
    async with program(command()) as peer:
        waiting = asyncio.create_task(peer.next_event())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await peer.send(Start(role="offer"))
        (offer,) = await events(peer, 1)
        assert isinstance(offer, Description)


async def test_it_is_used_only_while_it_runs() -> None:
    peer = program(command())
    for use in (lambda: peer.ready, lambda: peer.next_event().send(None), lambda: peer.send(End()).send(None)):
        with pytest.raises(InvalidState):
            use()
