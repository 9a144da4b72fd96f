from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from icekit.bench.lines import Description, Ended, Failed, PairTold, Ready, StateChanged, decode_event
from icekit.bench.programs.stdio import Voice

ROOT = Path(__file__).parents[3]

# A peer that prints on stdout, as a library may do, and below it what stands in for one that is no Python.
PEER = """
import os, sys
sys.path.insert(0, {root!r})
from icekit.bench.programs.stdio import run

class Peer:
    def __init__(self, voice): self.voice = voice
    async def start(self, start):
        print("hello from a library")
        os.write(1, b"hello from C\\n")
        self.voice.described("offer", "v=0")
    async def describe(self, kind, sdp): raise ValueError("I do not like it")
    async def add_candidate(self, item): self.voice.state("ice", item.candidate or "end")
    def send(self, text): self.voice.echoed(text)
    async def pair(self): return None
    async def close(self): self.voice.state("ice", "closed")

run("x", "1", Peer)
"""


def talk(*lines: str) -> tuple[list[object], subprocess.CompletedProcess[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PEER.format(root=str(ROOT))],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return [decode_event(line.encode()) for line in done.stdout.splitlines()], done


START = '{"type":"start","role":"offer"}'


def test_only_events_are_on_stdout() -> None:
    events, done = talk(START)
    assert [type(event) for event in events] == [Ready, Description, StateChanged]
    assert "hello from a library" in done.stderr
    assert "hello from C" in done.stderr
    assert done.returncode == 0


def test_requests_in_order() -> None:
    candidate = '{"type":"candidate","candidate":"candidate:1"}'
    events, _ = talk(START, candidate, '{"type":"candidate","candidate":""}', '{"type":"pair"}', '{"type":"end"}')
    states = [event.state for event in events if isinstance(event, StateChanged)]
    assert states == ["candidate:1", "end", "closed"]
    assert isinstance(events[-3], PairTold)
    assert isinstance(events[-1], Ended)


def test_a_second_start_ends_the_first_connection() -> None:
    events, _ = talk(START, START)
    assert [type(event) for event in events] == [Ready, Description, StateChanged, Description, StateChanged]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"type":"pair"}', "no connection is started"),
        ("what?", "DecodeError: no JSON"),
        ('{"type":"sunrise"}', "DecodeError: type"),
    ],
)
def test_what_goes_wrong_is_told_and_it_goes_on(line: str, message: str) -> None:
    events, done = talk(line, START)
    failed = events[1]
    assert isinstance(failed, Failed)
    assert failed.message.startswith(message)
    assert isinstance(events[2], Description)
    assert done.returncode == 0


def test_an_exception_of_the_peer_is_told() -> None:
    events, _ = talk(START, '{"type":"answer","sdp":"v=0"}')
    failed = events[2]
    assert isinstance(failed, Failed)
    assert failed.message == "ValueError: I do not like it"


def test_the_first_sound_is_told() -> None:
    written: list[bytes] = []
    voice = Voice(written.append)
    for moment in (1.0, 1.02):
        voice.sounded(at=moment)
    assert [json.loads(line) for line in written] == [{"type": "media", "time": 1.0}]


def test_candidates_come_after_their_description() -> None:
    written: list[bytes] = []
    voice = Voice(written.append)
    voice.candidate("a=candidate:1", "0", 0, at=1.0)
    assert written == []
    voice.described("answer", "v=0", at=2.0)
    voice.candidate("", at=3.0)
    lines = [json.loads(line) for line in written]
    assert [(line["type"], line.get("candidate"), line["time"]) for line in lines] == [
        ("answer", None, 2.0),
        ("candidate", "candidate:1", 1.0),
        ("candidate", "", 3.0),
    ]
