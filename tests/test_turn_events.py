"""The events of a TURN allocation are values."""

from __future__ import annotations

import dataclasses
from typing import get_args

from icekit.errors import ConnectivityError
from icekit.net import StreamFailure
from icekit.turn_events import StreamError, TurnEvent


def test_every_event_is_a_frozen_slotted_value() -> None:
    events = get_args(TurnEvent)
    assert len(events) == 16
    for event in events:
        assert dataclasses.is_dataclass(event)
        assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert hasattr(event, "__slots__")


def test_a_stream_error_says_what_and_why() -> None:
    error = StreamError(StreamFailure.TLS_NAME, "certificate is for example.org")
    assert isinstance(error, ConnectivityError)
    assert (error.exit_code, str(error)) == (1, "tls-name: certificate is for example.org")
    assert str(StreamError(StreamFailure.REFUSED)) == "refused"
