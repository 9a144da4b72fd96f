"""``docs/ice-in-plain-words.md``: the trace of its call is what two calls print."""

from __future__ import annotations

import asyncio
import re

from icekit.signaling.server import serve
from tests.cli.test_call import results, start
from tests.pages import shown

TIMES = re.compile(r"(?: +(?:-?\d+(?: to \d+)? ms)(?:, \d+ times)?)+$", re.MULTILINE)
PAGES = ["docs/ice-in-plain-words.md", "docs/ko/ice-in-plain-words.md"]


def test_the_trace_is_that_of_two_calls() -> None:
    async def call() -> list[tuple[int | None, str, str]]:
        async with serve(port=0) as running:
            options = (running.url("lobby"), "--ice", "none")
            one = await start(*options, "--name", "alice", "--duration", "1")
            other = await start(*options, "--name", "bob")
            return await results(one, other)

    (code, said, _), _ = asyncio.run(call())
    assert code == 0
    # Its last line says which end of the two has printed it.
    table, _, ends = said[said.index("\n\n") :].strip("\n").rpartition("\n")
    assert ends.startswith("This end is ")
    for page in PAGES:
        expected = shown(page, "tests/call/test_plain_words.py::test_the_trace_is_that_of_two_calls")
        assert [TIMES.sub("", line).split() for line in expected.strip("\n").splitlines()] == [
            TIMES.sub("", line).split() for line in table.splitlines()
        ], page
