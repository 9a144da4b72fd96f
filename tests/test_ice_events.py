"""What an agent tells: values that can be compared, and states in the words of browsers."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from icekit.ice_events import DataReceived, IceEvent, IceState, StateChanged


def test_states_are_those_of_browsers() -> None:
    # W3C WebRTC, RTCIceConnectionState
    assert {state.value for state in IceState} == {
        *("new", "checking", "connected", "completed", "disconnected", "failed", "closed")
    }


def test_events_are_frozen_values_in_the_past_tense() -> None:
    for kind in get_args(IceEvent):
        # Data is told for every datagram: a tuple takes half as long to make.
        assert dataclasses.is_dataclass(kind) or issubclass(kind, tuple)
        assert kind.__name__.endswith("ed")
    with pytest.raises(dataclasses.FrozenInstanceError):
        StateChanged(IceState.NEW).state = IceState.FAILED  # type: ignore[misc]
    with pytest.raises(AttributeError):
        DataReceived(1, b"").component = 2  # type: ignore[misc]
    assert StateChanged(IceState.NEW) == StateChanged(IceState.NEW)
