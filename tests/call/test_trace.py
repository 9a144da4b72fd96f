"""The thirteen steps, with two clocks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icekit.call.trace import SCHEMA, STEPS, Mark, Moment, Trace


def both(skew: float = 100.0, delay: float = 0.05) -> tuple[Trace, Trace]:
    """A whole call, signaling takes ``delay`` each way, and B's clock is ahead by ``skew``."""
    a, b = Trace(10.0, offers=True), Trace(10.0 + skew + 0.5)

    def at(trace: Trace, mark: Mark, time: float) -> None:
        trace.mark(mark, 10.0 + time + (skew if trace is b else 0.0))

    at(a, Mark.MEDIA_OPENED, 0.1)
    at(b, Mark.MEDIA_OPENED, 0.6)
    for mark, time in ((Mark.DESCRIPTION_CREATED, 1.0), (Mark.LOCAL_SET, 1.01), (Mark.SENT, 1.02)):
        at(a, mark, time)
        at(b, mark, time + 0.1)
    at(b, Mark.RECEIVED, 1.02 + delay)
    at(b, Mark.REMOTE_SET, 1.03 + delay)
    at(a, Mark.RECEIVED, 1.12 + delay)
    at(a, Mark.REMOTE_SET, 1.13 + delay)
    for trace in (a, b):
        for time in (1.2, 1.25):
            at(trace, Mark.GATHERED, time)
            at(trace, Mark.CANDIDATE_SENT, time + 0.001)
            at(trace, Mark.CANDIDATE_ADDED, time + delay + 0.001)
        at(trace, Mark.PATH, 1.4)
        at(trace, Mark.CONNECTED, 1.5)
        at(trace, Mark.FIRST_MEDIA, 1.6)
    return a, b


def test_there_are_thirteen() -> None:
    assert [plan.number for plan in STEPS] == list(range(1, 14))
    steps = Trace(0.0, offers=True).steps
    assert [(step.a, step.b) for step in steps] == [(None, None)] * 13


@pytest.mark.parametrize("skew", [-50.0, 0.0, 100.0])
def test_both_sides_see_the_same_times(skew: float) -> None:
    a, b = both(skew)
    assert not a.is_complete
    told_a, told_b = (json.loads(json.dumps(trace.document)) for trace in (a, b))
    a.hear(told_b)
    b.hear(told_a)
    assert a.is_complete
    assert b.is_complete
    for mine, theirs in zip(a.steps, b.steps, strict=True):
        assert mine == theirs or mine.b == pytest.approx(theirs.b)
    five, nine = a.steps[4].b, a.steps[8].b
    assert five is not None
    assert nine is not None
    # In A's time, whatever B's clock shows.
    assert (five.first, nine.first) == pytest.approx((1.08, 1.12))
    assert a.steps[11].a == Moment(pytest.approx(1.201), pytest.approx(1.251), 2)
    assert a.first_media == pytest.approx(1.6)
    assert b.first_media == pytest.approx(1.1)


def test_as_a_table() -> None:
    a, b = both()
    half = a.to_table()
    a.hear(b.document)
    lines = a.to_table().splitlines()
    assert len(lines) == 1 + 13 + 3
    assert lines[1] == " 1  A opens its media and adds the tracks            100 ms"
    assert lines[5].startswith(" 5  B receives it and sets it as remote description   ")
    assert lines[5].endswith("   1080 ms")
    assert lines[12].endswith("1201 to 1251 ms, 2 times  1201 to 1251 ms, 2 times")
    assert lines[14].split()[:4] == ["path", "works", "1400", "ms"]
    assert len(half.splitlines()) == 17
    assert a.sides == "This end is A, the other one is B; times from when A began."
    assert b.sides == "This end is B, the other one is A; times from when A began."


def test_as_a_diagram() -> None:
    a, b = both()
    a.hear(b.document)
    text = a.to_mermaid()
    assert text.startswith("sequenceDiagram\n")
    assert [number for number in range(1, 14) if f" {number}. " not in text] == []
    assert "S->>B: 5. offer (1080 ms)" in text
    assert "(–)" not in text
    assert "(–)" in Trace(0.0).to_mermaid()


def test_as_json() -> None:
    a, b = both()
    a.hear(b.document)
    document = json.loads(json.dumps(a.to_dict()))
    assert document["schema"] == SCHEMA
    assert (document["side"], b.to_dict()["side"]) == ("A", "B")
    assert document["steps"][0] == {
        "number": 1,
        "text": "A opens its media and adds the tracks",
        "a": {"first": 0.1, "last": 0.1, "count": 1},
        "b": None,
    }
    assert [item["text"] for item in document["later"]] == ["path works", "connected", "first media"]


def test_a_new_exchange_keeps_only_what_is_still_true() -> None:
    a, b = both()
    a.hear(b.document)
    a.start_over(offers=False)
    assert list(a.marks) == [Mark.MEDIA_OPENED]
    assert a.theirs == {}
    # Two that both believe to have offered do not fit.
    b.start_over(offers=False)
    a.hear(b.document)
    assert a.theirs == {}


@given(
    st.dictionaries(
        st.sampled_from([mark.value for mark in Mark]),
        st.none() | st.text() | st.lists(st.integers() | st.floats() | st.booleans() | st.text(), max_size=4),
    )
    | st.none()
    | st.text(),
    st.booleans() | st.none(),
)
def test_nothing_that_a_peer_tells_raises(marks: Any, offers: bool | None) -> None:
    a, _ = both()
    a.hear({"schema": SCHEMA, "offers": offers, "marks": marks})
    a.to_table()
    a.to_mermaid()
    json.dumps(a.to_dict(), allow_nan=False)
