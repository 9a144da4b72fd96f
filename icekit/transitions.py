"""The states of offer and answer between two peers, and what leads from one to another: a table."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final


class SignalingState(StrEnum):
    """The state of the exchange; W3C WebRTC §4.3.1 with the steps in between, which take time."""

    STABLE = "stable"
    OFFERING = "making an offer"
    OFFERED = "have-local-offer"
    ANSWERING = "making an answer"
    COMPLETING = "applying the answer"
    ENDED = "closed"


class Input(Enum):
    """What can happen."""

    WANTED = "an offer is wanted"
    OFFER_MADE = "the offer is made"
    OFFER = "a new offer"
    BETTER_OFFER = "a new offer, which wins against ours"
    WORSE_OFFER = "a new offer, which loses against ours"
    REPEATED_OFFER = "the offer that was answered last, again"
    ANSWER = "a new answer"
    ANSWER_MADE = "the answer is made"
    APPLIED = "the answer is applied"
    GIVEN_UP = "no answer came, or the owner could not use what came"


class Action(Enum):
    """What is done about it."""

    MAKE_OFFER = "ask the owner for an offer"
    MAKE_ANSWER = "ask the owner for an answer"
    ROLL_BACK = "ask for an answer in place of our offer"
    APPLY_ANSWER = "ask the owner to apply it"
    SEND_OFFER = "send the offer"
    SEND_ANSWER = "send the answer"
    OFFER_AGAIN = "send the offer again"
    ANSWER_AGAIN = "send the answer again"
    REMEMBER = "offer when this exchange is done"
    HOLD = "take it when this exchange is done"
    FINISH = "the exchange is done"
    ABANDON = "the exchange has come to nothing"


TRANSITIONS: Final = {
    (SignalingState.STABLE, Input.WANTED): (SignalingState.OFFERING, Action.MAKE_OFFER),
    (SignalingState.STABLE, Input.OFFER): (SignalingState.ANSWERING, Action.MAKE_ANSWER),
    (SignalingState.STABLE, Input.REPEATED_OFFER): (SignalingState.STABLE, Action.ANSWER_AGAIN),
    (SignalingState.OFFERING, Input.WANTED): (SignalingState.OFFERING, Action.REMEMBER),
    (SignalingState.OFFERING, Input.OFFER_MADE): (SignalingState.OFFERED, Action.SEND_OFFER),
    # Ours is not sent yet, so that theirs wins without a collision.
    (SignalingState.OFFERING, Input.OFFER): (SignalingState.ANSWERING, Action.ROLL_BACK),
    (SignalingState.OFFERING, Input.REPEATED_OFFER): (SignalingState.OFFERING, Action.ANSWER_AGAIN),
    (SignalingState.OFFERING, Input.GIVEN_UP): (SignalingState.STABLE, Action.ABANDON),
    (SignalingState.OFFERED, Input.WANTED): (SignalingState.OFFERED, Action.REMEMBER),
    (SignalingState.OFFERED, Input.ANSWER): (SignalingState.COMPLETING, Action.APPLY_ANSWER),
    (SignalingState.OFFERED, Input.BETTER_OFFER): (SignalingState.ANSWERING, Action.ROLL_BACK),
    # The peer has to give way, and may never have got ours: it was not there yet, or it was lost.
    (SignalingState.OFFERED, Input.WORSE_OFFER): (SignalingState.OFFERED, Action.OFFER_AGAIN),
    (SignalingState.OFFERED, Input.REPEATED_OFFER): (SignalingState.OFFERED, Action.ANSWER_AGAIN),
    (SignalingState.OFFERED, Input.GIVEN_UP): (SignalingState.STABLE, Action.ABANDON),
    (SignalingState.ANSWERING, Input.WANTED): (SignalingState.ANSWERING, Action.REMEMBER),
    (SignalingState.ANSWERING, Input.OFFER): (SignalingState.ANSWERING, Action.HOLD),
    (SignalingState.ANSWERING, Input.ANSWER_MADE): (SignalingState.STABLE, Action.SEND_ANSWER),
    (SignalingState.ANSWERING, Input.GIVEN_UP): (SignalingState.STABLE, Action.ABANDON),
    (SignalingState.COMPLETING, Input.WANTED): (SignalingState.COMPLETING, Action.REMEMBER),
    (SignalingState.COMPLETING, Input.OFFER): (SignalingState.COMPLETING, Action.HOLD),
    (SignalingState.COMPLETING, Input.APPLIED): (SignalingState.STABLE, Action.FINISH),
    (SignalingState.COMPLETING, Input.GIVEN_UP): (SignalingState.STABLE, Action.ABANDON),
}
"""State and input to the next state and what is done. What is not here changes nothing."""
