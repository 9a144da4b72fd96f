"""What became of a call, as JSON."""

from __future__ import annotations

import json

from icekit.call.outcome import CallOutcome
from icekit.errors import CallFailed
from icekit.phases import Deadlines
from icekit.report import to_dict
from tests.call.rooms import both, config, room, talk, two_calls


async def test_of_a_call_that_worked() -> None:
    async with two_calls(config(interval=0.1), config(interval=0.1)) as (caller, callee):
        await both(caller.connected(), callee.connected(), caller.first_media())
        await talk(caller, callee)
        while not caller.history:
            await caller._wait()
        document = json.loads(json.dumps(to_dict(CallOutcome.of(caller, "hung up", sent=1, received=2))))
    assert document["schema"] == "icekit/call/1"
    assert (document["ok"], document["code"], document["peer"]) == (True, None, "bob")
    assert (document["sent"], document["received"]) == (1, 2)
    assert 0 < document["connected"] < document["first_media"]
    assert document["pair"]["local"] == "host"
    assert document["levels"][0]["frames"] > 0
    assert len(document["trace"]["steps"]) == 13
    assert document["stats"][0]["pair"] == document["pair"]


async def test_of_one_that_did_not() -> None:
    from icekit.call import Call

    async with room("alice") as (channel,), Call(channel, config=config(deadlines=Deadlines(peer=0.1))) as call:
        try:
            await call.connected()
        except CallFailed as error:
            outcome = CallOutcome.of(call, "", sent=0, received=0, failure=error)
    assert (outcome.ok, outcome.code, outcome.connected, outcome.pair) == (False, "CALL-PEER", None, None)
    assert outcome.findings[0].code == "CALL-PEER"
