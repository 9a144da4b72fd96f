"""What a negotiation tells its owner."""

from __future__ import annotations

from typing import get_args

import pytest

from icekit.negotiation_events import NegotiationEvent, OfferWanted


def test_events_are_frozen_values() -> None:
    for kind in get_args(NegotiationEvent):
        assert kind.__dataclass_params__.frozen
        assert "__slots__" in vars(kind)
    with pytest.raises(AttributeError):
        OfferWanted(restart=True).restart = False  # type: ignore[misc]
    assert OfferWanted(restart=True) == OfferWanted(restart=True)
