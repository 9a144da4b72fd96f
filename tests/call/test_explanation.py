"""How a call is and why it ended, in words."""

from __future__ import annotations

import pytest

from icekit.call import Call, explain
from icekit.errors import CallFailed
from icekit.explanation import Explanation
from icekit.phases import Deadlines
from tests.call.rooms import both, config, room, two_calls


def facts(explanation: Explanation) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.meaning) for fact in explanation.facts}


async def test_of_a_call_that_goes_on_and_is_hung_up() -> None:
    async with two_calls(config(interval=0.1), config(interval=0.1)) as (caller, callee):
        assert explain(caller).summary.startswith("A call that is not connected: waiting for")
        await both(caller.connected(), callee.connected())
        while not caller.history or caller.history[-1].pair is None:
            await caller._wait()
        live = explain(caller)
        await caller.hang_up()
        over = explain(caller)
    assert (live.summary, live.findings) == ("A call that is connected.", ())
    assert facts(live)["peer"] == ("bob", "")
    assert facts(live)["path"] == ("host to host", "direct")
    assert facts(live)["this side: candidates"][0] == "1 host"
    assert over.summary == "A call that is over: hung up."
    assert facts(over)["this side: candidates"] == facts(live)["this side: candidates"]


async def test_of_one_that_failed() -> None:
    async with room("alice") as (channel,), Call(channel, config=config(deadlines=Deadlines(peer=0.1))) as call:
        with pytest.raises(CallFailed) as caught:
            await call.connected()
        failed = explain(call)
    assert failed.summary == f"A call that failed: {caught.value}"
    assert [finding.code for finding in failed.findings] == ["CALL-PEER"]
    assert explain(call).findings == failed.findings
