"""The table of offer and answer is complete and leads nowhere it must not."""

from __future__ import annotations

from icekit.transitions import TRANSITIONS, Action, Input, SignalingState


def test_every_exchange_comes_back_to_stable() -> None:
    # From each state that lasts, some sequence of inputs leads to stable.
    reached = {SignalingState.STABLE}
    while True:
        more = {before for (before, _), (after, _) in TRANSITIONS.items() if after in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(SignalingState) - {SignalingState.ENDED}


def test_every_input_and_every_action_is_used() -> None:
    assert {kind for _, kind in TRANSITIONS} == set(Input)
    assert {action for _, action in TRANSITIONS.values()} == set(Action)


def test_the_end_is_the_end() -> None:
    assert [key for key in TRANSITIONS if SignalingState.ENDED in key] == []


def test_a_collision_is_only_between_offers_that_were_sent() -> None:
    states = {state for state, kind in TRANSITIONS if kind in (Input.BETTER_OFFER, Input.WORSE_OFFER)}
    assert states == {SignalingState.OFFERED}


def test_whoever_waits_can_give_up() -> None:
    states = {state for state, kind in TRANSITIONS if kind is Input.GIVEN_UP}
    assert states == set(SignalingState) - {SignalingState.ENDED, SignalingState.STABLE}
