"""What a core tells comes in order and is never lost; what peers send is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icekit.event_queue import EventQueue


def test_news_has_no_bound_and_data_has() -> None:
    queue: EventQueue[int] = EventQueue(room=2)
    for number in range(4):
        queue.offer(number)
    queue.append(4)
    assert (queue.next(), len(queue), queue.dropped) == (0, 2, 2)
    queue.offer(5)
    assert queue.dropped == 3
    assert queue.drain() == [1, 4]
    assert (queue.drain(), queue.next(), len(queue)) == ([], None, 0)
    queue.offer(6)
    assert queue.next() == 6


@given(st.lists(st.sampled_from(["news", "data", "next"])), st.integers(0, 4))
def test_nothing_is_told_twice_or_out_of_order(steps: list[str], room: int) -> None:
    queue: EventQueue[tuple[int, str]] = EventQueue(room)
    told = []
    for number, step in enumerate(steps):
        waiting = len(queue)
        match step:
            case "news":
                queue.append((number, step))
            case "data":
                queue.offer((number, step))
                assert len(queue) == (waiting + 1 if waiting < room else waiting)
            case _:
                told.append(queue.next())
    rest: list[tuple[int, str] | None] = [event for event in told if event is not None]
    rest += queue.drain()
    assert rest == sorted(rest)
    assert sum(event is not None and event[1] == "news" for event in rest) == steps.count("news")
    assert queue.dropped == steps.count("data") - sum(event is not None and event[1] == "data" for event in rest)
